"""What forecasts of random programs count, on average over draws, is what is expected, worked out mail by mail."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.reference.worlds import CONSTRUCTS, World, world
from toolkit.engine import layout as m
from toolkit.engine import replay
from toolkit.errors import InputError
from toolkit.scenario.models import Goal
from toolkit.simulation import ResponseModel, Simulation

FEW, MANY = range(7_000, 7_030), range(7_030, 7_200)
DRAWS = 200
# Whoever is mailed is to depend on no answer, and each answer on the log alone.
LEFT_OUT = {"timezone_updates", "bounces", "unsubscribes", "logged_sends", "key", "median"}
HOUR, DAY = 3_600_000_000, 86_400_000_000


def _world(number: int) -> tuple[World, Random]:
    """A world with purchases that its program does not ask for, and in which what follows an entry is soon seen."""
    chance = Random(number)
    one = world(number, CONSTRUCTS - LEFT_OUT)
    goal = Goal.model_validate({"event": "bought", "within": "2h"})
    program = one.program.replace(scenarios=tuple(each.replace(goal=goal) for each in one.program.scenarios))
    first, last = (pick(row["received_at"] for row in one.events) for pick in (min, max))
    names = sorted({row["customer_id"] for row in one.events})
    bought = [(chance.choice(names), first + (last - first) * chance.random()) for _ in range(chance.randint(1, 12))]
    rows = [(*row, "bought", chance.choice((0, 0, 0, 600))) for row in bought]
    rows.append(("zz", last + timedelta(days=9), "other", 0))
    events: list[dict[str, Any]] = [
        {"customer_id": who, "event": event, "at": at, "received_at": at + timedelta(minutes=late), "paid": 5.0}
        for who, at, event, late in rows
    ]
    for place, row in enumerate(events):
        row["event_id"] = f"z{place}"
    columns = (*one.columns, "paid")
    return replace(one, program=program, events=(*one.events, *events), columns=columns, until=None), chance


def _spec(chance: Random) -> dict[str, Any]:
    def curve(points: tuple[str, ...]) -> dict[str, float]:
        return {point: chance.choice((0.2, 0.5, 1.0, 1.5)) for point in chance.sample(points, chance.randint(2, 3))}

    return {
        "response": "known", "purchase": "bought", "value": "paid", "window": "1s", "fatigue_within": "2d",
        "opens": {"rate": 0.6, "machine": 0.2, "by_hour": curve(("0", "9", "12:30", "18", "24")),
                  "by_past_mails": curve(("0", "1", "2", "4"))},
        "clicks": {"rate": 0.3},
        "buys": {"rate": 0.4, "by_delay": curve(("0s", "1h", "1d", "5d")),
                 **({"by_recency": curve(("0s", "1d", "4d"))} if chance.random() < 0.5 else {}),
                 "by_hour": curve(("0", "6", "21"))},
    }  # fmt: skip


def _at(curve: dict[str, float], x: float, places: dict[str, float], *, logarithmic: bool) -> float:
    run = math.log1p if logarithmic else float
    points = sorted((run(places[point]), height) for point, height in curve.items())
    return float(np.interp(run(x), [place for place, _ in points], [height for _, height in points]))


HOURS = {"0": 0.0, "6": 6.0, "9": 9.0, "12:30": 12.5, "18": 18.0, "21": 21.0, "24": 24.0}
DELAYS = {"0s": 0.0, "1h": 1.0, "1d": 24.0, "5d": 120.0}
DAYS = {"0s": 0.0, "1d": 1.0, "4d": 4.0}
COUNTS = {"0": 0.0, "1": 1.0, "2": 2.0, "4": 4.0}


def _expected(one: World, spec: dict[str, Any], cut: int) -> tuple[Counter[str], Counter[str]]:
    """Sums over mails of the chance of each answer, and of its variance."""
    run = replay(one.program, one.log(), assume="never", progress=False)
    names = run.marked.customers.to_pylist()
    mails = []
    for row in run.walked.decisions[run.walked.decisions[:, m.D_STATUS] == m.STATUS_SEND]:
        journey = run.walked.journeys[row[m.D_JOURNEY]]
        who, trigger, entered = (int(journey[place]) for place in (m.J_CUSTOMER, m.J_TRIGGER, m.J_ENTERED))
        is_marketing = one.program[run.compiled.sends[row[m.D_SEND]].scenario].class_ == "marketing"
        mails.append((who, int(row[m.D_AT]), trigger, entered, is_marketing))
    bought: dict[str, list[tuple[int, int]]] = {}
    for event in (row for row in one.events if row["event"] == "bought"):
        bought.setdefault(event["customer_id"], []).append((_micros(event["received_at"]), _micros(event["at"])))
    mean, variance = Counter[str](), Counter[str]()
    together = Counter((who, at) for who, at, *_ in mails)
    for who, at, trigger, entered, is_marketing in mails:
        local = pd.Timestamp(at, unit="us", tz="UTC").tz_convert(run.zone_of(who))
        hour = local.hour + local.minute / 60 + local.second / 3600
        marketing = [when for other, when, *_, is_one in mails if other == who and is_one]
        before = sum(at - 2 * DAY < when <= at for when in marketing) - is_marketing
        known = [when for heard, when in sorted(bought.get(names[who], [])) if heard <= at]
        recency = (at - known[-1]) / DAY if known else 3650.0
        opens = spec["opens"]["rate"] * _at(spec["opens"]["by_hour"], hour, HOURS, logarithmic=False)
        opens = min(1.0, opens * _at(spec["opens"]["by_past_mails"], before, COUNTS, logarithmic=False))
        buys = spec["buys"]["rate"] * _at(spec["buys"]["by_hour"], hour, HOURS, logarithmic=False)
        buys *= _at(spec["buys"]["by_delay"], max(0.0, (at - trigger) / HOUR), DELAYS, logarithmic=True)
        if "by_recency" in spec["buys"]:
            buys *= _at(spec["buys"]["by_recency"], max(0.0, recency), DAYS, logarithmic=True)
        buys = min(1.0, buys) if is_marketing else 0.0  # no purchase comes of a transactional mail
        chances = {"mails": 1.0, "opens": opens, "clicks": opens * 0.3, "machine_opens": 0.2, "caused": buys}
        if entered > cut:
            continue
        if together[who, at] > 1:  # the first of them takes the place of the others
            raise InputError("two mails at once")
        for name, share in chances.items():
            mean[name] += share
            variance[name] += share * (1 - share)
    if "by_recency" in spec["buys"] and len({who for who, *_ in mails}) < len(mails):
        del mean["caused"]  # a purchase that a mail brought about is a recent one for the next mail
    return mean, variance


def _micros(moment: datetime) -> int:
    return int(pd.Timestamp(moment).value // 1000)


def _agree(number: int) -> Counter[str]:
    """How many answers were expected, of each kind, in all draws."""
    one, chance = _world(number)
    spec = _spec(chance)
    model = ResponseModel.parse(json.dumps(spec))
    try:
        simulation = Simulation(one.program, one.log(), response=model, partitions=chance.choice((1, 3)))
        mean, variance = _expected(one, spec, simulation.respondents.settings.cut)
        forecast = simulation.run(draws=DRAWS, seed=number, level=0.9)
    except InputError:
        return Counter()
    for name, expected in mean.items():
        found = sum(forecast.metric(group, name, noise=False).mean() for group in range(len(forecast.groups.names)))
        bound = 5 * math.sqrt(variance[name] / DRAWS) + 1e-9
        assert abs(found - expected) <= bound, f"world {number}, {name}: {found}, expected {expected} within {bound}"
    return Counter({name: int(expected * DRAWS) for name, expected in mean.items()})


def test_forecasts_count_on_average_what_is_expected_of_each_mail() -> None:
    total = sum((_agree(number) for number in FEW), Counter[str]())
    assert min(total[name] for name in ("mails", "opens", "clicks", "machine_opens", "caused")) > 200


@pytest.mark.soak
def test_so_do_those_of_hundreds_of_random_programs() -> None:
    total = sum((_agree(number) for number in MANY), Counter[str]())
    assert min(total[name] for name in ("mails", "opens", "clicks", "machine_opens", "caused")) > 1_000
