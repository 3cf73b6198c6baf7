"""Outcomes where they lie: over Parquet files, or straight over an event log; only sums leave the database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from toolkit.errors import EventLogError, nearest
from toolkit.events.database import connect, fetch, fetch_row, fetch_rows
from toolkit.events.log import EventLog
from toolkit.events.quoting import literal, name, paths
from toolkit.events.sources import PathOrPaths, columns_of, find_files

__all__ = ["ArmSums", "OutcomeTable", "UnitCheck"]

Line = tuple[str, str, str]
_PIECE = 65_536  # rows at a time, so that what is made of them stays in the cache
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True, eq=False)
class ArmSums:
    """What the rows of one arm add up to, expression by expression."""

    label: Any
    n: int
    present: NDArray[np.int64]
    sums: NDArray[np.float64]
    products: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UnitCheck:
    """Rows, rows without a unit, units with several rows, units in several arms, and one of those units."""

    rows: int
    missing: int
    repeated: int
    moved: int
    example: str


class OutcomeTable:
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
        statements: int = 1,
    ) -> None:
        self._cursor = cursor
        self._statements = statements
        self._relation = relation
        self._types = dict(types)
        self.kinds: Mapping[str, str] = MappingProxyType({column: _kind(kind) for column, kind in types.items()})
        """Column to its kind: number, flag, text or time."""
        self.about: Mapping[str, Any] = MappingProxyType(dict(about or {}))
        """What is known of the outcomes, as `frame.attrs["toolkit"]` of `measure`."""

    @classmethod
    def from_parquet(cls, where: PathOrPaths) -> OutcomeTable:
        """Outcomes in Parquet files.

        Args:
            where: a path, a list of paths, a folder, or a pattern such as "outcomes/*.parquet"; one row per unit.

        Returns:
            The table; only the files' footers have been read. The files must not change while it is in use.

        Raises:
            EventLogError: no such file, or it is not Parquet.
        """
        files = find_files(where, folder_pattern="**/*.parquet")
        connection = _database()
        relation = f"read_parquet({paths(files)}{', union_by_name=true' if len(files) > 1 else ''})"
        try:
            types = columns_of(connection, relation)
        except duckdb.Error as fault:
            raise EventLogError(f"{files[0]}: cannot be read as Parquet: {str(fault).splitlines()[0]}") from fault
        # DuckDB shares a file out by row groups: of one with a single group, each thread reads some of the columns
        groups = f"SELECT sum(num_row_groups) FROM parquet_file_metadata({paths(files)})"
        alone = len(files) == 1 and fetch_row(connection.cursor(), groups)[0] == 1
        return cls(connection.cursor, relation, types=types, statements=2 if alone else 1)

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
        _check_named(log, entry, arm, flags, counts, sums)
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
        about = {"label": "observed", "window": str(within), "open_windows": int(still_open)}
        return cls(log.cursor, relation, types=columns_of(log.cursor(), relation), about=about)

    def frame(self) -> pd.DataFrame:
        """All rows as a frame, sorted by unit where there is one; what is known of them is in `.attrs["toolkit"]`."""
        order = f" ORDER BY {name('unit')}" if "unit" in self.kinds else ""
        found: pd.DataFrame = fetch(self._cursor(), f"SELECT * FROM {self._relation}{order}").to_pandas()
        found.attrs["toolkit"] = dict(self.about)
        return found

    def sums(
        self, lines: Sequence[Line], pairs: Sequence[tuple[int, int]], *, arm: str, shifts: Sequence[float]
    ) -> list[ArmSums]:
        """Sums of expressions and of products of pairs of them, by arm, in one statement.

        Args:
            lines: kind, column and other of each expression, as `toolkit.stats.moments.Term` has them.
            pairs: positions of the expressions to multiply with each other.
            arm: the column that says which arm a row is in.
            shifts: what is taken off each expression before it is summed.

        Returns:
            One per arm, missing arms included.
        """
        single = [self._expression(line, shift) for line, shift in zip(lines, shifts, strict=True)]
        flags = [self._flag(line) and not shift for line, shift in zip(lines, shifts, strict=True)]
        totals = [f"count_if({one})" if flag else f"sum({one})" for one, flag in zip(single, flags, strict=True)]
        multiplied = {
            pair: self._product(single, flags, pair) for pair in pairs if not any(_counted(lines[at]) for at in pair)
        }
        asked: list[dict[str, None]] = []
        for together in _shared_out(lines, list(multiplied), self._statements):
            texts = [text for at in together for text in (self._held(lines[at]), totals[at])]
            asked.append(dict.fromkeys(texts + [text for (at, _), text in multiplied.items() if at in together]))
        with ThreadPoolExecutor(len(asked)) as pool:
            rows = list(pool.map(partial(self._by_arm, arm), asked))
        return [
            self._arm(
                label, {text: value for part in rows for text, value in part[label].items()}, lines, totals, multiplied
            )
            for label in rows[0]
        ]

    def _by_arm(self, arm: str, asked: Iterable[str]) -> dict[Any, dict[str, Any]]:
        """The answers to some expressions, by arm."""
        texts = ["count(*)", *asked]
        query = f"SELECT {name(arm)}, {', '.join(texts)} FROM {self._relation} GROUP BY {name(arm)}"
        return {row[0]: dict(zip(texts, row[1:], strict=True)) for row in fetch_rows(self._cursor(), query)}

    def _arm(
        self,
        label: Any,
        row: Mapping[str, Any],
        lines: Sequence[Line],
        totals: Sequence[str],
        multiplied: Mapping[tuple[int, int], str],
    ) -> ArmSums:
        def found(text: str) -> float:
            return 0.0 if row[text] is None else float(row[text])

        products = np.full((len(lines), len(lines)), np.nan)
        for (one, other), text in multiplied.items():
            products[one, other] = products[other, one] = found(text)
        return ArmSums(
            label,
            int(row["count(*)"]),
            np.array([int(row[self._held(line)]) for line in lines], dtype=np.int64),
            np.array([found(text) for text in totals]),
            products,
        )

    def _product(self, single: Sequence[str], flags: Sequence[bool], pair: tuple[int, int]) -> str:
        one, other = pair
        if flags[one] and flags[other]:
            return f"count_if({single[one]})" if one == other else f"count_if({single[one]} AND {single[other]})"
        parts = [f"CAST({single[at]} AS DOUBLE)" if flags[at] else single[at] for at in pair]
        return f"sum({parts[0]} * {parts[1]})"

    def _flag(self, line: Line) -> bool:
        """Whether an expression is true or false, so that it is its own square."""
        kind, column, _ = line
        return kind not in ("value", "filled") or self._types[column] == "BOOLEAN"

    def _held(self, line: Line) -> str:
        """How many rows have a value."""
        return "count(*)" if line[0] in ("filled", "missing", "equals") else f"count({name(line[1])})"

    def _gap(self, column: str) -> str:
        floating = self._types[column] in ("DOUBLE", "FLOAT")
        return f"({name(column)} IS NULL{f' OR isnan({name(column)})' if floating else ''})"

    def _expression(self, line: Line, shift: float) -> str:
        kind, column, other = line
        quoted, kept = name(column), self._types.get(column, "")
        number = quoted if kept == "DOUBLE" else f"CAST({quoted} AS DOUBLE)"
        less = f" - {shift!r}::DOUBLE" if shift else ""
        if kind == "value":
            return quoted if kept == "BOOLEAN" and not shift else f"({number}{less})"
        if kind == "filled":
            if kept == "BOOLEAN" and not shift:
                return f"coalesce({quoted}, false)"
            return f"(CASE WHEN {self._gap(column)} THEN 0.0::DOUBLE ELSE {number} END{less})"
        if kind == "missing":
            return self._gap(column)
        if kind == "some":
            return f"({number} <> 0 AND NOT {self._gap(column)})" if kept in ("DOUBLE", "FLOAT") else f"({quoted} <> 0)"
        if kind == "above":
            return f"({quoted} > {name(other)})"
        if kind == "broken":
            return f"({quoted} <> floor({quoted}))" if kept in ("DOUBLE", "FLOAT") or "DEC" in kept else "false"
        return f"coalesce(CAST({quoted} AS VARCHAR) = {literal(other)}, false)"

    def extremes(self, columns: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Ends of the range of each column; over Parquet from the files' footers alone. A flag's range is 0 to 1."""
        numbers = [column for column in columns if self._types[column] != "BOOLEAN"]
        found = {column: (0.0, 1.0) for column in columns if column not in numbers}
        if numbers:
            asked = ", ".join(f"min({name(column)}), max({name(column)})" for column in numbers)
            row = self._row(f"SELECT {asked} FROM {self._relation}")
            ends = [np.nan if end is None else float(end) + 0.0 for end in row]
            found |= {column: (ends[2 * at], ends[2 * at + 1]) for at, column in enumerate(numbers)}
        return found

    def faults(self, column: str, *, arm: str, label: Any) -> tuple[int, int]:
        """How many values of a column are missing, and infinite, in one arm."""
        infinite = f"count_if(isinf({name(column)}))" if self._types[column] in ("DOUBLE", "FLOAT") else "0"
        query = f"SELECT count_if({self._gap(column)}), {infinite} FROM {self._relation} WHERE {_is(arm, label)}"
        missing, endless = self._row(query)
        return int(missing), int(endless)

    def units(self, unit: str, *, arm: str) -> UnitCheck:
        """Whether every unit has one row and one arm; cheap where they are sorted, or whole numbers close together."""
        column = fetch(self._cursor(), f"SELECT {name(unit)} AS unit FROM {self._relation}").column("unit")
        if not column.null_count and _each_once(column):
            return UnitCheck(len(column), 0, 0, 0, "")
        again = (
            f"SELECT {name(unit)} AS unit, count(*) AS n, count(DISTINCT {name(arm)}) AS arms FROM {self._relation} "
            f"WHERE {name(unit)} IS NOT NULL GROUP BY 1 HAVING n > 1"
        )
        repeated, moved, one, in_two = self._row(
            f"SELECT count(*), count_if(arms > 1), min(CAST(unit AS VARCHAR)), "
            f"min(CAST(unit AS VARCHAR)) FILTER (arms > 1) FROM ({again})"
        )
        example = str(in_two if moved else one)
        return UnitCheck(len(column), column.null_count, int(repeated or 0), int(moved or 0), example)

    def added_up(self, unit: str, *, arm: str, summed: Sequence[str], kept: Sequence[str]) -> OutcomeTable:
        """The same with one row per unit: some columns summed, of others the value of the unit's first row."""
        chosen = [
            f"arg_min({name(arm)}, row) AS {name(arm)}",
            *(f"sum(CAST({name(column)} AS DOUBLE)) AS {name(column)}" for column in summed),
            *(f"arg_min({name(column)}, row) AS {name(column)}" for column in kept),
        ]
        rows = f"(SELECT *, row_number() OVER () AS row FROM {self._relation})"
        relation = f"(SELECT {name(unit)}, {', '.join(chosen)} FROM {rows} GROUP BY {name(unit)})"
        return OutcomeTable(self._cursor, relation, types=columns_of(self._cursor(), relation), about=self.about)

    def rows(self, columns: Sequence[str], *, arm: str, label: Any) -> pd.DataFrame:
        """Some columns of the rows of one arm, in the order of the table; columns it lacks are left out."""
        there = [column for column in dict.fromkeys(columns) if column in self.kinds]
        chosen = ", ".join(name(column) for column in there) or "1 AS one"
        table = fetch(self._cursor(), f"SELECT {chosen} FROM {self._relation} WHERE {_is(arm, label)}")
        frame: pd.DataFrame = table.to_pandas()
        return frame[there]

    def words(self, column: str) -> list[str]:
        """The different values of a column as texts, sorted, missing ones left out."""
        kept = f"{self._relation} WHERE {name(column)} IS NOT NULL"
        query = f"SELECT DISTINCT CAST({name(column)} AS VARCHAR) FROM {kept}"
        return sorted(word for (word,) in fetch_rows(self._cursor(), query))

    def _row(self, query: str) -> tuple[Any, ...]:
        return fetch_row(self._cursor(), query)


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    """One database for all outcomes in files: it holds nothing, and opening one takes as long as a million rows."""
    return connect()


