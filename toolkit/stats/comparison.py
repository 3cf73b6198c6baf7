"""One arm held against control on one metric: the numbers, how they were found, and why some are undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri

__all__ = ["Comparison", "settle"]

NAN = float("nan")
Ends = Callable[[], tuple[Any, Any]]
_JUST_BEYOND = 1e-12
_SMALLEST = 1e-300  # a p-value below has lost its digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One arm against control on one metric. The first fifteen fields are the columns of the lift table.

    Attributes:
        metric, arm: what is compared.
        n_control, n: units in control and in the arm.
        control, value: the metric in control and in the arm.
        diff, diff_lower, diff_upper: value - control, with its interval.
        rel, rel_lower, rel_upper: diff as a share of control, with its interval.
        pvalue: two-sided p-value of no difference.
        method: test and intervals used.
        note: why a number is undefined, and other warnings.
        error: standard error of diff.
        statistic, df: test statistic and degrees of freedom (infinite for z).
        kind: rate, mean, ratio, quantile or time.
        role: primary, secondary or guardrail.
        better: which direction is an improvement, higher or lower.
        currency: unit of money, where the metric is money.
        margin: the largest harm, in units of diff, that a guardrail accepts; NaN without one.
        not_worse: whether harm beyond the margin is excluded by the interval; None without a margin.
        variance_saved: share of the variance of diff that covariates or strata removed.
        buyers: units with a value other than 0 in the smaller of the two arms; NaN where that has no meaning.
        buyers_both: the same of both arms together.
        opens: whether the metric counts opens.
        pvalue_repeated: p-value that holds for all looks taken; pvalue itself where there is one look.
        pvalue_adjusted: pvalue_repeated that holds for all comparisons of the same role together (Holm for primary,
            Benjamini-Hochberg for secondary metrics).
        against: the arm it is held against, where that is another than control; `control` and `n_control` are then of
            that arm.
    """

    metric: str
    arm: str
    n_control: int
    n: int
    control: float = NAN
    value: float = NAN
    diff: float = NAN
    diff_lower: float = NAN
    diff_upper: float = NAN
    rel: float = NAN
    rel_lower: float = NAN
    rel_upper: float = NAN
    pvalue: float = NAN
    method: str = ""
    note: str = ""
    error: float = NAN
    statistic: float = NAN
    df: float = NAN
    kind: str = "mean"
    role: str = "secondary"
    better: str = "higher"
    currency: str | None = None
    margin: float = NAN
    not_worse: bool | None = None
    variance_saved: float = NAN
    buyers: float = NAN
    buyers_both: float = NAN
    opens: bool = False
    pvalue_repeated: float = NAN
    pvalue_adjusted: float = NAN
    against: str | None = None

    @property
    def z(self) -> float:
        """The p-value in standard errors of a normal distribution, upwards when it is better: a look is crossed by it.

        It is the test statistic of a z-test; of an exact test, a permutation or Student's t, what decides as they do.
        """
        size = -float(ndtri(self.pvalue / 2)) if self.pvalue > _SMALLEST else abs(self.statistic)
        return NAN if math.isnan(self.pvalue) else size if self.improved else -size

    @property
    def improved(self) -> bool:
        """Whether the estimate points in the direction that is better."""
        return self.diff > 0 if self.better == "higher" else self.diff < 0

    @property
    def worse(self) -> bool:
        """Whether the estimate points in the direction that is worse."""
        return self.diff < 0 if self.better == "higher" else self.diff > 0

    def sure(self, alpha: float) -> bool:
        """Whether the difference is established at alpha, all looks and comparisons counted."""
        return self.pvalue_adjusted < alpha

    @property
    def defined(self) -> bool:
        """Whether there is a difference with an interval."""
        return not (math.isnan(self.diff) or math.isnan(self.diff_lower))


def settle(candidates: Sequence[tuple[str, Ends]], *, rejected: bool, positive: bool) -> tuple[str, float, float]:
    """The first interval that agrees with the test about 0; else the first one, cut or stretched at 0 to agree.

    The cut is valid: the tests used here reject every effect of the other sign when they reject 0. The stretch only
    makes the interval longer.

    Args:
        candidates: a name and what gives lower and upper end, the preferred one first; the others are computed only
            where they are needed.
        rejected: whether the test rejects 0.
        positive: whether the estimate is above 0.

    Returns:
        Name and ends of the interval to report.

    >>> newcombe, score = ("Newcombe", lambda: (-0.001, 0.2)), ("score", lambda: (0.001, 0.21))
    >>> settle([newcombe, score], rejected=True, positive=True)
    ('score', 0.001, 0.21)
    >>> settle([score], rejected=False, positive=True)
    ('score', 0.0, 0.21)
    """
    kept = "", NAN, NAN
    for name, ends in candidates:
        lower, upper = (float(end) for end in ends())
        if (lower > 0 or upper < 0) == rejected:
            return name, lower, upper
        kept = kept if kept[0] else (name, lower, upper)
    name, lower, upper = kept
    if rejected:
        return (name, _JUST_BEYOND, upper) if positive else (name, lower, -_JUST_BEYOND)
    return name, min(lower, 0.0), max(upper, 0.0)
