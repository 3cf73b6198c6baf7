"""Quantiles: the median order, the 90th percentile of revenue."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik

from toolkit.stats.arguments import check_number
from toolkit.stats.comparison import Comparison, settle
from toolkit.stats.metric import Metric, Setting, fault_of, join
from toolkit.stats.moments import Term
from toolkit.stats.outcomes import Outcomes

__all__ = ["Quantile", "quantile_interval"]

_HALVINGS = 60


@dataclass(frozen=True)
class Quantile(Metric):
    """A quantile per unit: half of the units are below the median.

    Each arm's interval is exact (order statistics); the interval of the difference
    combines the two as Newcombe's does. The p-value is the alpha at which that interval begins to exclude 0.

    Attributes:
        column: a column of numbers.
        q: which quantile, 0 to 1; the median unless given.
        currency: unit of money, for the words of the verdict.

    >>> Quantile("revenue", q=0.9).label
    'revenue 0.9 quantile'
    """

    column: str
    q: float = field(default=0.5, kw_only=True)
    currency: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "a number between 0 and 1, for example 0.5"
        check_number(self.q, where="Quantile: q", allowed=allowed, least=math.ulp(0.0), most=1 - 2**-53)

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or (f"{self.column} median" if self.q == 0.5 else f"{self.column} {self.q:.4g} quantile")

    def terms(self) -> tuple[Term, ...]:
        """The column."""
        return (Term("value", self.column),)

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control."""
        start = replace(
            self.start(outcomes, arm), method="difference of quantiles, order-statistic intervals combined (MOVER)"
        )
        fault = fault_of(outcomes, arm, self.terms())
        if fault:
            return (replace(start, note=fault),)
        one = np.sort(outcomes.values(self.column, arm))
        other = np.sort(outcomes.values(self.column, outcomes.arms.control))
        value, base = _at(one, self.q), _at(other, self.q)
        start = replace(start, value=value, control=base, diff=value - base)
        if value == base == one[0] == other[0]:
            share = min(float((side == value).mean()) for side in (one, other))
            most = "all" if share == 1 else f"{math.floor(100 * share)}% or more"
            note = f"{most} of the units are at {value:g}, the lowest value: this quantile cannot tell the arms apart"
            return (replace(start, note=note),)
        ends = _difference(one, other, self.q, setting.alpha)
        pvalue = self._pvalue(one, other)
        notes = [] if all(map(math.isfinite, ends)) else ["too few units for an interval of this quantile"]
        _, lower, upper = settle([("MOVER", lambda: ends)], rejected=pvalue < setting.alpha, positive=value > base)
        rel = rel_lower = rel_upper = math.nan
        if base > 0 and one[0] >= 0 and other[0] >= 0:
            rel = value / base - 1
        if rel == -1:
            notes.append("the arm is at 0: the relative lift has no interval")
        elif not math.isnan(rel):
            ratio = _ratio(one, other, self.q, setting.alpha)
            _, rel_lower, rel_upper = settle(
                [("MOVER", lambda: ratio)], rejected=pvalue < setting.alpha, positive=rel > 0
            )
        else:
            why = f"control is {base:g}" if not base > 0 else "some values are below 0"
            notes.append(f"{why}: a lift relative to control is not defined")
        found = replace(
            start,
            diff_lower=lower,
            diff_upper=upper,
            rel=rel,
            rel_lower=rel_lower,
            rel_upper=rel_upper,
            pvalue=pvalue,
            note=join(*notes),
        )
        return (self.guarded(found),)

    def _pvalue(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        low, high = 0.0, 1.0  # not excluding at low, excluding at high
        if _at(one, self.q) == _at(other, self.q):
            return 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            lower, upper = _difference(one, other, self.q, middle)
            if lower > 0 or upper < 0:
                high = middle
            else:
                low = middle
        return high


def quantile_interval(ordered: NDArray[np.float64], q: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """The interval of a quantile: the order statistics that the binomial test does not reject; exact for any shape.

    Args:
        ordered: values, rising.
        q: which quantile, 0 to 1.
        alpha: 1 - confidence.

    Returns:
        Lower and upper end; infinite where the ranks run out of the sample.

    Reference: Conover (1999), Practical Nonparametric Statistics, 3rd ed., section 3.2.

    >>> quantile_interval(np.arange(1.0, 101.0), 0.5)
    (40.0, 61.0)
    """
    n = len(ordered)
    first, last = math.floor(bdtrik(alpha / 2, n, q)), math.ceil(bdtrik(1 - alpha / 2, n, q))
    lower = float(ordered[first]) if bdtr(0, n, q) <= alpha / 2 else -math.inf
    upper = float(ordered[last]) if last < n and bdtr(n - 1, n, q) >= 1 - alpha / 2 else math.inf
    return lower, upper


def _at(ordered: NDArray[np.float64], q: float) -> float:
    return float(ordered[min(len(ordered) - 1, math.ceil(q * len(ordered) - 1e-9) - 1)])


def _difference(one: NDArray[np.float64], other: NDArray[np.float64], q: float, alpha: float) -> tuple[float, float]:
    value, base = _at(one, q), _at(other, q)
    (lower, upper), (lower0, upper0) = quantile_interval(one, q, alpha=alpha), quantile_interval(other, q, alpha=alpha)
    diff = value - base
    return diff - math.hypot(value - lower, upper0 - base), diff + math.hypot(upper - value, base - lower0)


def _ratio(one: NDArray[np.float64], other: NDArray[np.float64], q: float, alpha: float) -> tuple[float, float]:
    with np.errstate(divide="ignore"):
        logs = [np.log(_at(side, q)) for side in (one, other)]
        ends = [np.log(np.maximum(quantile_interval(side, q, alpha=alpha), 0.0)) for side in (one, other)]
    diff = logs[0] - logs[1]
    lower = diff - math.hypot(logs[0] - ends[0][0], ends[1][1] - logs[1])
    upper = diff + math.hypot(ends[0][1] - logs[0], logs[1] - ends[1][0])
    return float(np.exp(lower)) - 1, float(np.exp(upper)) - 1
