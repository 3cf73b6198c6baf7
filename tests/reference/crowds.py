"""Crowded worlds: many journeys of few customers at the same time, and coupons that run out among them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.reference.random_logs import STARTS, customer_rows, event_rows
from tests.reference.random_programs import Maker
from tests.reference.worlds import CONSTRUCTS, World
from toolkit.scenario import models as m
from toolkit.scenario.policies import Pool

__all__ = ["crowd", "crowds"]

_CALM = CONSTRUCTS - {"bounces"}  # a hard bounce silences a customer for good, and here all depends on few of them


class _CrowdMaker(Maker):
    """Most customers may be in a scenario as often as they like, and most offers take their code from a pool."""

    def reentry(self) -> Any:
        return "every" if self.chance.random() < 0.8 else super().reentry()

    def scenario(self, name: str) -> m.Scenario:
        made = super().scenario(name)
        beside = made.reentry == "every" and self.chance.random() < 0.8
        return made.replace(while_active="parallel") if beside else made

    def program(self, largest: int) -> m.Program:
        made = super().program(largest)
        pools = {f"pool_{at}": Pool(size=self.one((0, 1, 2, 3, 5, 8))) for at in range(self.one((0, 1, 2)))}
        if not pools:
            return made
        scenarios = tuple(one.replace(steps=self._with_codes(one.steps, tuple(pools))) for one in made.scenarios)
        return made.replace(scenarios=scenarios, policies=made.policies.replace(pools=pools))

    def _with_codes(self, steps: Iterable[Any], pools: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(self._with_code(step, pools) for step in steps)

    def _with_code(self, step: Any, pools: tuple[str, ...]) -> Any:
        if isinstance(step, m.Send) and step.offer is not None:
            code = {"pool": self.one(pools), "on_empty": self.one(("skip", "send_without"))}
            return step.replace(offer=step.offer.replace(**code))
        if isinstance(step, m.Split):
            return step.replace(paths={arm: self._with_codes(path, pools) for arm, path in step.paths.items()})
        inner = {name: getattr(step, name) for name in ("then", "else_", "steps") if getattr(step, name, ())}
        return step.replace(**{name: self._with_codes(path, pools) for name, path in inner.items()}) if inner else step


def crowd(number: int) -> World:
    """The crowded world of a number."""
    chance = Random(number)
    start = chance.choice(STARTS)
    program = _CrowdMaker(chance, _CALM, start).program(3)
    names = ["ana", "bo", "cy", "di", "ed", "flo"][: chance.choice((1, 2, 6))]
    events = [
        row | {"customer_id": chance.choice(names), "event_id": f"{row['event_id']}-{part}"}
        for part in range(chance.choice((2, 4, 8)))
        for row in event_rows(chance, _CALM, start)
    ]
    customers = customer_rows(chance, _CALM)
    for row in customers:
        row["consent"] = row.get("consent") is not False
    until: datetime | None = start + timedelta(hours=12 * chance.randint(2, 30)) if chance.random() < 0.5 else None
    columns = tuple(dict.fromkeys(name for row in events for name in row))
    return World(program, tuple(events), tuple(customers), until, chance.random() < 0.25, columns)


def crowds() -> st.SearchStrategy[World]:
    """Random crowded worlds; they are made small by `shrink.smallest`, not by hypothesis."""
    return st.integers(0, 2**64 - 1).map(crowd)
