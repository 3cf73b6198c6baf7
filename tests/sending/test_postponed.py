"""Mails that the other side postpones: rounds leave them until their moment; who sends by hand tries at once."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.sending.shops import log_of
from toolkit.sending import Ledger, send
from toolkit.sending.clock import micros
from toolkit.sending.ledger.planning import Limits
from toolkit.sending.ledger.schema import deliveries
from toolkit.sending.ledger.waiting import Elsewhere, left_over, waits_for
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

LATER = "450 4.2.0 greylisted"
COUNT = 3
LEASE = 30_000_000


class Greylisting:
    """A mail server that takes a mail from a sender it does not know yet only so long after the first attempt."""

    def __init__(self, clock, after):
        self.clock, self.after = clock, after
        self.first = {}
        self.asked = Counter()

    def __call__(self, verb, number, recipient):
        if verb != "RCPT":
            return None
        self.asked[recipient] += 1
        self.first.setdefault(recipient, self.clock())
        return LATER if self.clock() - self.first[recipient] < self.after else None


@pytest.fixture
def greylisting(mailing):
    mailing.server.fault = Greylisting(mailing.clock, timedelta(minutes=5))
    return mailing.server.fault


def _rounds(mailing, said, *, seconds, count):
    for _ in range(count):
        mailing.rounds(COUNT, said)
        mailing.now += timedelta(seconds=seconds)


def test_rounds_try_a_greylisted_mail_by_its_back_off_and_not_each_time(mailing, greylisting):
    said = []
    _rounds(mailing, said, seconds=20, count=60)
    assert len(mailing.got()) == COUNT
    assert set(mailing.got().values()) == {1}
    # At once, after a minute, after five more: the third is taken.
    assert set(greylisting.asked.values()) == {3}


def test_a_round_says_of_what_an_earlier_one_could_not_send_why_it_waits_and_until_when(mailing, greylisting):
    said = []
    _rounds(mailing, said, seconds=20, count=2)
    waits = r"waiting 3: 3 postponed by the other side \(450 4\.2\.0 greylisted\), to go again from \S+ 12:0\d UTC on$"
    assert [bool(re.search(waits, line)) for line in said] == [True, True]
    assert set(greylisting.asked.values()) == {1}


def test_what_an_older_version_postponed_without_a_moment_is_tried_once_by_the_next_round_and_then_has_one(
    mailing, greylisting
):
    greylisting.after, said = timedelta(days=9), []
    mailing.rounds(COUNT, said)
    with Ledger.open(mailing.ledger) as ledger, ledger.changing() as connection:
        connection.execute(update(deliveries).values(next_at=None))
    with Ledger.open(mailing.ledger, clock=mailing.clock) as ledger:
        (run,) = ledger.status()["run_id"]
        assert left_over(ledger, run)[0] == f"3 postponed by the other side ({LATER})"
    mailing.now += timedelta(seconds=1)
    _rounds(mailing, said, seconds=1, count=5)
    assert set(greylisting.asked.values()) == {2}
    assert all("3 postponed by the other side" in line and "to go again from" in line for line in said[1:])
    greylisting.after = timedelta()
    mailing.now += timedelta(minutes=10)
    mailing.rounds(COUNT, said)
    assert set(mailing.got().values()) == {1}


def test_whoever_sends_by_hand_what_a_round_could_not_send_has_it_tried_at_once(mailing, greylisting):
    mailing.rounds(COUNT, [])
    greylisting.after = timedelta()
    report = mailing.send(COUNT)
    assert report.sent == COUNT
    said = []
    mailing.rounds(COUNT, said)
    assert "sent 0, already sent 3" in said[0]
    assert set(mailing.got().values()) == {1}


def test_whoever_sends_by_hand_under_the_approval_of_a_loop_is_told_until_when_mails_wait(mailing, greylisting):
    mailing.rounds(COUNT, [])
    batch = mailing.prepare(COUNT)
    mailing.now -= timedelta(minutes=1)
    report = send(
        batch,
        mailing.approval,
        transport=mailing.way,
        confirm=COUNT,
        ledger=mailing.ledger,
        progress=False,
        clock=mailing.clock,
    )
    assert (report.sent, report.waiting, report.held_back) == (0, COUNT, 0)
    assert "postponed by the other side (450 4.2.0 greylisted), to go again from" in str(report)


def test_mails_postponed_until_they_are_out_of_the_window_are_told_as_lost_once_and_so_says_the_status(
    mailing, greylisting
):
    greylisting.after = timedelta(days=9)
    said = []
    mailing.rounds(COUNT, said)
    mailing.now += timedelta(hours=19, minutes=30)  # decided at nine
    mailing.rounds(COUNT, said, count=2)
    with Ledger.open(mailing.ledger, clock=mailing.clock) as ledger:
        assert not any("24 hours" in line for run in ledger.status()["run_id"] for line in left_over(ledger, run))
    mailing.now += timedelta(hours=2)
    mailing.rounds(COUNT, said, count=3)
    assert [line.count("lost 3, too late by now (c") for line in said] == [0, 0, 0, 1, 0, 0]
    with Ledger.open(mailing.ledger, clock=mailing.clock) as ledger:
        status = ledger.status().set_index("run_id")
        (run,) = status.index[status["deferred"] == COUNT]
        (*_, last) = left_over(ledger, run)
    assert "nobody sends them now: a batch prepared anew takes them over (all were decided over 24 hours ago: " in last
    assert "too late for any round, and for a batch without a longer `window=`)" in last
    greylisting.after = timedelta()
    mailing.now += timedelta(minutes=1)
    batch = mailing.shop.prepare(now=mailing.now, log=log_of(COUNT), ledger=mailing.ledger, window="48h")
    options = {"transport": mailing.way, "confirm": COUNT, "ledger": mailing.ledger, "progress": False}
    assert send(batch, mailing.approve(batch), clock=mailing.clock, **options).sent == COUNT
    assert set(mailing.got().values()) == {1}


@pytest.fixture
def rounds(ledger, entries, clock, run_record):
    """Plans a round of mails, under an approval that lets four go a day; what was planned, and the round's id."""
    approvals, made = run_record("loop").approvals, itertools.count()

    def plan(count, **options):
        limits = Limits(4, discount_a_day=options.pop("discount_a_day", None))
        run = replace(run_record(f"round {next(made)}"), approvals=approvals, limits=limits)
        return ledger.plan(run, [replace(one, **options) for one in entries(count)]), run.id

    return plan


