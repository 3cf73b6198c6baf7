"""Outcomes held to a second, plain count of what followed, on random programs and random logs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from tests.reference.crowds import crowd
from tests.reference.logged_experiments import told as evidence_told
from tests.reference.logged_experiments import with_mails_of_experiments
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


def _evidence_agrees(number: int, folder: Path) -> Counter[str]:
    """What was said of the experiments, how often; a stored log in ranges of customers says the same."""
    chance = Random(number)
    made = with_answers((crowd if number % 2 else world)(number), chance)
    asked = {"until": made.until, "assume": "never", "progress": False}
    one = with_mails_of_experiments(made, replay(made.program, made.log(), **asked), chance)
    log = one.log()
    run = replay(one.program, log, **asked)
    log.save(folder / str(number), progress=False)
    streamed = replay(one.program, EventLog.open(folder / str(number)), events_at_once=chance.choice((1, 5)), **asked)
    said: Counter[str] = Counter()
    for scenario in one.program.scenarios:
        options = _asked(chance, run.until)
        found = measure(run, scenario=scenario.scenario, **options)
        wanted = evidence_told(one, run, scenario, **options)
        known = found.attrs["toolkit"]
        here = {name: known[name] for name in ("untouched", "mailed", *wanted) if name in known}
        assert here == wanted, f"world {number}, {scenario.scenario}, {options}, {known}\n{told(one)}"
        parted = measure(streamed, scenario=scenario.scenario, **options)
        pd.testing.assert_frame_equal(parted, found)
        assert parted.attrs == found.attrs
        said += Counter({"randomised": int(known["randomised"]), "untouched": known.get("untouched", 0)})
    return said


def test_whether_arms_were_drawn_and_whom_no_mail_could_reach_is_counted_mail_by_mail(tmp_path: Path) -> None:
    said = sum((_evidence_agrees(number, tmp_path) for number in range(100, 125)), Counter[str]())
    assert min(said["randomised"], said["untouched"]) > 5


@pytest.mark.soak
def test_so_is_it_in_hundreds_of_random_worlds(tmp_path: Path) -> None:
    assert sum(_evidence_agrees(number, tmp_path)["untouched"] for number in range(125, 600)) > 200


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
