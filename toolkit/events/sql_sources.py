"""Rows of a table or a SELECT in SQLite, PostgreSQL or DuckDB.

DuckDB's own extensions for SQLite and PostgreSQL are fetched from a server at run time, which a locked-down machine
cannot do; so SQLite is read with the standard library, and PostgreSQL with psycopg and COPY.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb
import numpy as np
import pyarrow as pa

from toolkit.errors import EventLogError, NotSupportedError, nearest, path_text, shown
from toolkit.events.database import execute, phase
from toolkit.events.naming import check_distinct, is_unicode
from toolkit.events.quoting import literal, name
from toolkit.events.sources import ROW, Source, columns_of, first_line, no_such_file

__all__ = ["POSTGRES_TYPES", "database_source", "postgres_connection", "query_of", "refused_by_postgres"]

_RENAMED = re.compile(r".*:\d+", re.DOTALL)  # what SQLite makes of a name that is taken
_SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_CHUNK = 50_000
_FORMS = "sqlite:///shop.db, postgresql://user@host/database or duckdb:///shop.duckdb"
_OPEN_ELSEWHERE = ("Unique file handle conflict", "Conflicting lock")
_NUMERIC = 1700
_MOST_DIGITS = 38
POSTGRES_TYPES = {
    16: "BOOLEAN",
    20: "BIGINT",
    21: "BIGINT",
    23: "BIGINT",
    700: "DOUBLE",
    701: "DOUBLE",
    _NUMERIC: "DOUBLE",
    1082: "DATE",
    1114: "TIMESTAMP",
    1184: "TIMESTAMP WITH TIME ZONE",
}


def database_source(connection: duckdb.DuckDBPyConnection, url: str, table: str) -> Source:
    """Rows of a table or a SELECT, copied into memory.

    Args:
        connection: the log's own database.
        url: sqlite:///file, postgresql://user@host/database or duckdb:///file; four slashes for an absolute path.
        table: a table's name, also schema.table, or a SELECT.

    Raises:
        EventLogError: no such file or table, or the database refuses; names the nearest table.
        NotSupportedError: another kind of database.
    """
    if not isinstance(table, str) or not table.strip():
        raise EventLogError(f"table={shown(table)}; allowed: a table's name, also 'schema.table', or a SELECT")
    kind = urlsplit(url).scheme.partition("+")[0] if isinstance(url, str) else ""
    if kind == "sqlite":
        return _sqlite(connection, _file(url), table)
    if kind == "duckdb":
        return _duckdb(connection, _file(url), table)
    if kind in ("postgresql", "postgres"):
        return _postgres(connection, url, table)
    found = f"{kind}://" if kind else shown(url)
    raise NotSupportedError(f"from_sql does not read {found}; allowed: {_FORMS}")


def _file(url: str) -> str:
    path = unquote(url.partition("://")[2])
    if not path.startswith("/") or path == "/":
        raise EventLogError(f"{shown(url)} names no file; allowed: {_FORMS}")
    file = path_text(path[1:], name="url", error=EventLogError)
    if not Path(file).is_file():
        raise EventLogError(no_such_file(file))
    return file


def query_of(table: str) -> str:
    """A SELECT as it is; of a table's name, one of all its rows."""
    if not is_unicode(table):
        raise EventLogError(f"table: found {shown(table)}; allowed: a name or a SELECT in valid Unicode")
    if _SELECT.match(table):
        query = table.strip().rstrip(";")
        return f"{query}\n" if "--" in query else query  # what stands after it is no part of a comment
    return "SELECT * FROM " + ".".join(name(part) for part in table.split("."))


def _label(database: str, table: str) -> str:
    return f"{database}, {'SELECT' if _SELECT.match(table) else table}"


def _refused(database: str, table: str, fault: Exception, tables: list[str]) -> EventLogError:
    said = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
    near = nearest(table, tables)
    hint = f"; did you mean {near!r}?" if near and near != table else ""
    if said == "database is locked":
        hint = "; another program writes to it: read it once that is done, or read a copy"
    listed = f"; tables found: {', '.join(tables[:12]) or 'none'}" if tables or hint else ""
    return EventLogError(f"{_label(database, table)}: {said}{hint}{listed}")


def _sqlite(connection: duckdb.DuckDBPyConnection, file: str, table: str) -> Source:
    query = query_of(table)
    with closing(sqlite3.connect(f"{Path(file).resolve().as_uri()}?mode=ro", uri=True)) as database:
        try:
            database.execute("BEGIN")  # so that what is written meanwhile is in none of the looks at it, or in all
            columns = [column[0] for column in database.execute(f"SELECT * FROM ({query}) LIMIT 0").description]
            if any(_RENAMED.fullmatch(column) for column in columns):
                written = [column[0] for column in database.execute(query).description]
                check_distinct(written, _label(file, table))
            (count,) = database.execute(f"SELECT count(*) FROM ({query})").fetchone()
            try:
                _insert(connection, columns, _sqlite_rows(database, query), expected=count)
            except _LookFirstError:
                # A text that is not UTF-8 is shown with a mark instead of stopping the whole read.
                database.text_factory = lambda raw: raw.decode("utf-8", "replace")
                types = _sqlite_types(database, query, columns)
                _insert(connection, columns, _sqlite_rows(database, query), expected=count, types=types)
        except sqlite3.Error as fault:
            raise _refused(file, table, fault, _sqlite_tables(database)) from fault
    return _incoming(connection, _label(file, table))


