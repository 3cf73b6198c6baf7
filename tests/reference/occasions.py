"""Triggers that no event sets off: dates, silences, cycles, schedules (R11)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.reference.calendar import WEEKDAYS, clock, in_year, last_of_month, later, local, moment_of
from tests.reference.records import Event, as_date, as_text
from toolkit.scenario import models as m
from toolkit.scenario.duration import Duration

Matches = Callable[[Event, str, str | None], bool]


def next_date(trigger: m.DateTrigger, stored: Any, zone: ZoneInfo, not_before: int) -> int | None:
    """The first time an attribute's date comes round, at or after a moment."""
    day = as_date(stored)
    if day is None:
        return None
    if trigger.every == "once":
        days = [day]
    else:
        around = local(not_before, zone).year - trigger.offset.days // 365
        days = [in_year(day, year) for year in range(max(around - 3, day.year + 1), around + 5)]
    moments = (
        moment_of(datetime.combine(one + timedelta(days=trigger.offset.days), clock(trigger.at)), zone)
        + trigger.offset.microseconds
        for one in days
    )
    return min((moment for moment in moments if moment >= not_before), default=None)


def _days_of(trigger: m.ScheduleTrigger, first: date) -> Iterator[date]:
    start = date.fromisoformat(trigger.from_) if trigger.from_ else None
    end = date.fromisoformat(trigger.to) if trigger.to else None
    if trigger.schedule == "once":
        assert start is not None
        yield start
        return
    day = max(first, start) if start else first
    while end is None or day <= end:
        last = last_of_month(day.year, day.month)
        wanted = trigger.schedule == "day"
        if trigger.schedule == "week":
            wanted = WEEKDAYS[day.weekday()] in trigger.on
        elif trigger.schedule == "month":
            assert trigger.day is not None
            wanted = day.day == min(trigger.day, last)
        if wanted:
            yield day
        day += timedelta(days=1)


def next_schedule(trigger: m.ScheduleTrigger, zone: ZoneInfo, not_before: int) -> int | None:
    """The first moment of a schedule, at or after a moment."""
    first = local(not_before, zone).date() - timedelta(days=1)
    for day in _days_of(trigger, first):
        moment = moment_of(datetime.combine(day, clock(trigger.at)), zone)
        if moment >= not_before:
            return moment
    return None


@dataclass
class Due:
    """A journey that should begin at a moment, and the event behind it, if there is one."""

    at: int
    key: str | None
    event: Event | None


@dataclass
class Silence:
    """`inactive`: for each key the last event, when its silence is over, and the due moments that were used up.

    Like a wait it is set ahead when it begins, on the clock of the zone known then.
    """

    trigger: m.InactiveTrigger
    key: str | None
    matches: Matches
    last: dict[str | None, Event] = field(default_factory=dict)
    over: dict[str | None, int] = field(default_factory=dict)
    used: set[tuple[str | None, int]] = field(default_factory=set)

    def see(self, event: Event, zone: ZoneInfo) -> None:
        """R11: no event X for D since the last one, or since `since` where there was none."""
        key = as_text(event.properties.get(self.key)) if self.key else None
        if self.matches(event, self.trigger.inactive, self.trigger.where):
            last = self.last.get(key)
            if last is None or event.at >= last.at:
                self.last[key] = event
                self.over[key] = later(event.at, self.trigger.for_, zone)
        if self.trigger.since and self.matches(event, self.trigger.since, None):
            self.over.setdefault(key, later(event.at, self.trigger.for_, zone))

    def due(self) -> list[Due]:
        """What is due, and not used up."""
        return [Due(at, key, self.last.get(key)) for key, at in self.over.items() if (key, at) not in self.used]

    def use(self, due: Due) -> None:
        """Once per lapse."""
        self.used.add((due.key, due.at))


@dataclass
class Cycle:
    """`cycle`: for each key what is due after the last event; every event begins anew."""

    trigger: m.CycleTrigger
    key: str | None
    matches: Matches
    median: Callable[[Event, m.CycleTrigger, str], int | None]
    last: dict[str | None, Event] = field(default_factory=dict)
    waiting: dict[str | None, Due] = field(default_factory=dict)

    def see(self, event: Event, zone: ZoneInfo) -> None:
        """R11: D after an event, D a number, a property in days, or the median gap seen so far."""
        if not self.matches(event, self.trigger.cycle, self.trigger.where):
            return
        key = as_text(event.properties.get(self.key)) if self.key else None
        last = self.last.get(key)
        if last is not None and event.at < last.at:
            return
        self.last[key] = event
        self.waiting.pop(key, None)
        at = self._after(event, zone)
        if at is not None:
            self.waiting[key] = Due(at, key, event)

    def _after(self, event: Event, zone: ZoneInfo) -> int | None:
        after = self.trigger.after
        if isinstance(after, Duration):
            return later(event.at, after, zone)
        if isinstance(after, m.Median):
            gap = self.median(event, self.trigger, after.median)
            return None if gap is None else event.at + gap
        days = event.properties.get(after)
        if not isinstance(days, int | float) or isinstance(days, bool) or days <= 0:
            return None
        return later(event.at, Duration(int(days), 0), zone) + round((days - int(days)) * 86_400_000_000)

    def due(self) -> list[Due]:
        """What is due, and not used up."""
        return list(self.waiting.values())

    def use(self, due: Due) -> None:
        """Once per event."""
        del self.waiting[due.key]


def median_gap(events: Sequence[Event], same: Callable[[Event], object]) -> int | None:
    """The median time between one customer's consecutive events that are the same in something, but not in time."""
    last: dict[object, int] = {}
    gaps = []
    for event in sorted(events, key=lambda event: (event.at, event.id)):
        which = (event.customer, same(event))
        if event.at > last.get(which, event.at):
            gaps.append(event.at - last[which])
        last[which] = event.at
    if not gaps:
        return None
    return (statistics.median_low(gaps) + statistics.median_high(gaps)) // 2


def offer_text(offer: m.Offer | None) -> str | None:
    """An offer in words, as decisions carry it."""
    if offer is None:
        return None
    parts = []
    if offer.percent is not None:
        parts.append(f"{offer.percent:g}% off")
    if offer.amount is not None:
        parts.append(f"{offer.amount:g} {offer.currency or ''}".rstrip() + " off")
    if offer.free_shipping:
        parts.append("free shipping")
    if offer.minimum is not None:
        parts.append(f"from {offer.minimum:g}")
    if offer.valid is not None:
        parts.append(f"valid {offer.valid}")
    if offer.code:
        parts.append(f"code {offer.code}")
    return ", ".join(parts)
