"""A log reduced to some kinds of events: what a program needs of a long history, without the rest of it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

import duckdb

from toolkit.events.assembly import Rows
from toolkit.events.canonical import event_id
from toolkit.events.database import run
from toolkit.events.quoting import literal, name
from toolkit.tables import FIRST_SEEN

__all__ = ["compacted"]


def compacted(
    cursor: duckdb.DuckDBPyConnection, relation: str, rows: Rows, names: Iterable[str], *, more: tuple[str, ...]
) -> str:
    """A view of the events of some names, and of when each customer was first heard of.

    A customer whose first event has another name is kept as `FIRST_SEEN`, with its times and nothing that it said:
    schedules begin with the moment at which somebody is first known.

    Args:
        cursor: on the log's database.
        relation: the events, each once.
        rows: what they hold.
        names: of the events that stay whole.
        more: further columns of the relation.

    Returns:
        SQL name of the view. Every event has its id, the one given or the one it has by what it says.
    """
    mark = uuid4().hex[:12]
    table, view = f"first_rows_{mark}", f"compacted_{mark}"
    asked = ", ".join(map(literal, sorted(names))) or "NULL"
    run(
        cursor,
        f"CREATE TABLE {table} AS SELECT row FROM (SELECT arg_min(row, (received_at, row)) AS row, "
        f"arg_min(event, (received_at, row)) AS event FROM {relation} GROUP BY customer_id) "
        f"WHERE event NOT IN ({asked})",
    )
    identity = "event_id" if rows.has_event_ids else event_id(rows.properties, given=False)
    shared = ", ".join(["customer_id", '"at"', "received_at", f"{identity} AS event_id", *map(name, more), "row"])
    said = "".join(f", {name(prop)}" for prop in rows.properties)
    run(
        cursor,
        f"CREATE VIEW {view} AS SELECT event, {shared}{said} FROM {relation} WHERE event IN ({asked}) "
        f"UNION ALL BY NAME SELECT {literal(FIRST_SEEN)} AS event, {shared} FROM {relation} "
        f"SEMI JOIN {table} USING (row)",
    )
    return view
