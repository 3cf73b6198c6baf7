"""Columns of CSV files brought into plain form: dates as ISO 8601, numbers with a decimal point."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import duckdb

from toolkit.errors import EventLogError, shown
from toolkit.events.csv_forms import DATE, FORMATS, is_decimal, with_point
from toolkit.events.database import execute, fetch_row
from toolkit.events.quoting import name
from toolkit.events.sources import ROW, Source
from toolkit.readable import counted

__all__ = ["in_plain_form", "which_is_first"]

_LOOK = 2000  # rows
_AT_ONCE = 100  # columns
_BEGINS = rf"^\s*{DATE}"
_PARTS = ((1, "a"), (2, "b"), (3, "y"))
_MONTHS = 12
_DAY_FIRST = {"day": "date_format='day first'", "month": "date_format='month first'"}
_DAY_FIRST_IN_A_FRAME = {
    "day": "pandas.to_datetime(…, dayfirst=True) and from_pandas",
    "month": "pandas.to_datetime(…, dayfirst=False) and from_pandas",
}


def in_plain_form(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    times: Mapping[str, str],
    texts: Collection[str],
    notes: list[str],
) -> Source:
    """The rows of CSV files in plain form, where it was said that the files have another.

    A column is brought into it where every value has the form that was said; other columns stay as they are.

    Args:
        connection: the log's own.
        source: the rows.
        times: our name to theirs of columns that hold times.
        texts: columns that are texts whatever stands in them.
        notes: what was done is added to them.

    Raises:
        EventLogError: of the values of a time some have the form and some have not; names the first.
    """
    form = source.form
    others = [column for column in source.columns if column not in texts and column not in times.values()]
    of_the_form: dict[str, str] = {}
    dates: list[str] = []
    if form.date_format is not None:
        of_the_form = {ours: theirs for ours, theirs in times.items() if _holds_some(connection, source, theirs)}
        dates = [*of_the_form.values()]
        dates += _where_all(connection, source, others, lambda x: (f"({form.iso(x)}) IS NOT NULL",) * 2)
    spelled = {column: form.iso(name(column)) for column in dates}
    if form.decimal == ",":
        others = [column for column in others if column not in dates]
        numbers = _where_all(connection, source, others, lambda x: (is_decimal(x), f"regexp_matches({x}, '[.,]')"))
        spelled |= {column: with_point(name(column)) for column in numbers}
    if not spelled:
        return source
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in spelled.items())
    execute(connection, f"CREATE TABLE spelled AS SELECT * REPLACE ({chosen}) FROM {source.relation}")
    for ours, theirs in of_the_form.items():
        _check_kept(connection, source, ours, theirs)
    if dates:
        notes.append(f"dates are read {form.words}: {', '.join(dates)}")
    if len(spelled) > len(dates):
        numbers = [column for column in spelled if column not in dates]
        notes.append(f"numbers are read with a decimal comma (1.234,50 is 1234.5): {', '.join(numbers)}")
    execute(connection, "DROP TABLE incoming; ALTER TABLE spelled RENAME TO incoming")
    return replace(source, relation="incoming")


def _holds_some(connection: duckdb.DuckDBPyConnection, source: Source, theirs: str) -> bool:
    """Whether a value of a column is such a time; mostly one of the first is."""
    for rows in (f"(SELECT * FROM {source.relation} LIMIT {_LOOK})", source.relation):
        if fetch_row(connection, f"SELECT count({source.form.iso(name(theirs))}) FROM {rows}")[0]:
            return True
    return False


def _check_kept(connection: duckdb.DuckDBPyConnection, source: Source, ours: str, theirs: str) -> None:
    """Nothing where every value of a column of times had the form that was said.

    Raises:
        EventLogError: some had not, and are missing now.
    """
    form, x = source.form, name(theirs)
    (given,) = fetch_row(connection, f"SELECT count({x}) FROM {source.relation}")
    (good,) = fetch_row(connection, f"SELECT count({x}) FROM spelled")
    if good == given:
        return
    row, value = fetch_row(
        connection,
        f"SELECT {ROW}, {x} FROM {source.relation} "
        f"WHERE {x} IS NOT NULL AND ({form.iso(x)}) IS NULL ORDER BY {ROW} LIMIT 1",
    )
    raise EventLogError(
        f"{source.locate(row)}: column {theirs!r} ({ours}) should hold times {form.words}, found {shown(value)}; no "
        f"such time in {counted(given - good, 'row')} of {given:,}; date_format={form.date_format!r} holds for all "
        f"values of a column; {FORMATS}"
    )


def _where_all(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    columns: Sequence[str],
    flags: Callable[[str], tuple[str, str]],
) -> list[str]:
    """The columns of which all values have the first of two flags, and at least one the second."""
    found = list(columns)
    for rows in (f"(SELECT * FROM {source.relation} LIMIT {_LOOK})", source.relation):
        asked, found = found, []
        for first in range(0, len(asked), _AT_ONCE):
            part = asked[first : first + _AT_ONCE]
            counts = ", ".join(
                f"count({x}), count(*) FILTER ({every}), count(*) FILTER ({some})"
                for x, (every, some) in ((name(column), flags(name(column))) for column in part)
            )
            told = iter(fetch_row(connection, f"SELECT {counts} FROM {rows}"))
            found += [
                column
                for column, given, good, telling in zip(part, told, told, told, strict=True)
                if good == given and (telling or rows is not source.relation)
            ]
    return found


def which_is_first(connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, found: str) -> str | None:
    """What to say of dates such as 03/04/2026 in a column of times; None where the text that was found is none.

    Args:
        connection: the log's own.
        source: the rows.
        theirs: the column.
        found: the first of its texts that is no time.
    """
    if not re.match(_BEGINS, found):
        return None
    x = name(theirs)
    parts = ", ".join(f"TRY_CAST(regexp_extract({x}, '{_BEGINS}', {at}) AS INT) AS {part}" for at, part in _PARTS)
    first, second, *example = fetch_row(
        connection,
        f"SELECT max(a), max(b), {', '.join(f'arg_min({part}, place) FILTER (a <> b)' for part in 'xaby')} "
        f"FROM (SELECT {x} AS x, {ROW} AS place, {parts} FROM {source.relation})",
    )
    said = _DAY_FIRST if source.all_text else _DAY_FIRST_IN_A_FRAME
    if first > _MONTHS and second > _MONTHS:
        return "some values have the day first and some the month: no one reading fits all; write them as 2026-05-31"
    if first > _MONTHS or second > _MONTHS:
        order, number = ("day", first) if first > _MONTHS else ("month", second)
        if source.form.date_format == f"{order} first":
            return f"date_format={source.form.date_format!r} is said, but no such time can be; {FORMATS}"
        return f"these dates have the {order} first, since {number} is no month; say so: {said[order]}"
    if example[0] is None:
        return f"say whether such dates have the day or the month first: {said['day']} or {said['month']}"
    text, one, other, year = example
    return (
        f"{text!r} is {year}-{other:02}-{one:02} with the day first and {year}-{one:02}-{other:02} with the month "
        f"first; say which it is: {said['day']} or {said['month']}"
    )
