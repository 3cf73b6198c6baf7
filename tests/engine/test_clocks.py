"""Wall-clock rules in every zone of the IANA list, around every change of the clock from 2020 to 2037.

The engine replays one log of triggers set around the changes; what must come of each is told by zoneinfo alone. Rules
R5 (days ahead), R6 (a time of day), R8 (times that come twice or never), R11 (dates and schedules), R15 (quiet hours).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import pytest

from tests.reference.calendar import DAY, HOUR, end_of_quiet, is_quiet, later, next_clock, to_datetime, to_moment
from tests.reference.occasions import next_date, next_schedule
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.scenario import models as m
from toolkit.scenario.duration import Duration, TimeOfDay

FEW = (
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",  # summer time moves by half an hour
    "Africa/Casablanca",  # summer time ends for Ramadan
    "America/St_Johns",
    "Antarctica/Troll",  # two hours
    "Asia/Kathmandu",
    "America/Nuuk",  # its rules changed in 2023
)
MINUTE = 60_000_000
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
AROUND = (-30 * HOUR, -24 * HOUR, -9 * HOUR, -2 * HOUR, -1, 0, 30 * MINUTE, HOUR - 1, HOUR, 26 * HOUR)


@cache
def changes(zone: str) -> tuple[int, ...]:
    """Moments at which the offset of a zone changes, found by halving between days that differ."""
    rules = ZoneInfo(zone)
    found = []
    days = [FIRST + timedelta(days=day) for day in range((LAST - FIRST).days + 1)]
    offsets = [day.astimezone(rules).utcoffset() for day in days]
    for place in range(len(days) - 1):
        if offsets[place] == offsets[place + 1]:
            continue
        low, high = days[place], days[place + 1]
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) // 2
            if middle.astimezone(rules).utcoffset() == low.astimezone(rules).utcoffset():
                low = middle
            else:
                high = middle
        found.append(round(high.timestamp()) * 1_000_000)
    return tuple(found)


def triggers(zones: Sequence[str]) -> list[tuple[str, int]]:
    """Moments around the changes of each zone; where there are none, those of Paris."""
    return [(zone, moment + gap) for zone in zones for moment in changes(zone) or changes(FEW[0]) for gap in AROUND]


def decided(zones: Sequence[str], scenario: str, started: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """When the engine decides on the mail of each trigger, in a program of one scenario."""
    people = pd.DataFrame({"customer_id": list(zones), "timezone": list(zones), "email": "someone@example.org"})
    events = pd.DataFrame(started, columns=["customer_id", "at"]).assign(event="a")
    events["at"] = pd.to_datetime(events["at"], unit="us", utc=True)
    program = loads(f"{{scenario: s, reentry: every, while_active: parallel, trigger: {{event: a}}, {scenario}}}")
    run = replay(program, EventLog.from_pandas(events, customers=people), until=LAST + timedelta(days=60))
    both = run.decisions[["journey_id", "at"]].merge(run.journeys[["journey_id", "customer_id", "trigger_at"]])
    assert len(both) == len(set(started))
    moments = (both[name].to_numpy("datetime64[us]").astype(np.int64).tolist() for name in ("trigger_at", "at"))
    began, went = moments
    return dict(zip(zip(both["customer_id"], began, strict=True), went, strict=True))


def after_quiet(start: str, end: str) -> Callable[[int, ZoneInfo], int]:
    """R15 without a spread: where it is quiet, the end of it, and again where it is quiet then."""

    def goes(moment: int, zone: ZoneInfo) -> int:
        while is_quiet(moment, TimeOfDay.parse(start), TimeOfDay.parse(end), zone):
            moment = end_of_quiet(moment, TimeOfDay.parse(end), zone)
        return moment

    return goes


RULES: dict[str, Callable[[int, ZoneInfo], int]] = {
    "steps: [{wait: 1d}, {send: m/x}]": lambda at, zone: later(at, Duration(1), zone),
    "steps: [{wait: 1w}, {send: m/x}]": lambda at, zone: later(at, Duration(7), zone),
    "steps: [{wait: 1d2h}, {send: m/x}]": lambda at, zone: later(at, Duration(1, 2 * HOUR), zone),
    "steps: [{wait: 24h}, {send: m/x}]": lambda at, zone: at + DAY,
    'steps: [{wait: {until: "02:30"}}, {send: m/x}]': lambda at, zone: next_clock(at, TimeOfDay(150), (), zone),
    'steps: [{wait: {until: "00:00", on: [sun, mon]}}, {send: m/x}]': lambda at, zone: next_clock(
        at, TimeOfDay(0), ("sun", "mon"), zone
    ),
    'quiet: {from: "22:00", to: "08:00"}, steps: [{send: m/x}]': after_quiet("22:00", "08:00"),
    'quiet: {from: "23:00", to: "02:30"}, steps: [{send: m/x}]': after_quiet("23:00", "02:30"),
    'quiet: {from: "01:30", to: "02:15"}, steps: [{send: m/x}]': after_quiet("01:30", "02:15"),
}


def differing(zones: Sequence[str], scenario: str) -> list[str]:
    """Triggers whose mail the engine decides at another moment than zoneinfo has it."""
    rule, started = RULES[scenario], triggers(zones)
    found = decided(zones, scenario, started)
    return [
        f"{zone}, trigger {to_datetime(at)}: {to_datetime(found[zone, at])} instead of {to_datetime(expected)}"
        for zone, at in started
        if found[zone, at] != (expected := rule(at, ZoneInfo(zone)))
    ]


@pytest.mark.parametrize("scenario", RULES)
def test_around_changes_of_the_clock_a_rule_follows_zoneinfo(scenario: str) -> None:
    assert differing(FEW, scenario) == []


@pytest.mark.soak
@pytest.mark.parametrize("scenario", RULES)
def test_in_every_zone_around_every_change_a_rule_follows_zoneinfo(scenario: str) -> None:
    assert differing(sorted(available_timezones()), scenario) == []


def moments_of(zones: Sequence[str], trigger: str) -> dict[str, list[int]]:
    """When journeys of a trigger without an event begin, from 2020 to 2037, for one customer of each zone."""
    people = pd.DataFrame({"customer_id": list(zones), "timezone": list(zones), "since": SINCE})
    events = pd.DataFrame({"customer_id": [zones[0]], "event": ["z"], "at": [FIRST]})
    program = loads(f"{{scenario: s, reentry: every, trigger: {trigger}, steps: [{{send: m/x}}]}}")
    run = replay(program, EventLog.from_pandas(events, customers=people), until=LAST)
    began = run.journeys.assign(at=run.journeys["trigger_at"].to_numpy("datetime64[us]").astype(np.int64))
    return {str(zone): rows["at"].tolist() for zone, rows in began.groupby("customer_id")}


@cache
def every_moment(trigger: m.DateTrigger | m.ScheduleTrigger, zone: str) -> list[int]:
    """The same by zoneinfo, one after the other."""
    found = []
    moment: int | None = to_moment(FIRST) - 1
    while moment is not None:
        if isinstance(trigger, m.DateTrigger):
            moment = next_date(trigger, SINCE, ZoneInfo(zone), moment + 1)
        else:
            moment = next_schedule(trigger, ZoneInfo(zone), moment + 1)
        if moment is None or moment > to_moment(LAST):
            break
        found.append(moment)
    return found


def apart(zones: Sequence[str]) -> list[str]:
    """Zones without those that only bear another name: the same changes, and the same clock after each."""
    seen = {
        (changes(zone), *(to_datetime(at).astimezone(ZoneInfo(zone)).utcoffset() for at in changes(zone) or (0,))): zone
        for zone in zones
    }
    return sorted(seen.values())


SINCE = "2019-03-31"
OCCASIONS = (
    "{schedule: day, at: '02:30'}",
    "{schedule: week, on: [sun], at: '01:15'}",
    "{schedule: month, day: 31, at: '00:00'}",
    "{date: since, at: '02:30'}",
)


def missed(zones: Sequence[str], trigger: str) -> list[str]:
    """Zones in which the occasions of a trigger are not those of zoneinfo."""
    found = moments_of(zones, trigger)
    spec = loads(f"{{scenario: s, reentry: every, trigger: {trigger}, steps: [{{send: m/x}}]}}")["s"].trigger
    return [zone for zone in zones if found[zone] != every_moment(spec, zone)]


@pytest.mark.parametrize("trigger", OCCASIONS)
def test_schedules_and_dates_follow_zoneinfo(trigger: str) -> None:
    assert missed(FEW[:2] if "day, at" in trigger else FEW, trigger) == []


@pytest.mark.soak
@pytest.mark.parametrize("trigger", OCCASIONS)
def test_schedules_and_dates_follow_zoneinfo_in_every_zone(trigger: str) -> None:
    every = sorted(available_timezones())
    assert missed(apart(every) if "day, at" in trigger else every, trigger) == []
