"""Counts of a replay for a sweep: of the whole log, of its first part as known at its end, and of its second part.

They are sums over customers, so that ranges of customers can be added up. What people did on their own looks ahead, so
nothing that decides may use it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.compiled import compiled as machine
from toolkit.engine.follow import received_after
from toolkit.engine.layout import Ints
from toolkit.engine.prepared import Prepared
from toolkit.engine.runners.local import Walked
from toolkit.tables import ENDINGS

__all__ = ["COUNTS", "EVERYBODY", "FIRST", "NOBODY", "SECOND", "WHOLE", "Own", "own_of", "tally"]

WHOLE, FIRST, SECOND = range(3)
"""Parts of the log: all of it; up to the split, as it was known then; journeys begun after the split."""
COUNTS = ("journeys", "sent", "withheld", "skipped", *ENDINGS, "own_before", "mailed", "own_after")
EVERYBODY, NOBODY = -1, -2
"""In `Own.arms`, in place of an arm."""
_STATUS, _ENDED, _OWN = 1, 4, 4 + len(ENDINGS)


@dataclass(frozen=True, slots=True)
class Own:
    """Whose history shows what people do without a mail.

    arms: per scenario the arm that counts, EVERYBODY or NOBODY. basis: the same in words. windows: how long
    after the mail the goal counts, microseconds; 0 without a goal.
    """

    arms: Ints
    basis: tuple[str, ...]
    windows: Ints


def own_of(compiled: Compiled, mailed: Collection[str]) -> Own:
    """Everybody, or the holdout alone where the log holds real mails of the scenario, or nobody."""
    arms, basis, windows = [], [], []
    for place, scenario in enumerate(compiled.scenarios):
        goal = scenario.goal
        windows.append(goal.within.elapsed if goal and compiled.plan.scenarios[place, m.S_GOAL_BIT] >= 0 else 0)
        if scenario.scenario not in mailed:
            arms.append(EVERYBODY)
            basis.append("all")
        elif scenario.experiment is None or scenario.experiment.holdout is None:
            arms.append(NOBODY)
            basis.append("none")
        else:
            arms.append(list(scenario.experiment.arms).index(scenario.experiment.holdout))
            basis.append("control")
    return Own(np.array(arms, dtype=np.int64), tuple(basis), np.array(windows, dtype=np.int64))


def tally(compiled: Compiled, prepared: Prepared, walked: Walked, own: Own, *, split: int, last: int) -> Ints:
    """Count a replay.

    Args:
        compiled, prepared, walked: program, log and what was decided.
        own: whose history shows what people do on their own.
        split: end of the first part; last: the last moment decided; UTC microseconds.

    Returns:
        Counts by part (WHOLE, FIRST, SECOND), scenario and COUNTS.
    """
    marked = prepared.marked
    counts = np.zeros((3, len(compiled.scenarios), len(COUNTS)), dtype=np.int64)
    bits = np.ascontiguousarray(compiled.plan.scenarios[:, m.S_GOAL_BIT])
    _tally(
        walked.journeys,
        walked.decisions,
        marked.starts,
        marked.at,
        marked.received,
        marked.bits,
        own.arms,
        own.windows,
        bits,
        split,
        last,
        counts,
    )
    return counts


@machine
def _reached(
    starts: Ints, at: Ints, received: Ints, bits: Ints, customer: int, after: int, up_to: int, goal: int, known: int
) -> bool:
    """Whether the goal happened in `(after, up_to]`, as far as was known at a moment."""
    for k in range(received_after(starts, received, customer, after), starts[customer + 1]):
        if received[k] > known:
            return False
        if (bits[k] >> goal) & 1 and after < at[k] <= up_to:
            return True
    return False


@machine
def _tally(
    journeys: Ints,
    decisions: Ints,
    starts: Ints,
    at: Ints,
    received: Ints,
    bits: Ints,
    arms: Ints,
    windows: Ints,
    goals: Ints,
    split: int,
    last: int,
    counts: Ints,
) -> None:
    first = np.full(len(journeys), m.NEVER, dtype=np.int64)
    for i in range(len(decisions)):
        j = decisions[i, m.D_JOURNEY]
        scenario = journeys[j, m.J_SCENARIO]
        status = decisions[i, m.D_STATUS]
        counts[0, scenario, _STATUS + status] += 1
        if decisions[i, m.D_AT] <= split:
            counts[1, scenario, _STATUS + status] += 1
        if journeys[j, m.J_ENTERED] > split:
            counts[2, scenario, _STATUS + status] += 1
        if status != m.STATUS_SKIPPED and decisions[i, m.D_AT] < first[j]:
            first[j] = decisions[i, m.D_AT]
    for j in range(len(journeys)):
        scenario = journeys[j, m.J_SCENARIO]
        late = journeys[j, m.J_ENTERED] > split
        for part in range(3):
            if (part == 1 and late) or (part == 2 and not late):
                continue
            end = split if part == 1 else last
            ended_by = journeys[j, m.J_ENDED_BY]
            if ended_by != m.END_OPEN and journeys[j, m.J_ENDED] > end:
                ended_by = m.END_OPEN
            counts[part, scenario, 0] += 1
            counts[part, scenario, _ENDED + ended_by] += 1
            if arms[scenario] != EVERYBODY and journeys[j, m.J_ARM] != arms[scenario]:
                continue
            if ended_by == m.END_SUPERSEDED:
                continue  # the journey that took its place tells what the person did
            window, goal, customer = windows[scenario], goals[scenario], journeys[j, m.J_CUSTOMER]
            entered = journeys[j, m.J_ENTERED]
            if first[j] > end and ended_by == m.END_EXITED and entered <= end - window:
                left = journeys[j, m.J_ENDED]
                if not window or _reached(starts, at, received, bits, customer, entered, left, goal, end):
                    counts[part, scenario, _OWN] += 1
            if window and first[j] <= end - window:
                counts[part, scenario, _OWN + 1] += 1
                if _reached(starts, at, received, bits, customer, first[j], first[j] + window, goal, end):
                    counts[part, scenario, _OWN + 2] += 1
