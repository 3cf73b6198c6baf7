"""The time columns of an event log: whatever form they come in, UTC comes out, or one clear error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from toolkit.errors import EventLogError, shown
from toolkit.events.database import execute
from toolkit.events.kinds import finite, is_number, is_text, is_time
from toolkit.events.quoting import literal, name
from toolkit.events.respelling import which_is_first
from toolkit.events.sources import ROW, Source
from toolkit.events.times import epoch, epoch_unit, epoch_words, from_aware, from_local, held, is_aware, text_has_offset
from toolkit.readable import counted

__all__ = ["Moment", "moment"]

# DuckDB would also take words such as epoch and infinity for times.
_DATED = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ].*)?"
_COUNTED = r"\d{9,19}([.]\d+)?"  # since 1970
_ALLOWED = (
    "allowed: ISO 8601 such as 2024-05-31 18:30:00 or 2024-05-31T18:30:00+02:00, timestamps, or whole numbers of "
    "seconds or milliseconds since 1970; make other forms times with pandas.to_datetime and use from_pandas"
)
_ALLOWED_IN_A_CSV_FILE = (
    "allowed: ISO 8601 such as 2024-05-31 18:30:00 or 2024-05-31T18:30:00+02:00, whole numbers of seconds or "
    "milliseconds since 1970, or the form that date_format= says, for example date_format='day first' or "
    "date_format='%d.%m.%y %H:%M'"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time column made UTC: its SQL, whether it is plain enough to compute on every read, and what to note."""

    sql: str
    plain: bool
    notes: tuple[str, ...] = ()


def moment(
    connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, *, ours: str, zone: ZoneInfo | None
) -> Moment:
    """SQL of a source's column as UTC TIMESTAMP.

    Args:
        connection: with session time zone UTC.
        source: the rows.
        theirs: the column's name there.
        ours: at or received_at.
        zone: the declared zone of local times.

    Raises:
        EventLogError: a value is not a time; a local time and no zone; numbers of no clear unit.
    """
    kind = source.columns[theirs]
    x = name(theirs)
    if is_aware(kind):
        _check_finite(connection, source, theirs, ours)
        return Moment(from_aware(x), plain=True)
    if is_time(kind) or kind == "DATE":
        return _local(connection, source, theirs, ours, zone)
    if is_number(kind):
        return _number(connection, source, theirs, ours, x)
    if is_text(kind):
        return _text(connection, source, theirs, ours, zone)
    raise EventLogError(f"{source.label}: column {theirs!r} ({ours}) should hold times, found {kind}; {_ALLOWED}")


def _allowed(source: Source) -> str:
    return _ALLOWED_IN_A_CSV_FILE if source.all_text else _ALLOWED


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = execute(connection, query).fetchone() or ()
    return row


def _local(
    connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, ours: str, zone: ZoneInfo | None
) -> Moment:
    _check_finite(connection, source, theirs, ours)
    x = f"{name(theirs)}::TIMESTAMP" if source.columns[theirs] != "TIMESTAMP" else name(theirs)
    first, last, count = _one(connection, f"SELECT min({x}), max({x}), count({name(theirs)}) FROM {source.relation}")
    if not count:
        return Moment(x, plain=True)
    if zone is None:
        raise EventLogError(_needs_zone(source.label, theirs, ours, count, first))
    return Moment(from_local(x, zone, first, last), plain=True, notes=(_zone_note(ours, zone),))


def _zone_note(ours: str, zone: ZoneInfo) -> str:
    return f"{ours}: times without a zone are read as {zone.key}"


def _check_finite(connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, ours: str) -> None:
    kind = "TIMESTAMPTZ" if is_aware(source.columns[theirs]) else "TIMESTAMP"
    x = name(theirs)
    # Of a file this reads no more than its smallest and largest value.
    first, last, early, late = _one(
        connection,
        f"SELECT isfinite(min({x})::{kind}), isfinite(max({x})::{kind}), min({x})::{kind} < {kind} '0001-01-01', "
        f"max({x})::{kind} >= {kind} '10000-01-01' FROM {source.relation}",
    )
    if first is False or last is False:
        raise EventLogError(f"{source.label}: column {theirs!r} ({ours}) holds infinite times; {_ALLOWED}")
    if early or late:
        (example,) = _one(connection, f"SELECT ({'min' if early else 'max'}({x}))::VARCHAR FROM {source.relation}")
        raise EventLogError(
            f"{source.label}: column {theirs!r} ({ours}) holds times outside the years 1 to 9999, for example {example}"
        )


