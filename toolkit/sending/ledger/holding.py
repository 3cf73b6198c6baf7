"""Approvals that people hold up: nothing under one goes, round after round, until somebody lets it go on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, exists, insert, select, update

from toolkit.errors import LedgerError
from toolkit.sending.ledger import audit
from toolkit.sending.ledger.schema import COUNTERS, approvals, holds, revocations, runs, runs_under

__all__ = ["approvals_named", "hold", "hold_if_held", "hold_of_run", "let_go", "reopen"]

_DIGITS = 12


def approvals_named(connection: Connection, name: str) -> list[str]:
    """The approvals whose id begins so, of those that a run has or somebody holds up."""
    known = select(approvals.c.id).union(select(holds.c.approval_id)).subquery()
    query = select(known.c.id).where(known.c.id.startswith(name, autoescape=True)).order_by(known.c.id)
    return list(connection.execute(query).scalars())


def hold(connection: Connection, place: str, approval_id: str, *, by: str, why: str, now: int) -> None:
    """Pause an approval: the runs under it that are active, and those that are still to come.

    Raises:
        LedgerError: it is paused already, or revoked.
    """
    for table, word in ((holds, "paused"), (revocations, "revoked")):
        if connection.execute(select(table.c.at).where(table.c.approval_id == approval_id)).first() is not None:
            raise LedgerError(f"ledger {place}: approval {approval_id[:_DIGITS]} is {word}; it cannot be paused")
    connection.execute(insert(holds), {"approval_id": approval_id, "at": now, "actor": by, "why": why})
    active = select(runs.c.id).where(runs.c.id.in_(runs_under(approval_id)), runs.c.state == "active").with_for_update()
    for line in (True, False):
        for run_id in connection.execute(active).scalars().all():
            _turned(connection, run_id, "paused", actor=by, approval_id=approval_id, now=now)
        if line:
            # Whoever plans a run writes a line, too, and then looks for a hold: they wait here for each other, so that
            # a run is either seen by the second look or sees the hold.
            detail = {"why": why} if why else {}
            audit.append(connection, at=now, actor=by, action="paused", subject=approval_id, detail=detail)


def let_go(connection: Connection, place: str, approval_id: str, *, by: str, why: str, now: int) -> None:
    """Let an approval go on, with every run under it that is paused; what went wrong is counted afresh.

    Raises:
        LedgerError: neither it nor a run under it is paused.
    """
    gone = connection.execute(delete(holds).where(holds.c.approval_id == approval_id)).rowcount
    mine = runs.c.id.in_(runs_under(approval_id))
    paused = select(runs.c.id).where(mine, runs.c.state == "paused", ~_IS_HELD).with_for_update()
    found = connection.execute(paused).scalars().all()
    if not gone and not found:
        raise LedgerError(f"ledger {place}: approval {approval_id[:_DIGITS]} is not paused; it cannot be resumed")
    for run_id in found:
        _turned(connection, run_id, "active", actor=by, approval_id=approval_id, now=now)
    connection.execute(update(runs).where(mine).values(dict.fromkeys(COUNTERS, 0)))
    detail = {"why": why} if why else {}
    audit.append(connection, at=now, actor=by, action="resumed", subject=approval_id, detail=detail)


def hold_of_run(connection: Connection, run_id: str) -> Row[Any] | None:
    """Who holds up an approval of this run, and why: approval_id, at, actor, why; None where nobody does."""
    under = select(approvals.c.id).where(approvals.c.run_id == run_id)
    query = select(holds).where(holds.c.approval_id.in_(under)).order_by(holds.c.at, holds.c.approval_id)
    return connection.execute(query.limit(1)).first()


def hold_if_held(connection: Connection, run_id: str, *, now: int) -> None:
    """Pause a run that was just planned, where an approval of it is held up."""
    held = hold_of_run(connection, run_id)
    active = select(runs.c.id).where(runs.c.id == run_id, runs.c.state == "active")
    if held is not None and connection.execute(active).first() is not None:
        _turned(connection, run_id, "paused", actor=held.actor, approval_id=held.approval_id, now=now)


def reopen(connection: Connection, which: ColumnElement[bool]) -> None:
    """Runs that were done go on, since mails of theirs go again; where an approval is held up, they wait for it."""
    after = case((_IS_HELD, "paused"), else_="active")
    connection.execute(update(runs).where(and_(which, runs.c.state == "done")).values(state=after))


def _turned(connection: Connection, run_id: str, state: str, *, actor: str, approval_id: str, now: int) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(state=state))
    action = "paused" if state == "paused" else "resumed"
    detail = {"approval": approval_id}
    audit.append(connection, at=now, actor=actor, action=action, subject=run_id, detail=detail)


_IS_HELD = exists(
    select(approvals.c.id)
    .join(holds, holds.c.approval_id == approvals.c.id)
    .where(approvals.c.run_id == runs.c.id)
    .correlate(runs)
)
