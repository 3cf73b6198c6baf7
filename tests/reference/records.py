"""What an interpreter is given: events and customers as plain records, each event once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from tests.reference.calendar import to_moment

BASE = ("customer_id", "event", "at", "received_at", "event_id")


@dataclass(frozen=True)
class Event:
    """Something that happened, and when it became known; `row` is its place in the list of events."""

    customer: str
    name: str
    at: int
    received: int
    id: str
    row: int
    properties: Mapping[str, Any] = field(hash=False)


def plain(value: Any) -> Any:
    """A value without pandas in it: missing is None, whole times are datetimes in UTC."""
    if value is None or value != value:
        return None
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def as_text(value: Any) -> str | None:
    """A key's value as text; numbers without a fraction as whole numbers."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def as_date(value: Any) -> date | None:
    """The day of an attribute."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    return date.fromisoformat(str(value)[:10])


def events_of(rows: Iterable[Mapping[str, Any]]) -> list[Event]:
    """R24 and R2: each event once, known at the earliest when it happened; in the order received.

    Args:
        rows: one mapping per event: customer_id, event, at, event_id, perhaps received_at, and properties.
    """
    read = []
    for row, given in enumerate(rows):
        values = {name: plain(value) for name, value in given.items()}
        at = to_moment(values["at"])
        received = at if values.get("received_at") is None else max(to_moment(values["received_at"]), at)
        properties = {name: value for name, value in values.items() if name not in BASE}
        read.append(
            Event(str(values["customer_id"]), values["event"], at, received, str(values["event_id"]), row, properties)
        )
    once: dict[str, Event] = {}
    for event in sorted(read, key=lambda event: (event.received, event.row)):
        once.setdefault(event.id, event)
    return sorted(once.values(), key=lambda event: (event.received, event.at, event.id))


def people_of(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """The customers table: attributes by customer, and the names of its columns."""
    people: dict[str, dict[str, Any]] = {}
    columns: dict[str, None] = {}
    for given in rows:
        values = {name: plain(value) for name, value in given.items()}
        columns.update(dict.fromkeys(values))
        people[str(values.pop("customer_id"))] = values
    columns.pop("customer_id", None)
    return people, tuple(columns)
