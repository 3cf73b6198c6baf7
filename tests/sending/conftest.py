"""A ledger in a file, a clock that is set by hand, and runs to put into it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from toolkit.sending.clock import micros
from toolkit.sending.ledger import Ledger
from toolkit.sending.planning import Entry, RunRecord

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now

    def forward(self, **amount):
        self.now += timedelta(**amount)


def _entries(count, *, first=0, class_="marketing"):
    return [
        Entry(
            decision_id=f"d{number:05d}",
            customer_id=f"c{number}",
            address=f"c{number}@example.org",
            class_=class_,
            message_id=f"m{number:05d}@example.com",
            payload_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        )
        for number in range(first, first + count)
    ]


def _run_record(name="run", *, mails=0, now=START, transport="outbox:here", hours=72):
    return RunRecord(
        id=name,
        digest="0" * 64,
        program="1" * 64,
        transport=transport,
        mails=mails,
        as_of=micros(now),
        not_after=micros(now + timedelta(hours=hours)),
        approval_id=f"approval of {name}",
        approver="ana",
        document="{}",
        signed_at=micros(now),
    )


@pytest.fixture
def entries():
    return _entries


@pytest.fixture
def run_record():
    return _run_record


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def ledger(tmp_path, clock):
    with Ledger.open(tmp_path / "ledger.sqlite", clock=clock) as opened:
        yield opened
