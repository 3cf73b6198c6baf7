"""The door to a database of the toolkit's own: a SQLite file, written durably, or PostgreSQL by its URL.

The ledger of sending and the store of answers go through it. A driver that is missing is a ModuleNotFoundError, a file
that cannot be made an OSError; whoever opens says in words of their own what that means.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.sql.dml import Insert

from toolkit.errors import NotSupportedError, ToolkitError, path_text

__all__ = [
    "CHUNK",
    "READ",
    "Writing",
    "chunks",
    "close_tables",
    "compact",
    "connect",
    "direct",
    "insert_new",
    "insert_new_in",
    "only_read",
    "opened",
    "place_of",
    "placeholder",
    "reopen_tables",
    "said",
]

Value = TypeVar("Value")

CHUNK = 500
"""Values that one statement lists."""
READ = {"toolkit_read": True}
"""Options of a connection that only reads."""


def connect(
    where: str | os.PathLike[str],
    *,
    what: str,
    error: type[ToolkitError],
    checkpoint: int = 1_000,
    make_file: bool = True,
) -> Engine:
    """A database engine for a path or URL; no table is read or written yet.

    A SQLite file is made for its owner alone where there is none. Every commit is on the disk, readers do not wait
    for the writer, and a transaction takes its lock when it begins, so that what it has read is still so when it
    writes; connections with the options READ take none.

    Args:
        where: path of a SQLite file, `sqlite:///file`, or `postgresql://host/name`.
        what: is kept there, for errors, for example `ledger`.
        error: of the errors.
        checkpoint: pages of 4 kB that a SQLite file's log grows by before they go to their places in the file. More
            make writing faster, since a page changed by every commit moves once for all of them, and the pause longer.
        make_file: make a SQLite file where there is none, and let it have a write-ahead log; else nothing of it is
            changed by opening it.

    Raises:
        ToolkitError: of the kind given: not a path or URL, a database in memory, or a driver or file that is missing.
        NotSupportedError: another kind of database.

    >>> import tempfile
    >>> from toolkit.errors import LedgerError
    >>> engine = connect(f"{tempfile.mkdtemp()}/ledger.sqlite", what="ledger", error=LedgerError)
    >>> with engine.connect() as connection:
    ...     connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    'wal'
    >>> engine.dispose()
    """
    url = _url(where, what=what, error=error)
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise NotSupportedError(f"{what}: {kind} is not supported; use a SQLite file or a postgresql:// URL")
    try:
        if kind == "postgresql":
            return create_engine(url, pool_pre_ping=True)
        if not url.database or url.database == ":memory:":
            raise error(f"{what}: a database in memory forgets everything; give the path of a file")
        return _sqlite(url, Path(url.database), checkpoint, make_file=make_file)
    except ModuleNotFoundError as fault:
        raise error(f"{what} {_place(url)}: the driver {fault.name!r} is not installed") from fault
    except OSError as fault:
        raise error(f"{what} {_place(url)}: cannot be opened: {fault.strerror}") from fault


def opened(
    where: str | os.PathLike[str],
    *,
    what: str,
    error: type[ToolkitError],
    is_ready: Callable[[Connection, str], bool],
    make: Callable[[Connection, str], None],
    checkpoint: int = 1_000,
) -> Engine:
    """A database engine as from `connect`, whose tables are there; several processes may open it for the first time.

    Args:
        where: as for `connect`.
        what: as for `connect`.
        error: as for `connect`.
        is_ready: asked of a connection and the place in words: whether all tables are there as they should be.
        make: makes them, or brings them up to date, in the transaction of a connection.
        checkpoint: as for `connect`.

    Raises:
        ToolkitError: of the kind given: as `connect`, or the tables cannot be read or made.
        NotSupportedError: another kind of database.
    """
    engine = connect(where, what=what, error=error, checkpoint=checkpoint)
    place = place_of(engine)
    try:
        _make_ready(engine, place, is_ready, make)
    except SQLAlchemyError as fault:
        engine.dispose()
        raise error(f"{what} {place}: cannot be opened: {said(fault)}") from fault
    except BaseException:
        engine.dispose()
        raise
    return engine


def _make_ready(
    engine: Engine, place: str, is_ready: Callable[[Connection, str], bool], make: Callable[[Connection, str], None]
) -> None:
    for patience in (0.1, 0.3, 0.9, None):
        with engine.connect().execution_options(**READ) as connection:
            if is_ready(connection, place):
                return
        try:
            with engine.begin() as connection:
                make(connection, place)
            return
        except SQLAlchemyError:
            if patience is None:
                raise
            time.sleep(patience)  # another process is making the tables at this very moment


def only_read(engine: Engine, first: Sequence[str] = ()) -> None:
    """Let each connection of an engine change nothing in the database.

    Args:
        engine: from `connect`.
        first: statements that each connection runs before, which make what it alone sees (TEMP).
    """
    lite = engine.dialect.name == "sqlite"
    last = "PRAGMA query_only=ON" if lite else "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for statement in (*first, last):
            cursor.execute(statement)
        cursor.close()
        if not lite:
            connection.commit()

    engine.dispose()  # connections from before


def compact(engine: Engine, tables: Sequence[Table]) -> None:
    """Write a database's tables anew, so that nothing that was deleted or changed stays in its files.

    Args:
        engine: the database.
        tables: which; in SQLite all are. In PostgreSQL copies stay in its write-ahead log and in backups, until these
            go as they always do.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in tables:
                connection.exec_driver_sql(f"VACUUM (FULL) {table.name}")
        return
    raw = engine.raw_connection()  # a transaction of ours would stand in the way
    try:
        for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            raw.cursor().execute(statement).close()
    finally:
        raw.close()


