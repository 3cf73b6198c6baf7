"""Rows of the ledger, one a mail: read, locked, moved from state to state, and their attempts noted.

Every move is one that `states.MOVES` allows, of rows that are as their holder knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Update, bindparam, insert, select, update

from toolkit.errors import LedgerError
from toolkit.sending.protocol import Receipt
from toolkit.sending.schema import attempts, deliveries
from toolkit.sending.statements import changed_all
from toolkit.sending.states import State, allowed

__all__ = [
    "CHUNK",
    "READ_ROWS",
    "ChangedError",
    "Delivery",
    "attempted",
    "by_id",
    "delivery_of",
    "held_by",
    "move",
    "rows_of",
    "rows_where",
]

CHUNK = 500  # values in one IN list
_COLUMNS = (
    "id",
    "run_id",
    "decision_id",
    "customer_id",
    "address",
    "class_",
    "message_id",
    "payload_sha256",
    "state",
    "owner",
    "epoch",
    "lease_until",
    "attempts",
    "next_at",
    "receipt",
    "code",
    "reason",
    "domain",
    "discount",
    "decided_at",
)
READ_ROWS = select(*(deliveries.c[name] for name in _COLUMNS)).order_by(deliveries.c.id)
_STATE = _COLUMNS.index("state")


class ChangedError(LedgerError):
    """Rows are not as their holder remembers them; nothing of the transaction may stay."""


class Delivery(NamedTuple):
    """One row of the ledger: one mail to one person."""

    id: int
    run_id: str
    decision_id: str
    customer_id: str
    address: str
    class_: str
    message_id: str
    payload_sha256: str
    state: State
    owner: str | None
    epoch: int
    lease_until: int | None
    attempts: int
    next_at: int | None
    receipt: str | None
    code: int | None
    reason: str | None
    domain: str
    discount: float | None
    decided_at: int


def delivery_of(row: Sequence[Any]) -> Delivery:
    """A row as `READ_ROWS` gives it."""
    return Delivery._make((*row[:_STATE], State(row[_STATE]), *row[_STATE + 1 :]))


def rows_where(
    connection: Connection, *where: ColumnElement[bool], limit: int | None = None, lock: bool = True
) -> list[Delivery]:
    query = READ_ROWS.where(*where)
    if limit is not None:
        query = query.limit(limit)
    if lock:
        query = query.with_for_update(skip_locked=limit is not None)
    return [delivery_of(row) for row in connection.execute(query)]


def rows_of(connection: Connection, decision_ids: Sequence[str], *, lock: bool = False) -> list[Delivery]:
    """The ledger's rows of these decisions, those it knows."""
    rows = []
    for start_at in range(0, len(decision_ids), CHUNK):
        some = decision_ids[start_at : start_at + CHUNK]
        rows += rows_where(connection, deliveries.c.decision_id.in_(some), lock=lock)
    return rows


def by_id(connection: Connection, ids: Sequence[int]) -> list[Delivery]:
    """These rows, under a lock."""
    rows = []
    for start_at in range(0, len(ids), CHUNK):
        rows += rows_where(connection, deliveries.c.id.in_(ids[start_at : start_at + CHUNK]))
    return rows


def held_by(
    connection: Connection, held: Sequence[Delivery], *states: State, known: Mapping[int, Delivery] | None = None
) -> list[Delivery]:
    """The rows as they are now, where still in one of these states and in the hands, and epoch, they were in."""
    there = known if known is not None else {row.id: row for row in by_id(connection, [row.id for row in held])}
    now = [(before, there[before.id]) for before in held if before.id in there]
    return [
        row for before, row in now if row.state in states and (row.owner, row.epoch) == (before.owner, before.epoch)
    ]


def _changed(row: Delivery, target: State, change: Mapping[str, Any]) -> Delivery:
    return row._replace(state=target, **change)


def move(
    connection: Connection, rows: Sequence[Delivery], target: State, values: Mapping[int, Mapping[str, Any]]
) -> list[Delivery]:
    """The rows in their new state, with new values by row id; see `states.MOVES` for what may follow what."""
    if not rows:
        return []
    for row in rows:
        if not allowed(row.state, target):
            raise LedgerError(f"ledger: {row.decision_id} is {row.state}; it cannot become {target}")
    names = tuple(sorted({name for change in values.values() for name in change}))
    statement = _moving(target, names)
    moved = [_changed(row, target, values.get(row.id, {})) for row in rows]
    done = changed_all(
        connection,
        statement,
        [
            {"b_id": row.id, "b_state": row.state.value, "b_epoch": row.epoch, "b_target": target.value}
            | {f"new_{name}": getattr(after, name) for name in names}
            for row, after in zip(rows, moved, strict=True)
        ],
    )
    if done != len(rows):
        raise ChangedError(f"ledger: {len(rows) - done} of {len(rows)} rows were changed by someone else")
    return moved


_ATTEMPTED = insert(attempts).values(
    **{
        name: bindparam(name)
        for name in ("delivery_id", "epoch", "owner", "at", "outcome", "code", "receipt", "reason")
    }
)


@lru_cache
def _moving(target: State, names: tuple[str, ...]) -> Update:
    return (
        update(deliveries)
        .where(
            deliveries.c.id == bindparam("b_id"),
            deliveries.c.state == bindparam("b_state"),
            deliveries.c.epoch == bindparam("b_epoch"),
        )
        .values(state=bindparam("b_target"), **{name: bindparam(f"new_{name}") for name in names})
    )


def attempted(connection: Connection, rows: Sequence[Delivery], receipts: Iterable[Receipt], now: int) -> None:
    lines = [
        {
            "delivery_id": row.id,
            "epoch": row.epoch,
            "owner": row.owner or "",
            "at": now,
            "outcome": receipt.state.value,
            "code": receipt.code,
            "receipt": receipt.receipt,
            "reason": receipt.reason,
        }
        for row, receipt in zip(rows, receipts, strict=True)
    ]
    if lines:
        changed_all(connection, _ATTEMPTED, lines)
