"""Outcomes in PostgreSQL: the database adds them up, in one snapshot, and only moments come to the driver."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence
from typing import Any

import pandas as pd

from toolkit.events.outcome_sums import Dialect, OutcomeSums
from toolkit.events.sql_sources import POSTGRES_TYPES, postgres_connection, query_of, refused_by_postgres

__all__ = ["PostgresOutcomes"]

_NUMERIC = 1700


class _PostgresWords(Dialect):
    """How PostgreSQL says it."""

    double = "DOUBLE PRECISION"
    text = "TEXT"

    def count_if(self, condition: str) -> str:
        return f"count(*) FILTER (WHERE {condition})"

    def is_nan(self, number: str) -> str:
        return f"{number} = 'NaN'"

    def is_infinite(self, number: str) -> str:
        return f"{number} IN ('infinity', '-infinity')"

    def as_number(self, flag: str) -> str:
        return f"CAST(CAST({flag} AS INTEGER) AS {self.double})"

    def constant(self, number: float) -> str:
        return f"CAST('{number!r}' AS {self.double})"


class PostgresOutcomes(OutcomeSums):
    """Outcomes in a table or a SELECT of PostgreSQL, one row per unit; made by `OutcomeTable.from_sql`."""

    dialect = _PostgresWords()
    place = "PostgreSQL"

    def __init__(self, url: str, table: str) -> None:
        """Connect, and look at the columns.

        Raises:
            EventLogError: psycopg is missing, the database refuses, or there is no such table (names the nearest).
        """
        self._named = (url, table)
        self._connection = postgres_connection(url, table)
        weakref.finalize(self, _close, self._connection)
        described = self._asked(f"SELECT * FROM ({query_of(table)}) AS outcomes LIMIT 0").description
        types = {
            one.name: "DECIMAL" if one.type_code == _NUMERIC else POSTGRES_TYPES.get(one.type_code, "VARCHAR")
            for one in described
        }
        super().__init__(f"({query_of(table)}) AS outcomes", types=types)

    def _asked(self, query: str) -> Any:
        try:
            return self._connection.execute(query)
        except Exception as fault:
            raise refused_by_postgres(*self._named, fault) from fault

    def _answers(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._asked(query).fetchall()]

    def added_up(self, unit: str, *, arm: str, summed: Sequence[str], kept: Sequence[str]) -> PostgresOutcomes:
        """The same with one row per unit: some columns summed, others, which do not change within a unit, kept."""
        url, _ = self._named
        return PostgresOutcomes(url, self._added_up(unit, arm=arm, summed=summed, kept=kept))

    def rows(self, columns: Sequence[str], *, arm: str, label: Any) -> pd.DataFrame:
        """Some columns of the rows of one arm, by unit (without that column, by value); columns it lacks are left out.

        Raises:
            NotSupportedError: more than five million rows, which only a metric that needs them all asks for.
        """
        there, query = self._rows_asked(columns, arm=arm, label=label)
        found = self._answers(query)
        frame = pd.DataFrame([row[: len(there)] for row in found], columns=there)
        decimals = [column for column in there if self._types[column] == "DECIMAL"]
        return frame.astype(dict.fromkeys(decimals, "float64"))


def _close(connection: Any) -> None:
    with contextlib.suppress(Exception):
        connection.close()