def close_tables(connection: Connection, tables: Sequence[Table], said: str) -> None:
    """Let nobody write to tables any more, whatever program and version tries: each row is refused with these words.

    Args:
        connection: in a transaction that writes.
        tables: stay readable.
        said: what the database answers, on one line.
    """
    words = said.replace("'", "''")
    for table in tables:
        name = f"{_CLOSED}_{table.name}"
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0]; END $$"
            )
            connection.exec_driver_sql(
                f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OR DELETE ON {table.name} FOR EACH ROW "
                f"EXECUTE FUNCTION {name}('{words.replace('%', '%%')}')"
            )
            continue
        for verb in _VERBS:
            connection.exec_driver_sql(
                f"CREATE TRIGGER {name}_{verb} BEFORE {verb} ON {table.name} BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )


def reopen_tables(connection: Connection, tables: Sequence[Table]) -> None:
    """Let tables be written to again that `close_tables` closed.

    Args:
        connection: in a transaction that writes.
        tables: which.
    """
    for table in tables:
        name = f"{_CLOSED}_{table.name}"
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {name} CASCADE")
            continue
        for verb in _VERBS:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}_{verb}")


_CLOSED = "toolkit_closed"
_VERBS = ("INSERT", "UPDATE", "DELETE")


class Writing:
    """Transactions that write, each on a connection of the pool, or all of a thread on one that it keeps for a while.

    To take a connection, begin, and give it back costs more than a small transaction in SQLite. In PostgreSQL nothing
    is kept: a server may be started anew at any time, and the pool finds that out when it gives a connection.

    Args:
        engine: from `connect`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._own = _Own()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back where something is raised."""
        if not self._own.keeps:
            with self._engine.begin() as connection:
                yield connection
            return
        kept = self._own.connection = self._own.connection or self._engine.connect()
        try:
            with kept.begin():
                yield kept
        except BaseException:
            self._let_go()  # after a fault, the next transaction has a connection that the pool has put in order
            raise

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Meanwhile this thread writes through one connection."""
        before, self._own.keeps = self._own.keeps, self._engine.dialect.name == "sqlite"
        try:
            yield
        finally:
            self._own.keeps = before
            if not before:
                self._let_go()

    def _let_go(self) -> None:
        connection, self._own.connection = self._own.connection, None
        if connection is not None:
            connection.close()


class _Own(threading.local):
    """What a thread keeps."""

    keeps = False
    connection: Connection | None = None


def direct(connection: Connection, text: str, bound: Any = (), *, many: bool = False) -> sqlite3.Cursor:
    """A cursor of SQLite's own, after a statement; its errors are SQLAlchemy's, as everywhere else.

    Args:
        connection: to a SQLite file.
        text: the statement.
        bound: its values; with `many`, those of each time it is run.
        many: run it once for each of the values.
    """
    raw: Any = connection.connection.driver_connection
    try:
        return raw.executemany(text, bound) if many else raw.execute(text, bound)  # type: ignore[no-any-return]
    except sqlite3.Error as fault:
        raise DBAPIError.instance(text, None, fault, sqlite3.Error, dialect=connection.dialect) from fault


def place_of(engine: Engine) -> str:
    """Where an engine's database is, in words, without a password."""
    return _place(engine.url)


