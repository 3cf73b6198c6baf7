"""JSON Schema of the language, so that editors complete scenarios and underline what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, path_text
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.models import Policies, Scenario
from toolkit.whole import write_text

__all__ = ["schema", "write_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILES = {"scenario": "scenario.schema.json", "policies": "policies.schema.json"}

# One meaning for each key, whatever construct it stands in; "Construct.key" where a construct gives it another.
_MEANINGS = {
    "address": "Postal address, shown at the foot of every marketing mail.",
    "after": "How long after the last time it may begin again.",
    "amount": "Money off, in `currency`.",
    "any": "At least one of these conditions holds.",
    "arms": "Arms and their shares of people, which sum to 1. The order decides who is in which.",
    "at": "Local time of day, in quotes.",
    "at_least": "How often at least.",
    "audience": "Who may enter: a condition on customer attributes and history at the moment of entry.",
    "brand": "What every mail shows. Values of your own are free for the templates.",
    "branch": "The condition that decides between `then` and `else`.",
    "caps": "At most so many mails a person.",
    "class": "Marketing mails need consent and heed caps and quiet hours; transactional ones do not.",
    "clicks": "Whether clicks are counted: links in the html lead through the tracker.",
    "code": "One code for everybody.",
    "currency": "Currency, three capitals.",
    "cycle": "The event after which it is time again.",
    "date": "The customer attribute that holds the date.",
    "day": "Day of the month; the last day where a month is shorter.",
    "domains": "The parts of addresses after the @.",
    "else": "Steps where it is not so.",
    "email": "Address of the sender.",
    "event": "Name of the event in the log.",
    "every": "Each year, or once.",
    "exit": "The journey ends here.",
    "exit_on": "Events that end the journey, wherever it waits.",
    "experiment": "Arms of an experiment over the whole scenario.",
    "file": "A CSV file of codes beside policies.yaml: one a line, or a column `code`.",
    "for": "For how long nothing happened.",
    "free_shipping": "Whether shipping is free.",
    "from": "When it begins.",
    "goal": "What the scenario is for.",
    "happened": "Events that must have happened.",
    "holdout": "The arm whose people get no mail.",
    "id": "Name of the step, unique in the scenario; made from its mail or its kind where left out.",
    "inactive": "The event that did not happen.",
    "key": "A property of the trigger: one journey for each of its values.",
    "limit": "How many mails at most.",
    "locale": "Language of the mails where a customer's is not known, for example en or fr_FR.",
    "logo": "Address of the logo.",
    "match": "The scenario's key: only events with the same value count.",
    "max_age": "A trigger learned of later than this starts nothing.",
    "median": "`customer`, or a property such as product_id: whose usual time between two.",
    "minimum": "Smallest order the offer is for.",
    "name": "Name.",
    "not_happened": "Events that must not have happened.",
    "offer": "What the mail gives.",
    "offset": "So long after the date; before it with a minus, for example -7d.",
    "on": "Weekdays.",
    "on_empty": "What becomes of the mail when the pool is empty.",
    "on_hit": "What becomes of a mail beyond the limit.",
    "opens": "Whether opens are counted: the html ends in a picture of one pixel.",
    "only": "The arms that get this step; others pass by.",
    "paths": "Steps for each arm.",
    "per": "The rolling window; a day is 24 hours.",
    "percent": "Per cent off.",
    "pool": "One code a person, of this pool.",
    "pools": "Coupon pools.",
    "priority": "Higher goes first where several scenarios are due at once.",
    "quiet": "No marketing mail between these local times.",
    "reentry": "Whether a customer may go through it again: once, every, or {after: 7d, from: entry}.",
    "repeat": "How many times.",
    "reply_to": "Where answers go.",
    "scenario": "Name of the scenario.",
    "schedule": "One moment, or how often.",
    "scope": "Mails of this scenario, or all marketing mails together.",
    "send": "The mail: folder and file without ending.",
    "sender": "Who the mails come from.",
    "since": "Where the counting starts.",
    "size": "How many codes a replay counts with.",
    "split": "Arms of a random division.",
    "spread": "Held mails leave within this time after `to`.",
    "steps": "What happens, in order.",
    "test_copies": "Where test copies of mails may go; to any address you type, unless given.",
    "then": "Steps where it is so.",
    "timezone": "Time zone where a customer's is not known, for example Europe/Paris.",
    "to": "When it ends.",
    "topics": "What people can choose on the preference page: a name, and its words by language.",
    "tracking": "Where opens, clicks and unsubscribes come home; without it no mail is tracked.",
    "trap": "Whether mails hold a link no person can see: who follows it is a machine.",
    "trigger": "What sets the scenario off.",
    "unit": "Whether customers or journeys are drawn.",
    "until": "The local time of day to wait for, in quotes.",
    "url": "Address of the shop.",
    "valid": "How long the offer holds from the moment it is sent.",
    "value": "The property that holds what it is worth.",
    "wait": "How long, or until when.",
    "wait_for": "The event to wait for.",
    "where": "A condition in SQL on the event's properties, for example value >= 20.",
    "while_active": "What a trigger does while a journey is under way.",
    "within": "At most this long.",
    "Condition.where": "A condition in SQL on customer attributes, for example country = 'FR'.",
    "Condition.trigger": "A condition in SQL on the properties of the trigger's event.",
    "CycleTrigger.after": "A duration, a property in days, or {median: product_id}.",
    "Experiment.name": "Name of the draw: it decides who is in which arm. New shares want a new name.",
    "InactiveTrigger.since": "The event to count from where the other never happened.",
    "Quiet.from": "Local time, in quotes.",
    "Quiet.to": "Local time, in quotes.",
    "ReentryAfter.from": "Counted from when the last one began or ended.",
    "ScheduleTrigger.from": "First day, or the day.",
    "ScheduleTrigger.to": "Last day.",
    "Sender.bounces": "A mailbox that takes bounces+anything@…: each mail gets an envelope sender of its own.",
    "Sender.name": "Name of the sender.",
    "Tracking.url": "Where `toolkit track` answers: https://mail.shop.example.com; http://localhost:8080 for a trial.",
}


def schema() -> dict[str, dict[str, Any]]:
    """JSON Schema of the files of a program.

    Returns:
        Two schemas (draft 2020-12): `scenario`, of a scenario's file, and `policies`, of policies.yaml.

    >>> sorted(schema())
    ['policies', 'scenario']
    >>> schema()["scenario"]["required"]
    ['scenario', 'trigger', 'reentry', 'steps']
    """
    made = {}
    for name, model in (("scenario", Scenario), ("policies", Policies)):
        raw = model.model_json_schema(by_alias=True)
        raw = _tidied(raw, model.__name__)
        made[name] = {"$schema": _DIALECT, "title": name.title(), **raw}
    return made


def write_schema(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write the JSON Schemas of the language into a folder.

    An editor with a YAML language server completes a scenario that begins with the line
    `# yaml-language-server: $schema=../scenario.schema.json`.

    Args:
        folder: an existing folder.

    Returns:
        The files written: scenario.schema.json and policies.schema.json.

    Raises:
        InputError: there is no such folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [file.name for file in write_schema(folder)]
    ['scenario.schema.json', 'policies.schema.json']
    """
    place = Path(path_text(folder, name="folder", allowed="the path of an existing folder"))
    if not place.is_dir():
        raise InputError(f"no such folder: {place}")
    written = []
    for name, made in schema().items():
        file = place / _FILES[name]
        write_text(file, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
        written.append(file)
    return tuple(written)


def _tidied(node: Any, construct: str) -> Any:
    """Without generated titles, descriptions in one line, a meaning for every key."""
    if isinstance(node, list):
        return [_tidied(item, construct) for item in node]
    if not isinstance(node, dict):
        return node
    tidy: dict[str, Any] = {}
    for key, value in node.items():
        if key == "title":
            continue
        if key == "description" and isinstance(value, str):
            tidy[key] = " ".join(value.split())
        elif key == "$defs":
            tidy[key] = {name: _tidied(inner, name) for name, inner in value.items()}
        elif key == "properties":
            meant = {name: _with_meaning(_tidied(inner, construct), name, construct) for name, inner in value.items()}
            tidy[key] = meant
        elif key == "default":
            if value not in (None, []):
                tidy[key] = _default(value)
        else:
            tidy[key] = _tidied(value, construct)
    return tidy


def _default(value: Any) -> Any:
    """A default as a file would say it."""
    if isinstance(value, dict) and "microseconds" in value:
        return str(Duration(**value))
    return str(TimeOfDay(**value)) if isinstance(value, dict) and "minutes" in value else value


def _with_meaning(node: dict[str, Any], key: str, construct: str) -> dict[str, Any]:
    return {"description": _MEANINGS.get(f"{construct}.{key}") or _MEANINGS[key], **node}
