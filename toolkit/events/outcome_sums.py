"""Sums over a table of outcomes, said in SQL: what is asked is the same everywhere, a few words differ by database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from toolkit.errors import NotSupportedError
from toolkit.events.quoting import literal, name

__all__ = ["ArmSums", "Dialect", "Line", "OutcomeSums", "UnitCheck"]

Line = tuple[str, str, str]
MOST_ROWS = 5_000_000


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


class Dialect:
    """How DuckDB says what databases say differently."""

    double = "DOUBLE"
    text = "VARCHAR"

    def name(self, column: str) -> str:
        """A column."""
        return name(column)

    def literal(self, text: str) -> str:
        """A text."""
        return literal(text)

    def count_if(self, condition: str) -> str:
        """How many rows meet a condition."""
        return f"count_if({condition})"

    def is_nan(self, number: str) -> str:
        """Whether a number is none."""
        return f"isnan({number})"

    def is_infinite(self, number: str) -> str:
        """Whether a number is infinite."""
        return f"isinf({number})"

    def as_number(self, flag: str) -> str:
        """A flag as 0 or 1."""
        return f"CAST({flag} AS {self.double})"

    def constant(self, number: float) -> str:
        """A number, to its last digit."""
        return f"{number!r}::{self.double}"


class OutcomeSums(ABC):
    """A table of outcomes of which only sums are asked; whoever holds it answers statements.

    `types` are those of the database in capitals: DOUBLE, FLOAT, BOOLEAN, DECIMAL(…), and others.
    """

    dialect = Dialect()
    place = "the database"
    """Where the rows are, in words."""

    def __init__(self, relation: str, *, types: Mapping[str, str], about: Mapping[str, Any] | None = None) -> None:
        self._relation = relation
        self._types = dict(types)
        self.kinds: Mapping[str, str] = MappingProxyType({column: _kind(kind) for column, kind in types.items()})
        """Column to its kind: number, flag, text or time."""
        self.about: Mapping[str, Any] = MappingProxyType(dict(about or {}))
        """What is known of the outcomes, as `frame.attrs["toolkit"]` of `measure`."""

    @abstractmethod
    def _answers(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""

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
        totals = [
            self.dialect.count_if(one) if flag else f"sum({one})" for one, flag in zip(single, flags, strict=True)
        ]
        multiplied = {
            pair: self._product(single, flags, pair) for pair in pairs if not any(_counted(lines[at]) for at in pair)
        }
        texts = list(dict.fromkeys(["count(*)", *map(self._held, lines), *totals, *multiplied.values()]))
        column = self.dialect.name(arm)
        query = f"SELECT {column}, {', '.join(texts)} FROM {self._relation} GROUP BY {column}"
        return [
            self._arm(row[0], dict(zip(texts, row[1:], strict=True)), lines, totals, multiplied)
            for row in self._answers(query)
        ]

    def pieces(self, columns: Sequence[str], *, arm: str) -> Sequence[Iterator[pa.RecordBatch]] | None:
        """None: only sums leave a database. Files that are faster read than asked give their rows, piece by piece."""
        return None

    def column(self, column: str) -> Iterator[pa.Array] | None:
        """None, as for `pieces`."""
        return None

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
            return self.dialect.count_if(single[one] if one == other else f"{single[one]} AND {single[other]}")
        parts = [self.dialect.as_number(single[at]) if flags[at] else single[at] for at in pair]
        return f"sum({parts[0]} * {parts[1]})"

    def _flag(self, line: Line) -> bool:
        """Whether an expression is true or false, so that it is its own square."""
        kind, column, _ = line
        return kind not in ("value", "filled") or self._types[column] == "BOOLEAN"

    def _held(self, line: Line) -> str:
        """How many rows have a value."""
        if line[0] in ("filled", "missing", "equals"):
            return "count(*)"
        return f"count({self.dialect.name(line[1])})"

    def _gap(self, column: str) -> str:
        quoted = self.dialect.name(column)
        return f"({quoted} IS NULL{f' OR {self.dialect.is_nan(quoted)}' if self._floating(column) else ''})"

    def _floating(self, column: str) -> bool:
        return self._types.get(column) in ("DOUBLE", "FLOAT")

    def _number(self, column: str) -> str:
        quoted = self.dialect.name(column)
        if self._types.get(column) == "BOOLEAN":
            return self.dialect.as_number(quoted)
        return f"CAST({quoted} AS {self.dialect.double})"

    def _expression(self, line: Line, shift: float) -> str:
        kind, column, other = line
        words = self.dialect
        quoted, kept = words.name(column), self._types.get(column, "")
        number = quoted if kept == "DOUBLE" else self._number(column)
        less = f" - {words.constant(shift)}" if shift else ""
        if kind == "value":
            return quoted if kept == "BOOLEAN" and not shift else f"({number}{less})"
        if kind == "filled":
            if kept == "BOOLEAN" and not shift:
                return f"coalesce({quoted}, false)"
            return f"(CASE WHEN {self._gap(column)} THEN {words.constant(0.0)} ELSE {number} END{less})"
        if kind == "missing":
            return self._gap(column)
        if kind == "some":
            if kept == "BOOLEAN":
                return f"({number} <> 0)"
            return f"({number} <> 0 AND NOT {self._gap(column)})" if self._floating(column) else f"({quoted} <> 0)"
        if kind == "above":
            one, two = (
                self._number(one) if self._types[one] == "BOOLEAN" else words.name(one) for one in (column, other)
            )
            return f"({one} > {two})"
        if kind == "broken":
            return f"({quoted} <> floor({quoted}))" if self._floating(column) or "DEC" in kept else "false"
        return f"coalesce(CAST({quoted} AS {words.text}) = {words.literal(other)}, false)"

    def extremes(self, columns: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Ends of the range of each column; over Parquet from the files' footers alone. A flag's range is 0 to 1."""
        numbers = [column for column in columns if self._types[column] != "BOOLEAN"]
        found = {column: (0.0, 1.0) for column in columns if column not in numbers}
        if numbers:
            quoted = [self.dialect.name(column) for column in numbers]
            asked = ", ".join(f"min({column}), max({column})" for column in quoted)
            (row,) = self._answers(f"SELECT {asked} FROM {self._relation}")
            ends = [np.nan if end is None else float(end) + 0.0 for end in row]
            found |= {column: (ends[2 * at], ends[2 * at + 1]) for at, column in enumerate(numbers)}
        return found

    def faults(self, column: str, *, arm: str, label: Any) -> tuple[int, int]:
        """How many values of a column are missing, and infinite, in one arm."""
        words = self.dialect
        infinite = words.count_if(words.is_infinite(words.name(column))) if self._floating(column) else "0"
        query = f"SELECT {words.count_if(self._gap(column))}, {infinite} FROM {self._relation}"
        ((missing, endless),) = self._answers(f"{query} WHERE {self._is(arm, label)}")
        return int(missing or 0), int(endless or 0)

    def some_words(self, column: str, *, most: int) -> list[str]:
        """Some values of a column as texts, so many at most, missing ones left out; whichever come first."""
        quoted = self.dialect.name(column)
        query = f"SELECT CAST({quoted} AS {self.dialect.text}) FROM {self._relation} WHERE {quoted} IS NOT NULL"
        return [word for (word,) in self._answers(f"{query} LIMIT {int(most)}")]

    def words(self, column: str) -> list[str]:
        """The different values of a column as texts, sorted, missing ones left out."""
        quoted = self.dialect.name(column)
        query = f"SELECT DISTINCT CAST({quoted} AS {self.dialect.text}) FROM {self._relation}"
        return sorted(word for (word,) in self._answers(f"{query} WHERE {quoted} IS NOT NULL"))

    def units(self, unit: str, *, arm: str) -> UnitCheck:
        """Whether every unit has one row and one arm; only counts leave the database."""
        words = self.dialect
        each = (
            f"SELECT {words.name(unit)} AS unit, count(*) AS n, count(DISTINCT {words.name(arm)}) AS arms "
            f"FROM {self._relation} GROUP BY {words.name(unit)}"
        )
        again, moved = "unit IS NOT NULL AND n > 1", "unit IS NOT NULL AND arms > 1"
        named = f"CAST(unit AS {words.text})"
        ((rows, missing, repeated, in_two, one, two),) = self._answers(
            f"SELECT sum(n), sum(CASE WHEN unit IS NULL THEN n ELSE 0 END), {words.count_if(again)}, "
            f"{words.count_if(moved)}, min(CASE WHEN {again} THEN {named} END), "
            f"min(CASE WHEN {moved} THEN {named} END) FROM ({each}) AS each_unit"
        )
        example = two if in_two else one
        return UnitCheck(int(rows or 0), int(missing or 0), int(repeated or 0), int(in_two or 0), str(example))

    def _is(self, arm: str, label: Any) -> str:
        column = self.dialect.name(arm)
        if label is None:
            return f"{column} IS NULL"
        text = str(label).lower() if isinstance(label, bool) else str(label)
        return f"CAST({column} AS {self.dialect.text}) = {self.dialect.literal(text)}"

    def _rows_asked(self, columns: Sequence[str], *, arm: str, label: Any) -> tuple[list[str], str]:
        """Which of the columns there are, and the statement for them over the rows of one arm, in the order of units.

        Raises:
            NotSupportedError: more than five million rows, which only a metric that needs them all asks for.
        """
        there = [column for column in dict.fromkeys(columns) if column in self.kinds]
        quoted = ", ".join(self.dialect.name(column) for column in there) or "1 AS one"
        kept = f"{self._relation} WHERE {self._is(arm, label)}"
        ((count,),) = self._answers(f"SELECT count(*) FROM {kept}")
        if count > MOST_ROWS:
            raise NotSupportedError(
                f"{', '.join(there)}: this asks for all {count:,} rows of arm {label!r}, which stay in {self.place}; "
                "ask Rate, Mean or Ratio of them, or write the outcomes to Parquet and pass its path"
            )
        order = " ORDER BY unit" if "unit" in self.kinds else f" ORDER BY {quoted}" if there else ""
        return there, f"SELECT {quoted} FROM {kept}{order}"

    def _sum(self, column: str) -> str:
        """The sum of a column over the rows of a unit; missing where it is missing in one of them."""
        quoted = self.dialect.name(column)
        return f"CASE WHEN count({quoted}) = count(*) THEN sum({self._number(column)}) END AS {quoted}"

    def _added_up(self, unit: str, *, arm: str, summed: Sequence[str], kept: Sequence[str]) -> str:
        """One row per unit as a statement: some columns summed, others, which do not change within a unit, kept."""
        words = self.dialect
        chosen = [words.name(unit)]
        for column in (arm, *kept):
            quoted = words.name(column)
            least = f"min({quoted})"
            if self._types[column] == "BOOLEAN":
                least = f"(min({words.as_number(quoted)}) = 1)"
            chosen.append(f"{least} AS {quoted}")
        chosen += [self._sum(column) for column in summed]
        return f"SELECT {', '.join(chosen)} FROM {self._relation} GROUP BY {words.name(unit)}"


def _kind(of: str) -> str:
    if of == "BOOLEAN":
        return "flag"
    if of.startswith(("TIMESTAMP", "DATE")):
        return "time"
    signed = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
    unsigned = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
    if of in (*signed, *unsigned, "FLOAT", "DOUBLE") or of.startswith("DECIMAL"):
        return "number"
    return "text"


def _counted(line: Line) -> bool:
    return line[0] in ("some", "above", "broken", "equals")