def _kind(duck: str) -> str:
    if duck == "BOOLEAN":
        return "flag"
    if duck.startswith(("TIMESTAMP", "DATE")):
        return "time"
    whole = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
    if duck in (*whole, "FLOAT", "DOUBLE") or duck.startswith("DECIMAL"):
        return "number"
    return "text"


def _counted(line: Line) -> bool:
    return line[0] in ("some", "above", "broken", "equals")


def _shared_out(lines: Sequence[Line], pairs: Sequence[tuple[int, int]], parts: int) -> list[list[int]]:
    """The positions of lines in at most so many parts: what is multiplied or has a column in common stays together."""
    links = [{column for column in (line[1], line[2]) if column} for line in lines]
    groups: list[tuple[set[int], set[str]]] = []
    for one, other in [(at, at) for at in range(len(lines))] + list(pairs):
        members, columns = {one, other}, links[one] | links[other]
        for group in [group for group in groups if group[1] & columns]:
            groups.remove(group)
            members, columns = members | group[0], columns | group[1]
        groups.append((members, columns))
    shared: list[list[int]] = [[] for _ in range(min(parts, len(groups)) or 1)]
    for members, _ in sorted(groups, key=lambda group: (-len(group[0]), min(group[0]))):
        min(shared, key=len).extend(sorted(members))
    return shared


