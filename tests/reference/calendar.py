"""Moments and local clocks, by zoneinfo alone. A moment is whole microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from toolkit.scenario.duration import Duration, TimeOfDay

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HOUR = 3_600_000_000
DAY = 24 * HOUR
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def to_moment(value: datetime) -> int:
    """Microseconds of a time with a zone."""
    return (value - EPOCH) // MICROSECOND


def to_datetime(moment: int) -> datetime:
    """The same moment as a time in UTC."""
    return EPOCH + moment * MICROSECOND


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_of(*names: object) -> ZoneInfo:
    """R8: the first of the names that is a zone, else UTC."""
    for name in names:
        if isinstance(name, str) and name in _known_zones():
            return ZoneInfo(name)
    return ZoneInfo("UTC")


def local(moment: int, zone: ZoneInfo) -> datetime:
    """What the clock and the calendar on the wall show, without a zone."""
    return to_datetime(moment).astimezone(zone).replace(tzinfo=None, fold=0)


def moment_of(wall: datetime, zone: ZoneInfo) -> int:
    """R8: the moment the wall shows this; the first where it does twice, moved forward where it never does."""
    return to_moment(wall.replace(tzinfo=zone, fold=0))


def later(moment: int, length: Duration, zone: ZoneInfo) -> int:
    """R5: days are the same wall-clock time so many days on, the rest is elapsed time."""
    if length.days:
        moment = moment_of(local(moment, zone) + timedelta(days=length.days), zone)
    return moment + length.microseconds


def clock(value: TimeOfDay) -> time:
    """A time of day as Python has it."""
    return time(value.minutes // 60, value.minutes % 60)


def next_clock(moment: int, at: TimeOfDay, on: tuple[str, ...], zone: ZoneInfo) -> int:
    """R6: the first moment, this one included, at which it is that time on one of those weekdays.

    R8: a time that comes twice is its first time; but whoever stands at it, be it the second, is there.
    """
    here = local(moment, zone)
    today = here.date()
    if here.time() == clock(at) and (not on or WEEKDAYS[today.weekday()] in on):
        return moment
    for days in range(-1, 16):
        day = today + timedelta(days=days)
        if on and WEEKDAYS[day.weekday()] not in on:
            continue
        candidate = moment_of(datetime.combine(day, clock(at)), zone)
        if candidate >= moment:
            return candidate
    raise AssertionError("a fortnight without such a weekday")


def is_quiet(moment: int, start: TimeOfDay, end: TimeOfDay, zone: ZoneInfo) -> bool:
    """R15: whether the local clock stands in [from, to), which may wrap midnight."""
    now = local(moment, zone).time()
    first, last = clock(start), clock(end)
    if first < last:
        return first <= now < last
    return now >= first or now < last


def end_of_quiet(moment: int, end: TimeOfDay, zone: ZoneInfo) -> int:
    """R15: the next moment at which the clock shows the end of quiet hours, for the first or the second time."""
    today = local(moment, zone).date()
    for days in range(3):
        wall = datetime.combine(today + timedelta(days=days), clock(end)).replace(tzinfo=zone)
        for fold in (0, 1):
            candidate = to_moment(wall.replace(fold=fold))
            if candidate > moment and (fold == 0 or local(candidate, zone).time() == clock(end)):
                return candidate
    raise AssertionError("two days without an end of quiet hours")


def in_year(day: date, year: int) -> date:
    """R11: the same day in another year; 29 February falls on the 28th."""
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)


def last_of_month(year: int, month: int) -> int:
    """Number of days of a month."""
    first_of_next = date(year + month // 12, month % 12 + 1, 1)
    return (first_of_next - timedelta(days=1)).day
