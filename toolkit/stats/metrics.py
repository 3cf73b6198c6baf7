"""What can be compared: each metric declares the terms it needs and says how an arm is held against control."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import stdtrit

from toolkit.errors import MetricError
from toolkit.stats.comparison import Comparison, settle
from toolkit.stats.exact import boschloo_test
from toolkit.stats.means import Sample, welch
from toolkit.stats.moments import Moments, Term
from toolkit.stats.outcomes import Outcomes
from toolkit.stats.proportions import (
    Share,
    newcombe_interval,
    score_difference_interval,
    score_ratio_interval,
    score_test,
)
from toolkit.stats.relative import fieller

__all__ = ["Mean", "Metric", "Rate", "Setting"]

Role = Literal["primary", "secondary", "guardrail"]
_ROLES = ("primary", "secondary", "guardrail")
_EXACT_BELOW = 1_000  # units of both arms
_NORMAL_FROM = 1_000  # degrees of freedom from which Fieller takes the normal quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What holds for every metric of one analysis.

    Attributes:
        alpha: two-sided chance of a false alarm, for one comparison.
        seed: where the permutations start.
    """

    alpha: float = 0.05
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """What all metrics share.

    Attributes:
        name: what to call it; the column unless given.
        role: `primary` decides, `secondary` explains, `guardrail` must not get worse. The first metric of an
            experiment is primary unless roles are given.
        better: `higher` or `lower`.
        margin: for a guardrail, the largest harm to accept, in the metric's own unit (0.002 is 0.2 points).
        margin_relative: the same as a share of control (0.05 is 5 %).
    """

    name: str | None = None
    role: Role | None = None
    better: Literal["higher", "lower"] = "higher"
    margin: float | None = None
    margin_relative: float | None = None

    kind: ClassVar[str] = "mean"

    def __post_init__(self) -> None:
        if self.role is not None and self.role not in _ROLES:
            raise MetricError(f"{self.label}: role: found {self.role!r}; allowed: {', '.join(_ROLES)}")
        if self.better not in ("higher", "lower"):
            raise MetricError(f"{self.label}: better: found {self.better!r}; allowed: higher, lower")
        if self.margin is not None and self.margin_relative is not None:
            raise MetricError(f"{self.label}: give margin or margin_relative, not both")
        for margin in (self.margin, self.margin_relative):
            if margin is not None and not (math.isfinite(margin) and margin > 0):
                raise MetricError(f"{self.label}: a margin is a positive number; found {margin!r}")

    @property
    @abstractmethod
    def label(self) -> str:
        """What the metric is called in tables."""

    @abstractmethod
    def terms(self) -> tuple[Term, ...]:
        """The aggregates it needs."""

    @abstractmethod
    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control: one comparison, or two where the metric has bounds."""

    def start(self, outcomes: Outcomes, arm: str) -> Comparison:
        """A comparison with nothing but who is compared."""
        return Comparison(
            metric=self.label,
            arm=arm,
            n_control=outcomes.control.n,
            n=outcomes.moments[arm].n,
            kind=self.kind,
            role=self.role or "secondary",
            better=self.better,
            currency=getattr(self, "currency", None),
        )

    def guarded(self, found: Comparison) -> Comparison:
        """The comparison with the verdict of non-inferiority, where a margin is given."""
        if self.margin is None and self.margin_relative is None:
            return found
        if self.margin is not None:
            margin, harm_lower, harm_upper = self.margin, found.diff_lower, found.diff_upper
        else:
            margin, harm_lower, harm_upper = self.margin_relative or 0.0, found.rel_lower, found.rel_upper
        worst = -harm_lower if self.better == "higher" else harm_upper
        absolute = self.margin if self.margin is not None else margin * abs(found.control)
        return replace(found, margin=absolute, not_worse=None if math.isnan(worst) else bool(worst < margin))


def fault_of(outcomes: Outcomes, arm: str, terms: tuple[Term, ...]) -> str:
    """Why no number can be given for these terms, or an empty text."""
    for side in (outcomes.arms.control, arm):
        moments = outcomes.moments[side]
        if not moments.n:
            return f"no units in arm {side!r}"
        for term in terms:
            at = moments.index(term)
            if moments.missing[at]:
                return (
                    f"{moments.missing[at]:,} of {moments.n:,} units in arm {side!r} have no value of {term.column}:"
                    " follow-up is missing"
                )
            if moments.infinite[at]:
                return f"{moments.infinite[at]:,} of {moments.n:,} values of {term.column} in arm {side!r} are infinite"
    return ""


def join(*notes: str) -> str:
    """Notes in one text, empty ones left out."""
    return "; ".join(note for note in notes if note)


@dataclass(frozen=True)
class Rate(Metric):
    """The share of units for which something is true: opened, converted, reactivated, unsubscribed.

    Score z-test, or Boschloo's exact test where the two arms hold fewer than 1,000 units; Newcombe's interval of
    the difference; Miettinen and Nurminen's score interval of the relative lift. Where the test and an interval
    would contradict each other about 0, the interval that inverts the score test is given.

    Attributes:
        column: a column of 0 and 1, or of True and False.

    >>> Rate("converted").label
    'converted'
    """

    column: str

    kind: ClassVar[str] = "rate"

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or self.column

    @property
    def term(self) -> Term:
        """The column."""
        return Term("value", self.column)

    def terms(self) -> tuple[Term, ...]:
        """The column."""
        return (self.term,)

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control."""
        start = self.start(outcomes, arm)
        fault = fault_of(outcomes, arm, (self.term,)) or self._not_flags(outcomes, arm)
        if fault:
            return (replace(start, note=fault),)
        one, other = outcomes.moments[arm], outcomes.control
        found = compare_shares(start, _share(one, self.term), _share(other, self.term), setting)
        return (self.guarded(found),)

    def _not_flags(self, outcomes: Outcomes, arm: str) -> str:
        for side in (outcomes.arms.control, arm):
            moments = outcomes.moments[side]
            at = moments.index(self.term)
            low, high = moments.minima[at], moments.maxima[at]
            between = abs(moments.total(self.term) - moments.nonzero[at]) > 1e-6 * max(1, moments.n)
            if low < 0 or high > 1 or between:
                return (
                    f"a rate needs 0 and 1; {self.column} in arm {side!r} runs from {low:g} to {high:g}"
                    f" (for counts or money use Mean({self.column!r}))"
                )
        return ""


