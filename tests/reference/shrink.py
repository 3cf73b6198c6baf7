"""A smaller world in which the same thing goes wrong: leave out what is not needed, as long as it still does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from tests.reference.worlds import World
from toolkit.scenario import models as m


def _fewer(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    size = len(items)
    while size >= 1:
        for start in range(0, len(items), size):
            if size < len(items) or size == 1:
                yield items[:start] + items[start + size :]
        size //= 2


def _shorter(steps: tuple[m.Step, ...]) -> Iterator[tuple[m.Step, ...]]:
    yield from _fewer(steps)
    for place, step in enumerate(steps):
        before, after = steps[:place], steps[place + 1 :]
        for inner, below in m.steps_below(step):
            yield before + below + after
            for less in _shorter(below):
                if inner[0] == "paths" and isinstance(step, m.Split):
                    changed: Any = step.replace(paths={**step.paths, inner[1]: less})
                elif inner[0] == "steps" and not less:
                    continue
                else:
                    changed = step.replace(**{str(inner[0]): less})
                yield (*before, changed, *after)
        if step.only:
            yield (*before, step.replace(only=()), *after)


def _simpler(scenario: m.Scenario) -> Iterator[m.Scenario]:
    for steps in _shorter(scenario.steps):
        if steps:
            yield scenario.replace(steps=steps)
    for name, field in m.Scenario.model_fields.items():
        if not field.is_required() and getattr(scenario, name) != field.get_default(call_default_factory=True):
            yield scenario.replace(**{name: field.get_default(call_default_factory=True)})
    if scenario.reentry != "every":
        yield scenario.replace(reentry="every")
    if getattr(scenario.trigger, "where", None):
        yield scenario.replace(trigger=scenario.trigger.replace(where=None))


def _smaller(world: World) -> Iterator[Callable[[], World]]:
    program = world.program
    for scenarios in _fewer(program.scenarios):
        if scenarios:
            yield lambda scenarios=scenarios: replace(world, program=program.replace(scenarios=scenarios))  # type: ignore[misc]
    for events in _fewer(world.events):
        if events:
            yield lambda events=events: replace(world, events=events)  # type: ignore[misc]
    for customers in _fewer(world.customers or ()):
        if customers:
            yield lambda customers=customers: replace(world, customers=customers)  # type: ignore[misc]
    for name, nothing in (("quiet", None), ("caps", ()), ("timezone", "UTC")):
        if getattr(program.policies, name) != nothing:
            policies = program.policies.replace(**{name: nothing})
            yield lambda policies=policies: replace(world, program=program.replace(policies=policies))  # type: ignore[misc]
    for place, scenario in enumerate(program.scenarios):
        for simpler in _simpler(scenario):
            changed = (*program.scenarios[:place], simpler, *program.scenarios[place + 1 :])
            yield lambda changed=changed: replace(world, program=program.replace(scenarios=changed))  # type: ignore[misc]


def smallest(world: World, fails: Callable[[World], bool], *, seconds: float = 60) -> World:
    """A world in which nothing more can be left out, or what was found when the time was over."""
    end = time.monotonic() + seconds
    again = True
    while again:
        again = False
        candidates = _smaller(world)
        while time.monotonic() < end:
            try:
                candidate = next(candidates)()
                if fails(candidate):
                    world, again = candidate, True
                    break
            except StopIteration:
                break
            except (ValidationError, ValueError):
                continue
    return world
