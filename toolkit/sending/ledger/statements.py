"""Statements whose text is compiled once and handed to the driver: those that a sender at work runs over and over.

SQLAlchemy binds and looks up anew each time a statement is executed, which here takes longer than the database does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import BindParameter, Connection, Dialect, Executable, bindparam, func, select

from toolkit.database import direct

__all__ = ["changed", "changed_all", "changed_by", "found", "numbered", "while_nobody_plans"]

_PLANNING = -1  # the lock of who plans


def while_nobody_plans(connection: Connection) -> None:
    """Wait until nobody else writes down a run or its mails, and let nobody until this transaction ends.

    In SQLite there is one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_PLANNING)))


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
    text, bind = _compiled(statement, _dialect_of(connection))
    bound = bind(values)
    if connection.dialect.name == "sqlite":
        return direct(connection, text, bound).fetchall()
    return connection.exec_driver_sql(text, bound).fetchall()


def changed(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> int:
    """How many rows an update, insert or delete touched."""
    text, bind = _compiled(statement, _dialect_of(connection))
    bound = bind(values)
    if connection.dialect.name == "sqlite":
        return direct(connection, text, bound).rowcount
    return connection.exec_driver_sql(text, bound).rowcount


def changed_by(connection: Connection, statement: Executable, names: tuple[str, ...], values: tuple[Any, ...]) -> int:
    """As `changed`, the values in the order of their names."""
    text, arrange = _arranged(statement, _dialect_of(connection), names)
    bound = values if arrange is None else arrange(values)
    if connection.dialect.name == "sqlite":
        return direct(connection, text, bound).rowcount
    return connection.exec_driver_sql(text, bound).rowcount


def changed_all(
    connection: Connection, statement: Executable, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> int:
    """How many rows a statement touched that was run once for each of these values.

    Args:
        connection: in a transaction.
        statement: one object, used again each time.
        names: of its parameters, those that are not constants.
        rows: their values, in the order of the names.
    """
    text, arrange = _arranged(statement, _dialect_of(connection), names)
    bound = rows if arrange is None else list(map(arrange, rows))
    if connection.dialect.name == "sqlite":
        return direct(connection, text, bound, many=True).rowcount
    return connection.exec_driver_sql(text, bound).rowcount


_dialects: dict[tuple[str, str, str], Dialect] = {}


def _dialect_of(connection: Connection) -> Dialect:
    """The dialect of a connection, one for all ledgers of its kind: each engine has one of its own, and a statement
    would be compiled anew for every ledger that is opened."""
    own = connection.dialect
    return _dialects.setdefault((own.name, own.driver, own.paramstyle), own)


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


@lru_cache(512)
def _arranged(
    statement: Executable, dialect: Dialect, names: tuple[str, ...]
) -> tuple[str, Callable[[tuple[Any, ...]], Any] | None]:
    """The text for the driver, and what makes of values in the order of their names what it takes; None where nothing
    is to be done."""
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    own = {name: _plain(value) for name, value in compiled.params.items() if name not in names}
    if compiled.positiontup is None:
        return str(compiled), lambda values: {**own, **dict(zip(names, values, strict=True))}
    every, constants = (*names, *own), tuple(own.values())
    order = tuple(every.index(name) for name in compiled.positiontup)
    if order == tuple(range(len(names))):
        return str(compiled), None
    if len(order) < 2:  # itemgetter gives a tuple only for two and more
        return str(compiled), lambda values: tuple((*values, *constants)[place] for place in order)
    ordered = itemgetter(*order)
    return str(compiled), (lambda values: ordered((*values, *constants))) if own else ordered


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
