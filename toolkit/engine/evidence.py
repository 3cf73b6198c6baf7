"""Whether a log holds the mails of an experiment as it was drawn, so that its lift can be measured (rule R22)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.doors import micros_of
from toolkit.engine.run import Run
from toolkit.events.marks import logged_mails
from toolkit.scenario.models import Scenario

__all__ = ["Evidence", "LoggedMails", "evidence_from", "evidence_of", "mails_in"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whether arms were randomised in the log, and how that is known."""

    randomised: bool
    why: str


@dataclass(frozen=True, slots=True)
class LoggedMails:
    """Mails of an experiment that a log holds: all, to people who enter, of those to another arm than the one drawn,
    and to the holdout; and the first and the last moment of them, in microseconds. Those of parts of a log add up."""

    mails: int = 0
    entered: int = 0
    wrong: int = 0
    to_holdout: int = 0
    span: tuple[int, int] | None = None

    def __add__(self, other: LoggedMails) -> LoggedMails:
        return LoggedMails(
            self.mails + other.mails,
            self.entered + other.entered,
            self.wrong + other.wrong,
            self.to_holdout + other.to_holdout,
            _joined(self.span, other.span),
        )


def evidence_of(run: Run, place: int) -> Evidence:
    """What the log says of a scenario's experiment.

    Args:
        run: a replay.
        place: the scenario's place in `run.compiled.scenarios`.

    Returns:
        Randomised only when the log holds mails of this experiment and every one went to the arm that rule R13 draws
        for its customer, none to the holdout.
    """
    return evidence_from(run.compiled.scenarios[place], mails_in(run, place))


def mails_in(run: Run, place: int) -> LoggedMails | None:
    """Mails of a scenario's experiment that the log of a replay holds up to its end; None where it can hold none."""
    experiment = run.compiled.scenarios[place].experiment
    is_able = "email_sent" in run.log.event_names and {"experiment", "arm"} <= set(run.log.properties)
    if experiment is None or not is_able:
        return None
    mails = logged_mails(run.log, experiment.name, up_to=micros_of(run.until))
    if not mails.num_rows:
        return LoggedMails()
    journeys = run.walked.journeys
    mine = journeys[journeys[:, m.J_SCENARIO] == place]
    drawn = np.full(len(run.marked.customers) + 1, -1, dtype=np.int64)
    drawn[mine[:, m.J_CUSTOMER]] = mine[:, m.J_ARM]
    at = pc.fill_null(pc.index_in(mails.column("customer_id").cast(pa.large_string()), run.marked.customers), -1)
    arm_of_customer = drawn[at.to_numpy()]
    names = pa.array(experiment.arms)
    logged = pc.fill_null(pc.index_in(mails.column("arm").cast(pa.string()), names.cast(pa.string())), -2).to_numpy()
    entered = arm_of_customer >= 0
    by_customer = experiment.unit == "customer"
    holdout = list(experiment.arms).index(experiment.holdout) if experiment.holdout else -1
    return LoggedMails(
        mails=mails.num_rows,
        entered=int(entered.sum()),
        wrong=int((logged[entered] != arm_of_customer[entered]).sum()) if by_customer else 0,
        to_holdout=int((logged == holdout).sum()) if holdout >= 0 else 0,
        span=(pc.min(mails.column("at")).as_py(), pc.max(mails.column("at")).as_py()),
    )


def _joined(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def evidence_from(scenario: Scenario, found: LoggedMails | None) -> Evidence:
    """What the mails of a scenario's experiment say, from all of the log."""
    experiment, name = scenario.experiment, scenario.scenario
    if experiment is None:
        return Evidence(False, f"{name} has no experiment")
    if found is None:
        return Evidence(
            False,
            f"the log holds no mails of the experiment {experiment.name} (email_sent with the properties experiment "
            "and arm): what followed happened without them",
        )
    if not found.mails:
        return Evidence(False, f"the log holds no mails of the experiment {experiment.name}")
    if found.wrong:
        return Evidence(
            False,
            f"{found.wrong:,} of {found.entered:,} logged mails of {experiment.name} went to another arm than the "
            "one drawn for their customer: another salt, other weights, or not randomised",
        )
    if found.to_holdout:
        return Evidence(False, f"the log holds mails of {experiment.name} to its holdout {experiment.holdout!r}")
    if not found.entered:
        return Evidence(False, f"no logged mail of {experiment.name} went to anyone who enters {name}")
    return Evidence(
        True, f"{found.entered:,} logged mails of {experiment.name}, each to the arm drawn for its customer"
    )
