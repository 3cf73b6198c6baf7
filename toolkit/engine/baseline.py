"""What an experiment on a scenario is planned with: what its people do without its mails, and how many come a day."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from toolkit.engine import layout as m
from toolkit.engine.doors import micros_of, scenario_with_goal
from toolkit.engine.measure import measure
from toolkit.engine.ordered import distinct
from toolkit.engine.run import Run
from toolkit.engine.tally import own_of
from toolkit.events.marks import mailed_scenarios

__all__ = ["Baseline", "a_day", "baseline_of"]

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known of a scenario before an experiment.

    Attributes:
        scenario: which.
        basis: whose history shows what people do without a mail: `all`, `control` or `none`, as in `OwnPurchases`.
        rate: share of the customers who reached the goal within its window since they first entered, as `measure`
            counts. Observed; NaN where the log cannot tell.
        per_day: customers who enter for the first time, a day. Exact.
    """

    scenario: str
    basis: str
    rate: float
    per_day: float


def baseline_of(run: Run, *, scenario: str | None = None) -> Baseline:
    """The rate that an experiment would find in control, and the pace at which people come.

    Args:
        run: a replay.
        scenario: which; needed where several have a goal.

    Raises:
        InputError: no such scenario, or one without a goal.
    """
    place, chosen, _ = scenario_with_goal(run.compiled.scenarios, scenario)
    basis = own_of(run.compiled, mailed_scenarios(run.log, up_to=micros_of(run.until))).basis[place]
    journeys = run.walked.journeys
    people = len(distinct(journeys[journeys[:, m.J_SCENARIO] == place, m.J_CUSTOMER]))
    return Baseline(
        scenario=chosen.scenario,
        basis=basis,
        rate=_rate(run, chosen.scenario, chosen.experiment.holdout if chosen.experiment else None, basis),
        per_day=a_day(people, run.log.span[0], run.until) if run.log.span else 0.0,
    )


def a_day(count: int, first: pd.Timestamp, until: pd.Timestamp) -> float:
    """How many come a day, of so many in a log; a log of less than a day counts as one."""
    return count / max(1.0, (until - first).total_seconds() / _DAY_SECONDS)


def _rate(run: Run, scenario: str, holdout: str | None, basis: str) -> float:
    if basis == "none":
        return math.nan
    outcomes = measure(run, scenario=scenario)
    if basis == "control":
        outcomes = outcomes[outcomes["arm"] == holdout]
    return float(outcomes["converted"].mean()) if len(outcomes) else math.nan
