"""The ledger's tables, made where there are none yet.

SQLite (write-ahead log, every commit on the disk) unless a URL names another database. Times are microseconds since
1970 in UTC. `attempt`, `event` and `audit` are only ever added to.
"""

from __future__ import annotations

import json
import os
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    inspect,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from toolkit.database import READ, close_tables, connect, insert_new, only_read, opened, place_of, reopen_tables, said
from toolkit.errors import LedgerError
from toolkit.sending.ledger.earlier import documents_in, domain_of_address, planned_as_the_run, seen_as_now
from toolkit.sending.states import QUIET_HOURS, State

__all__ = [
    "CLOSED",
    "COUNTERS",
    "IS_QUIET",
    "VERSION",
    "NoLedgerError",
    "approvals",
    "attempts",
    "audits",
    "close_ledger",
    "closed_tables",
    "coupons",
    "deliveries",
    "documents",
    "domains",
    "draws",
    "events",
    "held_as",
    "holds",
    "is_paused",
    "is_under",
    "metas",
    "open_engine",
    "rates",
    "revocations",
    "runs",
    "runs_under",
    "standing_over",
    "suppressions",
    "tables",
]

VERSION = 7

CLOSED = "moved_to"
"""What a ledger says of itself that was moved elsewhere, and so is closed."""

COUNTERS = ("outcomes", "failures", "doubts", "policy_errors", "bounces", "complaints")
"""What a run counts since it began or was last resumed, so that it can be paused when too much goes wrong."""

_metadata = MetaData()
_HELD = text(" OR ".join(f"state = '{one.value}'" for one in (State.LEASED, State.SENDING, State.UNKNOWN)))
_PAUSED = text("state = 'paused'")
_Id = BigInteger().with_variant(Integer(), "sqlite")

metas = Table("meta", _metadata, Column("name", String(40), primary_key=True), Column("value", Text, nullable=False))

