"""Moves of mails in the ledger: claim, start, record, give back, recover, settle.

Each function works inside one transaction, reads the rows it is about to move under a lock, checks owner, epoch and
lease, and makes only moves that `states.MOVES` allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Update, bindparam, exists, func, or_, select, update

from toolkit.database import CHUNK
from toolkit.errors import LedgerError
from toolkit.sending.clock import from_micros
from toolkit.sending.ledger import alarm, pacing
from toolkit.sending.ledger.delivery_rows import (
    READ_ROWS,
    Delivery,
    attempted,
    changed_to,
    delivery_of,
    held_by,
    move,
    of_customers,
    rows_where,
)
from toolkit.sending.ledger.holding import reopen
from toolkit.sending.ledger.owners import is_over
from toolkit.sending.ledger.schema import attempts, deliveries, domains, held_as, rates, runs, suppressions
from toolkit.sending.ledger.statements import changed_by, found, numbered
from toolkit.sending.ledger.suppression import suppressed
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import WAITING, State

__all__ = [
    "Sent",
    "again",
    "cancel",
    "claim",
    "give_back",
    "marketing_of",
    "record",
    "recover",
    "renew",
    "run_of",
    "settle",
    "start",
]

_RUN = select(
    runs,
    exists().where(rates.c.transport == runs.c.transport).label("limited"),
    exists(select(domains.c.name)).label("domains"),
    exists(select(suppressions.c.id)).label("suppressions"),
).where(runs.c.id == bindparam("b_run"))
_RUN_NAMES = tuple(_RUN.selected_columns.keys())
_FREE = (
    READ_ROWS.where(
        deliveries.c.run_id == bindparam("b_run"),
        deliveries.c.state == bindparam("b_state"),
        deliveries.c.id > bindparam("b_last"),
        or_(deliveries.c.next_at.is_(None), deliveries.c.next_at <= bindparam("b_now")),
    )
    .limit(bindparam("b_limit"))
    .with_for_update(skip_locked=True)
)
_MOST_AGAIN = 5  # times that a transactional mail is in doubt, after which it does not go again


def run_of(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """The run as it is now, and whether there is anything to ask about: `limited`, `domains`, `suppressions`.

    In SQLite nobody else writes during this transaction, so that what is not there is not asked for again. Elsewhere it
    may come at any moment, so all of it is asked, each time.
    """
    rows = found(connection, _RUN, {"b_run": run_id})
    if not rows:
        return None
    alone = connection.dialect.name == "sqlite"
    return dict(zip(_RUN_NAMES, rows[0], strict=True)) | ({} if alone else dict.fromkeys(_RUN_NAMES[-3:], True))


def claim(
    connection: Connection,
    run_id: str,
    *,
    owner: str,
    limit: int,
    lease: int,
    now: int,
    run: Mapping[str, Any] | None = None,
) -> list[Delivery]:
    """Mails of a run now leased to the owner, at most `limit`; those that may not go are suppressed or expired.

    Args:
        connection: in a writing transaction.
        run_id: the run.
        owner: who claims.
        limit: at most so many.
        lease: for so many microseconds.
        now: microseconds since 1970.
        run: as `run_of` found it in this transaction, where it did.
    """
    run = run or run_of(connection, run_id)
    if run is None or run["state"] != "active":
        return []
    if now >= run["not_after"]:
        waiting = deliveries.c.run_id == run_id, deliveries.c.state.in_(WAITING)
        while rows := rows_where(connection, *waiting, limit=CHUNK):
            move(connection, rows, State.EXPIRED, {row.id: {"reason": "too_late"} for row in rows})
        return []
    if run["canary"] is not None and connection.dialect.name == "postgresql":
        # Senders that share a canary take turns.
        locked = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).mappings().one()
        run = {**run, **locked}
    allowed = pacing.canary_allows(connection, run, limit, now=now)
    if allowed and run["limited"]:
        allowed = pacing.may_go(connection, run["transport"], allowed, now=now)
    if not allowed:
        return []
    free = _free(connection, run, limit=allowed, now=now)
    if run["limited"]:
        pacing.not_used(connection, run["transport"], allowed - len(free))
    if not free:
        return []
    # Read under a lock a moment ago, so that one statement moves them all.
    until = now + lease
    statement, names = _leasing(len(free))
    if changed_by(connection, statement, names, (owner, until, *(row.id for row in free))) != len(free):
        raise LedgerError("ledger: rows that were to be leased were changed by someone else")
    return [changed_to(row, state=State.LEASED, epoch=row.epoch + 1, owner=owner, lease_until=until) for row in free]


@lru_cache(256)
def _leasing(count: int) -> tuple[Update, tuple[str, ...]]:
    """The statement that leases so many rows, and the names of its parameters."""
    ids = numbered("b_id", count)
    statement = (
        update(deliveries)
        .where(deliveries.c.id.in_(ids))
        .values(
            state=State.LEASED,
            epoch=deliveries.c.epoch + 1,
            owner=bindparam("b_owner"),
            lease_until=bindparam("b_until"),
        )
    )
    return statement, ("b_owner", "b_until", *(one.key for one in ids))


def _free(connection: Connection, run: Mapping[str, Any], *, limit: int, now: int) -> list[Delivery]:
    """Mails that wait and may go: not of a domain that rests, and not of an address on the suppression list."""
    blocked = pacing.resting(connection, now=now) if run["domains"] else []
    query = _FREE.where(deliveries.c.domain.not_in(blocked)) if blocked else None
    free: list[Delivery] = []
    # One state after the other, so that the index gives them in order and no claim sorts all that waits.
    for state in WAITING:
        last = 0
        while len(free) < limit:
            values = {
                "b_run": run["id"],
                "b_now": now,
                "b_state": state.value,
                "b_last": last,
                "b_limit": limit - len(free),
            }
            read = found(connection, _FREE, values) if query is None else connection.execute(query, values)
            rows = [delivery_of(row) for row in read]
            last = rows[-1].id if rows else last
            mails = [(row.address, row.class_) for row in rows] if run["suppressions"] else []
            stopped = suppressed(connection, mails)
            held = [row for row in rows if (row.address, row.class_) in stopped]
            reasons = {row.id: {"reason": stopped[row.address, row.class_]} for row in held}
            move(connection, held, State.SUPPRESSED, reasons)
            free += [row for row in rows if (row.address, row.class_) not in stopped]
            if not held:
                break
    return free


def start(
    connection: Connection, held: Sequence[Delivery], *, now: int, known: Mapping[int, Delivery] | None = None
) -> list[Delivery]:
    """Those of the leased mails that may be sent now: still leased to the same owner, epoch and time."""
    rows = held_by(connection, held, State.LEASED, known=known)
    if not rows:
        return []
    names = {row.run_id for row in rows}
    mine = runs.c.id == names.pop() if len(names) == 1 else runs.c.id.in_(names)
    active = set(connection.execute(select(runs.c.id).where(mine, runs.c.state == "active")).scalars())
    give_back(connection, [row for row in rows if row.run_id not in active])
    fresh = [row for row in rows if row.run_id in active and row.lease_until is not None and row.lease_until > now]
    return move(connection, fresh, State.SENDING, {row.id: {"attempts": row.attempts + 1} for row in fresh})


def record(
    connection: Connection,
    results: Sequence[tuple[Delivery, Receipt]],
    *,
    now: int,
    next_at: Mapping[str, int],
    known: Mapping[int, Delivery] | None = None,
) -> list[Delivery]:
    """The mails whose receipts were written down.

    A receipt that comes after its lease was taken over still counts as evidence where the mail is unknown by now;
    where another sender has the mail already, that one finds it delivered.

    Args:
        connection: in a writing transaction.
        results: mails as they were when started, and their receipts.
        now: microseconds since 1970.
        next_at: for deferred mails, by decision id: when to try again, microseconds since 1970.
        known: the rows by id as they are now, where the caller read and locked them.

    Raises:
        LedgerError: a mail is deferred without a moment to try it again.
    """
    receipts = {delivery.id: receipt for delivery, receipt in results}
    asked = [delivery for delivery, _ in results]
    held = held_by(connection, asked, State.SENDING, State.LEASED, State.UNKNOWN, known=known)
    mine = [row for row in held if row.state is not State.UNKNOWN]
    late = [row for row in held if row.state is State.UNKNOWN and receipts[row.id].state is State.ACCEPTED]
    by_state: dict[State, list[Delivery]] = {}
    for row in mine + late:
        by_state.setdefault(receipts[row.id].state, []).append(row)
    done = []
    for state in (State.ACCEPTED, State.FAILED, State.DEFERRED, State.UNKNOWN):
        rows = by_state.get(state, [])
        if not rows:
            continue
        values = {row.id: _outcome(receipts[row.id], next_at) for row in rows}
        if state is State.DEFERRED and (forever := [row for row in rows if values[row.id]["next_at"] is None]):
            raise LedgerError(
                f"ledger: {forever[0].decision_id} is deferred, and next_at does not say until when: it would be tried "
                "again and again; nothing was written down"
            )
        for row in rows:
            if row.state is State.LEASED:  # refused before its body, else it was counted as it began
                values[row.id]["attempts"] = row.attempts + 1
        attempted(connection, rows, [receipts[row.id] for row in rows], now)
        done += move(connection, rows, state, values)
    pacing.seen(connection, [(row.domain, receipts[row.id]) for row in mine], now=now)
    for run_id in sorted({row.run_id for row in mine}):
        added = alarm.counters_of([receipts[row.id] for row in mine if row.run_id == run_id])
        alarm.count(connection, run_id, added, now=now)
    return done


def again(connection: Connection, run_id: str, *, now: int, wait: int) -> list[Delivery]:
    """Transactional mails of an active run in doubt, planned again under the same Message-ID: better twice than never.

    Args:
        connection: in a writing transaction.
        run_id: the run.
        now: microseconds since 1970; nothing goes again once the approval is over.
        wait: microseconds before they go.
    """
    run = connection.execute(select(runs.c.state, runs.c.not_after).where(runs.c.id == run_id)).one_or_none()
    if run is None or run.state not in ("active", "done") or now >= run.not_after:
        return []
    doubts = select(func.count()).where(attempts.c.delivery_id == deliveries.c.id, attempts.c.outcome == State.UNKNOWN)
    mine = deliveries.c.run_id == run_id, held_as(State.UNKNOWN), doubts.scalar_subquery() < _MOST_AGAIN
    rows = rows_where(connection, *mine, deliveries.c.class_ == "transactional")
    receipts = [Receipt(row.decision_id, State.PLANNED, reason="transactional: sent again") for row in rows]
    attempted(connection, rows, receipts, now)
    planned = give_back(connection, rows, next_at=now + wait)
    if planned:
        reopen(connection, runs.c.id == run_id)
    return planned


def cancel(connection: Connection, run_id: str) -> int:
    """How many mails of the run, none of them under way, were cancelled."""
    waiting = deliveries.c.run_id == run_id, deliveries.c.state.in_(WAITING)
    gone = 0
    while rows := rows_where(connection, *waiting, limit=CHUNK):
        move(connection, rows, State.CANCELLED, {})
        gone += len(rows)
    return gone


def renew(connection: Connection, owner: str, *, until: int) -> None:
    """Leases of the owner that last until then."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.owner == owner, held_as(State.LEASED, State.SENDING))
        .values(lease_until=until)
    )


