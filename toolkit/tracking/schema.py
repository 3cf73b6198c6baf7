"""The tables of answers, and the view that an event log reads.

`tracked_mail` and `tracked_link` are what sending hands down: which mails may be answered, and where their links lead;
`tracked_coupon` keeps the codes that they give, so that a ledger put back from a backup gives none again.
`answer` is what came home, each once. Times are microseconds since 1970, UTC. No address is in any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    or_,
)

__all__ = [
    "EVENTS_VIEW",
    "VERSION",
    "answers",
    "bears_on_mailing",
    "coupons",
    "create",
    "events_named",
    "links",
    "mails",
    "metas",
    "tables",
    "upgrade",
]

VERSION = 2
EVENTS_VIEW = "answer_events"

metadata = MetaData()
_Id = BigInteger().with_variant(Integer(), "sqlite")

metas = Table("answer_meta", metadata, Column("name", String(60), primary_key=True), Column("value", Text))

mails = Table(
    "tracked_mail",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("decision_id", String(64), nullable=False, unique=True),
    Column("customer_id", Text, nullable=False, index=True),
    Column("scenario", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("experiment", Text),
    Column("arm", Text),
    Column("class", String(16), nullable=False, key="class_"),
    Column("domain", Text, nullable=False),
    Column("locale", String(40), nullable=False),
    Column("message_id", Text, nullable=False),
    Column("provider_id", Text, index=True),
    Column("due_at", BigInteger, nullable=False),
    Column("links", Text, nullable=False),
)

links = Table("tracked_link", metadata, Column("id", String(16), primary_key=True), Column("url", Text, nullable=False))

coupons = Table(
    "tracked_coupon",
    metadata,
    Column("pool", String(80), primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("decision_id", String(64), primary_key=True, index=True),
)


def bears_on_mailing(kind: ColumnElement[str] | None = None) -> ColumnElement[bool]:
    """Whether an answer bears on who may be mailed: few of many do, and an index has them alone.

    SQLite finds it only where the kinds stand in the statement as they stand in the index.
    """
    of: ColumnElement[str] = literal_column("kind") if kind is None else kind
    return or_(*(of == literal_column(f"'{one}'") for one in _STANDING))


_STANDING = ("unsubscribed", "subscribed", "complained", "bounced", "rejected")

answers = Table(
    "answer",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("mail", String(16)),
    Column("kind", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("provider", String(20), nullable=False),
    Column("number", Integer),
    Column("url", Text),
    Column("method", String(8)),
    Column("agent", Text),
    Column("network", Text),
    Column("prefetch", Integer),
    Column("told", String(8)),
    Column("verdict", String(8)),
    Column("rule", String(20)),
    Column("bounce_type", String(8)),
    Column("domain", Text),
    Column("provider_mail", Text),
    Column("detail", Text),
    Column("properties", Text),
    Index("answer_of_mail", "mail", "at"),
    Index("answer_received", "received_at", "id"),
    Index("answer_provider_mail", "provider_mail"),
    Index("answer_standing", "received_at", "id", sqlite_where=bears_on_mailing(), postgresql_where=bears_on_mailing()),
)

_TIME = {
    "sqlite": (
        "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch') || '.' || printf('%06d', {0} % 1000000) || 'Z'"
    ),
    "postgresql": "(timestamp with time zone 'epoch' + {0} * interval '1 microsecond')",
}
_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "(extract(epoch from clock_timestamp()) * 1000000)::bigint",
}
_COLUMNS = """
    m.customer_id AS customer_id,
    CASE
        WHEN a.verdict = 'machine' AND a.kind IN ('opened', 'clicked') THEN 'email_' || a.kind || '_by_machine'
        WHEN a.kind = 'preferences' THEN 'customer_updated'
        ELSE 'email_' || a.kind
    END AS event,
    {at} AS at,
    {received_at} AS received_at,
    a.event_id AS event_id,
    m.decision_id AS decision_id,
    m.scenario AS scenario,
    m.step AS step,
    m.template AS template,
    m.experiment AS experiment,
    m.arm AS arm,
    a.verdict AS verdict,
    a.rule AS verdict_rule,
    a.url AS link,
    a.bounce_type AS bounce_type,
    a.provider AS provider,
    a.properties AS properties
"""


def tables() -> list[Table]:
    """All tables of a store of answers."""
    return list(metadata.sorted_tables)


def create(connection: Connection) -> None:
    """Make the tables and the view where there are none yet."""
    metadata.create_all(connection)
    kind = connection.dialect.name
    columns = _COLUMNS.format(at=_TIME[kind].format("a.at"), received_at=_TIME[kind].format("a.received_at"))
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {EVENTS_VIEW}")
    # What a percent sign means to a driver differs, and strftime has many.
    connection.exec_driver_sql(
        f"CREATE VIEW {EVENTS_VIEW} AS SELECT {columns} FROM answer a JOIN tracked_mail m ON m.name = a.mail "
        f"WHERE a.received_at <= {_NOW[kind]}"
    )


def upgrade(connection: Connection) -> None:
    """What a store of version 1 lacks, in the transaction under way: the codes of mails, and an index."""
    coupons.create(connection, checkfirst=True)
    for index in answers.indexes:
        index.create(connection, checkfirst=True)


def events_named(names: Mapping[str, Sequence[Mapping[str, Collection[str]]]]) -> str:
    """A SELECT of the events of some names, and of the first event whatever it is: a log begins with it.

    Args:
        names: for example `email_clicked`, to what it is wanted of: column to the texts that it may have, such as those
            of `scenario` and `step`, or several of these; empty for all of them.
    """
    wanted = " OR ".join(_is_named(name, some) for name, some in sorted(names.items()))
    known = "SELECT a.event_id FROM answer a JOIN tracked_mail m ON m.name = a.mail"
    first = f"{known} ORDER BY a.received_at, a.id LIMIT 1"
    query = f"SELECT * FROM {EVENTS_VIEW} WHERE ({wanted} OR event_id = ({first}))"
    if any(_kind(name) in _MOST and not some for name, some in names.items()):
        return query
    # Else the view is not gone through, which looks up the mail of each answer, but these are looked up in it.
    kinds = {_kind(name) for name, some in names.items() if not some}
    parts = [f"SELECT event_id FROM answer WHERE {bears_on_mailing()}", f"SELECT event_id FROM ({first}) AS earliest"]
    if rest := kinds.difference(_STANDING):
        parts.append(f"SELECT event_id FROM answer WHERE kind IN ({_texts(rest)})")
    if of := " OR ".join(_is_of(some) for some in names.values() if some):
        parts.append(f"SELECT event_id FROM answer WHERE mail IN (SELECT name FROM tracked_mail WHERE {of})")
    return f"{query} AND event_id IN ({' UNION ALL '.join(parts)})"


_MOST = ("sent", "delivered", "opened")


def _kind(name: str) -> str:
    """The kind of answers of which an event is."""
    return "preferences" if name == "customer_updated" else name.removeprefix("email_").removesuffix("_by_machine")


def _is_named(name: str, some: Sequence[Mapping[str, Collection[str]]]) -> str:
    named = f"event = {_texts([name])}"
    return f"({named} AND ({_is_of(some)}))" if some else named


def _is_of(some: Sequence[Mapping[str, Collection[str]]]) -> str:
    """Whether a mail is one of those."""
    return " OR ".join(
        "(" + " AND ".join(f"{column} IN ({_texts(texts)})" for column, texts in one.items()) + ")" for one in some
    )


def _texts(texts: Iterable[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in sorted(texts)) or "NULL"
