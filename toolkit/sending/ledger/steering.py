"""What people decide about runs and approvals: pause, resume, cancel, revoke, and what to make of a mail in doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select, update

from toolkit.errors import InputError, LedgerError
from toolkit.sending.ledger import alarm, audit, claims
from toolkit.sending.ledger.delivery_rows import move, rows_of
from toolkit.sending.ledger.schema import COUNTERS, approvals, revocations, runs, runs_under
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import WAITING, State

__all__ = ["choose", "revoke", "stop_mails", "turn_run"]

_DIGITS = 64
_ID = re.compile(f"[0-9a-f]{{{_DIGITS}}}")


def turn_run(
    connection: Connection,
    place: str,
    run_id: str,
    *,
    by: str,
    why: str,
    action: str,
    before: Sequence[str],
    after: str,
    now: int,
) -> int:
    """How many mails were cancelled when a run turned from one state to another.

    Raises:
        LedgerError: no such run, or it is in another state.
    """
    like = runs.c.id.startswith(str(run_id), autoescape=True)
    found = connection.execute(select(runs.c.id, runs.c.state).where(like).with_for_update()).all()
    if len(found) != 1 or not run_id:
        what = "names no run" if not found or not run_id else f"names {len(found)} runs"
        raise LedgerError(f"ledger {place}: {run_id!r} {what}; see .status()")
    run = found[0]
    if run.state not in before:
        raise LedgerError(f"ledger {place}: run {run.id[:12]} is {run.state}; it cannot be {action}")
    connection.execute(update(runs).where(runs.c.id == run.id).values(state=after))
    if after == "active":  # whoever resumes has seen what was wrong: it is counted afresh, in all rounds of a loop
        loop = alarm.of_one_loop(connection, run.id)
        counted = runs.c.id == run.id if loop is None else loop
        connection.execute(update(runs).where(counted).values(dict.fromkeys(COUNTERS, 0)))
    gone = claims.cancel(connection, run.id) if after == "cancelled" else 0
    detail = {**({"cancelled": gone} if gone else {}), **({"why": why} if why else {})}
    audit.append(connection, at=now, actor=by, action=action, subject=run.id, detail=detail)
    return gone


def revoke(connection: Connection, approval_id: str, *, by: str, why: str, now: int) -> list[str]:
    """The runs that end because an approval is taken back; what they had not sent may go under another approval.

    Raises:
        InputError: neither all 64 digits of an id nor an approval that the ledger knows.
    """
    if not isinstance(approval_id, str) or not (_ID.fullmatch(approval_id) or _is_known(connection, approval_id)):
        allowed = f"all {_DIGITS} digits (0-9, a-f) of an Approval.id"
        raise InputError(f"not the id of an approval: {approval_id!r}; allowed: {allowed}")
    known = connection.execute(select(revocations.c.actor).where(revocations.c.approval_id == approval_id)).first()
    if known is not None:
        return []
    line = {"approval_id": approval_id, "at": now, "actor": by, "why": why}
    connection.execute(insert(revocations), line)
    query = select(runs.c.id).where(runs.c.id.in_(runs_under(approval_id)), runs.c.state.in_(("active", "paused")))
    ended = list(connection.execute(query.with_for_update()).scalars())
    if ended:
        connection.execute(update(runs).where(runs.c.id.in_(ended)).values(state="revoked"))
    detail = {"why": why, "runs": ended}
    audit.append(connection, at=now, actor=by, action="revoked", subject=approval_id, detail=detail)
    for run_id in ended:
        audit.append(connection, at=now, actor=by, action="revoked", subject=run_id, detail={"approval": approval_id})
    return ended


def _is_known(connection: Connection, approval_id: str) -> bool:
    return connection.execute(select(approvals.c.id).where(approvals.c.id == approval_id)).first() is not None


def stop_mails(connection: Connection, run_id: str, reasons: Mapping[str, str]) -> int:
    """How many mails of a run, none of them under way, will not go for the reasons given by decision."""
    rows = rows_of(connection, list(reasons), lock=True)
    mine = [one for one in rows if one.run_id == run_id and one.state in WAITING]
    for state in (State.SUPPRESSED, State.SKIPPED):
        some = [one for one in mine if (reasons[one.decision_id] in _AGAINST) is (state is State.SUPPRESSED)]
        move(connection, some, state, {one.id: {"reason": reasons[one.decision_id]} for one in some})
    return len(mine)


_AGAINST = ("suppressed", "unsubscribed")


def choose(
    connection: Connection, place: str, decision_id: str, found: Mapping[str, Receipt], *, by: str, why: str, now: int
) -> None:
    """Settle a mail in doubt by a person's word.

    Raises:
        LedgerError: the mail is not unknown.
    """
    rows = rows_of(connection, [decision_id], lock=True)
    if not rows or rows[0].state is not State.UNKNOWN:
        said = f"is {rows[0].state}" if rows else "is not in the ledger"
        raise LedgerError(f"ledger {place}: {decision_id} {said}; only an unknown mail can be settled")
    (row,) = claims.settle(connection, rows, found, actor=by, now=now)
    detail = {"state": row.state.value, "why": why}
    audit.append(connection, at=now, actor=by, action="settled", subject=decision_id, detail=detail)
