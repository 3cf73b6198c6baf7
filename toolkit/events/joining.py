"""Two logs read as one: the shop's own and the answers to its mails, or a history and what came after it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import duckdb
import pyarrow as pa

from toolkit.events.assembly import Rows
from toolkit.events.canonical import event_id
from toolkit.events.database import fetch_row, run
from toolkit.events.kinds import EMPTY
from toolkit.events.quoting import name
from toolkit.readable import counted

__all__ = ["Joined", "join_rows"]

_TYPES = {"number": "DOUBLE", "text": "VARCHAR", "flag": "BOOLEAN", "time": "TIMESTAMP", EMPTY: "VARCHAR"}


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows of both logs: the SQL name of their relation, what they hold, and what to note."""

    relation: str
    rows: Rows
    notes: tuple[str, ...]


def join_rows(
    cursor: duckdb.DuckDBPyConnection, relation: str, rows: Rows, *, added: pa.Table, more: Rows, label: str
) -> Joined:
    """A view over a log's events and further ones. What stays in a file stays there.

    Events keep the ids they have, or would have had alone, so that nothing that is named by them gets another name. An
    event that stands in both counts once; of two with one id the first received counts.

    Args:
        cursor: on the log's database.
        relation: the log's events, each once.
        rows: what they hold.
        added: the further events with all columns of `more`, event_id among them.
        more: what those hold.
        label: of the further events, for notes.
    """
    mark = uuid4().hex[:12]
    table, view = f"added_{mark}", f"joined_{mark}"
    cursor.register("arriving_events", added)
    run(cursor, f"CREATE TABLE {table} AS SELECT *, row_number() OVER () - 1 AS row FROM arriving_events")
    cursor.unregister("arriving_events")
    own = "event_id" if rows.has_event_ids else event_id(rows.properties, given=False)
    notes, kept = _each_once(cursor, relation, table, own=own, given=rows.has_event_ids, label=label)
    kinds = dict(rows.properties)
    for prop, kind in more.properties.items():
        if kinds.get(prop, EMPTY) == EMPTY:
            kinds[prop] = kind
        elif kind not in (EMPTY, kinds[prop]):
            notes.append(f"property {prop!r} is {kinds[prop]} in the log and {kind} in {label}: read as text")
            kinds[prop] = "text"
    (last,) = fetch_row(cursor, f"SELECT coalesce(max(row), -1) FROM {relation}")
    first = _select(kept, rows, kinds, identity=own, number="row")
    second = _select(table, more, kinds, identity="event_id", number=f"row + {last + 1}")
    run(cursor, f"CREATE VIEW {view} AS {first} UNION ALL {second}")
    return Joined(view, Rows(kinds, True, rows.lazy, True), tuple(notes))


def _each_once(
    cursor: duckdb.DuckDBPyConnection, relation: str, table: str, *, own: str, given: bool, label: str
) -> tuple[list[str], str]:
    """Take what the log has already out of the further events; notes, and the log without what they replace."""
    # An id made of what an event says holds when it was received: only that time of the log can hold it, too.
    near = "TRUE" if given else (
        f"received_at BETWEEN (SELECT min(received_at) FROM {table}) AND (SELECT max(received_at) FROM {table})"
    )  # fmt: skip
    both = f"both_{table}"
    run(
        cursor,
        f"CREATE TEMP TABLE {both} AS SELECT a.event_id, l.row, a.received_at < l.received_at AS replaces "
        f"FROM (SELECT {own} AS event_id, received_at, row FROM {relation} WHERE {near}) l "
        f"JOIN {table} a USING (event_id)",
    )
    known, replaced = fetch_row(cursor, f"SELECT count_if(NOT replaces), count_if(replaces) FROM {both}")
    notes = []
    if known:
        run(cursor, f"DELETE FROM {table} WHERE event_id IN (SELECT event_id FROM {both} WHERE NOT replaces)")
        notes.append(f"{counted(known, 'event')} of {label} already in the log: each counts once")
    if not replaced:
        run(cursor, f"DROP TABLE {both}")
        return notes, relation
    gone = f"replaced_{table}"
    run(cursor, f"CREATE TABLE {gone} AS SELECT row FROM {both} WHERE replaces")
    run(cursor, f"DROP TABLE {both}")
    notes.append(f"{counted(replaced, 'event')} of the log replaced by {label}, which received it earlier")
    return notes, f"(FROM {relation} ANTI JOIN {gone} USING (row))"


def _select(relation: str, rows: Rows, kinds: dict[str, str], *, identity: str, number: str) -> str:
    chosen = ["customer_id", "event", '"at"', "received_at", f"{identity} AS event_id"]
    for prop, kind in kinds.items():
        there = rows.properties.get(prop)
        value = "NULL" if there is None else name(prop)
        # A column that is as it should be is left alone: a cast would keep a file's statistics from being used.
        chosen.append(
            f"{value} AS {name(prop)}" if there == kind else f"CAST({value} AS {_TYPES[kind]}) AS {name(prop)}"
        )
    return f"SELECT {', '.join(chosen)}, CAST({number} AS BIGINT) AS row FROM {relation}"
