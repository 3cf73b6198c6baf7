"""A log's own database: how it is opened, and how answers come out of it as Arrow tables."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb
import pandas as pd
import pyarrow as pa

from toolkit.bars import Bar
from toolkit.errors import EventLogError, check_flag

__all__ = [
    "bar_of",
    "connect",
    "drop_view",
    "execute",
    "fetch",
    "fetch_frame",
    "fetch_row",
    "fetch_rows",
    "phase",
    "reading_bar",
    "run",
    "settle",
    "utc",
]

Answer = TypeVar("Answer")
_AGAIN = 0.05
_LOOK = 0.1
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
_END = 100.0
_OF_FILES = ("read file", "Parquet", "TProtocolException")


@dataclass(slots=True)
class _Reading:
    """The bar of a log that is being read, and where it stands, in percent, when the present phase ends."""

    bar: Bar
    end: float = _END

    def move_to(self, place: float) -> None:
        self.bar.update(max(0.0, place - self.bar.n))


_READING: ContextVar[_Reading | None] = ContextVar("reading", default=None)


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
    return Bar(total=_END, desc=words, bar_format=_BAR, disable=not shown, delay=0.5, miniters=0)


@contextmanager
def reading_bar(connection: duckdb.DuckDBPyConnection, *, shown: bool) -> Iterator[None]:
    """A bar that moves with what is asked of this connection meanwhile; `phase` tells it how far that is.

    On the main thread alone: what reads beside a person's work shows no bar.
    """
    check_flag(shown, name="progress")
    if not shown or threading.current_thread() is not threading.main_thread():
        yield
        return
    with bar_of(connection, "reading the log", shown=True) as bar:
        reading = _Reading(bar)
        token = _READING.set(reading)
        try:
            yield
            reading.move_to(_END)
        finally:
            _READING.reset(token)
            connection.execute("SET enable_progress_bar = false")


def phase(begin: float, end: float) -> None:
    """Tell the bar, where there is one, that it stands at so many percent, and where what comes next will end."""
    reading = _READING.get()
    if reading is not None:
        reading.move_to(begin)
        reading.end = end


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
    moved = _mover(cursor, bar)
    try:
        asked.start()
        while moved is not None and not wait([answer], timeout=_LOOK).done:
            moved()
        return answer.result()
    finally:
        while asked.is_alive() and not answer.done():  # a question that is only about to begin does not hear of it yet
            cursor.interrupt()
            wait([answer], timeout=_AGAIN)
        if asked.is_alive():
            asked.join()


def _mover(cursor: duckdb.DuckDBPyConnection, bar: Bar | None) -> Callable[[], None] | None:
    """What moves a bar while a statement is being done; None where there is none."""
    if bar is not None:
        return lambda: bar.update(max(0.0, round(cursor.query_progress()) - bar.n)) and None
    reading = _READING.get()
    if reading is None:
        return None
    # How many statements a phase has is not known: each takes the bar half the way to its end.
    begin, room = reading.bar.n, (reading.end - reading.bar.n) / 2
    return lambda: reading.move_to(begin + room * max(0.0, cursor.query_progress()) / _END)


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
