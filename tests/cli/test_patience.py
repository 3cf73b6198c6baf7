"""Whoever opens connections and says nothing, or hangs up in the middle, keeps nobody else from the tracker."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
import uvicorn

from toolkit.cli.patience import PatientProtocol
from toolkit.tracking import Answers, Tokens
from toolkit.tracking.server import tracker
from toolkit.tracking.webhooks import Webhooks

HALF = b"POST /w/mailjet HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[{"


class Impatient(PatientProtocol):
    most = 20
    seconds = 1.0


@pytest.fixture
def served(tmp_path):
    """The port of a tracker that waits a second for a request, and takes twenty connections."""
    listening = socket.create_server(("127.0.0.1", 0))
    with Answers.open(tmp_path / "answers.sqlite") as answers:
        hooks = Webhooks({"mailjet": "user:password"})
        app = tracker(answers, Tokens((bytes(range(32)),)), webhooks=hooks)
        config = uvicorn.Config(app, http=Impatient, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def half_said(port, count, said):
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            opened.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(said)
        yield


def is_served(port):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1).status_code == 200
    return False


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", HALF])
def test_connections_that_never_say_a_whole_request_are_closed_in_time(served, said):
    with half_said(served, 25, said):
        time.sleep(0.2)
        assert not is_served(served)
        time.sleep(1.5)
        assert is_served(served)


def test_a_connection_that_dribbles_has_no_longer_and_one_that_asks_again_and_again_has(served):
    asked, begin = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", served)) as slow, httpx.Client() as client:
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while asked < 100:
                assert client.get(f"http://127.0.0.1:{served}/healthz").status_code == 200
                slow.sendall(b"X-%d: a\r\n" % asked)
                asked += 1
                time.sleep(0.1)
        assert time.monotonic() - begin > Impatient.seconds  # in which a busy machine may ask but once
        assert 0 < asked < 50
        assert client.get(f"http://127.0.0.1:{served}/healthz").status_code == 200


def test_whoever_hangs_up_in_the_middle_of_a_call_leaves_no_trace_in_the_log(served, caplog):
    with half_said(served, 3, HALF):
        time.sleep(0.3)
    time.sleep(0.5)
    assert is_served(served)
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_tracker_asks_for_as_many_files_as_it_may_have_and_keeps_some_for_its_databases():
    code = (
        "from toolkit.cli.patience import most_connections; import resource\n"
        "print(most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1_000))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=few)
    assert done.stdout.split() == ["850", "1000"]
