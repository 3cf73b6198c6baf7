"""What the statistics need to know of the outcomes: counts, means and co-moments of each arm, read in one pass.

A metric declares the terms it needs (a column, or something simple computed from one or two). One pass over the
outcomes gives the moments of all terms of all metrics; every statistic follows from them in constant time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.errors import MetricError, nearest

__all__ = ["Moments", "Term", "gather", "numbers"]

Floats = NDArray[np.float64]
_BLOCK = 32_768  # rows at a time: five columns of it stay in the second-level cache


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """One number per unit that a metric needs.

    `value`: the column itself. `filled`: the column, 0 where it is missing. `missing`: 1 where it is missing.
    `above`: 1 where the column exceeds the other column. `broken`: 1 where it is not a whole number.
    `equals`: 1 where the column is the text in `other`.

    >>> str(Term("above", "opens", "mails"))
    'opens above mails'
    """

    kind: Literal["value", "filled", "missing", "above", "broken", "equals"]
    column: str
    other: str = ""

    def __str__(self) -> str:
        if self.kind == "value":
            return self.column
        return f"{self.column} {self.kind}" + (f" {self.other}" if self.other else "")


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, means and co-moments of some terms over the units of one arm.

    Attributes:
        terms: what the rows and columns of the arrays below stand for.
        n: units.
        means: mean of each term.
        comoments: sum over units of the product of deviations, terms x terms.
        minima, maxima: smallest and largest value of each term.
        nonzero: units whose value is not 0.
        missing, infinite: units whose value is missing or infinite; such a term's moments are NaN.
    """

    terms: tuple[Term, ...]
    n: int
    means: Floats
    comoments: Floats
    minima: Floats
    maxima: Floats
    nonzero: NDArray[np.int64]
    missing: NDArray[np.int64]
    infinite: NDArray[np.int64]

    def index(self, term: Term) -> int:
        """The position of a term in the arrays."""
        return self.terms.index(term)

    def mean(self, term: Term) -> float:
        """Mean of one term; NaN in an empty arm."""
        return float(self.means[self.index(term)])

    def covariance(self, first: Term, second: Term) -> float:
        """Sample covariance (divisor n - 1) of two terms; NaN with fewer than two units."""
        if self.n < 2:
            return float("nan")
        return float(self.comoments[self.index(first), self.index(second)] / (self.n - 1))

    def variance(self, term: Term) -> float:
        """Sample variance (divisor n - 1) of one term; NaN with fewer than two units."""
        return self.covariance(term, term)

    def total(self, term: Term) -> float:
        """Sum of one term over the units."""
        return self.mean(term) * self.n if self.n else 0.0

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of units together.

        Reference: Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance, Am. Stat. 37.
        """
        if self.terms != other.terms:
            raise MetricError("moments of different terms cannot be added")
        if not self.n or not other.n:
            return other if not self.n else self
        n = self.n + other.n
        shift = other.means - self.means
        return Moments(
            terms=self.terms,
            n=n,
            means=self.means + shift * (other.n / n),
            comoments=self.comoments + other.comoments + np.outer(shift, shift) * (self.n * (other.n / n)),
            minima=np.minimum(self.minima, other.minima),
            maxima=np.maximum(self.maxima, other.maxima),
            nonzero=self.nonzero + other.nonzero,
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
        )


def numbers(frame: pd.DataFrame, column: str) -> NDArray[np.generic]:
    """One column of a frame as numbers, missing values as NaN; without a copy where it is plain already.

    Raises:
        MetricError: the column is absent (names the nearest one) or holds text or times.
    """
    if column not in frame.columns:
        near = nearest(column, map(str, frame.columns))
        found = ", ".join(map(str, frame.columns)) or "none"
        raise MetricError(
            f"outcomes: column {column!r} is missing"
            + (f"; did you mean {near!r}?" if near else "")
            + f"; columns found: {found}"
        )
    values = frame[column]
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiub":
        return values.to_numpy()
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype == object:
        try:
            return values.astype("float64").to_numpy()
        except (TypeError, ValueError):
            pass
    raise MetricError(f"outcomes: column {column!r} should be numbers or flags; found {values.dtype}")


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
    sources = _sources(frame, terms)
    size = len(codes)
    running = [_Running(len(terms)) for _ in range(arms)]
    shift = np.zeros(len(terms))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, size, _BLOCK):
            rows = slice(start, min(start + _BLOCK, size))
            block = _block(terms, sources, rows)
            if start == 0:
                shift = np.nan_to_num(block.mean(axis=1), nan=0.0, posinf=0.0, neginf=0.0)
            for arm, sums in enumerate(running):
                sums.add(block[:, codes[rows] == arm], shift)
        faulty = np.flatnonzero(~np.isfinite([sums.sums for sums in running]).all(axis=0))
        missing, infinite = _faults(terms, sources, faulty, codes, arms)
        return tuple(sums.moments(terms, shift, missing[arm], infinite[arm]) for arm, sums in enumerate(running))


class _Running:
    """Sums of one arm, of values shifted near their mean so that nothing cancels."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.sums = np.zeros(width)
        self.products = np.zeros((width, width))
        self.minima = np.full(width, np.inf)
        self.maxima = np.full(width, -np.inf)
        self.nonzero = np.zeros(width, dtype=np.int64)

    def add(self, part: Floats, shift: Floats) -> None:
        if not part.shape[1]:
            return
        self.count += part.shape[1]
        np.minimum(self.minima, part.min(axis=1), out=self.minima)
        np.maximum(self.maxima, part.max(axis=1), out=self.maxima)
        self.nonzero += np.count_nonzero(part, axis=1)
        part = part - shift[:, None]
        self.sums += part.sum(axis=1)
        self.products += part @ part.T

    def moments(
        self, terms: tuple[Term, ...], shift: Floats, missing: NDArray[np.int64], infinite: NDArray[np.int64]
    ) -> Moments:
        n, width = self.count, len(terms)
        means = self.sums / n if n else np.full(width, np.nan)
        comoments = self.products - np.outer(means, means) * n if n else np.zeros((width, width))
        comoments[np.diag_indices(width)] = np.maximum(np.diag(comoments), 0.0)
        constant = self.minima == self.maxima
        comoments[constant, :] = 0.0
        comoments[:, constant] = 0.0
        means = np.where(constant, self.minima, means + shift)
        faulty = ~np.isfinite(self.sums)
        means[faulty] = np.nan
        comoments[faulty, :] = np.nan
        comoments[:, faulty] = np.nan
        return Moments(terms, n, means, comoments, self.minima, self.maxima, self.nonzero, missing, infinite)


