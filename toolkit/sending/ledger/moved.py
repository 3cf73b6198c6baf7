"""A ledger that was moved elsewhere: nobody writes to it any more, and whoever tries is told where it is."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from toolkit.database import reopen_tables
from toolkit.errors import LedgerError
from toolkit.sending.clock import from_micros
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import CLOSED, close_ledger, closed_tables, metas

__all__ = ["close", "is_moved", "place_of_move", "refuse_moved", "reopen"]


def close(connection: Connection, *, to: str, by: str, now: int) -> None:
    """Let nobody write to the ledger any more, in the transaction under way."""
    connection.execute(insert(metas), {"name": CLOSED, "value": json.dumps({"to": to, "by": by, "at": now})})
    close_ledger(connection, to=to)


def reopen(connection: Connection) -> None:
    """Let the ledger be written to again, in the transaction under way."""
    reopen_tables(connection, closed_tables())
    connection.execute(delete(metas).where(metas.c.name == CLOSED))


def is_moved(ledger: Ledger) -> str | None:
    """Where a ledger was moved to, when and by whom, in words; None for one that is where it was."""
    said = _closed(ledger)
    return (
        None
        if said is None
        else f"was moved to {said['to']} by {said['by']}, {from_micros(said['at']):%Y-%m-%d %H:%M} UTC"
    )


def place_of_move(ledger: Ledger) -> str | None:
    """Path or URL of where a ledger was moved to; None for one that is where it was."""
    said = _closed(ledger)
    return None if said is None else str(said["to"])


def _closed(ledger: Ledger) -> dict[str, Any] | None:
    with ledger.reading() as connection:
        found = connection.execute(select(metas.c.value).where(metas.c.name == CLOSED)).scalar()
    return None if found is None else dict(json.loads(found))


def refuse_moved(ledger: Ledger) -> None:
    """Refuse a ledger that was moved.

    Raises:
        LedgerError: it was moved; names the place.
    """
    where = is_moved(ledger)
    if where is not None:
        raise LedgerError(f"ledger {ledger.place}: {where}; use that one; nothing was sent")
