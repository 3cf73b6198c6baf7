"""Averages per unit: revenue, profit, orders."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from toolkit.errors import MetricError, shown
from toolkit.readable import counted
from toolkit.stats.arguments import column_names
from toolkit.stats.bootstrap import bootstrap_difference
from toolkit.stats.comparison import Comparison, settle
from toolkit.stats.cuped import adjusted, regressors, slopes, weighted
from toolkit.stats.metric import Metric, Setting, fault_of, join
from toolkit.stats.moments import Moments, Term
from toolkit.stats.outcomes import Outcomes
from toolkit.stats.permutation import Resampled, permutation_test, permutation_wanted
from toolkit.stats.relative import Relative, fieller
from toolkit.stats.srm import unlike
from toolkit.stats.strata import post_stratified, stratified_moments
from toolkit.stats.welch import Difference, Estimate, Sample, student, welch

__all__ = ["Mean", "compare_estimates", "compare_resampled"]

Method = Literal["auto", "welch", "permutation", "bootstrap"]
_METHODS = ("auto", "welch", "permutation", "bootstrap")
_NORMAL_FROM = 1_000  # degrees of freedom from which Fieller takes the normal quantile


@dataclass(frozen=True)
class Mean(Metric):
    """An average per unit: revenue, profit, orders.

    Welch's test and interval; Fieller's interval of the relative lift, said to be unbounded where it is. Where the
    split is beyond 1:3, or buyers are few, Welch errs too often and a studentised permutation test takes its place;
    that is decided from the sizes of the arms and the buyers of both together, before anyone looks at the difference.

    Attributes:
        column: a column of numbers.
        covariate: columns known before the experiment (pre_revenue) that explain part of the metric; their part is
            taken out of the comparison (CUPED). One name or several; missing values are allowed and count as
            "no history".
        strata: a column of groups known before the experiment; arms are compared within groups, then averaged
            (post-stratification). Not together with `covariate`.
        method: `auto`, `welch`, `permutation` or `bootstrap` (studentised).
        currency: unit of money, for the words of the verdict, for example "EUR".

    >>> Mean("revenue", covariate="pre_revenue").label
    'revenue'
    """

    column: str
    covariate: str | tuple[str, ...] = field(default=(), kw_only=True)
    strata: str | None = field(default=None, kw_only=True)
    method: Method = field(default="auto", kw_only=True)
    currency: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "mean"

    def __post_init__(self) -> None:
        covariates = column_names(self.covariate, where="Mean: covariate")
        object.__setattr__(self, "covariate", covariates)
        super().__post_init__()
        if self.column in covariates or self.column == self.strata:
            raise MetricError(f"{self.label}: a metric cannot explain itself; found {shown(self.column)} twice")
        if covariates and self.strata:
            raise MetricError(f"{self.label}: give covariate or strata, not both")
        if not isinstance(self.method, str) or self.method not in _METHODS:
            raise MetricError(f"{self.label}: method: found {shown(self.method)}; allowed: {', '.join(_METHODS)}")
        if self.method in ("permutation", "bootstrap") and (covariates or self.strata):
            raise MetricError(f"{self.label}: {self.method} works without covariate and strata; leave them out")

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or self.column

    @property
    def term(self) -> Term:
        """The column."""
        return Term("value", self.column)

    @property
    def _buys(self) -> Term:
        return Term("some", self.column)

    def terms(self) -> tuple[Term, ...]:
        """The column, how many have one, its covariates and whether they are missing."""
        return (self.term, self._buys, *regressors(self.covariate))

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control."""
        start = self.start(outcomes, arm)
        fault = fault_of(outcomes, arm, self.terms())
        if fault:
            return (replace(start, note=fault),)
        one, other = outcomes.moments[arm], outcomes.control
        buyers = [side.count(self._buys) for side in (one, other)]
        start = replace(start, buyers=min(buyers), buyers_both=sum(buyers))
        if self.strata:
            return (self.guarded(self._stratified(outcomes, arm, start, setting)),)
        if self.covariate:
            return (self.guarded(self._adjusted(outcomes, arm, start, setting)),)
        plain = self._sample(one), self._sample(other)
        method = self.method
        if method == "auto":
            few = permutation_wanted((one.n, other.n), sum(buyers))
            method = "permutation" if few else "welch"
        if method == "welch" or min(one.n, other.n) < 2 or not (plain[0].error + plain[1].error > 0):
            start = replace(start, method="Welch t-test and interval")
            return (self.guarded(compare_estimates(start, *plain, setting)),)
        values = outcomes.values(self.column, arm), outcomes.values(self.column, outcomes.arms.control)
        resample = permutation_test if method == "permutation" else bootstrap_difference
        found = resample(values[0], values[1], alpha=setting.alpha, seed=setting.seed)
        start = replace(start, method=found.method, note=found.note)
        return (self.guarded(compare_resampled(start, *plain, found)),)

    def _sample(self, side: Moments) -> Sample:
        return Sample(side.n, side.mean(self.term), side.variance(self.term))

    def _adjusted(self, outcomes: Outcomes, arm: str, start: Comparison, setting: Setting) -> Comparison:
        one, other = outcomes.moments[arm], outcomes.control
        pooled = one + other
        weights = {self.term: 1.0}
        theta, used = slopes(pooled, weighted(pooled, weights)[1], regressors(self.covariate))
        centre = pooled.means[[pooled.index(term) for term in used]]
        plain = self._sample(one), self._sample(other)
        less = [
            adjusted(side, sample, weights, theta=theta, used=used, centre=centre)
            for side, sample in zip((one, other), plain, strict=True)
        ]
        start = replace(
            start,
            method=f"Welch t-test and interval after CUPED ({', '.join(self.covariate)})",
            variance_saved=_saved(plain, (less[0], less[1])),
            note="" if used else "no covariate varies: nothing was taken out",
        )
        return compare_estimates(start, less[0], less[1], setting)

    def _stratified(self, outcomes: Outcomes, arm: str, start: Comparison, setting: Setting) -> Comparison:
        pairs, together, split = stratified_moments(outcomes, arm, self.term, strata=self.strata or "")
        if not pairs:
            return replace(start, note=f"no stratum of {self.strata} has two units in both arms")
        left = start.n + start.n_control - sum(one.n + other.n for one, other in pairs)
        plain = self._sample(outcomes.moments[arm]), self._sample(outcomes.control)
        less = post_stratified(pairs, self.term)
        start = replace(
            start,
            method=f"t-test and interval after post-stratification by {self.strata} ({len(pairs)} strata)",
            variance_saved=_saved(plain, less),
            note=join(
                f"{counted(together, 'stratum', 'strata')} with fewer than two units in an arm put together"
                if together
                else "",
                f"{counted(left, 'unit')} left out, in strata that one arm lacks" if left else "",
                unlike(self.strata or "", split),
            ),
        )
        return compare_estimates(start, *less, setting)


