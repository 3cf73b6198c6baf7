"""What an experiment showed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pandas as pd

from toolkit.drawable import Reportable
from toolkit.readable import lines_html, table_html
from toolkit.stats.arguments import check_number
from toolkit.stats.bayesian import check_prior, effect_posterior, rates_posterior
from toolkit.stats.comparison import Comparison
from toolkit.stats.design import Design
from toolkit.stats.looks import Look, Looks
from toolkit.stats.metric import Metric
from toolkit.stats.proportions import Share
from toolkit.stats.srm import SampleRatio
from toolkit.stats.survival import Survival
from toolkit.stats.verdict import Verdict, judge
from toolkit.stats.wording import BETWEEN_NUMBERS, LIFT_NUMBERS, between_table, lift_table
from toolkit.tables import LIFT

__all__ = ["OBSERVED", "RANDOMISED", "Result"]

RANDOMISED = "randomised"
OBSERVED = "observed, not randomised"
_FURTHER = ("role", "better", "error", "pvalue_repeated", "pvalue_adjusted", "margin", "not_worse", "variance_saved")
_BETWEEN = ("metric", "arm", "against", *LIFT.names[2:13], "pvalue_adjusted", *LIFT.names[13:])


@dataclass(frozen=True, eq=False)
class Result(Reportable):
    """What an experiment showed.

    Attributes:
        comparisons: every arm against control on every metric.
        control: the arm that the others are held against.
        alpha: two-sided chance of a false alarm.
        label: `randomised`, or `observed, not randomised`.
        split: the test of the split against the weights; None where no weights are known.
        look: today's look, where several are taken.
        design: what was decided before, where it is known.
        notes: what the reader must know before believing the numbers.
        window: the window of the outcomes, where known, for example `7d`.
        looks: how often one looks, where several looks are taken.
        unit: what a row was about: `customer`, `journey`, or `unit` where that is not known.
        curves: of each `TimeTo`, its window in days and the Kaplan-Meier curve of each arm, control first.
        metrics: what was compared, each with its role.
        arm: the column of the outcomes that said which arm a unit is in.
        unit_column: the column that named the unit.
        pairs: every two arms that beat control on a primary metric, held against each other; of two, `arm` gains more
            than `against`.
    """

    comparisons: tuple[Comparison, ...]
    control: str
    alpha: float
    label: str
    split: SampleRatio | None
    look: Look | None
    design: Design | None
    notes: tuple[str, ...]
    window: str | None
    looks: Looks | None = None
    unit: str = "customer"
    curves: Mapping[str, tuple[float, Mapping[str, Survival]]] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    arm: str = "arm"
    unit_column: str = "unit"
    pairs: tuple[Comparison, ...] = ()

    @property
    def lift(self) -> pd.DataFrame:
        """One row per metric and arm: the columns of `toolkit.tables.LIFT`."""
        return self._frame(LIFT.names)

    @property
    def between(self) -> pd.DataFrame:
        """Winning arms held against each other: one row per primary metric and pair; none where fewer than two won.

        Columns: metric, arm, against, n_against, n, value_against, value, diff, diff_lower, diff_upper, rel, rel_lower,
        rel_upper, pvalue, pvalue_adjusted (for all looks, and all pairs of arms there are: Holm), method, note.
        """
        found = pd.DataFrame([asdict(pair) for pair in self.pairs], columns=[*_BETWEEN])
        return found.rename(columns={"n_control": "n_against", "control": "value_against"})

    @property
    def table(self) -> pd.DataFrame:
        """The lift table and, for each row, role, standard error, p-values for all looks and comparisons, margin."""
        return self._frame((*LIFT.names, *_FURTHER))

    def _frame(self, columns: tuple[str, ...]) -> pd.DataFrame:
        return pd.DataFrame([asdict(found) for found in self.comparisons])[list(columns)]

    def verdict(self) -> Verdict:
        """What to do, in plain words, with the warnings that matter."""
        return judge(self)

    def beliefs(self, *, prior: tuple[float, float] = (1.0, 1.0), prior_sd: float = math.inf) -> pd.DataFrame:
        """The Bayesian view of the same data.

        Args:
            prior: parameters of the Beta prior of a rate; (1, 1) is uniform.
            prior_sd: standard deviation of the Gaussian prior of a difference of means, around 0; flat unless given.

        Returns:
            One row per metric and arm: metric, arm, probability (that the arm is better), expected_loss (of choosing
            it although it is not), expected_loss_control. NaN where the lift is undefined.

        Raises:
            MetricError: a prior that is none.

        Reference: `toolkit.stats.bayesian`.
        """
        check_prior(prior)
        allowed = "a positive number, or inf for a flat prior"
        check_number(prior_sd, where="beliefs: prior_sd", allowed=allowed, least=math.ulp(0.0))
        rows = []
        for one in self.comparisons:
            row = {"metric": one.metric, "arm": one.arm, "probability": math.nan}
            row |= {"expected_loss": math.nan, "expected_loss_control": math.nan}
            belief = None
            if one.kind == "rate" and not math.isnan(one.diff):
                shares = (
                    Share(round(one.value * one.n), one.n),
                    Share(round(one.control * one.n_control), one.n_control),
                )
                swap = one.better == "lower"
                belief = rates_posterior(*(shares[::-1] if swap else shares), prior=prior)
            elif one.error > 0:
                belief = effect_posterior(one.diff, one.error, prior_sd=prior_sd, better=one.better)
            if belief is not None:
                row["probability"] = belief.probability
                row["expected_loss"] = belief.expected_loss
                row["expected_loss_control"] = belief.expected_loss_control
            rows.append(row)
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        return str(self.verdict())

    def _repr_html_(self) -> str:
        *found, advice = (line for line in self.verdict().splitlines() if not line.startswith("Warning"))
        warned = [f"Warning: {warning}." for warning in self.verdict().warnings]
        shown = lift_table(self.comparisons)
        between = table_html(between_table(self.pairs), numbers=BETWEEN_NUMBERS) if self.pairs else ""
        notes = [f"{one.arm}, {one.metric}: {one.note}." for one in self.comparisons if one.note]
        return (
            f"<div>{lines_html([advice, *found, *warned], first=True)}"
            f"{table_html(shown, numbers=LIFT_NUMBERS)}{between}{lines_html(notes)}</div>"
        )
