"""What a simulation found: counts and money by arm, lift, profit, and what the intervals are made of. Modelled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.drawable import Drawable
from toolkit.engine.answers import METRICS
from toolkit.errors import InputError, did_you_mean, listed, shown
from toolkit.readable import lines_html, minus, table_html
from toolkit.scenario.models import Program
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.noise import moved_together
from toolkit.simulation.variance_shares import parts_of

__all__ = ["Forecast", "Groups"]

Floats = npt.NDArray[np.float64]
_MONEY = ("caused_revenue", "discount_caused", "discount_own", "revenue", "own_revenue")
_ON_THEIR_OWN = ("own_conversions", "own_revenue")
SHOWN = (
    "people", "journeys", "mails", "opens", "machine_opens", "clicks", "unsubscribes", "conversions", "own_conversions",
    "revenue", "own_revenue", "caused", "caused_revenue", "own_with_offer", "pulled_forward", "discount",
    "discount_own", "mail_cost", "margin", "profit",
)  # fmt: skip
"""Rows of the table, in order."""
LIFTED = ("conversions", "revenue", "profit")


@dataclass(frozen=True, slots=True)
class Groups:
    """Scenarios and their arms, in the order in which they are counted.

    Attributes:
        scenarios, arms, holdouts: names; arms are empty and the holdout is None where there is no experiment.
        units: `customer`, or `journey` where the experiment draws its arms journey by journey.
    """

    scenarios: tuple[str, ...]
    arms: tuple[tuple[str, ...], ...]
    holdouts: tuple[str | None, ...]
    units: tuple[str, ...]

    @property
    def names(self) -> list[tuple[str, str | None]]:
        """Scenario and arm of each group; None where there is no experiment."""
        return [
            (scenario, arm) for scenario, arms in zip(self.scenarios, self.arms, strict=True) for arm in arms or (None,)
        ]

    @property
    def units_of_groups(self) -> list[str]:
        """The unit of each group."""
        return [unit for unit, arms in zip(self.units, self.arms, strict=True) for _ in arms or (None,)]

    def is_holdout(self, scenario: str, arm: str | None) -> bool:
        """Whether an arm gets no mail."""
        return arm is not None and self.holdouts[self.scenarios.index(scenario)] == arm


@dataclass(frozen=True, eq=False)
class Forecast(Drawable):
    """What a program would bring if people answered as a response model says.

    An interval says what the same program would bring another time, to as many people like these: it holds what is
    not known of the model's numbers, the chance of answers, and that other people come.

    Attributes:
        program, response: what was simulated, and how people answered.
        groups: scenarios and arms.
        counted: draws x groups x `engine.answers.METRICS`.
        silent: the same without any answer.
        covariances: of the counts of each group, from the people alone.
        across: of the counts of two groups that share people, by their places; none where nobody is in both.
        values: the numbers of the model in each draw.
        seed, level: where chance came from; share of the intervals.
        notes: what a reader must know.
        currency: of all money.
        stated_prices: the log has no prices: what purchases cost, people's own too, is that of the model.
    """

    program: Program
    response: ResponseModel
    groups: Groups
    counted: Floats
    silent: Floats
    covariances: Floats
    across: Mapping[tuple[int, int], Floats]
    values: Mapping[str, Floats]
    seed: int
    level: float
    notes: tuple[str, ...]
    currency: str
    stated_prices: bool = False

    @property
    def draws(self) -> int:
        """How many draws."""
        return len(self.counted)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per scenario, arm and metric: scenario, arm, metric, value (mean of the draws), lower, upper, label.

        Counts and money are of all people of the arm together. `caused` are purchases that a mail brought about;
        conversions are people who reached the goal within its window of their first entry, whatever made them (where
        arms are drawn journey by journey: journeys after whose entry it was reached); own_conversions those who did in
        the log. discount is what offers took off, discount_own the part of it on
        purchases that would have been made anyway. margin is that of caused purchases less every discount; profit is
        margin less the cost of mails and unsubscribes. label: exact, observed or modelled.
        """
        rows = []
        for group, (scenario, arm) in enumerate(self.groups.names):
            plain, moved = self._metrics(group, noise=False), self._metrics(group, noise=True)
            for metric in SHOWN:
                value, lower, upper = self._summed(metric, plain[metric], moved[metric])
                rows.append([scenario, arm, metric, value, lower, upper, self._label(metric, group)])
        return pd.DataFrame(rows, columns=["scenario", "arm", "metric", "value", "lower", "upper", "label"])

    @cached_property
    def lift(self) -> pd.DataFrame:
        """What mails add per person, held against the same people unmailed.

        One row per scenario, arm that is mailed, and metric (conversions, revenue, profit): unit (`customer`, or
        `journey` where arms are drawn journey by journey: all that follows is then per journey), n of them, control
        (what the same did on their own, observed; of revenue in a log without prices modelled), value, diff with
        diff_lower and diff_upper, rel with rel_lower and rel_upper (missing where control is 0), label.
        """
        rows = []
        for group, (scenario, arm) in enumerate(self.groups.names):
            if self.groups.is_holdout(scenario, arm):
                continue
            n = self.entered(group)
            if not n:
                continue
            unit = self.groups.units_of_groups[group]
            plain, moved = self._metrics(group, noise=False), self._metrics(group, noise=True)
            counted = {"customer": "people", "journey": "journeys"}[unit]
            units, more = np.maximum(plain[counted], 1.0), moved[counted] - plain[counted]
            for metric in LIFTED:
                control = 0.0 if metric == "profit" else float(plain[f"own_{metric}"].mean() / units.mean())
                base = 0.0 if metric == "profit" else 1.0
                added, shaken = (
                    one[metric] - base * one.get(f"own_{metric}", np.zeros(self.draws)) for one in (plain, moved)
                )
                # Other people may have more journeys or fewer: a ratio moves by what its parts move (delta method).
                diff, (low, high) = float((added / units).mean()), self._ends((shaken - added / units * more) / units)
                by = 1 / control if control > 0 else math.nan
                row = [scenario, arm, metric, unit, int(n), control, control + diff]
                rows.append([*row, diff, low, high, diff * by, low * by, high * by, "modelled"])
        names = ["scenario", "arm", "metric", "unit", "n", "control", "value", "diff", "diff_lower", "diff_upper"]
        return pd.DataFrame(rows, columns=[*names, "rel", "rel_lower", "rel_upper", "label"])

    @cached_property
    def assumptions(self) -> pd.DataFrame:
        """Which number of the model the interval of the profit (without a margin: of caused purchases) comes from.

        One row per number that is not known and source of chance: scenario, arm, metric, assumption, share of the
        variance, source. Shares of one arm add up to 1; `chance` is that of answers and draws, `people` that others
        come. Product measure of Pratt (1987): how much of the variance a linear fit lays on each number.
        """
        metric = "profit" if "order.margin" in self.values else "caused"
        rows = []
        for group, (scenario, arm) in enumerate(self.groups.names):
            if self.groups.is_holdout(scenario, arm):
                continue
            plain, moved = (self._metrics(group, noise=noise)[metric] for noise in (False, True))
            shares = parts_of(plain, moved, {path: v for path, v in self.values.items() if np.ptp(v) > 0})
            for name, share in shares:
                number = self.response.numbers.get(name)
                rows.append([scenario, arm, metric, name, share, number.source if number else "chance"])
        return pd.DataFrame(rows, columns=["scenario", "arm", "metric", "assumption", "share", "source"])

    @property
    def profit(self) -> pd.DataFrame:
        """The profit by scenario and arm: the rows of `table` for it."""
        return self.table[self.table["metric"] == "profit"].reset_index(drop=True)

    def value(self, scenario: str, metric: str, arm: str | None = None) -> float:
        """One number of `table`.

        Raises:
            InputError: no such scenario, arm or metric; names the nearest.
        """
        return float(self._row(scenario, metric, arm)["value"])

    def interval(self, scenario: str, metric: str, arm: str | None = None) -> tuple[float, float]:
        """The interval of one number of `table`."""
        row = self._row(scenario, metric, arm)
        return float(row["lower"]), float(row["upper"])

    def total(self, metric: str = "profit", *, noise: bool = True) -> Floats:
        """One value per draw of a metric over all scenarios and arms; people in several of them count in each.

        The people whom two scenarios share come or stay away together, so that the total scatters more than the sum
        of unrelated parts would.

        Args:
            metric: of the table.
            noise: as if other people came; without, of the people of the log.

        Raises:
            InputError: no such metric; names the nearest.
        """
        self._check_metric(metric)
        groups = range(len(self.groups.names))
        return np.asarray(np.sum([self._metrics(g, noise=noise)[metric] for g in groups], axis=0))

    def entered(self, group: int) -> float:
        """How many units of a group entered, by its place in `groups.names`, when nobody answers.

        Raises:
            InputError: no such place.
        """
        self._check_group(group)
        counted = {"customer": "people", "journey": "journeys"}[self.groups.units_of_groups[group]]
        return float(self.silent[group, METRICS.index(counted)])

    def metric(self, group: int, metric: str, *, noise: bool = True) -> Floats:
        """One value per draw of a metric of one group, by its place in `groups.names`.

        Raises:
            InputError: no such place or metric.
        """
        self._check_group(group)
        self._check_metric(metric)
        return self._metrics(group, noise=noise)[metric]

    def _check_metric(self, metric: object) -> None:
        if not isinstance(metric, str) or metric not in (*SHOWN, *METRICS):
            hint = did_you_mean(str(metric), SHOWN)
            raise InputError(f"no metric {shown(metric)} in this forecast; it has {', '.join(SHOWN)}{hint}")

    def _check_group(self, group: object) -> None:
        names = self.groups.names
        if isinstance(group, bool) or not isinstance(group, Integral) or not 0 <= int(group) < len(names):
            allowed = f"a place in groups.names, 0 to {len(names) - 1}"
            raise InputError(f"group: found {shown(group)}; allowed: {allowed}")

    def _row(self, scenario: str, metric: str, arm: str | None) -> Any:
        for word, known, what in (
            (scenario, list(self.groups.scenarios), "scenario"),
            (metric, list(SHOWN), "metric"),
        ):
            if word not in known:
                hint = did_you_mean(word, known)
                raise InputError(f"no {what} {shown(word)} in this forecast; it has {listed(known, near=word)}{hint}")
        arms = [name for one, name in self.groups.names if one == scenario]
        if arm not in arms:
            raise InputError(f"{scenario}: no arm {shown(arm)}; it has {', '.join(str(name) for name in arms)}")
        t = self.table
        same = t["arm"].isna() if arm is None else t["arm"] == arm
        return t[(t["scenario"] == scenario) & (t["metric"] == metric) & same].iloc[0]

    @cached_property
    def _moved(self) -> Floats:
        """What other people change in the counts: draws x groups x `answers.METRICS`."""
        return moved_together(self.covariances, self.across, self.draws, self.seed)

    def _metrics(self, group: int, *, noise: bool) -> dict[str, Floats]:
        """Every metric of a group, one value per draw; with noise, as if other people came."""
        counts = self.counted[:, group]
        if noise:
            counts = counts + self._moved[:, group]
        found = {name: counts[:, place] for place, name in enumerate(METRICS)}
        for name in _MONEY:
            found[name] = found[name] / 1e6
        zero = np.zeros(self.draws)
        found["discount"] = found["discount_caused"] + found["discount_own"]
        costs = self.values.get("costs.mail", zero) * found["mails"]
        found["mail_cost"] = costs + self.values.get("costs.unsubscribe", zero) * found["unsubscribes"]
        share = self.values.get("order.margin", np.full(self.draws, math.nan))
        found["margin"] = share * found["caused_revenue"] - found["discount"]
        found["profit"] = found["margin"] - found["mail_cost"]
        return found

    def _summed(self, metric: str, plain: Floats, moved: Floats) -> tuple[float, float, float]:
        if metric in ("people", "journeys"):
            return float(plain.mean()), float(plain.min()), float(plain.max())
        low, high = self._ends(moved)
        if metric not in ("caused", "caused_revenue", "margin", "profit"):
            low = max(0.0, low)
        return float(plain.mean()), low, high

    def _ends(self, moved: Floats) -> tuple[float, float]:
        if np.isnan(moved).any():
            return math.nan, math.nan
        low, high = np.quantile(moved, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)

    def _label(self, metric: str, group: int) -> str:
        if metric in _ON_THEIR_OWN:
            return "modelled" if self.stated_prices and metric == "own_revenue" else "observed"
        place = METRICS.index(metric) if metric in METRICS else -1
        fixed = place >= 0 and bool((self.counted[:, group, place] == self.silent[group, place]).all())
        return "exact" if metric in ("people", "journeys") and fixed else "modelled"

    def __str__(self) -> str:
        head = (
            f"forecast (modelled): {self.draws:,} draws of the response model {self.response.name!r}, "
            f"seed {self.seed}; {self.level:.0%} intervals, money in {self.currency}"
        )
        wide = []
        for scenario, arm in self.groups.names:
            row: dict[str, str] = {"scenario": scenario, "arm": arm or "all"}
            for metric in ("people", "mails", "conversions", "caused", "discount", "profit"):
                one = self._row(scenario, metric, arm)
                row[metric] = _words(one["value"], one["lower"], one["upper"])
            wide.append(row)
        if len(wide) > 1:  # people and conversions may be the same in several scenarios
            row = {"scenario": "together", "arm": "", "people": "", "conversions": ""}
            for metric in ("mails", "caused", "discount", "profit"):
                row[metric] = _words(*self._summed(metric, self.total(metric, noise=False), self.total(metric)))
            wide.append(row)
        return "\n".join([head, pd.DataFrame(wide).to_string(index=False), *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = str(self).splitlines()[0]
        return lines_html([head]) + table_html(self._wide(), numbers=self._heads()) + lines_html(self.notes)

    def _heads(self) -> list[str]:
        several = len({scenario for scenario, _ in self.groups.names}) > 1
        return [
            " · ".join(filter(None, (scenario.replace("_", " ") if several or not arm else "", arm)))
            for scenario, arm in self.groups.names
        ]

    def _wide(self) -> pd.DataFrame:
        """One row per metric that is not 0 everywhere: the metric, each scenario and arm, and the kind of number."""
        rows = []
        for metric in dict.fromkeys(self.table["metric"]):
            mine = [self._row(scenario, metric, arm) for scenario, arm in self.groups.names]
            if all(one["value"] == one["upper"] == 0 for one in mine):
                continue
            told = [_words(one["value"], one["lower"], one["upper"]) for one in mine]
            kinds = ", ".join(dict.fromkeys(str(one["label"]) for one in mine))
            rows.append([str(metric).replace("_", " "), *told, kinds])
        return pd.DataFrame(rows, columns=["metric", *self._heads(), "kind"])


def _words(value: float, lower: float, upper: float) -> str:
    """A number and its interval.

    >>> _words(12.3, 8.0, 20.0)
    '12 [8, 20]'
    >>> _words(-0.5, -3.02, 2.0)
    '−0.50 [−3.02, 2.00]'
    """
    if math.isnan(value):
        return "not known"
    digits = 0 if abs(value) >= 10 or value == int(value) else 2
    told, *ends = (minus(f"{one:,.{digits}f}") for one in (value, lower, upper))
    return told if lower == upper == value else f"{told} [{', '.join(ends)}]"
