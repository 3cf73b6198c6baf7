"""Random values for random parameters of a program: what a sweep may be asked to try."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from toolkit.errors import ScenarioError
from toolkit.scenario import models as m
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.parameters import parameters, set_parameters

__all__ = ["random_grid"]

_LENGTHS = ("0s", "30m", "1h", "4h", "12h", "24h", "1d", "1d30m", "2d", "3d", "7d")
_TIMES = ("00:00", "02:30", "08:00", "09:00", "15:30", "22:00")


def random_grid(chance: Random, program: m.Program) -> dict[str, list[Any]]:
    """Up to three values for each of one or two parameters that may have them."""
    now = parameters(program)
    grid: dict[str, list[Any]] = {}
    for path in chance.sample(sorted(now), len(now)):
        drawn = [_value(chance, path, now[path]) for _ in range(chance.randint(1, 3))]
        values = [value for at, value in enumerate(drawn) if value not in drawn[:at] and _fits(program, {path: value})]
        if values:
            grid[path] = values
        if len(grid) > chance.randint(0, 1):
            break
    return grid


def _fits(program: m.Program, setting: Mapping[str, Any]) -> bool:
    try:
        set_parameters(program, setting)
    except ScenarioError:
        return False
    return True


def _value(chance: Random, path: str, now: Any) -> Any:
    if isinstance(now, Duration):
        return chance.choice(_LENGTHS)
    if isinstance(now, TimeOfDay):
        return chance.choice(_TIMES)
    if isinstance(now, dict):
        weights = [chance.choice((0, 1, 1, 2)) for _ in now]
        return {arm: weight / (sum(weights) or 1) for arm, weight in zip(now, weights, strict=True)}
    if path.endswith("percent"):
        return chance.choice((1.0, 10.0, 50.0, 100.0))
    if path.endswith("priority"):
        return chance.choice((0, 10, 50, 90))
    return chance.choice((0, 1, 2, 3, 5, 29, 31))