def _saved(plain: tuple[Sample, Sample], less: tuple[Sample | Estimate, Sample | Estimate]) -> float:
    before, after = float(plain[0].error + plain[1].error), float(less[0].error + less[1].error)
    return 1 - after / before if before > 0 else math.nan


def compare_estimates(
    start: Comparison, arm: Sample | Estimate, control: Sample | Estimate, setting: Setting
) -> Comparison:
    """The comparison of two means, with test and intervals that agree about 0."""
    found = welch(arm, control, alpha=setting.alpha)
    relative = _relative(arm, control, found, setting.alpha)
    return _filled(start, arm, control, found, relative)


def compare_resampled(
    start: Comparison, arm: Sample | Estimate, control: Sample | Estimate, found: Resampled
) -> Comparison:
    """The comparison of two means by resampling, each side with its own critical value."""
    plain = welch(arm, control)
    low, high = (
        fieller(arm, control, critical=abs(critical)) for critical in (found.upper_critical, found.lower_critical)
    )
    unbounded = bool(low.unbounded or high.unbounded)
    lower, upper = (-math.inf, math.inf) if unbounded else (float(low.lower), float(high.upper))
    if not math.isnan(float(low.rel)):
        ends = lower, upper
        _, lower, upper = settle(
            [("Fieller", lambda: ends)], rejected=found.lower > 0 or found.upper < 0, positive=float(plain.diff) > 0
        )
    else:
        lower = upper = math.nan
    difference = plain._replace(pvalue=found.pvalue, lower=found.lower, upper=found.upper)
    return _filled(start, arm, control, difference, Relative(low.rel, lower, upper, unbounded))


def _filled(
    start: Comparison, arm: Sample | Estimate, control: Sample | Estimate, found: Difference, relative: Relative
) -> Comparison:
    notes = []
    if min(start.n, start.n_control) < 2:
        notes.append("fewer than two units in an arm: there is no variance to compare with")
    elif not found.error > 0:
        zero = arm.mean == 0 and control.mean == 0
        notes.append(f"every value is {'0' if zero else 'the same'} within each arm: there is nothing to test")
    if not control.mean > 0:
        notes.append(f"control is {control.mean:g}: a lift relative to it is not defined")
    if relative.unbounded:
        notes.append("the relative interval is unbounded: control itself does not differ from 0")
    return replace(
        start,
        control=float(control.mean),
        value=float(arm.mean),
        diff=float(found.diff),
        diff_lower=float(found.lower),
        diff_upper=float(found.upper),
        rel=float(relative.rel),
        rel_lower=float(relative.lower),
        rel_upper=float(relative.upper),
        pvalue=float(found.pvalue),
        method=f"{start.method}; relative: Fieller",
        note=join(start.note, *notes),
        error=float(found.error),
        statistic=float(found.statistic),
        df=float(found.df),
    )


def _relative(arm: Sample | Estimate, control: Sample | Estimate, found: Difference, alpha: float) -> Relative:
    """Fieller with the normal quantile where it is as good; with Student's where few units, or agreement, ask it."""
    exact = float(student(found.df, alpha))
    criticals = (exact,) if not found.df >= _NORMAL_FROM else (float(student(math.inf, alpha)), exact)
    relative = fieller(arm, control, critical=exact)
    for critical in criticals:
        relative = fieller(arm, control, critical=critical)
        if (relative.lower > 0 or relative.upper < 0) == (found.pvalue < alpha):
            break
    return relative
