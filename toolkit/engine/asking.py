"""Conditions of the language as a log is asked for them."""

from __future__ import annotations

from toolkit.events import EventLog
from toolkit.events.marks import Mark
from toolkit.scenario.expression import EVENT_COLUMNS, Expression

__all__ = ["mark_of"]


def mark_of(log: EventLog, event: str, where: str | None) -> Mark:
    """The events of a name for which a condition on their properties holds.

    Args:
        log: whose properties the condition may name.
        event: the name.
        where: the condition, as in a scenario; None for all events of that name.

    Raises:
        ScenarioError: a condition that is none, or one on a property that the log does not have.
    """
    columns = {**EVENT_COLUMNS, **log.properties}
    return Mark(event, None if where is None else Expression.parse(where, columns=columns).sql)
