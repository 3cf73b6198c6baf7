"""One pass over a frame: the moments of all terms of all metrics, by arm.

Rows are taken in blocks that stay in the cache. A block becomes a small matrix (terms, and a row of ones, shifted near
their means so that nothing cancels); its product with itself holds counts, sums and products at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.stats.moments import Moments, Term, numbers

__all__ = ["gather"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Columns = Mapping[tuple[str, str], NDArray[np.generic]]
_BLOCK = 16_384
_FEW_ARMS = 3  # up to here a product with a mask is faster than picking the rows of each arm


def gather(frame: pd.DataFrame, terms: Sequence[Term], *, codes: NDArray[np.integer], arms: int) -> tuple[Moments, ...]:
    """The moments of every arm, in one pass over the rows.

    Args:
        frame: outcomes, one row per unit.
        terms: what to read; each is read once however many metrics ask for it.
        codes: the arm of each row, 0 to `arms` - 1.
        arms: how many arms there are; an arm without rows has n = 0.

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
    run = _Run(terms, columns, codes, arms)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(codes), _BLOCK):
            run.add(slice(start, min(start + _BLOCK, len(codes))))
        return tuple(run.moments(arm) for arm in range(arms))


class _Run:
    """Sums over the blocks seen so far."""

    def __init__(self, terms: tuple[Term, ...], columns: Columns, codes: NDArray[np.integer], arms: int) -> None:
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
        self.products = np.zeros((arms, width, width))
        self.counts = np.zeros((arms, len(self.counters)), dtype=np.int64)
        self.minima, self.maxima = np.full(width - 1, np.inf), np.full(width - 1, -np.inf)
        self.shift: Floats | None = None

    def _place(self, line: Term, term: Term) -> None:
        if line not in self.lines:
            self.lines.append(line)
        self.row_of[term] = self.lines.index(line)

    def add(self, rows: slice) -> None:
        codes = self.codes[rows]
        block = np.ones((len(self.lines) + 1, rows.stop - rows.start))
        finite = True
        for at, term in enumerate(self.lines):
            line = block[at]
            self._fill(line, term, rows)
            low, high = float(line.min()), float(line.max())
            self.minima[at], self.maxima[at] = min(self.minima[at], low), max(self.maxima[at], high)
            finite = finite and bool(np.isfinite(low + high))
        if self.shift is None:
            means = block[:-1].mean(axis=1)
            self.shift = np.where(np.isfinite(means), means, 0.0)
        block[:-1] -= self.shift[:, None]
        if finite and self.arms <= _FEW_ARMS:
            for arm in range(self.arms):
                self.products[arm] += (block * (codes == arm)) @ block.T
        else:
            for arm in range(self.arms):
                picked = block[:, codes == arm]
                self.products[arm] += picked @ picked.T
        if self.counters:
            masks = [codes == arm for arm in range(self.arms)]
            for at, term in enumerate(self.counters):
                flags = self._flags(term, rows)
                for arm, mask in enumerate(masks):
                    self.counts[arm, at] += np.count_nonzero(flags & mask)

    def _fill(self, line: Floats, term: Term, rows: slice) -> None:
        values = self.columns[term.column, ""][rows]
        if term.kind == "missing":
            line[:] = np.isnan(values)
            return
        line[:] = values
        if term.kind == "filled":
            line[np.isnan(line)] = 0.0

    def _flags(self, term: Term, rows: slice) -> Flags:
        if term.kind == "equals":
            return np.asarray(self.columns[term.column, term.other][rows], dtype=bool)
        values = self.columns[term.column, ""][rows]
        if term.kind == "some":
            return np.asarray((values != 0) & (values == values))  # noqa: PLR0124 - a missing value is not equal to itself
        if term.kind == "above":
            return np.asarray(values > self.columns[term.other, ""][rows])  # type: ignore[operator]
        return np.asarray(values != np.floor(values))

    def moments(self, arm: int) -> Moments:
        """What the blocks say of one arm."""
        products = self.products[arm]
        n = round(float(products[-1, -1]))
        shift = self.shift if self.shift is not None else np.zeros(len(self.lines))
        centre = products[-1, :-1] / n if n else np.full(len(self.lines), np.nan)
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
        line = np.empty(1)
        self._fill(line, term, slice(row, row + 1))
        return float(line[0])

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