def _sources(frame: pd.DataFrame, terms: Sequence[Term]) -> Mapping[tuple[str, str], NDArray[np.generic]]:
    sources: dict[tuple[str, str], NDArray[np.generic]] = {}
    for term in terms:
        if term.kind == "equals":
            key = (term.column, term.other)
            if key not in sources:
                if term.column not in frame.columns:
                    numbers(frame, term.column)
                sources[key] = (frame[term.column].astype("str") == term.other).to_numpy(dtype=bool, na_value=False)
            continue
        for column in (term.column, term.other):
            if column and (column, "") not in sources:
                sources[column, ""] = numbers(frame, column)
    return sources


def _block(terms: Sequence[Term], sources: Mapping[tuple[str, str], NDArray[np.generic]], rows: slice) -> Floats:
    block = np.empty((len(terms), rows.stop - rows.start))
    for line, term in zip(block, terms, strict=True):
        if term.kind == "equals":
            line[:] = sources[term.column, term.other][rows]
            continue
        line[:] = sources[term.column, ""][rows]
        if term.kind == "above":
            np.greater(line, sources[term.other, ""][rows], out=line, casting="unsafe")
        elif term.kind == "broken":
            np.not_equal(line, np.floor(line), out=line, casting="unsafe")
        elif term.kind == "missing":
            line[:] = np.isnan(line)
        elif term.kind == "filled":
            line[np.isnan(line)] = 0.0
    return block


def _faults(
    terms: Sequence[Term],
    sources: Mapping[tuple[str, str], NDArray[np.generic]],
    faulty: NDArray[np.intp],
    codes: NDArray[np.integer],
    arms: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    missing = np.zeros((arms, len(terms)), dtype=np.int64)
    infinite = np.zeros((arms, len(terms)), dtype=np.int64)
    for position in faulty.tolist():
        values = sources[terms[position].column, ""].astype(np.float64)
        missing[:, position] = np.bincount(codes[np.isnan(values)], minlength=arms)
        infinite[:, position] = np.bincount(codes[np.isinf(values)], minlength=arms)
    return missing, infinite
