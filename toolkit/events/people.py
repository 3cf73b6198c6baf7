"""The customers table: one row per customer, consent as a flag, dates as dates, nested values as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.arrow import TableLike
from toolkit.errors import EventLogError, did_you_mean, shown
from toolkit.events.csv_forms import ISO, CsvForm
from toolkit.events.database import execute, fetch, fetch_row
from toolkit.events.kinds import (
    EMPTY,
    cast,
    identifier,
    is_text,
    is_time,
    kind_of,
    plain,
    spelled_as,
    spellings,
    within_years,
)
from toolkit.events.naming import check_distinct, is_index, suggestion
from toolkit.events.quoting import name
from toolkit.events.respelling import in_plain_form
from toolkit.events.sources import (
    ROW,
    PathOrPaths,
    Source,
    check_digits,
    csv_source,
    find_files,
    first_line,
    frame_source,
    let_go,
    parquet_source,
)
from toolkit.events.times import from_aware, from_local, is_aware
from toolkit.readable import counted

__all__ = ["Customers", "People", "newer_people", "no_people", "people_of", "read_people"]

Customers = TableLike | PathOrPaths
_TEXTS = ("email", "timezone", "locale")
_NAME_YOURS = "name yours with columns={'customers.customer_id': ...}"
_YES = ("true", "t", "yes", "y", "1", "1.0", "ja", "oui")
_NO = ("false", "f", "no", "n", "0", "0.0", "nein", "non")


@dataclass(frozen=True, slots=True)
class People:
    """Customers as an Arrow table (customer_id first), the kind of each attribute, and what to note."""

    table: pa.Table
    attributes: dict[str, str]
    notes: tuple[str, ...]


def no_people() -> People:
    """No customers table at all."""
    table = pa.table({"customer_id": pa.array([], pa.string())})
    return People(table, {}, ("no customers table: addresses, consent, time zones and attributes are unknown",))


def newer_people(known: People, news: People) -> People:
    """Customers of two tables; of one who is in both the newer row counts, and an attribute only one has may be empty.

    Raises:
        EventLogError: an attribute is of one kind here and of another there.
    """
    if not len(news.table):
        return known
    if not len(known.table):
        return news
    kinds = dict(known.attributes)
    for attribute, kind in news.attributes.items():
        if kinds.get(attribute, EMPTY) == EMPTY:
            kinds[attribute] = kind
        elif kind not in (EMPTY, kinds[attribute]):
            raise EventLogError(
                f"customers: {attribute} is {kinds[attribute]} in the log and {kind} in the later one; "
                "give both the same kind"
            )
    known, news = (replace(one, table=_filled_in(one)) for one in (known, news))
    gone = pc.is_in(known.table.column("customer_id"), value_set=news.table.column("customer_id").combine_chunks())
    table = pa.concat_tables([known.table.filter(pc.invert(gone)), news.table], promote_options="permissive")
    return People(table, kinds, known.notes)


def _filled_in(people: People) -> pa.Table:
    """Customers without the types of empty columns, which say nothing, so that they fit any other."""
    table = people.table
    for place, column in enumerate(table.column_names):
        if people.attributes.get(column) == EMPTY:
            table = table.set_column(place, column, pa.nulls(len(table)))
    return table


def read_people(
    connection: duckdb.DuckDBPyConnection,
    customers: Customers | None,
    *,
    zone: ZoneInfo | None,
    columns: Mapping[str, str] | None = None,
    form: CsvForm = ISO,
) -> People:
    """The customers table from a frame or a file.

    Args:
        connection: with session time zone UTC; the table `incoming` in it is used.
        customers: a DataFrame or Arrow table, or a CSV or Parquet path, list or pattern; None for none.
        zone: the declared zone of local times; dates are left alone.
        columns: our name to theirs.
        form: of CSV files.

    Raises:
        EventLogError: no customer_id, a column that is not there, missing or repeated ids, or a consent that is neither
            yes nor no.
    """
    if customers is None:
        if columns:
            said = ", ".join(f"'customers.{ours}'" for ours in columns)
            raise EventLogError(f"columns= names {said}, and there is no customers table; give customers=")
        return no_people()
    return people_of(connection, _source(connection, customers, columns or {}, form), zone=zone, columns=columns)


def people_of(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    zone: ZoneInfo | None,
    columns: Mapping[str, str] | None = None,
) -> People:
    """The customers table from rows as they came; see `read_people`."""
    try:
        return _people_of(connection, _renamed(source, columns or {}), zone=zone)
    except duckdb.Error as fault:
        raise EventLogError(f"{source.label}: {first_line(fault)}") from fault


def _people_of(connection: duckdb.DuckDBPyConnection, source: Source, *, zone: ZoneInfo | None) -> People:
    label = source.label
    if "customer_id" not in source.columns:
        near = suggestion("customer_id", list(source.columns))
        hint = f"did you mean columns={{'customers.customer_id': {near!r}}}?" if near else _NAME_YOURS
        found = ", ".join(source.columns) or "none"
        raise EventLogError(f"{label}: column 'customer_id' is missing; {hint}; columns found: {found}")
    notes: list[str] = []
    source = in_plain_form(connection, source, times={}, texts={"customer_id", "consent", *_TEXTS}, notes=notes)
    check_digits(connection, source, "customer_id", "customer_id")
    columns = _columns(connection, source, zone, notes)
    _check_ids(connection, source, columns["customer_id"][0])
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, (sql, _) in columns.items())
    table = _tidy(fetch(connection, f"SELECT {chosen} FROM {source.relation} ORDER BY {ROW}"))
    let_go(connection)
    notes += [
        f"the customers table has no column {column!r}: {without}"
        for column, without in (
            ("email", "nobody can be mailed"),
            ("consent", "nobody is known to have agreed to mail"),
        )
        if column not in columns
    ]
    attributes = {column: kind for column, (_, kind) in columns.items() if column != "customer_id"}
    if not source.typed:
        empty = {column for column in attributes if table.column(column).null_count == len(table)}
        attributes |= dict.fromkeys(empty - {"consent", *_TEXTS}, EMPTY)
    return People(table, attributes, tuple(notes))


def _renamed(source: Source, columns: Mapping[str, str]) -> Source:
    """The rows with our names for their columns."""
    if not columns:
        return source
    faults = []
    for ours, theirs in columns.items():
        if theirs not in source.columns:
            hint = did_you_mean(theirs, source.columns)
            faults.append(f"columns={{'customers.{ours}': {theirs!r}}}: there is no column {theirs!r}{hint}")
    ours_of = {theirs: ours for ours, theirs in columns.items()}
    if len(ours_of) < len(columns):
        faults.append("columns= gives one column of the customers two names")
    if faults:
        raise EventLogError(f"{source.label}: {'; '.join(faults)}; columns found: {', '.join(source.columns)}")
    names = {theirs: ours_of.get(theirs, theirs) for theirs in source.columns}
    check_distinct(list(names.values()), source.label)
    chosen = ", ".join([ROW, *(f"{name(theirs)} AS {name(ours)}" for theirs, ours in names.items())])
    kinds = {names[theirs]: kind for theirs, kind in source.columns.items()}
    return replace(source, relation=f"(SELECT {chosen} FROM {source.relation})", columns=kinds)


def _source(
    connection: duckdb.DuckDBPyConnection, customers: Customers, columns: Mapping[str, str], form: CsvForm
) -> Source:
    if isinstance(customers, TableLike):
        return frame_source(connection, customers, "customers", index=("customer_id", *columns.values()))
    if not isinstance(customers, str | PathLike) and not _is_paths(customers):
        raise EventLogError(f"customers: expected a DataFrame or a path, found {type(customers).__name__}")
    files = find_files(customers, folder_pattern="**/*.parquet")
    endings = {Path(file).suffix.lower() for file in files}
    if endings <= {".parquet", ".pq"}:
        return parquet_source(connection, files)
    if endings & {".parquet", ".pq"}:
        raise EventLogError(f"customers: CSV and Parquet files mixed: {', '.join(files[:5])}")
    return csv_source(connection, files, form)


def _is_paths(customers: object) -> bool:
    return isinstance(customers, list | tuple) and all(isinstance(path, str | PathLike) for path in customers)


def _columns(
    connection: duckdb.DuckDBPyConnection, source: Source, zone: ZoneInfo | None, notes: list[str]
) -> dict[str, tuple[str, str]]:
    """Our column to its SQL and kind, customer_id first."""
    texts = {
        column: f"{name(column)}::VARCHAR"
        for column, kind in source.columns.items()
        if is_text(kind) and not source.typed and column not in ("customer_id", "consent", *_TEXTS)
    }
    found = spellings(connection, source.relation, texts)
    columns = {"customer_id": (identifier(name("customer_id"), source.columns["customer_id"]), "text")}
    for column, kind in source.columns.items():
        x = name(column)
        spelled = kind
        if column == "customer_id" or is_index(column):
            continue
        if column in _TEXTS:
            columns[column] = (identifier(x, kind), "text")
            continue
        if column == "consent":
            columns[column] = (_consent(connection, source, kind), "flag")
            continue
        if column in texts:
            x = texts[column]
            spelled = spelled_as(found[column], numbers=source.all_text, zone=zone is not None)
            if spelled != "VARCHAR" and not source.all_text:
                notes.append(f"customers: texts in column {column!r} are read as {_words(spelled)}")
            x = cast(x, spelled)
        else:
            x = within_years(connection, source.relation, x, kind)
        columns[column] = _attribute(connection, source, x, spelled, zone)
    return columns


def _words(spelled: str) -> str:
    return "dates" if spelled == "DATE" else "times"


def _attribute(
    connection: duckdb.DuckDBPyConnection, source: Source, x: str, kind: str, zone: ZoneInfo | None
) -> tuple[str, str]:
    if kind == "DATE":
        return x, "time"
    if is_aware(kind):
        return from_aware(x), "time"
    if is_time(kind):
        x = x if kind == "TIMESTAMP" else f"CAST({x} AS TIMESTAMP)"
        midnights, given, first, last = fetch_row(
            connection,
            f"SELECT count(*) FILTER ({x} = date_trunc('day', {x})), count({x}), min({x}), max({x}) "
            f"FROM {source.relation}",
        )
        if given and midnights == given:
            # pandas keeps dates as midnights; a birthday must not move to the day before with a zone.
            return f"CAST({x} AS DATE)", "time"
        return (x if zone is None else from_local(x, zone, first, last)), "time"
    return plain(x, kind), kind_of(kind)


def _consent(connection: duckdb.DuckDBPyConnection, source: Source, kind: str) -> str:
    x = name("consent")
    if kind == "BOOLEAN":
        return x
    word = f"nullif(lower(trim({x}::VARCHAR)), '')"
    word = f"CASE WHEN {word} IN ('nan', 'none', 'null') THEN NULL ELSE {word} END"
    allowed = ", ".join(repr(value) for value in (*_YES, *_NO))
    wrong = execute(
        connection,
        f"SELECT count(*) OVER (), {ROW}, {x}::VARCHAR FROM {source.relation} "
        f"WHERE ({word}) NOT IN ({allowed}) ORDER BY {ROW} LIMIT 1",
    ).fetchone()
    if wrong:
        found = shown(wrong[2])
        raise EventLogError(
            f"{source.locate(wrong[1])}: column 'consent' should be yes or no, found {found}; "
            f"{counted(wrong[0], 'value')} of that sort; allowed: true, false, yes, no, ja, nein, oui, non, 1, 0 "
            f"or missing; with pandas, frame['consent'].map({{{found}: True or False, …}}) says what yours mean"
        )
    return f"({word}) IN ({', '.join(map(repr, _YES))})"


def _check_ids(connection: duckdb.DuckDBPyConnection, source: Source, customer: str) -> None:
    missing = execute(
        connection,
        f"SELECT count(*) OVER (), {ROW} FROM {source.relation} "
        f"WHERE coalesce({customer}, '') = '' ORDER BY {ROW} LIMIT 1",
    ).fetchone()
    if missing:
        raise EventLogError(
            f"{source.locate(missing[1])}: customer_id is missing or empty in {counted(missing[0], 'row')}"
        )
    twice = execute(
        connection,
        f"SELECT id, count(*), min(place) FROM (SELECT {customer} AS id, {ROW} AS place FROM {source.relation}) "
        "GROUP BY id HAVING count(*) > 1 ORDER BY min(place)",
    ).fetchall()
    if twice:
        raise EventLogError(
            f"{source.label}: customer_id must be unique; {len(twice):,} ids stand in more than one row, for example "
            + ", ".join(f"{identity!r} ({count} rows)" for identity, count, _ in twice[:3])
            + "; keep one row of each: with pandas, frame.drop_duplicates('customer_id', keep='last')"
        )


def _tidy(table: pa.Table) -> pa.Table:
    """Times carry UTC, dates stay dates, texts are plain strings."""
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", "UTC")
        elif pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
            kind = pa.string()
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))
