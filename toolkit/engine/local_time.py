"""Moments of a run on each customer's own clock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from toolkit.engine.layout import Ints
from toolkit.engine.run import Run
from toolkit.scenario.duration import Duration

__all__ = ["DAY", "HOUR", "later", "local"]

HOUR, DAY = 3_600_000_000, 86_400_000_000


def local(run: Run, moments: Ints, customers: Ints) -> Ints:
    """The local clock, as microseconds since 1970 on that clock.

    Args:
        run: where the customers' zones are.
        moments: UTC microseconds.
        customers: place of each moment's customer in `run.marked.customers`.
    """
    return _by_zone(run, moments, customers, lambda times: times.tz_localize(None))


def later(run: Run, moments: Ints, customers: Ints, by: Duration) -> Ints:
    """The same wall-clock time so many local days later, plus elapsed time (rule R5), in UTC microseconds."""
    if not by.days:
        return moments + by.microseconds

    def moved(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        walls = times.tz_localize(None) + pd.Timedelta(days=by.days)
        first = np.ones(len(walls), dtype=bool)
        there = walls.tz_localize(times.tz, ambiguous=first, nonexistent="shift_forward")
        return there.tz_convert("UTC").tz_localize(None)

    return _by_zone(run, moments, customers, moved) + by.microseconds


def _by_zone(run: Run, moments: Ints, customers: Ints, change: Callable[[pd.DatetimeIndex], pd.DatetimeIndex]) -> Ints:
    result = np.array(moments, dtype=np.int64)
    zones = run.prepared.zone[customers]
    for zone in np.unique(zones):
        mine = zones == zone
        times = pd.DatetimeIndex(np.asarray(moments)[mine].astype("datetime64[us]"), tz="UTC")
        result[mine] = change(times.tz_convert(run.prepared.zone_names[zone])).as_unit("us").asi8
    return result
