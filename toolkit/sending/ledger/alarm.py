"""When a run pauses itself: where so much goes wrong that going on would do harm.

The counts are kept with the run in the ledger, since it began or was last resumed, so that two senders see the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from toolkit.sending.ledger import audit
from toolkit.sending.ledger.schema import COUNTERS, runs
from toolkit.sending.ledger.statements import changed
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

__all__ = ["ALARMS", "Alarm", "count", "counters_of"]

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
        refused = receipt.state in (State.FAILED, State.DEFERRED)
        added["policy_errors"] += bool(refused and _POLICY.search(receipt.reason or ""))
    return +added


def count(connection: Connection, run_id: str, added: Mapping[str, int], *, now: int) -> None:
    """Add to the counters of a run, and pause it where one of them is too high."""
    if not any(added.values()):
        return
    changed(connection, _ADD, {"b_run": run_id, **{f"b_{name}": added.get(name, 0) for name in COUNTERS}})
    if not any(number for name, number in added.items() if name != "outcomes"):
        return
    query = select(runs.c.state, *(runs.c[name] for name in COUNTERS)).where(runs.c.id == run_id)
    run = connection.execute(query).mappings().one()
    if run["state"] != "active":
        return
    for alarm in ALARMS:
        found, seen = run[alarm.counter], run["outcomes"]
        if seen >= alarm.after and found >= alarm.at_least and found > alarm.rate * seen:
            connection.execute(update(runs).where(runs.c.id == run_id).values(state="paused"))
            actor = f"sender: {found:,} of {seen:,} {alarm.word}"
            detail = {name: run[name] for name in COUNTERS}
            audit.append(connection, at=now, actor=actor, action="paused", subject=run_id, detail=detail)
            return
