"""Statements whose text is compiled once and handed to the driver: those that a sender at work runs over and over.

SQLAlchemy binds and looks up anew each time a statement is executed, which here takes longer than the database does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import BindParameter, Connection, Dialect, Executable, bindparam
from sqlalchemy.exc import DBAPIError

__all__ = ["changed", "changed_all", "found", "numbered"]


def numbered(name: str, count: int) -> list[BindParameter[Any]]:
    """So many parameters for an IN list: `name_0`, `name_1`, …"""
    return [bindparam(f"{name}_{number}") for number in range(count)]


def found(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The rows of a query, as the driver gives them.

    Args:
        connection: in a transaction, or reading.
        statement: one object, used again each time.
        values: by the names of its parameters.
    """
    text, bind = _compiled(statement, connection.dialect)
    bound = bind(values)
    if connection.dialect.name == "sqlite":
        return _direct(connection, text, bound).fetchall()
    return connection.exec_driver_sql(text, bound).fetchall()


def changed(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> int:
    """How many rows an update, insert or delete touched."""
    text, bind = _compiled(statement, connection.dialect)
    bound = bind(values)
    if connection.dialect.name == "sqlite":
        return _direct(connection, text, bound).rowcount
    return connection.exec_driver_sql(text, bound).rowcount


def changed_all(connection: Connection, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> int:
    """How many rows a statement touched that was run once for each of these values."""
    text, bind = _compiled(statement, connection.dialect)
    bound = [bind(row) for row in rows]
    if connection.dialect.name == "sqlite":
        return _direct(connection, text, bound, many=True).rowcount
    return connection.exec_driver_sql(text, bound).rowcount


def _direct(connection: Connection, text: str, bound: Any, *, many: bool = False) -> sqlite3.Cursor:
    """A cursor of SQLite's own, after the statement; its errors are SQLAlchemy's, as everywhere else."""
    raw: Any = connection.connection.driver_connection
    try:
        return raw.executemany(text, bound) if many else raw.execute(text, bound)  # type: ignore[no-any-return]
    except sqlite3.Error as fault:
        raise DBAPIError.instance(text, None, fault, sqlite3.Error, dialect=connection.dialect) from fault


@lru_cache(512)
def _compiled(statement: Executable, dialect: Dialect) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """The text for the driver, and what puts values by name into the order in which it takes them."""
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    own = {name: _plain(value) for name, value in compiled.params.items() if value is not None}
    if compiled.positiontup is None:
        return str(compiled), lambda values: {**own, **values}
    order = tuple(compiled.positiontup)
    if len(order) < 2:  # itemgetter gives a tuple only for two and more
        return str(compiled), lambda values: tuple({**own, **values}[name] for name in order)
    ordered = itemgetter(*order)
    return str(compiled), (lambda values: ordered({**own, **values})) if own else ordered


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
