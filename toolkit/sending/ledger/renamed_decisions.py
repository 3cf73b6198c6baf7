"""Decisions whose mails went before under another name.

A mail is known by its decision, whose id is a hash of what the decision is about. Events without an event_id are named
by all that they hold: a new column, a rounded number or another way to read the log renames them, and with them every
decision that follows. So does a step that is called otherwise. Nobody is mailed twice for that: what the ledger has of
one scenario, for one customer, decided at one moment, is the same mail whatever it is called. A moment is a second,
since an export may cut off what is less.

Nor does an edit mail anybody twice. A journey that a date, a schedule or silence began is named by its moment: birthday
mails at ten instead of nine are other decisions. So the scenario's own re-entry holds for what an earlier version of it
sent, too: who had this step, `once`, or less than `after` ago, and not by a journey of this version, does not get it.

A scenario that is called otherwise is another scenario: one ledger may serve several programs. So who is mailed by one
in the very second in which a scenario that this program has not mailed them is counted, and not left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd
from sqlalchemy import Connection, func, select

from toolkit.engine import Run
from toolkit.scenario.models import Program, ReentryAfter, Scenario
from toolkit.sending.clock import DAY, micros
from toolkit.sending.ledger.delivery_rows import of_customers
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import deliveries
from toolkit.sending.states import NEVER_LEFT, WAITING

__all__ = ["LOOKED_AROUND", "TOO_SOON", "UNDER_ANOTHER_NAME", "Renamed", "planned_twice", "under_another_name"]

UNDER_ANOTHER_NAME = "known under another name"
TOO_SOON = "mailed by an earlier version"
LOOKED_AROUND = pd.Timedelta(2, unit="s")
"""How far from a mail another may lie that is taken for the same; the replay must name all that is so near."""

_AT_ONCE = 20_000  # rows that are looked at in one question
_SECOND = 1_000_000  # microseconds
_MINUTE = 60 * _SECOND


class _Mail(NamedTuple):
    decision_id: str
    scenario: str
    customer_id: str
    step: str
    decided_at: int


class Renamed(NamedTuple):
    """What the ledger may have of decisions whose names it does not know.

    Attributes:
        left_out: decisions that are not mailed, with the reason.
        scenarios: how many of the others a scenario that is not in the program mailed in the same second, by the name
            of that scenario and of theirs.
    """

    left_out: dict[str, str]
    scenarios: Counter[tuple[str, str]]


def under_another_name(ledger: Ledger, sends: pd.DataFrame, run: Run, whole: Run) -> Renamed:
    """Decisions to send that the ledger has under another name.

    Args:
        ledger: what was mailed before.
        sends: decisions whose names the ledger does not know.
        run: has all decisions as early as `LOOKED_AROUND` before the first of `sends`; what they name is a mail of its
            own, as of two orders of one moment.
        whole: the same from the beginning of the log; its decisions are named only where some must be looked up.
    """
    if not len(sends):
        return Renamed({}, Counter())
    with ledger.reading() as connection:
        there = list(_mails_to(connection, sends["customer_id"].unique().tolist()))
    others = _not_of(run, there)
    if not others:
        return Renamed({}, Counter())
    at_once = {(one.scenario, one.customer_id, one.decided_at // _SECOND) for one in others}
    before: dict[tuple[str, str, str], list[_Mail]] = {}
    for one in others:
        before.setdefault((one.scenario, one.customer_id, one.step), []).append(one)
    gaps = {one.scenario: _gap(one) for one in run.program.scenarios}
    gone = {(one.customer_id, one.decided_at // _SECOND): one.scenario for one in others if one.scenario not in gaps}
    scenarios = Counter[tuple[str, str]]()
    found: dict[str, str] = {}
    suspected: dict[str, list[_Mail]] = {}
    asked = zip(sends["decision_id"], sends["scenario"], sends["customer_id"], sends["step"], sends["at"], strict=True)
    for name, scenario, customer, step, moment in asked:
        at = micros(moment.to_pydatetime())
        if not at_once.isdisjoint((scenario, customer, at // _SECOND + away) for away in (-1, 0, 1)):
            found[name] = UNDER_ANOTHER_NAME
            continue
        if (other := gone.get((customer, at // _SECOND))) is not None:
            scenarios[other, scenario] += 1
        near = before.get((scenario, customer, step), [])
        suspected[name] = [one for one in near if abs(one.decided_at - at) < gaps[scenario]]
    strange = {one.decision_id for one in _not_of(whole, [one for some in suspected.values() for one in some])}
    found |= {name: TOO_SOON for name, some in suspected.items() if any(one.decision_id in strange for one in some)}
    return Renamed(found, scenarios)


def planned_twice(
    ledger: Ledger, program: Program, run_id: str, step: Callable[[int], None] = lambda count: None
) -> dict[str, str]:
    """Mails of a run that wait and were planned before under another name, with the reason they are not mailed.

    Two batches may be prepared before either is sent, from logs that call events otherwise. There is no replay here to
    tell two mails of one moment apart, so this looks only where there cannot be two: one journey of a customer at a
    time, not again within a minute, and one mail of each step in it. The first one planned goes.

    Args:
        ledger: the ledger.
        program: the scenarios.
        run_id: the run.
        step: called now and then with how many rows of the ledger were gone through.
    """
    names = [one.scenario for one in program.scenarios if _is_one_at_a_time(one)]
    mine, other = deliveries.alias(), deliveries.alias()
    seconds = (other.c.decided_at // _SECOND) - (mine.c.decided_at // _SECOND)
    query = select(mine.c.decision_id).where(
        mine.c.run_id == run_id,
        mine.c.state.in_(WAITING),
        mine.c.scenario.in_(names),
        other.c.customer_id == mine.c.customer_id,
        other.c.scenario == mine.c.scenario,
        other.c.step == mine.c.step,
        other.c.id < mine.c.id,
        other.c.state.not_in(NEVER_LEFT),
        seconds.between(-1, 1),
    )
    found: dict[str, str] = {}
    with ledger.reading() as connection:
        ends = select(func.min(deliveries.c.id), func.max(deliveries.c.id)).where(deliveries.c.run_id == run_id)
        first, last = connection.execute(ends).one()
        # Some rows at a time, since nothing is heard of a stop while the database looks for the others of a million.
        for begin in range(first, last + 1, _AT_ONCE) if first is not None else ():
            step(begin - first)
            some = query.where(mine.c.id.between(begin, begin + _AT_ONCE - 1)).distinct()
            found |= dict.fromkeys(connection.execute(some).scalars(), UNDER_ANOTHER_NAME)
    return found


def _is_one_at_a_time(scenario: Scenario) -> bool:
    again = scenario.reentry
    seldom = again == "once" or (isinstance(again, ReentryAfter) and again.after.elapsed >= _MINUTE)
    return seldom and scenario.key is None and scenario.while_active != "parallel"


def _gap(scenario: Scenario) -> float:
    """How near two mails of one step can not be to each other, in microseconds; 0 where nothing forbids it."""
    if not _is_one_at_a_time(scenario):
        return 0
    if isinstance(scenario.reentry, ReentryAfter):
        after = scenario.reentry.after.elapsed
        return after - min(after / 2, DAY)  # quiet hours may bring two nearer than their journeys began
    return math.inf


def _not_of(run: Run, mails: Sequence[_Mail]) -> list[_Mail]:
    """Those of the mails that are no decisions of this run."""
    if not mails:
        return []
    decided = run.decisions["decision_id"]
    own = set(decided[decided.isin([one.decision_id for one in mails])])
    return [one for one in mails if one.decision_id not in own]


def _mails_to(connection: Connection, customer_ids: Sequence[str]) -> Iterator[_Mail]:
    """Mails to these customers that went, or may go."""
    d = deliveries.c
    query = select(d.decision_id, d.scenario, d.customer_id, d.step, d.decided_at).where(
        d.scenario.is_not(None), d.state.not_in(NEVER_LEFT)
    )
    for row in of_customers(connection, query, customer_ids):
        yield _Mail(row.decision_id, row.scenario, row.customer_id, row.step or "", row.decided_at)
