"""A log's own database: how it is opened, and how answers come out of it as Arrow tables."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import duckdb
import pyarrow as pa

__all__ = ["connect", "fetch", "fetch_row"]


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory of one log's own, in UTC, that never fetches extensions."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": os.path.join(tempfile.gettempdir(), f"toolkit-events-{os.getpid()}"),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def fetch(cursor: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The answer to a query as an Arrow table."""
    return cursor.sql(query).to_arrow_table()


def fetch_row(cursor: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The answer to a query that has exactly one row."""
    row: tuple[Any, ...] = cursor.execute(query).fetchall()[0]
    return row