def _share(moments: Moments, term: Term) -> Share:
    return Share(int(moments.nonzero[moments.index(term)]), moments.n)


def compare_shares(start: Comparison, arm: Share, control: Share, setting: Setting) -> Comparison:
    """The comparison of two rates, with test and intervals that agree about 0."""
    alpha = setting.alpha
    rate, base = float(arm.rate), float(control.rate)
    diff = rate - base
    none = arm.successes + control.successes == 0
    everyone = arm.successes + control.successes == arm.trials + control.trials
    statistic, pvalue = (float(number) for number in score_test(arm, control))
    test = "score z-test"
    if arm.trials + control.trials < _EXACT_BELOW and not (none or everyone):
        pvalue, test = boschloo_test(arm, control), "Boschloo exact test"
    rejected = bool(pvalue < alpha)
    low, high = newcombe_interval(arm, control, alpha=alpha)
    low_score, high_score = score_difference_interval(arm, control, alpha=alpha, corrected=False)
    interval, lower, upper = settle(
        [
            ("Newcombe interval", float(low), float(high)),
            ("Mee score interval", float(low_score), float(high_score)),
        ],
        rejected=rejected,
        positive=diff > 0,
    )
    ratios = [
        (name, *score_ratio_interval(arm, control, alpha=alpha, corrected=corrected))
        for name, corrected in (("Miettinen-Nurminen score", True), ("Koopman score", False))
    ]
    ratio, rel_lower, rel_upper = settle(
        [(name, float(low) - 1, float(high) - 1) for name, low, high in ratios],
        rejected=rejected,
        positive=diff > 0,
    )
    notes = []
    if none:
        notes.append("nobody in either arm: there is nothing to test")
    elif everyone:
        notes.append("everybody in both arms: there is nothing to test")
    elif base == 0:
        notes.append("nobody in control: the relative lift is not defined, and unbounded above")
    expected = min(arm.trials, control.trials) * (arm.successes + control.successes) / (arm.trials + control.trials)
    if test == "score z-test" and 0 < expected < 5:
        notes.append(f"only {expected:.1f} expected in the smaller arm: the test is rough")
    return replace(
        start,
        control=base,
        value=rate,
        diff=diff,
        diff_lower=lower,
        diff_upper=upper,
        rel=diff / base if base > 0 else math.nan,
        rel_lower=math.nan if none else rel_lower,
        rel_upper=math.nan if none else rel_upper,
        pvalue=pvalue,
        method=f"{test}; {interval}; relative: {ratio}",
        note=join(start.note, *notes),
        error=math.sqrt(rate * (1 - rate) / arm.trials + base * (1 - base) / control.trials),
        statistic=statistic,
        df=math.inf,
    )


