"""A simulation without chance is the replay of a log that holds the answers, on random programs and logs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.reference import random_programs
from tests.reference.answered import Answering, TooLongError, rows_of
from tests.reference.outcomes import with_answers
from tests.reference.worlds import CONSTRUCTS, World, world
from tests.scenario.sound import sound
from tests.simulation.one_draw import run_of
from toolkit.engine.answers import METRICS
from toolkit.errors import InputError
from toolkit.scenario.models import ExitOn, Scenario, Send, every_step
from toolkit.simulation import ResponseModel, Simulation

FEW, MANY = range(10), range(3_000, 3_400)
PRICE = 2.0
# What a purchase brought about is like (its key, its gap) is drawn, and so is the arm of a journey begun by an answer.
DRAWN = {"key", "match", "median", "journey_unit", "bounces", "logged_sends"}
OF_MAILS = ("email_opened", "email_opened_by_machine", "email_clicked", "email_sent")
DECIDED = ("scenario", "step", "customer_id", "arm", "template", "offer", "due_at", "at", "status", "reason")
PASSED = ("scenario", "customer_id", "arm", "entered_at", "trigger_at", "ended_at", "ended_by", "sends")


@pytest.fixture(autouse=True)
def _without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.simulation.drawing._SPREAD", 0.0)
    monkeypatch.setattr(random_programs, "EVENTS", ("a", "a", "b", "email_opened", "email_clicked"))


def _world(number: int) -> tuple[World, Random]:
    """A world whose program asks for opens and clicks, whose purchases are alike, and which goes on for a while."""
    chance = Random(number)
    made = world(number, CONSTRUCTS - DRAWN)
    one = with_answers(made, chance)
    scenarios = tuple(sound(_asking(scenario, chance)) for scenario in one.program.scenarios)
    events: list[dict[str, Any]] = [{**row, "k": row["k"] or "x"} if "k" in row else row for row in one.events]
    events = [row for row in events if row["event"] not in OF_MAILS]
    events = [{**row, "value": PRICE, "k": None} if row["event"] == "b" else row for row in events]
    first = min(row["at"] for row in made.events)
    last = max(row["received_at"] for row in events) + timedelta(days=6)
    common = {"customer_id": "zz", "k": "x", "value": PRICE}
    events += [
        {**common, "event": name, "event_id": f"zz {name}", "at": at, "received_at": at}
        for name, at in (("b", first), ("other", last))
    ]
    events[-2]["k"] = None
    more = ("scenario", "step", "template", "experiment", "verdict", "machine")
    columns = tuple(dict.fromkeys((*one.columns, *more)))
    program = one.program.replace(scenarios=scenarios)
    return replace(one, program=program, events=tuple(events), columns=columns, until=made.until or last), chance


def _asking(scenario: Scenario, chance: Random) -> Scenario:
    goal = scenario.goal
    assert goal is not None
    scenario = scenario.replace(goal=goal.replace(event="b", value=chance.choice((None, "value"))))
    if scenario.exit_on and chance.random() < 0.4:
        return scenario.replace(exit_on=(ExitOn(event=chance.choice(("email_opened", "email_clicked"))),))
    return scenario


def _spec(world: World, chance: Random) -> dict[str, Any]:
    own = {
        f"{scenario.scenario}.{step.id}": {"opens": {"rate": chance.choice((0, 1))}}
        for scenario in world.program.scenarios
        for step in every_step(scenario.steps)
        if isinstance(step, Send) and chance.random() < 0.4
    }
    return {
        "response": "certain",
        "purchase": "b",
        "value": "value",
        "window": chance.choice(("4h", "1d", "3d")),
        "opens": {"rate": chance.choice((0, 1, 1)), "after": chance.choice(("30m", "1h", "4h", "1d"))},
        "clicks": {"rate": chance.choice((0, 1)), "after": chance.choice(("1m", "30m"))},
        "buys": {"rate": chance.choice((0, 0, 1)), "after": chance.choice(("30m", "1h", "12h"))},
        "unsubscribes": {"rate": chance.choice((0, 0, 0, 1))},
        "offers": {"used_anyway": chance.choice((0, 1))},
        "purchases": {"pulled_forward": chance.choice((0, 1)), "pulled_within": chance.choice(("1d", "10d"))},
        **({"mails": own} if own else {}),
    }


def _agree(number: int) -> Counter[str]:
    """How many mails and answers of each kind were compared."""
    one, chance = _world(number)
    spec = _spec(one, chance)
    model = ResponseModel.parse(json.dumps(spec))
    try:
        simulation = Simulation(
            one.program, one.log(), response=model, until=one.until, partitions=chance.choice((1, 2, 5))
        )
        answering = Answering(one, spec, PRICE)
        wanted = answering.run()
    except (TooLongError, InputError):  # among others, of a program that compares what the log has no values for
        return Counter()
    found = run_of(simulation, seed=chance.randint(0, 9))
    assert rows_of(found.decisions, DECIDED) == rows_of(wanted.decisions, DECIDED), spec
    assert rows_of(found.journeys, PASSED) == rows_of(wanted.journeys, PASSED), spec
    values = {path: float(column[0]) for path, column in model.draws(1, 1).items()}
    counted = simulation.respondents.draw(simulation.draughtsman.draw(values), 5)
    begin, cut = simulation.respondents.settings.begin, simulation.respondents.settings.cut
    total: Counter[str] = Counter()
    for group, (scenario, arm) in enumerate(simulation.groups.names):
        arms = simulation.groups.arms[simulation.groups.scenarios.index(scenario)]
        place = -1 if arm is None else arms.index(arm)
        mine = [
            row for row in answering.answers
            if (row["scenario"], row["arm"]) == (scenario, place) and begin <= row["entered"] <= cut
        ]  # fmt: skip
        for metric in ("mails", "opens", "clicks", "unsubscribes", "caused", "caused_revenue", "discount_caused",
                       "own_with_offer", "discount_own", "pulled_forward"):  # fmt: skip
            wanted_count = sum(row.get(metric, 0) for row in mine)
            assert counted[group, METRICS.index(metric)] == wanted_count, (metric, spec)
            total[metric] += wanted_count
    return total


@pytest.mark.parametrize("number", FEW)
def test_answers_without_chance_are_those_of_a_log_that_holds_them(number: int) -> None:
    _agree(number)


@pytest.mark.soak
def test_answers_without_chance_of_hundreds_of_programs_are_those_of_logs_that_hold_them() -> None:
    total: Counter[str] = Counter()
    for number in MANY:
        total += _agree(number)
    assert min(total[name] for name in ("mails", "opens", "clicks", "unsubscribes", "caused", "pulled_forward")) > 3
