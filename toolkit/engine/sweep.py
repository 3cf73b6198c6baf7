"""A sweep: the same replay under many settings, exactly, and what people did on their own in each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.compile import Assumption, Compiled
from toolkit.engine.follow import within
from toolkit.engine.prepared import Prepared
from toolkit.engine.replay import compile_for
from toolkit.engine.runners.local import Walked, run_kernel
from toolkit.errors import ScenarioError
from toolkit.events import EventLog
from toolkit.events.marks import mailed_scenarios
from toolkit.scenario.models import Program, Scenario
from toolkit.scenario.parameters import get_parameter, set_parameters
from toolkit.tables import ENDINGS

__all__ = ["Sweep", "sweep"]

MOST_SETTINGS = 10_000


@dataclass(frozen=True, eq=False)
class Sweep(Drawable):
    """Replays of one program under many settings.

    over: the values tried, by parameter path.
    table: one row per setting and scenario. Exact: journeys, sent, withheld, skipped, and journeys by ending.
        Observed: own_before, journeys ended by an exit before any mail left or was withheld (for a cart: they bought
        on their own before the mail); mailed, journeys with a first mail (sent or withheld) whose window after
        it has closed; own_after, those of them who reached the goal within the goal's window after that moment; and
        own_after_rate, their share. With `basis` "control" these four are of the holdout alone, because the log
        holds real mails of this scenario to the others; "none" when nothing in the log can tell.
    base: the values in the program itself.
    """

    over: Mapping[str, tuple[Any, ...]]
    table: pd.DataFrame
    base: Mapping[str, Any]

    def __str__(self) -> str:
        return self.table.to_string(index=False, na_rep="")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        text: str = self.table.to_html(index=False, na_rep="", border=0)
        return text

    def heatmap(self, value: str = "sent", **options: Any) -> Any:
        """The picture of one column over the settings; see `toolkit.charts`.

        Args:
            value: a numeric column of `table`.
            **options: what the drawing takes.

        Returns:
            A plotly figure.
        """
        return self.plot(value=value, **options)


def sweep(
    program: Program | Scenario,
    log: EventLog,
    over: Mapping[str, Sequence[Any]],
    *,
    until: datetime | None = None,
    assume: Assumption | None = None,
    progress: bool = True,
) -> Sweep:
    """Replay under every combination of some values.

    The log is read and sorted once, for all settings that only move numbers.

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did.
        over: values to try by parameter path, for example {"abandoned_cart.pause.wait": ["1h", "4h", "1d"]}.
        until, assume: as in `replay`.
        progress: show a progress bar where it takes longer than a moment.

    Returns:
        The sweep; the best of many cells is a selection, and its number flatters it.

    Raises:
        ScenarioError: no such path (the nearest is named), a value that is not allowed there, too many settings.

    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo"], "event": ["cart_add", "cart_add", "purchase"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z"]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... steps: [{id: pause, wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> until = pd.Timestamp("2025-03-09T00:00Z")
    >>> tried = sweep(cart, log, {"cart.pause.wait": ["1h", "4h"]}, until=until, progress=False)
    >>> tried.table[["cart.pause.wait", "sent", "own_before"]].values.tolist()
    [['1h', 2, 0], ['4h', 1, 1]]
    """
    if isinstance(program, Scenario):
        program = Program(scenarios=(program,))
    values = {path: tuple(tried) for path, tried in over.items()}
    empty = [path for path, tried in values.items() if not tried]
    if not values or empty:
        raise ScenarioError(f"nothing to try{' for ' + ', '.join(empty) if empty else ''}")
    count = int(np.prod([len(tried) for tried in values.values()]))
    if count > MOST_SETTINGS:
        raise ScenarioError(f"{count:,} settings; at most {MOST_SETTINGS:,} at once: try fewer values of each path")
    base = {path: get_parameter(program, path) for path in values}
    settings = [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
    programs = [set_parameters(program, setting) for setting in settings]
    mailed = mailed_scenarios(log)
    rows: list[dict[str, Any]] = []
    for setting, changed in tqdm(
        list(zip(settings, programs, strict=True)), desc="sweep", disable=not progress or count < 3, delay=0.5
    ):
        compiled, prepared, last = compile_for(changed, log, until=until, assume=assume)
        walked = run_kernel(compiled, prepared.past(log, compiled, last))
        shown = {path: value if isinstance(value, int | float) else str(value) for path, value in setting.items()}
        rows += [{**shown, **row} for row in _rows(compiled, prepared, walked, last=last, mailed=mailed)]
    return Sweep(values, pd.DataFrame(rows), base)


def _rows(
    compiled: Compiled, prepared: Prepared, walked: Walked, *, last: int, mailed: frozenset[str]
) -> list[dict[str, Any]]:
    journeys, decisions = walked.journeys, walked.decisions
    of_decision = journeys[decisions[:, m.D_JOURNEY], m.J_SCENARIO]
    mailed_at = _first_mail(walked)
    rows = []
    for place, scenario in enumerate(compiled.scenarios):
        mine = journeys[:, m.J_SCENARIO] == place
        status = np.bincount(decisions[of_decision == place, m.D_STATUS], minlength=3)
        ended = np.bincount(journeys[mine, m.J_ENDED_BY], minlength=len(ENDINGS))
        rows.append(
            {
                "scenario": scenario.scenario,
                "journeys": int(mine.sum()),
                "sent": int(status[m.STATUS_SEND]),
                "withheld": int(status[m.STATUS_WITHHELD]),
                "skipped": int(status[m.STATUS_SKIPPED]),
                **{name: int(count) for name, count in zip(ENDINGS, ended, strict=True)},
                **_own(compiled, prepared, walked, place, mailed_at, last=last, mailed=mailed),
            }
        )
    return rows


def _first_mail(walked: Walked) -> m.Ints:
    """When the first mail of each journey left or was withheld; NEVER where none was."""
    first = np.full(len(walked.journeys), m.NEVER, dtype=np.int64)
    went = walked.decisions[walked.decisions[:, m.D_STATUS] != m.STATUS_SKIPPED]
    np.minimum.at(first, went[:, m.D_JOURNEY], went[:, m.D_AT])
    return first


def _own(
    compiled: Compiled,
    prepared: Prepared,
    walked: Walked,
    place: int,
    mailed_at: m.Ints,
    *,
    last: int,
    mailed: frozenset[str],
) -> dict[str, Any]:
    """Who left before the mail, and who reached the goal after it, in a history in which that mail was not sent."""
    scenario = compiled.scenarios[place]
    bit = int(compiled.plan.scenarios[place, m.S_GOAL_BIT])
    nothing = {"own_before": 0, "mailed": 0, "own_after": 0, "own_after_rate": float("nan"), "basis": "none"}
    population = walked.journeys[:, m.J_SCENARIO] == place
    basis = "all"
    if scenario.scenario in mailed:
        experiment = scenario.experiment
        if experiment is None or experiment.holdout is None:
            return nothing
        population &= walked.journeys[:, m.J_ARM] == list(experiment.arms).index(experiment.holdout)
        basis = "control"
    early = population & (mailed_at == m.NEVER) & (walked.journeys[:, m.J_ENDED_BY] == m.END_EXITED)
    before = {"own_before": int(early.sum()), "basis": basis}
    if scenario.goal is None or bit < 0:
        return {**nothing, **before}
    window = scenario.goal.within.elapsed
    chosen = population & (mailed_at <= last - window)
    customers, moments = walked.journeys[chosen, m.J_CUSTOMER], mailed_at[chosen]
    count, _, _ = within(prepared.marked, customers, after=moments, up_to=moments + window, bit=bit)
    people, bought = len(moments), int((count > 0).sum())
    return {
        **before,
        "mailed": people,
        "own_after": bought,
        "own_after_rate": bought / people if people else float("nan"),
    }
