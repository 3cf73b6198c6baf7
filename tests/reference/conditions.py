"""Conditions, one at a time: SQL by DuckDB on single rows, history by counting."""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

import duckdb

from tests.reference.calendar import to_datetime
from tests.reference.records import Event
from toolkit.scenario import Expression
from toolkit.scenario.base import Condition, History

TYPES = {bool: "BOOLEAN", int: "DOUBLE", float: "DOUBLE", str: "VARCHAR", datetime: "TIMESTAMP", date: "DATE"}


def type_of(values: Iterable[Any]) -> str:
    """The SQL type of a column by the values in it."""
    return next((TYPES[type(value)] for value in values if value is not None), "VARCHAR")


def naive(value: Any) -> Any:
    """Times as SQL has them here: UTC, without a zone."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for all: to open one takes longer than to interpret a program."""
    atexit.register(_database.cache_clear)
    return duckdb.connect(config={"threads": 1})


class Conditions:
    """Says whether a condition holds for an event, or for a customer at a moment."""

    def __init__(
        self, events: Sequence[Event], people: Mapping[str, Mapping[str, Any]], attributes: Sequence[str]
    ) -> None:
        self.database = _database()
        names = list(dict.fromkeys(name for event in events for name in event.properties))
        self.properties = {name: type_of(event.properties.get(name) for event in events) for name in names}
        known = {name: type_of(person.get(name) for person in people.values()) for name in attributes}
        self.attributes = {
            "email": "VARCHAR",
            "timezone": "VARCHAR",
            "locale": "VARCHAR",
            **known,
            "customer_id": "VARCHAR",
            "consent": "BOOLEAN",
        }
        self.answers: dict[Any, bool] = {}

    def event(self, event: Event, where: str | None) -> bool:
        """Whether the event's own columns fulfil a condition."""
        if where is None:
            return True
        if (where, event.row) not in self.answers:
            values = {name: event.properties.get(name) for name in self.properties}
            types = dict(self.properties)
            for name, value, kind in (
                ("customer_id", event.customer, "VARCHAR"),
                ("event", event.name, "VARCHAR"),
                ("at", to_datetime(event.at), "TIMESTAMP"),
                ("received_at", to_datetime(event.received), "TIMESTAMP"),
                ("event_id", event.id, "VARCHAR"),
            ):
                values[name], types[name] = value, kind
            self.answers[where, event.row] = self._holds(where, values, types)
        return self.answers[where, event.row]

    def person(self, state: Mapping[str, Any], where: str | None) -> bool:
        """Whether the attributes of a customer fulfil a condition."""
        if where is None:
            return True
        values = {name: state.get(name) for name in self.attributes}
        known = (where, *values.values())
        if known not in self.answers:
            self.answers[known] = self._holds(where, values, self.attributes)
        return self.answers[known]

    def _holds(self, where: str, values: Mapping[str, Any], types: Mapping[str, str]) -> bool:
        expression = Expression.parse(where)
        columns = [f'CAST(? AS {types[name]}) AS "{name}"' for name in expression.columns]
        query = f"SELECT {expression.sql}" + (f" FROM (SELECT {', '.join(columns)})" if columns else "")
        answer = self.database.execute(query, [naive(values[name]) for name in expression.columns]).fetchone()
        return answer is not None and answer[0] is True

    def happened(self, wanted: History, history: Sequence[Event], now: int) -> bool:
        """R1, R5: at least so many such events in (now - within, now], a day as 24 hours."""
        found = 0
        for event in history:
            in_window = wanted.within is None or now - wanted.within.elapsed < event.at <= now
            if event.name == wanted.event and in_window and self.event(event, wanted.where):
                found += 1
        return found >= wanted.at_least

    def holds(
        self,
        condition: Condition | None,
        *,
        state: Mapping[str, Any],
        history: Sequence[Event],
        trigger: Event | None,
        now: int,
    ) -> bool:
        """Whether every part of a condition is true now."""
        if condition is None:
            return True
        return (
            self.person(state, condition.where)
            and (condition.trigger is None or (trigger is not None and self.event(trigger, condition.trigger)))
            and all(self.happened(one, history, now) for one in condition.happened)
            and not any(self.happened(one, history, now) for one in condition.not_happened)
            and (
                not condition.any_
                or any(
                    self.holds(one, state=state, history=history, trigger=trigger, now=now) for one in condition.any_
                )
            )
        )
