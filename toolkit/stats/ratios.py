"""Ratios of what customers add up: opens per mail, revenue per mail."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from toolkit.errors import MetricError
from toolkit.stats.arguments import check_flag, column_names
from toolkit.stats.comparison import Comparison
from toolkit.stats.cuped import adjusted, regressors, slopes, weighted
from toolkit.stats.means import compare_estimates
from toolkit.stats.metric import Metric, Setting, fault_of
from toolkit.stats.moments import Moments, Term
from toolkit.stats.outcomes import Outcomes
from toolkit.stats.welch import Sample

__all__ = ["Ratio"]


@dataclass(frozen=True)
class Ratio(Metric):
    """A ratio of two sums over customers, such as opens per mail, or revenue per mail.

    The customer, not the mail, is what was randomised; so the error comes from customers (delta method). Counting
    each mail as if it were drawn on its own would raise an alarm in 8 to 14 of 100 experiments without effect.
    Customers may have several rows (one per journey); their rows are added up first.

    Attributes:
        numerator, denominator: columns of numbers, summed over a customer's rows.
        covariate: columns known before the experiment that explain part of the ratio (CUPED).
        repeats: accept counts above the denominator (the same mail opened twice counts twice).
        currency: unit of money of the numerator, for the words of the verdict.

    Reference: Deng, Knoblich & Lu (2018), Applying the Delta Method in Metric Analytics, KDD.

    >>> Ratio("opens", "mails").label
    'opens per mails'
    """

    numerator: str
    denominator: str
    covariate: str | tuple[str, ...] = field(default=(), kw_only=True)
    repeats: bool = field(default=False, kw_only=True)
    currency: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "ratio"

    def __post_init__(self) -> None:
        covariates = column_names(self.covariate, where="Ratio: covariate")
        object.__setattr__(self, "covariate", covariates)
        super().__post_init__()
        check_flag(self.repeats, where=f"{self.label}: repeats")
        if self.numerator == self.denominator or {self.numerator, self.denominator} & set(covariates):
            raise MetricError(f"{self.label}: numerator, denominator and covariates must be different columns")

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or f"{self.numerator} per {self.denominator}"

    @property
    def _top(self) -> Term:
        return Term("value", self.numerator)

    @property
    def _bottom(self) -> Term:
        return Term("value", self.denominator)

    @property
    def _checks(self) -> tuple[Term, Term, Term]:
        return (
            Term("above", self.numerator, self.denominator),
            Term("broken", self.numerator),
            Term("broken", self.denominator),
        )

    def terms(self) -> tuple[Term, ...]:
        """Numerator, denominator, what is needed to see faults, and the covariates."""
        return (self._top, self._bottom, *self._checks, *regressors(self.covariate))

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control."""
        start = replace(self.start(outcomes, arm), opens=self.numerator.casefold().startswith("open"))
        fault = fault_of(outcomes, arm, (self._top, self._bottom)) or self._impossible(outcomes, arm)
        if fault:
            return (replace(start, note=fault),)
        one, other = outcomes.moments[arm], outcomes.control
        plain = self._sample(one), self._sample(other)
        start = replace(start, method="t-test and interval on customer sums (delta method)")
        if not self.covariate:
            return (self.guarded(compare_estimates(start, *plain, setting)),)
        pooled = one + other
        theta, used = slopes(pooled, weighted(pooled, self._weights(pooled))[1], regressors(self.covariate))
        centre = pooled.means[[pooled.index(term) for term in used]]
        less = [
            adjusted(side, sample, self._weights(side), theta=theta, used=used, centre=centre)
            for side, sample in zip((one, other), plain, strict=True)
        ]
        before, after = (float(sum(sample.error for sample in pair)) for pair in (plain, less))
        start = replace(
            start,
            method=f"{start.method} after CUPED ({', '.join(self.covariate)})",
            variance_saved=1 - after / before if before > 0 else math.nan,
        )
        return (self.guarded(compare_estimates(start, less[0], less[1], setting)),)

    def _weights(self, side: Moments) -> dict[Term, float]:
        """The ratio as a weighted sum of numerator and denominator, to first order."""
        base = side.mean(self._bottom)
        return {self._top: 1 / base, self._bottom: -side.mean(self._top) / base**2}

    def _sample(self, side: Moments) -> Sample:
        squared, _ = weighted(side, self._weights(side))
        variance = max(squared, 0.0) / (side.n - 1) if side.n > 1 else math.nan
        return Sample(side.n, side.mean(self._top) / side.mean(self._bottom), variance)

    def _impossible(self, outcomes: Outcomes, arm: str) -> str:
        above, *broken = self._checks
        counts = all(side.total(term) == 0 for side in outcomes.moments.values() for term in broken)
        for side in (outcomes.arms.control, arm):
            moments = outcomes.moments[side]
            if moments.minima[moments.index(self._bottom)] < 0:
                return f"{self.denominator} is negative for some units: a count cannot be"
            if moments.total(self._bottom) == 0:
                return (
                    f"{self.denominator} is 0 for everybody in arm {side!r}: there is nothing to divide by; where an"
                    f" arm gets none, as a holdout, compare Mean({self.numerator!r})"
                )
            if not counts or self.currency or self.repeats:
                continue
            if moments.minima[moments.index(self._top)] < 0:
                return f"{self.numerator} is negative for some units: a count cannot be"
            more = moments.count(above)
            if more:
                return (
                    f"{self.numerator} exceeds {self.denominator} for {more:,} units in arm {side!r}"
                    " (if each may count several times, say repeats=True)"
                )
        return ""