def _needs_zone(where: str, theirs: str, ours: str, count: int, example: datetime | str) -> str:
    return (
        f"{where}: column {theirs!r} ({ours}) has {counted(count, 'time')} without a time zone, "
        f"for example {example}; say which zone they are in, for example zone='Europe/Paris' or zone='UTC'"
    )


def _number(connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, ours: str, x: str) -> Moment:
    given = x
    if source.columns[theirs] in ("FLOAT", "DOUBLE"):
        given = finite(x)
    first, last, *rows = _one(
        connection,
        f"SELECT min({given}), max({given}), arg_min({ROW}, {given}), arg_max({ROW}, {given}) FROM {source.relation}",
    )
    if first is None:
        return Moment("NULL::TIMESTAMP", plain=True)
    unit = epoch_unit(float(first), float(last))
    if unit is None:
        least, most = (
            f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, Decimal) else value for value in (first, last)
        )
        here, there = map(source.locate, rows)
        raise EventLogError(
            f"{source.label}: column {theirs!r} ({ours}) holds numbers from {least} ({here}) to {most} ({there}), "
            f"which are not clearly seconds, milliseconds or microseconds since 1970; {_allowed(source)}"
        )
    note = f"{ours}: numbers in column {theirs!r} are read as {epoch_words(unit)} since 1970"
    return Moment(epoch(given, unit), plain=True, notes=(note,))


def _text(
    connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, ours: str, zone: ZoneInfo | None
) -> Moment:
    x = name(theirs) if source.columns[theirs] == "VARCHAR" else f"{name(theirs)}::VARCHAR"
    aware = f"TRY_CAST({x} AS TIMESTAMPTZ)"
    good = f"(regexp_full_match({x}, '{_DATED}') AND coalesce(isfinite({aware}), false))"
    offset = text_has_offset(x)
    local = f"TRY_CAST({x} AS TIMESTAMP)"
    far = f"({aware} >= TIMESTAMPTZ '10000-01-01' OR {aware} < TIMESTAMPTZ '0001-01-01')"
    given, digits, times, naive, first, last, outside = _one(
        connection,
        f"SELECT count({x}), count(*) FILTER (regexp_full_match({x}, {literal(_COUNTED)})), count(*) FILTER ({good}), "
        f"count(*) FILTER ({good} AND NOT {offset}), min({local}) FILTER ({good} AND NOT {offset}), "
        f"max({local}) FILTER ({good} AND NOT {offset}), count(*) FILTER ({good} AND {far}) FROM {source.relation}",
    )
    if given and digits == given:
        return _number(connection, source, theirs, ours, f"{x}::DECIMAL(38, 9)")
    if times < given:
        row, value = _one(
            connection,
            f"SELECT {ROW}, {x} FROM {source.relation} WHERE {x} IS NOT NULL AND NOT {good} ORDER BY {ROW} LIMIT 1",
        )
        raise EventLogError(
            f"{source.locate(row)}: column {theirs!r} ({ours}) should hold times, found {shown(value)}; not a time in "
            f"{counted(given - times, 'row')} of {given:,}; "
            + (which_is_first(connection, source, theirs, value) or _allowed(source))
        )
    if naive and zone is None:
        row, example = _one(
            connection,
            f"SELECT {ROW}, {x} FROM {source.relation} WHERE {good} AND NOT {offset} ORDER BY {ROW} LIMIT 1",
        )
        where = source.locate(row) if naive < given else source.label
        raise EventLogError(_needs_zone(where, theirs, ours, naive, example))
    utc = held(from_aware(aware)) if outside else from_aware(aware)
    if naive and zone is not None:
        utc = f"CASE WHEN {offset} THEN {utc} ELSE {from_local(local, zone, first, last)} END"
    notes = (_zone_note(ours, zone),) if naive and zone is not None else ()
    return Moment(utc, plain=False, notes=notes)
