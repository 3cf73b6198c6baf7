"""What people have in their files, and what a replay makes of it: moments and dates that are none, other orders."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.engine import replay
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import load, loads

EACH = "{scenario: w, class: transactional, trigger: {event: x}, reentry: every, steps: [{send: a/b}]}"
BIRTHDAY = "{scenario: b, class: transactional, trigger: {date: birthday}, reentry: every, steps: [{send: a/b}]}"


def _log(at: list[str], **customers: list[object]) -> EventLog:
    names = [f"c{number}" for number in range(len(at))]
    events = pd.DataFrame({"customer_id": names, "event": "x", "at": pd.to_datetime(at, utc=True, format="ISO8601")})
    return EventLog.from_pandas(events, customers=pd.DataFrame({"customer_id": names, **customers}))


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_difference_knows_events_of_another_log_by_what_they_are(order) -> None:
    log = EventLog.open("data/shop")
    other = EventLog.from_pandas(log.events.iloc[order], customers=log.customers)
    program = load("templates/abandoned_cart")
    before, after = replay(program, log), replay(program, other)
    assert before.digest == after.digest
    found = before.diff(after)
    assert len(found.mails) == 0
    assert found.same == int((before.decisions["status"] == "send").sum())


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
def test_a_moment_that_stands_for_none_stops_no_replay(moment, zone) -> None:
    log = _log(["2025-03-01T10:00Z", moment])
    for text in (EACH, EACH.replace("event: x", "schedule: month, day: 1")):
        run = replay(loads(f"timezone: {zone}\n---\n{text}"), log)
        assert len(run.journeys) >= 2


def test_dates_that_are_none_are_told() -> None:
    log = _log(["2025-01-01T10:00Z", "2025-12-01T10:00Z", "2025-12-01T10:00Z", "2025-12-01T10:00Z"],
               birthday=["1990-06-01", "06/01/1990", "1990-02-29", None])  # fmt: skip
    run = replay(loads(BIRTHDAY), log)
    assert run.journeys["customer_id"].tolist() == ["c0"]
    assert "2 customers have a 'birthday' that is no date, and count as without one" in " ".join(run.notes)
    assert not [note for note in replay(loads(EACH), log).notes if "no date" in note]


def test_a_number_is_no_date() -> None:
    log = _log(["2025-01-01T10:00Z"], birthday=[19900601])
    with pytest.raises(
        ScenarioError, match=r"b\.trigger\.date: no dates; found .birthday \(number\).; allowed: .*1990-12-31"
    ):
        replay(loads(BIRTHDAY), log)


@pytest.mark.parametrize("offset", ["-4000d", "400d", "366d"])
def test_an_offset_of_more_than_a_year_from_a_date_of_every_year_is_refused(offset) -> None:
    with pytest.raises(ScenarioError, match="further off than a year"):
        loads(BIRTHDAY.replace("date: birthday", f"date: birthday, offset: {offset}"))
    loads(BIRTHDAY.replace("date: birthday", f"date: birthday, every: once, offset: {offset}"))
    loads(BIRTHDAY.replace("date: birthday", "date: birthday, offset: -365d"))


@pytest.mark.parametrize("amount", ["x", 0, -1.0, float("nan"), float("inf")])
def test_the_largest_order_is_an_amount(amount) -> None:
    run = replay(loads(EACH), _log(["2025-01-01T10:00Z"]))
    with pytest.raises(InputError, match="largest_order must be an amount above 0; found"):
        run.load(largest_order=amount)
