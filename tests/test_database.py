"""One door to the ledger's and the answers' database: what is no place for them is told in the words of each."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from toolkit.database import Writing, connect
from toolkit.errors import AnswersError, LedgerError, NotSupportedError
from toolkit.sending import Ledger
from toolkit.tracking import Answers

ROOMS = [
    pytest.param(Ledger, LedgerError, "ledger", id="ledger"),
    pytest.param(Answers, AnswersError, "answers", id="answers"),
]


@pytest.mark.parametrize(("kind", "error", "word"), ROOMS)
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("sqlite://", "a database in memory forgets everything"),
        ("sqlite:///:memory:", "a database in memory forgets everything"),
        ("my sql://x", "'my sql' begins what is not a database URL"),
    ],
)
def test_what_is_no_place_is_told(kind, error, word, where, said):
    with pytest.raises(error, match=f"{word}: {said}"):
        kind.open(where)


@pytest.mark.parametrize(("kind", "error", "word"), ROOMS)
def test_places_that_cannot_be_are_told(kind, error, word, tmp_path):
    with pytest.raises(NotSupportedError, match=f"{word}: mysql is not supported"):
        kind.open("mysql://host/name")
    (tmp_path / "file").touch()
    with pytest.raises(error, match=rf"{word} .*below: cannot be opened: .+"):
        kind.open(tmp_path / "file" / "below")
    (tmp_path / "noise").write_bytes(b"no database" * 100)
    with pytest.raises(error, match=rf"{word} .*noise: cannot be opened: file is not a database"):
        kind.open(tmp_path / "noise")


def test_a_file_is_its_owners_alone_and_writers_take_turns(tmp_path):
    place = tmp_path / "new" / "book.sqlite"

    def count(number):
        engine = connect(place, what="book", error=LedgerError)
        for _ in range(20):
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS book (n INTEGER)"))
                found = connection.execute(text("SELECT count(*) FROM book")).scalar_one()
                connection.execute(text("INSERT INTO book VALUES (:n)"), {"n": found})
        engine.dispose()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(count, range(3)))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    engine = connect(place, what="book", error=LedgerError)
    with engine.connect() as connection:
        # What a writer has counted is still so when it writes.
        assert list(connection.execute(text("SELECT n FROM book ORDER BY n")).scalars()) == list(range(60))
    engine.dispose()


def test_a_thread_at_work_writes_through_one_connection_and_after_a_fault_through_one_in_order(tmp_path):
    engine = connect(tmp_path / "ledger.sqlite", what="ledger", error=LedgerError)
    writing = Writing(engine)
    with writing.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mail (id INTEGER PRIMARY KEY)")
    used = []

    def insert(number: int) -> None:
        with writing.begin() as connection:
            used.append(connection)
            connection.exec_driver_sql(f"INSERT INTO mail VALUES ({number})")

    with writing.kept():
        insert(1)
        insert(2)
        with pytest.raises(IntegrityError):
            insert(2)
        with pytest.raises(ZeroDivisionError), writing.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO mail VALUES ({1 // 0})")
        insert(3)
        with ThreadPoolExecutor() as others:  # for them nothing is kept, and nothing is locked meanwhile
            others.submit(insert, 4).result()
    insert(5)
    assert used[0] is used[1] is used[2] is not used[3]
    assert len({id(connection) for connection in used[3:]}) == 3
    assert all(connection.closed for connection in used)
    with engine.connect() as connection:
        assert list(connection.exec_driver_sql("SELECT id FROM mail ORDER BY id").scalars()) == [1, 2, 3, 4, 5]
    engine.dispose()


def test_a_commit_that_fails_leaves_no_lock_behind(tmp_path):
    engine = connect(tmp_path / "ledger.sqlite", what="ledger", error=LedgerError)
    writing = Writing(engine)
    with writing.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE run (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE mail (run INTEGER REFERENCES run (id) DEFERRABLE INITIALLY DEFERRED)")
    with writing.kept():
        with pytest.raises(IntegrityError, match="FOREIGN KEY"), writing.begin() as connection:
            connection.exec_driver_sql("INSERT INTO mail VALUES (1)")  # found out at the commit, which stays open
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", timeout=0.1)) as other, other:
            other.execute("INSERT INTO run VALUES (1)")
        with writing.begin() as connection:
            connection.exec_driver_sql("INSERT INTO mail VALUES (1)")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mail").scalar() == 1
    engine.dispose()
