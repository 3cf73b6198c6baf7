"""Rows of the ledger, one a mail: read, locked, moved from state to state, and their attempts noted.

Every move is one that `states.MOVES` allows, of rows that are as their holder knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, Update, bindparam, insert, select, update

from toolkit.database import CHUNK, chunks
from toolkit.errors import LedgerError
from toolkit.sending.ledger.schema import attempts, deliveries, held_as
from toolkit.sending.ledger.statements import changed_all, found, numbered
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import QUIET_HOURS, State, allowed

__all__ = [
    "READ_ROWS",
    "ChangedError",
    "Delivery",
    "attempted",
    "by_id",
    "changed_to",
    "delivery_of",
    "goes_later",
    "held_by",
    "move",
    "of_customers",
    "rows_of",
    "rows_where",
    "sender_at_work",
]

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
    "scenario",
    "step",
)
READ_ROWS = select(*(deliveries.c[name] for name in _COLUMNS)).order_by(deliveries.c.id)
_PLACE = {name: place for place, name in enumerate(_COLUMNS)}
_STATE = _PLACE["state"]
_STATES = {state.value: state for state in State}
_SAID = {state: state.value for state in State}  # a look-up of its own in an enumeration takes longer


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
    scenario: str | None
    step: str | None


def delivery_of(row: Sequence[Any]) -> Delivery:
    """A row as `READ_ROWS` gives it."""
    values = list(row)
    values[_STATE] = _STATES.get(values[_STATE]) or State(values[_STATE])
    return tuple.__new__(Delivery, values)


def changed_to(row: Delivery, **change: Any) -> Delivery:
    """The row with other values; as `_replace`, in a third of the time."""
    values = list(row)
    for name, value in change.items():
        values[_PLACE[name]] = value
    return tuple.__new__(Delivery, values)


def goes_later(row: Delivery, now: int) -> bool:
    """Whether a mail that waits goes again at a moment still to come: the other side postponed it, or it was in doubt.

    Not so where quiet hours hold it: whoever sends it next asks anew until when.
    """
    return row.next_at is not None and row.next_at > now and row.reason != QUIET_HOURS


def of_customers(connection: Connection, query: Select[Any], customer_ids: Sequence[str]) -> Iterator[Row[Any]]:
    """What a query finds of the mails to these customers, some customers at a time."""
    # No mail has a customer whose id holds a NUL, and PostgreSQL takes none in a question either.
    for some in chunks(one for one in customer_ids if "\0" not in one):
        yield from connection.execute(query.where(deliveries.c.customer_id.in_(some)))


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
    for some in chunks(decision_ids):
        size = min(size for size in _SIZES if size >= len(some))
        filled = [*some, *(some[-1] for _ in range(size - len(some)))]
        named = dict(zip(_NAMED, filled, strict=False))
        rows += [delivery_of(row) for row in found(connection, _reading(size, lock=lock), named)]
    return rows


_SIZES = (1, 4, 16, 64, 250, CHUNK)  # few, so that few statements are compiled; the last value fills up a list
_NAMED = [one.key for one in numbered("b_decision", CHUNK)]


@lru_cache
def _reading(size: int, *, lock: bool) -> Select[Any]:
    query = READ_ROWS.where(deliveries.c.decision_id.in_(numbered("b_decision", size)))
    return query.with_for_update() if lock else query


def sender_at_work(connection: Connection) -> str | None:
    """The owner of a mail that a sender has in its hands, if any has."""
    held = select(deliveries.c.owner).where(held_as(State.LEASED, State.SENDING)).limit(1)
    owner: str | None = connection.execute(held).scalar()
    return owner


def by_id(connection: Connection, ids: Sequence[int]) -> list[Delivery]:
    """These rows, under a lock."""
    return [row for some in chunks(ids) for row in rows_where(connection, deliveries.c.id.in_(some))]


def held_by(
    connection: Connection, held: Sequence[Delivery], *states: State, known: Mapping[int, Delivery] | None = None
) -> list[Delivery]:
    """The rows as they are now, where still in one of these states and in the hands, and epoch, they were in."""
    there = known if known is not None else {row.id: row for row in by_id(connection, [row.id for row in held])}
    now = [(before, there[before.id]) for before in held if before.id in there]
    return [
        row for before, row in now if row.state in states and (row.owner, row.epoch) == (before.owner, before.epoch)
    ]


def move(
    connection: Connection, rows: Sequence[Delivery], target: State, values: Mapping[int, Mapping[str, Any]]
) -> list[Delivery]:
    """The rows in their new state, with new values by row id; see `states.MOVES` for what may follow what."""
    if not rows:
        return []
    for state in {row.state for row in rows}:
        if not allowed(state, target):
            first = next(row for row in rows if row.state is state)
            raise LedgerError(f"ledger: {first.decision_id} is {state}; it cannot become {target}")
    names = tuple(sorted(set().union(*values.values())))
    statement, parameters, new = _moving(names)
    moved, bound, said = [], [], target.value
    for row in rows:
        after = list(row)
        after[_STATE] = target
        for name, value in values.get(row.id, {}).items():
            after[_PLACE[name]] = value
        moved.append(tuple.__new__(Delivery, after))
        bound.append((said, *new(after), row.id, _SAID[row.state], row.epoch))
    done = changed_all(connection, statement, parameters, bound)
    if done != len(rows):
        raise ChangedError(f"ledger: {len(rows) - done} of {len(rows)} rows were changed by someone else")
    return moved


_ATTEMPT = ("delivery_id", "epoch", "owner", "at", "outcome", "code", "receipt", "reason")
_ATTEMPTED = insert(attempts).values(**{name: bindparam(name) for name in _ATTEMPT})


@lru_cache
def _moving(names: tuple[str, ...]) -> tuple[Update, tuple[str, ...], Callable[[Sequence[Any]], tuple[Any, ...]]]:
    """The statement that moves a row, its parameters, and what takes the new values out of a row."""
    statement = (
        update(deliveries)
        .where(
            deliveries.c.id == bindparam("b_id"),
            deliveries.c.state == bindparam("b_state"),
            deliveries.c.epoch == bindparam("b_epoch"),
        )
        .values(state=bindparam("b_target"), **{name: bindparam(f"new_{name}") for name in names})
    )
    places = [_PLACE[name] for name in names]
    new = itemgetter(*places) if len(places) > 1 else lambda row: tuple(row[place] for place in places)
    return statement, ("b_target", *(f"new_{name}" for name in names), "b_id", "b_state", "b_epoch"), new


def attempted(connection: Connection, rows: Sequence[Delivery], receipts: Iterable[Receipt], now: int) -> None:
    lines = [
        (row.id, row.epoch, row.owner or "", now, _SAID[one.state], one.code, one.receipt, one.reason)
        for row, one in zip(rows, receipts, strict=True)
    ]
    if lines:
        changed_all(connection, _ATTEMPTED, _ATTEMPT, lines)
