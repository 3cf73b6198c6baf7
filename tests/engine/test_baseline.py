"""The pace at which people come is told since the first of them came, to the end of the log."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd
import pytest

from toolkit.engine import replay
from toolkit.engine.baseline import baseline_of
from toolkit.events import EventLog
from toolkit.scenario import Program, loads

BEGIN = pd.Timestamp("2025-01-01T10:00Z")
REST = """
reentry: every
goal: {event: purchase, within: 7d}
steps: [{id: pause, wait: 1h}, {send: cart/reminder}]
"""
CART = "scenario: cart\ntrigger: {event: cart_add}" + REST


def _log(*rows: Iterable[tuple[str, str, float]]) -> EventLog:
    """A log of customer, event and days since its begin."""
    frame = pd.DataFrame([row for part in rows for row in part], columns=["customer_id", "event", "day"])
    return EventLog.from_pandas(frame.assign(at=BEGIN + pd.to_timedelta(frame.pop("day"), unit="D")))


def _daily(event: str, *, since: int, days: int, each: int = 2) -> list[tuple[str, str, float]]:
    """So many new people do something every day."""
    return [(f"c{day:03}_{number}", event, day) for day in range(since, since + days) for number in range(each)]


def _pace(program: str | Program, log: EventLog, until: float | None = None) -> float:
    program = loads(program) if isinstance(program, str) else program
    run = replay(program, log, until=None if until is None else BEGIN + pd.Timedelta(days=until))
    return baseline_of(run).per_day


def test_accounts_older_than_the_first_cart_do_not_slow_the_pace() -> None:
    log = _log(_daily("sign_up", since=0, days=300), _daily("cart_add", since=300, days=51))
    assert _pace(CART, log) == pytest.approx(2.04)


def test_carts_that_the_condition_of_the_trigger_leaves_out_begin_nothing() -> None:
    frame = pd.DataFrame(_daily("cart_add", since=0, days=101), columns=["customer_id", "event", "day"])
    frame["value"] = (frame["day"] >= 80) * 50.0
    log = EventLog.from_pandas(frame.assign(at=BEGIN + pd.to_timedelta(frame.pop("day"), unit="D")))
    assert _pace(CART.replace("cart_add}", 'cart_add, where: "value >= 20"}'), log) == pytest.approx(42 / 20)


def test_whoever_comes_again_counts_once() -> None:
    log = _log(_daily("cart_add", since=100, days=10, each=3), [("c100_0", "cart_add", day) for day in range(101, 121)])
    assert _pace(CART, log) == pytest.approx(30 / 20)


def test_a_silence_can_begin_only_when_it_has_lasted() -> None:
    silent = "scenario: back\ntrigger: {inactive: purchase, for: 90d}" + REST
    log = _log(_daily("purchase", since=0, days=111), [("zoe", "view", 121)])
    assert _pace(silent, log) == pytest.approx(2 * 32 / 31)


def test_a_schedule_counts_from_its_first_round() -> None:
    weekly = "scenario: news\ntrigger: {schedule: week, on: [mon]}" + REST
    log = _log(_daily("view", since=0, days=15))
    people, first = 2 * 12, pd.Timestamp("2025-01-06T09:00Z")
    assert _pace(weekly, log) == pytest.approx(people / ((BEGIN - first) / pd.Timedelta(days=1) + 14))


def test_a_replay_that_goes_on_after_the_log_does_not_slow_the_pace() -> None:
    log = _log(_daily("cart_add", since=0, days=11))
    assert _pace(CART, log, until=200) == _pace(CART, log) == pytest.approx(2.2)


def test_a_replay_that_ends_before_the_log_counts_up_to_there() -> None:
    log = _log(_daily("cart_add", since=50, days=100))
    assert _pace(CART, log, until=60) == pytest.approx(2.2)


def test_who_enters_after_the_end_of_the_log_is_counted_up_to_there() -> None:
    birthday = "scenario: day\ntrigger: {date: expiry, every: once}" + REST
    names = [f"c{number:02}" for number in range(41)]
    people = pd.DataFrame({"customer_id": names, "expiry": [BEGIN.date() + pd.Timedelta(days=n) for n in range(41)]})
    frame = pd.DataFrame({"customer_id": names, "event": "view", "at": BEGIN - pd.Timedelta(days=1)})
    log = EventLog.from_pandas(frame, customers=people)
    assert _pace(birthday, log, until=100) == pytest.approx(41 / 40)


def test_less_than_a_day_counts_as_one() -> None:
    assert _pace(CART, _log(_daily("sign_up", since=0, days=90), _daily("cart_add", since=90, days=1))) == 2.0


def test_of_one_person_no_pace_can_be_told_and_nobody_is_none_a_day() -> None:
    signed = _daily("sign_up", since=0, days=30)
    assert math.isnan(_pace(CART, _log(signed, [("ana", "cart_add", 29), ("ana", "cart_add", 28)])))
    assert _pace(CART, _log(signed, [("ana", "cart_add", 29)]), until=20) == 0.0
