"""From a source to the rows of an event log: named, typed, in UTC, checked, each event once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb
import pandas as pd

from toolkit.errors import EventLogError, is_one_of, shown
from toolkit.events.canonical import event_id
from toolkit.events.database import execute, fetch_row, fetch_rows, phase
from toolkit.events.duplicates import same_ids, same_rows
from toolkit.events.kinds import identifier
from toolkit.events.naming import Naming, name_columns
from toolkit.events.properties import Opened, open_properties
from toolkit.events.quoting import name
from toolkit.events.respelling import in_plain_form
from toolkit.events.sources import ROW, Source, check_digits, first_line, let_go
from toolkit.events.time_columns import Moment, moment
from toolkit.events.times import check_zone
from toolkit.readable import counted

__all__ = ["EVENTS", "QUARANTINE", "Rows", "assemble"]

EVENTS = "events"
QUARANTINE = "quarantine"
_ROWS = "rows_read"
_REPEATS = "repeated_rows"
_ANONYMOUS = ("error", "drop")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a log in its connection.

    Attributes:
        properties: name to kind.
        has_event_ids: ids were given, and each stands once.
        lazy: rows stay in the file.
        counted_once: exact duplicates are gone from `EVENTS`.
        notes: what was repaired.
        names: names of the events, sorted, where they were met while the rows were checked.
        span: first and last received_at, UTC, where they were met then; None of an empty log.
    """

    properties: Mapping[str, str]
    has_event_ids: bool
    lazy: bool
    counted_once: bool
    notes: tuple[str, ...] = field(default=())
    names: tuple[str, ...] | None = None
    span: tuple[pd.Timestamp, pd.Timestamp] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the events in order, without the row number."""
        given = ("event_id",) if self.has_event_ids else ()
        return ("customer_id", "event", "at", "received_at", *given, *self.properties)


def assemble(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    zone: str | None,
    columns: Mapping[str, str] | None,
    anonymous: str = "error",
) -> Rows:
    """Make the table or view `EVENTS` of a source.

    Args:
        connection: the log's own.
        source: rows as they came.
        zone: IANA zone of local times.
        columns: our name to theirs.
        anonymous: "error" or "drop": what to do with rows without a customer_id.

    Raises:
        EventLogError: the rows cannot be used as they are.
    """
    if not is_one_of(anonymous, _ANONYMOUS):
        raise EventLogError(f"anonymous={shown(anonymous)}; allowed: 'error', 'drop'")
    try:
        return _assemble(connection, source, zone=zone, columns=columns, anonymous=anonymous)
    except duckdb.Error as fault:
        raise EventLogError(f"{source.label}: {first_line(fault)}") from fault


def _assemble(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    zone: str | None,
    columns: Mapping[str, str] | None,
    anonymous: str,
) -> Rows:
    local = check_zone(zone)
    naming = name_columns(source.columns, columns, source.label)
    notes = [*source.notes, *naming.notes]
    times = {ours: theirs for ours, theirs in naming.base.items() if ours in ("at", "received_at")}
    texts = {theirs for theirs in (*naming.base.values(), naming.document) if theirs is not None}
    phase(40, 70)
    source = in_plain_form(connection, source, times=times, texts=texts - set(times.values()), notes=notes)
    at = moment(connection, source, naming.base["at"], ours="at", zone=local)
    received = None
    if "received_at" in naming.base:
        received = moment(connection, source, naming.base["received_at"], ours="received_at", zone=local)
    opened = open_properties(connection, source, naming, zone=local)
    notes += [*at.notes, *(received.notes if received else ()), *opened.notes]
    lazy = source.lazy and at.plain and opened.plain and (received is None or received.plain)

    query = _rows_query(connection, source, naming, opened, times=(at, received), notes=notes)
    if anonymous == "drop":
        query = _without_anonymous(connection, source, naming, query, notes)
    phase(60, 100)
    if lazy:
        connection.execute(f"CREATE VIEW {_ROWS} AS {query}")
    else:  # in the order of the source, which the database keeps; to sort the rows again would take them twice
        execute(connection, f"CREATE TABLE {_ROWS} AS {query}")
    phase(80, 100)
    _check(connection, source)
    properties = {prop.name: prop.kind for prop in opened.properties}
    given = "event_id" in naming.base
    names, span = None, None
    if lazy and not given:  # where ids may take events out, what is left is looked at when it is asked for
        names, span = _look_through(connection, source, naming, opened, times=(at, received), notes=notes)
    elif received is not None:
        _note_early(connection, opened, at, received, notes)
    let_go(connection)
    once = _count_once(connection, properties, given=given, lazy=lazy, notes=notes)
    return Rows(properties, given, lazy, once, tuple(notes), names, span)


def _rows_query(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    naming: Naming,
    opened: Opened,
    *,
    times: tuple[Moment, Moment | None],
    notes: list[str],
) -> str:
    at, received = times
    chosen = [
        f"{_identity(connection, source, naming.base['customer_id'], 'customer_id', notes)} AS customer_id",
        f"{identifier(name(naming.base['event']), source.columns[naming.base['event']])} AS event",
        f'{at.sql} AS "at"',
    ]
    if received is not None:
        chosen.append(f'greatest({received.sql}, {at.sql}) AS "received_at"')
    else:
        chosen.append(f'{at.sql} AS "received_at"')
    if "event_id" in naming.base:
        theirs = naming.base["event_id"]
        chosen.append(f"{_identity(connection, source, theirs, 'event_id', notes)} AS event_id")
    chosen += [f"{prop.sql} AS {name(prop.name)}" for prop in opened.properties]
    return f"SELECT {', '.join(chosen)}, {ROW}::BIGINT AS row FROM {opened.relation}"


def _identity(connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, ours: str, notes: list[str]) -> str:
    x = name(theirs)
    if not source.all_text:
        check_digits(connection, source, theirs, ours)
        return identifier(x, source.columns[theirs])
    # A spreadsheet writes whole ids as 17850.0 as soon as one is missing.
    given, whole = fetch_row(
        connection, f"SELECT count({x}), count(*) FILTER (regexp_full_match({x}, '[0-9]+[.]0+')) FROM {source.relation}"
    )
    if given and given == whole:
        notes.append(f"{ours}: every value ends in '.0' and is read as the whole number before it")
        return f"split_part({x}, '.', 1)"
    return x


def _without_anonymous(
    connection: duckdb.DuckDBPyConnection, source: Source, naming: Naming, query: str, notes: list[str]
) -> str:
    theirs = naming.base["customer_id"]
    known = f"coalesce({identifier(name(theirs), source.columns[theirs])}, '') <> ''"
    (dropped,) = fetch_row(connection, f"SELECT count(*) FROM {source.relation} WHERE NOT ({known})")
    if not dropped:
        return query
    notes.append(f"{counted(dropped, 'row')} without a customer_id dropped")
    return f"SELECT * FROM ({query}) WHERE customer_id <> ''"


def _check(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    rows, customers, events, times = fetch_row(
        connection, f'SELECT count(*), count(customer_id), count(event), count("at") FROM {_ROWS}'
    )
    empty = {}
    for column in ("customer_id", "event"):
        # On a file this reads only the parts that can hold an empty text.
        (empty[column],) = fetch_row(connection, f"SELECT count(*) FROM {_ROWS} WHERE {column} = ''")
    faults = []
    if rows - customers + empty["customer_id"]:
        faults.append(
            _which(connection, source, "customer_id", rows - customers + empty["customer_id"])
            + "; to leave such rows out say anonymous='drop'"
        )
    if rows - events + empty["event"]:
        faults.append(_which(connection, source, "event", rows - events + empty["event"]))
    if rows - times:
        faults.append(_which(connection, source, "at", rows - times))
    if faults:
        raise EventLogError("; ".join(faults))


def _which(connection: duckdb.DuckDBPyConnection, source: Source, column: str, count: int) -> str:
    missing = f"{name(column)} IS NULL" + ("" if column == "at" else f" OR {column} = ''")
    first = execute(connection, f"SELECT row FROM {_ROWS} WHERE {missing} ORDER BY row LIMIT 3").fetchall()
    where = "; ".join(source.locate(row) for (row,) in first)
    return f"{column} is missing or empty in {counted(count, 'row')} ({where}{', …' if count > 3 else ''})"


def _note_early(
    connection: duckdb.DuckDBPyConnection, opened: Opened, at: Moment, received: Moment, notes: list[str]
) -> None:
    early, unknown = fetch_row(
        connection,
        f"SELECT count(*) FILTER (({received.sql}) < ({at.sql})), count(*) FILTER (({received.sql}) IS NULL) "
        f"FROM {opened.relation}",
    )
    _note_receipt(early, unknown, notes)


def _look_through(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    naming: Naming,
    opened: Opened,
    *,
    times: tuple[Moment, Moment | None],
    notes: list[str],
) -> tuple[tuple[str, ...], tuple[pd.Timestamp, pd.Timestamp] | None]:
    """Names of the events and their span, and notes on when they were received, in one reading of the files."""
    at, received = times
    known = identifier(name(naming.base["customer_id"]), source.columns[naming.base["customer_id"]])
    event = identifier(name(naming.base["event"]), source.columns[naming.base["event"]])
    told = received.sql if received is not None else at.sql
    found = fetch_rows(
        connection,
        "SELECT event, count(*) FILTER (told < happened), count(*) FILTER (told IS NULL), "
        "epoch_us(min(greatest(told, happened))), epoch_us(max(greatest(told, happened))) "
        f"FROM (SELECT {event} AS event, {at.sql} AS happened, {told} AS told FROM {opened.relation} "
        f"WHERE coalesce({known}, '') <> '') GROUP BY event ORDER BY event",
    )
    _note_receipt(sum(row[1] for row in found), sum(row[2] for row in found), notes)
    names = tuple(row[0] for row in found)
    if not found:
        return names, None
    first, last = min(row[3] for row in found), max(row[4] for row in found)
    return names, (pd.Timestamp(first, unit="us", tz="UTC"), pd.Timestamp(last, unit="us", tz="UTC"))


def _note_receipt(early: int, unknown: int, notes: list[str]) -> None:
    if early:
        notes.append(f"{counted(early, 'event')} received before at, the moment it happened; at is taken instead")
    if unknown:
        notes.append(f"{counted(unknown, 'event')} without received_at; at is taken instead")


def _count_once(
    connection: duckdb.DuckDBPyConnection, properties: Mapping[str, str], *, given: bool, lazy: bool, notes: list[str]
) -> bool:
    """Make `EVENTS`; True when exact duplicates are gone from it."""
    shape = "*"
    if given:
        known, rows = fetch_row(connection, f"SELECT count(event_id), count(*) FROM {_ROWS}")
        if known < rows:
            notes.append(f"{counted(rows - known, 'event')} without event_id; a hash of the event is taken instead")
            shape = f"* REPLACE ({event_id(properties, given=True)} AS event_id)"
    connection.execute(f"CREATE VIEW {EVENTS} AS SELECT {shape} FROM {_ROWS}")
    if given:
        same, different = same_ids(connection, EVENTS, properties, into=_REPEATS, quarantine=QUARANTINE)
        if same:
            notes.append(
                f"{counted(same, 'repetition')} of an event (same event_id, same payload) left out: each counts once"
            )
        if different:
            notes.append(
                f"{counted(different, 'event')} with the event_id of another and another payload: the first received "
                "counts, the rest is in .quarantine"
            )
        repeats = same + different
    elif lazy:
        return False
    else:
        columns = ("customer_id", "event", "at", "received_at", *properties)
        repeats = same_rows(connection, EVENTS, columns, into=_REPEATS)
        if repeats:
            notes.append(f"{counted(repeats, 'exact repetition')} of a row left out: each counts once")
    if repeats:
        connection.execute(
            f"CREATE OR REPLACE VIEW {EVENTS} AS SELECT {shape} FROM {_ROWS} ANTI JOIN {_REPEATS} USING (row)"
        )
    return True
