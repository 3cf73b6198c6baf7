"""One pass over a frame: the moments of all terms of all metrics, by arm.

Rows are taken in blocks that stay in the cache. Of a block, the rows of each arm are picked, term by term, and shifted
near their mean so that nothing cancels; sums and products of those short lines are added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.stats.moments import Moments, Term, numbers

__all__ = ["gather"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Columns = Mapping[tuple[str, str], NDArray[np.generic]]
_BLOCK = 32_768  # stays in the cache
_PRODUCT = 9_000  # below what BLAS would share out to threads, which costs more than it saves
_WORTH_SHARING = 200_000  # rows from which two threads are faster than one


def gather(
    frame: pd.DataFrame,
    terms: Sequence[Term],
    *,
    codes: NDArray[np.integer],
    arms: int,
    groups: Sequence[Sequence[Term]] | None = None,
) -> tuple[Moments, ...]:
    """The moments of every arm, in one pass over the rows.

    Args:
        frame: outcomes, one row per unit.
        terms: what to read; each is read once however many metrics ask for it.
        codes: the arm of each row, 0 to `arms` - 1.
        arms: how many arms there are; an arm without rows has n = 0.
        groups: terms that are multiplied with each other, metric by metric; all with all unless given.

    Returns:
        One `Moments` per arm.

    Raises:
        MetricError: a column is absent or not numeric.

    >>> outcomes = pd.DataFrame({"revenue": [1.0, 3.0, 5.0]})
    >>> control, mail = gather(outcomes, [Term("value", "revenue")], codes=np.array([0, 1, 1]), arms=2)
    >>> control.n, mail.means.tolist(), mail.variance(Term("value", "revenue"))
    (1, [4.0], 2.0)
    """
    terms = tuple(sorted(set(terms)))
    columns = _columns(frame, terms)
    run = _Run(terms, columns, codes, arms, groups)
    if len(codes) < _WORTH_SHARING:
        run.read(0, len(codes))
    else:  # always in the same two halves, so that the sums are the same on every machine
        half = len(codes) // (2 * _BLOCK) * _BLOCK
        other = _Run(terms, columns, codes, arms, groups)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_Run.read, (run, other), (0, half), (half, len(codes))))
        run.join(other)
    with np.errstate(invalid="ignore", over="ignore"):
        return tuple(run.moments(arm) for arm in range(arms))


class _Run:
    """Sums over the blocks seen so far."""

    def __init__(
        self,
        terms: tuple[Term, ...],
        columns: Columns,
        codes: NDArray[np.integer],
        arms: int,
        groups: Sequence[Sequence[Term]] | None,
    ) -> None:
        self.terms, self.columns, self.codes, self.arms = terms, columns, codes, arms
        gaps = {
            term.column: bool(np.isnan(columns[term.column, ""]).any())
            if _floating(columns[term.column, ""])
            else False
            for term in terms
            if term.kind in ("filled", "missing")
        }
        self.row_of: dict[Term, int] = {}
        self.lines: list[Term] = []
        self.counters: list[Term] = []
        for term in terms:
            if term.counted:
                if not (term.kind == "broken" and not _floating(columns[term.column, ""])):
                    self.counters.append(term)
            elif not (term.kind == "missing" and not gaps[term.column]):
                self._place(
                    Term("value", term.column) if term.kind == "filled" and not gaps[term.column] else term, term
                )
        width = len(self.lines) + 1  # and the row of ones
        self.pairs = self._pairs(groups)
        self.products = np.zeros((arms, width, width))
        self.counts = np.zeros((arms, len(self.counters)), dtype=np.int64)
        self.minima, self.maxima = np.full(width - 1, np.inf), np.full(width - 1, -np.inf)
        self.shift = self._level()

    def _level(self) -> Floats:
        """Near the mean of each line: its mean over the first block."""
        rows = slice(0, min(_BLOCK, len(self.codes)))
        if not rows.stop:
            return np.zeros(len(self.lines))
        with np.errstate(invalid="ignore", over="ignore"):
            means = np.array([self._line(term, rows).mean(dtype=np.float64) for term in self.lines])
        return np.where(np.isfinite(means), means, 0.0)

    def read(self, start: int, stop: int) -> None:
        """Add up the rows from start to stop."""
        with np.errstate(invalid="ignore", over="ignore"):
            for at in range(start, stop, _BLOCK):
                self.add(slice(at, min(at + _BLOCK, stop)))

    def join(self, other: _Run) -> None:
        """Take in what another run over other rows has added up."""
        self.products += other.products
        self.counts += other.counts
        self.minima = np.minimum(self.minima, other.minima)
        self.maxima = np.maximum(self.maxima, other.maxima)

    def _place(self, line: Term, term: Term) -> None:
        if line not in self.lines:
            self.lines.append(line)
        self.row_of[term] = self.lines.index(line)

    def _pairs(self, groups: Sequence[Sequence[Term]] | None) -> list[tuple[int, int]]:
        """Which lines to multiply with each other: those of one group."""
        asked = {(at, at) for at in range(len(self.lines))}
        for group in (self.terms,) if groups is None else groups:
            together = sorted({self.row_of[term] for term in group if term in self.row_of})
            asked |= {(left, right) for left in together for right in together if left <= right}
        return sorted(asked)

    def add(self, rows: slice) -> None:
        masks = [self.codes[rows] == arm for arm in range(self.arms)]
        lines = [self._line(term, rows) for term in self.lines]
        for at, line in enumerate(lines):
            self.minima[at] = np.minimum(self.minima[at], line.min())
            self.maxima[at] = np.maximum(self.maxima[at], line.max())
        for arm, mask in enumerate(masks):
            picked = np.flatnonzero(mask)
            if len(picked):
                self._multiply(self.products[arm], [line.take(picked) for line in lines], len(picked))
        for at, term in enumerate(self.counters):
            flags = self._flags(term, rows)
            for arm, mask in enumerate(masks):
                self.counts[arm, at] += np.count_nonzero(flags & mask)

    def _multiply(self, products: Floats, picked: Sequence[NDArray[np.generic]], count: int) -> None:
        # One product at a time: a matrix product so narrow costs several times as much, and more on a busy machine.
        # Subtracting also copies and converts: a plain copy took ten times as long.
        lines = [np.subtract(line, less, dtype=np.float64) for line, less in zip(picked, self.shift, strict=True)]
        products[-1, -1] += count
        for at, line in enumerate(lines):
            products[at, -1] += line.sum()
        for at in range(0, count, _PRODUCT):
            piece = [line[at : at + _PRODUCT] for line in lines]
            for left, right in self.pairs:
                products[left, right] += piece[left] @ piece[right]

    def _line(self, term: Term, rows: slice) -> NDArray[np.generic]:
        """The values of a term in some rows; the column itself where nothing has to be made of it."""
        values = self.columns[term.column, ""][rows]
        if term.kind == "missing":
            return np.isnan(values)
        return np.where(np.isnan(values), 0.0, values) if term.kind == "filled" else values

    def _flags(self, term: Term, rows: slice) -> Flags:
        if term.kind == "equals":
            return np.asarray(self.columns[term.column, term.other][rows], dtype=bool)
        values = self.columns[term.column, ""][rows]
        if term.kind == "some":
            return np.asarray(np.abs(values) > 0 if _floating(values) else values != 0)
        if term.kind == "above":
            return np.asarray(values > self.columns[term.other, ""][rows])  # type: ignore[operator]
        return np.asarray(values != np.floor(values))

    def moments(self, arm: int) -> Moments:
        """What the blocks say of one arm."""
        added = self.products[arm]
        products = np.full_like(added, np.nan)
        products[:, -1] = added[:, -1]
        for left, right in self.pairs:
            products[left, right] = products[right, left] = added[left, right]
        n = round(float(added[-1, -1]))
        shift = self.shift
        centre = products[:-1, -1] / n if n else np.full(len(self.lines), np.nan)
        inner = products[:-1, :-1] - np.outer(centre, centre) * n if n else np.zeros((len(self.lines),) * 2)
        raw = np.diag(products)[:-1]
        flat = np.diag(inner) <= 1e-12 * raw  # every value the same: what is left is rounding
        inner[flat, :] = 0.0
        inner[:, flat] = 0.0
        constant = self.minima == self.maxima
        averages = np.where(constant, self.minima, centre + shift) if n else centre
        for at in np.flatnonzero(flat & ~constant).tolist() if n else ():  # the value itself, not its rounded mean
            averages[at] = self._first(self.lines[at], arm)
        width = len(self.terms)
        means, minima, maxima = np.zeros(width), np.zeros(width), np.zeros(width)
        comoments = np.zeros((width, width))
        missing, infinite = np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64)
        placed = [at for at, term in enumerate(self.terms) if term in self.row_of]
        rows = [self.row_of[self.terms[at]] for at in placed]
        means[placed], minima[placed], maxima[placed] = averages[rows], self.minima[rows], self.maxima[rows]
        comoments[np.ix_(placed, placed)] = inner[np.ix_(rows, rows)]
        for at, term in enumerate(self.terms):
            if term in self.row_of and n and not np.isfinite(means[at]):
                missing[at], infinite[at] = self._faults(term, arm)
                means[at] = np.nan
                comoments[at, :] = comoments[:, at] = np.nan
            if not term.counted:
                means[at] = means[at] if n else np.nan
                continue
            share = self.counts[arm, self.counters.index(term)] / n if n and term in self.counters else 0.0
            comoments[at, :] = comoments[:, at] = np.nan
            means[at], comoments[at, at], maxima[at] = share if n else np.nan, share * (1 - share) * n, 1.0
        return Moments(self.terms, n, means, comoments, minima, maxima, missing, infinite)

    def _first(self, term: Term, arm: int) -> float:
        """The value of a term in the first row of one arm."""
        row = int(np.argmax(self.codes == arm))
        return float(self._line(term, slice(row, row + 1))[0])

    def _faults(self, term: Term, arm: int) -> tuple[int, int]:
        values = self.columns[term.column, ""][self.codes == arm].astype(np.float64)
        return int(np.isnan(values).sum()), int(np.isinf(values).sum())


def _floating(values: NDArray[np.generic]) -> bool:
    return values.dtype.kind == "f"


def _columns(frame: pd.DataFrame, terms: Sequence[Term]) -> Columns:
    columns: dict[tuple[str, str], NDArray[np.generic]] = {}
    for term in terms:
        if term.kind == "equals":
            if term.column not in frame.columns:
                numbers(frame, term.column)
            columns[term.column, term.other] = (frame[term.column].astype("str") == term.other).to_numpy(
                dtype=bool, na_value=False
            )
            continue
        for column in (term.column, term.other):
            if column and (column, "") not in columns:
                columns[column, ""] = numbers(frame, column)
    return columns
