"""Times of every kind made UTC microseconds: zone-aware, local with a declared zone, text, and epoch numbers; and a
moment that is handed over."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pandas as pd

from toolkit.errors import EventLogError, InputError, did_you_mean, shown

__all__ = [
    "check_zone",
    "epoch",
    "epoch_unit",
    "epoch_words",
    "from_aware",
    "from_local",
    "held",
    "is_aware",
    "moment_of",
    "offsets",
    "text_has_offset",
]

# A local time without a zone is what these two are about.
_FIRST = datetime(1900, 1, 1)  # noqa: DTZ001
_LAST = datetime(2200, 1, 1)  # noqa: DTZ001
_EARLIEST = datetime.min  # noqa: DTZ901
_LATEST = datetime.max  # noqa: DTZ901
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_EPOCH_UNITS = (("s", 1e8, 1e11), ("ms", 1e11, 1e14), ("us", 1e14, 1e17), ("ns", 1e17, 1e20))
_EPOCH_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# An offset, Z or a zone's name after a time of day; the - of a plain date does not count.
_OFFSET = r":\d{2}(:\d{2}([.]\d+)?)?\s*([zZ]|[+-]\d{1,2}(:?\d{2})?(:\d{2})?|[A-Za-z][A-Za-z_/+-]+.*)$"


def check_zone(zone: str | None) -> ZoneInfo | None:
    """The IANA zone of that name.

    Raises:
        EventLogError: no such zone; names the nearest.

    >>> check_zone("Europe/Paris")
    zoneinfo.ZoneInfo(key='Europe/Paris')
    """
    if zone is None:
        return None
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError, TypeError) as fault:
        hint = did_you_mean(str(zone), sorted(available_timezones()))
        raise EventLogError(f"zone={shown(zone)} is not an IANA time zone, for example 'Europe/Paris'{hint}") from fault


def moment_of(value: object, *, name: str) -> pd.Timestamp:
    """A moment that was handed over, with a time zone; `name` is what it is called there.

    >>> moment_of("2025-03-04T00:00Z", name="until")
    Timestamp('2025-03-04 00:00:00+0000', tz='UTC')
    """
    try:
        moment = pd.Timestamp(value) if isinstance(value, datetime | str) else pd.NaT
    except ValueError:
        moment = pd.NaT
    if pd.isna(moment):
        allowed = "a moment with a time zone, for example '2025-03-04T00:00Z'"
        raise InputError(f"{name}: found {shown(value)}; allowed: {allowed}")
    if moment.tzinfo is None:
        utc = f"{moment.isoformat().removesuffix(':00')}Z"
        raise InputError(f"{name} needs a time zone; found {str(value)!r}; for example {utc!r}, which is UTC")
    return moment


def offsets(zone: ZoneInfo, first: datetime, last: datetime) -> list[tuple[datetime, int]]:
    """The zone's offset as a step function of local time, fold=0 (rule R8).

    With fold=0 an ambiguous local time is the first of the two and a time inside a gap moves forward, so the
    offset depends on local time alone and a handful of steps says it all.

    Args:
        zone: the zone.
        first: earliest local time of interest.
        last: latest local time of interest; both are held to the years 1900 to 2200.

    Returns:
        One (local time from which it holds, microseconds to subtract to get UTC) per step, in order.

    >>> for since, offset in offsets(ZoneInfo("Europe/Paris"), datetime(2024, 1, 1), datetime(2024, 12, 31)):
    ...     print(since, offset // 3_600_000_000)
    2024-01-01 00:00:00 1
    2024-03-31 03:00:00 2
    2024-10-27 03:00:00 1
    """
    day = min(max(first, _FIRST), _LAST).replace(hour=0, minute=0, second=0, microsecond=0)
    end = min(max(last, _FIRST), _LAST).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    steps = [(day, _offset(zone, day))]
    while day < end:
        following = day + _DAY
        if _offset(zone, following) != steps[-1][1]:
            below, above = day, following
            while above - below > _SECOND:
                middle = below + (above - below) // 2
                middle = middle.replace(microsecond=0)
                if _offset(zone, middle) == steps[-1][1]:
                    below = middle
                else:
                    above = middle
            steps.append((above, _offset(zone, following)))
        day = following
    return steps


def _offset(zone: ZoneInfo, local: datetime) -> int:
    offset = zone.utcoffset(local) or timedelta(0)
    return offset // timedelta(microseconds=1)


def from_local(expression: str, zone: ZoneInfo, first: datetime | str | None, last: datetime | str | None) -> str:
    """SQL that makes a local TIMESTAMP of the zone UTC, exactly as zoneinfo with fold=0 does.

    Args:
        expression: SQL of type TIMESTAMP, local time.
        zone: the zone the times are in.
        first: earliest value of the expression, or None when there are no rows; text where Python has no such year.
        last: latest value.

    Returns:
        SQL of type TIMESTAMP, UTC, never outside the years 1 to 9999: the last evening of 9999 means no end anywhere.
    """
    if first is None or last is None:
        return expression
    earliest = first if isinstance(first, datetime) else _EARLIEST
    latest = last if isinstance(last, datetime) else _LATEST
    utc = _shifted(expression, zone, earliest, latest)
    return held(utc) if earliest - _EARLIEST < _DAY or _LATEST - latest < _DAY else utc


def held(utc: str) -> str:
    """SQL of a UTC TIMESTAMP held to the years 1 to 9999."""
    return (
        f"CASE WHEN {utc} > TIMESTAMP '{_LATEST}' THEN TIMESTAMP '{_LATEST}' "
        f"WHEN {utc} < TIMESTAMP '{_EARLIEST}' THEN TIMESTAMP '{_EARLIEST}' ELSE {utc} END"
    )


def _shifted(expression: str, zone: ZoneInfo, first: datetime, last: datetime) -> str:
    steps = offsets(zone, first, last)
    if len(steps) == 1:
        shift = str(steps[0][1])
        if steps[0][1] == 0:
            return expression
    else:
        branches = " ".join(
            f"WHEN {expression} < TIMESTAMP '{following[0]}' THEN {offset}"
            for (_, offset), following in pairwise(steps)
        )
        shift = f"CASE {branches} ELSE {steps[-1][1]} END"
    return f"make_timestamp(epoch_us({expression}) - ({shift})::BIGINT)"


def from_aware(expression: str) -> str:
    """SQL that makes a TIMESTAMP WITH TIME ZONE a UTC TIMESTAMP, whatever the session's zone."""
    return f"make_timestamp(epoch_us(({expression})::TIMESTAMPTZ))"


def is_aware(kind: str) -> bool:
    """The database type holds instants, of whatever resolution."""
    return kind.startswith("TIMESTAMPTZ") or kind.endswith("WITH TIME ZONE")


def text_has_offset(expression: str) -> str:
    """SQL flag: the text ends with an offset, Z or a zone's name."""
    return f"regexp_matches({expression}, '{_OFFSET}')"


def epoch_unit(smallest: float, largest: float) -> str | None:
    """The unit of numbers that count from 1970: s, ms, us or ns; None when that is not clear.

    Seconds are recognised from 1973 on; 1e8 to 1e11 is seconds, to 1e14 milliseconds, to 1e17 microseconds.

    >>> epoch_unit(1_600_000_000, 1_700_000_000), epoch_unit(1.6e12, 1.7e12), epoch_unit(5, 1.7e12)
    ('s', 'ms', None)
    """
    for unit, low, high in _EPOCH_UNITS:
        if low <= smallest and largest < high:
            return unit
    return None


def epoch(expression: str, unit: str) -> str:
    """SQL that makes a number of such units since 1970 a UTC TIMESTAMP."""
    scaled = {
        "s": f"round(({expression})::DECIMAL(38, 9) * 1000000)",
        "ms": f"round(({expression})::DECIMAL(38, 9) * 1000)",
        "us": f"round({expression})",
        "ns": f"floor(({expression})::HUGEINT // 1000)",
    }[unit]
    return f"make_timestamp(({scaled})::BIGINT)"


def epoch_words(unit: str) -> str:
    """The unit in words, for a note."""
    return _EPOCH_WORDS[unit]
