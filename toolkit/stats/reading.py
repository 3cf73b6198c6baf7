"""Outcomes taken in, from a frame or from a store: who is in which arm, one row per unit, and the moments."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike, fspath
from typing import Any

import pandas as pd

from toolkit.arrow import TableLike, kind_of_table, of_frame
from toolkit.errors import MetricError
from toolkit.stats.metric import Metric
from toolkit.stats.moments import Term, missing_column
from toolkit.stats.outcomes import Outcomes, read, read_arms
from toolkit.stats.ratios import Ratio
from toolkit.stats.source import Source, read_pieces, read_stored
from toolkit.stats.units import one_row_per_unit, ratio_columns, units_again, units_in_arms

__all__ = ["OutcomesLike", "known_about", "number_columns", "opened", "take_in"]

OutcomesLike = TableLike | Source | str | PathLike[str]


def opened(outcomes: OutcomesLike) -> pd.DataFrame | Source:
    """Outcomes as a frame or a store; a path names Parquet files. A Spark DataFrame is added up where it lies."""
    if isinstance(outcomes, pd.DataFrame):
        return outcomes
    if hasattr(outcomes, "sparkSession"):
        in_spark: Source = importlib.import_module("toolkit.events").SparkOutcomes(outcomes)
        return in_spark
    if isinstance(outcomes, str | PathLike):
        # DuckDB is loaded only by those whose outcomes lie in files; the seam it answers stands in `source.py`.
        table: Source = importlib.import_module("toolkit.events").OutcomeTable.from_parquet(fspath(outcomes))
        return table
    if isinstance(outcomes, Source):
        return outcomes
    frame = of_frame(outcomes, "outcomes", error=MetricError)
    if isinstance(frame, pd.DataFrame):
        return frame
    raise MetricError(_no_outcomes(outcomes))


def _no_outcomes(found: object) -> str:
    hint = "; did you mean .to_pandas() of it?" if hasattr(found, "to_pandas") else ""
    return (
        f"outcomes: found {kind_of_table(found)}; allowed: a DataFrame of pandas, polars or Spark, an Arrow table, the "
        f"path of Parquet files, or an OutcomeTable{hint}"
    )


def known_about(outcomes: pd.DataFrame | Source) -> Mapping[str, Any]:
    """What is known of the outcomes: whether randomised, weights, window; empty where nothing is."""
    about = outcomes.attrs.get("toolkit", {}) if isinstance(outcomes, pd.DataFrame) else outcomes.about
    return about if isinstance(about, Mapping) else {}


def number_columns(outcomes: pd.DataFrame | Source) -> list[str]:
    """The columns that hold numbers or flags."""
    if isinstance(outcomes, pd.DataFrame):
        return [str(name) for name in outcomes.columns if pd.api.types.is_numeric_dtype(outcomes[name])]
    return [name for name, kind in outcomes.kinds.items() if kind in ("number", "flag")]


def take_in(
    outcomes: pd.DataFrame | Source,
    metrics: Sequence[Metric],
    further: Sequence[Term],
    *,
    arm: str,
    control: object,
    unit: str,
) -> tuple[Outcomes, list[str]]:
    """Outcomes that metrics can compare, with one row per unit.

    Args:
        outcomes: a frame or a store.
        metrics: what will be compared.
        further: terms that checks need besides.
        arm: the column that says which arm a unit is in.
        control: the value of that column which is control.
        unit: the column that names the unit.

    Returns:
        The outcomes, and what the reader must know.

    Raises:
        MetricError: see `experiment`.
    """
    groups = [*(metric.terms() for metric in metrics), *((term,) for term in further)]
    if isinstance(outcomes, pd.DataFrame):
        arms = read_arms(outcomes, arm=arm, control=control)
        frame, arms, notes = one_row_per_unit(outcomes, metrics, further, arms=arms, unit=unit)
        return read(frame, [term for group in groups for term in group], arms=arms, groups=groups), notes
    if arm not in outcomes.kinds:
        raise missing_column(arm, outcomes.kinds)
    return _stored(outcomes, groups, metrics, further, arm=arm, control=control, unit=unit), []


def _stored(
    outcomes: Source,
    groups: Sequence[Sequence[Term]],
    metrics: Sequence[Metric],
    further: Sequence[Term],
    *,
    arm: str,
    control: object,
    unit: str,
) -> Outcomes:
    """The rows of a store piece by piece where it gives them, else its sums; a fault of the units comes first."""
    looked_at = partial(_one_row_each, outcomes, metrics, further, arm=arm, unit=unit)
    try:
        passed = read_pieces(outcomes, groups, arm=arm, control=control, unit=unit)
    except MetricError:
        looked_at()
        raise
    if passed is not None:
        found, once = passed
        source = outcomes if once else looked_at()
        return found if source is outcomes else read_stored(source, groups, arm=arm, control=control)
    with ThreadPoolExecutor(1) as pool:  # whether units have one row each is looked at while the sums are taken
        checked = pool.submit(looked_at)
        try:
            found = read_stored(outcomes, groups, arm=arm, control=control)
        except MetricError:
            if checked.result() is outcomes:
                raise
    source = checked.result()
    return found if source is outcomes else read_stored(source, groups, arm=arm, control=control)


def _one_row_each(source: Source, metrics: Sequence[Metric], further: Sequence[Term], *, arm: str, unit: str) -> Source:
    if unit not in source.kinds:
        if unit != "unit":
            raise missing_column(unit, source.kinds)
        return source
    found = source.units(unit, arm=arm)
    if found.missing:
        raise MetricError(f"outcomes: {found.missing:,} of {found.rows:,} rows have no {unit!r}")
    if found.moved:
        raise units_in_arms(found.moved, found.example)
    if not found.repeated:
        return source
    if not all(isinstance(metric, Ratio) for metric in metrics):
        raise units_again(found.repeated, found.example)
    summed, kept = ratio_columns(metrics, further)
    return source.added_up(unit, arm=arm, summed=summed, kept=kept)
