"""Of which kind the texts of a file are: every value has its say, and no question is asked that is settled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest

from toolkit.events.kinds import Spelling, spelled_as, spellings

ROWS = 5_000


class Listening:
    """A database that keeps what it is asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.asked: list[str] = []

    def execute(self, query: str) -> Any:
        self.asked.append(query)
        return self.connection.execute(query)


@pytest.fixture
def database() -> Iterator[Listening]:
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield Listening(connection)


def spelled(database: Listening, first: str, last: str) -> str:
    """The kind of a column that holds one text in every row, and another in the last."""
    database.connection.execute(
        f"CREATE OR REPLACE TABLE rows AS SELECT CASE WHEN i < {ROWS} THEN {first} ELSE {last} END AS x "
        f"FROM range(1, {ROWS + 1}) AS r(i)"
    )
    found = spellings(database, "rows", {"x": "x"})["x"]  # type: ignore[arg-type]
    return spelled_as(found, numbers=True, zone=True)


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        ("'12'", "'13'", "BIGINT"),
        ("'12'", "'1.5'", "DOUBLE"),
        ("'1.5'", "'12'", "DOUBLE"),
        ("'12'", "'many'", "VARCHAR"),
        ("'12'", "'007'", "VARCHAR"),
        ("'true'", "'FALSE'", "BOOLEAN"),
        ("'true'", "'1'", "VARCHAR"),
        ("'2025-03-01'", "'2025-03-02'", "DATE"),
        ("'2025-03-01'", "'2025-02-30'", "VARCHAR"),
        ("'2025-03-01 10:00'", "'2025-03-02 10:00'", "TIMESTAMP"),
        ("'2025-03-01 10:00Z'", "'2025-03-02 10:00Z'", "TIMESTAMPTZ"),
        ("'2025-03-01 10:00'", "'2025-03-02 10:00Z'", "VARCHAR"),
        ("'2025-03-01 10:00Z'", "'2025-03-02 10:00'", "VARCHAR"),
        ("NULL", "'12'", "BIGINT"),
        ("NULL", "'lamp'", "VARCHAR"),
        ("NULL", "NULL", "VARCHAR"),
        ("'lamp'", "'12'", "VARCHAR"),
    ],
)
def test_the_last_of_many_rows_decides_as_well_as_the_first(
    database: Listening, first: str, last: str, kind: str
) -> None:
    assert spelled(database, first, last) == kind


def test_of_a_column_of_names_all_rows_are_asked_nothing_but_how_many_there_are(database: Listening) -> None:
    assert spelled(database, "'lamp'", "'table'") == "VARCHAR"
    assert database.asked[-1] == "SELECT count(x) FROM rows"


def test_what_is_counted_of_a_column_of_numbers(database: Listening) -> None:
    database.connection.execute("CREATE TABLE rows AS SELECT i::VARCHAR AS x FROM range(3000) AS r(i)")
    found = spellings(database, "rows", {"x": "x"})  # type: ignore[arg-type]
    assert found == {"x": Spelling(given=3000, number=3000, whole=3000, flag=0, date=0, moment=0, aware=0)}
