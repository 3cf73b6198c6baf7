"""Outcomes that lie elsewhere: what a store of outcomes has to answer, and the moments made of its answers.

The seam is declared here; `toolkit.events.OutcomeTable` answers it: with rows of Parquet files piece by piece, or, over
an event log, with sums that DuckDB makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from toolkit.errors import MetricError, shown
from toolkit.stats.moments import LOOKED_AT, Moments, Term, how_to_make, missing_column
from toolkit.stats.outcomes import Arms, arms_in_order
from toolkit.stats.pieces import gather_pieces

__all__ = ["ArmSums", "Source", "StoredOutcomes", "UnitCheck", "read_pieces", "read_stored"]

Floats = NDArray[np.float64]
_DIGITS_KEPT = 1e-6  # of a sum of squares, the share its deviations must hold so that no digit that matters cancels


class ArmSums(Protocol):
    """What the rows of one arm add up to, expression by expression."""

    @property
    def label(self) -> Any:
        """The value of the arm column; None where it is missing."""

    @property
    def n(self) -> int:
        """Rows."""

    @property
    def present(self) -> NDArray[np.int64]:
        """Rows where the expression has a value."""

    @property
    def sums(self) -> Floats:
        """Sum of each expression, less its shift in each row."""

    @property
    def products(self) -> Floats:
        """Sum of the product of each pair of expressions that was asked for, each less its shift; else NaN."""


class UnitCheck(Protocol):
    """Whether every unit has one row and one arm."""

    @property
    def rows(self) -> int:
        """Rows."""

    @property
    def missing(self) -> int:
        """Rows without a unit."""

    @property
    def repeated(self) -> int:
        """Units with several rows."""

    @property
    def moved(self) -> int:
        """Units in several arms."""

    @property
    def example(self) -> str:
        """One of those units."""


@runtime_checkable
class Source(Protocol):
    """A store of outcomes, one row per unit (or several where only ratios are asked of it)."""

    @property
    def kinds(self) -> Mapping[str, str]:
        """Column to its kind: number, flag, text or time."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What is known of the outcomes, as `frame.attrs["toolkit"]` of `measure`."""

    def sums(
        self,
        lines: Sequence[tuple[str, str, str]],
        pairs: Sequence[tuple[int, int]],
        *,
        arm: str,
        shifts: Sequence[float],
    ) -> Sequence[ArmSums]:
        """Sums of the expressions (kind, column, other) of `Term`, and of products of pairs, by arm: one statement."""

    def pieces(self, columns: Sequence[str], *, arm: str) -> Sequence[Iterator[pa.RecordBatch]] | None:
        """The rows in their order, piece by piece, in a run for each thread; None where only sums leave the store."""

    def column(self, column: str) -> Iterator[pa.Array] | None:
        """One column in the order of the rows, decoded as it is asked for; None where the store cannot give it."""

    def extremes(self, columns: Sequence[str]) -> Mapping[str, tuple[float, float]]:
        """Smallest and largest value of each column."""

    def faults(self, column: str, *, arm: str, label: Any) -> tuple[int, int]:
        """How many values of a column are missing, and infinite, in one arm."""

    def units(self, unit: str, *, arm: str) -> UnitCheck:
        """Whether every unit has one row and one arm."""

    def added_up(self, unit: str, *, arm: str, summed: Sequence[str], kept: Sequence[str]) -> Source:
        """The same with one row per unit: some columns summed, others kept (they must not change within a unit)."""

    def rows(self, columns: Sequence[str], *, arm: str, label: Any) -> pd.DataFrame:
        """Some columns of the rows of one arm, in the order of the store; columns it lacks are left out."""

    def some_words(self, column: str, *, most: int) -> Sequence[str]:
        """Some values of a column as texts, so many at most, missing ones left out; whichever come first."""

    def words(self, column: str) -> Sequence[str]:
        """The different values of a column as texts, missing ones left out."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredOutcomes:
    """Outcomes in a store, for metrics to ask: see `toolkit.stats.outcomes.Outcomes`."""

    source: Source
    column: str
    arms: Arms
    moments: Mapping[str, Moments]
    labels: Mapping[str, Any]

    @property
    def control(self) -> Moments:
        """The moments of control."""
        return self.moments[self.arms.control]

    def values(self, column: str, arm: str) -> Floats:
        """The values of one column in one arm."""
        frame = self.source.rows([column], arm=self.column, label=self.labels[arm])
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)

    def rows(self, arm: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of the rows of one arm."""
        return self.source.rows(columns, arm=self.column, label=self.labels[arm])

    def words(self, column: str) -> Sequence[str]:
        """The different values of a column as texts."""
        return self.source.words(column)


