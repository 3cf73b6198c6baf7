"""Outcomes held to a second, plain count of what followed, on random programs and random logs."""

from __future__ import annotations

from random import Random
from typing import Any

import pandas as pd
import pytest

from tests.reference.crowds import crowd
from tests.reference.outcomes import outcomes, with_answers
from tests.reference.worlds import told, world
from toolkit.engine import measure, replay
from toolkit.events import EventLog
from toolkit.scenario import loads

LAST = 30


def _asked(chance: Random, until: pd.Timestamp) -> dict[str, Any]:
    asked: dict[str, Any] = {"unit": chance.choice(("customer", "journey"))}
    if chance.random() < 0.3:
        asked["within"] = chance.choice(("1h", "24h", "2d"))
    if chance.random() < 0.4:
        asked["before"] = chance.choice(("0s", "1d", "3d"))
    if chance.random() < 0.4:
        asked["lapsed"] = chance.choice(("4h", "1d", "3d"))
    if chance.random() < 0.3:
        asked["since"] = until - chance.choice((1, 2, 4, 6)) * pd.Timedelta("1D")
    return asked


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value if isinstance(value, str | bool) else round(value, 9) if isinstance(value, float) else value


def _agree(number: int) -> int:
    """How many units were compared."""
    chance = Random(number)
    one = with_answers((crowd if number % 2 else world)(number), chance)
    run = replay(one.program, one.log(), until=one.until, assume="never", progress=False)
    units = 0
    for scenario in one.program.scenarios:
        asked = _asked(chance, run.until)
        found = measure(run, scenario=scenario.scenario, **asked).drop(columns="arm").to_dict("records")
        counted = outcomes(one, run.journeys, scenario, until=run.until.to_pydatetime(), **asked)
        here = [{name: _plain(value) for name, value in row.items()} for row in found]
        there = [{name: _plain(value) for name, value in row.items()} for row in counted]
        assert here == there, f"world {number}, {scenario.scenario}, {asked}\n{told(one)}"
        units += len(there)
    return units


def test_outcomes_of_random_programs_are_what_followed_event_by_event() -> None:
    assert sum(_agree(number) for number in range(LAST)) > 80


@pytest.mark.parametrize("named", [float("nan"), None, 7.0])
def test_a_column_of_scenarios_that_names_none_leaves_no_answer_to_this_one(named: float | None) -> None:
    rows = {"customer_id": "ana", "event": ["cart_add", "email_opened", "purchase", "other"], "scenario": named}
    moments = pd.to_datetime(["2025-03-03", "2025-03-04", "2025-03-05", "2025-03-30"], utc=True)
    program = loads(
        "{scenario: cart, trigger: {event: cart_add}, reentry: once, goal: {event: purchase, within: 7d},"
        " steps: [{send: cart/reminder}]}"
    )
    run = replay(program, EventLog.from_pandas(pd.DataFrame(rows).assign(at=moments), progress=False), progress=False)
    assert measure(run)[["opened", "converted"]].values.tolist() == [[False, True]]


@pytest.mark.soak
def test_so_are_those_of_a_thousand_more() -> None:
    assert sum(_agree(number) for number in range(LAST, 1_000)) > 2_000
