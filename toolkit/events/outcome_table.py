"""Outcomes where they lie: over Parquet files, or straight over an event log; only sums leave the database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import dataset
from pyarrow.fs import FileSystem

from toolkit.errors import EventLogError, did_you_mean, shown
from toolkit.events.database import connect, fetch, fetch_rows
from toolkit.events.log import EventLog
from toolkit.events.outcome_footers import Footer, database_types, read_footers
from toolkit.events.outcome_labels import label_in, label_of_files
from toolkit.events.outcome_pieces import column_of, pieces_of
from toolkit.events.outcome_sums import ArmSums, OutcomeSums, UnitCheck
from toolkit.events.postgres_outcomes import PostgresOutcomes
from toolkit.events.quoting import literal, name, paths
from toolkit.events.sources import PathOrPaths, columns_of, find_files, first_line
from toolkit.events.sql_sources import database_source

__all__ = ["ArmSums", "OutcomeTable", "UnitCheck"]

_PIECE = 65_536  # rows at a time, so that what is made of them stays in the cache
_OWN = ("unit", "arm", "entered_at")
_LONGEST = timedelta(days=36_525)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


class OutcomeTable(OutcomeSums):
    """Outcomes in a database: what `experiment` asks of it, DuckDB answers, and rows stay where they are.

    >>> import pandas as pd
    >>> events = pd.DataFrame({"customer_id": ["ana", "bo", "bo"], "event": ["assigned", "assigned", "purchase"],
    ...                        "at": ["2024-05-01", "2024-05-01", "2024-05-03"], "arm": ["control", "mail", None],
    ...                        "revenue": [None, None, 20.0]})
    >>> log = EventLog.from_pandas(events, zone="UTC")
    >>> table = OutcomeTable.from_log(log, entry="assigned", within="2d", flags={"converted": "purchase"},
    ...                               sums={"revenue": ("purchase", "revenue")})
    >>> table.frame()[["unit", "arm", "converted", "revenue"]].values.tolist()
    [['ana', 'control', False, 0.0], ['bo', 'mail', True, 20.0]]
    """

    def __init__(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        relation: str,
        *,
        types: Mapping[str, str],
        about: Mapping[str, Any] | None = None,
        footers: Sequence[Footer] = (),
    ) -> None:
        super().__init__(relation, types=types, about=about)
        self._cursor = cursor
        self._footers = tuple(footers)

    @classmethod
    def from_parquet(cls, where: PathOrPaths) -> OutcomeTable:
        """Outcomes in Parquet files.

        Args:
            where: a path, a list of paths, a folder, or a pattern such as "outcomes/*.parquet"; one row per unit. A
                remote folder or file is a URL that pyarrow reads, such as "s3://bucket/outcomes/" or "gs://…".

        Returns:
            The table; only the files' footers have been read. The files must not change while it is in use. What
            `measure` said of the outcomes, such as whether the arms were randomised, stands in the footer of a file
            that pandas wrote, and is heeded.

        Raises:
            EventLogError: no such file, or it is not Parquet.
        """
        if isinstance(where, str) and "://" in where:
            return cls._from_remote(where)
        files = find_files(where, folder_pattern="**/*.parquet")
        footers = read_footers(files)
        relation = f"read_parquet({paths(files)}{', union_by_name=true' if len(files) > 1 else ''})"
        types = database_types(footers)
        if types is None:
            try:
                types = columns_of(_cursor(), relation)
            except duckdb.Error as fault:
                raise EventLogError(f"{files[0]}: cannot be read as Parquet: {first_line(fault)}") from fault
        about = label_of_files(footer.schema for footer in footers)
        return cls(_cursor, relation, types=types, about=about, footers=footers)

    @classmethod
    def _from_remote(cls, url: str) -> OutcomeTable:
        """Parquet behind a URL: pyarrow reads the columns that a statement asks for, DuckDB adds them up."""
        try:
            files, path = FileSystem.from_uri(url)
            found = dataset(path, filesystem=files, format="parquet")
        except (OSError, ValueError, pa.ArrowException) as fault:
            raise EventLogError(f"{url}: cannot be read as Parquet: {str(fault).splitlines()[0]}") from fault
        connection = connect()

        def cursor() -> duckdb.DuckDBPyConnection:
            opened = connection.cursor()
            opened.register("remote_outcomes", found)
            return opened

        types = columns_of(cursor(), "remote_outcomes")
        return cls(cursor, "remote_outcomes", types=types, about=label_in(found.schema.metadata))

    @classmethod
    def from_sql(cls, url: str, table: str) -> OutcomeSums:
        """Outcomes in a table or a SELECT of a database.

        PostgreSQL adds them up itself, in one snapshot, and rows stay there; of SQLite and DuckDB the rows are copied
        into memory.

        Args:
            url: as for `EventLog.from_sql`, for example "postgresql://user@host/database".
            table: a table's name, also "schema.table", or a SELECT; one row per unit.

        Returns:
            The table, for `experiment`.

        Raises:
            EventLogError: no such table (names the nearest), or the database refuses.
            NotSupportedError: another kind of database.
        """
        if url.startswith(("postgresql", "postgres:")):
            return PostgresOutcomes(url, table)
        connection = connect()
        found = database_source(connection, url, table)
        return cls(connection.cursor, found.relation, types=found.columns)

    @classmethod
    def from_log(
        cls,
        log: EventLog,
        *,
        entry: str,
        within: str | timedelta,
        arm: str = "arm",
        flags: Mapping[str, str] | None = None,
        counts: Mapping[str, str] | None = None,
        sums: Mapping[str, tuple[str, str]] | None = None,
        before: str | timedelta | None = None,
    ) -> OutcomeTable:
        """Outcomes of an experiment that an event log tells of itself: who was assigned, and what followed.

        A customer's window begins with the first `entry` event and is open at its beginning, closed at its end.
        Customers whose window has not closed by the end of the log are left out and counted.

        Args:
            log: the events.
            entry: the event by which a customer entered the experiment.
            within: how long after it counts, for example "14d"; a day as 24 hours.
            arm: property of the entry event that names the arm.
            flags: name of an outcome to the event that makes it true: {"converted": "purchase"}.
            counts: name of an outcome to the event that is counted: {"orders": "purchase"}.
            sums: name of an outcome to an event and the property summed over it: {"revenue": ("purchase", "revenue")}.
            before: how long before entry the same is counted, as covariates `pre_…` of counts and sums.

        Returns:
            The table, one row per customer and arm: unit, arm, entered_at, and the outcomes. A customer who entered
            in several arms has several rows, which `experiment` refuses.

        Raises:
            EventLogError: an event or property that the log does not have (names the nearest), an outcome named twice,
                or a window that is no length of time.
        """
        flags, counts, sums = flags or {}, counts or {}, sums or {}
        _check_said(flags, counts, sums)
        _check_named(log, entry, arm, flags, counts, sums, before=before is not None)
        window, back = _length(within), None if before is None else _length(before)
        outcomes = {
            **{called: f"max({_while(event, window, '1')})::BOOLEAN" for called, event in flags.items()},
            **{called: f"count({_while(event, window, '1')})" for called, event in counts.items()},
            **{
                called: f"coalesce(sum({_while(event, window, f'TRY_CAST(l.{name(held)} AS DOUBLE)')}), 0)"
                for called, (event, held) in sums.items()
            },
        }
        for called in flags:
            outcomes[called] = f"coalesce({outcomes[called]}, false)"
        if back is not None:
            outcomes |= {f"pre_{called}": f"count({_prior(event, back, '1')})" for called, event in counts.items()}
            outcomes |= {
                f"pre_{called}": f"coalesce(sum({_prior(event, back, f'TRY_CAST(l.{name(held)} AS DOUBLE)')}), 0)"
                for called, (event, held) in sums.items()
            }
        events = log._distinct()
        chosen = ", ".join(f"{how} AS {name(called)}" for called, how in outcomes.items())
        last = f"(SELECT max(received_at) FROM {events})"
        entries = (
            f'SELECT customer_id AS unit, CAST({name(arm)} AS VARCHAR) AS arm, min("at") AS entered_at FROM {events} '
            f"WHERE event = {literal(entry)} GROUP BY ALL"
        )
        relation = (
            f"(SELECT e.unit, e.arm, e.entered_at{', ' if chosen else ''}{chosen} FROM ({entries}) e "
            f"LEFT JOIN {events} l ON l.customer_id = e.unit "
            f"WHERE e.entered_at + {_interval(window)} <= {last} GROUP BY e.unit, e.arm, e.entered_at)"
        )
        ((still_open,),) = fetch_rows(
            log.cursor(), f"SELECT count(*) FROM ({entries}) WHERE entered_at + {_interval(window)} > {last}"
        )
        about = {"label": "observed", "window": str(within), "open_windows": int(still_open), "times_in": "UTC"}
        return cls(log.cursor, relation, types=columns_of(log.cursor(), relation), about=about)

    def frame(self) -> pd.DataFrame:
        """All rows as a frame, sorted by unit where there is one; what is known of them is in `.attrs["toolkit"]`."""
        order = f" ORDER BY {name('unit')}" if "unit" in self.kinds else ""
        found: pd.DataFrame = fetch(self._cursor(), f"SELECT * FROM {self._relation}{order}").to_pandas()
        found.attrs["toolkit"] = dict(self.about)
        return found

    def _answers(self, query: str) -> list[tuple[Any, ...]]:
        return fetch_rows(self._cursor(), query)

    def pieces(self, columns: Sequence[str], *, arm: str) -> Sequence[Iterator[pa.RecordBatch]] | None:
        """The rows of Parquet files, in their order, in one run or two; None where the database must answer."""
        return pieces_of(self._footers, columns, labels=arm) if self._footers else None

    def column(self, column: str) -> Iterator[pa.Array] | None:
        """One column of Parquet files, in the order of the rows; None where the database must answer."""
        return column_of(self._footers, column) if self._footers else None

    def units(self, unit: str, *, arm: str) -> UnitCheck:
        """Whether every unit has one row and one arm; cheap where they are sorted, or whole numbers close together."""
        column = fetch(self._cursor(), f"SELECT {name(unit)} AS unit FROM {self._relation}").column("unit")
        if not column.null_count and _each_once(column):
            return UnitCheck(len(column), 0, 0, 0, "")
        return super().units(unit, arm=arm)

    def added_up(self, unit: str, *, arm: str, summed: Sequence[str], kept: Sequence[str]) -> OutcomeTable:
        """The same with one row per unit: some columns summed, of others the unit's first known value."""
        chosen = [
            f"arg_min({name(arm)}, row) AS {name(arm)}",
            *map(self._sum, summed),
            *(f"arg_min({name(column)}, row) FILTER (NOT {self._gap(column)}) AS {name(column)}" for column in kept),
        ]
        rows = f"(SELECT *, row_number() OVER () AS row FROM {self._relation})"
        relation = f"(SELECT {name(unit)}, {', '.join(chosen)} FROM {rows} GROUP BY {name(unit)})"
        return OutcomeTable(self._cursor, relation, types=columns_of(self._cursor(), relation), about=self.about)

    def rows(self, columns: Sequence[str], *, arm: str, label: Any) -> pd.DataFrame:
        """Some columns of the rows of one arm, in the order of the table; columns it lacks are left out."""
        there = [column for column in dict.fromkeys(columns) if column in self.kinds]
        chosen = ", ".join(name(column) for column in there) or "1 AS one"
        table = fetch(self._cursor(), f"SELECT {chosen} FROM {self._relation} WHERE {self._is(arm, label)}")
        frame: pd.DataFrame = table.to_pandas()
        return frame[there]


