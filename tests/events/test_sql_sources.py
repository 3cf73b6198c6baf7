"""Reading event logs from SQLite, DuckDB and PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import duckdb
import pandas as pd
import pytest

from toolkit.errors import EventLogError, NotSupportedError
from toolkit.events import EventLog
from toolkit.events.sql_sources import _CHUNK


@pytest.fixture
def sqlite_file(tmp_path):
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE events (customer_id, event TEXT, at TEXT, revenue, properties TEXT)")
        database.execute("CREATE TABLE people (customer_id INTEGER, email TEXT, consent INTEGER)")
        database.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [
                (1, "view", "2024-05-01 09:00", None, '{"product": "p1"}'),
                (1, "purchase", "2024-05-01 09:20", 20, None),
                (2, "purchase", "2024-05-02 18:30", 9.5, '{"product": "é"}'),
            ],
        )
        database.executemany("INSERT INTO people VALUES (?, ?, ?)", [(1, "a@example.org", 1), (2, None, 0)])
        database.commit()
    return path


class TestSqlite:
    def test_a_table_becomes_a_log_and_another_its_customers(self, sqlite_file):
        log = EventLog.from_sql(f"sqlite:///{sqlite_file}", "events", customers="people", zone="Europe/Paris")
        assert list(log.events["customer_id"]) == ["1", "1", "2"]
        assert log.properties == {"revenue": "number", "product": "text"}
        assert log.events["at"].iloc[0] == pd.Timestamp("2024-05-01 07:00", tz="UTC")
        assert list(log.customers["consent"]) == [True, False]

    def test_a_select_is_as_good_as_a_table(self, sqlite_file):
        query = "SELECT customer_id AS who, event, at FROM events WHERE event = 'purchase';"
        log = EventLog.from_sql(f"sqlite:///{sqlite_file}", query, columns={"customer_id": "who"}, zone="UTC")
        assert log.event_counts == {"purchase": 2}

    def test_a_table_that_is_not_there_names_the_nearest(self, sqlite_file):
        with pytest.raises(
            EventLogError, match=r"no such table: event; did you mean 'events'\?; tables found: events, people"
        ):
            EventLog.from_sql(f"sqlite:///{sqlite_file}", "event", zone="UTC")

    def test_a_file_that_another_program_writes_to_is_told_with_a_way_out(self, sqlite_file):
        with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(EventLogError, match="database is locked; another program writes to it: read it once"):
                EventLog.from_sql(f"sqlite:///{sqlite_file}", "events", zone="UTC")

    def test_two_columns_of_one_name_are_refused(self, sqlite_file):
        for more, said in (('event AS "At"', "'At', 'at' .upper and lower case are one name."), ("event", "'event'$")):
            with pytest.raises(EventLogError, match=f"SELECT: more than one column is called {said}"):
                EventLog.from_sql(f"sqlite:///{sqlite_file}", f"SELECT *, {more} FROM events", zone="UTC")

    def test_a_file_that_is_not_there_names_the_nearest_and_is_not_made(self, sqlite_file):
        wrong = sqlite_file.with_name("shops.db")
        with pytest.raises(EventLogError, match=r"did you mean '.*shop\.db'"):
            EventLog.from_sql(f"sqlite:///{wrong}", "events")
        assert not wrong.exists()

    def test_a_file_that_is_no_database_is_said_so(self, write):
        path = write("shop.db", "hello, this is a text and no database at all\n" * 50)
        with pytest.raises(EventLogError, match="not a database"):
            EventLog.from_sql(f"sqlite:///{path}", "events")

    def test_values_of_mixed_types_in_one_column_become_text(self, sqlite_file):
        with closing(sqlite3.connect(sqlite_file)) as database:
            database.execute("INSERT INTO events VALUES ('x7', 'view', '2024-05-03 10:00', 'free', NULL)")
            database.commit()
        log = EventLog.from_sql(f"sqlite:///{sqlite_file}", "events", zone="UTC")
        assert list(log.events["customer_id"]) == ["1", "1", "2", "x7"]
        assert log.properties["revenue"] == "text"

    def test_more_rows_than_one_chunk_all_arrive_in_order(self, tmp_path):
        path = tmp_path / "many.db"
        count = _CHUNK + 7
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE events (customer_id INTEGER, event TEXT, at INTEGER)")
            database.executemany(
                "INSERT INTO events VALUES (?, 'view', ?)", ((n, 1_700_000_000 + n) for n in range(count))
            )
            database.commit()
        log = EventLog.from_sql(f"sqlite:///{path}", "events")
        assert len(log) == count
        assert log.events["customer_id"].iloc[-1] == str(count - 1)

    @pytest.mark.parametrize(
        ("first", "last", "kind", "read"),
        [
            (7, 2.5, "number", 7.0),
            (7, "free", "text", "7"),
            (2.5, "free", "text", "2.5"),
            (None, 7, "number", None),
            (None, "free", "text", None),
            ("free", 7, "text", "free"),
            (7, b"free", "text", "7"),
            ("free", "CAST(x'e9' AS TEXT)", "text", "free"),
        ],
    )
    def test_a_value_of_another_type_after_many_rows_is_read_as_it_would_be_among_the_first(
        self, tmp_path, first, last, kind, read
    ):
        path = tmp_path / "many.db"
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE events (customer_id INTEGER, event TEXT, at INTEGER, said)")
            rows = ((n, 1_700_000_000 + n, first) for n in range(_CHUNK + 3))
            database.executemany("INSERT INTO events VALUES (?, 'view', ?, ?)", rows)
            told = last if isinstance(last, str) and last.startswith("CAST") else "?"
            database.execute(
                f"INSERT INTO events VALUES (0, 'view', 1800000000, {told})", [last] if told == "?" else []
            )
            database.commit()
        log = EventLog.from_sql(f"sqlite:///{path}", "events")
        assert (len(log), log.properties["said"]) == (_CHUNK + 4, kind)
        said = log.events["said"]
        assert (None if pd.isna(said.iloc[0]) else said.iloc[0]) == read
        ends = {"CAST(x'e9' AS TEXT)": "\ufffd", b"free": "free"}
        assert said.iloc[-1] == ends.get(last, str(last) if kind == "text" else last)

    def test_an_empty_table_is_an_empty_log(self, tmp_path):
        path = tmp_path / "empty.db"
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE events (customer_id, event, at)")
        assert len(EventLog.from_sql(f"sqlite:///{path}", "events")) == 0


class TestDuckdb:
    @pytest.fixture
    def duckdb_file(self, tmp_path):
        path = tmp_path / "shop.duckdb"
        with duckdb.connect(str(path)) as database:
            database.execute(
                "CREATE TABLE events AS SELECT i AS customer_id, 'view' AS event, "
                "TIMESTAMPTZ '2024-05-01 09:00:00+02' AS \"at\", {'price': i} AS properties FROM range(3) t(i)"
            )
        return path

    def test_a_table_becomes_a_log(self, duckdb_file):
        log = EventLog.from_sql(f"duckdb:///{duckdb_file}", "events")
        assert sorted(log.events["customer_id"]) == ["0", "1", "2"]
        assert log.properties == {"price": "number"}
        assert log.span[0] == pd.Timestamp("2024-05-01 07:00", tz="UTC")

    def test_a_table_that_is_not_there_names_the_nearest(self, duckdb_file):
        with pytest.raises(EventLogError, match="did you mean 'events'"):
            EventLog.from_sql(f"duckdb:///{duckdb_file}", "event")

    def test_two_columns_of_one_name_are_refused(self, duckdb_file):
        for more, said in (('event AS "At"', "'At', 'at' .upper and lower case are one name."), ("event", "'event'$")):
            with pytest.raises(EventLogError, match=f"SELECT: more than one column is called {said}"):
                EventLog.from_sql(f"duckdb:///{duckdb_file}", f"SELECT *, {more} FROM events", zone="UTC")

    def test_a_database_that_is_open_elsewhere_is_told_with_a_way_out(self, duckdb_file):
        with duckdb.connect(str(duckdb_file)), pytest.raises(EventLogError, match="is open in this program or another"):
            EventLog.from_sql(f"duckdb:///{duckdb_file}", "events")

    @pytest.mark.parametrize(
        ("kind", "end"),
        [("DATE", "infinity"), ("TIMESTAMP", "infinity"), ("TIMESTAMPTZ", "12026-01-01"), ("TIMESTAMP_NS", None)],
    )
    def test_an_end_that_never_comes_is_in_the_year_9999(self, duckdb_file, kind, end):
        given = "NULL" if end is None else f"'{end}'"
        row = f"'a' AS customer_id, 'x' AS event, TIMESTAMPTZ '2025-01-01 00:00Z' AS at, {given}::{kind} AS ends"
        people = f"SELECT 'a' AS customer_id, {given}::{kind} AS ends"
        log = EventLog.from_sql(f"duckdb:///{duckdb_file}", f"SELECT {row} -- all of it", customers=people)
        ends = [log.events["ends"].iloc[0], pd.Timestamp(log.customers["ends"].iloc[0])]
        assert all(pd.isna(one) if end is None else one.year == 9999 for one in ends)

    def test_the_file_is_free_again_afterwards(self, duckdb_file):
        EventLog.from_sql(f"duckdb:///{duckdb_file}", "SELECT * FROM events")
        with duckdb.connect(str(duckdb_file)) as database:
            database.execute("DELETE FROM events")


class TestPostgres:
    @pytest.fixture
    def shop(self, postgres):
        psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
        with psycopg.connect(postgres) as database:
            database.execute("DROP TABLE IF EXISTS events")
            database.execute(
                "CREATE TABLE events (customer_id bigint, event text, at timestamptz, received_at timestamptz, "
                "revenue numeric, ok boolean, note text, properties jsonb)"
            )
            database.execute(
                "INSERT INTO events VALUES "
                "(1, 'view', '2024-05-01 09:00+02', NULL, NULL, true, '', '{\"product\": \"é, \\\"q\\\"\"}'), "
                "(2, 'purchase', '2024-05-02 18:30:00.123456Z', '2024-05-02 19:00Z', 9.50, false, E'two\\nlines', "
                "NULL), "
                "(2, 'purchase', '2024-05-03 18:30Z', NULL, 20, NULL, NULL, '{}')"
            )
        return postgres

    def test_a_table_becomes_a_log_with_its_types(self, shop):
        log = EventLog.from_sql(shop, "events")
        assert log.properties == {"revenue": "number", "ok": "flag", "note": "text", "product": "text"}
        events = log.events.sort_values("at", ignore_index=True)
        assert list(events["customer_id"]) == ["1", "2", "2"]
        assert events["at"].iloc[1] == pd.Timestamp("2024-05-02 18:30:00.123456", tz="UTC")
        assert events["received_at"].iloc[1] == pd.Timestamp("2024-05-02 19:00", tz="UTC")
        assert events["product"].iloc[0] == 'é, "q"'
        assert events["note"].iloc[0] == ""
        assert events["note"].iloc[1] == "two\nlines"
        assert pd.isna(events["note"].iloc[2])
        assert events["revenue"].iloc[1] == 9.5

    def test_a_select_and_a_schema_name_work(self, shop):
        assert len(EventLog.from_sql(shop, "public.events")) == 3
        assert len(EventLog.from_sql(shop, "SELECT * FROM events WHERE event = 'view'")) == 1

    def test_two_columns_of_one_name_are_refused(self, shop):
        for more, said in (('event AS "At"', "'At', 'at' .upper and lower case are one name."), ("event", "'event'$")):
            with pytest.raises(EventLogError, match=f"SELECT: more than one column is called {said}"):
                EventLog.from_sql(shop, f"SELECT *, {more} FROM events", zone="UTC")

    def test_ids_of_many_digits_keep_them_and_an_end_that_never_comes_is_one(self, shop):
        rows = "(9007199254740993, 'infinity'::timestamptz), (9007199254740992, NULL)"
        chosen = "id::numeric(20, 0) AS customer_id, 'x' AS event, now() AS at, ends"
        query = f"SELECT {chosen} FROM (VALUES {rows}) t(id, ends)"
        events = EventLog.from_sql(shop, query).events.sort_values("customer_id", ignore_index=True)
        assert list(events["customer_id"]) == ["9007199254740992", "9007199254740993"]
        assert events["ends"].iloc[1].year == 9999
        assert pd.isna(events["ends"].iloc[0])

    def test_a_whole_number_that_is_none_is_missing(self, shop):
        query = (
            "SELECT 1 AS customer_id, 'x' AS event, now() AS at, 'NaN'::numeric(5, 0) AS v, '-- no comment' AS w -- all"
        )
        assert pd.isna(EventLog.from_sql(shop, query).events["v"].iloc[0])

    def test_a_time_that_cannot_be_read_is_one_error(self, shop):
        with pytest.raises(EventLogError, match=r"SELECT: a value cannot be read: .*0044"):
            EventLog.from_sql(shop, "SELECT 1 AS customer_id, 'x' AS event, '0044-03-15 BC'::timestamptz AS at")

    def test_the_dialect_of_sqlalchemy_is_understood(self, shop):
        assert len(EventLog.from_sql(shop.replace("postgresql://", "postgresql+psycopg://"), "events")) == 3

    def test_a_table_that_is_not_there_names_the_nearest(self, shop):
        with pytest.raises(EventLogError, match="relation \"event\" does not exist; did you mean 'events'"):
            EventLog.from_sql(shop, "event")

    def test_a_server_that_refuses_is_an_error_without_the_password(self, shop):
        port = shop.rpartition(":")[2].split("/")[0]
        with pytest.raises(EventLogError) as fault:
            EventLog.from_sql(f"postgresql://tester:s3cret@127.0.0.1:{port}/nowhere", "events")
        assert "nowhere" in str(fault.value)
        assert "s3cret" not in str(fault.value)


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1/shop", "shop.db", 7])
def test_another_kind_of_database_is_refused_by_name(url):
    with pytest.raises(NotSupportedError, match=r"from_sql does not read .*allowed: sqlite:///"):
        EventLog.from_sql(url, "events")