def recover(connection: Connection, *, now: int, owner: str | None = None) -> list[Delivery]:
    """Mails that turned unknown because their sender is gone; what it had only leased is planned again.

    Args:
        connection: in a writing transaction.
        now: microseconds since 1970; a lease that ends by then is over.
        owner: an owner that has stopped, whatever its leases say.
    """
    holding = held_as(State.LEASED, State.SENDING)
    over = [
        name
        for name in connection.execute(select(deliveries.c.owner).where(holding).distinct()).scalars()
        if name is not None and (name == owner or is_over(name))
    ]
    gone = or_(deliveries.c.owner.in_(over), deliveries.c.lease_until <= now)
    give_back(connection, rows_where(connection, gone, held_as(State.LEASED)))
    rows = rows_where(connection, gone, held_as(State.SENDING))
    receipts = [Receipt(row.decision_id, State.UNKNOWN, reason="unknown_delivery") for row in rows]
    attempted(connection, rows, receipts, now)
    return move(
        connection, rows, State.UNKNOWN, {row.id: {"lease_until": None, "reason": "unknown_delivery"} for row in rows}
    )


def settle(
    connection: Connection, rows: Sequence[Delivery], found: Mapping[str, Receipt], *, actor: str, now: int
) -> list[Delivery]:
    """Unknown mails now settled: those found to what the receipt says, the others planned again."""
    rows = held_by(connection, rows, State.UNKNOWN)
    settled = []
    absent = [row for row in rows if row.decision_id not in found]
    attempted(
        connection, absent, [Receipt(r.decision_id, State.PLANNED, reason=f"not sent: {actor}") for r in absent], now
    )
    settled += give_back(connection, absent)
    reopen(connection, runs.c.id.in_({row.run_id for row in absent}))
    for state in (State.ACCEPTED, State.FAILED):
        there = [row for row in rows if row.decision_id in found and found[row.decision_id].state is state]
        attempted(connection, there, [found[row.decision_id] for row in there], now)
        settled += move(connection, there, state, {row.id: _outcome(found[row.decision_id], {}) for row in there})
    return settled


