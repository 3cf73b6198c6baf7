"""The door to the database of answers: a SQLite file, written durably, or PostgreSQL by its URL."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql.dml import Insert

from toolkit.errors import AnswersError, NotSupportedError

__all__ = ["READ", "connect", "insert_new", "place_of"]

READ = {"toolkit_read": True}
"""Options of a connection that only reads."""


def connect(where: str | os.PathLike[str]) -> Engine:
    """A database engine for a path or URL; nothing is read or written yet.

    Args:
        where: path of a SQLite file, `sqlite:///file`, or `postgresql://host/name`.

    Raises:
        AnswersError: not a path or URL, a database in memory, or the driver is missing.
        NotSupportedError: another kind of database.
    """
    url = _url(where)
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise NotSupportedError(f"answers: {kind} is not supported; use a SQLite file or a postgresql:// URL")
    try:
        return _sqlite(url) if kind == "sqlite" else create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as fault:
        raise AnswersError(f"answers {place_of(where)}: the driver {fault.name!r} is not installed") from fault
    except OSError as fault:
        raise AnswersError(f"answers {place_of(where)}: cannot be opened: {fault.strerror}") from fault


def place_of(where: str | os.PathLike[str]) -> str:
    """The place in words, without a password."""
    url = _url(where)
    return url.database if url.drivername.startswith("sqlite") and url.database else url.render_as_string()


def insert_new(connection: Connection, table: Table) -> Insert:
    """An insert that leaves rows already there as they are (ON CONFLICT DO NOTHING)."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def _url(where: str | os.PathLike[str]) -> URL:
    text = os.fspath(where)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
    except ArgumentError as fault:
        raise AnswersError(f"answers: {text.partition(':')[0]!r} begins what is not a database URL") from fault
    # The plain name means another driver to older versions of SQLAlchemy.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise AnswersError("answers: answers in memory are lost; give the path of a file")
    path = Path(url.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it says what people did: for its owner alone
    engine = create_engine(url, connect_args={"timeout": 30.0, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late, and not be IMMEDIATE
        connection.execute("PRAGMA synchronous=FULL").close()
        _write_ahead(connection)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A writer takes its lock at once, so that what it has read is still so when it writes.
        reading = connection.get_execution_options().get("toolkit_read")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for a lock when it changes the journal, and two trackers may start at once.
    for patience in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 0.0):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError:
            if not patience:
                raise
            time.sleep(patience)
