"""Property columns: plain columns as they are, texts of a file typed, and a JSON document opened into columns."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from toolkit.errors import EventLogError
from toolkit.events.database import fetch_row
from toolkit.events.kinds import (
    EMPTY,
    cast,
    is_nested,
    is_text,
    is_time,
    kind_of,
    plain,
    spelled_as,
    spellings,
    within_years,
    without_values,
)
from toolkit.events.naming import TAKEN, Naming, free_name
from toolkit.events.quoting import literal, name
from toolkit.events.sources import ROW, Source
from toolkit.events.times import from_aware, from_local, is_aware
from toolkit.readable import counted
from toolkit.tables import MAIL_PROPERTIES

__all__ = ["Opened", "Property", "open_properties"]

_MOST_KEYS = 1000
_DOCUMENT = "document values"
# In JSON, half of a sign that takes two, as where a program cut a text in the middle of one. First what is none: an
# escaped backslash, and a sign with both its halves.
_HALF = r"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_NUMBERS = frozenset(("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE"))


@dataclass(frozen=True, slots=True)
class Property:
    """One property: its name, its SQL on the opened relation, and its kind."""

    name: str
    sql: str
    kind: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Properties of a source.

    `relation` has the source's columns and what the properties' SQL needs; `plain` tells that every value is cheap
    to compute on each read.
    """

    relation: str
    properties: tuple[Property, ...]
    plain: bool
    notes: tuple[str, ...]


def open_properties(
    connection: duckdb.DuckDBPyConnection, source: Source, naming: Naming, *, zone: ZoneInfo | None
) -> Opened:
    """The properties of a source, typed.

    Raises:
        EventLogError: the JSON column holds something else than JSON objects, or more keys than names can be.
    """
    notes: list[str] = []
    texts: dict[str, tuple[str, bool]] = {}
    given: dict[str, tuple[str, str]] = {}
    for ours, theirs in naming.properties.items():
        if source.all_text:
            texts[ours] = (name(theirs), True)
        else:
            kind = source.columns[theirs]
            given[ours] = (within_years(connection, source.relation, name(theirs), kind), kind)
    relation = source.relation
    if naming.document is not None:
        relation, keys = _open_document(connection, source, naming.document, notes)
        taken = {column.casefold() for column in (*TAKEN, *naming.properties)}
        for place, (key, structure) in enumerate(keys.items(), start=1):
            called = free_name(key, taken)
            if called != key:
                notes.append(f"property {key!r} is called {called!r} here, because {key!r} has a meaning of its own")
            x = f"{name(_DOCUMENT)}[{place}]"
            if isinstance(structure, str) and (structure in _NUMBERS or structure == "VARCHAR"):
                texts[called] = (x, structure in _NUMBERS)
            else:
                given[called] = (cast(x, "BOOLEAN"), "BOOLEAN") if structure == "BOOLEAN" else (x, "VARCHAR")
    found = spellings(connection, relation, {ours: x for ours, (x, _) in texts.items()})
    for ours, (x, numbers) in texts.items():
        spelled = spelled_as(found[ours], numbers=numbers, zone=zone is not None)
        given[ours] = (cast(x, spelled), spelled)
    names = [*naming.properties, *(ours for ours in given if ours not in naming.properties)]
    properties = [_property(connection, relation, ours, *given[ours], zone=zone, notes=notes) for ours in names]
    if not source.typed:
        empty = without_values(connection, relation, {one.name: one.sql for one in properties})
        properties = [_without_value(one) if one.name in empty else one for one in properties]
    return Opened(
        relation, tuple(properties), plain=naming.document is None and not source.all_text, notes=tuple(notes)
    )


def _without_value(one: Property) -> Property:
    # What mails say is known before the first of them: a simulation asks its own for it.
    kind = MAIL_PROPERTIES.get(one.name, EMPTY)
    return replace(one, kind=kind, sql=f"CAST({one.sql} AS VARCHAR)" if kind == "text" else one.sql)


def _property(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    ours: str,
    x: str,
    kind: str,
    *,
    zone: ZoneInfo | None,
    notes: list[str],
) -> Property:
    if is_aware(kind):
        return Property(ours, from_aware(x), "time")
    if kind == "DATE":
        return Property(ours, f"CAST({x} AS TIMESTAMP)", "time")
    if is_time(kind):
        local = x if kind == "TIMESTAMP" else f"CAST({x} AS TIMESTAMP)"
        if zone is None:
            notes.append(f"property {ours!r} has times without a zone; read as UTC")
            return Property(ours, local, "time")
        first, last = fetch_row(connection, f"SELECT min({local}), max({local}) FROM {relation}")
        return Property(ours, from_local(local, zone, first, last), "time")
    return Property(ours, plain(x, kind), kind_of(kind))


def _open_document(
    connection: duckdb.DuckDBPyConnection, source: Source, column: str, notes: list[str]
) -> tuple[str, dict[str, Any]]:
    kind = source.columns[column]
    if not (is_text(kind) or is_nested(kind)):
        raise EventLogError(
            f"{source.label}: column {column!r} should hold JSON objects, found {kind}; "
            f"give it another name with columns={{'other_name': {column!r}}} to keep it as it is"
        )
    document = f"{name(column)}::VARCHAR" if is_text(kind) or kind == "JSON" else f"to_json({name(column)})::VARCHAR"
    x = name(column)
    wrong = (
        f"{x} IS NOT NULL AND coalesce(json_type(CASE WHEN json_valid({x}) THEN {x} END), '') NOT IN ('OBJECT', 'NULL')"
    )

    def looked_through(said: str) -> tuple[str, tuple[Any, ...]]:
        rows = f"(SELECT * EXCLUDE ({x}), nullif(trim({said}), '') AS {x} FROM {source.relation})"
        return rows, fetch_row(
            connection, f"SELECT count(*), min({ROW}), arg_min({x}, {ROW}) FROM {rows} WHERE {wrong}"
        )

    rows, bad = looked_through(document)
    if found := bad[0]:
        whole = f"regexp_replace({document}, {literal(_HALF)}, '\\1', 'g')"
        rows, bad = looked_through(f"CASE WHEN json_valid({document}) THEN {document} ELSE {whole} END")
        if mended := found - bad[0]:
            said = f"{counted(mended, 'value')} of {column!r} with half of a sign, as where a text was cut"
            notes.append(f"{said}; the half is left out")
    if bad[0]:
        raise EventLogError(
            f"{source.locate(bad[1])}: column {column!r} should hold a JSON object, found {bad[2][:80]!r}; "
            f"{counted(bad[0], 'value')} not a JSON object; give the column another name with "
            f"columns={{'other_name': {column!r}}} to keep it as text"
        )
    (structure,) = fetch_row(
        connection, f"SELECT json_group_structure({x}::JSON)::VARCHAR FROM {rows} WHERE {x} IS NOT NULL"
    )
    keys = json.loads(structure) if structure else {}
    if not isinstance(keys, dict):
        keys = {}
    if len(keys) > _MOST_KEYS:
        raise EventLogError(
            f"{source.label}: column {column!r} has {len(keys):,} different keys, for example "
            f"{', '.join(map(repr, list(keys)[:3]))}; at most {_MOST_KEYS:,} can become columns: "
            "keys should be names of properties, not values"
        )
    pointers = ", ".join(literal("/" + key.replace("~", "~0").replace("/", "~1")) for key in keys)
    values = f"json_extract_string({x}, [{pointers}])" if keys else "NULL"
    return f"(SELECT *, {values} AS {name(_DOCUMENT)} FROM {rows})", keys
