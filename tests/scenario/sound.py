"""Random scenarios made sound: what `check` finds fault with is left out."""

from __future__ import annotations

from typing import Any

from toolkit.scenario import models as m
from toolkit.scenario.base import Model
from toolkit.scenario.coherence import findings
from toolkit.scenario.document import Place
from toolkit.scenario.places import field_of


def sound(scenario: m.Scenario) -> m.Scenario:
    """The same scenario without the steps, or else the settings, that contradict others."""
    while fault := next((one for one in findings(scenario) if not one.warning), None):
        scenario = _without(scenario, fault.place)
    return scenario


def _without(scenario: m.Scenario, place: Place) -> m.Scenario:
    """A scenario without the innermost step at a place, or without the setting where that is in no step."""
    if place[0] != "steps" or len(place) < 2:
        return scenario.replace(**{str(place[0]): m.Scenario.model_fields[str(place[0])].get_default()})
    return scenario.replace(steps=_cut(scenario.steps, place[1:]) or (m.Send(send="m/x"),))


def _cut(steps: tuple[Any, ...], place: Place) -> tuple[Any, ...]:
    index, *rest = place
    assert isinstance(index, int)
    step = steps[index]
    inner = _inside(step, tuple(rest))
    return (*steps[:index], *((inner,) if inner is not None else ()), *steps[index + 1 :])


def _inside(step: Any, place: Place) -> Any:
    """The step without what is at the place below it; None where the place is the step's own."""
    for way, below in m.steps_below(step):
        keys = tuple("else" if part == "else_" else part for part in way)
        if place[: len(keys)] != keys or len(place) == len(keys):
            continue
        cut = _cut(below, place[len(keys) :])
        if way[0] == "paths":
            return step.replace(paths={**step.paths, way[1]: cut})
        name = field_of(step, str(way[0]))
        assert name is not None
        changed: Model = step.replace(**{name: cut})
        return None if not any(inner for _, inner in m.steps_below(changed)) else changed
    return None
