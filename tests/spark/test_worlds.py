"""Random programs over random logs give in Spark what they give on one machine: replays, periods, sweeps, forecasts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.engine import test_recounts
from tests.reference import random_programs
from tests.reference.random_settings import random_grid
from tests.reference.worlds import World
from tests.simulation import test_answered
from toolkit.engine import measure, replay, sweep
from toolkit.errors import InputError, NotSupportedError, ScenarioError
from toolkit.events import EventLog, SparkOutcomes
from toolkit.events.spark import SparkLog
from toolkit.simulation import ResponseModel, simulate

pytest.importorskip("pyspark", reason="pyspark is not installed: make spark installs it")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
FEW, MANY = (6_011, 6_019, 6_027), range(6_000, 6_060)
InSpark = Callable[[EventLog], SparkLog]


def _without_median(one: World) -> bool:
    return "median" not in str(one.program)


def _replays_agree(number: int, in_spark: InSpark) -> int:
    """How many decisions were compared."""
    one, chance = test_recounts._world(number)
    here = one.log()
    if not _without_median(one):
        return 0
    there = in_spark(here)
    asked: dict[str, Any] = {"until": one.until, "assume": "never", "count_logged_sends": one.count_logged_sends}
    run, spark = replay(one.program, here, progress=False, **asked), replay(
        one.program, there, parts=chance.choice((1, 2, 3)), **asked
    )  # fmt: skip
    assert spark.digest == run.digest
    edge = run.span[0] + (run.span[1] - run.span[0]) * chance.random()
    for mine, theirs in ((run, spark), (run.between(edge), spark.between(edge))):
        pd.testing.assert_frame_equal(theirs.summary().table, mine.summary().table)
        for name in ("by_hour", "by_day", "offers"):
            pd.testing.assert_frame_equal(getattr(theirs.load(), name), getattr(mine.load(), name))
        assert str(theirs.overlap()) == str(mine.overlap())
    for scenario in (scenario for scenario in one.program.scenarios if scenario.goal):
        outcomes = measure(run, scenario=scenario.scenario)
        frame = spark.measure(scenario=scenario.scenario)
        assert SparkOutcomes(frame).about == json.loads(json.dumps(outcomes.attrs["toolkit"]))
        rows = [row.asDict() for row in frame.orderBy("unit").collect()]
        for name in ("converted", "revenue", "sends", "opened", "other_mails", "reactivated"):
            if name in outcomes:
                assert [row[name] for row in rows] == outcomes[name].tolist(), name
    _sweep_agrees(one, chance, here, there)
    return len(run.decisions)


def _sweep_agrees(one: World, chance: Random, here: EventLog, there: SparkLog) -> None:
    over = random_grid(chance, one.program)
    asked: dict[str, Any] = {"until": one.until, "assume": "never", "chosen_on": chance.choice((0.2, 0.5))}
    try:
        mine = sweep(one.program, here, over, progress=False, **asked)
    except ScenarioError:
        return
    theirs = sweep(one.program, there, over, parts=2, **asked)
    pd.testing.assert_frame_equal(theirs.table, mine.table)
    pd.testing.assert_frame_equal(theirs.parts, mine.parts)
    assert (theirs.runs, theirs.span) == (mine.runs, mine.span)


def _forecasts_agree(number: int, in_spark: InSpark, monkeypatch: pytest.MonkeyPatch) -> float:
    """How many mails were forecast."""
    monkeypatch.setattr(random_programs, "EVENTS", ("a", "a", "b", "email_opened", "email_clicked"))
    one, chance = test_answered._world(number)
    if not _without_median(one):
        return 0
    model = ResponseModel.parse(json.dumps(test_answered._spec(one, chance) | {"buys": {"rate": [0.1, 0.3, 0.6]}}))
    log = one.log()
    asked: dict[str, Any] = {"response": model, "until": one.until, "draws": 4, "seed": number}
    try:
        here = simulate(one.program, log, progress=False, **asked)
    except (InputError, NotSupportedError) as refused:
        with pytest.raises(type(refused)):
            simulate(one.program, in_spark(log), **asked)
        return 0
    there = simulate(one.program, in_spark(log), partitions=chance.choice((1, 3)), **asked)
    assert np.array_equal(there.counted, here.counted)
    for name in ("table", "lift", "assumptions"):
        pd.testing.assert_frame_equal(getattr(there, name), getattr(here, name), check_exact=True)
    assert there.notes == here.notes
    return float(here.table.loc[here.table["metric"] == "mails", "value"].sum())


def test_random_programs_decide_in_spark_what_they_decide_here(in_spark: InSpark) -> None:
    assert sum(_replays_agree(number, in_spark) for number in FEW) > 10


def test_random_programs_are_answered_in_spark_as_they_are_here(
    in_spark: InSpark, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(_forecasts_agree(number, in_spark, monkeypatch) for number in (3_000, 3_001, 3_004)) > 0


@pytest.mark.soak
def test_so_do_many_more(in_spark: InSpark, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(_replays_agree(number, in_spark) for number in MANY) > 100
    assert sum(_forecasts_agree(number, in_spark, monkeypatch) for number in range(3_000, 3_040)) > 20
