"""The log as the engine asks for it: one bit per condition and event, events without a bit dropped.

This is the one place where the conditions of a scenario meet the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.errors import EventLogError
from toolkit.events import quoting
from toolkit.events.database import fetch
from toolkit.events.kinds import EMPTY
from toolkit.events.log import EventLog
from toolkit.events.row_groups import Group, named_events
from toolkit.events.spark import SparkLog
from toolkit.events.storage import NUMBER

__all__ = [
    "ALWAYS_KNOWN",
    "CONSENT_EVENTS",
    "NO_DATE",
    "NUMBER",
    "Mark",
    "Marking",
    "asked_events",
    "bits_by_consent",
    "bits_of_events",
    "changes_attributes",
    "events_of",
    "facts_of",
    "first_heard",
    "key_text",
    "logged_mails",
    "mailed_scenarios",
    "marked_events",
    "one_piece",
    "people",
    "rows_of",
    "stored_events",
]

Ints = npt.NDArray[np.int64]
ALWAYS_KNOWN = {"email": "VARCHAR", "timezone": "VARCHAR", "locale": "VARCHAR", "consent": "BOOLEAN"}
"""Attributes that the library itself asks for, and their kinds; a log may tell them by events alone."""
_PLACE = "toolkit_place"
_TURN = "toolkit_turn"
_BITS_OF_A_BYTE = 8
_SQL_KINDS = {"number": "DOUBLE", "text": "VARCHAR", "flag": "BOOLEAN", "time": "TIMESTAMP", EMPTY: "VARCHAR"}
CONSENT_EVENTS = ("email_subscribed", "email_unsubscribed", "email_complained")
"""What gives or takes back the consent, beside `customer_updated`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A condition on events: the event's name, and a checked SQL expression on its properties."""

    event: str
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Marking:
    """What is asked of a log.

    `marks` become bits of events, `attributes` (checked SQL on customer columns) bits of customers, `keys` text
    properties that tell a customer's journeys apart, `values` numeric properties, `groups` text properties that tie
    customers together. Without any marked event, `everyone` takes in the people of the customers table, `heard` all who
    have an event.
    """

    marks: tuple[Mark, ...]
    attributes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    everyone: bool = False
    heard: bool = False


NO_DATE = int(np.iinfo(np.int64).min)
"""In `Marked.dates`: there is none."""


def one_piece(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    column = table.column(name)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)


