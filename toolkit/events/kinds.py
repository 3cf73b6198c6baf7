"""Kinds of values: from a database type to number, text, flag or time, and from text to the type it spells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb

from toolkit.events.database import execute
from toolkit.events.times import is_aware, text_has_offset

__all__ = [
    "EMPTY",
    "Spelling",
    "cast",
    "finite",
    "identifier",
    "inexact",
    "is_nested",
    "is_number",
    "is_text",
    "is_time",
    "kind_of",
    "plain",
    "spelled_as",
    "spellings",
    "within_years",
    "without_values",
]

EMPTY = "empty"
"""The kind of a column without a value: it can be compared with anything, and nothing comes of it."""

_INTEGERS = frozenset(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"))
_WIDE = frozenset(("UBIGINT", "HUGEINT", "UHUGEINT"))
_FLOATS = frozenset(("FLOAT", "DOUBLE"))
_NUMBER = r"[+-]?(\d+[.]?\d*|[.]\d+)([eE][+-]?\d+)?"
_WHOLE = r"-?(0|[1-9]\d{0,17})"
_LEADING_ZERO = r"[+-]?0\d.*"
_LONG_WHOLE = r"[+-]?\d{19,}"
_DATE = r"\d{4}-\d{2}-\d{2}"
_MOMENT = r"\d{4}-\d{2}-\d{2}[T ]\d{1,2}:\d{2}.*"
_KINDS = ("given", "number", "whole", "flag", "date", "moment", "aware")
_LOOK = 2000  # rows
_EXACT = 2**53
"""From here on a float may stand for several whole numbers."""


def is_number(kind: str) -> bool:
    """The database type holds numbers."""
    return kind in _INTEGERS or kind in _WIDE or kind in _FLOATS or _is_decimal(kind)


def _is_decimal(kind: str) -> bool:
    return kind.startswith("DECIMAL") and not is_nested(kind)


def is_time(kind: str) -> bool:
    """The database type holds moments, with a zone or without."""
    return kind.startswith("TIMESTAMP") and not is_nested(kind)


def is_text(kind: str) -> bool:
    """The database type holds text."""
    return kind == "VARCHAR" or kind.startswith("ENUM")


def is_nested(kind: str) -> bool:
    """The database type holds lists, objects or JSON."""
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")) or kind in ("JSON", "VARIANT")


def kind_of(kind: str) -> str:
    """number, flag, time or text, and empty for the type that has no values.

    >>> kind_of("BIGINT"), kind_of("TIMESTAMP"), kind_of("TIMESTAMP[]"), kind_of("UUID")
    ('number', 'time', 'text', 'text')
    """
    if is_number(kind):
        return "number"
    if kind == "BOOLEAN":
        return "flag"
    if kind == '"NULL"':
        return EMPTY
    return "time" if kind == "DATE" or is_time(kind) else "text"


def plain(expression: str, kind: str) -> str:
    """SQL of the same value in one of the few types a log holds.

    NaN and infinity are missing; nested values become JSON text. Times are left to the caller, who knows the zone.
    """
    if kind in _FLOATS:
        return finite(f"{expression}::DOUBLE")
    if kind in _WIDE or _is_decimal(kind):
        return f"{expression}::DOUBLE"
    if kind == "JSON":
        return f"{expression}::VARCHAR"
    if is_nested(kind):
        return f"to_json({expression})::VARCHAR"
    if kind in _INTEGERS or kind in ("BOOLEAN", "VARCHAR"):
        return expression
    return f"{expression}::VARCHAR"


def finite(expression: str) -> str:
    """SQL of a DOUBLE where NaN and infinity are missing.

    A comparison with NaN would not do: over Parquet the optimiser trusts the file's smallest and largest value,
    which leave NaN out, and takes the comparison for false.
    """
    return f"CASE WHEN isfinite({expression}) THEN {expression} END"


def identifier(expression: str, kind: str) -> str:
    """SQL of an id as text: whole numbers without a decimal point, NaN as missing, text untouched."""
    if kind == "VARCHAR":
        return expression
    if _is_decimal(kind):  # not by way of a DOUBLE, which keeps sixteen digits of an id
        text = f"{expression}::VARCHAR"
        return (
            f"CASE WHEN {expression} = trunc({expression}) THEN split_part({text}, '.', 1) ELSE rtrim({text}, '0') END"
        )
    if kind in _FLOATS:
        number = finite(f"{expression}::DOUBLE")
        return (
            f"CASE WHEN ({number}) = trunc({number}) AND abs({number}) < 1e18 "
            f"THEN ({number})::BIGINT::VARCHAR ELSE ({number})::VARCHAR END"
        )
    if is_nested(kind):
        return f"to_json({expression})::VARCHAR"
    return f"{expression}::VARCHAR"


def inexact(x: str, kind: str) -> str | None:
    """SQL flag: an id that is a float of more digits than a float keeps; None where the type keeps them all."""
    return f"isfinite({x}) AND abs({x}) >= {_EXACT if kind == 'DOUBLE' else 2**24}" if kind in _FLOATS else None


def within_years(connection: duckdb.DuckDBPyConnection, relation: str, expression: str, kind: str) -> str:
    """SQL of a value of this type; of a time held to the years 1 to 9999, where one is outside: infinity means no end
    anywhere."""
    if not (kind == "DATE" or is_time(kind)):
        return expression
    kind = "TIMESTAMPTZ" if is_aware(kind) else "DATE" if kind == "DATE" else "TIMESTAMP"
    x = f"({expression})::{kind}"
    first, last = f"{kind} '0001-01-01'", f"{kind} '9999-12-31{'' if kind == 'DATE' else ' 23:59:59.999999'}'"
    outside = execute(connection, f"SELECT min({x}) < {first} OR max({x}) > {last} FROM {relation}").fetchone()
    held = f"CASE WHEN {x} > {last} THEN {last} WHEN {x} < {first} THEN {first} ELSE {x} END"
    return held if outside and outside[0] else expression


def without_values(connection: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, str]) -> Collection[str]:
    """The columns (name to SQL) that have no value in any row; where the first rows have one, no more are read."""
    asked = list(columns)
    for rows in (f"(SELECT * FROM {relation} LIMIT {_LOOK})", relation):
        if not asked:
            break
        counts = ", ".join(f"count({columns[column]})" for column in asked)
        found = execute(connection, f"SELECT {counts} FROM {rows}").fetchone() or ()
        asked = [column for column, count in zip(asked, found, strict=True) if not count]
    return frozenset(asked)


@dataclass(frozen=True, slots=True)
class Spelling:
    """What the texts of one column spell, as counts of its values.

    What its first values show that it cannot spell without exception is not counted, and is 0.
    """

    given: int
    number: int
    whole: int
    flag: int
    date: int
    moment: int
    aware: int


def spellings(connection: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, str]) -> dict[str, Spelling]:
    """For each column (name to SQL of type VARCHAR), how many of its values spell what.

    A look at some rows settles most of it: a column is read as numbers where every text of it spells one, so one name
    among them ends that question. What is still open is asked of all rows, in one pass.
    """
    found: dict[str, Spelling] = {}
    names = list(columns)
    for first in range(0, len(names), 100):
        part = {column: columns[column] for column in names[first : first + 100]}
        early = _counted(connection, f"(SELECT * FROM {relation} LIMIT {_LOOK})", part, {})
        found |= _counted(connection, relation, part, early)
    return found


def _counted(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, str], early: Mapping[str, Spelling]
) -> dict[str, Spelling]:
    asked = {
        (column, kind): count
        for column, x in columns.items()
        for kind, count in _spelling_counts(x).items()
        if column not in early or kind in _open(early[column])
    }
    counts = execute(connection, f"SELECT {', '.join(asked.values())} FROM {relation}").fetchone() or ()
    told = dict(zip(asked, counts, strict=True))
    return {column: Spelling(*(told.get((column, kind), 0) for kind in _KINDS)) for column in columns}


def _open(early: Spelling) -> set[str]:
    """What a column may still spell without exception, after a look at some of its values."""
    kinds = {kind for kind in _KINDS if getattr(early, kind) == early.given}
    return kinds | {"given"} | ({"aware"} if "moment" in kinds else set())


def _spelling_counts(x: str) -> dict[str, str]:
    moment = f"regexp_full_match({x}, '{_MOMENT}') AND isfinite(TRY_CAST({x} AS TIMESTAMPTZ))"
    return {
        "given": f"count({x})",
        "number": f"count(*) FILTER (regexp_full_match({x}, '{_NUMBER}') "
        f"AND NOT regexp_full_match({x}, '{_LEADING_ZERO}') AND NOT regexp_full_match({x}, '{_LONG_WHOLE}'))",
        "whole": f"count(*) FILTER (regexp_full_match({x}, '{_WHOLE}'))",
        "flag": f"count(*) FILTER (lower({x}) IN ('true', 'false'))",
        "date": f"count(*) FILTER (regexp_full_match({x}, '{_DATE}') AND TRY_CAST({x} AS DATE) IS NOT NULL)",
        "moment": f"count(*) FILTER ({moment})",
        "aware": f"count(*) FILTER ({moment} AND {text_has_offset(x)})",
    }


def spelled_as(spelling: Spelling, *, numbers: bool, zone: bool) -> str:
    """The type a column's texts spell without exception.

    Args:
        spelling: counts of the column's values.
        numbers: whether numbers and flags are looked for, as in a file where all is text.
        zone: whether local times are allowed, because a zone is declared.

    Returns:
        BIGINT, DOUBLE, BOOLEAN, DATE, TIMESTAMPTZ (all with an offset), TIMESTAMP (all local) or VARCHAR.
    """
    given = spelling.given
    if not given:
        return "VARCHAR"
    if numbers and spelling.whole == given:
        return "BIGINT"
    if numbers and spelling.number == given:
        return "DOUBLE"
    if numbers and spelling.flag == given:
        return "BOOLEAN"
    if spelling.date == given:
        return "DATE"
    if spelling.moment == given and spelling.aware == given:
        return "TIMESTAMPTZ"
    if spelling.moment == given and spelling.aware == 0 and zone:
        return "TIMESTAMP"
    return "VARCHAR"


def cast(expression: str, spelled: str) -> str:
    """SQL of a text as the type it spells."""
    return expression if spelled == "VARCHAR" else f"CAST({expression} AS {spelled})"
