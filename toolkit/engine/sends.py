"""The mails of a run on a clock, and who gets them. Exact."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import pyarrow as pa

from toolkit.engine import layout as m
from toolkit.engine.doors import scenario_in
from toolkit.engine.layout import Ints
from toolkit.engine.local_time import DAY, HOUR, local
from toolkit.engine.ordered import distinct
from toolkit.engine.run import Run
from toolkit.errors import InputError, is_one_of, shown

__all__ = ["Clock", "people_mailed", "people_reached", "sends_table"]

Clock = Literal["local", "utc"]
"""Each customer's own clock, or UTC."""


def sends_table(run: Run, *, scenario: str | None = None, clock: Clock = "local") -> pd.DataFrame:
    """The mails of a run on a clock.

    Args:
        run: a replay.
        scenario: one scenario; all unless given.
        clock: `local`, each customer's own, or `utc`.

    Returns:
        One row per mail sent: scenario, step, mail (the scenario; with one scenario, the step), hour (0 to 23) and day.

    Raises:
        InputError: no replay, no such scenario, or another clock.
    """
    if not isinstance(run, Run):
        raise InputError(f"run: found {type(run).__name__}; allowed: what tk.replay gives")
    if not is_one_of(clock, ("local", "utc")):
        raise InputError(f"clock must be 'local' or 'utc'; found {shown(clock)}")
    names = [one.scenario for one in run.compiled.scenarios]
    rows = run.walked.decisions
    rows = rows[rows[:, m.D_STATUS] == m.STATUS_SEND]
    journeys = run.walked.journeys[rows[:, m.D_JOURNEY]]
    if scenario is not None:
        mine = journeys[:, m.J_SCENARIO] == scenario_in(run.compiled.scenarios, scenario)[0]
        rows, journeys = rows[mine], journeys[mine]
    at: Ints = rows[:, m.D_AT]
    if clock == "local":
        at = local(run, at, journeys[:, m.J_CUSTOMER])
    scenarios = pd.array(names, dtype="str").take(journeys[:, m.J_SCENARIO])
    steps = pd.array([send.step for send in run.compiled.sends], dtype="str").take(rows[:, m.D_SEND])
    return pd.DataFrame(
        {
            "scenario": scenarios,
            "step": steps,
            "mail": scenarios if scenario is None and len(names) > 1 else steps,
            "hour": at // HOUR % 24,
            "day": (at // DAY * DAY).astype("datetime64[us]"),
        }
    )


def people_mailed(run: Run) -> int:
    """How many customers of a run get a mail."""
    rows = run.walked.decisions
    sent = rows[rows[:, m.D_STATUS] == m.STATUS_SEND, m.D_JOURNEY]
    return len(distinct(run.walked.journeys[sent, m.J_CUSTOMER]))


def people_reached(run: Run) -> pa.Array:
    """The customers of a run whose journeys came to a mail, whether it went or not, in the order of the log's."""
    places = distinct(run.walked.journeys[run.walked.decisions[:, m.D_JOURNEY], m.J_CUSTOMER])
    return run.marked.customers.take(pa.array(places))
