"""The event log: what customers did, read from wherever it lies, checked once, and ready to be replayed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from toolkit.errors import EventLogError
from toolkit.events.assembly import EVENTS, QUARANTINE, Rows, assemble
from toolkit.events.canonical import event_id
from toolkit.events.database import connect, drop_view, fetch, fetch_frame, fetch_row, fetch_rows, utc
from toolkit.events.databases import database_source
from toolkit.events.duplicates import same_rows
from toolkit.events.joining import join_rows
from toolkit.events.people import Customers, People, no_people, people_of, read_people
from toolkit.events.profile import Profile, look
from toolkit.events.quoting import literal, name
from toolkit.events.ranges import Range, ranges_of
from toolkit.events.sources import PathOrPaths, arrow_source, csv_source, frame_source, parquet_source
from toolkit.events.spark import Part, SparkLog, loaded
from toolkit.events.storage import Stored, read_stored, write_stored
from toolkit.events.times import check_zone
from toolkit.events.wording import counted

__all__ = ["EventLog"]

_ONCE = "events_once"
_EXTRA_ROWS = "extra_rows"


class EventLog:
    """What customers did, and who they are.

    Made by one of `from_pandas`, `from_csv`, `from_parquet`, `from_sql` or `open`; never changed afterwards. Every
    event counts once: exact repetitions are dropped, and of events with one event_id the first received counts.

    >>> import pandas as pd
    >>> events = pd.DataFrame({"customer_id": ["ana", "ana", "bo"], "event": ["view", "purchase", "view"],
    ...                        "at": ["2024-05-01 09:00", "2024-05-01 09:20", "2024-05-02 18:30"],
    ...                        "revenue": [None, 20.0, None]})
    >>> log = EventLog.from_pandas(events, zone="Europe/Paris")
    >>> len(log), log.event_counts, log.properties
    (3, {'view': 2, 'purchase': 1}, {'revenue': 'number'})
    >>> str(log.events["at"].iloc[0])
    '2024-05-01 07:00:00+00:00'
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, rows: Rows, people: People, *, stored: bool = False
    ) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._rows = rows
        self._people = people
        self._notes = (*rows.notes, *people.notes)
        self._once = EVENTS if rows.counted_once else None
        self._counts: Mapping[str, int] | None = None
        self._names: tuple[str, ...] | None = rows.names
        self._span: tuple[pd.Timestamp, pd.Timestamp] | None = rows.span
        self._relation = EVENTS
        self._file: Path | None = None
        self.numbered_customers: pa.Array | None = None
        """All customers in the order of customer_id, where the relation has their places in `storage.NUMBER`."""
        self.part = 0
        """Which range of customers this is, of a log that is read range by range."""
        self.stored = stored
        """The rows are sorted by customer_id, received_at and at already."""
        self.marked: dict[Any, Any] = {}
        """What the engine has read of this log, kept so that a second replay need not read again."""

    @classmethod
    def from_pandas(
        cls,
        events: pd.DataFrame,
        *,
        customers: Customers | None = None,
        zone: str | None = None,
        columns: Mapping[str, str] | None = None,
        anonymous: str = "error",
    ) -> EventLog:
        """An event log from a frame.

        Args:
            events: one row per event: customer_id, event, at; optionally received_at, event_id, properties (JSON
                objects) and any further property columns.
            customers: one row per customer, as a frame or the path of a CSV or Parquet file.
            zone: IANA zone of times that carry none, for example "Europe/Paris".
            columns: our name to yours, for example {"at": "timestamp"}.
            anonymous: what to do with rows without a customer_id: "error", or "drop" (counted in `notes`).

        Returns:
            The log; the frame is copied.

        Raises:
            EventLogError: a column is missing, or values in it cannot be used; names where and which.
        """
        connection = connect()
        people = read_people(connection, customers, zone=check_zone(zone))
        rows = assemble(connection, frame_source(connection, events), zone=zone, columns=columns, anonymous=anonymous)
        return cls(connection, rows, people)

    @classmethod
    def from_csv(
        cls,
        paths: PathOrPaths,
        *,
        customers: Customers | None = None,
        zone: str | None = None,
        columns: Mapping[str, str] | None = None,
        anonymous: str = "error",
    ) -> EventLog:
        """An event log from CSV files with a header line; the separator is found out.

        Property columns become numbers, flags or times where every value is one; ids stay text (00123 keeps its
        zeros). Empty fields, NULL and NaN are missing.

        Args:
            paths: a path, a list of paths, a folder, or a pattern such as "data/2024-*.csv".
            customers: as in `from_pandas`.
            zone: as in `from_pandas`.
            columns: as in `from_pandas`.
            anonymous: as in `from_pandas`.

        Returns:
            The log, held in memory.

        Raises:
            EventLogError: no such file, a column is missing, or values in it cannot be used.
        """
        connection = connect()
        people = read_people(connection, customers, zone=check_zone(zone))
        rows = assemble(connection, csv_source(connection, paths), zone=zone, columns=columns, anonymous=anonymous)
        return cls(connection, rows, people)

    @classmethod
    def from_parquet(
        cls,
        paths: PathOrPaths,
        *,
        customers: Customers | None = None,
        zone: str | None = None,
        columns: Mapping[str, str] | None = None,
        anonymous: str = "error",
    ) -> EventLog:
        """An event log over Parquet files; the rows stay in the files and are read when they are needed.

        A JSON `properties` column, or times as text, are opened once and then held in memory.

        Args:
            paths: a path, a list of paths, a folder, or a pattern such as "data/2024-*.parquet".
            customers: as in `from_pandas`.
            zone: as in `from_pandas`.
            columns: as in `from_pandas`.
            anonymous: as in `from_pandas`.

        Returns:
            The log. The files must not change while it is in use.

        Raises:
            EventLogError: no such file, a column is missing, or values in it cannot be used.
        """
        connection = connect()
        people = read_people(connection, customers, zone=check_zone(zone))
        rows = assemble(connection, parquet_source(connection, paths), zone=zone, columns=columns, anonymous=anonymous)
        return cls(connection, rows, people)

    @classmethod
    def from_sql(
        cls,
        url: str,
        table: str,
        *,
        customers: Customers | None = None,
        zone: str | None = None,
        columns: Mapping[str, str] | None = None,
        anonymous: str = "error",
    ) -> EventLog:
        """An event log from a table or a SELECT of SQLite, PostgreSQL or DuckDB; the rows are copied into memory.

        Args:
            url: "sqlite:///shop.db", "postgresql://user@host/database" (needs the extra `postgres`) or
                "duckdb:///shop.duckdb"; four slashes for an absolute path.
            table: a table's name, also "schema.table", or a SELECT.
            customers: a frame or a Path as in `from_pandas`; a text is a table or a SELECT of the same database.
            zone: as in `from_pandas`.
            columns: as in `from_pandas`.
            anonymous: as in `from_pandas`.

        Returns:
            The log, held in memory.

        Raises:
            EventLogError: no such file or table, a column is missing, or values in it cannot be used.
            NotSupportedError: another kind of database.
        """
        connection = connect()
        local = check_zone(zone)
        if isinstance(customers, str):
            people = people_of(connection, database_source(connection, url, customers), zone=local)
        else:
            people = read_people(connection, customers, zone=local)
        source = database_source(connection, url, table)
        rows = assemble(connection, source, zone=zone, columns=columns, anonymous=anonymous)
        return cls(connection, rows, people)

    @staticmethod
    def from_spark(events: Any, *, customers: Any = None, columns: Mapping[str, str] | None = None) -> SparkLog:
        """An event log in Spark: the rows stay there, and what is asked of them runs there.

        Args:
            events: a Spark DataFrame, or the path of Parquet files for a session on this machine's cores; as in
                `from_pandas`, but `at` and `received_at` are timestamps and the columns are what their types say.
            customers: the same, one row per customer.
            columns: as in `from_pandas`.

        Returns:
            The log, for `replay` and `measure`.

        Raises:
            EventLogError: a column is missing, or of a type that cannot be used.
            NotSupportedError: a Spark that is too old; with a path also no pyspark or no Java.
        """
        return SparkLog(loaded(events), customers=loaded(customers), columns=columns)

    @classmethod
    def of_part(cls, part: Part) -> EventLog:
        """Whole customers of a larger log, whose facts it keeps, as `within`."""
        connection = connect()
        people = no_people()
        if part.customers is not None:
            people = people_of(connection, arrow_source(connection, part.customers, "customers", typed=True), zone=None)
        source = arrow_source(connection, part.events, "events", typed=True)
        log = cls(connection, assemble(connection, source, zone=None, columns=None), people)
        log._counts, log._span = part.facts.counts, part.facts.span
        log._names = tuple(sorted(part.facts.counts))
        return log

    @classmethod
    def open(cls, folder: str | PathLike[str], *, answers: str | None = None) -> EventLog:
        """A log stored by `save`; the rows stay in the folder and are read when they are needed.

        Args:
            folder: where it was saved.
            answers: path or URL of what `toolkit track` took, to be read with it; see `with_answers`.

        Returns:
            The log, already sorted by customer; not so with answers.

        Raises:
            EventLogError: no such folder, not a stored log, stored by a newer version, or damaged; no such answers.
        """
        connection = connect()
        stored = read_stored(connection, folder)
        log = cls(connection, stored.rows, stored.people, stored=True)
        log._notes, log._counts, log._span = stored.notes, stored.counts, stored.span
        log._names = tuple(sorted(stored.counts))
        log._file, log.numbered_customers = Path(folder) / "events.parquet", stored.ids
        return log if answers is None else log.with_answers(answers)

    def with_answers(self, answers: str, *, table: str = "answer_events") -> EventLog:
        """This log and the answers to its mails, read as one: email_sent, email_opened, email_clicked and the others.

        Args:
            answers: path of the SQLite file that `toolkit track` writes, or its URL.
            table: where the events are in it.

        Returns:
            A new log. Its own rows stay where they are; the answers received by now are copied.

        Raises:
            EventLogError: no such file or table.
        """
        url = answers if "://" in answers else f"sqlite:///{Path(answers).expanduser()}"
        other = EventLog.from_sql(url, table)
        columns = ", ".join(name(column) for column in other._rows.columns)
        added = fetch(other.cursor(), f"SELECT {columns} FROM {other._distinct()} ORDER BY row")
        label = f"the answers ({answers.rpartition('@')[2]})"
        joined = join_rows(self.cursor(), self._distinct(), self._rows, added=added, more=other._rows, label=label)
        log = EventLog(self._connection, joined.rows, self._people)
        log._lock, log._relation, log._once = self._lock, joined.relation, joined.relation
        log._notes = (*self.notes, *joined.notes, f"{label}: {counted(added.num_rows, 'event')}")
        return log

    def ranges(self, *, events: int) -> list[Range]:
        """Ranges of customers that hold about so many events each; together they hold everyone.

        Args:
            events: how many events a range should hold, at least 1; a customer is never split.

        Returns:
            The ranges in the order of customer_id. On a stored log only the file's footer is read.

        >>> import pandas as pd
        >>> log = EventLog.from_pandas(pd.DataFrame({"customer_id": ["ana", "bo", "bo", "cy"], "event": "view",
        ...                                          "at": pd.Timestamp("2024-05-01", tz="UTC")}))
        >>> log.ranges(events=2)
        [Range(lower='', upper='cy'), Range(lower='cy', upper=None)]
        """
        return ranges_of(self.cursor(), self._distinct(), self._file, events=events)

    def within(self, chosen: Range, *, part: int = 0) -> EventLog:
        """This log, of a range of customers alone: their events and their rows of the customers table.

        Args:
            chosen: which customers.
            part: the place of the range among all, kept in `.part`.

        Returns:
            A log whose span, event names and counts are still those of the whole, so that a scenario means the same
            in it.
        """
        view = f"events_{uuid4().hex[:12]}"
        cursor = self.cursor()
        cursor.execute(f"CREATE VIEW {view} AS SELECT * FROM {self._distinct()} WHERE {chosen.condition}")
        people = People(self._people.table.filter(chosen.mask(self._people.table)), self._people.attributes, ())
        log = EventLog(self._connection, self._rows, people, stored=self.stored)
        log._lock, log._relation, log._once, log.part = self._lock, view, view, part
        log._notes, log._counts, log._names, log._span = self.notes, self.event_counts, self.event_names, self.span
        log.numbered_customers = self.numbered_customers
        weakref.finalize(log, drop_view, self._connection, self._lock, view)
        return log

    def save(self, folder: str | PathLike[str]) -> None:
        """Store this log as a folder: events.parquet (sorted by customer), customers and ids, and manifest.json.

        Nothing is half-written: a new folder is made beside and then renamed. A log already stored there is replaced.

        Args:
            folder: where to; must be free, empty, or a stored log.

        Raises:
            EventLogError: the folder holds something else.
        """
        stored = Stored(self._rows, self._people, self.event_counts, self.span, self.notes)
        write_stored(self.cursor(), self._distinct(), folder, stored)

    def profile(self, *, now: datetime | None = None) -> Profile:
        """What is in this log, and what in it looks wrong.

        Args:
            now: the moment after which an event is in the future; the present by default.

        Returns:
            A `Profile`: print it, show it in a notebook, or take `.table` (one row per event name).
        """
        moment = pd.Timestamp.now("UTC") if now is None else pd.Timestamp(now)
        cursor = self.cursor()
        cursor.register("customer_rows", self.customer_table)
        relation = self._distinct()
        kinds = (self.properties, self.attributes)
        return look(cursor, relation, kinds=kinds, notes=self.notes, now=moment)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A new cursor on this log's database, for one thread."""
        with self._lock:
            cursor = self._connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    @property
    def relation(self) -> str:
        """SQL name of the events: customer_id, event, at, received_at, event_id where given, properties, row.

        Over Parquet without event ids it may still hold exact repetitions of a row.
        """
        return self._relation

    @property
    def has_event_ids(self) -> bool:
        """Event ids were given."""
        return self._rows.has_event_ids

    @property
    def properties(self) -> dict[str, str]:
        """Property to its kind: number, text, flag or time."""
        return dict(self._rows.properties)

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute of customers to its kind: number, text, flag or time."""
        return dict(self._people.attributes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was repaired or left out when the log was read, in words."""
        return self._notes

    @property
    def customer_table(self) -> pa.Table:
        """Customers as an Arrow table: customer_id (unique) and attributes; may have no rows."""
        return self._people.table

    @property
    def customers(self) -> pd.DataFrame:
        """Customers: one row per customer of the customers table, customer_id and attributes."""
        frame: pd.DataFrame = self._people.table.to_pandas()
        return frame

    @property
    def events(self) -> pd.DataFrame:
        """Events: one row per event in the order read, canonical columns first, times in UTC."""
        chosen = ", ".join(name(column) for column in self._rows.columns)
        return fetch_frame(self.cursor(), f"SELECT {chosen} FROM {self._distinct()} ORDER BY row")

    @property
    def quarantine(self) -> pd.DataFrame:
        """Events left out because an earlier received event has their event_id and says something else."""
        chosen = ", ".join(name(column) for column in self._rows.columns)
        where = QUARANTINE if self.has_event_ids and self._relation == EVENTS else f"{self._relation} LIMIT 0"
        return fetch_frame(self.cursor(), f"SELECT {chosen} FROM {where}")

    @property
    def event_names(self) -> tuple[str, ...]:
        """The names of events in the log, sorted; cheaper than `event_counts`."""
        if self._names is None:
            rows = fetch_rows(self.cursor(), f"SELECT DISTINCT event FROM {self._relation} ORDER BY event")
            self._names = tuple(event for (event,) in rows)
        return self._names

    @property
    def event_counts(self) -> dict[str, int]:
        """Event name to number of events, the most frequent first."""
        if self._counts is None:
            query = f"SELECT event, count(*) AS n FROM {self._distinct()} GROUP BY event ORDER BY n DESC, event"
            rows = fetch_rows(self.cursor(), query)
            self._counts = MappingProxyType(dict(rows))
        return dict(self._counts)

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last received_at, UTC; None when the log is empty."""
        if self._span is None:
            query = f"SELECT min(received_at), max(received_at) FROM {self._relation}"
            first, last = fetch_row(self.cursor(), query)
            if first is None:
                return None
            self._span = (utc(first), utc(last))
        return self._span

    def __len__(self) -> int:
        return sum(self.event_counts.values())

    def __repr__(self) -> str:
        if self.span is None:
            return "EventLog(no events)"
        first, last = (f"{moment:%Y-%m-%d}" for moment in self.span)
        return f"EventLog({first} to {last}, {len(self.event_names)} kinds of events)"

    def event_ids(self, rows: npt.NDArray[np.int64] | Sequence[int], *, events: Sequence[str] = ()) -> list[str]:
        """The event ids of some rows: those given, or the md5 of the event's canonical form.

        Args:
            rows: row numbers, as in the column row of `relation`.
            events: the names that these events have, where known: nothing is read of others.

        Returns:
            One id per row number, in the order asked.

        Raises:
            EventLogError: a row number that is not in the log.
        """
        asked = np.asarray(rows, dtype=np.int64)
        if not len(asked):
            return []
        cursor = self.cursor()
        cursor.register("asked", pa.table({"row": asked, "place": np.arange(len(asked))}))
        chosen = "event_id" if self.has_event_ids else event_id(self._rows.properties, given=False)
        named = f"WHERE event IN ({', '.join(map(literal, events))})" if events else ""
        query = f"SELECT {chosen} AS id FROM asked JOIN {self._relation} USING (row) {named} ORDER BY place"
        ids = fetch(cursor, query)
        if len(ids) != len(asked):
            raise EventLogError(f"{len(asked) - len(ids):,} of {len(asked):,} row numbers are not in the log")
        found: list[str] = ids.column("id").to_pylist()
        return found

    def _distinct(self) -> str:
        """Name of the events each counted once; over Parquet the repetitions are looked for on first use."""
        with self._lock:
            if self._once is None:
                cursor = self.cursor()
                repeats = same_rows(cursor, EVENTS, self._rows.columns, into=_EXTRA_ROWS)
                if repeats:
                    cursor.execute(f"CREATE VIEW {_ONCE} AS SELECT * FROM {EVENTS} ANTI JOIN {_EXTRA_ROWS} USING (row)")
                    note = f"{counted(repeats, 'exact repetition')} of a row left out: each counts once"
                    self._notes = (*self._notes, note)
                self._once = _ONCE if repeats else EVENTS
            return self._once
