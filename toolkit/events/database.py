"""A log's own database: how it is opened, and how answers come out of it as Arrow tables."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import duckdb
import pandas as pd
import pyarrow as pa

from toolkit.bars import Bar
from toolkit.errors import EventLogError

__all__ = [
    "bar_of",
    "connect",
    "drop_view",
    "execute",
    "fetch",
    "fetch_frame",
    "fetch_row",
    "fetch_rows",
    "run",
    "settle",
    "utc",
]

Answer = TypeVar("Answer")
_AGAIN = 0.05
_LOOK = 0.1
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
_OF_FILES = ("read file", "Parquet", "TProtocolException")


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory of one log's own, in UTC, that never fetches extensions."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": os.path.join(tempfile.gettempdir(), f"toolkit-events-{os.getpid()}"),
        }
    )
    settle(connection)
    return connection


def settle(connection: duckdb.DuckDBPyConnection) -> None:
    """Put what holds for one connection or cursor alone: its zone, and no bar of its own in a notebook."""
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")


def fetch(cursor: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The answer to a query as an Arrow table."""
    with _files_at_hand():
        return _stoppable(cursor, lambda: cursor.sql(query).to_arrow_table())


def fetch_rows(cursor: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The answer to a query as a list of rows; the values are those of its question marks."""
    with _files_at_hand():
        rows: list[tuple[Any, ...]] = _stoppable(cursor, lambda: cursor.execute(query, values).fetchall())
        return rows


def run(cursor: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Have a statement done that reads the rows of a log, wherever they lie.

    Raises:
        EventLogError: a file of the log is gone or damaged.
    """
    with _files_at_hand():
        execute(cursor, statement)


def execute(cursor: duckdb.DuckDBPyConnection, statement: str, *, bar: Bar | None = None) -> duckdb.DuckDBPyConnection:
    """Have a statement done; faults come as the database tells them. Gives back the cursor, for its rows.

    A `bar_of` moves with it, on the main thread.
    """
    return _stoppable(cursor, lambda: cursor.execute(statement), bar=bar)


def bar_of(cursor: duckdb.DuckDBPyConnection, words: str, *, shown: bool) -> Bar:
    """A bar for statements of this cursor. It tells no time left: the database does not know it of a sort."""
    if shown:
        cursor.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    return Bar(total=100, desc=words, bar_format=_BAR, disable=not shown, delay=0.5)


def fetch_row(cursor: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The answer to a query that has exactly one row."""
    return fetch_rows(cursor, query)[0]


def fetch_frame(cursor: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    """The answer to a query as a frame, every time in it in UTC."""
    table = fetch(cursor, query)
    fields = [
        pa.field(field.name, pa.timestamp("us", "UTC") if pa.types.is_timestamp(field.type) else field.type)
        for field in table.schema
    ]
    frame: pd.DataFrame = table.cast(pa.schema(fields)).to_pandas()
    return frame


def utc(moment: Any) -> pd.Timestamp:
    """A moment as it comes out of the database, which holds UTC without saying so."""
    return pd.Timestamp(moment).tz_localize("UTC").as_unit("us")


def drop_view(connection: duckdb.DuckDBPyConnection, lock: threading.RLock, view: str) -> None:
    """Take a view away, if it is still there."""
    with lock, suppress(duckdb.Error):
        connection.cursor().execute(f"DROP VIEW IF EXISTS {view}")


def _stoppable(cursor: duckdb.DuckDBPyConnection, ask: Callable[[], Answer], *, bar: Bar | None = None) -> Answer:
    """The answer to something asked; Ctrl-C, or the stop button of a notebook, ends it within moments.

    The database itself looks for signals only between its tasks, which may be seconds apart, and then says
    "Query interrupted" as a RuntimeError. So the main thread, which alone hears of signals, waits for another one.

    Raises:
        KeyboardInterrupt: it was stopped; nothing of it goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        return ask()
    answer: Future[Answer] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as fault:
            answer.set_exception(fault)

    asked = threading.Thread(target=work, name="toolkit question", daemon=True)
    try:
        asked.start()
        while bar is not None and not wait([answer], timeout=_LOOK).done:
            bar.update(max(0.0, round(cursor.query_progress()) - bar.n))
        return answer.result()
    finally:
        while asked.is_alive() and not answer.done():  # a question that is only about to begin does not hear of it yet
            cursor.interrupt()
            wait([answer], timeout=_AGAIN)
        if asked.is_alive():
            asked.join()


@contextmanager
def _files_at_hand() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as fault:
        said = str(fault).splitlines()[0]
        # A page that is damaged in the middle of a file comes as another kind of error than a file that is gone.
        if isinstance(fault, duckdb.IOException) or any(word in said for word in _OF_FILES):
            raise EventLogError(f"a file of this log can no longer be read: {said}") from fault
        raise
