"""How many people of a replay came where in a scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.engine import Run
from toolkit.engine import layout as m
from toolkit.engine.instructions import CompiledSend
from toolkit.errors import InputError

__all__ = ["Flow", "flow_of"]


@dataclass(frozen=True, slots=True)
class Flow:
    """How many people of a replay came where. Exact.

    Attributes:
        journeys: entries, those that began again left out.
        sent, withheld, skipped: by send step, the rounds of a repeat together.
        left: journeys that an exit or an unsubscription ended, by the last send step they had come to ("" for none).
        ended: journeys by how they ended.
        arms: journeys by arm.
    """

    journeys: int
    sent: dict[str, int]
    withheld: dict[str, int]
    skipped: dict[str, int]
    left: dict[str, int]
    ended: dict[str, int]
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
    names = [one.scenario for one in run.compiled.scenarios]
    if scenario not in names:
        raise InputError(f"no scenario {scenario!r} in this run; it has {', '.join(names)}")
    place = names.index(scenario)
    journeys, decisions = run.walked.journeys, run.walked.decisions
    mine = journeys[:, m.J_SCENARIO] == place
    counted = mine & (journeys[:, m.J_ENDED_BY] != m.END_SUPERSEDED)
    sends = run.compiled.sends
    own = [number for number, send in enumerate(sends) if send.scenario == scenario]
    table = np.zeros((len(sends), 3), dtype=np.int64)
    if len(decisions):
        np.add.at(table, (decisions[:, m.D_SEND], decisions[:, m.D_STATUS]), 1)
    last = np.full(len(journeys), -1, dtype=np.int64)
    order = np.argsort(decisions[:, m.D_AT], kind="stable")
    last[decisions[order, m.D_JOURNEY]] = decisions[order, m.D_SEND]
    gone = counted & np.isin(journeys[:, m.J_ENDED_BY], (m.END_EXITED, m.END_UNSUBSCRIBED))
    left = {"": int((last[gone] < 0).sum())}
    left |= _by_step(sends, {number: int((last[gone] == number).sum()) for number in own})
    ends = ("finished", "exited", "superseded", "unsubscribed", "open")
    arms = run.compiled.arms[place]
    return Flow(
        journeys=int(counted.sum()),
        sent=_by_step(sends, {number: int(table[number, m.STATUS_SEND]) for number in own}),
        withheld=_by_step(sends, {number: int(table[number, m.STATUS_WITHHELD]) for number in own}),
        skipped=_by_step(sends, {number: int(table[number, m.STATUS_SKIPPED]) for number in own}),
        left=left,
        ended={name: int((journeys[counted, m.J_ENDED_BY] == number).sum()) for number, name in enumerate(ends)},
        arms={arm: int((journeys[counted, m.J_ARM] == number).sum()) for number, arm in enumerate(arms)},
    )


def _by_step(sends: Sequence[CompiledSend], counts: Mapping[int, int]) -> Counter[str]:
    """Counts of send gates by the id of their step, the rounds of a repeat together."""
    added: Counter[str] = Counter()
    for number, count in counts.items():
        added[sends[number].step_id] += count
    return added