def _cursor() -> duckdb.DuckDBPyConnection:
    return _database().cursor()


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    """One database for all outcomes in files: it holds nothing, and opening one takes as long as a million rows."""
    return connect()


def _each_once(column: pa.ChunkedArray) -> bool:
    """Whether no value comes twice, found without hashing where that is possible."""
    if pa.types.is_integer(column.type):
        if not len(column):
            return True
        low, high = (end.as_py() for end in pc.min_max(column).values())
        if high - low < 8 * len(column):
            seen = np.zeros(high - low + 1, dtype=bool)
            for chunk in column.chunks:
                for at in range(0, len(chunk), _PIECE):
                    seen[chunk[at : at + _PIECE].to_numpy() - low] = True
            return int(np.count_nonzero(seen)) == len(column)
    rising = pc.all(pc.less(column[:-1], column[1:])).as_py() if len(column) > 1 else True
    return bool(rising) or len(pc.unique(column)) == len(column)


def _length(window: str | timedelta) -> int:
    """A window in microseconds, a day as 24 hours."""
    parts = _PART.findall(window) if isinstance(window, str) else []
    if isinstance(window, timedelta):
        found = window
    elif parts and not _PART.sub("", window).strip():
        try:
            found = sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
        except OverflowError:
            found = timedelta.max
    else:
        raise EventLogError(f"window: found {shown(window)}; allowed: a number and s, m, h, d or w, for example 14d")
    if found <= timedelta(0):
        raise EventLogError(f"window: found {shown(window)}; allowed: longer than nothing, for example 14d")
    if found > _LONGEST:
        raise EventLogError(f"window: found {shown(window)}; allowed: at most {_LONGEST.days:,} days")
    return found // timedelta(microseconds=1)


