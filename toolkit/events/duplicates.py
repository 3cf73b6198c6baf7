"""What counts once: repeated events are found and named by row, repeated ids with other payloads go to quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.events.canonical import payload
from toolkit.events.database import fetch, fetch_row, run
from toolkit.events.quoting import name

__all__ = ["same_ids", "same_rows"]

_AT_ONCE = 1 << 26  # rows


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
    with _suspects(cursor, relation, listed) as rows:
        run(
            cursor,
            f"CREATE OR REPLACE TABLE {into} AS SELECT row FROM (SELECT row, row_number() OVER "
            f"(PARTITION BY {listed} ORDER BY row) AS place FROM {rows}) WHERE place > 1",
        )
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
    with _suspects(cursor, relation, "event_id") as rows:
        run(
            cursor,
            f"CREATE OR REPLACE TABLE {into} AS SELECT row, said <> said_first AS differs FROM (SELECT row, said, "
            "first_value(said) OVER first_received AS said_first, row_number() OVER first_received AS place "
            f"FROM (SELECT row, event_id, received_at, {payload(properties)} AS said FROM {rows}) "
            "WINDOW first_received AS (PARTITION BY event_id ORDER BY received_at, row)) WHERE place > 1",
        )
    run(
        cursor,
        f"CREATE OR REPLACE TABLE {quarantine} AS SELECT * FROM {relation} "
        f"WHERE row IN (SELECT row FROM {into} WHERE differs) ORDER BY event_id, row",
    )
    different = _count(cursor, quarantine)
    return _count(cursor, into) - different, different


@contextmanager
def _suspects(cursor: duckdb.DuckDBPyConnection, relation: str, listed: str) -> Iterator[str]:
    """What stands after FROM to get the rows whose hash of some columns another row has, too.

    On a clean log these hashes are all there is to look at. Sorted by numpy they take eight bytes a row; grouped by the
    database, ten times as much.
    """
    (rows,) = fetch_row(cursor, f"SELECT count(*) FROM {relation}")
    parts = max(1, -(-rows // _AT_ONCE))
    hashes = f"(SELECT hash({listed}) AS h FROM {relation})"
    twice = [
        _more_than_once(
            fetch(cursor, f"SELECT h FROM {hashes}" + (f" WHERE h % {parts} = {part}" if parts > 1 else ""))
        )
        for part in range(parts)
    ]
    found = np.concatenate(twice)
    if not len(found):
        yield f"(SELECT * FROM {relation} LIMIT 0)"
        return
    cursor.register("suspects", pa.table({"h": found}))
    try:
        yield f"(SELECT * FROM {relation} WHERE hash({listed}) IN (SELECT h FROM suspects))"
    finally:
        cursor.unregister("suspects")


def _more_than_once(hashes: pa.Table) -> npt.NDArray[np.uint64]:
    values = np.concatenate([chunk.to_numpy() for chunk in hashes.column("h").chunks] or [np.empty(0, np.uint64)])
    values.sort()
    return np.unique(values[1:][values[1:] == values[:-1]])


def _count(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = fetch_row(cursor, f"SELECT count(*) FROM {table}")
    return int(count)
