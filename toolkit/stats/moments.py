"""What the statistics need to know of the outcomes: counts, means and co-moments of each arm.

A metric declares the terms it needs (a column, or something simple computed from one or two). One pass over the
outcomes (`toolkit.stats.gathering`) gives the moments of all terms of all metrics; every statistic follows from them
in constant time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.errors import MetricError, did_you_mean, listed, shown

__all__ = ["LOOKED_AT", "Moments", "Term", "how_to_make", "missing_column", "numbers", "one_column"]

Floats = NDArray[np.float64]
LOOKED_AT = 1_000
"""Texts of a column, from which it is told how numbers are made of them."""
_COMMA = re.compile(r"\d,(\d{1,2}|\d{4,})\D*$")  # decimal, as three digits behind it might be thousands
_YES = ("yes", "y", "true", "t", "oui", "ja", "si", "sí")


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """One number per unit that a metric needs.

    With means and co-moments: `value`: the column itself. `filled`: the column, 0 where it is missing. `missing`: 1
    where it is missing. Counted only: `some`: the column is not 0. `above`: it exceeds the other column. `broken`: it
    is not a whole number. `equals`: it is the text in `other`.

    >>> str(Term("above", "opens", "mails"))
    'opens above mails'
    """

    kind: Literal["value", "filled", "missing", "some", "above", "broken", "equals"]
    column: str
    other: str = ""

    @property
    def counted(self) -> bool:
        """Whether only its sum is known, not its co-moments with other terms."""
        return self.kind in ("some", "above", "broken", "equals")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.column,) if self.kind == "equals" or not self.other else (self.column, self.other)

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
        comoments: sum over units of the product of deviations, terms x terms; NaN between a counted term and others.
        minima, maxima: smallest and largest value of each term over all arms.
        missing, infinite: units whose value is missing or infinite; such a term's moments are NaN.
    """

    terms: tuple[Term, ...]
    n: int
    means: Floats
    comoments: Floats
    minima: Floats
    maxima: Floats
    missing: NDArray[np.int64]
    infinite: NDArray[np.int64]
    _places: dict[Term, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {term: at for at, term in enumerate(self.terms)})

    def index(self, term: Term) -> int:
        """The position of a term in the arrays."""
        return self._places[term]

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

    def count(self, term: Term) -> int:
        """Sum of one term of zeros and ones."""
        return round(self.total(term))

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
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
        )


def missing_column(column: str, columns: Iterable[str]) -> MetricError:
    """The error of a column that is not there; it names the nearest one."""
    found = list(columns)
    return MetricError(
        f"outcomes: column {shown(column)} is missing"
        + did_you_mean(column, found)
        + f"; columns found: {listed(found, near=column)}"
    )


def one_column(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of a frame that is there; two of its name are an error."""
    found: pd.Series | pd.DataFrame = frame[column]
    if isinstance(found, pd.DataFrame):
        raise MetricError(f"outcomes: found {found.shape[1]} columns {column!r}; allowed: one of each name")
    return found


def numbers(frame: pd.DataFrame, column: str) -> NDArray[np.generic]:
    """One column of a frame as numbers, missing values as NaN; without a copy where it is plain already.

    Raises:
        MetricError: the column is absent (names the nearest one), there twice, or holds text or times.
    """
    if column not in frame.columns:
        raise missing_column(column, map(str, frame.columns))
    values = one_column(frame, column)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiub":
        return values.to_numpy()
    is_complex = pd.api.types.is_complex_dtype(values)
    if not is_complex and (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype == object:
        try:
            return values.astype("float64").to_numpy()
        except (TypeError, ValueError):
            pass
    raise MetricError(
        f"outcomes: column {column!r} should be numbers or flags; found {values.dtype}"
        + how_to_make(column, values.dropna().head(LOOKED_AT))
    )


def how_to_make(column: str, values: Iterable[object], *, in_sql: bool = False) -> str:
    """The end of a message: how texts become numbers or flags, in a frame or in a view of a table.

    >>> how_to_make("bought", ["no", "yes"])
    ", for example 'no'; outcomes['bought'] == 'yes' makes flags of them"
    >>> how_to_make("bought", ["no", "yes"], in_sql=True)
    ", for example 'no'; bought = 'yes' in a view of the table makes flags of them"
    """
    texts = [text for text in values if isinstance(text, str)]
    if not texts:
        return ""
    said = f", for example {shown(texts[0])}"
    yes = next((text for text in texts if text.strip().casefold() in _YES), None)
    if yes is not None:
        flags = f"{column} = {yes!r} in a view of the table" if in_sql else f"outcomes[{column!r}] == {yes!r}"
        return f"{said}; {flags} makes flags of them"
    if not any(any(map(str.isdigit, text)) for text in texts):
        return said
    comma = any(_COMMA.search(text) for text in texts)
    if in_sql:
        plain = pd.Series(texts).str.replace(",", ".") if comma else pd.Series(texts)
        if pd.to_numeric(plain, errors="coerce").isna().any():
            return said
        number = f"replace({column}, ',', '.')" if comma else column
        return f"{said}; CAST({number} AS double precision) in a view of the table makes numbers of them"
    made = f"outcomes[{column!r}]"
    if comma:
        made += r".str.replace(r'[^\d,-]', '', regex=True).str.replace(',', '.')"
    elif pd.to_numeric(pd.Series(texts), errors="coerce").isna().any():
        made += r".str.replace(r'[^\d.-]', '', regex=True)"
    return f"{said}; pandas.to_numeric({made}) makes numbers of them"