def _ints(table: pa.Table, name: str) -> Ints:
    return np.array(table.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


def marked_events(log: EventLog, marking: Marking) -> pa.Table:
    """Events with at least one bit, and all events that tell of the customer.

    A numbered log names customers by their number, in `storage.NUMBER`, any other by customer_id.
    """
    facts = _fact_events(log, marking)
    columns = [
        "customer_id" if log.numbered_customers is None else NUMBER,
        "event",
        "epoch_us(received_at) AS received_at",
        'epoch_us("at") AS "at"',
        '"row"',
        f"{_bits(tuple(enumerate(marking.marks)), small=len(marking.marks) <= _BITS_OF_A_BYTE)} AS bits",
        *(f"{key_text(log, name)} AS key_{k}" for k, name in enumerate(marking.keys)),
        *(f"TRY_CAST({quoting.name(name)} AS DOUBLE) AS value_{v}" for v, name in enumerate(marking.values)),
        *(f"CAST({quoting.name(name)} AS VARCHAR) AS group_{g}" for g, name in enumerate(marking.groups)),
    ]
    kept = f"bits <> 0{f' OR event IN ({_literals(facts)})' if facts else ''}" if _conditional(marking) else "TRUE"
    return fetch(
        log.cursor(),
        f"SELECT * EXCLUDE (event) FROM (SELECT {', '.join(columns)} FROM {log.relation} "
        f"WHERE event IN ({_literals(set(asked_events(log, marking)))})) WHERE {kept}",
    )


def stored_events(log: EventLog, marking: Marking) -> list[Group] | None:
    """The same as `marked_events`, read column by column: by the name alone the file itself tells who has which bit.

    The database is asked about conditions only, so that they mean here what they mean anywhere.

    Returns:
        Events in the order of the file; those without a bit do not count. None of a log that is not a stored one as a
        whole, or where more is asked than bits.
    """
    if log.whole_file is None or marking.keys or marking.values or marking.groups or _fact_events(log, marking):
        return None
    of_name: dict[str, int] = {}
    for b, one in enumerate(marking.marks):
        of_name[one.event] = of_name.get(one.event, 0) | (0 if one.where else 1 << b)
    small = len(marking.marks) <= _BITS_OF_A_BYTE
    conditional = [(b, one) for b, one in enumerate(marking.marks) if one.where]
    cursor = log.cursor()
    with ThreadPoolExecutor(1) as aside:
        reading = aside.submit(named_events, log.whole_file, of_name, np.uint8 if small else np.int64)
        if not conditional:
            return reading.result()
        asked = _literals({one.event for _, one in conditional})
        number = "INTEGER" if len(log) <= np.iinfo(np.int32).max else "BIGINT"
        rows = (
            f'SELECT CAST("row" AS {number}) AS "row", {_bits(conditional, small=small)} AS bits '
            f"FROM {log.relation} WHERE event IN ({asked})"
        )
        try:
            table = fetch(cursor, f"SELECT * FROM ({rows}) WHERE bits <> 0")
        except EventLogError:
            reading.result()  # which names the file
            raise
        groups = reading.result()
    fulfilled = np.zeros(len(log), dtype=np.uint8 if small else np.int64)
    for batch in table.to_batches():
        fulfilled[batch.column("row").to_numpy()] = batch.column("bits").to_numpy()
    for group in groups:
        np.bitwise_or(group.bits, fulfilled[group.first : group.first + len(group.bits)], out=group.bits)
    return groups


def _bits(marks: Sequence[tuple[int, Mark]], *, small: bool) -> str:
    """The bits of an event as SQL: what is asked of other events than its own is not looked at."""
    whens = []
    for event in dict.fromkeys(mark.event for _, mark in marks):
        terms = [
            f"CASE WHEN {mark.where} THEN {1 << b} ELSE 0 END" if mark.where else f"{1 << b}"
            for b, mark in marks
            if mark.event == event
        ]
        whens.append(f"WHEN {quoting.literal(event)} THEN {' + '.join(terms)}")
    kind = "UTINYINT" if small else "BIGINT"
    bits = f"CASE event {' '.join(whens)} ELSE 0 END" if whens else "0"
    return f"CAST({bits} AS {kind})"


def asked_events(log: EventLog, marking: Marking) -> tuple[str, ...]:
    """The names of the events that `marked_events` reads, sorted."""
    return tuple(sorted(_fact_events(log, marking) | {m.event for m in marking.marks}))


def bits_of_events(log: EventLog, marking: Marking, events: Sequence[Mapping[str, object]]) -> Ints:
    """The bits that events would have which are not in the log.

    Args:
        log: the log, for the kinds of its properties.
        marking: what is asked.
        events: `event` and some properties of each; what is not given, or not of this log, is missing.

    Returns:
        Bits of each event.
    """
    kinds = {"event": "VARCHAR", **{name: _SQL_KINDS[kind] for name, kind in log.properties.items()}}
    frame = pa.table(
        {name: [_as_text(event.get(name)) for event in events] for name in kinds} | {_PLACE: range(len(events))},
        schema=pa.schema([*((name, pa.string()) for name in kinds), (_PLACE, pa.int64())]),
    )
    columns = [f"TRY_CAST({quoting.name(name)} AS {kind}) AS {quoting.name(name)}" for name, kind in kinds.items()]
    usual = [
        f"CAST(NULL AS {kind}) AS {quoting.name(name)}"
        for name, kind in (
            ("customer_id", "VARCHAR"),
            ("event_id", "VARCHAR"),
            ("at", "TIMESTAMP"),
            ("received_at", "TIMESTAMP"),
        )
        if name not in kinds
    ]
    seen = ", ".join([*columns, *usual, _PLACE])
    cursor = log.cursor()
    cursor.register("drawn_events", frame)
    bits = _bits(tuple(enumerate(marking.marks)), small=False)
    table = fetch(cursor, f"SELECT {bits} AS bits FROM (SELECT {seen} FROM drawn_events) ORDER BY {_PLACE}")
    return _ints(table, "bits")


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _conditional(marking: Marking) -> bool:
    """Whether an event may have the right name and still no bit."""
    plain = {m.event for m in marking.marks if m.where is None}
    return any(m.event not in plain for m in marking.marks)


def _literals(names: set[str]) -> str:
    return ", ".join(quoting.literal(name) for name in sorted(names)) or "NULL"


def _fact_events(log: EventLog, marking: Marking) -> set[str]:
    """Names of events in this log that change attributes of a customer, besides the consent."""
    return {"customer_updated"} & set(log.event_names) if marking.attributes or marking.dates else set()


def people(log: EventLog, marking: Marking, customers: pa.Array) -> tuple[Ints, Ints, tuple[str, ...], Ints]:
    """Attribute bits, time zone and dates of each customer; people missing from the customers table have none."""
    count = len(customers)
    if count > 1 and not len(log.customer_table):  # what holds of one stranger holds of all
        bits, zone, zones, dates = people(log, marking, customers[:1])
        return bits.repeat(count), zone.repeat(count), zones, dates.repeat(count, axis=1)
    cursor = log.cursor()
    rows = f"SELECT {_PLACE}, {_attributes(log, {})} FROM {_customer_rows(log, customers, cursor)}"
    table = fetch(cursor, f"SELECT {_told(marking)} FROM ({rows}) ORDER BY {_PLACE}")
    zone_column = one_piece(table, "zone").dictionary_encode()
    zone = pc.fill_null(zone_column.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return _ints(table, "bits"), zone, tuple(zone_column.dictionary.to_pylist()), _dates(table, marking)


def _customer_rows(log: EventLog, customers: pa.Array, cursor: duckdb.DuckDBPyConnection) -> str:
    """The rows `c` of some customers, each with its place, as SQL."""
    if not log.attributes and not len(log.customer_table):  # nobody is asked about what nobody told
        return f"(SELECT range AS {_PLACE} FROM range({len(customers)}))"
    cursor.register("wanted_customers", pa.table({"wanted_id": customers, _PLACE: np.arange(len(customers))}))
    cursor.register("customer_rows", log.customer_table)
    return "wanted_customers w LEFT JOIN customer_rows c ON c.customer_id = w.wanted_id"


def _told(marking: Marking) -> str:
    """The columns of what is told of a customer: bits, zone, and days since 1970 of each date."""
    dates = [
        f", TRY_CAST({quoting.name(name)} AS DATE) - DATE '1970-01-01' AS date_{d}"
        for d, name in enumerate(marking.dates)
    ]
    return f"{_attribute_bits(marking)} AS bits, CAST(timezone AS VARCHAR) AS zone{''.join(dates)}"


def _dates(table: pa.Table, marking: Marking) -> Ints:
    dates = np.full((len(marking.dates), len(table)), NO_DATE, dtype=np.int64)
    for d in range(len(marking.dates)):
        dates[d] = pc.fill_null(one_piece(table, f"date_{d}").cast(pa.int64()), NO_DATE).to_numpy(zero_copy_only=False)
    return dates


def _attributes(log: EventLog, news: Mapping[str, str]) -> str:
    """The columns that attribute conditions see: the customers table `c`, and what `news` says instead.

    A log without a consent column gives everyone's consent; a person missing from a customers table that has one has
    given none.
    """
    known = dict.fromkeys((*ALWAYS_KNOWN, *log.attributes))
    columns = []
    for name in known:
        text = f"CAST(NULL AS {ALWAYS_KNOWN.get(name, 'VARCHAR')})"
        if name in log.attributes:
            text = f"c.{quoting.name(name)}"
            column = log.customer_table.column(name)
            if name not in ALWAYS_KNOWN and column.null_count == len(column):  # of whatever type it is there
                text = f"CAST(NULL AS {_SQL_KINDS[log.attributes[name]]})"
        if name in news:
            kind = "BOOLEAN" if name == "consent" else _SQL_KINDS[_kind(log, name)]
            text = f"COALESCE({news[name]}, TRY_CAST({text} AS {kind}))"
        if name == "consent":
            text = f"COALESCE({text}, {'FALSE' if 'consent' in log.attributes else 'TRUE'})"
        columns.append(f"{text} AS {quoting.name(name)}")
    return ", ".join(columns)


def _attribute_bits(marking: Marking) -> str:
    terms = [f"CASE WHEN ({text}) THEN {1 << b} ELSE 0 END" for b, text in enumerate(marking.attributes)]
    return f"CAST({' + '.join(terms) or '0'} AS BIGINT)"


def bits_by_consent(log: EventLog, marking: Marking, customers: pa.Array, *, consent: bool) -> Ints:
    """Attribute bits of some customers, would they have given consent or refused it."""
    if len(customers) > 1 and not len(log.customer_table):
        return bits_by_consent(log, marking, customers[:1], consent=consent).repeat(len(customers))
    cursor = log.cursor()
    attributes = _attributes(log, {"consent": str(consent).upper()})
    table = fetch(
        cursor,
        f"SELECT {_attribute_bits(marking)} AS bits "
        f"FROM (SELECT {_PLACE}, {attributes} FROM {_customer_rows(log, customers, cursor)}) ORDER BY {_PLACE}",
    )
    return _ints(table, "bits")


def changes_attributes(log: EventLog, marking: Marking) -> bool:
    """Whether events of this log change attributes of customers, besides the consent."""
    return bool(_fact_events(log, marking))


def facts_of(log: EventLog, marking: Marking, row: Ints) -> tuple[Ints, Ints, list[str | None], Ints]:
    """What is known of the customer after each event that changes an attribute or the consent, from that event on.

    Of two that set the same, the one that happened later counts, whichever was received first (rule R18).

    For each of the events `row`, the place of its fact or -1; and for each fact, attribute bits, time zone and dates.
    """
    fact = np.full(len(row), -1, dtype=np.int64)
    names = {*CONSENT_EVENTS, "customer_updated"}
    last = "event_id" if log.has_event_ids else "row"
    window = f'PARTITION BY e.customer_id ORDER BY e.received_at, e."at", e.{last} ROWS UNBOUNDED PRECEDING'
    turn = f'row_number() OVER (PARTITION BY customer_id ORDER BY "at", received_at, {last}) AS {_TURN}'
    news = {}
    for name in dict.fromkeys((*log.attributes, *ALWAYS_KNOWN)):
        told = None
        if name in log.properties and name != "customer_id":
            kind = _SQL_KINDS[_kind(log, name)]
            told = f"CASE WHEN e.event = 'customer_updated' THEN TRY_CAST(e.{quoting.name(name)} AS {kind}) END"
        if name == "consent":
            told = (
                "CASE WHEN e.event = 'email_subscribed' THEN TRUE WHEN e.event IN ('email_unsubscribed', "
                f"'email_complained') THEN FALSE{f' ELSE TRY_CAST({told} AS BOOLEAN)' if told else ''} END"
            )
        if told:
            news[name] = f"arg_max({told}, e.{_TURN}) FILTER ({told} IS NOT NULL) OVER ({window})"
    cursor = log.cursor()
    cursor.register("customer_rows", log.customer_table)
    table = fetch(
        cursor,
        f"SELECT {_PLACE}, {_told(marking)} "
        f"FROM (SELECT e.row AS {_PLACE}, {_attributes(log, news)} "
        f"FROM (SELECT *, {turn} FROM {log.relation} WHERE event IN ({_literals(names)})) e "
        f"LEFT JOIN customer_rows c ON c.customer_id = e.customer_id) ORDER BY {_PLACE}",
    )
    rows, bits = _ints(table, _PLACE), _ints(table, "bits")
    if len(rows):
        place = np.minimum(np.searchsorted(rows, row), len(rows) - 1)
        found = rows[place] == row
        fact[found] = place[found]
    return fact, bits, table.column("zone").to_pylist(), _dates(table, marking)


def _kind(log: EventLog, name: str) -> str:
    """The kind of an attribute, or of the property that tells it where no column of the customers does."""
    return log.attributes.get(name) or log.properties.get(name, "text")


def key_text(log: EventLog, column: str, *, table: str = "") -> str:
    """SQL of a key's value as text. 7.0 is the key 7: whole numbers are such in a frame as soon as one is missing."""
    value = f"{table}{quoting.name(column)}"
    if log.properties.get(column) != "number":
        return f"CAST({value} AS VARCHAR)"
    return (
        f"CASE WHEN abs({value}::DOUBLE) < 1e18 AND {value}::DOUBLE = trunc({value}::DOUBLE) "
        f"THEN {value}::BIGINT::VARCHAR ELSE {value}::VARCHAR END"
    )


def rows_of(
    log: EventLog, rows: Sequence[int] | Ints, columns: Sequence[str], *, as_text: bool = False
) -> pd.DataFrame:
    """Some columns of some events of a log, by row number: one row per number asked, in the order asked.

    `as_text` gives them as the texts of keys.
    """
    cursor = log.cursor()
    cursor.register("asked_rows", pa.table({"asked": np.asarray(rows, dtype=np.int64), "place": np.arange(len(rows))}))
    names = [quoting.name(name) for name in columns]
    if as_text:
        names = [f"{key_text(log, column)} AS {name}" for column, name in zip(columns, names, strict=True)]
    table = fetch(
        cursor, f"SELECT {', '.join(names)} FROM asked_rows LEFT JOIN {log.relation} ON row = asked ORDER BY place"
    )
    frame: pd.DataFrame = table.to_pandas()
    return frame


def events_of(log: EventLog, customer_id: str) -> pd.DataFrame:
    """All events of one customer in the order received: event, at, received_at (UTC) and the properties."""
    columns = ["event", "at", "received_at", *log.properties]
    table = fetch(
        log.cursor(),
        f"SELECT {', '.join(map(quoting.name, columns))} FROM {log.relation} "
        f'WHERE customer_id = {quoting.literal(customer_id)} ORDER BY received_at, "at", "row"',
    )
    frame: pd.DataFrame = table.to_pandas()
    for name in ("at", "received_at"):
        frame[name] = frame[name].astype("datetime64[us]").dt.tz_localize("UTC")
    return frame


def first_heard(log: EventLog) -> pa.Table:
    """When each customer was first heard of: customer_id and first, in UTC microseconds."""
    return fetch(
        log.cursor(),
        f"SELECT customer_id, epoch_us(min(received_at)) AS first FROM {log.relation} GROUP BY customer_id",
    )


def logged_mails(log: EventLog, experiment: str, *, up_to: int) -> pa.Table:
    """Mails of an experiment that the log says were sent by a moment: customer_id, arm and at, one row per mail.

    Moments are microseconds since 1970, UTC.
    """
    cursor = log.cursor()
    return fetch(
        cursor,
        f'SELECT customer_id, CAST(arm AS VARCHAR) AS arm, epoch_us("at") AS at FROM {log.relation} '
        f"WHERE event = 'email_sent' AND experiment = {quoting.literal(experiment)} "
        f'AND epoch_us("at") <= {up_to}',
    )


def mailed_scenarios(log: EventLog | SparkLog, *, up_to: int) -> frozenset[str]:
    """Scenarios of which the log holds mails that were really sent (`email_sent` with the property scenario).

    Args:
        log: what customers did.
        up_to: only mails sent by this moment count, microseconds since 1970, UTC.
    """
    first = log.first_mails if isinstance(log, SparkLog) else _first_mails(log)
    return frozenset(name for name, at in first.items() if name and at <= up_to)


def _first_mails(log: EventLog) -> dict[str, int]:
    """When the first mail of each scenario was sent."""
    if "scenario" not in log.properties or "email_sent" not in log.event_names:
        return {}
    table = fetch(
        log.cursor(),
        f'SELECT CAST(scenario AS VARCHAR) AS name, epoch_us(min("at")) AS first FROM {log.relation} '
        "WHERE event = 'email_sent' GROUP BY ALL",
    )
    return dict(zip(table.column("name").to_pylist(), table.column("first").to_pylist(), strict=True))
