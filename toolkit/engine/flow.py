"""How many people of a replay came where in a scenario, and how people answered its mails in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.asking import mark_of
from toolkit.engine.doors import micros_of, scenario_in
from toolkit.engine.follow import within
from toolkit.engine.instructions import CompiledSend
from toolkit.engine.layout import Ints
from toolkit.engine.run import Run
from toolkit.events.mail_counts import StepAnswers, answers_by_step

__all__ = ["Flow", "Leaving", "answers_of", "flow_of"]


@dataclass(frozen=True, slots=True)
class Leaving:
    """Journeys that ended before their last step. Exact.

    Attributes:
        reached: left by an exit, the goal reached since the trigger.
        otherwise: left by an exit without the goal; all exits of a scenario that has none.
        unsubscribed: ended because the customer unsubscribed.
    """

    reached: int = 0
    otherwise: int = 0
    unsubscribed: int = 0

    def __add__(self, other: Leaving) -> Leaving:
        return Leaving(
            self.reached + other.reached, self.otherwise + other.otherwise, self.unsubscribed + other.unsubscribed
        )

    @property
    def total(self) -> int:
        """All of them."""
        return self.reached + self.otherwise + self.unsubscribed


@dataclass(frozen=True, slots=True)
class Flow:
    """How many people of a replay came where. Exact.

    Attributes:
        journeys: entries (of a period: journeys under way in it), those that began again left out.
        sent, withheld, skipped: by send step, the rounds of a repeat together.
        left: those that ended before their last step, by the last send step they had come to ("" for none).
        finished, still_open: journeys that came to their end, and those under way.
        arms: journeys by arm.
    """

    journeys: int
    sent: dict[str, int]
    withheld: dict[str, int]
    skipped: dict[str, int]
    left: dict[str, Leaving]
    finished: int
    still_open: int
    arms: dict[str, int]

    def reached(self, step: str) -> int:
        """Who came to the gate of a send step."""
        return self.sent.get(step, 0) + self.withheld.get(step, 0) + self.skipped.get(step, 0)


def flow_of(run: Run, scenario: str) -> Flow:
    """Counts of one scenario of a replay.

    Args:
        run: a replay.
        scenario: its name.

    Raises:
        InputError: the replay has no such scenario.
    """
    place, _ = scenario_in(run.compiled.scenarios, scenario)
    journeys, decisions = run.walked.journeys, run.walked.decisions
    mine = journeys[:, m.J_SCENARIO] == place
    entered = mine & (journeys[:, m.J_ENDED_BY] != m.END_SUPERSEDED)
    sends = run.compiled.sends
    own = [number for number, send in enumerate(sends) if send.scenario == scenario]
    table = np.zeros((len(sends), 3), dtype=np.int64)
    if len(decisions):
        np.add.at(table, (decisions[:, m.D_SEND], decisions[:, m.D_STATUS]), 1)
    last = _last_sends(run)
    left = _leaving(run, place, journeys[entered], last[entered])
    arms = run.compiled.arms[place]
    return Flow(
        journeys=int(entered.sum()),
        sent=_by_step(sends, {number: int(table[number, m.STATUS_SEND]) for number in own}),
        withheld=_by_step(sends, {number: int(table[number, m.STATUS_WITHHELD]) for number in own}),
        skipped=_by_step(sends, {number: int(table[number, m.STATUS_SKIPPED]) for number in own}),
        left=left,
        finished=int((journeys[entered, m.J_ENDED_BY] == m.END_FINISHED).sum()),
        still_open=int((journeys[entered, m.J_ENDED_BY] == m.END_OPEN).sum()),
        arms={arm: int((journeys[entered, m.J_ARM] == number).sum()) for number, arm in enumerate(arms)},
    )


def _last_sends(run: Run) -> Ints:
    """The last send step that each journey had come to, also before the period that is counted; -1 for none."""
    walked, period = run.whole.walked, run.period
    decisions = walked.decisions if period is None else period.up_to(walked.decisions)
    last = np.full(len(walked.journeys), -1, dtype=np.int64)
    order = np.argsort(decisions[:, m.D_AT], kind="stable")
    last[decisions[order, m.D_JOURNEY]] = decisions[order, m.D_SEND]
    return last if period is None else last[period.under_way(walked.journeys)]


def _leaving(run: Run, place: int, journeys: Ints, last: Ints) -> dict[str, Leaving]:
    """Who left, by the last send step of the journey."""
    exited = journeys[:, m.J_ENDED_BY] == m.END_EXITED
    reached = np.zeros(len(journeys), dtype=bool)
    goal = int(run.compiled.plan.scenarios[place, m.S_GOAL_BIT])
    if run.compiled.scenarios[place].goal is not None:
        mine = journeys[exited]
        found, _, _ = within(
            run.marked,
            mine[:, m.J_CUSTOMER],
            after=mine[:, m.J_TRIGGER],
            up_to=mine[:, m.J_ENDED],
            known_by=micros_of(run.until),
            bit=goal,
        )
        reached[exited] = found > 0
    unsubscribed = journeys[:, m.J_ENDED_BY] == m.END_UNSUBSCRIBED
    left: dict[str, Leaving] = {}
    for number in np.unique(last[exited | unsubscribed]):
        here = last == number
        name = "" if number < 0 else run.compiled.sends[number].step_id
        left[name] = left.get(name, Leaving()) + Leaving(
            *(int((here & kind).sum()) for kind in (exited & reached, exited & ~reached, unsubscribed))
        )
    return left


def _by_step(sends: Sequence[CompiledSend], counts: Mapping[int, int]) -> Counter[str]:
    """Counts of send gates by the id of their step, the rounds of a repeat together."""
    added: Counter[str] = Counter()
    for number, count in counts.items():
        added[sends[number].step_id] += count
    return added


def answers_of(run: Run, scenario: str) -> dict[str, StepAnswers]:
    """What became of the mails of a scenario that really went, as the log of a replay tells, by step. Observed.

    These are mails of the log, not of the replay, which cannot know how people answer mails they never got (rule R22).

    Args:
        run: a replay.
        scenario: its name.

    Returns:
        By step id; empty where the log holds no mails of it.
    """
    goal = run.program[scenario].goal
    return answers_by_step(
        run.log,
        scenario,
        goal=None if goal is None else mark_of(run.log, goal.event, goal.where),
        within=0 if goal is None else goal.within.elapsed,
        up_to=run.until,
    )