def _sqlite_tables(database: sqlite3.Connection) -> list[str]:
    try:
        rows = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
        return [row[0] for row in rows]
    except sqlite3.Error:
        return []


def _sqlite_types(database: sqlite3.Connection, query: str, columns: list[str]) -> list[pa.DataType]:
    """What each column really holds: SQLite lets every value have a type of its own."""
    held = ", ".join(f"group_concat(DISTINCT typeof({name(column)}))" for column in columns)
    found = database.execute(f"SELECT {held} FROM ({query})").fetchone()
    return [_type_of({_TYPES[kind] for kind in (kinds or "null").split(",")}) or pa.string() for kinds in found]


_TYPES: dict[str, type] = {"integer": int, "real": float, "text": str, "blob": bytes, "null": type(None)}


def _type_of(found: set[type]) -> pa.DataType | None:
    """The type that holds values of these types; None where none is there."""
    if str in found or bytes in found:
        return pa.string()
    if float in found:
        return pa.float64()
    return pa.int64() if int in found else None


def _sqlite_rows(database: sqlite3.Connection, query: str) -> Iterator[list[tuple[Any, ...]]]:
    cursor = database.execute(query)
    try:
        while rows := cursor.fetchmany(_CHUNK):
            yield rows
    except sqlite3.OperationalError as fault:
        if "decode" not in str(fault).lower():
            raise
        raise _LookFirstError from fault


class _LookFirstError(Exception):
    """Later values of a column are of another type than the first ones, or a text is not UTF-8."""


def _insert(
    connection: duckdb.DuckDBPyConnection,
    columns: list[str],
    chunks: Iterator[list[tuple[Any, ...]]],
    *,
    expected: int,
    types: list[pa.DataType] | None = None,
) -> None:
    """Rows put into `incoming`, each column as the type given, else as its first rows are.

    Raises:
        _LookFirstError: without types given, later rows are otherwise.
    """
    start = 0
    held: list[pa.DataType | None] = [None] * len(columns) if types is None else [*types]
    for rows in chunks:
        share = 40 * min(1, start / max(1, expected))
        phase(share, share)
        values = list(zip(*rows, strict=True))
        if types is None:
            found = [{*map(type, some)} for some in values]
            if start == 0:
                held = [_type_of(one) for one in found]
            elif not all(map(_fits, held, found)):
                raise _LookFirstError
        if start == 0:
            _make_incoming(connection, columns, held)
        arrays = [_array(some, kind) for some, kind in zip(values, held, strict=True)]
        arrays.append(pa.array(np.arange(start, start + len(rows))))
        connection.register("arriving", pa.table(arrays, names=[*columns, ROW.strip('"')]))
        execute(connection, "INSERT INTO incoming SELECT * FROM arriving")
        start += len(rows)
    if start == 0:
        _make_incoming(connection, columns, held)
    connection.unregister("arriving")


def _make_incoming(connection: duckdb.DuckDBPyConnection, columns: list[str], held: list[pa.DataType | None]) -> None:
    fields = [(column, kind or pa.string()) for column, kind in zip(columns, held, strict=True)]
    connection.register("arriving", pa.schema([*fields, (ROW.strip('"'), pa.int64())]).empty_table())
    execute(connection, "CREATE OR REPLACE TABLE incoming AS SELECT * FROM arriving")


def _fits(kind: pa.DataType | None, found: set[type]) -> bool:
    """Whether values of these types leave a column what it is; None is one without a value so far."""
    if kind is None:
        return found.isdisjoint((int, float))
    if pa.types.is_string(kind):
        return True
    return found <= ({int, float, type(None)} if pa.types.is_floating(kind) else {int, type(None)})


def _array(values: tuple[Any, ...], kind: pa.DataType | None) -> pa.Array:
    if kind is not None and not pa.types.is_string(kind):
        return pa.array(values, kind)
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # among the texts are numbers, or bytes that are none
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return repr(value)