def _interval(microseconds: int) -> str:
    return f"to_microseconds({microseconds})"


def _while(event: str, window: int, value: str) -> str:
    """A value for each such event in the window after entry, which is closed at its end."""
    return (
        f'CASE WHEN l.event = {literal(event)} AND l."at" > e.entered_at '
        f'AND l."at" <= e.entered_at + {_interval(window)} THEN {value} END'
    )


def _prior(event: str, back: int, value: str) -> str:
    """A value for each such event in the window up to entry that was known then."""
    return (
        f'CASE WHEN l.event = {literal(event)} AND l."at" <= e.entered_at AND l.received_at <= e.entered_at '
        f'AND l."at" > e.entered_at - {_interval(back)} THEN {value} END'
    )


def _check_said(flags: object, counts: object, sums: object) -> None:
    """Refuse outcomes that are not said as the docstring says."""
    for what, given, allowed in (
        ("flags", flags, "a name and an event, as {'converted': 'purchase'}"),
        ("counts", counts, "a name and an event, as {'orders': 'purchase'}"),
        ("sums", sums, "a name, an event and a property, as {'revenue': ('purchase', 'revenue')}"),
    ):
        parts = 2 if what == "sums" else 1
        held = [value if parts == 2 else (value,) for value in given.values()] if isinstance(given, Mapping) else [()]
        names = [*(given if isinstance(given, Mapping) else ())]
        right = all(isinstance(one, list | tuple) and len(one) == parts for one in held)
        if not right or not all(isinstance(text, str) and text for one in (names, *held) for text in one):
            raise EventLogError(f"{what}: found {shown(given)}; allowed: {allowed}")


