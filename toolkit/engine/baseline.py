"""What an experiment on a scenario is planned with: what its people do without its mails, and how many come a day."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.doors import micros_of, scenario_with_goal
from toolkit.engine.measure import measure
from toolkit.engine.ordered import distinct
from toolkit.engine.run import Run
from toolkit.engine.tally import own_of
from toolkit.engine.zones import DAY
from toolkit.events import EventLog
from toolkit.events.marks import mailed_scenarios

__all__ = ["Baseline", "a_day", "baseline_of", "days_of"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known of a scenario before an experiment.

    Attributes:
        scenario: which.
        basis: whose history shows what people do without a mail: `all`, `control` or `none`, as in `OwnPurchases`.
        rate: share of the customers who reached the goal within its window since they first entered, as `measure`
            counts. Observed; NaN where the log cannot tell.
        per_day: customers who enter for the first time, a day, since the first of them entered (see `days_of`). Exact;
            NaN where one person alone entered, of whom no pace can be told.
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
    journeys = run.walked.journeys[run.walked.journeys[:, m.J_SCENARIO] == place]
    people = len(distinct(journeys[:, m.J_CUSTOMER]))
    first, last = (int(end(journeys[:, m.J_ENTERED])) for end in (np.min, np.max)) if people else (0, 0)
    return Baseline(
        scenario=chosen.scenario,
        basis=basis,
        rate=_rate(run, chosen.scenario, chosen.experiment.holdout if chosen.experiment else None, basis),
        per_day=a_day(people, days_of(first, last, run.log, micros_of(run.until))),
    )


def days_of(first: int, last: int, log: EventLog, until: int) -> float:
    """How many days of a log show at what pace people enter a scenario, at least one.

    They begin when the first of them enters, as those of `plan(journeys=)` do: a log often holds accounts, or another
    table, that are much older than the first trigger; and before a silence has lasted, nobody can have fallen silent.
    They end with the log, for nobody enters by an event that it does not hold, or with the last who enters later, by a
    date; and where the replay ends before.

    Args:
        first, last: the moments at which the first and the last of them entered, UTC microseconds.
        log: what customers did.
        until: the last moment decided, UTC microseconds.
    """
    end = until if log.span is None else min(until, max(last, micros_of(log.span[1])))
    return max(1.0, (end - first) / DAY)


def a_day(people: int, days: float) -> float:
    """How many people come a day; NaN for one alone, of whom no pace can be told."""
    return math.nan if people == 1 else people / days


def _rate(run: Run, scenario: str, holdout: str | None, basis: str) -> float:
    if basis == "none":
        return math.nan
    outcomes = measure(run, scenario=scenario)
    if basis == "control":
        outcomes = outcomes[outcomes["arm"] == holdout]
    return float(outcomes["converted"].mean()) if len(outcomes) else math.nan