def _is(arm: str, label: Any) -> str:
    if label is None:
        return f"{name(arm)} IS NULL"
    return f"CAST({name(arm)} AS VARCHAR) = {literal(_text(label))}"


def _text(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


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
    parts = [] if isinstance(window, timedelta) else _PART.findall(window)
    if isinstance(window, timedelta):
        found = window
    elif parts and not _PART.sub("", window).strip():
        found = sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
    else:
        raise EventLogError(f"window: found {window!r}; allowed: a number and s, m, h, d or w, for example 14d")
    if found <= timedelta(0):
        raise EventLogError(f"window: found {window!r}; allowed: longer than nothing, for example 14d")
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


def _check_named(
    log: EventLog,
    entry: str,
    arm: str,
    flags: Mapping[str, str],
    counts: Mapping[str, str],
    sums: Mapping[str, tuple[str, str]],
) -> None:
    events = {entry, *flags.values(), *counts.values(), *(event for event, _ in sums.values())}
    known: dict[str, Sequence[str]] = {"event": log.event_names, "property": tuple(log.properties)}
    asked = {"event": sorted(events), "property": sorted({arm, *(held for _, held in sums.values())})}
    said = []
    for what, names in asked.items():
        for found in names:
            if found not in known[what]:
                near = nearest(found, known[what])
                said.append(
                    f"no {what} {found!r} in this log; it has {', '.join(known[what]) or 'none'}"
                    + (f"; did you mean {near!r}?" if near else "")
                )
    twice = [called for called in flags if called in counts or called in sums]
    twice += [called for called in counts if called in sums]
    said += [f"outcome {called!r} is there twice" for called in twice]
    if said:
        raise EventLogError("; ".join(said))
