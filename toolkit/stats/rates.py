"""Rates: opened, converted, reactivated, unsubscribed; and opens of which some are a machine's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from toolkit.errors import MetricError, shown
from toolkit.stats.arguments import check_flag
from toolkit.stats.comparison import Comparison, settle
from toolkit.stats.exact import boschloo_test
from toolkit.stats.metric import Metric, Setting, fault_of, join
from toolkit.stats.moments import Moments, Term
from toolkit.stats.outcomes import Outcomes
from toolkit.stats.proportions import (
    Share,
    newcombe_interval,
    score_difference_interval,
    score_ratio_interval,
    score_test,
)

__all__ = ["Rate", "compare_shares", "not_flags"]

_WORDS = ("human", "machine", "unsure")
_EXACT_BELOW = 1_000  # units of both arms


@dataclass(frozen=True)
class Rate(Metric):
    """The share of units for which something is true: opened, converted, reactivated, unsubscribed.

    Score z-test, or Boschloo's exact test where the two arms hold fewer than 1,000 units; Newcombe's interval of
    the difference; Miettinen and Nurminen's score interval of the relative lift. Where the test and an interval
    would contradict each other about 0, the interval that inverts the score test is given.

    Attributes:
        column: a column of 0 and 1, or of True and False.
        verdict: for opens, a column that says whose the open was: `human`, `machine` or `unsure` (missing where there
            was none). The comparison is then made twice, at least (human only) and at most (human or unsure); an open
            by a machine counts in neither.
        opens: whether the column counts opens; read from its name unless given.

    >>> Rate("converted").label
    'converted'
    """

    column: str
    verdict: str | None = field(default=None, kw_only=True)
    opens: bool | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "rate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opens is not None:
            check_flag(self.opens, where=f"{self.label}: opens")
        if self.verdict is not None and self.opens is False:
            raise MetricError(f"{self.label}: a verdict of human, machine or unsure is for opens; found opens=False")
        if self.opens is None:
            counts = self.verdict is not None or self.column.casefold().startswith("open")
            object.__setattr__(self, "opens", counts)

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or self.column

    @property
    def term(self) -> Term:
        """The column."""
        return Term("value", self.column)

    def terms(self) -> tuple[Term, ...]:
        """The column; or who opened."""
        if self.verdict is None:
            return (self.term,)
        return tuple(Term("equals", self.verdict, word) for word in _WORDS)

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control; twice where opens carry a verdict.

        Raises:
            MetricError: a verdict other than human, machine or unsure.
        """
        self._check_words(outcomes)
        start = replace(self.start(outcomes, arm), opens=bool(self.opens))
        fault = fault_of(outcomes, arm, self.terms()) or ("" if self.verdict else self._not_flags(outcomes, arm))
        if fault:
            return (replace(start, note=fault),)
        one, other = outcomes.moments[arm], outcomes.control
        if self.verdict is None:
            found = compare_shares(start, _share(one, self.term), _share(other, self.term), setting)
            return (self.guarded(found),)
        human, machine, unsure = self.terms()
        note = _machines(one + other, human, machine, unsure)
        bounds = []
        for name, counted in (("at least", (human,)), ("at most", (human, unsure))):
            begun = replace(start, metric=f"{self.label} ({name})", note=note)
            bounds.append(self.guarded(compare_shares(begun, _share(one, *counted), _share(other, *counted), setting)))
        return tuple(bounds)

    def _check_words(self, outcomes: Outcomes) -> None:
        if self.verdict is None:
            return
        others = set(outcomes.words(self.verdict)) - set(_WORDS)
        if others:
            raise MetricError(
                f"{self.label}: column {self.verdict!r} holds {shown(min(others))}; allowed: {', '.join(_WORDS)},"
                " or missing where nobody opened"
            )

    def _not_flags(self, outcomes: Outcomes, arm: str) -> str:
        found = (not_flags(outcomes.moments[side], self.term) for side in (outcomes.arms.control, arm))
        return next(filter(None, found), "")


def not_flags(moments: Moments, term: Term) -> str:
    """Why a term is no rate, since it holds more than 0 and 1; or an empty text."""
    at = moments.index(term)
    low, high = moments.minima[at], moments.maxima[at]
    squares = moments.comoments[at, at] + moments.n * moments.mean(term) ** 2
    between = abs(moments.total(term) - squares) > 1e-6  # a square equals its number at 0 and 1 only
    if low < 0 or high > 1 or between:
        return (
            f"a rate needs 0 and 1; {term.column} runs from {low:g} to {high:g}"
            f" (for counts or money use Mean({term.column!r}))"
        )
    return ""


def _machines(both: Moments, human: Term, machine: Term, unsure: Term) -> str:
    counts = [both.count(term) for term in (human, machine, unsure)]
    total = sum(counts)
    if not total:
        return "nobody opened"
    shares = [count / total for count in counts]
    return f"opens: {shares[0]:.0%} human, {shares[1]:.0%} machine, {shares[2]:.0%} unsure"


def _share(moments: Moments, *counted: Term) -> Share:
    return Share(sum(moments.count(term) for term in counted), moments.n)


def _lift(arm: Share, control: Share, alpha: float, *, corrected: bool) -> tuple[float, float]:
    lower, upper = score_ratio_interval(arm, control, alpha=alpha, corrected=corrected)
    return lower - 1, upper - 1


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
    interval, lower, upper = settle(
        [
            ("Newcombe interval", lambda: newcombe_interval(arm, control, alpha=alpha)),
            ("Mee score interval", lambda: score_difference_interval(arm, control, alpha=alpha, corrected=False)),
        ],
        rejected=rejected,
        positive=diff > 0,
    )
    ratio, ratio_lower, ratio_upper = settle(
        [
            ("Miettinen-Nurminen score", lambda: _lift(arm, control, alpha, corrected=True)),
            ("Koopman score", lambda: _lift(arm, control, alpha, corrected=False)),
        ],
        rejected=rejected,
        positive=diff > 0,
    )
    notes = []
    if none:
        notes.append("nobody in either arm: there is nothing to test")
    elif everyone:
        notes.append("everybody in both arms: there is nothing to test")
    elif base == 0:
        notes.append("nobody in control: the relative lift is not defined, only its lower end is known")
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
        rel_lower=math.nan if none else ratio_lower,
        rel_upper=math.nan if none else ratio_upper,
        pvalue=pvalue,
        method=f"{test}; {interval}; relative: {ratio}",
        note=join(start.note, *notes),
        error=math.sqrt(rate * (1 - rate) / arm.trials + base * (1 - base) / control.trials),
        statistic=statistic,
        df=math.inf,
    )
