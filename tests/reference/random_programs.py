"""Random programs of a few scenarios, made so that journeys begin, wait, meet and end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.scenario.sound import sound
from toolkit.scenario import models as m
from toolkit.scenario.base import Condition, History
from toolkit.scenario.duration import Duration, TimeOfDay

ZONES = ("UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Mars/Olympus")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHORT = ("30m", "1h", "90m", "4h", "12h", "24h", "1d", "1d30m", "2d")
LONG = ("4h", "1d", "24h", "36h", "2d", "3d", "3d", "7d")
TIMES = ("00:00", "02:30", "08:00", "09:00", "15:30", "22:00")
EVENTS = ("a", "a", "b", "c")
WHERES = ("value >= 1", "k = 'x'", "value = 0 or k is null", "not (value = 2)")


class Maker:
    """Draws the parts of a program; `has` names the constructs that may be used."""

    def __init__(self, chance: Random, has: frozenset[str], start: datetime) -> None:
        self.chance = chance
        self.has = has
        self.start = start
        self.arms: tuple[str, ...] = ()
        self.has_key = False
        self.is_marketing = True
        self.trigger_kind = "event"
        self.splits = 0
        self.left = 0

    def one(self, choices: Sequence[Any]) -> Any:
        """One of some choices."""
        return self.chance.choice(choices)

    def maybe(self, construct: str, odds: float) -> bool:
        """True so often, where the construct is wanted at all."""
        return construct in self.has and self.chance.random() < odds

    def length(self, texts: Sequence[str]) -> Duration:
        return Duration.parse(self.one(texts))

    def time(self) -> TimeOfDay:
        return TimeOfDay.parse(self.one(TIMES))

    def days(self, least: int) -> tuple[str, ...]:
        return tuple(self.chance.sample(WEEKDAYS, self.chance.randint(least, 3)))

    def where(self) -> str | None:
        return self.one(WHERES) if self.maybe("where", 0.3) else None

    def quiet(self) -> m.Quiet:
        start, end = self.chance.sample(TIMES, 2)
        return m.Quiet(from_=TimeOfDay.parse(start), to=TimeOfDay.parse(end), spread=self.length(("0s", "30m", "2h")))

    def cap(self) -> m.Cap:
        hits = ["skip"] + ["postpone"] * 2 * ("postpone" in self.has) + ["exit"] * ("cap_exit" in self.has)
        return m.Cap(
            limit=self.one((1, 1, 2)),
            per=self.length(LONG),
            scope=self.one(("scenario", "marketing")),
            on_hit=self.one(hits),
        )

    def caps(self, odds: float) -> tuple[m.Cap, ...]:
        return tuple(self.cap() for _ in range(self.one((1, 1, 2)))) if self.maybe("caps", odds) else ()

    def history(self) -> History:
        within = self.length(LONG) if self.chance.random() < 0.6 else None
        return History(event=self.one(EVENTS), where=self.where(), within=within, at_least=self.one((1, 1, 2)))

    def condition(self, depth: int = 0) -> Condition:
        parts: dict[str, Any] = {}
        if self.maybe("attributes", 0.4):
            parts["where"] = self.one(("country = 'FR'", "country is null", "country <> 'FR'", "consent"))
        if self.maybe("history", 0.6):
            parts[self.one(("happened", "not_happened"))] = (self.history(),)
        if self.trigger_kind not in ("date", "schedule") and self.maybe("trigger_where", 0.3):
            parts["trigger"] = self.one(WHERES)
        if depth == 0 and self.maybe("any", 0.2):
            parts["any_"] = tuple(self.condition(1) for _ in range(2))
        return Condition(**(parts or {"happened": (self.history(),)}))

    def experiment(self, name: str, arms: tuple[str, ...]) -> m.Experiment:
        weights = self.one(([1, 1], [1, 2], [0, 1], [2, 1])) if len(arms) == 2 else self.one(([1, 1, 1], [1, 2, 1]))
        shares = {arm: weight / sum(weights) for arm, weight in zip(arms, weights, strict=True)}
        by_journey = self.maybe("journey_unit", 0.3)
        return m.Experiment(name=name, arms=shares, unit="journey" if by_journey else "customer")

    def trigger(self) -> Any:
        others = sorted({"date", "inactive", "cycle", "schedule"} & self.has)
        self.trigger_kind = self.one(others) if others and self.chance.random() < 0.35 else "event"
        if self.trigger_kind == "date":
            return m.DateTrigger(
                date="birthday",
                every=self.one(("year", "year", "once")),
                offset=self.length(("0s", "-1d", "1d", "2h", "-7d")),
                at=self.time(),
            )
        if self.trigger_kind == "inactive":
            since = self.one((None, *EVENTS))
            return m.InactiveTrigger(inactive=self.one(EVENTS), where=self.where(), for_=self.length(LONG), since=since)
        if self.trigger_kind == "cycle":
            after: Any = "value" if self.chance.random() < 0.3 else self.length(LONG)
            if self.maybe("median", 0.4):
                after = m.Median(median=self.one(("customer", "k", "k", "value")))
            return m.CycleTrigger(cycle=self.one(EVENTS), where=self.where(), after=after)
        if self.trigger_kind == "schedule":
            return self.schedule()
        return m.EventTrigger(event=self.one(EVENTS), where=self.where())

    def schedule(self) -> m.ScheduleTrigger:
        kind = self.one(("once", "day", "week", "month"))
        first = (self.start + timedelta(days=self.chance.randint(0, 3))).date().isoformat()
        last = (self.start + timedelta(days=4)).date().isoformat()
        return m.ScheduleTrigger(
            schedule=kind,
            at=self.time(),
            on=self.days(1) if kind == "week" else (),
            day=self.one((1, 28, 29, 30, 31)) if kind == "month" else None,
            from_=first if kind == "once" or self.chance.random() < 0.3 else None,
            to=last if kind != "once" and self.chance.random() < 0.3 else None,
        )

    def steps(self, depth: int, least: int) -> tuple[Any, ...]:
        return tuple(self.step(depth) for _ in range(self.chance.randint(least, 4 if depth == 0 else 2)))

    def step(self, depth: int) -> Any:
        self.left -= 1
        kinds = ["send"] * 4 + ["wait"] * 3 + ["wait_until"] * ("wait_until" in self.has)
        kinds += ["exit"] if depth and "exit" in self.has else []
        if depth < 2 and self.left > 0:
            kinds += sorted({"wait_for", "branch", "repeat"} & self.has)
            kinds += ["split"] if self.is_marketing and "split" in self.has else []
        kind = self.one(kinds)
        only = (self.one(self.arms),) if self.arms and self.maybe("only", 0.2) else ()
        if kind == "wait":
            return m.Wait(wait=self.length((*SHORT, "0s")), only=only)
        if kind == "wait_until":
            return m.Wait(wait=m.WaitUntil(until=self.time(), on=self.days(0)), only=only)
        if kind == "wait_for":
            wanted = m.WaitForEvent(
                event=self.one(EVENTS),
                where=self.where(),
                within=self.length(SHORT),
                since=self.one(("entry", "step")),
                match="k" if self.has_key and self.maybe("match", 0.5) else None,
            )
            return m.WaitFor(wait_for=wanted, then=self.steps(depth + 1, 0), else_=self.steps(depth + 1, 0), only=only)
        if kind == "branch":
            then = self.steps(depth + 1, 1)
            return m.Branch(branch=self.condition(), then=then, else_=self.steps(depth + 1, 0), only=only)
        if kind == "repeat":
            return m.Repeat(repeat=self.one((1, 2, 3)), steps=self.steps(depth + 1, 1), only=only)
        if kind == "split":
            self.splits += 1
            split = self.experiment(f"split_{self.splits}", ("p", "q"))
            return m.Split(split=split, paths={arm: self.steps(depth + 1, 0) for arm in split.arms}, only=only)
        if kind == "exit":
            return m.ExitStep(only=only)
        offer = m.Offer(percent=10.0) if self.is_marketing and self.maybe("offer", 0.3) else None
        return m.Send(send=self.one(("m/x", "m/y")), offer=offer, only=only)

    def reentry(self) -> Any:
        if self.chance.random() < 0.3:
            return m.ReentryAfter(after=self.length(LONG), from_=self.one(("entry", "exit")))
        return self.one(("once", "every", "every"))

    def scenario(self, name: str) -> m.Scenario:
        self.is_marketing = not self.maybe("transactional", 0.12)
        self.left, self.splits, self.arms = 5, 0, ()
        trigger = self.trigger()
        self.has_key = self.trigger_kind not in ("date", "schedule") and self.maybe("key", 0.3)
        reentry = self.reentry()
        ways = ["ignore"] + ["restart"] * 2 * ("restart" in self.has)
        ways += ["parallel"] if "parallel" in self.has and (self.has_key or reentry == "every") else []
        experiment = None
        if self.is_marketing and self.maybe("experiment", 0.5):
            experiment = self.experiment(f"{name}_arms", ("control", "mail", "more")[: self.one((2, 3))])
            self.arms = tuple(experiment.arms)
            if self.maybe("holdout", 0.5):
                experiment = experiment.replace(holdout="control")
        exits = []
        for _ in range(self.one((0, 1, 1, 2)) if "exit_on" in self.has else 0):
            match = "k" if self.has_key and self.maybe("match", 0.5) else None
            exits.append(m.ExitOn(event=self.one(("b", "c")), where=self.where(), match=match))
        return m.Scenario(
            scenario=name,
            class_="marketing" if self.is_marketing else "transactional",
            priority=self.one((10, 50, 50)),
            trigger=trigger,
            key="k" if self.has_key else None,
            audience=self.condition() if self.maybe("audience", 0.25) else None,
            reentry=reentry,
            while_active=self.one(ways),
            **({"max_age": self.length(("0s", "1h", "1d", "7d"))} if self.maybe("max_age", 0.3) else {}),
            exit_on=tuple(exits),
            experiment=experiment,
            quiet=self.quiet() if self.maybe("quiet", 0.3) else None,
            caps=self.caps(0.3),
            steps=self.steps(0, 2),
        )

    def program(self, largest: int) -> m.Program:
        """One to `largest` scenarios and their policies."""
        policies = m.Policies(
            timezone=self.one(ZONES[:-1]) if "zones" in self.has else "UTC",
            quiet=self.quiet() if self.maybe("quiet", 0.4) else None,
            caps=self.caps(0.4),
        )
        names = ("s1", "s2", "s3")[: self.chance.randint(1, largest)]
        return m.Program(scenarios=tuple(sound(self.scenario(name)) for name in names), policies=policies)