runs = Table(
    "run",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("program", String(64), nullable=False),
    Column("transport", Text, nullable=False),
    Column("mails", Integer, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("canary", Integer),
    Column("canary_wait", BigInteger, nullable=False, default=0, server_default="0"),
    Column("canary_until", BigInteger),
    *(Column(name, Integer, nullable=False, default=0, server_default="0") for name in COUNTERS),
    Index("run_as_of", "as_of"),
    Index("run_created", "created_at"),
    Index("run_paused", "state", sqlite_where=_PAUSED, postgresql_where=_PAUSED),
)

documents = Table(
    "document",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("is_standing", Boolean, nullable=False),
)
"""What was signed, once for each approval: a standing one has a row in `signature` for every round."""

approvals = Table(
    "signature",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("run_id", String(64), ForeignKey("run.id"), primary_key=True),
    Column("approver", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("signed_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("signature_run", "run_id"),
)


def runs_under(approval_id: str) -> Select[tuple[str]]:
    """The ids of the runs that an approval lets go."""
    return select(approvals.c.run_id).where(approvals.c.id == approval_id)


def is_under(approval_id: str, run_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether an approval lets a run go, asked of rows found otherwise: under a standing one are a month's rounds.

    A count, since PostgreSQL makes a join of an `EXISTS`, and reads all signatures for it.
    """
    mine = select(func.count()).where(approvals.c.id == approval_id, approvals.c.run_id == run_id)
    return mine.scalar_subquery() > 0


def standing_over(run_id: str) -> Select[tuple[Any]]:
    """The id of the approval that lets a run go as one round of many; none of a run of its own."""
    both = approvals.join(documents, documents.c.id == approvals.c.id)
    return (
        select(approvals.c.id).select_from(both).where(approvals.c.run_id == run_id, documents.c.is_standing).limit(1)
    )


def is_paused() -> ColumnElement[bool]:
    """Whether a run is paused: few of many are, and an index has them alone, as of `held_as`."""
    return runs.c.state == literal_column("'paused'")


def _said_of_approvals(name: str) -> Table:
    """Who did something to an approval, when and why."""
    return Table(
        name,
        _metadata,
        Column("approval_id", String(64), primary_key=True),
        Column("at", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("why", Text, nullable=False),
    )


revocations = _said_of_approvals("revocation")
holds = _said_of_approvals("hold")

rates = Table(
    "rate",
    _metadata,
    Column("transport", Text, primary_key=True),
    Column("per_second", Float),
    Column("tokens", Float, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("per_day", Text, nullable=False),
    Column("first_day", BigInteger),
    Column("day", BigInteger, nullable=False),
    Column("used", Integer, nullable=False),
)

domains = Table(
    "domain",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("until", BigInteger),
    Column("reason", Text),
)

deliveries = Table(
    "delivery",
    _metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("run_id", String(64), ForeignKey("run.id"), nullable=False),
    Column("decision_id", String(64), nullable=False, unique=True),
    Column("customer_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("class", String(16), nullable=False, key="class_"),
    Column("message_id", Text, nullable=False, unique=True),
    Column("payload_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("owner", Text),
    Column("epoch", Integer, nullable=False, default=0),
    Column("lease_until", BigInteger),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", BigInteger),
    Column("receipt", Text),
    Column("code", Integer),
    Column("reason", Text),
    Column("domain", Text, nullable=False, server_default=""),
    Column("discount", Float),
    Column("decided_at", BigInteger, nullable=False, default=0, server_default="0"),
    Column("planned_at", BigInteger, nullable=False, server_default="0"),
    Column("scenario", Text),
    Column("step", Text),
    Index("delivery_work", "run_id", "state", "id"),
    Index("delivery_held", "state", sqlite_where=_HELD, postgresql_where=_HELD),
    Index("delivery_customer", "customer_id"),
    Index("delivery_planned", "planned_at"),
)


coupons = Table(
    "coupon",
    _metadata,
    Column("pool", String(80), primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("decision_id", String(64), nullable=False, index=True),
)

draws = Table(
    "draw",
    _metadata,
    Column("scenario", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("unit", String(16), nullable=False),
    Column("arms", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)


def held_as(*states: State) -> ColumnElement[bool]:
    """Mails in the hands of a sender, or in doubt, in one of these states.

    They are few among millions, and an index has them alone. SQLite finds it only where the states stand in the
    statement as they stand in the index.

    Args:
        states: `leased`, `sending`, `unknown`, or several of them in this order.
    """
    return or_(*(deliveries.c.state == literal_column(f"'{state.value}'") for state in states))


# Never unknown, as it would be where there is no reason.
IS_QUIET = and_(deliveries.c.state == State.DEFERRED, func.coalesce(deliveries.c.reason, "") == QUIET_HOURS)
"""Whether a mail waits for the end of its customer's quiet hours, and not for the other side."""

attempts = Table(
    "attempt",
    _metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("delivery_id", _Id, ForeignKey("delivery.id"), nullable=False, index=True),
    Column("epoch", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("code", Integer),
    Column("receipt", Text),
    Column("reason", Text),
)

events = Table(
    "event",
    _metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("provider", Text, nullable=False),
    Column("provider_event_id", Text, nullable=False),
    Column("delivery_id", _Id, ForeignKey("delivery.id"), index=True),
    Column("event", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("payload", Text),
    UniqueConstraint("provider", "provider_event_id"),
)

suppressions = Table(
    "suppression",
    _metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("address_sha256", String(64), nullable=False),
    Column("address", Text),
    Column("scope", String(80), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("source", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("address_sha256", "scope"),
)

audits = Table(
    "audit",
    _metadata,
    Column("seq", _Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)


def tables() -> list[Table]:
    """All tables of a ledger, each after those that it refers to."""
    return list(_metadata.sorted_tables)


def open_engine(where: str | os.PathLike[str], *, as_it_is: bool = False) -> tuple[Engine, str]:
    """A database engine for the ledger at a path or URL, with the tables made where there are none yet.

    Args:
        where: path of a SQLite file, or a database URL such as `postgresql://host/name`.
        as_it_is: nothing is made or changed, and an earlier version stays one; it is seen as it would be in this one.

    Returns:
        The engine, and the place in words (no password).

    Raises:
        LedgerError: the place cannot be opened, holds something else, or a ledger of a newer version.
        NoLedgerError: nothing is made, and there is none.
        NotSupportedError: the URL names a database other than SQLite and PostgreSQL.
    """
    if as_it_is:
        return _as_it_is(where)
    engine = opened(
        where, what="ledger", error=LedgerError, is_ready=_is_ready, make=_brought_up_to_date, checkpoint=4_000
    )
    return engine, place_of(engine)


class NoLedgerError(LedgerError):
    """Where a ledger is only to be asked, there is none."""


def _as_it_is(where: str | os.PathLike[str]) -> tuple[Engine, str]:
    engine = connect(where, what="ledger", error=LedgerError, make_file=False)
    place = place_of(engine)
    try:
        with engine.connect().execution_options(**READ) as connection:
            found = _version(connection, place)
            if found is None:
                raise NoLedgerError(f"ledger {place}: there is none")
            first = list(seen_as_now(connection, tables(), documents=documents)) if found < VERSION else []
        only_read(engine, first)
    except SQLAlchemyError as fault:
        raise LedgerError(f"ledger {place}: cannot be opened: {said(fault)}") from fault
    except LedgerError:
        engine.dispose()
        raise
    return engine, place


def _is_ready(connection: Connection, place: str) -> bool:
    return _version(connection, place) == VERSION


def _brought_up_to_date(connection: Connection, place: str) -> None:
    found = _version(connection, place)
    if found is None:
        _metadata.create_all(connection)
        connection.execute(insert_new(connection, metas), {"name": "version", "value": str(VERSION)})
    elif found < VERSION:
        is_closed = connection.execute(select(metas.c.value).where(metas.c.name == CLOSED)).scalar()
        if is_closed is not None:  # it was moved, and its rows are changed once more, so that it stays readable
            reopen_tables(connection, closed_tables())
        for step in _STEPS[found - 1 :]:
            step(connection)
        connection.execute(update(metas).where(metas.c.name == "version").values(value=str(VERSION)))
        if is_closed is not None:
            close_ledger(connection, to=json.loads(is_closed)["to"])


def _second_version(connection: Connection) -> None:
    """A ledger of version 1, brought up to version 2 in the transaction under way."""
    _add_columns(connection, runs, deliveries)
    connection.exec_driver_sql(
        f"UPDATE delivery SET domain = {domain_of_address(connection)}, "
        f"planned_at = {planned_as_the_run('run', 'delivery')}"
    )
    _metadata.create_all(connection)
    next(one for one in deliveries.indexes if one.name == "delivery_customer").create(connection)
    _documents_of(connection, "approval")
    names = ", ".join(column.name for column in approvals.columns)
    connection.exec_driver_sql(f"INSERT INTO signature ({names}) SELECT {names} FROM approval")
    connection.exec_driver_sql("DROP TABLE approval")


def _third_version(connection: Connection) -> None:
    """A ledger of version 2, brought up to version 3 in the transaction under way."""
    connection.exec_driver_sql("DROP INDEX IF EXISTS delivery_state")
    next(one for one in deliveries.indexes if one.name == "delivery_held").create(connection)


def _fourth_version(connection: Connection) -> None:
    """A ledger of version 3, brought up to version 4 in the transaction under way; its mails stay without a step."""
    _add_columns(connection, deliveries)


def _fifth_version(connection: Connection) -> None:
    """A ledger of version 4, brought up to version 5 in the transaction under way; no codes were given before."""
    coupons.create(connection, checkfirst=True)


def _sixth_version(connection: Connection) -> None:
    """A ledger of version 5, brought up to version 6 in the transaction under way.

    No approval was held up before, and the shares of experiments are kept from now on.
    """
    holds.create(connection, checkfirst=True)
    draws.create(connection, checkfirst=True)


def _seventh_version(connection: Connection) -> None:
    """A ledger of version 6, brought up to version 7 in the transaction under way.

    What a standing approval says stood in it once for every round, and questions of each round went through all.
    """
    documents.create(connection, checkfirst=True)
    if any(column["name"] == "document" for column in inspect(connection).get_columns("signature")):
        _documents_of(connection, "signature")
        connection.exec_driver_sql("ALTER TABLE signature DROP COLUMN document")
    for index in (*runs.indexes, *deliveries.indexes):
        index.create(connection, checkfirst=True)


def _documents_of(connection: Connection, table: str) -> None:
    found = documents_in(connection, table)
    connection.exec_driver_sql(f"INSERT INTO document (id, text, is_standing) {found}")


_STEPS = (_second_version, _third_version, _fourth_version, _fifth_version, _sixth_version, _seventh_version)


def close_ledger(connection: Connection, *, to: str) -> None:
    """Let nobody write to the ledger any more, whatever program and version tries, in the transaction under way."""
    close_tables(connection, closed_tables(), f"it was moved to {to}; use that one")


def closed_tables() -> list[Table]:
    """The tables of a ledger that nobody writes to where it was moved elsewhere."""
    return [table for table in tables() if table is not metas]


def _add_columns(connection: Connection, *tables: Table) -> None:
    """The columns that tables of an earlier version lack."""
    for table in tables:
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                words = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {words}")


def _version(connection: Connection, place: str) -> int | None:
    names = set(inspect(connection).get_table_names())
    if "meta" not in names:
        taken = sorted(names & set(_metadata.tables)) if connection.dialect.name == "postgresql" else sorted(names)
        if taken:
            raise LedgerError(f"ledger {place}: is another database (it holds the tables {', '.join(taken)})")
        return None
    found = connection.execute(select(metas.c.value).where(metas.c.name == "version")).scalar()
    if found is None or not found.isdigit():
        raise LedgerError(f"ledger {place}: is another database (its table 'meta' names no version)")
    if int(found) > VERSION:
        raise LedgerError(
            f"ledger {place}: was written by a newer version (ledger version {found}, this one reads {VERSION}); "
            f"update trigger-toolkit"
        )
    return int(found)
