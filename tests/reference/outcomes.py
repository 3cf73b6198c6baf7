"""What followed for each unit of a scenario, counted event by event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import pandas as pd

from tests.reference.calendar import to_datetime, to_moment
from tests.reference.conditions import Conditions
from tests.reference.random_logs import HALF_HOUR
from tests.reference.records import Event, events_of, people_of
from tests.reference.worlds import World
from toolkit.scenario import models as m
from toolkit.scenario.duration import Duration

__all__ = ["outcomes", "with_answers"]


def with_answers(world: World, chance: Random) -> World:
    """The same world with a goal in each scenario, and with what people answered to mails of theirs and of others."""
    scenarios = tuple(
        one.replace(
            goal=m.Goal(
                event=chance.choice(("a", "b", "c")),
                where=chance.choice((None, None, "value >= 1")),
                within=Duration.parse(chance.choice(("4h", "1d", "3d"))),
                value=chance.choice((None, "value", "value")),
            )
        )
        for one in world.program.scenarios
    )
    answers = []
    for at, row in enumerate(world.events):
        if chance.random() < 0.5:
            name = chance.choice(
                ("email_opened", "email_opened_by_machine", "email_clicked", "email_sent", "email_unsubscribed")
            )
            answers.append(
                {
                    "customer_id": row["customer_id"],
                    "event": name,
                    "at": row["at"] + chance.choice((0, 1, 5)) * HALF_HOUR,
                    "event_id": f"answer{at}",
                    "scenario": chance.choice(("s1", "s1", "s2", "elsewhere", None)),
                    "verdict": chance.choice(("human", "unsure", None)) if name == "email_opened" else None,
                }
            )
    for row in answers:
        row["received_at"] = row["at"]
    columns = tuple(dict.fromkeys((*world.columns, *(name for row in answers for name in row))))
    return World(
        world.program.replace(scenarios=scenarios),
        (*world.events, *answers),
        world.customers,
        world.until,
        count_logged_sends=False,
        columns=columns,
    )


@dataclass(frozen=True)
class _Past:
    """All that a customer did, and the window of one unit: from its entry on, and back before it."""

    events: Sequence[Event]
    entered: int
    until: int

    def followed(self, holds: Callable[[Event], bool]) -> list[Event]:
        return [event for event in self.events if self.entered < event.at <= self.until and holds(event)]

    def before(self, holds: Callable[[Event], bool], length: int) -> list[Event]:
        known = [event for event in self.events if event.received <= self.entered and holds(event)]
        return [event for event in known if self.entered - length < event.at <= self.entered]


class _Looked:
    """Which events count, for one scenario of a world."""

    def __init__(self, world: World, scenario: m.Scenario) -> None:
        self.log = events_of(world.events)
        people, attributes = people_of(world.customers)
        self.conditions = Conditions(self.log, people, attributes)
        self.scenario = scenario
        self.tells_scenarios = "scenario" in world.columns
        self.tells_verdicts = any(event.properties.get("verdict") for event in self.log)
        self.names = {event.name for event in self.log}
        marketing = {one.scenario for one in world.program.scenarios if one.class_ == "marketing"}
        self.others = marketing - {scenario.scenario}

    def goal(self, event: Event) -> bool:
        goal = self.scenario.goal
        return goal is not None and event.name == goal.event and self.conditions.event(event, goal.where)

    def back(self, event: Event) -> bool:
        trigger = self.scenario.trigger
        if not isinstance(trigger, m.InactiveTrigger):
            return self.goal(event)
        return event.name == trigger.inactive and self.conditions.event(event, trigger.where)

    def answer(self, name: str, verdict: str | None = None) -> Callable[[Event], bool]:
        def holds(event: Event) -> bool:
            is_own = not self.tells_scenarios or event.properties.get("scenario") == self.scenario.scenario
            return event.name == name and is_own and verdict in (None, event.properties.get("verdict"))

        return holds

    def answers(self, past: _Past) -> dict[str, Any]:
        """What the customer did with mails within the window, in the columns that the log has something for."""
        row: dict[str, Any] = {}
        for column, name in (("opened", "email_opened"), ("clicked", "email_clicked")):
            if name in self.names:
                row[column] = bool(past.followed(self.answer(name)))
        if "email_unsubscribed" in self.names:
            row["unsubscribed"] = bool(past.followed(lambda event: event.name == "email_unsubscribed"))
        if "email_opened" in self.names and self.tells_verdicts:
            ways = (
                ("human", self.answer("email_opened", "human")),
                ("unsure", self.answer("email_opened")),
                ("machine", self.answer("email_opened_by_machine")),
            )
            row["open_verdict"] = next((word for word, holds in ways if past.followed(holds)), None)
        if "email_sent" in self.names and self.others and self.tells_scenarios:
            mails = past.followed(lambda event: event.name == "email_sent")
            row["other_mails"] = sum(event.properties.get("scenario") in self.others for event in mails)
        return row


def outcomes(
    world: World,
    journeys: pd.DataFrame,
    scenario: m.Scenario,
    *,
    until: datetime,
    unit: str = "customer",
    within: str | None = None,
    before: str = "90d",
    lapsed: str | None = None,
    since: datetime | None = None,
) -> list[dict[str, Any]]:
    """One row per unit whose window closed by the end, as `measure` is to count them, but for the arm."""
    look, goal = _Looked(world, scenario), scenario.goal
    assert goal is not None
    window = (goal.within if within is None else Duration.parse(within)).elapsed
    mine = journeys[journeys["scenario"] == scenario.scenario]
    mine = mine if since is None else mine[mine["entered_at"] >= since]
    sends = mine.groupby("customer_id")["sends"].sum()
    firsts = mine.sort_values("entered_at", kind="stable").drop_duplicates("customer_id")
    rows = []
    for journey in (firsts if unit == "customer" else mine).itertuples():
        entered, customer = to_moment(journey.entered_at.to_pydatetime()), journey.customer_id
        known = [event for event in look.log if event.customer == customer and event.received <= to_moment(until)]
        past = _Past(known, entered, entered + window)
        if past.until > to_moment(until):
            continue
        reached = past.followed(look.goal)
        earlier = past.before(look.goal, Duration.parse(before).elapsed)
        row = {
            "unit": customer if unit == "customer" else journey.journey_id,
            "customer_id": customer,
            "entered_at": to_datetime(entered),
            "converted": bool(reached),
            "converted_at": to_datetime(min(event.at for event in reached)) if reached else None,
            "pre_purchases": len(earlier),
            "sends": sends[customer] if unit == "customer" else journey.sends,
            **look.answers(past),
        }
        if goal.value is not None:
            row["revenue"] = sum(event.properties.get(goal.value) or 0.0 for event in reached)
            row["pre_revenue"] = sum(event.properties.get(goal.value) or 0.0 for event in earlier)
        if isinstance(scenario.trigger, m.InactiveTrigger) or lapsed is not None:
            came = past.followed(look.back)
            was_there = lapsed is not None and past.before(look.back, Duration.parse(lapsed).elapsed)
            row["reactivated"] = bool(came) and not was_there
            row["reactivated_at"] = to_datetime(min(event.at for event in came)) if row["reactivated"] else None
        rows.append(row)
    return sorted(rows, key=lambda row: str(row["unit"]).encode())
