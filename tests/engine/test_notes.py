"""What a replay tells of the log: unknown zones, events set aside, dates that are none (rules R8, R11, R24)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads

GREETING = loads("scenario: s\ntrigger: {date: birthday}\nreentry: every\nsteps: [{send: m/x}]")
BORN = {"customer_id": "ana", "birthday": "1990-03-03"}
CUSTOMERS = {"consent": True, "email": "someone@example.com"}


def notes_of(
    customers: list[dict[str, object]], ids: tuple[str, ...] = ("e1", "e2"), store: Path | None = None
) -> tuple[str, ...]:
    frame = pd.DataFrame(
        {"customer_id": ["ana", "bo"], "event": "view", "at": "2025-03-03T10:00Z", "value": [1.0, 2.0], "event_id": ids}
    )
    log = EventLog.from_pandas(frame, customers=pd.DataFrame([CUSTOMERS | one for one in customers]))
    if store is not None:
        log.save(store)
        log = EventLog.open(store)
    return tuple(replay(GREETING, log).notes)


@pytest.mark.parametrize(
    ("zones", "said"),
    [
        (["Mars/Base", "Europe/Paris"], "the time zone 'Mars/Base' of 1 customer is unknown; UTC was used"),
        (["Mars/Base", "Mars/Base"], "the time zone 'Mars/Base' of 2 customers is unknown; UTC was used"),
    ],
)
def test_r8_customers_of_an_unknown_zone_are_counted(zones: list[str], said: str) -> None:
    people = [
        {"customer_id": one, "timezone": zone, "birthday": "1990-03-03"}
        for one, zone in zip(("ana", "bo"), zones, strict=True)
    ]
    assert notes_of(people) == (said,)


@pytest.mark.parametrize("stored", [False, True])
def test_r24_events_set_aside_are_counted_in_the_report(stored: bool, tmp_path: Path) -> None:
    people: list[dict[str, object]] = [{"customer_id": "ana", "birthday": "1990-03-03"}]
    said = "1 event left out, because an event before has the same event_id: log.quarantine"
    assert notes_of(people, ("e1", "e1"), tmp_path / "one" if stored else None) == (said,)
    assert notes_of(people, ("e1", "e2"), tmp_path / "two" if stored else None) == ()


def test_a_replay_that_ends_before_the_log_begins_says_so() -> None:
    frame = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"]})
    run = replay(GREETING, EventLog.from_pandas(frame, customers=pd.DataFrame([BORN])), until="2024-12-31T00:00Z")
    assert str(run.summary()).splitlines()[0] == "Replay until 2024-12-31, before the log begins on 2025-03-03 (exact)"


WHOLE = {"trigger": "{event: view}", "reentry": "every", "steps": "[{send: m/x}]"}
WAIT = "[{wait_for: {event: view, within: 1d}, else: [{wait_for: {event: email_sent, within: 1d}}]}, {send: m/x}]"


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"trigger": "{event: email_sent}"}, True),
        ({"trigger": "{inactive: email_sent, for: 3d}"}, True),
        ({"audience": "{any: [{not_happened: {event: email_sent}}, {happened: {event: view}}]}"}, True),
        ({"exit_on": "[{event: email_sent}]"}, True),
        ({"steps": WAIT}, True),
        ({"goal": "{event: email_sent, within: 1d}"}, False),  # what is looked at afterwards decides nothing
        ({}, False),
    ],
)
def test_r22_a_scenario_that_goes_by_mails_of_the_log_says_so(part: dict[str, str], told: bool) -> None:
    text = "\n".join(f"{key}: {value}" for key, value in {"scenario": "s", **WHOLE, **part}.items())
    frame = pd.DataFrame({"customer_id": ["ana", "ana"], "event": ["view", "email_sent"], "at": "2025-03-03T10:00Z"})
    said = "s: email_sent is what the log holds; mails that this replay decides begin, end and branch nothing"
    assert (said in replay(loads(text), EventLog.from_pandas(frame)).notes) is told


def test_r11_what_is_no_date_counts_as_none_and_is_told() -> None:
    people: list[dict[str, object]] = [{"customer_id": "ana", "birthday": "31/12/1990"}]
    said = "the 'birthday' of 1 customer is no date, and counts as none; write dates as 1990-12-31"
    assert said in notes_of(people)
