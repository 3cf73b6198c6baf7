"""One pass over a frame: the moments of all terms of all metrics, by arm.

Rows are taken in blocks. Of a block, each term is shifted near its mean so that nothing cancels, then the rows of each
arm are picked; sums and products of those short lines are added up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.stats.moments import Moments, Term, numbers

__all__ = ["Gathering", "gather"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Columns = Mapping[tuple[str, str], NDArray[np.generic]]
Faults = Callable[[str, int], tuple[int, int]]
Product = tuple[int, int, int, int]  # two lines, and the rows of the scratch where they lie
_BLOCK = 65_536  # fewer rows stay in a nearer cache, but the calls for each block then cost as much as the sums
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
    gaps = _gaps(terms, columns)
    run = _Run(terms, groups, columns, gaps)
    if len(codes) < _WORTH_SHARING:
        run.read(columns, codes, 0, len(codes), arms)
    else:  # always in the same two halves, so that the sums are the same on every machine
        half = len(codes) // (2 * _BLOCK) * _BLOCK
        other = run.beside()
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(run.read, columns, codes, 0, half, arms)
            other.read(columns, codes, half, len(codes), arms)
            asked.result()
        run.join(other, range(arms))

    def faults(column: str, arm: int) -> tuple[int, int]:
        values = columns[column, ""][codes == arm].astype(np.float64)
        return int(np.isnan(values).sum()), int(np.isinf(values).sum())

    return run.moments(faults)


class Gathering:
    """The same for rows that come piece by piece.

    >>> gathering = Gathering([Term("value", "revenue")])
    >>> for revenue, codes in (([1.0, 3.0], [0, 1]), ([5.0], [1])):
    ...     gathering.add({("revenue", ""): np.array(revenue)}, np.array(codes), arms=2)
    True
    True
    >>> control, mail = gathering.moments(lambda column, arm: (0, 0))
    >>> control.n, mail.means.tolist()
    (1, [4.0])
    """

    def __init__(
        self,
        terms: Sequence[Term],
        *,
        groups: Sequence[Sequence[Term]] | None = None,
        gaps: frozenset[str] = frozenset(),
    ) -> None:
        """What to read, as for `gather`, and covariates known to have gaps.

        Those with gaps in the first piece are found there.
        """
        self._terms, self._groups, self.gaps = tuple(sorted(set(terms))), groups, gaps
        self._run: _Run | None = None

    def add(self, columns: Columns, codes: NDArray[np.integer], *, arms: int) -> bool:
        """Take in the next rows.

        Args:
            columns: numbers by (column, ""), missing ones as NaN, and for each term `equals` flags by (column, other).
            codes: the arm of each row, 0 to `arms` - 1.
            arms: how many arms have been seen so far; it may grow from piece to piece.

        Returns:
            Whether they were taken in. False where a covariate has its first gap here: `gaps` then names it, and one
            has to begin again.
        """
        known, self.gaps = self.gaps, self.gaps | _gaps(self._terms, columns)
        if self._run is None:
            self._run = _Run(self._terms, self._groups, columns, self.gaps)
        elif self.gaps != known:
            return False
        self._run.read(columns, codes, 0, len(codes), arms)
        return True

    def beside(self) -> Gathering:
        """Another for later rows, which another thread may take in at the same time; asked for after the first rows."""
        other = Gathering(self._terms, groups=self._groups, gaps=self.gaps)
        other._run = None if self._run is None else self._run.beside()
        return other

    def join(self, other: Gathering, places: Sequence[int]) -> None:
        """Take in what one that was made `beside` this one has seen.

        Args:
            other: it.
            places: for each of its arms, the arm it is here.
        """
        if self._run is not None and other._run is not None:
            self._run.join(other._run, places)

    def moments(self, faults: Faults) -> tuple[Moments, ...]:
        """The moments of every arm seen.

        Args:
            faults: how many values of a column are missing, and infinite, in one arm; asked only where a sum is no
                number.
        """
        return () if self._run is None else self._run.moments(faults)


class _Run:
    """Sums over the blocks seen so far."""

    def __init__(
        self,
        terms: tuple[Term, ...],
        groups: Sequence[Sequence[Term]] | None,
        columns: Columns,
        gaps: frozenset[str],
    ) -> None:
        self.terms = terms
        self.row_of: dict[Term, int] = {}
        self.lines: list[Term] = []
        self.counters = [term for term in terms if term.counted]
        for term in terms:
            whole = term.column not in gaps
            if not term.counted and not (term.kind == "missing" and whole):
                self._place(Term("value", term.column) if term.kind == "filled" and whole else term, term)
        self.pairs = self._pairs(groups)
        self.together = self._together()
        self.products = [
            [
                (left, right, one, other)
                for one, left in enumerate(group)
                for other, right in enumerate(group)
                if (left, right) in self.pairs
            ]
            for group in self.together
        ]
        self._begin()
        self.shift = self._level(columns)

    def _begin(self) -> None:
        # Numbers of Python: adding to one element of an array takes several times as long, at every block.
        self.added: list[list[list[float]]] = []  # by arm, sums of products of lines, the row of ones last
        self.counts: list[list[int]] = []
        self.firsts: list[list[Any]] = []
        self.ends: list[list[tuple[Any, Any]]] = [[] for _ in self.lines]
        self._whole, self._held = np.empty(0), np.empty((0, 0))

    def beside(self) -> _Run:
        """Another that has seen nothing yet, shifted alike, for later rows."""
        other = copy(self)
        other._begin()
        return other

    def _level(self, columns: Columns) -> Floats:
        """Near the mean of each line: its mean over the first block. A flag that is only counted has none."""
        means = np.zeros(len(self.lines))
        with np.errstate(invalid="ignore", over="ignore"):
            for at, term in enumerate(self.lines):
                line = self._line(columns, term, slice(0, _BLOCK))
                if len(line) and not ([at] in self.together and line.dtype == bool):
                    means[at] = line.mean(dtype=np.float64)
        return np.where(np.isfinite(means), means, 0.0)

    def read(self, columns: Columns, codes: NDArray[np.integer], start: int, stop: int, arms: int) -> None:
        """Add up the rows from start to stop."""
        self._make_room(arms)
        with np.errstate(invalid="ignore", over="ignore"):
            for at in range(start, stop, _BLOCK):
                rows = slice(at, min(at + _BLOCK, stop))
                self._add(columns, codes[rows], rows)

    def join(self, other: _Run, places: Sequence[int]) -> None:
        """Take in what another run over later rows has added up; `places` are its arms, as they are numbered here."""
        self._make_room(max(places, default=-1) + 1)
        for there, (arm, added) in enumerate(zip(places, other.added, strict=False)):
            self.firsts[arm] = [
                then if now is None else now for now, then in zip(self.firsts[arm], other.firsts[there], strict=True)
            ]
            self.counts[arm] = [now + then for now, then in zip(self.counts[arm], other.counts[there], strict=True)]
            for now, then in zip(self.added[arm], added, strict=True):
                now[:] = [one + more for one, more in zip(now, then, strict=True)]
        self.ends = [now + then for now, then in zip(self.ends, other.ends, strict=True)]

    def _make_room(self, arms: int) -> None:
        width = len(self.lines) + 1
        while len(self.added) < arms:
            self.added.append([[0.0] * width for _ in range(width)])
            self.counts.append([0] * len(self.counters))
            self.firsts.append([None] * len(self.lines))

    def _place(self, line: Term, term: Term) -> None:
        if line not in self.lines:
            self.lines.append(line)
        self.row_of[term] = self.lines.index(line)

    def _pairs(self, groups: Sequence[Sequence[Term]] | None) -> frozenset[tuple[int, int]]:
        """Which lines to multiply with each other: those of one group."""
        asked = {(at, at) for at in range(len(self.lines))}
        for group in (self.terms,) if groups is None else groups:
            together = sorted({self.row_of[term] for term in group if term in self.row_of})
            asked |= {(left, right) for left in together for right in together if left <= right}
        return frozenset(asked)

    def _together(self) -> list[list[int]]:
        """The lines in groups: what is multiplied with each other, directly or by way of others."""
        groups = [{at} for at in range(len(self.lines))]
        for pair in self.pairs:
            linked = [group for group in groups if group & set(pair)]
            groups = [group for group in groups if group not in linked]
            groups.append({at for group in linked for at in group})
        return sorted(sorted(group) for group in groups)

    def _add(self, columns: Columns, codes: NDArray[np.integer], rows: slice) -> None:
        count = len(codes)
        if count > len(self._whole):  # scratch, held on to: asked of the system anew for every block it costs much
            self._whole, self._held = np.empty(count), np.empty((max(map(len, self.together), default=0), count))
        masks = [codes == arm for arm in range(len(self.added))]
        picks = [np.flatnonzero(mask) for mask in masks]
        new = [arm for arm, pick in enumerate(picks) if len(pick) and not self.added[arm][-1][-1]]
        places: list[tuple[int, slice]] = []
        start = 0
        for arm, pick in enumerate(picks):
            if len(pick):
                places.append((arm, slice(start, start := start + len(pick))))
                self.added[arm][-1][-1] += len(pick)
        for group, products in zip(self.together, self.products, strict=True):
            for at, held in zip(group, self._held, strict=False):
                line = self._line(columns, self.lines[at], rows)
                self.ends[at].append((np.minimum.reduce(line), np.maximum.reduce(line)))
                for arm in new:
                    self.firsts[arm][at] = line[picks[arm][0]]
                if len(group) == 1 and line.dtype == bool and not self.shift[at]:  # a flag is its own square
                    for arm, _ in places:
                        found = np.count_nonzero(line & masks[arm])
                        self.added[arm][at][at] += found
                        self.added[arm][at][-1] += found
                    break
                whole = held if len(places) == 1 else self._whole
                np.subtract(line, self.shift[at], out=whole[:count], dtype=np.float64)  # also converts
                for arm, place in places:
                    if len(places) > 1:  # the rows are there: clipping only spares the check
                        whole.take(picks[arm], out=held[place], mode="clip")
                    self.added[arm][at][-1] += np.add.reduce(held[place])
            else:
                for arm, place in places:
                    self._multiply(self.added[arm], products, place)
        for at, term in enumerate(self.counters):
            flags = self._flags(columns, term, rows)
            for arm, _ in places if flags is not None else ():
                self.counts[arm][at] += int(np.count_nonzero(flags & masks[arm]))

    def _multiply(self, added: list[list[float]], products: Sequence[Product], place: slice) -> None:
        # One product at a time: a matrix product so narrow costs several times as much, and more on a busy machine.
        for start in range(place.start, place.stop, _PRODUCT):
            lines = list(self._held[:, start : min(start + _PRODUCT, place.stop)])
            for left, right, one, other in products:
                added[left][right] += float(lines[one].dot(lines[other]))

    def _line(self, columns: Columns, term: Term, rows: slice) -> NDArray[np.generic]:
        """The values of a term in some rows; the column itself where nothing has to be made of it."""
        values = columns[term.column, ""][rows]
        if term.kind == "missing":
            return np.isnan(values) if _floating(values) else np.zeros(len(values), dtype=bool)
        return np.where(np.isnan(values), 0.0, values) if term.kind == "filled" and _floating(values) else values

    def _flags(self, columns: Columns, term: Term, rows: slice) -> Flags | None:
        """Where a counted term is true; None where that can be nowhere."""
        if term.kind == "equals":
            return np.asarray(columns[term.column, term.other][rows], dtype=bool)
        values = columns[term.column, ""][rows]
        if term.kind == "some":
            if not _floating(values):
                return np.asarray(values != 0)
            absolute = np.abs(values, out=self._whole[: len(values)], casting="same_kind")
            return np.asarray(absolute > 0)
        if term.kind == "above":
            return np.asarray(values > columns[term.other, ""][rows])  # type: ignore[operator]
        return np.asarray(values != np.floor(values)) if _floating(values) else None

    def moments(self, faults: Faults) -> tuple[Moments, ...]:
        """What the blocks say of every arm."""
        lows, highs = np.array([_range(ends) for ends in self.ends]).reshape(-1, 2).T
        with np.errstate(invalid="ignore", over="ignore"):
            return tuple(self._moments(arm, lows, highs, faults) for arm in range(len(self.added)))

    def _moments(self, arm: int, lows: Floats, highs: Floats, faults: Faults) -> Moments:
        added = np.array(self.added[arm])
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
        constant = lows == highs
        averages = np.where(constant, lows, centre + shift) if n else centre
        for at in np.flatnonzero(flat & ~constant).tolist() if n else ():  # the value itself, not its rounded mean
            averages[at] = self.firsts[arm][at]
        width = len(self.terms)
        means, minima, maxima = np.zeros(width), np.zeros(width), np.zeros(width)
        comoments = np.zeros((width, width))
        missing, infinite = np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64)
        placed = [at for at, term in enumerate(self.terms) if term in self.row_of]
        rows = [self.row_of[self.terms[at]] for at in placed]
        means[placed], minima[placed], maxima[placed] = averages[rows], lows[rows], highs[rows]
        comoments[np.ix_(placed, placed)] = inner[np.ix_(rows, rows)]
        for at, term in enumerate(self.terms):
            if term in self.row_of and n and not np.isfinite(means[at]):
                absent, infinite[at] = faults(term.column, arm)
                missing[at] = absent if term.kind == "value" else 0
                means[at] = np.nan
                comoments[at, :] = comoments[:, at] = np.nan
            if not term.counted:
                means[at] = means[at] if n else np.nan
                continue
            share = self.counts[arm][self.counters.index(term)] / n if n and term in self.counters else 0.0
            comoments[at, :] = comoments[:, at] = np.nan
            means[at], comoments[at, at], maxima[at] = share if n else np.nan, share * (1 - share) * n, 1.0
        return Moments(self.terms, n, means, comoments, minima, maxima, missing, infinite)


def _floating(values: NDArray[np.generic]) -> bool:
    return values.dtype.kind == "f"


def _range(ends: Sequence[tuple[Any, Any]]) -> tuple[float, float]:
    """The ends of all ranges together; no number where one end is none."""
    if not ends:
        return math.inf, -math.inf
    low, high = (np.array(side, dtype=np.float64) for side in zip(*ends, strict=True))
    return float(np.minimum.reduce(low)), float(np.maximum.reduce(high))


def _gaps(terms: Sequence[Term], columns: Columns) -> frozenset[str]:
    """The covariates with a value missing."""
    asked = {term.column for term in terms if term.kind in ("filled", "missing")}
    return frozenset(
        column for column in asked if _floating(values := columns[column, ""]) and bool(np.isnan(values).any())
    )


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
