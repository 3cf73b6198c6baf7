"""From plain values to models, with every fault in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from pydantic import ValidationError

from toolkit.errors import Fault
from toolkit.scenario import models as m
from toolkit.scenario.base import EventMatch, Model
from toolkit.scenario.document import Node, Place
from toolkit.scenario.duration import as_meant
from toolkit.scenario.meant import as_name, as_number, as_template, key_meant
from toolkit.scenario.policies import DOMAIN, TRACKER

__all__ = ["Shaped", "faults_in", "fields_by_alias", "place_text", "shaped"]

Shape = TypeVar("Shape", bound=Model)

_TAGGED: dict[str, type[Model]] = {
    "<event>": m.EventTrigger,
    "<date>": m.DateTrigger,
    "<inactive>": m.InactiveTrigger,
    "<cycle>": m.CycleTrigger,
    "<schedule>": m.ScheduleTrigger,
    "<median>": m.Median,
    "<after>": m.ReentryAfter,
    "<until>": m.WaitUntil,
    "<wait>": m.Wait,
    "<wait_for>": m.WaitFor,
    "<send>": m.Send,
    "<branch>": m.Branch,
    "<split>": m.Split,
    "<repeat>": m.Repeat,
    "<exit>": m.ExitStep,
}
_STEP_KINDS = ("wait", "wait_for", "send", "branch", "split", "repeat", "exit")
_TRIGGER_KINDS = ("event", "date", "inactive", "cycle", "schedule")
_NAME = "a letter, then letters, digits and _, at most 64; letters are those from a to z"
_DATE = "a date, for example 2026-11-27"
_MOMENT = re.compile(r"(?<!\d)(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<hour>\d{1,2}):(?P<minute>\d{2}))?")
_TEMPLATE = "folder and mail without file ending, for example abandoned_cart/reminder"
_REQUIRED = {
    "reentry": "once, every, {after: 7d}",
    "trigger": "one of " + ", ".join(_TRIGGER_KINDS) + ", for example {event: cart_add}",
    "steps": "a list of " + ", ".join(_STEP_KINDS),
}
_PATTERNS = {
    r"^[A-Za-z][A-Za-z0-9_]*$": _NAME,
    r"^\d{4}-\d{2}-\d{2}$": _DATE,
    r"^[A-Z]{3}$": "a currency in three capitals, for example EUR",
    r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$": _TEMPLATE,
    r"^[^\x00-\x1f\x7f]+$": "at least one character, and no line breaks",
    r"^[a-z]{2,3}$": "a language, for example en or fr",
    r"^[^@\s<>\",]+@[^@\s<>\",]+$": "an address such as hello@example.com",
    DOMAIN: "a domain such as example.com; of another script as the DNS has it, with xn--",
    TRACKER: "a link that begins with https://; http:// leads to this machine alone, as http://localhost:8080",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,30}@[^@\s<>\",]+$": "an address with at most 31 letters before the @, and no +",
}
_KINDS = {
    "string_type": ("expected text", "text; numbers and true or false in quotes"),
    "int_type": ("expected a whole number", "a whole number, without quotes"),
    "float_type": ("expected a number", "a number, without quotes"),
    "bool_type": ("expected true or false", "true, false"),
    "tuple_type": ("expected a list", "a list: [a, b], or one `- ` a line"),
    "dict_type": ("expected a mapping", "a mapping: {key: value}, or one `key: value` a line"),
    "model_type": ("expected a mapping", "a mapping: {key: value}, or one `key: value` a line"),
    "string_unicode": ("expected text", "text that can be written as UTF-8"),
    "finite_number": ("expected a number", "a finite number"),
}
# What stands in for a required value that cannot be read, so that the rest of the file can still be checked.
_PLACEHOLDERS: dict[str, Any] = {
    "scenario": "unnamed",
    "trigger": {"event": "unknown"},
    "reentry": "every",
    "steps": [{"wait": "1s"}],
    "event": "unknown",
    "inactive": "unknown",
    "cycle": "unknown",
    "date": "unknown",
    "schedule": "day",
    "for": "1d",
    "after": "1d",
    "within": "1d",
    "per": "1d",
    "limit": 1,
    "wait": "1s",
    "until": "09:00",
    "send": "unknown",
    "name": "unnamed",
}


def fields_by_alias(model: type[Model]) -> dict[str, Any]:
    """The fields of a model by the key they have in a file, in the order they are declared."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