def insert_new(connection: Connection, table: Table) -> Insert:
    """An insert into the table that leaves rows already there as they are (ON CONFLICT DO NOTHING)."""
    return insert_new_in(connection.dialect.name, table)


def insert_new_in(dialect: str, table: Table) -> Insert:
    """As `insert_new`, for a statement made before there is a connection.

    Args:
        dialect: `sqlite` or `postgresql`.
        table: to insert into.
    """
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def placeholder(connection: Connection) -> str:
    """What stands for a value in text that goes straight to the driver."""
    return "?" if connection.dialect.name == "sqlite" else "%s"


def chunks(values: Iterable[Value], size: int = CHUNK) -> Iterator[list[Value]]:
    """Values some at a time, in their order, drawn as they are asked for.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    coming = iter(values)
    while some := list(islice(coming, size)):
        yield some


def said(fault: BaseException) -> str:
    """What the database itself said, on one line and without SQLAlchemy's words around it."""
    return " ".join(str(getattr(fault, "orig", None) or fault).split())


def _url(where: str | os.PathLike[str], *, what: str, error: type[ToolkitError]) -> URL:
    text = os.fspath(where)
    if "://" not in text:
        text = path_text(text, name=what, error=error)
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
    except ArgumentError as fault:
        raise error(f"{what}: {text.partition(':')[0]!r} begins what is not a database URL") from fault
    # The plain name means another driver to older versions of SQLAlchemy.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _place(url: URL) -> str:
    return url.database if url.get_backend_name() == "sqlite" and url.database else url.render_as_string()


def _sqlite(url: URL, path: Path, checkpoint: int, *, make_file: bool) -> Engine:
    if not make_file:
        path.stat()
    elif not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # It says who people are or what they did: for its owner alone.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    asked = {"timeout": 30.0, "check_same_thread": False}
    if not make_file and _is_unchanging(path):
        # Elsewhere even a reader writes: the index of the write-ahead log, beside the file.
        name = f"{path.absolute().as_uri()}?immutable=1"
        engine = create_engine(url, creator=lambda: sqlite3.connect(name, uri=True, **asked))  # type: ignore[call-overload]
    else:
        engine = create_engine(url, connect_args=asked)

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late, and not be IMMEDIATE
        connection.execute("PRAGMA synchronous=FULL").close()
        connection.execute("PRAGMA foreign_keys=ON").close()
        connection.execute(f"PRAGMA wal_autocheckpoint={checkpoint:d}").close()
        if make_file:
            _write_ahead(connection)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get("toolkit_read")
        direct(connection, "BEGIN" if reading else "BEGIN IMMEDIATE").close()

    return engine


def _is_unchanging(path: Path) -> bool:
    """Whether a SQLite file is whole by itself on a disk that nobody writes to, such as a backup."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY) and not path.with_name(f"{path.name}-wal").exists()


def _write_ahead(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for a lock when it changes the journal, and two processes may start at once.
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
