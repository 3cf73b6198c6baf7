"""Scenarios that go by mails that were sent: a replay knows those of the log, and its own are no events of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.scenario.base import EventMatch, Model
from toolkit.scenario.models import CycleTrigger, Goal, InactiveTrigger, Scenario

__all__ = ["by_logged_mails"]

_SENT = "email_sent"


def by_logged_mails(scenarios: Iterable[Scenario]) -> list[str]:
    """One sentence for each scenario that enters, waits, branches or ends by `email_sent`.

    >>> from toolkit.scenario import loads
    >>> last_call = loads('''
    ... scenario: last_call
    ... trigger: {event: email_sent, where: "scenario = 'cart'"}
    ... reentry: every
    ... steps: [{wait: 1d}, {send: cart/last_call}]
    ... ''')
    >>> by_logged_mails(last_call.scenarios)
    ['last_call: email_sent is what the log holds; mails that this replay decides begin, end and branch nothing']
    """
    said = f"{_SENT} is what the log holds; mails that this replay decides begin, end and branch nothing"
    return [f"{one.scenario}: {said}" for one in scenarios if _SENT in _events(one)]


def _events(value: object) -> Iterator[str | None]:
    """The names of all events by which something is decided, at any depth."""
    match value:
        case Goal():  # looked at afterwards
            return
        case EventMatch():
            yield value.event
        case InactiveTrigger():
            yield from (value.inactive, value.since)
        case CycleTrigger():
            yield value.cycle
    if isinstance(value, Model):
        for name in type(value).model_fields:
            yield from _events(getattr(value, name))
    elif isinstance(value, dict):
        yield from (event for inner in value.values() for event in _events(inner))
    elif isinstance(value, tuple):
        yield from (event for inner in value for event in _events(inner))
