"""Before sending: how many people, how long, and what effect can be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.arrow import TableLike
from toolkit.drawable import Drawable
from toolkit.errors import MetricError, NotSupportedError, listed, shown
from toolkit.readable import lines_html, minus, table_html
from toolkit.stats.arguments import check_alpha, check_column, check_count, check_number
from toolkit.stats.cuped import regressors, slopes, weighted
from toolkit.stats.design import Design
from toolkit.stats.doors import check_metric, check_numbers, check_once, check_window, frames_at
from toolkit.stats.entries import days_until, entries, units_within
from toolkit.stats.gathering import gather
from toolkit.stats.means import Mean
from toolkit.stats.metric import Metric
from toolkit.stats.moments import Moments, Term
from toolkit.stats.power import (
    detectable_mean,
    detectable_rate,
    power_of_means,
    power_of_rates,
    units_of_means,
    units_of_rates,
)
from toolkit.stats.rates import Rate, not_flags
from toolkit.stats.ratios import Ratio
from toolkit.stats.sequential import Spending, sample_inflation, sequence_threshold, spending_boundaries
from toolkit.stats.windows import days_of, window_text
from toolkit.stats.wording import plan_table

__all__ = ["Plan", "plan"]

_ALWAYS_LOOKS = 50  # moments at which the power of a confidence sequence is computed
_MOST_LOOKS = 1_000
_MOST_UNITS = 1e11  # more than ten times everybody
_CURVE = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True, eq=False)
class Plan(Drawable):
    """A planned experiment.

    Attributes:
        metric: what decides.
        baseline: the metric in control, as it is expected.
        sd: standard deviation per unit after CUPED; NaN for a rate.
        diff: the difference to be found, in the metric's unit.
        units: units of all arms together.
        per_arm: units by arm.
        days: days until so many units have entered and their windows have closed; NaN where entries are unknown.
        alpha, power: two-sided false-alarm chance and chance to find the effect.
        arms: share of each arm.
        control: the arm that the others are held against.
        looks: information times of the looks; empty for a confidence sequence.
        spending: how alpha is spent: a Spending, or `always`.
        inflation: by how much the looks enlarge the sample.
        machine_opens: share of units whose opens are a machine's.
        window: how long outcomes are counted after entry.
        entries: day of each unit's first entry, rising; or units a day.
    """

    metric: Metric
    baseline: float
    sd: float
    diff: float
    units: int
    alpha: float
    power: float
    arms: Mapping[str, float]
    control: str
    looks: tuple[float, ...]
    spending: Spending | str
    inflation: float
    machine_opens: float
    window: str | None
    entries: NDArray[np.float64] | float

    @property
    def rel(self) -> float:
        """The difference as a share of the baseline."""
        return self.diff / self.baseline if self.baseline > 0 else math.nan

    @property
    def per_arm(self) -> dict[str, int]:
        """Units by arm; together they are `units` (largest remainders)."""
        whole = {name: math.floor(self.units * share + 1e-9) for name, share in self.arms.items()}
        fullest = sorted(whole, key=lambda name: whole[name] - self.units * self.arms[name])
        more = fullest[: self.units - sum(whole.values())]
        return {name: n + (name in more) for name, n in whole.items()}

    @property
    def days(self) -> float:
        """Days until the last window closes."""
        return self.days_with(self.units)

    def power_at(self, units: float) -> float:
        """The chance to find the planned difference with so many units of all arms together."""
        n, n_control = self._pair(units)
        if self.metric.kind == "rate":
            rate, base = (_mixed(rate, self.machine_opens) for rate in (self.baseline + self.diff, self.baseline))
            return power_of_rates(rate, base, n=n, n_control=n_control, alpha=self._alpha)
        return power_of_means(self.diff, self.sd, n=n, n_control=n_control, alpha=self._alpha)

    def detectable(self, units: float) -> float:
        """The smallest difference that so many units of all arms together show (minimum detectable effect)."""
        n, n_control = self._pair(units)
        better = self.metric.better
        if self.metric.kind == "rate":
            base = _mixed(self.baseline, self.machine_opens)
            found = detectable_rate(base, n=n, n_control=n_control, alpha=self._alpha, power=self.power, better=better)
            return found / (1 - self.machine_opens)
        size = detectable_mean(self.sd, n=n, n_control=n_control, alpha=self._alpha, power=self.power)
        return size if better == "higher" else -size

    def curve(self) -> pd.DataFrame:
        """What more or fewer units would show.

        Returns:
            One row per number of units: units, days, diff and rel (smallest effect found with the power asked), and
            power (chance to find the planned effect).
        """
        rows = []
        for factor in _CURVE:
            units = math.ceil(self.units * factor)
            smallest = self.detectable(units)
            rows.append(
                {
                    "units": units,
                    "days": self.days_with(units),
                    "diff": smallest,
                    "rel": smallest / self.baseline if self.baseline > 0 else math.nan,
                    "power": self.power_at(units),
                }
            )
        return pd.DataFrame(rows)

    def freeze(self, path: str | Path | None = None) -> Design:
        """The design, fixed before anyone looks; `experiment(..., design=...)` holds the result against it.

        Args:
            path: where to write it as JSON; an existing file must hold the same design.

        Returns:
            The design.

        Raises:
            MetricError: the file holds another design.
        """
        spending = self.spending
        design = Design(
            metric=self.metric.label,
            kind=self.metric.kind,
            units=self.units,
            effect=self.diff,
            arms=dict(self.arms),
            control=self.control,
            better=self.metric.better,
            window=self.window,
            alpha=self.alpha,
            power=self.power,
            looks=self.looks,
            spending=spending.family if isinstance(spending, Spending) else spending,
            parameter=spending.parameter if isinstance(spending, Spending) else None,
        )
        if path is not None:
            design.save(path)
        return design

    @property
    def _alpha(self) -> float:
        return self.alpha / (len(self.arms) - 1)

    def _pair(self, units: float) -> tuple[float, float]:
        """Units of the smallest arm and of control that count, after what the looks cost."""
        check_number(units, where="plan: units", allowed="a positive number", least=1e-9, most=1e15)
        effective = units / self.inflation
        smallest = min(share for name, share in self.arms.items() if name != self.control)
        return effective * smallest, effective * self.arms[self.control]

    def days_with(self, units: float) -> float:
        """Days until the last window closes, with so many units in all arms; NaN where no pace of entries is known."""
        return days_until(self.entries, units) + (days_of(self.window) if self.window else 0.0)

    def __str__(self) -> str:
        is_rate = self.metric.kind == "rate"
        effect = minus(f"{100 * self.diff:+.4g} points" if is_rate else f"{self.diff:+.4g}")
        effect = "no effect, however large," if math.isnan(self.diff) else effect
        effect += f" ({minus(f'{self.rel:+.1%}')})" if not math.isnan(self.rel) else ""
        base = f"{100 * self.baseline:.4g}%" if is_rate else f"{self.baseline:.4g}"
        arms = ", ".join(f"{name} {n:,}" for name, n in self.per_arm.items())
        text = f"{self.metric.label}: {self.units:,} people ({arms}) find {effect} on {base}"
        text += f" with power {self.power:.0%} at alpha {self.alpha:g}"
        if not math.isnan(self.days):
            text += f", in {self.days:,.0f} days"
        if len(self.looks) != 1:
            kind = f"{len(self.looks)} looks" if self.looks else "looking at any time"
            text += f"; {kind} cost {self.inflation - 1:.1%} more people"
        if self.machine_opens:
            text += f"; {self.machine_opens:.0%} of the opens are a machine's"
        return text

    def _repr_html_(self) -> str:
        money = getattr(self.metric, "currency", None) or ""
        shown = plan_table(self.curve(), unit="points" if self.metric.kind == "rate" else money)
        return f"<div>{lines_html([str(self)])}{table_html(shown, numbers=shown.columns)}</div>"


def plan(
    metric: Metric,
    *,
    baseline: float | None = None,
    sd: float | None = None,
    correlation: float | None = None,
    diff: float | None = None,
    rel: float | None = None,
    units: float | None = None,
    days: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    arms: Mapping[str, float] | None = None,
    holdout: float | None = None,
    control: str = "control",
    looks: int | Sequence[float] = 1,
    spending: Spending | str = "obrien_fleming",
    machine_opens: float = 0.0,
    outcomes: TableLike | None = None,
    journeys: TableLike | None = None,
    per_day: float | None = None,
    window: str | None = None,
) -> Plan:
    """How many units an effect needs, or what effect so many units or days can show.

    Give the effect (`diff` or `rel`) to get the units, or `units` or `days` to get the smallest effect.

    Args:
        metric: what will decide: a `Rate`, `Mean` or `Ratio`.
        baseline: the metric in control; read from `outcomes` unless given. For opens, the rate of people's own opens.
        sd: standard deviation per unit, for means and ratios; read from `outcomes` unless given.
        correlation: of the metric with its covariates (CUPED), -1 to 1; read from `outcomes` unless given.
        diff: the difference to find, in the metric's unit (0.02 is 2 points).
        rel: the same as a share of the baseline (0.1 is 10%).
        units: units of all arms together.
        days: days of entries to use; needs `journeys` or `per_day`.
        alpha: two-sided chance of a false alarm. With several arms against control it is divided by their number.
        power: chance to find the effect.
        arms: weight of each arm, any scale; control and mail alike unless given.
        holdout: share of control, in place of `arms`.
        control: the arm that the others are held against.
        looks: how many equally spaced looks, or their information times, the last 1.
        spending: `obrien_fleming`, `pocock`, a `Spending`, or `always` for a confidence sequence.
        machine_opens: share of units whose mails a machine opens anyway, 0 to 1: it hides part of the effect.
        outcomes: one row per unit, as from `measure`: gives baseline, sd and correlation (control, if it has arms).
        journeys: a replay's journeys: the first entry of each customer gives the duration.
        per_day: units that enter a day, in place of `journeys`.
        window: how long outcomes are counted after entry, for example `7d`; from `outcomes` unless given.

    Returns:
        Plan: `.units`, `.per_arm`, `.days`, `.diff`, `.curve()`, `.freeze()`.

    Raises:
        MetricError: something needed is missing, given twice, or out of range.
        NotSupportedError: a metric without a planning formula.

    Reference: Lachin (1981), Controlled Clinical Trials 2, 93-113; Jennison & Turnbull (2000) for the looks.

    >>> planned = plan(Rate("converted"), baseline=0.20, rel=0.10, per_day=500)
    >>> planned.units, planned.per_arm["control"], round(planned.days, 1)
    (13020, 6510, 26.0)
    """
    check_metric(metric, where="plan")
    check_numbers(
        {
            "baseline": baseline, "sd": sd, "correlation": correlation, "diff": diff, "rel": rel, "units": units,
            "days": days, "alpha": alpha, "power": power, "holdout": holdout, "machine_opens": machine_opens,
            "per_day": per_day,
        },
        where="plan", needed=("alpha", "power", "machine_opens"),
    )  # fmt: skip
    check_alpha(alpha, where="plan")
    check_column(control, where="plan: control")
    outcomes, journeys = frames_at("plan", outcomes=outcomes, journeys=journeys)
    if outcomes is not None:
        check_once(outcomes, where="plan")
    if metric.kind not in ("rate", "mean", "ratio"):
        raise NotSupportedError(f"plan: {type(metric).__name__} has no formula; plan its Rate or Mean instead")
    baseline, sd = _read(metric, outcomes, baseline, sd, correlation, control)
    if outcomes is not None and window is None:
        about = outcomes.attrs.get("toolkit")
        window = about.get("window") if isinstance(about, Mapping) else None
    check_window(window, where="plan")
    window = None if window is None else window_text(window)
    shares = _shares(arms, holdout, control)
    times = _times(looks, spending)
    spending = Spending(spending) if isinstance(spending, str) and spending != "always" else spending  # type: ignore[arg-type]
    if not 0 <= machine_opens < 1:
        raise MetricError(f"plan: machine_opens: found {shown(machine_opens)}; allowed: 0 to below 1")
    if machine_opens and metric.kind != "rate":
        raise MetricError("plan: machine_opens is for a rate of opens")
    pair_alpha = alpha / (len(shares) - 1)
    inflation = _inflation(times, spending, pair_alpha, power)
    if diff is not None and rel is not None:
        raise MetricError("plan: give diff or rel, not both")
    effect = diff if rel is None else rel * baseline
    draft = Plan(
        metric, baseline, sd, math.nan, 0, alpha, power, shares, control, times, spending, inflation,
        machine_opens, window, entries(journeys, per_day),
    )  # fmt: skip
    if effect is not None and (units is not None or days is not None):
        raise MetricError("plan: give the effect (diff or rel) or the size (units or days), not both")
    if effect is not None:
        return replace(draft, diff=effect, units=_needed(draft, effect))
    if units is None and days is None:
        raise MetricError("plan: give the effect to find (diff or rel), or units or days")
    if units is not None and days is not None:
        raise MetricError("plan: give units or days, not both")
    size = units if units is not None else units_within(draft.entries, float(days or 0.0))
    if not 2 <= size < math.inf:
        raise MetricError(f"plan: found {shown(size)} units; allowed: a number, at least two")
    return replace(draft, units=int(size), diff=draft.detectable(size))


def _needed(draft: Plan, effect: float) -> int:
    smallest = min(share for name, share in draft.arms.items() if name != draft.control)
    together = smallest + draft.arms[draft.control]
    share = smallest / together
    if draft.metric.kind == "rate":
        if not 0 <= draft.baseline + effect <= 1:
            raise MetricError(f"plan: {draft.baseline:g} {effect:+g} is no rate; allowed: 0 to 1")
        rate, base = _mixed(draft.baseline + effect, draft.machine_opens), _mixed(draft.baseline, draft.machine_opens)
        pair = units_of_rates(rate, base, share=share, alpha=draft._alpha, power=draft.power)
    else:
        pair = units_of_means(effect, draft.sd, share=share, alpha=draft._alpha, power=draft.power)
    if pair / together * draft.inflation > _MOST_UNITS:
        raise MetricError(
            f"plan: a difference of {effect:g} would take more than {_MOST_UNITS:,.0f} people; allowed: a larger one"
        )
    return sum(math.ceil(pair / together * draft.inflation * share - 1e-6) for share in draft.arms.values())


def _mixed(rate: float, machine_opens: float) -> float:
    """The open rate that is seen when machines open some mails anyway."""
    return machine_opens + (1 - machine_opens) * rate


def _read(
    metric: Metric,
    outcomes: pd.DataFrame | None,
    baseline: float | None,
    sd: float | None,
    correlation: float | None,
    control: str,
) -> tuple[float, float]:
    if metric.kind == "rate" and sd is not None:
        raise MetricError("plan: sd is for Mean and Ratio; that of a rate follows from its baseline")
    if outcomes is not None:
        rows = outcomes
        if "arm" in outcomes.columns and (outcomes["arm"].astype("str") == control).any():
            rows = outcomes.loc[(outcomes["arm"].astype("str") == control).to_numpy(dtype=bool)]
        terms = metric.terms()
        moments = gather(rows, terms, codes=np.zeros(len(rows), dtype=np.int8), arms=1)[0]
        found, spread, explained = _moments(metric, moments)
        if math.isnan(found):
            raise MetricError(
                f"plan: {metric.label} cannot be read from the outcomes: values are missing or nobody is there"
            )
        baseline = found if baseline is None else baseline
        sd = spread if sd is None else sd
        correlation = explained if correlation is None else correlation
    if baseline is None or not math.isfinite(baseline):
        raise MetricError(
            f"plan: baseline: found {shown(baseline)}; give the metric in control, or outcomes to read it from"
        )
    if metric.kind == "rate":
        if not 0 <= baseline <= 1:
            raise MetricError(f"plan: baseline of a rate: found {shown(baseline)}; allowed: 0 to 1")
        if correlation:
            raise MetricError("plan: correlation is for Mean and Ratio; plan Mean(column, covariate=...) instead")
        return baseline, math.nan
    if sd is None or not (sd > 0 and math.isfinite(sd)):
        raise MetricError(
            f"plan: sd: found {shown(sd)}; give the standard deviation per unit, or outcomes to read it from"
        )
    if correlation is not None and not -1 < correlation < 1:
        raise MetricError(f"plan: correlation: found {shown(correlation)}; allowed: above -1 and below 1")
    return baseline, sd * math.sqrt(1 - (correlation or 0.0) ** 2)


def _moments(metric: Metric, moments: Moments) -> tuple[float, float, float]:
    """Baseline, standard deviation per unit, and correlation with the covariates."""
    covariates: Any = getattr(metric, "covariate", ())
    if isinstance(metric, Ratio):
        top, bottom = Term("value", metric.numerator), Term("value", metric.denominator)
        base = moments.mean(bottom)
        if base == 0:
            raise MetricError(f"plan: {metric.denominator} is 0 for everybody: there is nothing to divide by")
        weights = {top: 1 / base, bottom: -moments.mean(top) / base**2}
        value = moments.mean(top) / base
    elif isinstance(metric, Mean):
        weights, value = {metric.term: 1.0}, moments.mean(metric.term)
    elif isinstance(metric, Rate) and metric.verdict is None:
        fault = not_flags(moments, metric.term)
        if fault:
            raise MetricError(f"plan: {fault}")
        return moments.mean(metric.term), math.nan, 0.0
    elif isinstance(metric, Rate):
        return moments.mean(metric.terms()[0]), math.nan, 0.0
    else:
        raise NotSupportedError(f"plan: {type(metric).__name__} has no formula")
    squared, crossed = weighted(moments, weights)
    theta, used = slopes(moments, crossed, regressors(covariates))
    explained = (
        float(theta @ crossed[[moments.index(term) for term in used]]) / squared if squared > 0 and used else 0.0
    )
    return value, math.sqrt(squared / max(moments.n - 1, 1)), math.sqrt(max(min(explained, 1 - 1e-12), 0.0))


def _shares(arms: object, holdout: float | None, control: str) -> dict[str, float]:
    if arms is not None and holdout is not None:
        raise MetricError("plan: give arms or holdout, not both")
    if holdout is not None:
        if not 0 < holdout < 1:
            raise MetricError(f"plan: holdout: found {shown(holdout)}; allowed: above 0 and below 1")
        arms = {control: holdout, "mail": 1 - holdout}
    arms = {control: 1.0, "mail": 1.0} if arms is None else arms
    if not isinstance(arms, Mapping):
        raise MetricError(
            f"plan: arms: found {shown(arms)}; allowed: the weight of each arm, as {{'control': 1, 'mail': 1}}"
        )
    check_numbers(arms, where="plan: arms")
    if control not in arms or len(arms) < 2:
        raise MetricError(f"plan: arms: found {listed(arms)}; needed: {control!r} and at least one other")
    if any(not (weight > 0 and math.isfinite(weight)) for weight in arms.values()):
        raise MetricError(f"plan: arms: weights must be positive; found {shown(dict(arms))}")
    total = sum(arms.values())
    return {name: weight / total for name, weight in arms.items()}


def _times(looks: int | Sequence[float], spending: Spending | str) -> tuple[float, ...]:
    if not isinstance(spending, str | Spending):
        raise MetricError(f"plan: spending: found {shown(spending)}; allowed: a family, a Spending, or 'always'")
    if spending == "always":
        return ()
    if isinstance(looks, int | np.integer):
        check_count(looks, where="plan: looks", most=_MOST_LOOKS)
        return tuple((at + 1) / looks for at in range(looks))
    try:
        times = tuple(float(time) for time in looks)
    except (TypeError, ValueError):
        raise MetricError(f"plan: looks: found {shown(looks)}; allowed: how many, or their information times") from None
    if not times or times[-1] != 1.0:
        raise MetricError(f"plan: looks: information times must end at 1; found {shown(list(times))}")
    return times


def _inflation(times: tuple[float, ...], spending: Spending | str, alpha: float, power: float) -> float:
    if len(times) == 1:
        return 1.0
    if isinstance(spending, Spending):
        return sample_inflation(
            times, spending_boundaries(times, spending, alpha=alpha).tolist(), alpha=alpha, power=power
        )
    moments = [(at + 1) / _ALWAYS_LOOKS for at in range(_ALWAYS_LOOKS)]
    bounds = [sequence_threshold(time, alpha=alpha) for time in moments]
    return sample_inflation(moments, bounds, alpha=alpha, power=power)
