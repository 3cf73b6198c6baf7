"""A ledger that was moved elsewhere: nobody writes to it any more, and whoever tries is told where it is."""

from __future__ import annotations

import json

from sqlalchemy import Connection, Table, delete, insert, select

from toolkit.database import close_tables, reopen_tables
from toolkit.errors import LedgerError
from toolkit.sending.clock import from_micros
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import metas
from toolkit.sending.ledger.schema import tables as every_table

__all__ = ["close", "is_moved", "refuse_moved", "reopen"]

_ROW = "moved_to"


def close(connection: Connection, *, to: str, by: str, now: int) -> None:
    """Let nobody write to the ledger any more, in the transaction under way."""
    connection.execute(insert(metas), {"name": _ROW, "value": json.dumps({"to": to, "by": by, "at": now})})
    close_tables(connection, _closed(), f"it was moved to {to}; use that one")


def reopen(connection: Connection) -> None:
    """Let the ledger be written to again, in the transaction under way."""
    reopen_tables(connection, _closed())
    connection.execute(delete(metas).where(metas.c.name == _ROW))


def is_moved(ledger: Ledger) -> str | None:
    """Where a ledger was moved to, when and by whom, in words; None for one that is where it was."""
    with ledger.reading() as connection:
        found = connection.execute(select(metas.c.value).where(metas.c.name == _ROW)).scalar()
    if found is None:
        return None
    said = json.loads(found)
    return f"was moved to {said['to']} by {said['by']}, {from_micros(said['at']):%Y-%m-%d %H:%M} UTC"


def refuse_moved(ledger: Ledger) -> None:
    """Refuse a ledger that was moved.

    Raises:
        LedgerError: it was moved; names the place.
    """
    where = is_moved(ledger)
    if where is not None:
        raise LedgerError(f"ledger {ledger.place}: {where}; use that one; nothing was sent")


def _closed() -> list[Table]:
    return [table for table in every_table() if table is not metas]
