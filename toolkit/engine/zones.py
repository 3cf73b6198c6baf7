"""Local time for the kernel: time-zone rules as transition tables, and the two conversions (rules R5, R8).

`zoneinfo` is the authority; a table is read off it once per zone, and the conversions agree with it to the
microsecond (fold=0; a time inside a gap moves forward).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from toolkit.engine.compiled import kernel, kernel_door

__all__ = ["DAY", "Zones", "add_days", "offset_at", "to_local", "to_utc", "zone_tables"]

DAY = 86_400_000_000
_FAR = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1900, 2200  # a log with a moment of the year 9999 in it means none: tables end before


class Zones(NamedTuple):
    """Transition tables of several zones, end to end: zone z has the rows starts[z] to starts[z + 1].

    `utc` is when an offset begins, `wall` the same moment on the local clock with fold=0; times in microseconds.
    """

    starts: npt.NDArray[np.int64]
    utc: npt.NDArray[np.int64]
    wall: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]


def _offset(zone: ZoneInfo, micros: int) -> int:
    offset = (_EPOCH + timedelta(microseconds=micros)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)


def _micros_of(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=1024)
def _transitions(name: str, first_year: int, last_year: int) -> tuple[tuple[int, int], ...]:
    zone = ZoneInfo(name)
    second = 1_000_000
    start, stop = _micros_of(first_year), _micros_of(last_year + 1)
    found = [(start, _offset(zone, start))]
    for day in range(start, stop, DAY):
        before = found[-1][1]
        if _offset(zone, day + DAY) == before:
            continue
        low, high = day, day + DAY
        while high - low > second:
            middle = (low + high) // (2 * second) * second
            if _offset(zone, middle) == before:
                low = middle
            else:
                high = middle
        found.append((high, _offset(zone, high)))
    return tuple(found)


def zone_tables(names: Sequence[str], *, first: int, last: int) -> Zones:
    """The transition tables of some zones over a span of time.

    Args:
        names: IANA names that `zoneinfo` knows.
        first: microseconds since 1970 UTC at which the span begins.
        last: microseconds since 1970 UTC at which it ends.

    Returns:
        Tables that hold from the year before `first` to two years after `last`, within the years 1900 to 2200; outside,
        the nearest offset goes on.
    """
    ends = [_micros_of(year) for year in (_FIRST_YEAR + 1, _LAST_YEAR - 2)]
    years = [(_EPOCH + timedelta(microseconds=min(max(moment, ends[0]), ends[1]))).year for moment in (first, last)]
    span = (years[0] - 1, years[1] + 2)
    starts, utc, wall, offset = [0], [], [], []
    for name in names:
        rows = _transitions(name, *span)
        previous = rows[0][1]
        for moment, now in rows:
            utc.append(moment)
            wall.append(moment + max(previous, now))
            offset.append(now)
            previous = now
        starts.append(len(utc))
    return Zones(*(np.array(column, dtype=np.int64) for column in (starts, utc, wall, offset)))


@kernel
def _row(column: npt.NDArray[np.int64], low: int, high: int, moment: int) -> int:
    first = low
    while low < high:
        middle = (low + high) // 2
        if column[middle] <= moment:
            low = middle + 1
        else:
            high = middle
    return max(low - 1, first)


@kernel
def offset_at(zones: Zones, zone: int, moment: int) -> tuple[int, int, int]:
    """The offset of a moment in UTC, since when it holds, and until when."""
    first, stop = zones.starts[zone], zones.starts[zone + 1]
    row = _row(zones.utc, first, stop, moment)
    since = zones.utc[row] if row > first else -_FAR
    until = zones.utc[row + 1] if row + 1 < stop else _FAR
    return int(zones.offset[row]), int(since), int(until)


@kernel_door
def to_local(zones: Zones, zone: int, moment: int) -> int:
    """Local clock, as microseconds since 1970 on that clock, of a moment in UTC."""
    return moment + int(zones.offset[_row(zones.utc, zones.starts[zone], zones.starts[zone + 1], moment)])


@kernel_door
def to_utc(zones: Zones, zone: int, local: int) -> int:
    """The moment in UTC of a local clock time: the first of two (fold=0), and moved forward out of a gap."""
    return local - int(zones.offset[_row(zones.wall, zones.starts[zone], zones.starts[zone + 1], local)])


@kernel_door
def add_days(zones: Zones, zone: int, moment: int, days: int, micros: int) -> int:
    """The same wall-clock time so many local days later, plus elapsed microseconds (rule R5)."""
    if days != 0:
        moment = to_utc(zones, zone, to_local(zones, zone, moment) + days * DAY)
    return moment + micros