@dataclass(frozen=True, slots=True)
class Shaped(Generic[Shape]):
    """A model read from a document, or as much of it as could be saved.

    model: None where nothing could be saved. node: where its values stand. faults: what was wrong. lost: paths of what
    was left out or filled in to save the rest; later checks are to keep silent about them.
    """

    model: Shape | None
    node: Node
    faults: tuple[Fault, ...] = ()
    lost: frozenset[str] = frozenset()


def shaped(kind: type[Shape], node: Node, *, file: str | None = None) -> Shaped[Shape]:
    """A model of a document's node, as much of it as can be saved, and its faults."""
    if not isinstance(node.value, dict):
        allowed = "a mapping: one `key: value` a line"
        return Shaped(None, node, (Fault(_found_instead(node), file=file, line=node.line, allowed=allowed),))
    try:
        return Shaped(kind.model_validate(node.plain(), by_alias=True, by_name=False), node)
    except ValidationError as error:
        faults = tuple(faults_in(error, kind, node=node, file=file))
        return _saved(kind, node, error, faults)


def _found_instead(node: Node) -> str:
    if node.value is None:
        return "there is nothing in it"
    return f"expected a mapping; found {'a list' if isinstance(node.value, list) else 'only one value'}"


def _saved(kind: type[Shape], node: Node, error: ValidationError, faults: tuple[Fault, ...]) -> Shaped[Shape]:
    """The model without what is wrong: each round fills in what a file must have and drops what else is at fault."""
    lost: set[str] = set()
    node = node.changed({})
    for _ in range(12):
        changes: dict[int, Node | None] = {}
        for fault in _errors(error):
            at, left = node.at(fault["loc"])
            key = str(left[-1]) if left else at.path.rpartition(".")[2]
            known = key in _PLACEHOLDERS
            if fault["type"] == "missing" and known and isinstance(at.value, dict):
                path = f"{at.path}.{key}".lstrip(".")
                at.value[key] = _as_node(_PLACEHOLDERS[key], at.line, path)
                lost.add(path)
            elif at is node:
                return Shaped(None, node, faults)
            else:
                known = known and at.path not in lost
                changes[id(at)] = _as_node(_PLACEHOLDERS[key], at.line, at.path) if known else None
                lost.add(at.path)
        node = node.changed(changes)
        try:
            model = kind.model_validate(node.plain(), by_alias=True, by_name=False)
            return Shaped(model, node, faults, frozenset(lost))
        except ValidationError as next_error:
            error = next_error
    return Shaped(None, node, faults)


def _as_node(value: Any, line: int, path: str) -> Node:
    if isinstance(value, dict):
        return Node({key: _as_node(inner, line, f"{path}.{key}") for key, inner in value.items()}, line, path)
    if isinstance(value, list):
        return Node([_as_node(inner, line, f"{path}[{i}]") for i, inner in enumerate(value)], line, path)
    return Node(value, line, path)


def faults_in(
    error: ValidationError, kind: type[Model], *, node: Node | None = None, file: str | None = None, prefix: str = ""
) -> Iterator[Fault]:
    """The faults of a validation, each with its line and path where a document is given."""
    for fault in _errors(error):
        place = fault["loc"]
        said = _said(fault, _owner(kind, place))
        if node is None:
            yield Fault(path=_joined(prefix, place_text(place)), file=file, **said)
            continue
        at, left = node.at(place)
        path = at.path + "".join(f".{part}" for part in left if part != "[key]")
        yield Fault(path=path.lstrip(".") or None, file=file, line=at.line, **said)


