"""Mails of an experiment that a log holds, and what they say of its outcomes, counted mail by mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.reference.calendar import to_datetime, to_moment
from tests.reference.random_logs import HALF_HOUR
from tests.reference.records import events_of
from tests.reference.worlds import World
from toolkit.engine import Run
from toolkit.scenario import models as m
from toolkit.scenario.duration import Duration

__all__ = ["told", "with_mails_of_experiments"]


def with_mails_of_experiments(world: World, run: Run, chance: Random) -> World:
    """The same world whose log holds mails of its experiments, over a few days: those drawn, or one or the other else.

    Args:
        world: a world.
        run: a replay of it, which says who is in which arm.
        chance: where chance comes from.
    """
    start = min(row["at"] for row in world.events)
    mails: list[dict[str, Any]] = []
    names = {one.scenario: one.experiment for one in world.program.scenarios if one.experiment is not None}
    for journey in run.journeys.itertuples():
        experiment = names.get(journey.scenario)
        if experiment is None or chance.random() < 0.4:
            continue
        is_wrong = chance.random() < 0.02
        arm = chance.choice([*experiment.arms, None]) if is_wrong else journey.arm
        if arm == experiment.holdout and not is_wrong:
            continue
        at = start + timedelta(days=chance.choice((0, 1, 2, 2, 3))) + HALF_HOUR * chance.randint(0, 47)
        mails.append({"customer_id": journey.customer_id, "at": at, "experiment": experiment.name, "arm": arm})
    if chance.random() < 0.2:
        mails.append(
            {"customer_id": "zz", "at": start, "experiment": chance.choice(["s1_arms", "other"]), "arm": "mail"}
        )
    for place, row in enumerate(mails):
        late = HALF_HOUR * chance.choice((0, 0, 1, 100))
        row |= {"event": "email_sent", "received_at": row["at"] + late, "event_id": f"mail{place}"}
    columns = tuple(dict.fromkeys((*world.columns, "experiment", "arm")))
    return replace(world, events=(*world.events, *mails), columns=columns)


def told(
    world: World,
    run: Run,
    scenario: m.Scenario,
    *,
    unit: str = "customer",
    within: str | None = None,
    since: datetime | None = None,
    **_: Any,
) -> dict[str, Any]:
    """What `measure` is to say of the numbers beside their rows."""
    goal, experiment = scenario.goal, scenario.experiment
    assert goal is not None
    window = (goal.within if within is None else Duration.parse(within)).elapsed
    until = to_moment(run.until.to_pydatetime())
    journeys = run.journeys[run.journeys["scenario"] == scenario.scenario]
    began = journeys if since is None else journeys[journeys["entered_at"] >= since]
    units = began if unit == "journey" else began.sort_values("entered_at").drop_duplicates("customer_id")
    entered = [to_moment(one.to_pydatetime()) for one in units["entered_at"]]
    closed = [one for one in entered if one + window <= until]
    said = {"open_windows": len(entered) - len(closed), "randomised": False}
    sent = [event for event in events_of(world.events) if event.name == "email_sent" and event.at <= until]
    mails = [
        event for event in sent if experiment is not None and event.properties.get("experiment") == experiment.name
    ]
    if experiment is None or not mails:
        return said
    arms = dict(zip(journeys["customer_id"], journeys["arm"], strict=True))
    to_people = [event for event in mails if event.customer in arms]
    arm_of = {event.row: event.properties.get("arm") for event in mails}
    wrong = [one for one in to_people if experiment.unit == "customer" and arm_of[one.row] != arms[one.customer]]
    to_holdout = [event for event in mails if experiment.holdout and arm_of[event.row] == experiment.holdout]
    said["randomised"] = bool(to_people) and not wrong and not to_holdout
    first, last = (pick(event.at for event in mails) for pick in (min, max))
    untouched = sum(one + window <= first or one > last for one in closed)
    if untouched:
        days = tuple(f"{to_datetime(moment):%Y-%m-%d}" for moment in (first, last))
        said |= {"untouched": untouched, "mailed": days}
    return said
