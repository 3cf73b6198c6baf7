"""What a log holds: its rows in a database of its own, their names, counts and span, and who the customers are."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from toolkit.errors import EventLogError, is_text, shown
from toolkit.events.assembly import EVENTS, QUARANTINE, Rows
from toolkit.events.canonical import event_id
from toolkit.events.database import fetch, fetch_frame, fetch_row, fetch_rows, run, settle, utc
from toolkit.events.duplicates import same_rows
from toolkit.events.kinds import EMPTY
from toolkit.events.people import People
from toolkit.events.quoting import literal, name
from toolkit.events.replacing import Stamp, stamp_of
from toolkit.readable import counted

__all__ = ["Contents", "row_numbers"]

_ONCE = "events_once"
_EXTRA_ROWS = "extra_rows"
_FEW_ROWS = 16


class Contents:
    """The rows of a log and its customers, however they were read; never changed afterwards."""

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
        self._file: Path | None = None  # where the rows lie, of a stored log
        self._stamp: Stamp | None = None  # of that file, as it was opened
        self._stamps: Mapping[Path, Stamp | None] = {}  # of files of others, as they were when they were read
        self._source: Contents | None = None  # whose relation a derived log reads, and so keeps
        self._unreadable: dict[str, int] = {}
        self._carried: dict[str, tuple[str, ...]] = {}
        self.numbered_customers: pa.Array | None = None
        """All customers in the order of customer_id, where the relation has their places in `storage.NUMBER`."""
        self.part = 0
        """Which range of customers this is, of a log that is read range by range."""
        self.left_out: tuple[str, ...] = ()
        """Names of the events that a compact log is without."""
        self.stored = stored
        """The rows are sorted by customer_id, received_at and at already."""
        self.marked: dict[Any, Any] = {}
        """What the engine has read of this log, kept so that a second replay need not read again."""

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A new cursor on this log's database, for one thread.

        Raises:
            EventLogError: another log was stored in its place.
        """
        self.check_in_place()
        with self._lock:
            cursor = self._connection.cursor()
        settle(cursor)
        return cursor

    def check_in_place(self) -> None:
        """Refuse to read on where another log was stored in the place of this one, or its files were written anew, by
        whichever program.

        Raises:
            EventLogError: names the folder or the file.
        """
        known: Contents | None = self
        while known is not None:
            if known._file is not None and stamp_of(known._file) not in (None, known._stamp):
                raise EventLogError(
                    f"{known._file.parent}: this log was read from there, and another was stored in its place: open it "
                    "again"
                )
            for file, stamp in known._stamps.items():
                if stamp_of(file) not in (None, stamp):
                    raise EventLogError(f"{file} was written anew since this log was read from it: read it again")
            known = known._source

    @property
    def relation(self) -> str:
        """SQL name of the events: customer_id, event, at, received_at, event_id where given, properties, row.

        Over Parquet without event ids it may still hold exact repetitions of a row.
        """
        return self._relation

    @property
    def whole_file(self) -> Path | None:
        """The file whose rows, with numbers for customers, are the events of this log, if there is one."""
        self.check_in_place()
        return self._file if self._relation == EVENTS and self.numbered_customers is not None else None

    @property
    def has_event_ids(self) -> bool:
        """Event ids were given."""
        return self._rows.has_event_ids

    @property
    def properties(self) -> dict[str, str]:
        """Property to its kind: number, text, flag or time; empty where no event has a value of it."""
        return dict(self._rows.properties)

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute of customers to its kind: number, text, flag or time; empty where nobody has a value of it.

        Of an empty column the property of that name decides, by which `customer_updated` may set it.
        """
        return {
            attribute: self._rows.properties.get(attribute, EMPTY) if kind == EMPTY else kind
            for attribute, kind in self._people.attributes.items()
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What was repaired or left out when the log was read, in words."""
        return self._notes

    @property
    def customer_table(self) -> pa.Table:
        """Customers as an Arrow table: customer_id (unique) and attributes; may have no rows."""
        return self._people.table

    def carried(self, event: str) -> tuple[str, ...]:
        """The properties that events of a name ever carry, in the order of the log's columns.

        Raises:
            EventLogError: what is no name.
        """
        _check_text(event, "carried", "the name of an event")
        if event not in self._carried:
            names = tuple(self.properties)
            counts = ", ".join(["count(*)", *(f"count({name(one)})" for one in names)])
            asked = f"SELECT {counts} FROM {self._distinct()} WHERE event = ?"
            ((_, *found),) = fetch_rows(self.cursor(), asked, [event])
            self._carried[event] = tuple(one for one, count in zip(names, found, strict=True) if count)
        return self._carried[event]

    def unreadable_dates(self, attribute: str) -> int:
        """How many customers have something in an attribute that is no date, such as 31/12/1990."""
        _check_text(attribute, "unreadable_dates", "the name of an attribute")
        if self.attributes.get(attribute) != "text":
            return 0
        if attribute not in self._unreadable:
            cursor = self.cursor()
            cursor.register("told", pa.table({"told": self.customer_table.column(attribute)}))
            asked = "SELECT count(*) FROM told WHERE trim(told) <> '' AND TRY_CAST(told AS DATE) IS NULL"
            ((self._unreadable[attribute],),) = fetch_rows(cursor, asked)
        return self._unreadable[attribute]

    def named_but_for_zeros(self, customer_id: str) -> tuple[str, ...]:
        """Up to three customers with events whose ids differ from one only in the zeros that they begin with."""
        if not is_text(customer_id):
            return ()
        asked = (
            f"SELECT DISTINCT customer_id FROM {self._distinct()} WHERE ltrim(customer_id, '0') = ltrim(?, '0') "
            "ORDER BY customer_id LIMIT 3"
        )
        return tuple(one for (one,) in fetch_rows(self.cursor(), asked, [customer_id]))

    def unreadable_numbers(self, event: str, prop: str) -> tuple[int, str]:
        """How many events of a name hold what is no number, such as 49,90 €, in a property; and one of these texts."""
        _check_text(event, "unreadable_numbers", "the name of an event")
        _check_text(prop, "unreadable_numbers", "the name of a property")
        if self.properties.get(prop) != "text":
            return 0, ""
        asked = (
            f"SELECT count(*), min({name(prop)}) FROM {self._distinct()} "
            f"WHERE event = ? AND trim({name(prop)}) <> '' AND TRY_CAST({name(prop)} AS DOUBLE) IS NULL"
        )
        ((count, example),) = fetch_rows(self.cursor(), asked, [event])
        return count, example or ""

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
        where = QUARANTINE if self._may_have_put_aside else f"{self._relation} LIMIT 0"
        return fetch_frame(self.cursor(), f"SELECT {chosen} FROM {where}")

    @property
    def quarantined(self) -> int:
        """How many events stand in `quarantine`."""
        return int(fetch_row(self.cursor(), f"SELECT count(*) FROM {QUARANTINE}")[0]) if self._may_have_put_aside else 0

    @property
    def _may_have_put_aside(self) -> bool:
        return self.has_event_ids and self._relation == EVENTS

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
            EventLogError: a row number that is not in the log, or whose event has none of the names; names that are no
                list of texts.
        """
        asked, called = row_numbers(rows), _names(events, "events")
        if not len(asked):
            return []
        cursor = self.cursor()
        cursor.register("asked", pa.table({"row": asked, "place asked": np.arange(len(asked))}))
        chosen = "event_id" if self.has_event_ids else event_id(self._rows.properties, given=False)
        where = [f"event IN ({', '.join(map(literal, sorted(called)))})"] if called else []
        if len(asked) <= _FEW_ROWS:  # said one by one, a file is read past where none of them is
            where.append(f"({' OR '.join(f'row = {row}' for row in asked)})")
        named = f"WHERE {' AND '.join(where)}" if where else ""
        query = f'SELECT {chosen} AS id FROM asked JOIN {self._relation} USING (row) {named} ORDER BY "place asked"'
        ids = fetch(cursor, query)
        if len(ids) != len(asked):
            raise EventLogError(f"{len(asked) - len(ids):,} of {len(asked):,} row numbers are not in the log")
        found: list[str] = ids.column("id").to_pylist()
        return found

    def check_holds(self, names: Collection[str]) -> None:
        """Refuse events that a compact log was left without.

        Raises:
            EventLogError: names them; or what is given is no list of names.
        """
        gone = sorted(_names(names, "names") & set(self.left_out))
        if gone:
            raise EventLogError(
                f"this log was compacted without the events {', '.join(map(repr, gone))}, which are asked for now; "
                "compact the whole log again for all programs that it is to serve"
            )

    def _distinct(self) -> str:
        """Name of the events each counted once; over Parquet the repetitions are looked for on first use."""
        with self._lock:
            if self._once is None:
                cursor = self.cursor()
                repeats = same_rows(cursor, EVENTS, self._rows.columns, into=_EXTRA_ROWS)
                if repeats:
                    run(cursor, f"CREATE VIEW {_ONCE} AS SELECT * FROM {EVENTS} ANTI JOIN {_EXTRA_ROWS} USING (row)")
                    note = f"{counted(repeats, 'exact repetition')} of a row left out: each counts once"
                    self._notes = (*self._notes, note)
                self._once = _ONCE if repeats else EVENTS
            return self._once


def row_numbers(rows: object) -> npt.NDArray[np.int64]:
    """Row numbers that were handed over.

    Raises:
        EventLogError: something else.
    """
    try:
        given = np.asarray(rows)
        numbers = given.astype(np.int64)
        is_list = given.ndim == 1 and (not len(given) or given.dtype.kind in "iu")
    except (TypeError, ValueError, OverflowError):
        is_list = False
    if not is_list:
        raise EventLogError(f"rows: found {shown(rows)}; allowed: row numbers of the log, in a list or an array")
    return numbers


def _names(given: object, call: str) -> set[str]:
    """Names of events, in whatever collection."""
    if isinstance(given, str) or not isinstance(given, Collection) or not all(is_text(one) for one in given):
        allowed = "a list of names of events, for example ['purchase']"
        raise EventLogError(f"{call}: found {shown(given)}; allowed: {allowed}")
    return set(given)


def _check_text(given: object, call: str, what: str) -> None:
    if not is_text(given):
        raise EventLogError(f"{call}: found {shown(given)}; allowed: {what}")
