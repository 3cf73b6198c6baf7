"""Conditions on events that no event of a log meets, by which nobody enters, leaves, or reaches a goal; and values of
goals that are no numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from toolkit.engine.instructions import ANSWERS, event_columns
from toolkit.errors import Fault, nearest
from toolkit.events import EventLog, SparkLog
from toolkit.events.marks import Mark, Marking
from toolkit.scenario.against import ALWAYS_POSSIBLE
from toolkit.scenario.document import Place
from toolkit.scenario.expression import Expression
from toolkit.scenario.models import CycleTrigger, EventTrigger, InactiveTrigger, Median, Scenario
from toolkit.scenario.origins import stands_at
from toolkit.scenario.places import path_of
from toolkit.tables import FIRST_SEEN

__all__ = ["nobody_enters", "unmet"]

_SHOWN = 8


def unmet(scenarios: tuple[Scenario, ...], log: EventLog | SparkLog, marking: Marking, seen: int) -> list[str]:
    """One sentence for each condition that none of its events meets, and what those events never carry.

    And one for each goal whose value is no number in some of its events.

    Args:
        scenarios: whose conditions are looked at; triggers, exits and goals.
        log: the log.
        marking: what was asked of the log.
        seen: the bits of all marked events together.
    """
    columns = event_columns(log.properties, has_event_ids=log.has_event_ids)
    bits = {mark: bit for bit, mark in enumerate(marking.marks)}
    names = set(log.event_names)
    told = []
    for scenario, (place, event, condition) in ((one, asked) for one in scenarios for asked in _conditions(one)):
        if event in ANSWERS or event not in names:  # an event that is not in the log at all is told elsewhere
            continue
        rule = Expression.parse(condition, columns=columns)
        bit = bits.get(Mark(event, rule.sql))
        if bit is None or (seen >> bit) & 1:
            continue
        count, carried = log.event_counts[event], log.carried(event)
        lacking = [name for name in rule.columns if name in log.properties and name not in carried]
        said = f"none of the {count:,} {event!r} events meets {condition!r}" + (
            f"; they never carry {', '.join(lacking)}, but {', '.join(carried) or 'nothing'}" if lacking else ""
        )
        told.append(str(_placed(scenario, place, said)))
    return told + [note for scenario in scenarios for note in _no_numbers(scenario, log)]


def nobody_enters(
    scenarios: tuple[Scenario, ...], names: Collection[str], *, without: Collection[str] = ()
) -> tuple[str, ...]:
    """One sentence for each scenario whose trigger is an event that a log has not, with the name that may be meant; and
    for each without a journey that waits for a usual time between two events.

    Args:
        scenarios: of the program.
        names: of the log's events.
        without: names of the scenarios in which no journey began.

    >>> from toolkit.scenario import loads
    >>> cart = loads("scenario: cart\\ntrigger: {event: cart_ad}\\nreentry: once\\nsteps: [{send: cart/reminder}]")
    >>> nobody_enters(cart.scenarios, ["view", "cart_add"])
    ("Nobody enters cart: the log has no event 'cart_ad'; did you mean 'cart_add'?",)
    """
    told = []
    for scenario in scenarios:
        nobody = f"Nobody enters {scenario.scenario}{_in_file(scenario)}"
        event, trigger = _begins_with(scenario), scenario.trigger
        if event is not None and event not in names and event not in ALWAYS_POSSIBLE:
            told.append(f"{nobody}: the log has no event {event!r}; {_instead(event, names)}")
        elif scenario.scenario in without and isinstance(trigger, CycleTrigger) and isinstance(trigger.after, Median):
            one = "a customer" if trigger.after.median == "customer" else f"one {trigger.after.median}"
            told.append(
                f"{nobody}; its cycle begins once {event!r} of {one} has come twice, and a number, as after: 30d, "
                "needs no second one"
            )
    return tuple(told)


def _begins_with(scenario: Scenario) -> str | None:
    match scenario.trigger:
        case EventTrigger(event=event) | CycleTrigger(cycle=event) | InactiveTrigger(inactive=event, since=None):
            return event
    return None


def _instead(event: str, names: Collection[str]) -> str:
    known = sorted({*names} - {FIRST_SEEN})
    near = nearest(event, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return "it has " + (", ".join(known[:_SHOWN]) or "none at all") + (", …" if len(known) > _SHOWN else "")


def _no_numbers(scenario: Scenario, log: EventLog | SparkLog) -> Iterator[str]:
    goal = scenario.goal
    if goal is None or goal.value is None or goal.event not in log.event_counts or not isinstance(log, EventLog):
        return
    count, example = log.unreadable_numbers(goal.event, goal.value)
    if count:
        said = (
            f"{goal.value!r} is no number in {count:,} of the {log.event_counts[goal.event]:,} {goal.event!r} events, "
            f"for example {example!r}; revenue cannot be measured of them"
        )
        yield str(_placed(scenario, ("goal", "value"), said))


def _placed(scenario: Scenario, place: Place, said: str) -> Fault:
    file, line = stands_at(scenario, place)
    return Fault(said, file, line, f"{scenario.scenario}.{path_of(scenario, place)}")


def _in_file(scenario: Scenario) -> str:
    file, line = stands_at(scenario, ("trigger",))
    return f" ({file}:{line})" if file is not None else ""


def _conditions(scenario: Scenario) -> Iterator[tuple[Place, str, str]]:
    """Where a condition stands, the name of its events, and the condition."""
    trigger = scenario.trigger
    if isinstance(trigger, EventTrigger) and trigger.where:
        yield ("trigger",), trigger.event, trigger.where
    if isinstance(trigger, InactiveTrigger) and trigger.where:
        yield ("trigger",), trigger.inactive, trigger.where
    if isinstance(trigger, CycleTrigger) and trigger.where:
        yield ("trigger",), trigger.cycle, trigger.where
    for index, left in enumerate(scenario.exit_on):
        if left.where:
            yield ("exit_on", index), left.event, left.where
    if scenario.goal and scenario.goal.where:
        yield ("goal",), scenario.goal.event, scenario.goal.where
