"""Scenarios and policies as YAML in one canonical form, and the hash of what they say."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

import rfc8785

from toolkit.errors import Fault, ScenarioError
from toolkit.scenario.base import Condition, Model
from toolkit.scenario.document import MAX_INTEGER, scalar
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.findings import check_is
from toolkit.scenario.models import (
    ExitStep,
    Policies,
    Program,
    Scenario,
    every_step,
    id_of_its_own,
)

__all__ = ["content_hash", "dump", "plain"]

WIDTH = 110

# Written without quotes; everything else is quoted, also what YAML 1.1 takes for a truth value or a time.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_/]*|-?[0-9][0-9.]*[smhdw][0-9a-z.]*")
_TRUTHS = {"y", "n", "yes", "no", "on", "off"}
_STEP_KINDS = frozenset(("wait", "wait_for", "send", "branch", "split", "repeat", "exit"))


def dump(value: Scenario | Policies | Program) -> str:
    """The canonical YAML of a scenario, of policies, or of a program.

    Keys stand in one order, what is a default is left out, and short forms are used, so that two scenarios are equal
    exactly when their texts are. `loads` gives back what was dumped.

    Args:
        value: a scenario, policies, or a program, whose documents are then parted by lines of `---`.

    Returns:
        YAML, ending in a line break.

    Raises:
        ScenarioError: something else, or a free value of the brand that YAML has no form for.

    >>> from toolkit.scenario.reading import loads
    >>> print(dump(loads('''
    ... {scenario: hello, trigger: {event: sign_up, where: "plan = 'pro'"}, reentry: once, steps: [
    ... {wait: 60m}, {send: welcome/hello}]}
    ... ''')["hello"]), end="")
    scenario: hello
    trigger: {event: sign_up, where: "plan = 'pro'"}
    reentry: once
    steps:
      - wait: 1h
      - send: welcome/hello
    """
    check_is(value, (Scenario, Policies, Program), "a scenario, policies or a program")
    if isinstance(value, Program):
        documents = [dump(scenario) for scenario in value.scenarios]
        if value.policies != Policies():
            documents.append(dump(value.policies))
        return "---\n".join(documents)
    data = plain(value)
    return "\n".join(_block(data, 0)) + "\n" if data else "{}\n"


def content_hash(program: Program, *, templates: Mapping[str, str] | None = None) -> str:
    """The name of a program's content (rule R23): the same for the same scenarios, policies and mails, and no other.

    Args:
        program: scenarios and policies; the order of the scenarios does not count.
        templates: hash of each compiled template by its name.

    Returns:
        SHA-256 of the canonical JSON (RFC 8785) of all of it, 64 hexadecimal digits.

    Raises:
        ScenarioError: what is no program; a free value of the brand that JSON has no form for.

    >>> from toolkit.scenario.reading import load
    >>> program = load("templates")
    >>> content_hash(program) == content_hash(program)
    True
    >>> len(content_hash(program, templates={"welcome/hello": "9f86d0"}))
    64
    """
    check_is(program, Program, "a program, as load gives it")
    check_is({} if templates is None else templates, Mapping, "hashes of templates by name")
    scenarios = sorted(program.scenarios, key=lambda scenario: scenario.scenario)
    # DESIGN gives rfc8785 to the room of sending; the hash that approvals name has to follow the same rules.
    content: Any = {
        "language": 1,
        "scenarios": [_ordered(plain(scenario)) for scenario in scenarios],
        "policies": plain(program.policies),
        "templates": dict(templates or {}),
    }
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def _ordered(value: Any) -> Any:
    """Arms as pairs: their order decides who is in which, and canonical JSON sorts keys."""
    if isinstance(value, dict):
        return {
            key: [[arm, share] for arm, share in inner.items()] if key == "arms" else _ordered(inner)
            for key, inner in value.items()
        }
    return [_ordered(inner) for inner in value] if isinstance(value, list) else value


def plain(model: Scenario | Policies) -> dict[str, Any]:
    """The plain data of a scenario or of policies in canonical order, without defaults."""
    unsaid: set[str] = set()
    if isinstance(model, Scenario):
        # An id is left out where reading gives it back: where it is the first that was free.
        before: set[str] = set()
        for step in every_step(model.steps):
            if step.id is not None and step.id == id_of_its_own(step, before):
                unsaid.add(step.id)
            before.add(step.id or "")
    data: dict[str, Any] = _plain(model, unsaid)
    return data


def _plain(value: Any, unsaid: Container[str]) -> Any:
    match value:
        case Condition() if value.where is not None and value == Condition(where=value.where):
            return value.where
        case ExitStep() if value.id in unsaid and not value.only:
            return "exit"
        case Model():
            return _fields(value, unsaid)
        case Duration() | TimeOfDay():
            return str(value)
        case tuple() | list():
            return [_plain(item, unsaid) for item in value]
        case dict():
            return {str(key): _plain(item, unsaid) for key, item in value.items()}
        case bool() | str() | None:
            return value
        case int() | float():
            return _number(value)
    raise ScenarioError([Fault("a value that a file cannot hold", found=type(value).__name__)])


def _number(value: float) -> float:
    if not math.isfinite(value) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        raise ScenarioError([Fault("a number that a file cannot hold", found=value)])
    return int(value) if float(value).is_integer() and abs(value) <= MAX_INTEGER else value


def _fields(model: Model, unsaid: Container[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name in _in_order(type(model)):
        field = type(model).model_fields[name]
        value = getattr(model, name)
        is_default = not field.is_required() and value == field.get_default(call_default_factory=True)
        is_kind = isinstance(model, ExitStep) and name == "exit"
        if (is_default and not is_kind) or (name == "id" and value in unsaid):
            continue
        written = _plain(value, unsaid)
        if name in ("happened", "not_happened") and len(written) == 1:
            written = written[0]
        data[field.alias or name] = written
    return data | {key: _plain(value, unsaid) for key, value in (model.model_extra or {}).items()}


def _in_order(model: type[Model]) -> list[str]:
    """The fields as people write them: `only` after what a step does, before the steps inside it."""
    names = list(model.model_fields)
    if "only" not in names:
        return names
    names.remove("only")
    place = next((names.index(name) for name in ("then", "paths", "steps") if name in names), len(names))
    return [*names[:place], "only", *names[place:]]


# --- YAML -------------------------------------------------------------------------------------------------------------


def _block(data: dict[str, Any], indent: int) -> Iterator[str]:
    """One line for each key, or several where a line would be too long or holds steps."""
    for key, value in data.items():
        head = f"{' ' * indent}{_key(key)}:"
        flow = _flow(value)
        if not value or not isinstance(value, dict | list) or (len(head) + len(flow) < WIDTH and not _has_steps(value)):
            yield f"{head} {flow}"
        elif isinstance(value, dict):
            yield head
            yield from _block(value, indent + 2)
        else:
            yield head
            for item in value:
                yield from _item(item, indent + 2)


def _item(item: Any, indent: int) -> Iterator[str]:
    flow = _flow(item)
    if not item or not isinstance(item, dict) or (len(flow) + indent < WIDTH and not _is_step(item)):
        yield f"{' ' * indent}- {flow}"
        return
    first, *rest = _block(item, indent + 2)
    yield f"{' ' * indent}- {first.lstrip()}"
    yield from rest


def _has_steps(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(inner, list) and _has_steps(inner) for inner in value.values())
    return any(_is_step(item) for item in value)


def _is_step(item: Any) -> bool:
    return isinstance(item, dict) and not _STEP_KINDS.isdisjoint(item)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) and isinstance(scalar(text), str) else _quoted(text)


def _text(text: str) -> str:
    return _quoted(text) if text.lower() in _TRUTHS else _key(text)


def _quoted(text: str) -> str:
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
