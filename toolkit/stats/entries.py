"""How many units enter a day, from a replay's journeys or a pace that is given."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.errors import MetricError, shown

__all__ = ["days_until", "entries", "units_within"]


def entries(journeys: pd.DataFrame | None, per_day: float | None) -> NDArray[np.float64] | float:
    """The day of each unit's first entry, rising from 0; or units a day; NaN where nothing is known."""
    if journeys is None:
        if per_day is not None and not 0 < per_day < math.inf:
            raise MetricError(f"plan: per_day: found {shown(per_day)}; allowed: a positive number")
        return math.nan if per_day is None else float(per_day)
    if per_day is not None:
        raise MetricError("plan: give journeys or per_day, not both")
    for column in ("customer_id", "entered_at"):
        if column not in journeys.columns:
            raise MetricError(f"plan: journeys: column {column!r} is missing; pass run.journeys")
    if not len(journeys):
        raise MetricError("plan: journeys: nobody entered")
    if not pd.api.types.is_datetime64_any_dtype(journeys["entered_at"]):
        found = journeys["entered_at"].dtype
        raise MetricError(f"plan: journeys: column 'entered_at' should be moments; found {found}; pass run.journeys")
    if journeys["entered_at"].isna().any():
        gaps = int(journeys["entered_at"].isna().sum())
        raise MetricError(f"plan: journeys: {gaps:,} of {len(journeys):,} rows have no 'entered_at'")
    first = journeys.groupby("customer_id")["entered_at"].min().sort_values()
    return np.asarray((first - first.iloc[0]).dt.total_seconds() / 86_400, dtype=np.float64)


def days_until(entered: NDArray[np.float64] | float, units: float) -> float:
    """Days until so many have entered; beyond the replay at the pace of its second half."""
    if isinstance(entered, float):
        return units / entered
    if units <= len(entered):
        return float(entered[max(math.ceil(units) - 1, 0)])
    return float(entered[-1]) + (units - len(entered)) / _late_pace(entered)


def units_within(entered: NDArray[np.float64] | float, days: float) -> float:
    """Units that enter within so many days."""
    if isinstance(entered, float):
        if math.isnan(entered):
            raise MetricError("plan: days needs journeys or per_day: nobody knows how many enter a day")
        return entered * days
    if days <= entered[-1]:
        return float(np.searchsorted(entered, days, side="right"))
    return len(entered) + (days - float(entered[-1])) * _late_pace(entered)


def _late_pace(entered: NDArray[np.float64]) -> float:
    middle = float(entered[-1]) / 2
    if middle <= 0:
        raise MetricError("plan: journeys: too few days of entries to tell a pace; give per_day")
    return int((entered > middle).sum()) / middle