def read_stored(source: Source, groups: Sequence[Sequence[Term]], *, arm: str, control: object) -> StoredOutcomes:
    """The moments of every arm, from one statement; a second only where digits would cancel or covariates have gaps.

    Args:
        source: the store.
        groups: the terms of each metric; only terms of one group are multiplied with each other.
        arm: the column that says which arm a unit is in.
        control: the value of that column which is control.

    Returns:
        The outcomes.

    Raises:
        MetricError: a column is absent or not numeric, or the arms cannot be compared.
    """
    terms = _checked(source, groups, arm)
    pairs = _pairs(terms, groups)
    with np.errstate(invalid="ignore", over="ignore"):
        found, shifts = _summed(source, terms, pairs, arm)
    names = _names({one.label: one.n for one in found}, arm=arm, control=control)
    columns = sorted({term.column for term in terms if not term.counted})
    extremes = source.extremes(columns)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values: what they touch becomes NaN, with a reason
        moments = {str(one.label): _moments(source, terms, one, shifts, extremes, arm) for one in found}
    return StoredOutcomes(source, arm, names, moments, {str(one.label): one.label for one in found})


def read_pieces(
    source: Source, groups: Sequence[Sequence[Term]], *, arm: str, control: object, unit: str
) -> tuple[StoredOutcomes, bool] | None:
    """The same from the rows of a store that gives them piece by piece, in one pass.

    Args:
        source, groups, arm, control: as for `read_stored`.
        unit: the column that names the unit; the store may lack it.

    Returns:
        The outcomes, and whether the pass has shown that every unit has one row; None where the store adds up itself.

    Raises:
        MetricError: as `read_stored`.
    """
    terms = _checked(source, groups, arm)
    columns = {arm, *(name for term in terms for name in term.columns)}
    pieces = partial(source.pieces, sorted(columns), arm=arm)
    units = source.column(unit) if unit in source.kinds else iter(())
    faults = partial(_faults, source, arm)
    found = gather_pieces(pieces, terms, arm=arm, units=units, groups=groups, faults=faults)
    if found is None:
        return None
    counts = dict(zip(found.labels, (one.n for one in found.moments), strict=True))
    names = _names(counts, arm=arm, control=control)
    moments = dict(zip(map(str, found.labels), found.moments, strict=True))
    return StoredOutcomes(source, arm, names, moments, {str(one): one for one in found.labels}), found.rising


def _faults(source: Source, arm: str, column: str, label: Any) -> tuple[int, int]:
    return source.faults(column, arm=arm, label=label)


def _checked(source: Source, groups: Sequence[Sequence[Term]], arm: str) -> tuple[Term, ...]:
    """The terms of all groups, each of which the store can answer."""
    terms = tuple(sorted({term for group in groups for term in group}))
    for column in (arm, *(name for term in terms for name in term.columns)):
        if column not in source.kinds:
            raise missing_column(column, source.kinds)
    for term in terms:
        for column in term.columns if term.kind != "equals" else ():
            if source.kinds[column] not in ("number", "flag"):
                raise MetricError(
                    f"outcomes: column {column!r} should be numbers or flags; found {source.kinds[column]}"
                    + _how_to_make(source, column)
                )
    return terms


def _how_to_make(source: Source, column: str) -> str:
    """The end of a message: how texts of a column become numbers or flags, in words of pandas or of SQL."""
    pieces = source.column(column)
    if pieces is None:
        texts = source.some_words(column, most=LOOKED_AT) if source.kinds[column] == "text" else ()
        return how_to_make(column, texts, in_sql=True)
    first = next(pieces, None)
    return "" if first is None else how_to_make(column, first[:LOOKED_AT].to_pylist())


def _names(counts: Mapping[Any, int], *, arm: str, control: object) -> Arms:
    """The arms, control first; every row is in one of them."""
    total, without = sum(counts.values()), counts.get(None, 0)
    if not total:
        raise MetricError("outcomes: found no rows; an experiment needs at least one unit in each of two arms")
    if without:
        raise MetricError(f"outcomes: {without:,} of {total:,} rows have no arm in column {arm!r}")
    if len({str(label) for label in counts}) < len(counts):
        raise MetricError(f"outcomes: column {arm!r} holds arms that read the same; found {shown(list(counts))}")
    return Arms(arms_in_order([str(label) for label in counts], control=control), np.zeros(0, dtype=np.int8))


