"""The engine held to a second, plain interpreter of the same rules, on random programs and random logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reference.compare import differences
from tests.reference.crowds import crowd, crowds
from tests.reference.interpreter import Interpreter, Person, interpret
from tests.reference.records import Event
from tests.reference.shrink import smallest
from tests.reference.worlds import World, people, told, world, worlds
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import models as m
from toolkit.tables import ENDINGS

# What fails is made small by tests/reference/shrink.py, which knows programs and logs.
ONE_BY_ONE = settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)
AT_RANDOM = settings(ONE_BY_ONE, derandomize=False, print_blob=True)


def disagreement(world: World) -> list[str]:
    """What the engine says and the interpreter does not, or the other way round."""
    run = replay(world.program, world.log(), until=world.until, count_logged_sends=world.count_logged_sends)
    journeys, decisions = by_the_rules(world)
    return differences(run.journeys, journeys) + differences(run.decisions, decisions)


def by_the_rules(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Journeys and decisions of the interpreter."""
    return interpret(
        world.program,
        world.events,
        world.customers,
        until=world.until,
        count_logged_sends=world.count_logged_sends,
    )


def agree(world: World) -> None:
    if disagreement(world):
        small = smallest(world, lambda one: bool(disagreement(one)))
        pytest.fail("\n".join([told(small), *disagreement(small)]), pytrace=False)


@settings(ONE_BY_ONE, max_examples=150)
@given(worlds())
def test_a_random_program_on_a_random_log_is_replayed_as_the_rules_say(one: World) -> None:
    agree(one)


@settings(ONE_BY_ONE, max_examples=100)
@given(crowds())
def test_many_journeys_at_once_and_coupons_that_run_out_are_replayed_as_the_rules_say(one: World) -> None:
    agree(one)


@pytest.mark.parametrize("number", [163, 227])
def test_what_a_pool_holds_is_gone_for_the_mails_of_a_holdout_too(number: int) -> None:
    agree(crowd(number))


@pytest.mark.soak
@settings(AT_RANDOM, max_examples=3_000)
@given(crowds())
def test_three_thousand_crowds_are_replayed_as_the_rules_say(one: World) -> None:
    agree(one)


@pytest.mark.soak
@settings(AT_RANDOM, max_examples=10_000)
@given(worlds())
def test_ten_thousand_random_programs_are_replayed_as_the_rules_say(one: World) -> None:
    agree(one)


def test_random_worlds_reach_every_ending_and_nearly_every_reason_of_a_replay() -> None:
    met: Counter[Any] = Counter()

    for number in range(200):
        journeys, decisions = by_the_rules(world(number))
        met.update(journeys["ended_by"])
        met.update(decisions["reason"].dropna())
    reasons = {"no_address", "suppressed", "unsubscribed", "exited", "cap", "holdout", "superseded"}
    assert reasons | set(ENDINGS) <= set(met)


# --- R21: what is decided does not depend on what comes later ---------------------------------------------------------

Decide = Callable[[m.Program, pd.DataFrame, Any, datetime], pd.DataFrame]


def by_engine(program: m.Program, events: pd.DataFrame, customers: Any, until: datetime) -> pd.DataFrame:
    log = EventLog.from_pandas(events, customers=None if customers is None else people(customers))
    return replay(program, log, until=until).decisions


def by_interpreter(kind: type[Interpreter]) -> Decide:
    def decide(program: m.Program, events: pd.DataFrame, customers: Any, until: datetime) -> pd.DataFrame:
        return interpret(program, events.to_dict("records"), customers, until=until, interpreter=kind)[1]

    return decide


def looked_ahead(decide: Decide, program: m.Program, events: pd.DataFrame, customers: Any, cut: datetime) -> list[str]:
    """Decisions up to a moment that the log up to that moment would not have given, and the other way round."""
    received = events[["at", "received_at"]].max(axis=1)
    whole = decide(program, events, customers, max(received.max(), cut))
    before = decide(program, events[received <= cut], customers, cut)
    return differences(whole[whole["at"] <= cut].reset_index(drop=True), before)


def cuts(world: World) -> list[datetime]:
    """Two moments in the middle of a log: when an event is received, and between two events."""
    received = sorted({max(row["at"], row["received_at"]) for row in world.events})
    middle = received[len(received) // 2]
    return [middle, middle + timedelta(hours=5)]


@settings(ONE_BY_ONE, max_examples=30)
@given(worlds())
def test_r21_decisions_up_to_a_moment_are_those_of_the_log_cut_at_that_moment(world: World) -> None:
    for cut in cuts(world):
        assert looked_ahead(by_engine, world.program, pd.DataFrame(world.events), world.customers, cut) == []


@pytest.mark.soak
@settings(AT_RANDOM, max_examples=2_000)
@given(worlds(), st.integers(0, 24 * 12))
def test_r21_decisions_of_random_programs_never_look_ahead(world: World, half_hours: int) -> None:
    cut = min(row["received_at"] for row in world.events) + timedelta(minutes=30 * half_hours)
    assert looked_ahead(by_engine, world.program, pd.DataFrame(world.events), world.customers, cut) == []


class SparesBuyers(Interpreter):
    """A cheat: starts no journey for a person who is going to leave it anyway."""

    def enter(self, person: Person, scenario: m.Scenario, *rest: Any) -> None:
        ends = {one.event for one in scenario.exit_on}
        if not any(event.name in ends for event in person.to_come):
            super().enter(person, scenario, *rest)


class MeetsEverybody(Interpreter):
    """A cheat that is easily overlooked: a schedule meets people who were not heard of yet."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for person in self.people.values():
            person.known = True


class KnowsTheUsualTime(Interpreter):
    """A cheat of statistics: the usual time between two purchases is taken from the whole log."""

    def median(self, event: Event, trigger: m.CycleTrigger, of: str) -> int | None:
        self.seen, seen = [*self.seen, *(one for person in self.people.values() for one in person.to_come)], self.seen
        try:
            return super().median(event, trigger, of)
        finally:
            self.seen = seen


@pytest.mark.parametrize(
    ("cheat", "constructs", "examples"),
    [
        (SparesBuyers, {"exit_on", "schedule", "cycle", "median", "strangers", "late", "zones"}, 80),
        # Few worlds have a stranger who is heard of between a cut and the schedule: about one in sixty.
        (MeetsEverybody, {"exit_on", "schedule", "strangers", "zones"}, 240),
        # One world in twenty has a median that the rest of the log would change.
        (KnowsTheUsualTime, {"exit_on", "cycle", "median", "late"}, 120),
    ],
)
def test_r21_a_planted_look_ahead_is_caught(cheat: type[Interpreter], constructs: set[str], examples: int) -> None:
    caught: Counter[str] = Counter()

    @settings(ONE_BY_ONE, max_examples=examples)
    @given(worlds(frozenset(constructs)))
    def look(world: World) -> None:
        events = pd.DataFrame(world.events)
        for cut in cuts(world):
            for kind in (cheat, Interpreter):
                caught[kind.__name__] += bool(
                    looked_ahead(by_interpreter(kind), world.program, events, world.customers, cut)
                )

    look()
    assert caught[cheat.__name__] > 0
    assert caught["Interpreter"] == 0