def _errors(error: ValidationError) -> Iterator[Mapping[str, Any]]:
    errors = error.errors(include_url=False)
    places = [fault["loc"] for fault in errors]
    for fault in errors:
        place = fault["loc"]
        # A list whose items all have faults of their own is not empty, whatever is left of it.
        if fault["type"] != "too_short" or not any(other[: len(place)] == place for other in places if other != place):
            yield fault


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path and not path.startswith("[") else prefix + path


def place_text(place: Place) -> str:
    """A place as people write it: `steps[2].wait_for.within`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not part.startswith(("<", "[")):
            text += f".{part}"
    return text.lstrip(".")


def _owner(kind: type[Model], place: Place) -> type[Model]:
    """The model that holds the last key of a place."""
    owner = kind
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        if part in _TAGGED:
            owner = _TAGGED[part]
            continue
        field = fields_by_alias(owner).get(part)
        inner = _models_in(field.annotation) if field is not None else []
        if len(inner) == 1:
            owner = inner[0]
    return owner


def _models_in(annotation: Any) -> list[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _said(fault: Mapping[str, Any], owner: type[Model]) -> dict[str, Any]:
    """Message, found, allowed and nearest of one of pydantic's errors."""
    kind: str = fault["type"]
    found = fault["input"]
    context = fault.get("ctx", {})
    shown: object = found if isinstance(found, str | int | float | bool) else _as_written(found)
    if isinstance(shown, str) and len(shown) > 80:
        shown = shown[:77] + "…"
    match kind:
        case "missing":
            said = _REQUIRED.get(str(fault["loc"][-1])) if owner is m.Scenario else None
            return {"message": "is required", **({"allowed": said} if said else {})}
        case "extra_forbidden":
            return _unknown_key(str(fault["loc"][-1]), owner)
        case "string_type" | "string_pattern_mismatch" if fault["loc"][-1] == "holdout":
            allowed = "the arm that gets no mail; its share stands in arms: {control: 0.1, mail: 0.9}, holdout: control"
            return {"message": "expected the name of an arm", "found": shown, "allowed": allowed}
        case "literal_error":
            words = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"].lower()]
            more = ", {after: 7d}" if fault["loc"][-1] == "<word>" else ""
            near = key_meant(str(shown), words)
            if near is None and fault["loc"][-1] == "schedule" and (moment := _moment_in(found, key="from")):
                near = f"{{schedule: once, {moment}}}"
            return {"message": "unknown word", "found": shown, "allowed": ", ".join(words) + more, "nearest": near}
        case "string_pattern_mismatch":
            allowed = _PATTERNS.get(context["pattern"], "a link that begins with https://")
            message = "not a name that can be used here" if allowed in (_NAME, _TEMPLATE) else "cannot be used here"
            name = {_NAME: as_name, _TEMPLATE: as_template}.get(allowed)
            if name is not None:
                near = name(str(found))
            else:
                near = _moment_in(found, key=str(fault["loc"][-1])) if allowed == _DATE else None
            return {"message": message, "found": shown, "allowed": allowed, "nearest": near}
        case "duration" | "time_of_day":
            near = as_meant(found) if isinstance(found, str) else None
            near = None if near is None or near == found else near
            if kind == "time_of_day":
                hour = re.fullmatch(r"([01]?\d|2[0-3])h?", str(found))
                near = f"{int(hour[1]):02d}:00" if hour else near
                if near is None and owner is m.ScheduleTrigger:
                    near = _moment_in(found, key="from")
            return {"message": fault["msg"], "found": shown, "allowed": context["allowed"], "nearest": near}
        case "trigger" | "step":
            kinds = _TRIGGER_KINDS if kind == "trigger" else _STEP_KINDS
            keys = list(found) if isinstance(found, dict) else [found] if isinstance(found, str) else []
            near = next((close for key in keys if key not in ("id", "only") and (close := key_meant(key, kinds))), None)
            shown = ", ".join(keys) or shown
            if kind == "trigger" and isinstance(found, str) and near is None:
                near = f"{{event: {found}}}"
            return {"message": fault["msg"], "found": shown, "allowed": context["allowed"], "nearest": near}
        case "too_short" | "string_too_short":
            return {"message": "is empty", "allowed": "at least one"}
        case "too_long" | "string_too_long":
            return {"message": "is too long", "found": shown, "allowed": f"at most {context['max_length']}"}
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            bound = ", ".join(f"{_BOUNDS[name]} {limit:g}" for name, limit in context.items() if name in _BOUNDS)
            is_percent = "arms" in fault["loc"] and isinstance(found, int | float) and 1 < found <= 100
            near = f"{found / 100:g}" if is_percent else None
            return {"message": "out of range", "found": shown, "allowed": bound, "nearest": near}
    message, allowed = _KINDS.get(kind, (fault["msg"], context.get("allowed")))
    near = _meant(kind, found, fault["loc"], owner)
    return {"message": message, "found": shown, "allowed": allowed, "nearest": near}


