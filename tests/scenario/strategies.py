"""Random scenarios over the whole language, right by construction: for the round trip, and for the engine.

`scenarios()` and `programs()` take a vocabulary (names and columns to talk about) and the constructs to use, so that
an engine that does not know all of them yet can be held to those it knows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from tests.scenario.sound import sound
from toolkit.scenario import models as m
from toolkit.scenario.base import Condition, History
from toolkit.scenario.duration import Duration, TimeOfDay

__all__ = ["CONSTRUCTS", "SHOP", "WILD", "Vocabulary", "programs", "scenarios"]

TRIGGERS = frozenset({"event", "date", "inactive", "cycle", "schedule"})
STEPS = frozenset({"wait", "wait_until", "wait_for", "branch", "split", "repeat", "exit"})
ENTRY = frozenset({"audience", "history", "any", "trigger_where", "key", "match", "restart", "parallel", "max_age"})
SENDING = frozenset({"experiment", "holdout", "journey_unit", "only", "quiet", "caps", "postpone", "offer", "pool"})
CONSTRUCTS = TRIGGERS | STEPS | ENTRY | SENDING | {"exit_on", "goal", "transactional"}
"""Every construct that can be left out of random scenarios. Sends, and one kind of trigger, are always there."""


@dataclass(frozen=True)
class Vocabulary:
    """What random scenarios talk about."""

    events: tuple[str, ...]
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    attributes: tuple[str, ...]
    dates: tuple[str, ...]
    words: tuple[str, ...]
    templates: tuple[str, ...]


SHOP = Vocabulary(
    events=("cart_add", "purchase", "view", "sign_up", "email_clicked"),
    numbers=("value", "revenue"),
    texts=("product_id", "order_id"),
    keys=("product_id", "order_id"),
    attributes=("country", "locale"),
    dates=("birthday",),
    words=("FR", "BE", "p1", "p2"),
    templates=("cart/reminder", "cart/offer", "hello"),
)
"""The words of the shop whose logs the toolkit generates."""

WILD = Vocabulary(
    events=("no", "a: b", "# x", "'quoted'", '"', "été\u2028", "🛒 add", "{x}", "[y", "12", "~", "- z", "a\\n"),
    numbers=("value",),
    texts=("product_id", "on"),
    keys=("no", "order_id"),
    attributes=("country", "off"),
    dates=("birthday", "yes"),
    words=("FR", "it''s", "\u00a0", "\ufeff", "a#b", "\U0001f600"),
    templates=("a", "0/1", "_x/y_", "no", "wait", "wait_2"),
)
"""Words that are hard to write down in YAML."""

_DURATIONS = ("30m", "1h", "4h", "24h", "1d", "2d", "7d", "1d12h", "90s", "0.5s", "30d")
positive = st.sampled_from([Duration.parse(text) for text in _DURATIONS]) | st.builds(
    Duration, st.integers(0, 40), st.integers(1, 10**11)
)
not_negative = positive | st.just(Duration())
times = st.builds(TimeOfDay, st.integers(0, 1439)) | st.sampled_from([TimeOfDay(0), TimeOfDay(480), TimeOfDay(1320)])
weekdays = st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), unique=True, max_size=3)
days = st.dates(min_value=date(2020, 1, 1), max_value=date(2037, 12, 31))


def _literal(word: str) -> str:
    return "'" + word + "'"


Names = tuple[str, ...]


@lru_cache
def expressions(numbers: Names, texts: Names, flags: Names, words: Names) -> Any:
    """SQL conditions over columns of these kinds."""
    ways = []
    if numbers:
        sign = st.sampled_from([">=", ">", "<", "<=", "=", "<>"])
        column, number = st.sampled_from(sorted(numbers)), st.integers(0, 60)
        ways.append(st.builds("{} {} {}".format, column, sign, number))
        ways.append(st.builds("{0} between {1} and {1} + 20".format, column, number))
    if texts:
        columns, literals = st.sampled_from(sorted(texts)), st.sampled_from([_literal(word) for word in words])
        ways.append(st.builds('"{}" = {}'.format, columns, literals))
        ways.append(st.builds('"{}" in ({}, {})'.format, columns, literals, literals))
        ways.append(st.builds('"{}" is not null'.format, columns))
    if flags:
        ways.append(st.sampled_from(sorted(flags)))
    simple = st.one_of(ways)
    return simple | st.builds("{} and not ({})".format, simple, simple) | st.builds("{} or {}".format, simple, simple)


@lru_cache
def shares(arms: Names) -> Any:
    """Shares of arms that sum to 1."""
    parts = st.lists(st.integers(0, 10), min_size=len(arms), max_size=len(arms)).filter(any)
    return parts.map(lambda given: {arm: part / sum(given) for arm, part in zip(arms, given, strict=True)})


class _Maker:
    """Draws the parts of one scenario; knows what was decided before."""

    def __init__(self, draw: Any, constructs: Collection[str], words: Vocabulary, pools: Collection[str]) -> None:
        self.draw = draw
        self.has = constructs
        self.words = words
        self.pools = tuple(pools)
        self.arms: tuple[str, ...] = ()
        self.key: str | None = None
        self.marketing = True
        self.has_trigger_event = True
        self.splits = 0
        self.ids: set[str] = set()
        self.left = 8

    def maybe(self, construct: str) -> bool:
        return construct in self.has and self.draw(st.booleans())

    def event(self) -> str:
        return self.draw(st.sampled_from(self.words.events))

    def where(self) -> str | None:
        return self.draw(st.none() | expressions(self.words.numbers, self.words.texts, (), self.words.words))

    def match(self) -> str | None:
        return self.key if self.key is not None and self.maybe("match") else None

    def trigger(self) -> Any:
        kinds = sorted(TRIGGERS & set(self.has)) or ["event"]
        kind = self.draw(st.sampled_from(kinds))
        self.has_trigger_event = kind not in ("date", "schedule")
        if kind == "date":
            sign = self.draw(st.sampled_from([-1, 1]))
            offset = self.draw(st.just(Duration()) | st.builds(lambda days: Duration(sign * days), st.integers(0, 14)))
            every = self.draw(st.sampled_from(["year", "once"]))
            date = self.draw(st.sampled_from(self.words.dates))
            return m.DateTrigger(date=date, every=every, offset=offset, at=self.draw(times))
        if kind == "inactive":
            since = self.draw(st.none() | st.sampled_from(self.words.events))
            return m.InactiveTrigger(inactive=self.event(), where=self.where(), for_=self.draw(positive), since=since)
        if kind == "cycle":
            median = st.sampled_from(["customer", *self.words.keys]).map(lambda by: m.Median(median=by))
            after = self.draw(positive | median | st.sampled_from(self.words.numbers))
            return m.CycleTrigger(cycle=self.event(), where=self.where(), after=after)
        if kind == "schedule":
            return self.schedule()
        return m.EventTrigger(event=self.event(), where=self.where())

    def schedule(self) -> m.ScheduleTrigger:
        kind = self.draw(st.sampled_from(["once", "day", "week", "month"]))
        first = self.draw(days if kind == "once" else st.none() | days)
        last = self.draw(st.none() if kind == "once" else st.none() | days)
        if first and last and last < first:
            first, last = last, first
        return m.ScheduleTrigger(
            schedule=kind,
            at=self.draw(times),
            on=tuple(self.draw(weekdays.filter(bool))) if kind == "week" else (),
            day=self.draw(st.integers(1, 31)) if kind == "month" else None,
            from_=first.isoformat() if first else None,
            to=last.isoformat() if last else None,
        )

    def history(self) -> History:
        return History(
            event=self.event(),
            where=self.where(),
            within=self.draw(st.none() | positive),
            at_least=self.draw(st.integers(1, 3)),
        )

    def condition(self, depth: int = 0) -> Condition:
        where = self.draw(st.none() | expressions((), self.words.attributes, ("consent",), self.words.words))
        trigger = self.where() if self.has_trigger_event and self.maybe("trigger_where") else None
        histories = st.lists(st.builds(self.history), max_size=2) if "history" in self.has else st.just([])
        happened, not_happened = tuple(self.draw(histories)), tuple(self.draw(histories))
        any_ = ()
        if depth < 2 and self.maybe("any"):
            any_ = tuple(self.condition(depth + 1) for _ in range(self.draw(st.integers(1, 2))))
        if not (where or trigger or happened or not_happened or any_):
            where = "consent"
        return Condition(where=where, trigger=trigger, happened=happened, not_happened=not_happened, any_=any_)

    def experiment(self, name: str, *, is_split: bool) -> m.Experiment:
        arms = self.draw(st.sampled_from([("control", "reminder"), ("c", "b", "a"), ("no", "yes")]))
        holdout = None if is_split or not self.maybe("holdout") else self.draw(st.sampled_from(arms))
        unit = "journey" if self.maybe("journey_unit") else "customer"
        return m.Experiment(name=name, arms=self.draw(shares(arms)), holdout=holdout, unit=unit)

    def offer(self) -> m.Offer:
        kind = self.draw(st.sampled_from(["percent", "amount", "shipping"]))
        pool = self.draw(st.sampled_from(self.pools)) if self.pools and self.maybe("pool") else None
        return m.Offer(
            percent=self.draw(st.sampled_from([5, 10, 12.5, 100])) if kind == "percent" else None,
            amount=self.draw(st.sampled_from([5, 0.99])) if kind == "amount" else None,
            currency="CHF" if kind == "amount" and self.draw(st.booleans()) else None,
            free_shipping=kind == "shipping" or self.draw(st.booleans()),
            valid=self.draw(st.none() | positive),
            code=None if pool else self.draw(st.none() | st.sampled_from(self.words.words)),
            pool=pool,
            on_empty=self.draw(st.sampled_from(["skip", "send_without"])) if pool else "skip",
            minimum=self.draw(st.none() | st.sampled_from([30, 49.9])),
        )

    def caps(self) -> tuple[m.Cap, ...]:
        on_hit = ["skip", "exit", *(["postpone"] if "postpone" in self.has else [])]
        cap = st.builds(
            m.Cap,
            limit=st.integers(1, 3),
            per=positive,
            scope=st.sampled_from(["scenario", "marketing"]),
            on_hit=st.sampled_from(on_hit),
        )
        return tuple(self.draw(st.lists(cap, min_size=1, max_size=2)))

    def quiet(self) -> m.Quiet:
        start, end = self.draw(st.lists(times, min_size=2, max_size=2, unique_by=lambda time: time.minutes))
        return m.Quiet(from_=start, to=end, spread=self.draw(st.sampled_from([Duration(), Duration.parse("30m")])))

    def common(self) -> dict[str, Any]:
        """Id and arms of a step."""
        only = ()
        if self.arms and self.maybe("only"):
            only = tuple(self.draw(st.lists(st.sampled_from(self.arms), min_size=1, max_size=2, unique=True)))
        step_id = self.draw(st.sampled_from([None, None, "wait", "wait_2", "send", "exit", "offer", "x", "y", "z"]))
        if step_id in self.ids:
            step_id = None
        self.ids |= {step_id} if step_id else set()
        return {"id": step_id, "only": only}

    def steps(self, depth: int, least: int = 0) -> tuple[Any, ...]:
        return tuple(self.step(depth) for _ in range(self.draw(st.integers(least, 4 if depth == 0 else 2))))

    def step(self, depth: int) -> Any:
        self.left -= 1
        kinds = ["send", "send", *sorted({"wait", "wait_until", "exit"} & set(self.has))]
        if depth < 3 and self.left > 0:
            kinds += sorted({"wait_for", "branch", "repeat"} & set(self.has))
            kinds += ["split"] if self.marketing and "split" in self.has else []
        kind = self.draw(st.sampled_from(kinds))
        common = self.common()
        if kind == "wait":
            return m.Wait(wait=self.draw(not_negative), **common)
        if kind == "wait_until":
            return m.Wait(wait=m.WaitUntil(until=self.draw(times), on=tuple(self.draw(weekdays))), **common)
        if kind == "wait_for":
            wanted = m.WaitForEvent(
                event=self.event(),
                where=self.where(),
                within=self.draw(positive),
                since=self.draw(st.sampled_from(["entry", "step"])),
                match=self.match(),
            )
            return m.WaitFor(wait_for=wanted, then=self.steps(depth + 1), else_=self.steps(depth + 1), **common)
        if kind == "branch":
            then = self.steps(depth + 1)
            return m.Branch(branch=self.condition(), then=then, else_=self.steps(depth + 1, 0 if then else 1), **common)
        if kind == "repeat":
            return m.Repeat(repeat=self.draw(st.integers(1, 3)), steps=self.steps(depth + 1, 1), **common)
        if kind == "split":
            self.splits += 1
            split = self.experiment(f"split_{self.splits}", is_split=True)
            paths = {arm: self.steps(depth + 1) for arm in split.arms}
            return m.Split(split=split, paths=paths, **common)
        if kind == "exit":
            return m.ExitStep(**common)
        offer = self.offer() if self.marketing and self.maybe("offer") else None
        return m.Send(send=self.draw(st.sampled_from(self.words.templates)), offer=offer, **common)

    def reentry(self) -> Any:
        after = st.builds(m.ReentryAfter, after=positive, from_=st.sampled_from(["entry", "exit"]))
        return self.draw(st.sampled_from(["once", "every"]) | after)

    def scenario(self, name: str) -> m.Scenario:
        self.marketing = not self.maybe("transactional")
        trigger = self.trigger()
        if self.has_trigger_event and self.maybe("key"):
            self.key = self.draw(st.sampled_from(self.words.keys))
        reentry = self.reentry()
        ways = ["ignore", *(["restart"] if "restart" in self.has else [])]
        if "parallel" in self.has and (self.key or reentry == "every"):
            ways.append("parallel")
        experiment = None
        if self.marketing and self.maybe("experiment"):
            experiment = self.experiment(f"{name}_experiment", is_split=False)
            self.arms = tuple(experiment.arms)
        exits = range(self.draw(st.integers(0, 2)) if "exit_on" in self.has else 0)
        value = self.draw(st.none() | st.sampled_from(self.words.numbers))
        goal = m.Goal(event=self.event(), where=self.where(), within=self.draw(positive), value=value)
        return m.Scenario(
            scenario=name,
            class_="marketing" if self.marketing else "transactional",
            priority=self.draw(st.integers(0, 100)),
            trigger=trigger,
            key=self.key,
            audience=self.condition() if self.maybe("audience") else None,
            reentry=reentry,
            while_active=self.draw(st.sampled_from(ways)),
            **({"max_age": self.draw(not_negative)} if self.maybe("max_age") else {}),
            exit_on=tuple(m.ExitOn(event=self.event(), where=self.where(), match=self.match()) for _ in exits),
            goal=goal if self.maybe("goal") else None,
            experiment=experiment,
            quiet=self.quiet() if self.maybe("quiet") else None,
            caps=self.caps() if self.maybe("caps") else (),
            steps=self.steps(0, 1),
        )


@st.composite
def scenarios(
    draw: Any,
    *,
    name: str = "cart",
    constructs: Collection[str] = CONSTRUCTS,
    vocabulary: Vocabulary = SHOP,
    pools: Collection[str] = (),
) -> m.Scenario:
    """Random scenarios that `check` finds no fault in."""
    return sound(_Maker(draw, constructs, vocabulary, pools).scenario(name))


@st.composite
def programs(
    draw: Any,
    *,
    constructs: Collection[str] = CONSTRUCTS,
    vocabulary: Vocabulary = SHOP,
    largest: int = 3,
    zones: Collection[str] = ("UTC", "Europe/Paris", "America/Sao_Paulo", "Asia/Kathmandu"),
) -> m.Program:
    """Random programs of one to `largest` scenarios, with their policies."""
    maker = _Maker(draw, constructs, vocabulary, ())
    pools = {"summer": m.Pool(size=draw(st.integers(0, 5)))} if maker.maybe("pool") else {}
    policies = m.Policies(
        timezone=draw(st.sampled_from(sorted(zones))),
        quiet=maker.quiet() if maker.maybe("quiet") else None,
        caps=maker.caps() if maker.maybe("caps") else (),
        pools=pools,
    )
    names = ["cart", "lapse", "welcome"][: draw(st.integers(1, largest))]
    made = [
        draw(scenarios(name=name, constructs=constructs, vocabulary=vocabulary, pools=tuple(pools))) for name in names
    ]
    return m.Program(scenarios=tuple(made), policies=policies)