@dataclass(frozen=True)
class Mean(Metric):
    """An average per unit: revenue, profit, orders.

    Welch's test and interval; Fieller's interval of the relative lift, said to be unbounded where it is.

    Attributes:
        column: a column of numbers.
        covariate: columns known before the experiment (pre_revenue) that explain part of the metric; their part is
            taken out of the comparison (CUPED). One name or several; missing values are allowed and count as
            "no history".
        currency: unit of money, for the words of the verdict, for example "EUR".

    >>> Mean("revenue", covariate="pre_revenue").label
    'revenue'
    """

    column: str
    covariate: str | tuple[str, ...] = field(default=(), kw_only=True)
    currency: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        covariates = (self.covariate,) if isinstance(self.covariate, str) else tuple(self.covariate)
        object.__setattr__(self, "covariate", covariates)
        super().__post_init__()
        if self.column in covariates:
            raise MetricError(f"{self.label}: a metric cannot be its own covariate; found {self.column!r} twice")

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or self.column

    @property
    def term(self) -> Term:
        """The column."""
        return Term("value", self.column)

    @property
    def regressors(self) -> tuple[Term, ...]:
        """What is taken out: each covariate, and whether it is missing."""
        return tuple(term for name in self.covariate for term in (Term("filled", name), Term("missing", name)))

    def terms(self) -> tuple[Term, ...]:
        """The column, its covariates and whether they are missing."""
        return (self.term, *self.regressors)

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control."""
        start = self.start(outcomes, arm)
        fault = fault_of(outcomes, arm, self.terms())
        if fault:
            return (replace(start, note=fault),)
        one, other = outcomes.moments[arm], outcomes.control
        plain = (
            Sample(one.n, one.mean(self.term), one.variance(self.term)),
            Sample(other.n, other.mean(self.term), other.variance(self.term)),
        )
        saved = math.nan
        method = "Welch t-test and interval"
        samples = plain
        if self.covariate:
            samples, saved = self._adjusted(outcomes, arm, plain)
            method += f" after CUPED ({', '.join(self.covariate)})"
        buyers = min(int(side.nonzero[side.index(self.term)]) for side in (one, other))
        found = replace(start, variance_saved=saved, buyers=buyers, method=method)
        return (self.guarded(compare_samples(found, *samples, setting)),)

    def _adjusted(
        self, outcomes: Outcomes, arm: str, plain: tuple[Sample, Sample]
    ) -> tuple[tuple[Sample, Sample], float]:
        pooled = outcomes.pooled(outcomes.arms.control, arm)
        theta, used = slopes(pooled, self.term, self.regressors)
        samples = []
        for side, sample in zip((outcomes.moments[arm], outcomes.control), plain, strict=True):
            at = [side.index(term) for term in used]
            moved = float(theta @ (side.means[at] - pooled.means[at]))
            y = side.index(self.term)
            products = side.comoments
            rest = products[y, y] - 2 * theta @ products[at, y] + theta @ products[np.ix_(at, at)] @ theta
            variance = max(float(rest), 0.0) / (side.n - 1) if side.n > 1 else math.nan
            samples.append(Sample(sample.n, sample.mean - moved, variance))
        before, after = (float(sum(sample.error for sample in pair)) for pair in (plain, samples))
        return (samples[0], samples[1]), 1 - after / before if before > 0 else math.nan


def slopes(moments: Moments, target: Term, regressors: tuple[Term, ...]) -> tuple[Any, list[Term]]:
    """Least-squares slopes of the target on the regressors, and the regressors that vary at all."""
    used = [term for term in regressors if moments.comoments[moments.index(term), moments.index(term)] > 0]
    at = [moments.index(term) for term in used]
    products = moments.comoments[np.ix_(at, at)]
    scale = np.sqrt(np.diag(products))
    theta, *_ = np.linalg.lstsq(
        products / np.outer(scale, scale), moments.comoments[at, moments.index(target)] / scale, rcond=1e-10
    )
    return theta / scale, used


def compare_samples(start: Comparison, arm: Sample, control: Sample, setting: Setting) -> Comparison:
    """The comparison of two means, with test and intervals that agree about 0."""
    found = welch(arm, control, alpha=setting.alpha)
    notes = []
    if min(arm.n, control.n) < 2:
        notes.append("fewer than two units in an arm: there is no variance to compare with")
    elif not found.error > 0:
        zero = arm.mean == 0 and control.mean == 0
        notes.append(f"every value is {'0' if zero else 'the same'} within each arm: there is nothing to test")
    if not control.mean > 0:
        notes.append(f"control is {control.mean:g}: a lift relative to it is not defined")
    relative, lower, upper, unbounded = _relative(arm, control, found.df, found.pvalue, setting.alpha)
    if unbounded:
        notes.append("the relative interval is unbounded: control itself does not differ from 0")
    return replace(
        start,
        control=float(control.mean),
        value=float(arm.mean),
        diff=float(found.diff),
        diff_lower=float(found.lower),
        diff_upper=float(found.upper),
        rel=relative,
        rel_lower=lower,
        rel_upper=upper,
        pvalue=float(found.pvalue),
        method=f"{start.method}; relative: Fieller",
        note=join(start.note, *notes),
        error=float(found.error),
        statistic=float(found.statistic),
        df=float(found.df),
    )


def _relative(arm: Sample, control: Sample, df: float, pvalue: float, alpha: float) -> tuple[float, float, float, bool]:
    """Fieller with the normal quantile where it is as good; with Student's where few units, or agreement, ask it."""
    student = float(stdtrit(df, 1 - alpha / 2))
    criticals = (student,) if not df >= _NORMAL_FROM else (float(stdtrit(np.inf, 1 - alpha / 2)), student)
    for critical in criticals:
        found = fieller(arm, control, critical=critical)
        if (found.lower > 0 or found.upper < 0) == (pvalue < alpha):
            break
    return float(found.rel), float(found.lower), float(found.upper), bool(found.unbounded)
