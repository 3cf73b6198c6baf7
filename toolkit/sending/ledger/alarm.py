"""When a run pauses itself: where so much goes wrong that going on would do harm.

The counts are kept with the run in the ledger, since it began or was last resumed, so that two senders see the same.
Rounds of a loop are small, each is a run, and most bounces come when it is over: 24 hours of them are counted together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, func, or_, select, update

from toolkit.sending.clock import DAY
from toolkit.sending.ledger import audit
from toolkit.sending.ledger.schema import COUNTERS, is_under, runs, standing_over
from toolkit.sending.ledger.statements import changed
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

__all__ = ["ALARMS", "Alarm", "count", "counters_of", "of_one_loop", "pause_at_once"]

# Outcomes; whoever signs up with a few addresses that are none must not stop a small shop's mail.
_ENOUGH_OF_A_LOOP = 100
_POLICY = re.compile(r"\b[45]\.7\.[0-9]+\b")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One reason for a run to pause itself.

    Attributes:
        counter: what is counted, a column of the run.
        rate: share of outcomes above which the run pauses.
        at_least: so many of them.
        after: not before so many outcomes.
        word: for people.
    """

    counter: str
    rate: float
    at_least: int
    after: int
    word: str


ALARMS = (
    Alarm("failures", 0.2, 5, 20, "failed"),
    Alarm("doubts", 0.1, 3, 20, "unknown"),
    Alarm("policy_errors", 0.05, 3, 20, "refused as a matter of policy"),
    Alarm("bounces", 0.05, 3, 20, "bounced"),
    Alarm("complaints", 0.003, 3, 20, "complained"),
)


_ADD = (
    update(runs)
    .where(runs.c.id == bindparam("b_run"))
    .values({name: runs.c[name] + bindparam(f"b_{name}") for name in COUNTERS})
)


def counters_of(receipts: Sequence[Receipt]) -> Counter[str]:
    """What these receipts add to a run's counters.

    >>> sorted(counters_of([Receipt("d", State.FAILED, code=550, reason="5.7.1 rejected")]).items())
    [('failures', 1), ('outcomes', 1), ('policy_errors', 1)]
    """
    added: Counter[str] = Counter(outcomes=len(receipts))
    for receipt in receipts:
        if receipt.state is State.ACCEPTED:
            continue
        added["failures"] += receipt.state is State.FAILED
        added["doubts"] += receipt.state is State.UNKNOWN
        refused = receipt.state in (State.FAILED, State.DEFERRED) and not receipt.is_greylisted
        added["policy_errors"] += bool(refused and _POLICY.search(receipt.reason or ""))
    return +added


def count(connection: Connection, run_id: str, added: Mapping[str, int], *, now: int) -> None:
    """Add to the counters of a run, and pause it where one of them is too high."""
    if not any(added.values()):
        return
    changed(connection, _ADD, {"b_run": run_id, **{f"b_{name}": added.get(name, 0) for name in COUNTERS}})
    if not any(number for name, number in added.items() if name != "outcomes"):
        return
    pause_at_once(connection, run_id, now=now)


def pause_at_once(connection: Connection, run_id: str, *, now: int) -> None:
    """Pause a run that is active, where an alarm rings."""
    active = runs.c.id == run_id, runs.c.state == "active"
    if connection.execute(select(runs.c.id).where(*active)).first() is None:
        return
    if (found := _rings(connection, run_id, now=now)) is not None:
        why, detail = found
        connection.execute(update(runs).where(*active).values(state="paused"))
        audit.append(connection, at=now, actor=f"sender: {why}", action="paused", subject=run_id, detail=detail)


def _rings(connection: Connection, run_id: str, *, now: int) -> tuple[str, Mapping[str, int]] | None:
    """What is wrong with a run, or with the rounds of its loop in the last 24 hours, and the counts; else None."""
    loop = of_one_loop(connection, run_id)
    which = runs.c.id == run_id if loop is None else or_(runs.c.id == run_id, loop & (runs.c.created_at > now - DAY))
    sums = (func.sum(runs.c[name]).label(name) for name in COUNTERS)
    counts = {
        name: int(number) for name, number in connection.execute(select(*sums).where(which)).mappings().one().items()
    }
    seen = counts["outcomes"]
    for alarm in ALARMS:
        found, after = counts[alarm.counter], alarm.after if loop is None else _ENOUGH_OF_A_LOOP
        if seen >= after and found >= alarm.at_least and found > alarm.rate * seen:
            when = "" if loop is None else " in 24 hours under its approval"
            return f"{found:,} of {seen:,} {alarm.word}{when}", counts
    return None


def of_one_loop(connection: Connection, run_id: str) -> ColumnElement[bool] | None:
    """Which runs are rounds under the same standing approval; None for a run that is no round."""
    name: str | None = connection.execute(standing_over(run_id)).scalar()
    return None if name is None else is_under(name, runs.c.id)