def _postpone(ledger, run_id, clock, *, minutes):
    held = ledger.claim(run_id, owner="me", limit=10, lease=LEASE)
    again = micros(clock() + timedelta(minutes=minutes))
    later = [(row, Receipt(row.decision_id, State.DEFERRED, code=450, reason=LATER)) for row in held]
    ledger.record(later, next_at={row.decision_id: again for row in held})
    return len(held)


def test_a_round_takes_over_what_was_postponed_when_its_moment_has_come(ledger, rounds, clock):
    _, first = rounds(3)
    assert _postpone(ledger, first, clock, minutes=5) == 3
    clock.forward(minutes=4, seconds=59)
    planned, second = rounds(3)
    assert (planned.adopted, planned.known, planned.held) == (0, 3, 0)
    assert ledger.claim(second, owner="me", limit=10, lease=LEASE) == []
    clock.forward(seconds=1)
    planned, third = rounds(3)
    assert (planned.adopted, planned.known, planned.held) == (3, 0, 0)
    assert [row.attempts for row in ledger.start(ledger.claim(third, owner="me", limit=10, lease=LEASE))] == [2, 2, 2]


def test_mails_that_a_round_takes_over_count_once_for_the_limits(ledger, rounds, clock):
    _, first = rounds(3, discount=2.0, discount_a_day=8.0)
    _postpone(ledger, first, clock, minutes=5)
    clock.forward(minutes=5)
    planned, _ = rounds(5, discount=2.0, discount_a_day=8.0)
    assert (planned.adopted, planned.added, planned.held) == (3, 1, 1)


def test_a_mail_taken_over_counts_for_the_day_in_which_it_was_and_a_round_that_was_done_goes_on(
    ledger, rounds, clock, entries, run_record
):
    _, first = rounds(3)
    _postpone(ledger, first, clock, minutes=5)
    clock.forward(hours=23)
    assert rounds(3)[0].adopted == 3
    clock.forward(hours=2)
    run = replace(run_record("later"), approvals=run_record("loop").approvals, limits=Limits(4))
    planned = ledger.plan(run, entries(3, first=3))
    assert (planned.added, planned.held) == (1, 2)
    rows = ledger.start(ledger.claim(run.id, owner="me", limit=10, lease=LEASE))
    assert len(ledger.record([(row, Receipt(row.decision_id, State.ACCEPTED)) for row in rows])) == 1
    ledger.finish(run.id, by="ana")
    assert ledger.run_state(run.id) == "done"
    clock.forward(hours=25)
    assert ledger.plan(run, entries(3, first=3)).added == 2
    assert ledger.run_state(run.id) == "active"


def test_a_dearer_offer_of_a_mail_taken_over_counts_in_full(ledger, rounds, clock):
    _, first = rounds(3, discount=2.0, discount_a_day=8.0)
    _postpone(ledger, first, clock, minutes=5)
    clock.forward(minutes=5)
    planned, _ = rounds(3, discount=3.0, discount_a_day=8.0)
    assert (planned.adopted, planned.held) == (2, 1)


def test_a_transactional_mail_in_doubt_goes_again_at_its_moment_and_the_next_round_says_so(ledger, rounds, clock):
    _, first = rounds(1, class_="transactional")
    (held,) = ledger.start(ledger.claim(first, owner="me", limit=1, lease=LEASE))
    ledger.record([(held, Receipt(held.decision_id, State.UNKNOWN))])
    assert [row.state for row in ledger.again(first, wait=60_000_000)] == [State.PLANNED]
    planned, second = rounds(1, class_="transactional")
    assert (planned.adopted, planned.known) == (0, 1)
    others = Elsewhere(micros(clock()))
    for row in ledger.rows([held.decision_id]):
        others.add(row)
    assert waits_for(ledger, second, others=others) == ("1 in doubt once, to go again from 2026-03-02 12:01 UTC on",)
    clock.forward(minutes=1)
    assert rounds(1, class_="transactional")[0].adopted == 1
