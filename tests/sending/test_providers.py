"""Amazon SES and Resend: one attempt a mail, honest about lost answers, and secrets that never show."""

from __future__ import annotations

import http.server
import json
import threading

import keyring
import pytest
from keyring.backend import KeyringBackend

from toolkit.errors import InputError, TransportError
from toolkit.sending import Outgoing, State, transport
from toolkit.sending.transports import Resend, Ses


class Service(http.server.ThreadingHTTPServer):
    """Answers like SES: `how` gives a status and a fault code, or `drop`."""

    daemon_threads = True

    def __init__(self, how):
        self.how = how
        self.posts = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.how == "drop":
            self.close_connection = True
            return
        status, code = self.server.how
        body = json.dumps({"MessageId": "m1"} if status == 200 else {"message": "no"}).encode()
        self.send_response(status)
        if code:
            self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def service(monkeypatch):
    """Starts a service; gives it, and a way out to it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    running = []

    def start(how):
        server = Service(how)
        running.append((server, threading.Thread(target=server.serve_forever, daemon=True)))
        running[-1][1].start()
        return server, Ses("eu-west-1", connections=2, timeout=5, endpoint=f"http://127.0.0.1:{server.server_port}")

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def _mails(count):
    return [
        Outgoing(f"d{n}", f"m{n}@example.com", "hello@example.com", f"a{n}@example.org", b"Subject: x\r\n\r\nx\r\n")
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("drop", State.UNKNOWN),
        ((200, None), State.ACCEPTED),
        ((400, "MessageRejected"), State.FAILED),
        ((400, "BadRequestException"), State.FAILED),
        ((429, "TooManyRequestsException"), State.DEFERRED),
        ((500, "InternalFailure"), State.UNKNOWN),
        ((503, "ServiceUnavailable"), State.UNKNOWN),
    ],
)
def test_each_mail_is_posted_once_whatever_the_answer(service, how, state):
    server, way = service(how)
    receipts = [receipt for receipt in way.deliver(iter(_mails(3)), set) if receipt]
    assert [receipt.state for receipt in receipts] == [state] * 3
    assert sorted(post["Destination"]["ToAddresses"][0] for post in server.posts) == [
        f"a{n}@example.org" for n in range(3)
    ]


@pytest.mark.parametrize("how", [(403, "AccessDeniedException"), (400, "SendingPausedException")])
def test_an_account_that_may_not_send_stops_the_sending_and_every_mail_waits(service, how):
    server, way = service(how)
    receipts = []
    with pytest.raises(TransportError, match=r"ses eu-west-1: takes no mail") as raised:
        receipts.extend(receipt for receipt in way.deliver(iter(_mails(40)), set) if receipt)
    assert len(server.posts) <= 4
    assert "s3cret" not in str(raised.value)


def test_a_service_that_is_not_there_leaves_no_mail_in_doubt(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    way = Ses("eu-west-1", connections=2, timeout=2, endpoint="http://127.0.0.1:9")
    receipts = []
    deliver = way.deliver(iter(_mails(5)), set)
    with pytest.raises(TransportError, match="cannot be reached"):
        receipts.extend(receipt for receipt in deliver if receipt)
    assert {receipt.state for receipt in receipts} == {State.DEFERRED}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("ses:nowhere", "expected a region such as eu-west-1"),
        ("ses:eu-west-1?regoin=x", "unknown option 'regoin'"),
        ("ses:eu-west-1?connections=99", "1 to 50 connections"),
        ("ses:eu-west-1?connections=many", "ses: invalid literal"),
    ],
)
def test_a_service_written_wrongly_says_what_is_right(where, said):
    with pytest.raises(InputError, match=said):
        transport(where)


def test_every_mail_through_resend_carries_its_own_key(smtp_server):
    server = smtp_server(extensions=["PIPELINING"])
    way = transport(f"resend:127.0.0.1:{server.port}?security=none&timeout=5")
    assert [receipt.state for receipt in way.deliver(iter(_mails(3)), set) if receipt] == [State.ACCEPTED] * 3
    heads = sorted(body.split(b"\r\n")[0].decode() for _, _, body in server.taken)
    assert heads == [f"Resend-Idempotency-Key: d{n}" for n in range(3)]
    assert isinstance(transport("resend:"), Resend)
    assert transport("resend:").name == "resend:smtp.resend.com:465"


class OwnKeyring(KeyringBackend):
    priority = 1

    def __init__(self, **secrets):
        super().__init__()
        self.secrets = secrets

    def get_password(self, service, username):
        return self.secrets.get(username) if service == "trigger-toolkit" else None

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError


def test_a_password_from_the_keyring_logs_in_and_never_shows(smtp_server, certificate, monkeypatch):
    before = keyring.get_keyring()
    keyring.set_keyring(OwnKeyring(TOOLKIT_SMTP_USER="me", TOOLKIT_SMTP_PASSWORD="s3cret"))
    try:
        public, context = certificate()
        monkeypatch.setenv("SSL_CERT_FILE", str(public))
        server = smtp_server(context=context, users=("me", "s3cret"))
        way = transport(f"smtp:localhost:{server.port}?security=starttls&timeout=5")
        assert [receipt.state for receipt in way.deliver(iter(_mails(2)), set) if receipt] == [State.ACCEPTED] * 2
        assert server.counts["AUTH"] >= 1
        assert "s3cret" not in repr(way) + str(vars(way))
    finally:
        keyring.set_keyring(before)
