"""What comes in at the doors of replay, sweep and all that build on them: a program and a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from toolkit.engine.instructions import ASSUMPTIONS
from toolkit.errors import InputError, did_you_mean, is_one_of, listed, shown
from toolkit.events import EventLog, SparkLog
from toolkit.events.times import moment_of
from toolkit.scenario.models import Goal, Program, Scenario

__all__ = [
    "VALUES",
    "check_assumption",
    "check_program",
    "check_whole",
    "micros_of",
    "moment_at",
    "moment_of",
    "scenario_in",
    "scenario_with_goal",
    "values_to_try",
]

VALUES = "values to try by parameter path, as {'cart.pause.wait': ['1h', '4h']}"
"""What is allowed where settings are tried."""


def check_program(program: object, log: object) -> Program:
    """The program, made of a scenario where that is what came; what is none, such as a path, and no log is refused."""
    if not isinstance(program, Program | Scenario):
        hint = "; read files with tk.load" if isinstance(program, str) else ""
        raise InputError(f"program: found {shown(program)}; allowed: a Program or a Scenario{hint}")
    if not isinstance(log, EventLog | SparkLog):
        hint = "; EventLog.from_pandas makes one of a frame" if isinstance(log, pd.DataFrame) else ""
        raise InputError(f"log: found {type(log).__name__}; allowed: an EventLog, from EventLog.open or from_…{hint}")
    return Program(scenarios=(program,)) if isinstance(program, Scenario) else program


def scenario_in(scenarios: Sequence[Scenario], name: str | None, *, of: str = "run") -> tuple[int, Scenario]:
    """The scenario that is named and its place among all; the only one where none is named.

    Args:
        scenarios: those of a program, in its order.
        name: which; None where nobody said.
        of: what has them, in a word.

    Raises:
        InputError: no such scenario, or none named of several.
    """
    names = [one.scenario for one in scenarios]
    if name is None and len(names) == 1:
        return 0, scenarios[0]
    if name is None:
        raise InputError(f"which scenario? pass scenario=; this {of} has {listed(sorted(names))}")
    if not is_one_of(name, names):
        hint = did_you_mean(str(name), names)
        raise InputError(f"no scenario {shown(name)} in this {of}; it has {listed(sorted(names), near=name)}{hint}")
    place = names.index(name)
    return place, scenarios[place]


def scenario_with_goal(scenarios: Sequence[Scenario], name: str | None) -> tuple[int, Scenario, Goal]:
    """The scenario that is named, its place and its goal; where none is named, the only one with a goal.

    Raises:
        InputError: no such scenario, none named of several, or one without a goal.
    """
    able = [one.scenario for one in scenarios if one.goal is not None]
    if name is None and len(able) > 1:
        raise InputError(f"which scenario? pass scenario=; with a goal this run has {listed(sorted(able))}")
    place, chosen = scenario_in(scenarios, able[0] if name is None and able else name)
    if chosen.goal is None:
        raise InputError(
            f"{chosen.scenario}: no goal, so nobody's own purchases can be told; "
            "add for example goal: {event: purchase, within: 7d}"
        )
    return place, chosen, chosen.goal


def values_to_try(over: object) -> dict[str, tuple[Any, ...]]:
    """Values by parameter path; what is no such mapping, or a value where a list of them belongs, is refused.

    >>> values_to_try({"cart.pause.wait": "1h"})
    Traceback (most recent call last):
        ...
    toolkit.errors.InputError: over: cart.pause.wait: found '1h'; allowed: a list of values, as ['1h', …]
    """
    if not isinstance(over, Mapping):
        raise InputError(f"over: found {shown(over)}; allowed: {VALUES}")
    for path, tried in over.items():
        if isinstance(tried, str | bytes | Mapping) or not isinstance(tried, Iterable):
            found = shown(tried)
            raise InputError(f"over: {path}: found {found}; allowed: a list of values, as [{found}, …]")
    return {str(path): tuple(tried) for path, tried in over.items()}


def check_assumption(assume: object) -> None:
    """Refuse what a replay cannot assume of answers; that they are modelled is for simulations alone (rule R22)."""
    if assume is not None and not is_one_of(assume, ASSUMPTIONS):
        hint = "; simulate(program, log, response=) is for modelled answers" if is_one_of(assume, ("modelled",)) else ""
        allowed = f"{', '.join(map(repr, ASSUMPTIONS))}, or None"
        raise InputError(f"assume: found {shown(assume)}; allowed: {allowed}{hint}")


def check_whole(value: object, *, name: str, of: str) -> None:
    """Refuse what is no whole number from 1; None stands for one that is not given."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
        raise InputError(f"{name}: found {shown(value)}; allowed: a whole number, at least 1 {of}, or None")


def micros_of(moment: pd.Timestamp) -> int:
    """A moment in UTC microseconds; of any year, while nanoseconds end in 2262.

    >>> micros_of(pd.Timestamp("9999-12-31", tz="UTC"))
    253402214400000000
    """
    return int(moment.as_unit("us").asm8.astype("int64"))


def moment_at(micros: int) -> pd.Timestamp:
    """The moment of so many UTC microseconds, of any year.

    >>> moment_at(253402214400000000)
    Timestamp('9999-12-31 00:00:00+0000', tz='UTC')
    """
    return pd.Timestamp(np.datetime64(micros, "us")).tz_localize("UTC")
