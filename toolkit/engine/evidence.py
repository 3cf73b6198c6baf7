"""Whether a log holds the mails of an experiment as it was drawn, so that its lift can be measured (rule R22)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.run import Run
from toolkit.events.marks import logged_mails

__all__ = ["Evidence", "evidence_of"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whether arms were randomised in the log, and how that is known."""

    randomised: bool
    why: str


def evidence_of(run: Run, place: int) -> Evidence:
    """What the log says of a scenario's experiment.

    Args:
        run: a replay.
        place: the scenario's place in `run.compiled.scenarios`.

    Returns:
        Randomised only when the log holds mails of this experiment and every one went to the arm that rule R13 draws
        for its customer, none to the holdout.
    """
    scenario = run.compiled.scenarios[place]
    experiment = scenario.experiment
    name = scenario.scenario
    if experiment is None:
        return Evidence(False, f"{name} has no experiment")
    properties = run.log.properties
    if "email_sent" not in run.log.event_names or not {"experiment", "arm"} <= set(properties):
        return Evidence(
            False,
            f"the log holds no mails of the experiment {experiment.name} (email_sent with the properties experiment "
            "and arm): what followed happened without them",
        )
    mails = logged_mails(run.log, experiment.name)
    if not mails.num_rows:
        return Evidence(False, f"the log holds no mails of the experiment {experiment.name}")
    journeys = run.walked.journeys
    mine = journeys[journeys[:, m.J_SCENARIO] == place]
    drawn = np.full(len(run.marked.customers) + 1, -1, dtype=np.int64)
    drawn[mine[:, m.J_CUSTOMER]] = mine[:, m.J_ARM]
    at = pc.fill_null(pc.index_in(mails.column("customer_id").cast(pa.large_string()), run.marked.customers), -1)
    arm_of_customer = drawn[at.to_numpy()]
    names = pa.array(experiment.arms)
    logged = pc.fill_null(pc.index_in(mails.column("arm").cast(pa.string()), names.cast(pa.string())), -2).to_numpy()
    entered = arm_of_customer >= 0
    if experiment.unit == "customer":
        wrong = int((logged[entered] != arm_of_customer[entered]).sum())
        if wrong:
            return Evidence(
                False,
                f"{wrong:,} of {int(entered.sum()):,} logged mails of {experiment.name} went to another arm than the "
                "one drawn for their customer: another salt, other weights, or not randomised",
            )
    holdout = list(experiment.arms).index(experiment.holdout) if experiment.holdout else -1
    if holdout >= 0 and (logged == holdout).any():
        return Evidence(False, f"the log holds mails of {experiment.name} to its holdout {experiment.holdout!r}")
    if not entered.any():
        return Evidence(False, f"no logged mail of {experiment.name} went to anyone who enters {name}")
    return Evidence(
        True, f"{int(entered.sum()):,} logged mails of {experiment.name}, each to the arm drawn for its customer"
    )