class Sent(NamedTuple):
    """A mail that its customer got, or may have got.

    Attributes:
        scenario: None in a ledger of before its version 4.
        at: the moment it was decided, UTC.
    """

    decision_id: str
    scenario: str | None
    at: datetime


def marketing_of(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[Sent]]:
    """Marketing mails that people got or may have got, by customer."""
    found: dict[str, list[Sent]] = {}
    there = deliveries.c.class_ == "marketing", deliveries.c.state.in_((State.ACCEPTED, State.UNKNOWN))
    d = deliveries.c
    query = select(d.customer_id, d.decision_id, d.scenario, d.decided_at).where(*there)
    for row in of_customers(connection, query, customer_ids):
        found.setdefault(row.customer_id, []).append(Sent(row.decision_id, row.scenario, from_micros(row.decided_at)))
    return found


def give_back(connection: Connection, rows: Sequence[Delivery], *, next_at: int | None = None) -> list[Delivery]:
    """The rows planned again, or cancelled where their run was cancelled in the meantime."""
    fresh = {"owner": None, "lease_until": None, "reason": None, "next_at": next_at}
    planned = move(connection, rows, State.PLANNED, {row.id: fresh for row in rows})
    query = select(runs.c.id).where(runs.c.id.in_({row.run_id for row in rows}), runs.c.state == "cancelled")
    over = set(connection.execute(query).scalars())
    cancelled = move(connection, [row for row in planned if row.run_id in over], State.CANCELLED, {})
    return [row for row in planned if row.run_id not in over] + cancelled


def _outcome(receipt: Receipt, next_at: Mapping[str, int]) -> dict[str, Any]:
    return {
        "receipt": receipt.receipt,
        "code": receipt.code,
        "reason": receipt.reason,
        "lease_until": None,
        "next_at": next_at.get(receipt.decision_id),
    }
