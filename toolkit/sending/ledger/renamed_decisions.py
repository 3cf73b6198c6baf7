"""Decisions whose mails went before under another name.

A mail is known by its decision, whose id is a hash of what the decision is about. Events without an event_id are named
by all that they hold: a new column, a rounded number or another way to read the log renames them, and with them every
decision that follows. So does a step that is called otherwise. Nobody is mailed twice for that: what the ledger has of
one scenario, for one customer, decided at one moment, is the same mail whatever it is called. A moment is a second,
since an export may cut off what is less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from sqlalchemy import Connection, select

from toolkit.scenario.models import Program, ReentryAfter, Scenario
from toolkit.sending.clock import micros
from toolkit.sending.ledger.delivery_rows import of_customers
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import deliveries
from toolkit.sending.states import NEVER_LEFT, WAITING

__all__ = ["LOOKED_AROUND", "UNDER_ANOTHER_NAME", "planned_twice", "under_another_name"]

UNDER_ANOTHER_NAME = "known under another name"
LOOKED_AROUND = pd.Timedelta(2, unit="s")
"""How far from a mail another may lie that is taken for the same; the replay must name all that is so near."""

_SECOND = 1_000_000  # microseconds
_MINUTE = 60 * _SECOND

_Mail = tuple[str, str, int]


def under_another_name(ledger: Ledger, sends: pd.DataFrame, decided: pd.DataFrame) -> dict[str, str]:
    """Decisions to send that the ledger has under another name, with the reason they are not mailed.

    Args:
        ledger: what was mailed before.
        sends: decisions whose names the ledger does not know.
        decided: all decisions of the replay as early as `LOOKED_AROUND` before the first of `sends`; what they name is
            a mail of its own, as of two orders of one moment.
    """
    if not len(sends):
        return {}
    with ledger.reading() as connection:
        there = list(_mails_to(connection, sends["customer_id"].unique().tolist()))
    if not there:
        return {}
    own = set(decided.loc[decided["decision_id"].isin([name for name, _ in there]), "decision_id"])
    others = {mail for name, mail in there if name not in own}
    asked = zip(sends["decision_id"], sends["scenario"], sends["customer_id"], sends["at"], strict=True)
    return {
        str(name): UNDER_ANOTHER_NAME
        for name, scenario, customer, at in asked
        if not others.isdisjoint(_around(str(scenario), str(customer), micros(at.to_pydatetime())))
    }


def planned_twice(ledger: Ledger, program: Program, run_id: str) -> dict[str, str]:
    """Mails of a run that wait and were planned before under another name, with the reason they are not mailed.

    Two batches may be prepared before either is sent, from logs that call events otherwise. There is no replay here to
    tell two mails of one moment apart, so this looks only where there cannot be two: one journey of a customer at a
    time, not again within a minute, and one mail of each step in it. The first one planned goes.
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
    with ledger.reading() as connection:
        return dict.fromkeys(connection.execute(query.distinct()).scalars(), UNDER_ANOTHER_NAME)


def _is_one_at_a_time(scenario: Scenario) -> bool:
    again = scenario.reentry
    seldom = again == "once" or (isinstance(again, ReentryAfter) and again.after.elapsed >= _MINUTE)
    return seldom and scenario.key is None and scenario.while_active != "parallel"


def _around(scenario: str, customer: str, at: int) -> Iterator[_Mail]:
    """A mail, and those a second before and after it."""
    return ((scenario, customer, at // _SECOND + away) for away in (-1, 0, 1))


def _mails_to(connection: Connection, customer_ids: Sequence[str]) -> Iterator[tuple[str, _Mail]]:
    """Mails to these customers that went, or may go: the decision's name, and scenario, customer and second."""
    d = deliveries.c
    query = select(d.decision_id, d.scenario, d.customer_id, d.decided_at).where(
        d.scenario.is_not(None), d.state.not_in(NEVER_LEFT)
    )
    for row in of_customers(connection, query, customer_ids):
        yield row.decision_id, (row.scenario, row.customer_id, row.decided_at // _SECOND)
