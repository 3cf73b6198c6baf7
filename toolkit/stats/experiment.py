"""From outcomes to lift: who was randomised, whether the split is sound, and every arm against control."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd

from toolkit.drawable import Drawable
from toolkit.errors import MetricError
from toolkit.stats.comparison import Comparison
from toolkit.stats.metrics import Metric, Setting
from toolkit.stats.outcomes import Arms, read, read_arms
from toolkit.stats.srm import SampleRatio, sample_ratio
from toolkit.stats.verdict import Verdict, judge
from toolkit.tables import LIFT

__all__ = ["Result", "experiment"]

RANDOMISED = "randomised"
OBSERVED = "observed, not randomised"


@dataclass(frozen=True, eq=False)
class Result(Drawable):
    """What an experiment showed.

    Attributes:
        comparisons: every arm against control on every metric.
        control: the arm that the others are held against.
        alpha: two-sided chance of a false alarm, for one comparison.
        label: `randomised`, or `observed, not randomised`.
        split: the test of the split against the weights, None where no weights are known.
        notes: what the reader must know before believing the numbers.
        window: the window of the outcomes, where known, for example `7d`.
    """

    comparisons: tuple[Comparison, ...]
    control: str
    alpha: float
    label: str
    split: SampleRatio | None
    notes: tuple[str, ...]
    window: str | None

    @property
    def lift(self) -> pd.DataFrame:
        """One row per metric and arm: the columns of `toolkit.tables.LIFT`."""
        return pd.DataFrame([asdict(found) for found in self.comparisons])[list(LIFT.names)]

    def verdict(self) -> Verdict:
        """What to do, in plain words, with the warnings that matter."""
        return judge(
            self.comparisons,
            alpha=self.alpha,
            control=self.control,
            label=self.label,
            split=self.split,
            notes=self.notes,
        )

    def __str__(self) -> str:
        return str(self.verdict())

    def _repr_html_(self) -> str:
        verdict = self.verdict()
        shown = self.lift.drop(columns=["method"])
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in verdict.splitlines())
        return f"<div>{lines}{shown.to_html(index=False, float_format=_short, na_rep='', border=0)}</div>"


def _short(value: float) -> str:
    return f"{value:.4g}"


def experiment(
    outcomes: pd.DataFrame,
    metrics: Sequence[Metric],
    *,
    control: object = "control",
    arm: str = "arm",
    unit: str = "unit",
    alpha: float = 0.05,
    weights: Mapping[str, float] | None = None,
    observational: bool = False,
    seed: int = 0,
) -> Result:
    """Every arm against control on every metric, from outcomes with one row per unit.

    Everybody counts in the arm drawn for them, whether or not they got or opened a mail (intention to treat).

    Args:
        outcomes: one row per unit (a customer); a column for the arm, one for the unit, one for each metric.
        metrics: what to compare, for example `Rate("converted")`, `Mean("revenue")`.
        control: the value of the arm column which is control.
        arm: the column that says which arm a unit is in.
        unit: the column that names the unit; without a column `unit`, each row counts as one unit.
        alpha: two-sided chance of a false alarm for one comparison, 0 to 1; intervals have confidence 1 - alpha.
        weights: the weight each arm was set to, any scale; the split is then tested.
        observational: accept outcomes whose arms were not drawn at random; everything is labelled so.
        seed: where permutations start.

    Returns:
        Result: `.lift` (one row per metric and arm), `.verdict()`, `.plot()`.

    Raises:
        MetricError: outcomes not randomised, one arm only, a column missing or not numeric, a unit in several rows
            or several arms, no metric, or two of the same name.

    >>> from toolkit.stats import Rate
    >>> outcomes = pd.DataFrame({
    ...     "unit": range(4000),
    ...     "arm": ["control"] * 2000 + ["mail"] * 2000,
    ...     "converted": [1] * 100 + [0] * 1900 + [1] * 150 + [0] * 1850,
    ... })
    >>> print(experiment(outcomes, [Rate("converted")]).verdict())
    mail beats control on converted: +2.5 points [+1.0, +4.0].
    Roll out.
    """
    metrics = _checked(metrics, alpha)
    about = outcomes.attrs.get("toolkit", {}) if isinstance(outcomes.attrs.get("toolkit", {}), Mapping) else {}
    randomised = about.get("randomised")
    if randomised is False and not observational:
        raise MetricError(
            "outcomes: the arms were not drawn at random"
            + (f" ({about['why']})" if about.get("why") else "")
            + ", so lift cannot be measured; for a comparison labelled as observed, pass observational=True"
        )
    arms = read_arms(outcomes, arm=arm, control=control)
    notes = _units(outcomes, arms, unit)
    terms = [term for metric in metrics for term in metric.terms()]
    found = read(outcomes, terms, arms=arms)
    counts = {name: found.moments[name].n for name in arms.names}
    weights = weights if weights is not None else about.get("weights")
    split = sample_ratio(counts, weights) if weights else None
    label = OBSERVED if observational or randomised is False else RANDOMISED
    setting = Setting(alpha=alpha, seed=seed)
    comparisons = tuple(
        comparison for metric in metrics for name in arms.others for comparison in metric.compare(found, name, setting)
    )
    if label == OBSERVED:
        comparisons = tuple(
            replace(one, note="; ".join(part for part in (OBSERVED, one.note) if part)) for one in comparisons
        )
    return Result(comparisons, arms.control, alpha, label, split, notes, about.get("window"))


def _checked(metrics: Sequence[Metric], alpha: float) -> tuple[Metric, ...]:
    metrics = (metrics,) if isinstance(metrics, Metric) else tuple(metrics)
    if not metrics:
        raise MetricError("metrics: found none; give at least one, for example Rate('converted')")
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise MetricError(f"metrics: found {metric!r}; allowed: Rate, Mean, Ratio, Quantile or TimeTo of a column")
    names = [metric.label for metric in metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MetricError(f"metrics: {twice[0]!r} is there twice; tell them apart with name=")
    if not (isinstance(alpha, float) and 0 < alpha < 1 and math.isfinite(alpha)):
        raise MetricError(f"alpha: found {alpha!r}; allowed: a number between 0 and 1, for example 0.05")
    if all(metric.role is None for metric in metrics):
        return tuple(replace(metric, role="primary" if at == 0 else "secondary") for at, metric in enumerate(metrics))
    return tuple(metric if metric.role else replace(metric, role="secondary") for metric in metrics)


def _units(outcomes: pd.DataFrame, arms: Arms, unit: str) -> tuple[str, ...]:
    if unit not in outcomes.columns:
        if unit != "unit":
            raise MetricError(
                f"outcomes: column {unit!r} (who the row is about) is missing;"
                f" columns found: {', '.join(map(str, outcomes.columns))}"
            )
        return ("there is no column 'unit': every row counts as one unit",)
    units = outcomes[unit]
    missing = int(units.isna().sum())
    if missing:
        raise MetricError(f"outcomes: {missing:,} of {len(units):,} rows have no {unit!r}")
    if units.is_unique:
        return ()
    again = units.duplicated(keep=False)
    repeated = units[again]
    several = pd.Series(arms.codes[again.to_numpy()], index=repeated.to_numpy()).groupby(level=0).nunique()
    moved = several[several > 1]
    if len(moved):
        raise MetricError(
            f"outcomes: {len(moved):,} units are in more than one arm, for example {str(moved.index[0])!r};"
            " each unit belongs to the one arm drawn for it"
        )
    raise MetricError(
        f"outcomes: {repeated.nunique():,} units have more than one row, for example {str(repeated.iloc[0])!r};"
        " give one row per unit"
    )
