"""One commit of a sender at work: receipts written down, leased mails started, further mails leased.

Three things in one commit, since a commit waits for the disk; receipts among them, so that a crash leaves no mail in
doubt whose receipt was here already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Update, bindparam, update

from toolkit.sending.ledger.claims import claim, record, run_of, start
from toolkit.sending.ledger.delivery_rows import ChangedError, Delivery, by_id, changed_to
from toolkit.sending.ledger.schema import deliveries
from toolkit.sending.ledger.statements import changed_by, numbered
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

__all__ = ["Claiming", "Turn", "turn"]


class Claiming(NamedTuple):
    """What a sender would like to have next: mails of a run, at most `limit`, leased for so many microseconds."""

    run_id: str
    owner: str
    limit: int
    lease: int


class Turn(NamedTuple):
    """What one commit did: receipts written down, leased mails that may be sent now, mails leased anew."""

    recorded: list[Delivery]
    started: list[Delivery]
    claimed: list[Delivery]


def turn(
    connection: Connection,
    results: Sequence[tuple[Delivery, Receipt]],
    held: Sequence[Delivery],
    *,
    now: int,
    next_at: Mapping[str, int],
    claiming: Claiming | None = None,
    trusting: bool = False,
) -> Turn:
    """Receipts written down, leased mails started, and further mails leased, in one transaction.

    Args:
        connection: in a writing transaction.
        results: mails as they were when started, and their receipts.
        held: leased mails that are to be started.
        now: microseconds since 1970.
        next_at: for deferred mails, by decision id: when to try again, microseconds since 1970.
        claiming: what to lease in the same commit.
        trusting: take the rows as remembered, where every move is guarded by id, state and epoch anyway, and save the
            reading of them; only where there is one writer at a time.

    Raises:
        ChangedError: the rows are not as remembered, and were trusted to be.
    """
    if trusting:
        known = {row.id: row for row in (*(row for row, _ in results), *held)}
    else:
        known = {row.id: row for row in by_id(connection, [*(row.id for row, _ in results), *(r.id for r in held)])}
    recorded = record(connection, results, now=now, next_at=next_at, known=known)
    run = None
    if trusting:
        # After the receipts, which may have paused it; nothing else can change it before this commit.
        if claiming is not None:
            run = run_of(connection, claiming.run_id)
        started = _start_trusting(connection, held, now=now, run=run)
    else:
        started = start(connection, held, now=now, known=known)
    claimed = []
    if claiming is not None and claiming.limit > 0:
        claimed = claim(
            connection,
            claiming.run_id,
            owner=claiming.owner,
            limit=claiming.limit,
            lease=claiming.lease,
            now=now,
            run=run,
        )
    return Turn(recorded, started, claimed)


def _start_trusting(
    connection: Connection, held: Sequence[Delivery], *, now: int, run: Mapping[str, Any] | None
) -> list[Delivery]:
    """The leased mails, all of them started."""
    if not held:
        return []
    for run_id in {row.run_id for row in held}:
        theirs = run if run is not None and run["id"] == run_id else run_of(connection, run_id)
        if theirs is None or theirs["state"] != "active":
            raise ChangedError
    for epoch in {row.epoch for row in held}:
        ids = [row.id for row in held if row.epoch == epoch]
        statement, names = _starting(len(ids))
        if changed_by(connection, statement, names, (*ids, epoch, now)) != len(ids):
            raise ChangedError
    return [changed_to(row, state=State.SENDING, attempts=row.attempts + 1) for row in held]


@lru_cache(256)
def _starting(count: int) -> tuple[Update, tuple[str, ...]]:
    """The statement that starts so many rows, and the names of its parameters."""
    ids = numbered("b_id", count)
    statement = (
        update(deliveries)
        .where(
            deliveries.c.id.in_(ids),
            deliveries.c.state == State.LEASED,
            deliveries.c.epoch == bindparam("b_epoch"),
            deliveries.c.lease_until > bindparam("b_now"),
        )
        .values(state=State.SENDING, attempts=deliveries.c.attempts + 1)
    )
    return statement, (*(one.key for one in ids), "b_epoch", "b_now")
