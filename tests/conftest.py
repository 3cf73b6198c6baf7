"""Settings of all tests; a throwaway PostgreSQL server, and web servers, on loopback for those that need one."""

from __future__ import annotations

import contextlib
import gc
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn
from hypothesis import settings

from tests.shared import FIREFOX

# The first example of a test may compile the kernel or start a database, so no single example has a deadline.
settings.register_profile("toolkit", deadline=None, print_blob=True)
settings.load_profile("toolkit")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection():
    """What collecting makes stays until the end: the collector of garbage need not walk through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_unconfigure():
    """Libraries of C++ tell of what is not taken apart at the end."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def _own_config(tmp_path_factory):
    """Keys and marks of ledgers that tests make are none of this user's."""
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    yield
    os.environ.pop("XDG_CONFIG_HOME")
    if before is not None:
        os.environ["XDG_CONFIG_HOME"] = before


class Postgres:
    """A server in a temporary folder on a free port; it can be stopped and started again."""

    def __init__(self) -> None:
        self.psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
        self.programs = _programs()
        self.user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="toolkit-postgres-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server: subprocess.Popen[bytes] | None = None
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        setup = [self.programs / "initdb", "-D", self.folder / "data", "-U", "tester", "--auth=trust", "--no-sync"]
        subprocess.run([*setup, "--encoding=UTF8"], check=True, **self._quiet())

    def _quiet(self):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return {**quiet, "user": self.user, "cwd": self.folder}

    @property
    def server_url(self) -> str:
        """The URL without the name of a database."""
        return f"postgresql://tester@127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"{self.server_url}/postgres"

    def start(self) -> None:
        """Let it run, and wait until it answers."""
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-h", "127.0.0.1"]
        self.server = subprocess.Popen([*command, "-k", self.folder], **self._quiet())
        for _ in range(300):
            with contextlib.suppress(self.psycopg.OperationalError), self.psycopg.connect(self.url):
                return
            time.sleep(0.1)
        pytest.fail("the throwaway PostgreSQL server did not start within 30 s")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: connections are cut, what was committed stays."""
        if self.server is not None:
            self.server.send_signal(how)
            self.server.wait(timeout=30)
            self.server = None

    def remove(self) -> None:
        """End it and its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = [folder for folder in folders if (folder / "postgres").exists()]
    if not programs:
        pytest.skip("PostgreSQL's programs (initdb, postgres) are not installed")
    return programs[-1]


def _user() -> str | None:
    """PostgreSQL refuses to run as root; another user must then be at hand."""
    if os.geteuid() != 0:
        return None
    for user in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(user).pw_name
    pytest.skip("PostgreSQL does not run as root and there is no user postgres or nobody")


@pytest.fixture(scope="session")
def postgres_server():
    """The server itself, which a test may stop and start again."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres(postgres_server):
    """The URL of the server's first database."""
    return postgres_server.url


@contextlib.contextmanager
def _serving(app, **options):
    """A real server on a free port of loopback; gives a client of it."""
    # Of a socket that does not name TCP, asyncio does not turn off Nagle's algorithm: 40 ms for each page.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="on", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx.Client(base_url=base, headers={"User-Agent": FIREFOX}, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


@pytest.fixture(scope="session")
def serving():
    """Serves a web application for as long as a block lasts, to a client that calls itself Firefox."""
    return _serving
