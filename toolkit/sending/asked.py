"""Which events of mails a program asks for, so that a round reads no others: most of a year are mails sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.scenario import dump
from toolkit.scenario.models import Program
from toolkit.scenario.needed import texts_needed
from toolkit.tables import MAIL_EVENTS

__all__ = ["Wanted", "asked_of_mails"]

Wanted = tuple[Mapping[str, frozenset[str]], ...]
"""Of which mails an event is asked for: of one of these, column to the texts that it may have; of all where empty."""

_OF_A_MAIL = ("scenario", "step", "template", "experiment", "arm")


def asked_of_mails(program: Program) -> dict[str, Wanted]:
    """The events of mails that a scenario names anywhere, and of which mails it asks for them.

    An event that meets none of the conditions under which a program names it decides nothing (rules R7, R9 and R12).
    """
    text = dump(program)
    uses: dict[str, list[dict[str, frozenset[str]]]] = {event: [] for event in MAIL_EVENTS if event in text}
    for event, needed in _uses(program.model_dump(mode="json")):
        uses.setdefault(event, []).append(needed)
    return {event: tuple(some) if some and all(some) else () for event, some in uses.items()}


def _uses(part: Any) -> Iterator[tuple[str, dict[str, frozenset[str]]]]:
    """Every mention of an event of mails, with what it needs of their columns."""
    if isinstance(part, str):
        yield from ((event, {}) for event in MAIL_EVENTS if event in part)
    elif isinstance(part, Mapping):
        event = part.get("event")
        if event in MAIL_EVENTS:
            needed = texts_needed(part["where"]) if part.get("where") else {}
            yield event, {name: needed[name] for name in _OF_A_MAIL if name in needed}
        for name, value in part.items():
            if not (name == "event" and event in MAIL_EVENTS):
                yield from _uses(value)
    elif isinstance(part, list | tuple):
        for one in part:
            yield from _uses(one)
