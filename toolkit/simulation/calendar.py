"""When people do things: the busy hours and days of a shop, on each person's own clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import InputError, shown

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "day_weights",
    "first_moment",
    "local_moment",
    "time_of_day",
    "to_utc",
    "whole_milliseconds",
]

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_WEEKDAY = np.array([1.08, 1.0, 1.02, 0.98, 0.9, 0.86, 1.16])  # Monday to Sunday
# Visits by local hour: quiet nights, lunch, and a long evening; later mornings at the weekend.
_WORKDAY_HOURS = np.array(
    [18, 9, 5, 3, 3, 5, 14, 28, 40, 45, 48, 54, 70, 62, 46, 44, 46, 52, 60, 74, 94, 100, 78, 42], dtype=float
)
_WEEKEND_HOURS = np.array(
    [26, 15, 8, 4, 3, 3, 6, 14, 32, 54, 68, 70, 64, 60, 62, 64, 66, 64, 62, 70, 84, 86, 64, 40], dtype=float
)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


def first_moment(start: str) -> int:
    """Midnight UTC at the start of a date, in microseconds since 1970.

    Raises:
        InputError: not a date such as 2025-01-06.

    >>> first_moment("1970-01-02") == DAY
    True
    """
    try:
        day = date.fromisoformat(start)
    except (TypeError, ValueError) as fault:
        raise InputError(f"start: expected a date; found {shown(start)}; allowed: for example '2025-01-06'") from fault
    return (day - date(1970, 1, 1)).days * DAY


def whole_milliseconds(moments: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Moments as a shop's systems write them down: to the millisecond, cut off.

    >>> whole_milliseconds(np.array([1_234_567])).tolist()
    [1234000]
    """
    return moments // MILLISECOND * MILLISECOND


def day_weights(first_day: int, days: int, *, growth: float = 0.0) -> npt.NDArray[np.float64]:
    """How busy each day is: the weekday pattern, times a straight growth over the span.

    Args:
        first_day: days since 1970.
        days: how many days.
        growth: how much busier the last day is than the first, as a share.

    Returns:
        One weight per day, about 1 on average where growth is 0.
    """
    day = np.arange(days)
    return _WEEKDAY[(first_day + day + _EPOCH_WEEKDAY) % 7] * (1 + growth * day / max(days, 1))


def time_of_day(chance: npt.NDArray[np.float64], day: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Microseconds since local midnight, drawn from the busy hours of that day.

    Args:
        chance: numbers in [0, 1), one per draw.
        day: local day of each draw, days since 1970.

    Returns:
        One time of day per draw.
    """
    weekend = (day + _EPOCH_WEEKDAY) % 7 >= 5
    ends = np.concatenate([[0.0], np.cumsum(_WORKDAY_HOURS / _WORKDAY_HOURS.sum())])
    weekend_ends = np.concatenate([[0.0], np.cumsum(_WEEKEND_HOURS / _WEEKEND_HOURS.sum())])
    hours = np.arange(25.0)
    hour = np.where(weekend, np.interp(chance, weekend_ends, hours), np.interp(chance, ends, hours))
    micros: npt.NDArray[np.int64] = np.minimum((hour * HOUR).astype(np.int64), DAY - 1)
    return micros


def to_utc(local: npt.NDArray[np.int64], zone: npt.NDArray[np.integer], zones: Sequence[str]) -> npt.NDArray[np.int64]:
    """Local clock times made UTC: an hour that comes twice is the first, one that is left out moves forward.

    Args:
        local: microseconds since 1970 on the local clock.
        zone: index into `zones`, one per time.
        zones: names of IANA zones.

    Returns:
        Microseconds since 1970, UTC.
    """
    moments = np.empty_like(local)
    for index, name in enumerate(zones):
        here = zone == index
        if not here.any():
            continue
        clock = pd.DatetimeIndex(local[here].view("datetime64[us]"))
        utc = clock.tz_localize(name, ambiguous=np.ones(len(clock), bool), nonexistent="shift_forward")
        moments[here] = utc.tz_convert("UTC").tz_localize(None).as_unit("us").asi8
    return moments


def local_moment(
    utc: npt.NDArray[np.int64], zone: npt.NDArray[np.integer], zones: Sequence[str]
) -> npt.NDArray[np.int64]:
    """UTC made local clock times, in microseconds since 1970 on the local clock; the way back of `to_utc`."""
    local = np.empty_like(utc)
    for index, name in enumerate(zones):
        here = zone == index
        if here.any():
            moments = pd.DatetimeIndex(utc[here].view("datetime64[us]")).tz_localize("UTC")
            local[here] = moments.tz_convert(name).tz_localize(None).as_unit("us").asi8
    return local