def _duckdb(connection: duckdb.DuckDBPyConnection, file: str, table: str) -> Source:
    tables: list[str] = []
    try:
        connection.execute(f"ATTACH {literal(file)} AS attached (READ_ONLY)")
    except duckdb.Error as fault:
        if any(word in str(fault) for word in _OPEN_ELSEWHERE):
            raise EventLogError(
                f"{_label(file, table)}: the database is open in this program or another, which may write to it; close "
                "it, or give from_pandas what its own connection answers: connection.sql('SELECT …').df()"
            ) from fault
        raise _refused(file, table, fault, tables) from fault
    try:
        connection.execute("USE attached")
        tables = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
        described = connection.execute(f"DESCRIBE {query_of(table)}").fetchall()
        check_distinct([row[0] for row in described], _label(file, table))
        execute(
            connection,
            f"CREATE OR REPLACE TABLE memory.incoming AS SELECT *, (row_number() OVER ()) - 1 AS {ROW} "
            f"FROM ({query_of(table)})",
        )
    except duckdb.Error as fault:
        raise _refused(file, table, fault, tables) from fault
    finally:
        connection.execute("USE memory")
        connection.execute("DETACH attached")
    return _incoming(connection, _label(file, table))


def _postgres(connection: duckdb.DuckDBPyConnection, url: str, table: str) -> Source:
    psycopg = _psycopg()
    shown, plain_url = _shown(url), _plain(url)
    query = query_of(table)
    with tempfile.TemporaryDirectory(prefix="toolkit-events-") as folder:
        path = Path(folder) / "rows.csv"
        try:
            with psycopg.connect(plain_url, options="-c timezone=UTC -c datestyle=ISO") as database:
                database.read_only = True
                columns = _copy(database, query, path, _label(shown, table))
        except psycopg.Error as fault:
            raise refused_by_postgres(url, table, fault) from fault
        whole = {column: kind for column, kind in columns.items() if kind.startswith("DECIMAL")}
        texts = dict.fromkeys(whole, "VARCHAR")  # what is NaN there is missing here
        types = ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in {**columns, **texts}.items())
        tried = ", ".join(f"TRY_CAST({name(column)} AS {kind}) AS {name(column)}" for column, kind in whole.items())
        every = f"*, (row_number() OVER ()) - 1 AS {ROW}"
        chosen = every.replace("*", f"* REPLACE ({tried})", 1) if tried else every
        try:
            execute(
                connection,
                f"CREATE OR REPLACE TABLE incoming AS SELECT {chosen} FROM read_csv("
                f"{literal(str(path))}, columns={{{types}}}, auto_detect=false, header=false, delim=',', quote='\"', "
                "escape='\"', nullstr='', allow_quoted_nulls=false, max_line_size=100000000)",
            )
        except duckdb.Error as fault:
            raise EventLogError(f"{_label(shown, table)}: a value cannot be read: {first_line(fault)}") from fault
    return _incoming(connection, _label(shown, table))


def _psycopg() -> Any:
    try:
        return import_module("psycopg")
    except ImportError as fault:
        raise EventLogError(
            "reading PostgreSQL needs the package psycopg: install trigger-toolkit[postgres]"
        ) from fault


def _shown(url: str) -> str:
    address = urlsplit(url)
    return f"postgresql://{address.hostname or ''}{address.path}"


def _plain(url: str) -> str:
    return "postgresql" + url[url.index("://") :]


def refused_by_postgres(url: str, table: str, fault: Exception) -> EventLogError:
    """What PostgreSQL said of a table or a SELECT, and the nearest table."""
    return _refused(_shown(url), table, fault, _postgres_tables(_psycopg(), _plain(url)))


def postgres_connection(url: str, table: str) -> Any:
    """A connection that only reads, in one snapshot from its first statement on.

    Raises:
        EventLogError: psycopg is missing, or the database refuses.
    """
    psycopg = _psycopg()
    try:
        database = psycopg.connect(_plain(url), options="-c timezone=UTC -c datestyle=ISO")
    except psycopg.Error as fault:
        raise refused_by_postgres(url, table, fault) from fault
    database.read_only = True
    database.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return database


def _copy(database: Any, query: str, path: Path, label: str) -> dict[str, str]:
    """Copy a query's rows into a CSV file; its columns and their types."""
    cursor = database.cursor()
    described = cursor.execute(f"SELECT * FROM ({query}) AS wanted LIMIT 0").description
    check_distinct([column.name for column in described], label)
    columns = {column.name: _postgres_type(column) for column in described}
    with path.open("wb") as file, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as rows:
        for part in rows:
            phase(0, 40)
            file.write(part)
    return columns


def _postgres_type(column: Any) -> str:
    if column.type_code == _NUMERIC and column.scale == 0 and column.precision <= _MOST_DIGITS:
        return f"DECIMAL({column.precision}, 0)"  # whole, as ids of many digits are
    return POSTGRES_TYPES.get(column.type_code, "VARCHAR")


def _postgres_tables(psycopg: Any, url: str) -> list[str]:
    try:
        with psycopg.connect(url) as database:
            rows = database.execute(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
            )
            return [row[0] for row in rows]
    except psycopg.Error:
        return []


def _incoming(connection: duckdb.DuckDBPyConnection, label: str) -> Source:
    columns = columns_of(connection, "incoming")
    columns.pop(ROW.strip('"'))
    return Source("incoming", columns, ((label, 0),))
