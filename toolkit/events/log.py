"""The event log: what customers did, read from wherever it lies, checked once, and ready to be replayed."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from toolkit.arrow import TableLike
from toolkit.errors import EventLogError, check_flag, is_text, shown
from toolkit.events.assembly import EVENTS, Rows, assemble
from toolkit.events.canonical import event_id
from toolkit.events.compaction import compacted
from toolkit.events.contents import Contents
from toolkit.events.csv_forms import CsvForm
from toolkit.events.database import connect, drop_view, fetch, reading_bar, run
from toolkit.events.joining import join_rows
from toolkit.events.naming import index_names, of_each_table
from toolkit.events.people import Customers, People, newer_people, no_people, people_of, read_people
from toolkit.events.profile import Profile, look
from toolkit.events.quoting import name
from toolkit.events.ranges import Range, ranges_of
from toolkit.events.replacing import stamp_of
from toolkit.events.sources import PathOrPaths, arrow_source, csv_source, frame_source, parquet_source, path_of
from toolkit.events.spark import Part, SparkLog, loaded
from toolkit.events.sql_sources import database_source
from toolkit.events.storage import NUMBER, Stored, read_ids, read_stored, write_stored
from toolkit.events.times import check_zone, moment_of
from toolkit.readable import counted
from toolkit.tables import FIRST_SEEN

__all__ = ["EventLog"]

_ATTEMPTS = 20


class EventLog(Contents):
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

    @classmethod
    def from_pandas(
        cls,
        events: TableLike,
        *,
        customers: Customers | None = None,
        zone: str | None = None,
        columns: Mapping[str, str] | None = None,
        anonymous: str = "error",
        progress: bool = True,
    ) -> EventLog:
        """An event log from a DataFrame of pandas or polars, a pyarrow Table, a DuckDB relation, or a table of Ibis.

        Args:
            events: one row per event: customer_id, event, at; optionally received_at, event_id, properties (JSON
                objects) and any further property columns. A level of its index that has one of these names, or is named
                in `columns`, is such a column too; the rest of the index is left out.
            customers: one row per customer, as such a table or the path of a CSV or Parquet file.
            zone: IANA zone of times that carry none, for example "Europe/Paris".
            columns: our name to yours, for example {"at": "timestamp"}; of a column of the customers with
                "customers." before it, for example {"customers.email": "mail"}.
            anonymous: what to do with rows without a customer_id: "error", or "drop" (counted in `notes`).
            progress: show a progress bar where it takes longer than a moment.

        Returns:
            The log; the frame is copied.

        Raises:
            EventLogError: a column is missing, or values in it cannot be used; names where and which.
        """
        connection = connect()
        columns, of_people = of_each_table(columns)
        with reading_bar(connection, shown=progress):
            people = read_people(connection, customers, zone=check_zone(zone), columns=of_people)
            source = frame_source(connection, events, index=index_names(columns))
            rows = assemble(connection, source, zone=zone, columns=columns, anonymous=anonymous)
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
        date_format: str | None = None,
        decimal: str = ".",
        encoding: str | None = None,
        growing: bool = False,
        progress: bool = True,
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
            date_format: of dates and times not written as 2026-11-27 14:05: "day first" (27.11.2026 14:05, 27/11/2026),
                "month first" (11/27/2026 2:05 PM), or a format of strptime such as "%d.%m.%y %H:%M". Never guessed.
                Columns in which every value is such become times; others are read as without it.
            decimal: "," where decimals stand after a comma: 19,90 and 1.234,50.
            encoding: of files that are neither UTF-8 nor UTF-16, such as "cp1252". Like the two before it, it holds for
                a CSV file of customers, too.
            growing: another program appends to the files of events: a last line that does not end yet is left out,
                which `notes` tells.
            progress: as in `from_pandas`.

        Returns:
            The log, held in memory.

        Raises:
            EventLogError: no such file, a column is missing, or values in it cannot be used; names file, row and value.
        """
        form = CsvForm(date_format, decimal, encoding)
        check_flag(growing, name="growing")
        connection = connect()
        columns, of_people = of_each_table(columns)
        with reading_bar(connection, shown=progress):
            people = read_people(connection, customers, zone=check_zone(zone), columns=of_people, form=form)
            source = csv_source(connection, paths, form, growing=growing)
            rows = assemble(connection, source, zone=zone, columns=columns, anonymous=anonymous)
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
        progress: bool = True,
    ) -> EventLog:
        """An event log over Parquet files; the rows stay in the files and are read when they are needed.

        A JSON `properties` column, or times as text, are opened once and then held in memory.

        Args:
            paths: a path, a list of paths, a folder, or a pattern such as "data/2024-*.parquet".
            customers: as in `from_pandas`.
            zone: as in `from_pandas`.
            columns: as in `from_pandas`.
            anonymous: as in `from_pandas`.
            progress: as in `from_pandas`.

        Returns:
            The log. The files must not change while it is in use; where one did, what reads them says so.

        Raises:
            EventLogError: no such file, a column is missing, or values in it cannot be used.
        """
        connection = connect()
        columns, of_people = of_each_table(columns)
        with reading_bar(connection, shown=progress):
            people = read_people(connection, customers, zone=check_zone(zone), columns=of_people)
            source = parquet_source(connection, paths)
            rows = assemble(connection, source, zone=zone, columns=columns, anonymous=anonymous)
        log = cls(connection, rows, people)
        log._stamps = source.stamps if rows.lazy else {}
        return log

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
        progress: bool = True,
    ) -> EventLog:
        """An event log from a table or a SELECT of SQLite, PostgreSQL or DuckDB; the rows are copied into memory.

        Args:
            url: "sqlite:///shop.db", "postgresql://user@host/database" (needs the extra `postgres`) or
                "duckdb:///shop.duckdb"; four slashes for an absolute path.
            table: a table's name, also "schema.table", or a SELECT.
            customers: a table or a Path as in `from_pandas`; a text is a table or a SELECT of the same database.
            zone: as in `from_pandas`.
            columns: as in `from_pandas`.
            anonymous: as in `from_pandas`.
            progress: as in `from_pandas`.

        Returns:
            The log, held in memory.

        Raises:
            EventLogError: no such file or table, a column is missing, or values in it cannot be used.
            NotSupportedError: another kind of database.
        """
        connection = connect()
        local = check_zone(zone)
        columns, of_people = of_each_table(columns)
        with reading_bar(connection, shown=progress):
            if isinstance(customers, str):
                source = database_source(connection, url, customers)
                people = people_of(connection, source, zone=local, columns=of_people)
            else:
                people = read_people(connection, customers, zone=local, columns=of_people)
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
    def open(cls, folder: str | PathLike[str], *, answers: str | PathLike[str] | None = None) -> EventLog:
        """A log stored by `save`; the rows stay in the folder and are read when they are needed.

        Args:
            folder: where it was saved.
            answers: path or URL of what `toolkit track` took, to be read with it; see `with_answers`.

        Returns:
            The log, already sorted by customer; not so with answers.

        Raises:
            EventLogError: no such folder, not a stored log, stored by a newer version, or damaged; no such answers.
        """
        place = Path(path_of(folder, what="open", allowed="the folder of a stored log"))
        for _ in range(_ATTEMPTS):
            log, fault = cls._opened(place)
            if log is not None:
                break
        else:
            raise fault or EventLogError(f"{place}: the log is stored anew again and again; try once more later")
        return log if answers is None else log.with_answers(answers)

    @classmethod
    def _opened(cls, place: Path) -> tuple[EventLog | None, EventLogError | None]:
        """A stored log as it is now; None, and what went wrong, where another took its place while it was read."""
        file = place / "events.parquet"
        stamp = stamp_of(file)
        try:
            with ThreadPoolExecutor(1) as aside:  # names are read while the database starts
                ids = aside.submit(read_ids, place)
                connection = connect()
                stored = read_stored(connection, place, ids.result)
        except EventLogError as fault:
            if stamp_of(file) == stamp:
                raise
            return None, fault
        if stamp_of(file) != stamp:
            return None, None
        log = cls(connection, stored.rows, stored.people, stored=True)
        log._notes, log._counts, log._span = stored.notes, stored.counts, stored.span
        log._names, log.left_out = tuple(sorted(stored.counts)), stored.left_out
        log._file, log._stamp, log.numbered_customers = file, stamp, stored.ids
        return log, None

    def with_answers(self, answers: str | PathLike[str], *, table: str = "answer_events") -> EventLog:
        """This log and the answers to its mails, read as one: email_sent, email_opened, email_clicked and the others.

        Args:
            answers: path of the SQLite file that `toolkit track` writes, or its URL.
            table: where the events are in it; also a SELECT of some of them.

        Returns:
            A new log. Its own rows stay where they are; the answers received by now are copied.

        Raises:
            EventLogError: no such file or table.
        """
        if isinstance(answers, str) and "://" in answers:
            url = given = answers
        else:
            given = path_of(answers, what="answers", allowed="the path or URL of what `toolkit track` took")
            url = f"sqlite:///{Path(given).expanduser()}"
        other = EventLog.from_sql(url, table, progress=False)
        return self._joined(other, f"the answers ({given.rpartition('@')[2]})", self._people)

    def followed_by(self, later: EventLog) -> EventLog:
        """This log and what came after it, read as one: a history, or a compact log, and the events of a new day.

        An event that stands in both counts once, so that days may overlap; a late event is as late as its received_at
        says. Of a customer in both customers tables the later row counts.

        Args:
            later: the further events; they are copied.

        Returns:
            A new log. Its own rows stay where they are.

        Raises:
            EventLogError: what comes after is no log; an attribute of customers is of another kind there.
        """
        _check_log(later)
        return self._joined(later, "the later log", newer_people(self._people, later._people))

    def compacted(self, names: Collection[str]) -> EventLog:
        """This log with the events of some names only, each with its id; `toolkit.compact` asks a program for them.

        When each customer was first heard of stays known (`tables.FIRST_SEEN`), and so does the span of the whole.

        Args:
            names: of the events that stay.

        Returns:
            A new log, to be saved; it knows what was left out, and refuses a program that asks for it.
        """
        if isinstance(names, str) or not all(is_text(one) for one in _listed(names)):
            raise EventLogError(f"names={shown(names)}; allowed: a list of names of events, for example ['purchase']")
        more = () if self.numbered_customers is None else (NUMBER,)
        view = compacted(self.cursor(), self._distinct(), self._rows, names, more=more)
        rows = Rows(self._rows.properties, True, self._rows.lazy, True)
        log = self._derived(view, rows, self._people, stored=self.stored)
        log._span, log.numbered_customers = self.span, self.numbered_customers
        log.left_out = tuple(sorted({*self.left_out, *self.event_names} - {*names, FIRST_SEEN}))
        return log

    def _joined(self, other: EventLog, label: str, people: People) -> EventLog:
        """This log and a copy of another's events."""
        given = other._rows.has_event_ids
        columns = ", ".join(name(column) for column in other._rows.columns)
        columns += "" if given else f", {event_id(other._rows.properties, given=False)} AS event_id"
        added = fetch(other.cursor(), f"SELECT {columns} FROM {other._distinct()} ORDER BY row")
        joined = join_rows(self.cursor(), self._distinct(), self._rows, added=added, more=other._rows, label=label)
        log = self._derived(joined.relation, joined.rows, people)
        log._notes = (*self.notes, *joined.notes, f"{label}: {counted(added.num_rows, 'event')}")
        log._span = _both(self.span, other.span)
        log.left_out = tuple(sorted({*self.left_out, *other.left_out}))
        return log

    def _derived(self, relation: str, rows: Rows, people: People, *, stored: bool = False) -> EventLog:
        """A log on the same database with the events of another relation, each once."""
        log = EventLog(self._connection, rows, people, stored=stored)
        log._lock, log._relation, log._once = self._lock, relation, relation
        log._notes, log.left_out, log._source = self.notes, self.left_out, self
        weakref.finalize(log, drop_view, self._connection, self._lock, relation)
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
        if not isinstance(chosen, Range):
            raise EventLogError(
                f"within: found {shown(chosen)}; allowed: a range of customers, one of log.ranges(events=…); for a "
                "period of time, run.between(since, before)"
            )
        view = f"events_{uuid4().hex[:12]}"
        run(self.cursor(), f"CREATE VIEW {view} AS SELECT * FROM {self._distinct()} WHERE {chosen.condition}")
        people = People(self._people.table.filter(chosen.mask(self._people.table)), self._people.attributes, ())
        log = self._derived(view, self._rows, people, stored=self.stored)
        log._counts, log._names, log._span = self.event_counts, self.event_names, self.span
        log.part, log.numbered_customers = part, self.numbered_customers
        return log

    def save(self, folder: str | PathLike[str], *, progress: bool = True) -> None:
        """Store this log as a folder: events.parquet (sorted by customer), customers and ids, and manifest.json.

        Nothing is half-written: a new folder is made beside and then renamed. A log already stored there is replaced,
        and if it is the one this was made of, neither can be read any more, here or in another program: open the folder
        again. Where another program stored a log there since this one was opened, nothing is replaced.

        Args:
            folder: where to; must be free, empty, or a stored log.
            progress: show a progress bar where it takes longer than a moment.

        Raises:
            EventLogError: the folder holds something else, cannot be written, or is no longer the log this was made of.
        """
        known = (self._rows, self._people, self.event_counts, self.span, self.notes)
        stored = Stored(*known, left_out=self.left_out, whole=self._relation == EVENTS)
        write_stored(self.cursor(), self._distinct(), folder, stored, progress=progress, check=self.check_in_place)

    def profile(self, *, now: datetime | str | None = None) -> Profile:
        """What is in this log, and what in it looks wrong.

        Args:
            now: the moment after which an event is in the future, with a time zone; the present by default.

        Returns:
            A `Profile`: print it, show it in a notebook, or take `.table` (one row per event name).

        Raises:
            InputError: `now` is no moment, or has no time zone.
        """
        moment = pd.Timestamp.now("UTC") if now is None else moment_of(now, name="now")
        cursor = self.cursor()
        cursor.register("customer_rows", self.customer_table)
        relation = self._distinct()
        kinds = (self.properties, self.attributes)
        return look(cursor, relation, kinds=kinds, notes=self.notes, now=moment)


def _both(
    one: tuple[pd.Timestamp, pd.Timestamp] | None, other: tuple[pd.Timestamp, pd.Timestamp] | None
) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """The span of two logs together."""
    known = [span for span in (one, other) if span is not None]
    return (min(span[0] for span in known), max(span[1] for span in known)) if known else None


def _listed(names: object) -> list[object]:
    """What stands in a list; one thing alone where there is none."""
    return list(names) if isinstance(names, Iterable) else [names]


def _check_log(later: object) -> None:
    if not isinstance(later, EventLog):
        raise EventLogError(
            f"followed_by: found {type(later).__name__}; allowed: an EventLog, for example EventLog.from_pandas(frame)"
        )
