"""Outcomes read at the door: who is in which arm, what is wrong with them, and the moments of every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from toolkit.errors import MetricError, listed, nearest, shown
from toolkit.stats.gathering import gather
from toolkit.stats.labels import few_labels
from toolkit.stats.moments import Moments, Term, numbers, one_column

__all__ = ["Arms", "FrameOutcomes", "Outcomes", "arms_in_order", "read", "read_arms"]


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """Who is in which arm: names with control first, and a code for each row."""

    names: tuple[str, ...]
    codes: NDArray[np.integer]

    @property
    def control(self) -> str:
        """The arm that the others are held against."""
        return self.names[0]

    @property
    def others(self) -> tuple[str, ...]:
        """Every arm but control."""
        return self.names[1:]


class Outcomes(Protocol):
    """What a metric may ask: moments by arm, and where those do not do, rows."""

    @property
    def arms(self) -> Arms:
        """Names, control first."""

    @property
    def moments(self) -> Mapping[str, Moments]:
        """Moments of all declared terms, by arm."""

    @property
    def control(self) -> Moments:
        """The moments of control."""

    def values(self, column: str, arm: str) -> NDArray[np.float64]:
        """The values of one column in one arm, in the order of the rows."""

    def rows(self, arm: str, columns: Sequence[str]) -> pd.DataFrame:
        """The rows of one arm, at least with these columns; those that are not there are left out."""

    def words(self, column: str) -> Sequence[str]:
        """The different values of a column as texts, missing ones left out."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutcomes:
    """Outcomes in a frame.

    Attributes:
        frame: one row per unit.
        arms: names and codes.
        moments: moments of all declared terms, by arm.
    """

    frame: pd.DataFrame
    arms: Arms
    moments: Mapping[str, Moments]

    @property
    def control(self) -> Moments:
        """The moments of control."""
        return self.moments[self.arms.control]

    def values(self, column: str, arm: str) -> NDArray[np.float64]:
        """The values of one column in one arm, in the order of the rows."""
        chosen = self.arms.codes == self.arms.names.index(arm)
        return np.asarray(numbers(self.frame, column)[chosen], dtype=np.float64)

    def rows(self, arm: str, columns: Sequence[str]) -> pd.DataFrame:
        """The rows of one arm, all columns: a frame has them at hand."""
        chosen: pd.DataFrame = self.frame.loc[self.arms.codes == self.arms.names.index(arm)]
        return chosen

    def words(self, column: str) -> Sequence[str]:
        """The different values of a column as texts, missing ones left out."""
        return sorted(self.frame[column].dropna().astype("str").unique())


def read_arms(frame: pd.DataFrame, *, arm: str, control: object) -> Arms:
    """The arms of outcomes, control first.

    Args:
        frame: one row per unit.
        arm: the column that says which arm a unit is in.
        control: the value of that column which is control.

    Returns:
        Names, control first, the others sorted (or in the order of their categories), and a code for each row.

    Raises:
        MetricError: no rows, no such column, a row without an arm, one arm only, or no such control.
    """
    if not len(frame):
        raise MetricError("outcomes: found no rows; an experiment needs at least one unit in each of two arms")
    if arm not in frame.columns:
        near = nearest(arm, map(str, frame.columns))
        raise MetricError(
            f"outcomes: column {arm!r} (the arm of each unit) is missing"
            + (f"; did you mean arm={near!r}?" if near else "; name yours with arm=...")
            + f"; columns found: {listed(frame.columns)}"
        )
    values = one_column(frame, arm)
    codes: NDArray[np.integer]
    labels: list[Any]
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, labels = np.asarray(values.cat.codes, dtype=np.int64), list(values.cat.categories)
    else:
        codes, labels = _few_texts(values) or _factorized(values)
    if codes.min() < 0:
        without = int((codes < 0).sum())
        raise MetricError(
            f"outcomes: {without:,} of {len(frame):,} rows have no arm in column {arm!r}; say which, or leave these"
            " rows out"
        )
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):
        raise MetricError(f"outcomes: column {arm!r} holds arms that read the same; found {shown(labels)}")
    order = arms_in_order(names, control=control, sort=not isinstance(values.dtype, pd.CategoricalDtype))
    small = np.int8 if len(names) < 128 else np.int64
    position: NDArray[np.integer] = np.array([order.index(name) for name in names], dtype=small)
    if codes.dtype == small and order == tuple(names):
        return Arms(order, codes)
    return Arms(order, position.take(codes))


def _factorized(values: pd.Series) -> tuple[NDArray[np.integer], list[Any]]:
    codes, uniques = pd.factorize(values)
    return codes, list(uniques)


def _few_texts(values: pd.Series) -> tuple[NDArray[np.integer], list[Any]] | None:
    if not (isinstance(values.dtype, pd.StringDtype) and values.dtype.storage == "pyarrow"):
        return None
    return few_labels(pa.chunked_array(pa.array(values.array)))


def arms_in_order(names: Sequence[str], *, control: object, sort: bool = True) -> tuple[str, ...]:
    """The names of the arms, control first.

    Raises:
        MetricError: no such control (names the nearest arm), or one arm only.
    """
    if str(control) not in names:
        near = nearest(str(control), names)
        raise MetricError(
            f"outcomes: no unit is in control {shown(str(control))}; arms found: {listed(sorted(names), near=control)}"
            + (f"; did you mean control={near!r}?" if near else "")
        )
    if len(names) < 2:
        raise MetricError(
            f"outcomes: found one arm only, {shown(names[0])}; a comparison needs control and at least one other arm"
        )
    others = [name for name in names if name != str(control)]
    return (str(control), *(sorted(others) if sort else others))


def read(
    frame: pd.DataFrame, terms: Sequence[Term], *, arms: Arms, groups: Sequence[Sequence[Term]] | None = None
) -> FrameOutcomes:
    """The moments of every declared term in every arm, in one pass.

    Args:
        frame: one row per unit.
        terms: what the metrics need.
        arms: who is in which arm.
        groups: terms that are multiplied with each other; all with all unless given.

    Returns:
        Outcomes that metrics can compare.

    Raises:
        MetricError: a column is absent or not numeric.
    """
    found = gather(frame, terms, codes=arms.codes, arms=len(arms.names), groups=groups)
    return FrameOutcomes(frame, arms, dict(zip(arms.names, found, strict=True)))