def _check_named(
    log: EventLog,
    entry: str,
    arm: str,
    flags: Mapping[str, str],
    counts: Mapping[str, str],
    sums: Mapping[str, tuple[str, str]],
    *,
    before: bool,
) -> None:
    events = {entry, *flags.values(), *counts.values(), *(event for event, _ in sums.values())}
    known: dict[str, Sequence[str]] = {"event": log.event_names, "property": tuple(log.properties)}
    asked = {"event": sorted(events), "property": sorted({arm, *(held for _, held in sums.values())})}
    said = [
        f"no {what} {shown(found)} in this log; it has {', '.join(known[what]) or 'none'}"
        + did_you_mean(found, known[what])
        for what, names in asked.items()
        for found in names
        if found not in known[what]
    ]
    twice = [called for called in flags if called in counts or called in sums]
    twice += [called for called in counts if called in sums]
    covariates = {f"pre_{called}" for called in (*counts, *sums)} if before else set()
    twice += [called for called in (*flags, *counts, *sums) if called in covariates]
    said += [f"outcome {called!r} is there twice" for called in twice]
    taken = [called for called in (*flags, *counts, *sums) if called.casefold() in _OWN]
    said += [f"an outcome cannot be called {called!r}; the table has that column already" for called in taken]
    if said:
        raise EventLogError("; ".join(said))