def _moment_in(found: object, *, key: str) -> str | None:
    """A whole moment as a schedule has it: its day under a key of its own, its time of day in `at`."""
    moment = _MOMENT.search(_as_written(found))
    if moment is None:
        return None
    return f"{key}: {moment['day']}" + (f", at: '{moment['hour']:>02}:{moment['minute']}'" if moment["hour"] else "")


def _as_written(value: object) -> str:
    """A value as one writes it on a line of YAML; what one wrote nothing for is nothing."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_as_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_written, value)) + "]"
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _meant(kind: str, found: object, place: Place, owner: type[Model]) -> str | None:
    """What a value of the wrong kind seems to mean: an event by its name, a list of one, a percentage, an amount."""
    if kind == "tuple_type" and isinstance(found, dict):
        listed = f"[{_as_written(found)}]"
        return listed if len(listed) <= 80 else None
    if not isinstance(found, str):
        return None
    shown = found
    field = fields_by_alias(owner).get(str(place[-1])) if place else None
    # What a list holds has no key of its own: its owner is the model that was meant.
    models = _models_in(field.annotation) if field is not None else [owner] if isinstance(place[-1], int) else []
    is_event = len(models) == 1 and issubclass(models[0], EventMatch)
    if kind == "model_type":
        return f"{{event: {shown}}}" if is_event else None
    if kind == "tuple_type" and (is_event or not models):
        return f"[{{event: {shown}}}]" if is_event else f"[{shown}]"
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", shown)
    if kind == "float_type" and percent:
        return f"{float(percent[1]) / (100 if 'arms' in place else 1):g}"
    number = as_number(shown) if kind in ("float_type", "int_type") else None
    return number if number != shown else None


_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def _unknown_key(key: str, owner: type[Model]) -> dict[str, Any]:
    keys = list(fields_by_alias(owner))
    message = "unknown key"
    if key in _STEP_KINDS and "only" in keys:
        message = "a step does one thing; this belongs in a step of its own"
    elif owner is m.Scenario and key in fields_by_alias(m.Policies):
        return {"message": "this belongs in policies.yaml: all scenarios share it", "found": key}
    elif owner is m.Scenario and key in (*_STEP_KINDS, "offer"):
        return {"message": "this belongs in a step, under steps", "found": key}
    elif owner is m.Policies and key in fields_by_alias(m.Scenario):
        return {"message": "this belongs in a scenario, not in policies", "found": key}
    return {"message": message, "found": key, "allowed": ", ".join(keys), "nearest": key_meant(key, keys)}
