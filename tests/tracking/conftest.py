"""A store of answers with a clock set by hand, and mails that may be answered."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import UTC, datetime

import httpx
import pytest
import uvicorn

from toolkit.tracking import Answers, Tokens, TrackedMail

START = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NAMES = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "dddddddddddddddd")


class SetClock:
    """Stands still until it is moved."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now

    def forward(self, seconds):
        self.now += int(seconds * SECOND)


def _tracked_mail(number=0, *, customer=None, name=None, **changes):
    fields = {
        "name": name or NAMES[number],
        "decision_id": f"d{number}",
        "customer_id": customer or f"c{number}",
        "scenario": "cart",
        "step": "reminder",
        "template": "cart/reminder",
        "experiment": "offer_1",
        "arm": "reminder",
        "class_": "marketing",
        "domain": "example.org",
        "locale": "en",
        "message_id": f"{name or NAMES[number]}zzzzzzzzzzzzzzzz@example.com",
        "due_at": START,
        "targets": ("https://shop.example.com/cart", "https://shop.example.com/help?a=1&b=2"),
    }
    return TrackedMail(**(fields | changes))


@pytest.fixture(scope="session")
def tracked_mail():
    return _tracked_mail


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def answers(tmp_path, clock):
    with Answers.open(tmp_path / "answers.sqlite", clock=clock) as opened:
        opened.register([_tracked_mail(number) for number in range(3)])
        yield opened


@pytest.fixture
def tokens():
    return Tokens((bytes(range(32)),))


@contextlib.contextmanager
def _serving(app, **options):
    """A real server on a free port of loopback; gives a client of it."""
    listening = socket.socket()
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
    return _serving
