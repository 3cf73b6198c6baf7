"""A store of answers with a clock set by hand, and mails that may be answered."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.shared import FIREFOX
from toolkit.tracking import Answers, Tokens, TrackedMail

__all__ = ["FIREFOX", "NAMES", "SECOND", "START", "Served"]

START = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
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


class Served:
    """What the one server of a module writes to, and the time it knows: of the test that is running."""

    def __init__(self):
        self.answers = self.clock = None
        self.fetched = []
        self.away = {}  # web address to what is wrong there

    def record(self, batch):
        return self.answers.record(batch)

    def standing(self, mail):
        return self.answers.standing(mail)

    def now(self):
        return self.clock()


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
