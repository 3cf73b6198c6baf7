"""What people decide about runs and approvals: pause, resume, cancel, revoke, and what to make of a mail in doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from toolkit.errors import InputError, LedgerError, shown
from toolkit.sending.ledger import alarm, audit, claims, holding
from toolkit.sending.ledger.delivery_rows import move, rows_of
from toolkit.sending.ledger.schema import COUNTERS, approvals, holds, revocations, runs, runs_under, standing_over
from toolkit.sending.ledger.statements import while_nobody_plans
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import WAITING, State

__all__ = ["cancel", "choose", "revoke", "stop_mails", "turn_named"]

_DIGITS = 64
_ID = re.compile(f"[0-9a-f]{{{_DIGITS}}}")


def cancel(connection: Connection, place: str, run_id: str, *, by: str, why: str, now: int) -> int:
    """How many mails were cancelled with a run.

    Raises:
        LedgerError: no such run, or it is over.
    """
    before = ("active", "paused", "revoked")
    return _turn(connection, place, run_id, by=by, why=why, before=before, after="cancelled", now=now)


def _turn(
    connection: Connection,
    place: str,
    run_id: str,
    *,
    by: str,
    why: str,
    before: Sequence[str],
    after: str,
    now: int,
) -> int:
    """How many mails were cancelled when a run turned from one state to another.

    Raises:
        LedgerError: no such run, it is in another state, or it is to go on though its approval is held up.
    """
    action = "resumed" if after == "active" else after
    like = runs.c.id.startswith(str(run_id), autoescape=True)
    found = connection.execute(select(runs.c.id, runs.c.state).where(like).with_for_update()).all()
    if len(found) != 1 or not run_id:
        what = "names no run or approval" if not found or not run_id else f"names {len(found)} runs"
        raise LedgerError(f"ledger {place}: {shown(run_id)} {what}; see .status()")
    run = found[0]
    if run.state not in before:
        hint = _instead(connection, run.id) if after == "paused" else ""
        raise LedgerError(f"ledger {place}: run {run.id[:12]} is {run.state}; it cannot be {action}{hint}")
    if after == "active" and (held := holding.hold_of_run(connection, run.id)) is not None:
        with_it = f"paused with its approval {held.approval_id[:12]}; resume that"
        raise LedgerError(f"ledger {place}: run {run.id[:12]} is {with_it}")
    connection.execute(update(runs).where(runs.c.id == run.id).values(state=after))
    if after == "active":  # whoever resumes has seen what was wrong: it is counted afresh, in all rounds of a loop
        loop = alarm.of_one_loop(connection, run.id)
        counted = runs.c.id == run.id if loop is None else loop
        connection.execute(update(runs).where(counted).values(dict.fromkeys(COUNTERS, 0)))
    gone = claims.cancel(connection, run.id) if after == "cancelled" else 0
    detail = {**({"cancelled": gone} if gone else {}), **({"why": why} if why else {})}
    audit.append(connection, at=now, actor=by, action=action, subject=run.id, detail=detail)
    return gone


def turn_named(connection: Connection, place: str, name: str, *, by: str, why: str, pauses: bool, now: int) -> None:
    """Pause the run or the approval of that name, or let it go on.

    Args:
        connection: in a writing transaction.
        place: the ledger, in words.
        name: the id of a run or of an approval, or how it begins; all of an approval's that has no run yet.
        by: who does it.
        why: for the audit.
        pauses: pause it; else let it go on.
        now: microseconds since 1970.

    Raises:
        LedgerError: no such run or approval, or several, or it is in another state.
    """
    there = select(runs.c.id).where(runs.c.id.startswith(str(name), autoescape=True))
    found = holding.approvals_named(connection, str(name)) if name else []
    is_run = connection.execute(there.limit(1)).first() is not None
    if is_run and found:
        raise LedgerError(f"ledger {place}: {shown(name)} names a run and an approval; write more of the id")
    if len(found) > 1:
        raise LedgerError(f"ledger {place}: {shown(name)} names {len(found)} approvals; write more of the id")
    if not found and not is_run and _ID.fullmatch(str(name)):
        found = [name]  # not used yet
    if not found:
        before, after = ("active", "paused") if pauses else ("paused", "active")
        _turn(connection, place, name, by=by, why=why, before=(before,), after=after, now=now)
        return
    change = holding.hold if pauses else holding.let_go
    change(connection, place, found[0], by=by, why=why, now=now)


def _instead(connection: Connection, run_id: str) -> str:
    """What holds up a loop of which this run is a round that is over."""
    name = connection.execute(standing_over(run_id)).scalar()
    return "" if name is None else f"; it is one round of a loop, which is paused by its approval, {name[:12]}"


def revoke(connection: Connection, approval_id: str, *, by: str, why: str, now: int) -> list[str]:
    """The runs that end because an approval is taken back; what they had not sent may go under another approval.

    Raises:
        InputError: neither all 64 digits of an id nor an approval that the ledger knows.
    """
    if not isinstance(approval_id, str) or not (_ID.fullmatch(approval_id) or _is_known(connection, approval_id)):
        allowed = f"all {_DIGITS} digits (0-9, a-f) of an Approval.id"
        raise InputError(f"not the id of an approval: {shown(approval_id)}; allowed: {allowed}")
    while_nobody_plans(connection)
    known = connection.execute(select(revocations.c.actor).where(revocations.c.approval_id == approval_id)).first()
    if known is not None:
        return []
    line = {"approval_id": approval_id, "at": now, "actor": by, "why": why}
    connection.execute(insert(revocations), line)
    connection.execute(delete(holds).where(holds.c.approval_id == approval_id))
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


def stop_mails(connection: Connection, run_id: str, reasons: Mapping[str, str], *, owner: str | None = None) -> int:
    """How many mails of a run will not go for the reasons given by decision: of those that wait and, where an owner is
    named, of those that it has leased and not started."""
    rows = [row for row in rows_of(connection, list(reasons), lock=True) if row.run_id == run_id]
    leased = [row for row in rows if row.state is State.LEASED and owner is not None and row.owner == owner]
    mine = [row for row in (*rows, *claims.give_back(connection, leased)) if row.state in WAITING]
    for state in (State.SUPPRESSED, State.EXPIRED, State.SKIPPED):
        some = [one for one in mine if _ENDS_AS.get(reasons[one.decision_id], State.SKIPPED) is state]
        move(connection, some, state, {one.id: {"reason": reasons[one.decision_id]} for one in some})
    return len(mine)


def postpone_mails(connection: Connection, run_id: str, until: Mapping[str, int], *, reason: str, owner: str) -> None:
    """Mails of a run that wait, or that this owner has leased and not started, deferred: decision to the moment until
    which, in microseconds since 1970."""
    rows = [row for row in rows_of(connection, list(until), lock=True) if row.run_id == run_id]
    mine = [row for row in rows if row.state is State.PLANNED or (row.state is State.LEASED and row.owner == owner)]
    fresh = {"owner": None, "lease_until": None, "code": None, "reason": reason}
    move(connection, mine, State.DEFERRED, {one.id: {**fresh, "next_at": until[one.decision_id]} for one in mine})


_ENDS_AS = {"suppressed": State.SUPPRESSED, "unsubscribed": State.SUPPRESSED, "too_late": State.EXPIRED}


def choose(
    connection: Connection, place: str, ids: Sequence[str], found: Mapping[str, Receipt], *, by: str, why: str, now: int
) -> None:
    """Settle mails in doubt by a person's word, all of them or none.

    Raises:
        LedgerError: a mail is not unknown.
    """
    rows = rows_of(connection, ids, lock=True)
    states = {row.decision_id: row.state for row in rows}
    wrong = [one for one in ids if states.get(one) is not State.UNKNOWN]
    if wrong:
        said = f"is {states[wrong[0]]}" if wrong[0] in states else "is not in the ledger"
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        none = "; nothing was settled" if len(ids) > 1 else ""
        raise LedgerError(f"ledger {place}: {wrong[0]} {said}{more}; only an unknown mail can be settled{none}")
    for row in claims.settle(connection, rows, found, actor=by, now=now):
        detail = {"state": row.state.value, "why": why}
        audit.append(connection, at=now, actor=by, action="settled", subject=row.decision_id, detail=detail)
