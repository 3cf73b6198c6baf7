"""While the database of a log is at work: Ctrl-C, the stop button of a notebook, and the progress bar."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from toolkit.events import EventLog
from toolkit.events.database import bar_of, connect, execute, fetch, fetch_rows, phase, reading_bar, run
from toolkit.events.replacing import swap

LONG = "SELECT sum(sqrt(a.range * b.range)) AS n FROM range(60000) a, range(60000) b"
"""A minute's work, which the database does in one task."""


@pytest.fixture
def stopped_soon() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs in the background ignores it
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("ask", [execute, fetch, fetch_rows, run])
def test_a_question_to_the_database_ends_within_moments_and_the_next_is_answered(
    stopped_soon: None, ask: Callable[[duckdb.DuckDBPyConnection, str], object]
) -> None:
    cursor = connect().cursor()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(cursor, LONG)
    assert time.monotonic() - began < 10
    assert "toolkit question" not in {thread.name for thread in threading.enumerate()}
    assert fetch_rows(cursor, "SELECT 1") == [(1,)]


def test_a_question_asked_in_a_thread_of_its_own_is_answered_there() -> None:
    cursor, found = connect().cursor(), list[object]()
    thread = threading.Thread(target=lambda: found.extend(fetch_rows(cursor, "SELECT 2")))
    thread.start()
    thread.join()
    assert found == [(2,)]


def test_a_stop_between_the_two_renames_of_a_store_leaves_the_old_one_where_it_was(tmp_path: Path) -> None:
    target, fresh = tmp_path / "store", tmp_path / "fresh"
    log = EventLog.from_pandas(pd.DataFrame({"customer_id": ["ana"], "event": "view", "at": ["2025-01-01T00:00Z"]}))
    log.save(target)

    class Stopping(type(fresh)):  # type: ignore[misc]
        def rename(self, target: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap(Stopping(fresh), target)
    assert len(EventLog.open(target)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("shown", [True, False])
def test_a_long_statement_shows_how_far_it_is(capsys: pytest.CaptureFixture[str], shown: bool) -> None:
    cursor = connect().cursor()
    with bar_of(cursor, "storing the log", shown=shown) as bar:
        execute(
            cursor, "CREATE TABLE n AS SELECT sum(sqrt(a.range * b.range)) FROM range(20000) a, range(20000) b", bar=bar
        )
    assert ("storing the log: " in capsys.readouterr().err) == shown


@pytest.mark.parametrize("shown", [True, False])
def test_reading_a_log_shows_how_far_it_is_and_only_ever_goes_on(
    capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    connection = connect()
    with reading_bar(connection, shown=shown):
        phase(40, 70)
        execute(connection, "CREATE TABLE n AS SELECT sum(sqrt(a.range * b.range)) FROM range(20000) a, range(20000) b")
        phase(30, 100)
        fetch_rows(connection, "SELECT sum(sqrt(a.range * b.range)) FROM range(5000) a, range(20000) b")
    said = capsys.readouterr().err
    percents = [int(one) for one in re.findall(r"reading the log: +(\d+)%", said)]
    assert bool(percents) == shown
    assert percents == sorted(percents)
    assert percents[-1:] == ([100] if shown else [])


def test_reading_in_a_thread_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> None:
        with reading_bar(connect(), shown=True):
            time.sleep(0.6)
            phase(50, 100)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("source", ["pandas", "csv", "parquet", "sql"])
def test_every_way_to_read_a_log_can_do_so_without_a_bar(tmp_path: Path, source: str) -> None:
    events = pd.DataFrame({"customer_id": ["ana"], "event": "view", "at": ["2025-01-01T00:00Z"]})
    events.to_csv(tmp_path / "events.csv", index=False)
    events.to_parquet(tmp_path / "events.parquet")
    with closing(sqlite3.connect(tmp_path / "events.db")) as database, database:
        events.to_sql("events", database, index=False)
    database.close()
    read = {
        "pandas": lambda: EventLog.from_pandas(events, progress=False),
        "csv": lambda: EventLog.from_csv(tmp_path / "events.csv", progress=False),
        "parquet": lambda: EventLog.from_parquet(tmp_path / "events.parquet", progress=False),
        "sql": lambda: EventLog.from_sql(f"sqlite:///{tmp_path / 'events.db'}", "events", progress=False),
    }
    assert len(read[source]()) == 1
