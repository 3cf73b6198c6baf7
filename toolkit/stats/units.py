"""One row per unit: units checked, and rows of one unit added up where the metrics allow it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from toolkit.errors import MetricError, listed
from toolkit.readable import counted
from toolkit.stats.metric import Metric
from toolkit.stats.moments import Term, numbers, one_column
from toolkit.stats.outcomes import Arms
from toolkit.stats.ratios import Ratio

__all__ = ["one_row_per_unit", "ratio_columns", "units_again", "units_in_arms"]


def one_row_per_unit(
    outcomes: pd.DataFrame, metrics: Sequence[Metric], further: Sequence[Term] = (), *, arms: Arms, unit: str
) -> tuple[pd.DataFrame, Arms, list[str]]:
    """The outcomes with one row per unit.

    Args:
        outcomes: one row per unit, or several where every metric is a ratio.
        metrics: what will be compared.
        further: terms that checks need besides.
        arms: who is in which arm, by row.
        unit: the column that names the unit.

    Returns:
        The rows, their arms, and what the reader must know.

    Raises:
        MetricError: a unit in several arms, or in several rows although a metric needs one.
    """
    if unit not in outcomes.columns:
        if unit != "unit":
            raise MetricError(
                f"outcomes: column {unit!r} (who the row is about) is missing;"
                f" columns found: {listed(outcomes.columns)}"
            )
        return outcomes, arms, []
    units = one_column(outcomes, unit)
    missing = int(units.isna().sum())
    if missing:
        raise MetricError(f"outcomes: {missing:,} of {len(units):,} rows have no {unit!r}")
    if _unique(units):
        return outcomes, arms, _journeys(outcomes, unit)
    again = units.duplicated(keep=False).to_numpy()
    repeated = units[again]
    several = pd.Series(arms.codes[again], index=repeated.to_numpy()).groupby(level=0).nunique()
    moved = several[several > 1]
    if len(moved):
        raise units_in_arms(len(moved), str(moved.index[0]))
    if not all(isinstance(metric, Ratio) for metric in metrics):
        raise units_again(repeated.nunique(), str(repeated.iloc[0]))
    return _added_up(outcomes, *ratio_columns(metrics, further), arms=arms, unit=unit)


def units_in_arms(count: int, example: str) -> MetricError:
    """The error of units in several arms."""
    return MetricError(
        f"outcomes: {counted(count, 'unit is', 'units are')} in more than one arm, for example {example!r};"
        " each unit belongs to the one arm drawn for it"
    )


def units_again(count: int, example: str) -> MetricError:
    """The error of units in several rows."""
    return MetricError(
        f"outcomes: {counted(count, 'unit has', 'units have')} more than one row, for example {example!r};"
        " give one row per unit, or compare ratios only (Ratio adds up the rows of a unit)"
    )


def _unique(units: pd.Series) -> bool:
    """Whether every unit has one row; without hashing where units are whole numbers, or sorted as `measure` does."""
    if isinstance(units.dtype, np.dtype) and units.dtype.kind in "iu":
        values = units.to_numpy()
        low, high = int(values.min()), int(values.max())
        if high - low < 8 * len(values):
            seen = np.zeros(high - low + 1, dtype=bool)
            seen[values - low] = True
            return int(np.count_nonzero(seen)) == len(values)
    elif isinstance(units.dtype, pd.StringDtype) and units.dtype.storage == "pyarrow":
        texts = pa.chunked_array(pa.array(units.array))
        if pc.all(pc.less(texts[:-1], texts[1:])).as_py():
            return True
    return bool(units.is_unique)


def ratio_columns(metrics: Sequence[Metric], further: Sequence[Term]) -> tuple[list[str], list[str]]:
    """The columns to add up over the rows of a unit, and those known before, whose first known value is taken."""
    ratios = [metric for metric in metrics if isinstance(metric, Ratio)]
    summed = [name for metric in ratios for name in (metric.numerator, metric.denominator)]
    summed += [term.column for term in further if term.kind == "some"]
    kept = [name for metric in ratios for name in metric.covariate]
    kept += [term.column for term in further if term.kind != "some"]
    return list(dict.fromkeys(summed)), [name for name in dict.fromkeys(kept) if name not in summed]


def _added_up(
    outcomes: pd.DataFrame, summed: Sequence[str], kept: Sequence[str], *, arms: Arms, unit: str
) -> tuple[pd.DataFrame, Arms, list[str]]:
    codes, uniques = pd.factorize(outcomes[unit])
    first = np.unique(codes, return_index=True)[1]
    columns: dict[str, NDArray[np.generic]] = {}
    for column in summed:
        values = numbers(outcomes, column).astype(np.float64)
        columns[column] = np.bincount(codes, weights=values, minlength=len(uniques))
    for column in kept:
        values = numbers(outcomes, column).astype(np.float64)
        known = np.flatnonzero(~np.isnan(values))[::-1]
        columns[column] = np.full(len(uniques), np.nan)
        columns[column][codes[known]] = values[known]  # of several, the first is written last
    frame = pd.DataFrame({unit: uniques, **columns})
    return frame, Arms(arms.names, arms.codes[first]), []


def _journeys(outcomes: pd.DataFrame, unit: str) -> list[str]:
    if unit == "customer_id" or "customer_id" not in outcomes.columns:
        return []
    customers = outcomes["customer_id"]
    repeated = len(customers) - customers.nunique()
    if not repeated:
        return []
    return [
        f"{repeated:,} of {len(customers):,} rows are of customers who are there already: rows of one customer are not"
        " independent, and intervals are too short; measure by customer, or use Ratio with unit='customer_id'"
    ]