def _pairs(terms: Sequence[Term], groups: Sequence[Sequence[Term]]) -> list[tuple[int, int]]:
    place = {term: at for at, term in enumerate(terms)}
    asked = set()
    for group in groups:
        together = sorted(place[term] for term in set(group) if not term.counted)
        asked |= {(one, other) for one in together for other in together if one <= other}
    return sorted(asked)


def _summed(
    source: Source, terms: Sequence[Term], pairs: Sequence[tuple[int, int]], arm: str
) -> tuple[Sequence[ArmSums], Floats]:
    """First as if no covariate had gaps and no digit would cancel; again where that was wrong."""
    plain = [("value", term.column, "") if term.kind == "filled" else _line(term) for term in terms]
    hopeful = [line if line[0] != "missing" else ("value", line[1], "") for line in plain]
    shifts = np.zeros(len(terms))
    found = source.sums(hopeful, pairs, arm=arm, shifts=shifts.tolist())
    gaps = any(
        term.kind in ("filled", "missing") and (one.present[at] < one.n or np.isnan(one.sums[at]))
        for one in found
        for at, term in enumerate(terms)
    )
    lines = [_line(term) for term in terms] if gaps else hopeful
    cancelling = _cancelling(terms, found)
    if cancelling:
        for at in cancelling:
            finite = [one for one in found if np.isfinite(one.sums[at])]  # an arm with an infinite value has no mean
            shifts[at] = sum(float(one.sums[at]) for one in finite) / max(
                sum(int(one.present[at]) for one in finite), 1
            )
    if gaps or cancelling:
        found = source.sums(lines, pairs, arm=arm, shifts=shifts.tolist())
    return [one if gaps else _without_gaps(one, terms, shifts) for one in found], shifts


def _line(term: Term) -> tuple[str, str, str]:
    return term.kind, term.column, term.other


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    label: Any
    n: int
    present: NDArray[np.int64]
    sums: Floats
    products: Floats


def _without_gaps(one: ArmSums, terms: Sequence[Term], shifts: Floats) -> ArmSums:
    """The same with nothing missing, where `missing` stood in for its column."""
    sums, products = one.sums.copy(), one.products.copy()
    for at, term in enumerate(terms):
        if term.kind == "missing":
            known = ~np.isnan(products[at])
            sums[at] = 0.0
            products[at, known] = products[known, at] = 0.0
            shifts[at] = 0.0
    return _Sums(one.label, one.n, one.present, sums, products)


def _cancelling(terms: Sequence[Term], found: Sequence[ArmSums]) -> list[int]:
    said = []
    for at, term in enumerate(terms):
        if term.counted or term.kind == "missing":
            continue
        for one in found:
            square = float(one.products[at, at])
            left = square - float(one.sums[at]) ** 2 / max(one.n, 1)
            if np.isfinite(square) and square > 0 and left < _DIGITS_KEPT * square:
                said.append(at)
                break
    return said


def _moments(
    source: Source,
    terms: tuple[Term, ...],
    one: ArmSums,
    shifts: Floats,
    extremes: Mapping[str, tuple[float, float]],
    arm: str,
) -> Moments:
    width, n = len(terms), one.n
    means = one.sums / n + shifts
    comoments = one.products - np.outer(one.sums, one.sums) / n
    for at in range(width):
        if comoments[at, at] <= 1e-12 * one.products[at, at]:  # every value the same: what is left is rounding
            known = ~np.isnan(comoments[at])
            comoments[at, known] = comoments[known, at] = 0.0
            if abs(means[at]) <= 1e-9 * abs(shifts[at]):
                means[at] = 0.0
    minima, maxima = np.zeros(width), np.zeros(width)
    missing, infinite = np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64)
    for at, term in enumerate(terms):
        if term.counted:
            share = one.sums[at] / n if one.present[at] else 0.0
            comoments[at, :] = comoments[:, at] = np.nan
            means[at], comoments[at, at], maxima[at] = share, share * (1 - share) * n, 1.0
            continue
        if term.kind == "missing":
            maxima[at] = float(one.sums[at] > 0)
            continue
        minima[at], maxima[at] = extremes[term.column]
        broken = not np.isfinite(one.sums[at]) or (term.kind == "value" and one.present[at] < n)
        if broken:
            absent, infinite[at] = source.faults(term.column, arm=arm, label=one.label)
            missing[at] = absent if term.kind == "value" else 0
            means[at] = np.nan
            comoments[at, :] = comoments[:, at] = np.nan
        elif minima[at] == maxima[at]:
            means[at] = minima[at]
    return Moments(terms, n, means, comoments, minima, maxima, missing, infinite)
