"""What counts once: repeated events are found and named by row, repeated ids with other payloads go to quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from toolkit.events.canonical import payload
from toolkit.events.database import fetch_row, run
from toolkit.events.quoting import name

__all__ = ["same_ids", "same_rows"]


def same_rows(cursor: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], *, into: str) -> int:
    """Every row that repeats an earlier one in all columns, as a table of row numbers.

    Args:
        cursor: on the log's connection.
        relation: the rows, with `row`.
        columns: what must be equal.
        into: name of the table to make, with the column row.

    Returns:
        How many rows repeat another.
    """
    listed = ", ".join(name(column) for column in columns)
    # Hashes first: on a clean log that is all there is to do, and it needs eight bytes a row.
    run(
        cursor,
        f"CREATE OR REPLACE TABLE suspects AS SELECT h FROM (SELECT hash({listed}) AS h FROM {relation}) "
        "GROUP BY h HAVING count(*) > 1",
    )
    run(
        cursor,
        f"CREATE OR REPLACE TABLE {into} AS SELECT row FROM (SELECT row, row_number() OVER "
        f"(PARTITION BY {listed} ORDER BY row) AS place FROM {relation} "
        f"WHERE hash({listed}) IN (SELECT h FROM suspects)) WHERE place > 1",
    )
    run(cursor, "DROP TABLE suspects")
    return _count(cursor, into)


def same_ids(
    cursor: duckdb.DuckDBPyConnection, relation: str, properties: Mapping[str, str], *, into: str, quarantine: str
) -> tuple[int, int]:
    """Every row whose event_id an earlier received row has, and of these the ones that say something else.

    Args:
        cursor: on the log's connection.
        relation: the rows, with `row` and `event_id`.
        properties: name to kind.
        into: name of the table to make of all such rows, with the column row.
        quarantine: name of the table to make of those with another payload, with all columns.

    Returns:
        How many repeat the same payload, and how many say something else.
    """
    run(
        cursor,
        f"CREATE OR REPLACE TABLE suspects AS SELECT h FROM (SELECT hash(event_id) AS h FROM {relation}) "
        "GROUP BY h HAVING count(*) > 1",
    )
    run(
        cursor,
        f"CREATE OR REPLACE TABLE {into} AS SELECT row, said <> said_first AS differs FROM (SELECT row, said, "
        "first_value(said) OVER first_received AS said_first, row_number() OVER first_received AS place "
        f"FROM (SELECT row, event_id, received_at, {payload(properties)} AS said FROM {relation} "
        "WHERE hash(event_id) IN (SELECT h FROM suspects)) "
        "WINDOW first_received AS (PARTITION BY event_id ORDER BY received_at, row)) WHERE place > 1",
    )
    run(cursor, "DROP TABLE suspects")
    run(
        cursor,
        f"CREATE OR REPLACE TABLE {quarantine} AS SELECT * FROM {relation} "
        f"WHERE row IN (SELECT row FROM {into} WHERE differs) ORDER BY event_id, row",
    )
    different = _count(cursor, quarantine)
    return _count(cursor, into) - different, different


def _count(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = fetch_row(cursor, f"SELECT count(*) FROM {table}")
    return int(count)
