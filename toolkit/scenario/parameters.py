"""What can be tuned in a program, by path: `abandoned_cart.pause.wait`, `abandoned_cart.offer.offer.percent`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from toolkit.errors import Fault, ScenarioError, is_one_of, listed, nearest, shown
from toolkit.scenario.base import Model
from toolkit.scenario.checks import check
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.findings import check_is
from toolkit.scenario.models import Experiment, Program, Scenario
from toolkit.scenario.shapes import faults_in

__all__ = ["get_parameter", "parameters", "set_parameters"]

Way = tuple[str | int, ...]
"""Fields, indices and dict keys from the program to a value."""


def parameters(program: Program) -> dict[str, Any]:
    """Everything in a program that can be tuned: durations, times of day, numbers, and the shares of arms.

    Args:
        program: scenarios and policies.

    Returns:
        The values by path. A step goes by scenario and id, `abandoned_cart.pause.wait`; what belongs to the scenario
        by its keys, `abandoned_cart.goal.within`; what all share by `policies.caps[0].limit`. The shares of an
        experiment are one value, a dict of arms.

    >>> from toolkit.scenario.reading import load
    >>> parameters(load("templates"))["abandoned_cart.pause.wait"]
    Duration('4h')
    """
    return {path: value for path, _, value in _everything(program) if _is_tunable(path, value)}


def get_parameter(program: Program, path: str) -> Any:
    """The value at a path.

    Args:
        program: scenarios and policies.
        path: as `parameters` gives it; the path of anything else that is set, such as an offer, will do too.

    Returns:
        A Duration, a TimeOfDay, a number, a dict of arms, or whatever stands there.

    Raises:
        ScenarioError: there is no such path; names the nearest.

    >>> from toolkit.scenario.reading import load
    >>> get_parameter(load("templates"), "abandoned_cart.offer.offer.percent")
    10.0
    """
    return _found(program, path)[1]


def set_parameters(program: Program, values: Mapping[str, Any]) -> Program:
    """The same program with other values at some paths.

    Args:
        program: scenarios and policies; stays as it is.
        values: new values by path, as text or as objects: `{"abandoned_cart.pause.wait": "2h"}`. Shares of arms are
            given together, `{"abandoned_cart.experiment.arms": {"control": 0.5, "reminder": 0.5}}`, and want a new
            name of the experiment, since people are drawn by it.

    Returns:
        A new program, checked like one that was loaded.

    Raises:
        ScenarioError: a path that is not there, with the nearest; a value that is not allowed; all of them at once.

    >>> from toolkit.scenario.reading import load
    >>> program = set_parameters(load("templates"), {"abandoned_cart.pause.wait": "2h"})
    >>> program["abandoned_cart"].steps[0].wait
    Duration('2h')
    """
    check_is(values, Mapping, 'values by path, such as {"abandoned_cart.pause.wait": "2h"}')
    faults: list[Fault] = []
    for path, value in values.items():
        try:
            way, _ = _found(program, path)
            program = _changed(program, way, value)
        except ScenarioError as error:
            faults += error.faults
        except ValidationError as error:
            holder = _holder(program, way)
            prefix = path.rpartition(".")[0]
            faults += faults_in(error, type(holder), prefix=prefix)
    if faults:
        raise ScenarioError(tuple(faults))
    check(program)
    return program


def _is_tunable(path: str, value: Any) -> bool:
    if path.endswith(".arms"):
        return isinstance(value, dict)
    return isinstance(value, Duration | TimeOfDay | int | float) and not isinstance(value, bool)


def _found(program: Program, path: str) -> tuple[Way, Any]:
    paths: dict[str, tuple[Way, Any]] = {}
    for known, way, value in _everything(program):
        if is_one_of(path, (known,)):
            return way, value
        paths[known] = way, value
    raise ScenarioError(_unknown(path, paths))


def _unknown(path: str, paths: Mapping[str, tuple[Way, Any]]) -> tuple[Fault, ...]:
    tunable = [known for known, (_, value) in paths.items() if _is_tunable(known, value)]
    near = nearest(str(path), tunable) or nearest(str(path), paths)
    scenario = str(path).partition(".")[0]
    same = [known for known in tunable if known.startswith(f"{scenario}.")] or tunable
    found = path if isinstance(path, str | int) else shown(path)
    return (Fault("no such parameter", found=found, allowed=listed(same, near=path) if same else None, nearest=near),)


def _everything(program: Program) -> Iterator[tuple[str, Way, Any]]:
    """Every value of a program with its path, and the way to it."""
    check_is(program, Program, "a program, as load gives it")
    for index, scenario in enumerate(program.scenarios):
        yield from _inside(scenario, scenario.scenario, ("scenarios", index))
    yield from _inside(program.policies, "policies", ("policies",))


def _inside(model: Model, path: str, way: Way) -> Iterator[tuple[str, Way, Any]]:
    for name, field in type(model).model_fields.items():
        key = field.alias or name
        value = getattr(model, name)
        if isinstance(model, Scenario) and name == "steps":
            yield from _steps(value, path, (*way, name))
        elif name in _STEP_LISTS and not isinstance(model, Scenario):
            continue  # steps inside a step go by their own id
        elif not (name in ("id", "scenario") and key == name):
            yield from _value(value, f"{path}.{key}", (*way, name))


_STEP_LISTS = ("then", "else_", "paths", "steps")


def _value(value: Any, path: str, way: Way) -> Iterator[tuple[str, Way, Any]]:
    yield path, way, value
    if isinstance(value, Model):
        yield from _inside(value, path, way)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            if isinstance(item, Model):
                yield from _value(item, f"{path}[{index}]", (*way, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, Model):
                yield from _value(item, f"{path}.{key}", (*way, key))


def _steps(steps: Any, path: str, way: Way) -> Iterator[tuple[str, Way, Any]]:
    if isinstance(steps, dict):
        for arm, inner in steps.items():
            yield from _steps(inner, path, (*way, arm))
        return
    for index, step in enumerate(steps):
        yield from _inside(step, f"{path}.{step.id}", (*way, index))
        for name in _STEP_LISTS:
            if name in type(step).model_fields:
                yield from _steps(getattr(step, name), path, (*way, index, name))


def _holder(program: Program, way: Way) -> Model:
    """The last model on a way."""
    holder: Model = program
    value: Any = program
    for part in way[:-1]:
        value = getattr(value, str(part)) if isinstance(value, Model) else value[part]
        if isinstance(value, Model):
            holder = value
    return holder


def _changed(value: Any, way: Way, new: Any) -> Any:
    """A copy of a value with something else at the end of the way; every model on it is checked anew."""
    if not way:
        return new
    part, *rest = way
    if isinstance(value, Model):
        inner = _changed(getattr(value, str(part)), tuple(rest), new)
        if isinstance(value, Experiment) and part == "arms" and isinstance(inner, Mapping):
            inner = dict(inner)
        return value.replace(**{str(part): inner})
    if isinstance(value, dict):
        return {**value, part: _changed(value[part], tuple(rest), new)}
    return tuple(_changed(item, tuple(rest), new) if index == part else item for index, item in enumerate(value))
