"""The run of the kernel with answers: a program over a prepared log, once for each draw of a response model.

Until a customer's first mail, nothing that a response model says can matter. So one walk over all customers counts
what follows without answers, and each draw walks only over the customers who were mailed in it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.answering import blank, customer_keys, with_room
from toolkit.engine.answers import Answers
from toolkit.engine.compile import Compiled
from toolkit.engine.compiled import config
from toolkit.engine.layout import Floats, Ints, Past, Plan
from toolkit.engine.ordered import distinct
from toolkit.engine.runners.donors import Donors
from toolkit.engine.runners.local import Walked, joined, next_emptied, run_places, split_evenly, takers_of

__all__ = ["Drawn", "Respondents", "Settings"]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A response model with every number drawn, as the kernel reads it; see the columns in `engine.answers`."""

    rates: Floats
    ways: Ints
    curves: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """What is counted, and what an answer looks like in this log.

    purchase_bit, value: which events are purchases, and where their price stands. kept: bits that events of the log
    keep (opens and clicks of the log are none of these mails'). leave_bits: bits of an unsubscribe; left: attribute
    bits of each customer who has left. begin, cut: journeys that begin earlier, or later, are not counted. groups:
    first group of each scenario and, last, how many there are. by_journey: of each group, whether each journey is a
    unit of its own; a customer is then in several arms of a scenario and has a row for each of them, else one row for
    the scenario. windows, goals: window, and bit and value, of each scenario's goal.
    """

    purchase_bit: int
    value: int
    kept: int
    leave_bits: int
    left: Ints
    begin: int
    cut: int
    groups: Ints
    by_journey: Ints
    windows: Ints
    goals: Ints

    @property
    def rows(self) -> Ints:
        """Place of each group among the rows of one customer and, last, how many rows each customer has."""
        begins = np.array(self.by_journey > 0)
        begins[self.groups[:-1]] = True
        return np.append(np.cumsum(begins) - 1, begins.sum()).astype(np.int64)


@dataclass
class Respondents:
    """The customers of a log, ready to answer.

    donors: the purchases that one brought about may be like. silent_run: journeys and decisions when nobody answers.
    totals: what is then counted by group; on_their_own: by row of a customer, for the customers in `entered`, who
    begin a journey. chosen: the customers who are mailed. people: the sum over the draws so far of what was counted by
    row of a customer, for those.
    """

    compiled: Compiled
    past: Past
    settings: Settings
    donors: Donors
    partitions: int
    chosen: Ints = field(init=False)
    totals: Ints = field(init=False)
    people: Ints = field(init=False)
    silent_run: Walked = field(init=False)
    entered: Ints = field(init=False)
    on_their_own: Ints = field(init=False)
    _keys: Ints = field(init=False)
    _bought: tuple[Past, Ints] = field(init=False)
    _rest: Ints = field(init=False)
    _own: list[tuple[Past, Answers]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        past = self.past
        self._keys = customer_keys(past.name_starts, past.names)
        self._bought = self.donors.log_of(past)
        count = len(past.starts) - 1
        everyone = np.arange(count)
        nobody = Drawn(
            np.zeros((max(1, len(self.compiled.sends)), a.RATE_COLUMNS)),
            np.full((max(1, len(self.compiled.sends)), a.WAY_COLUMNS), -1, dtype=np.int64),
            np.zeros((1, 2, 1)),
        )
        self.silent_run, self.totals = self._walk(nobody, 0, everyone)
        self.entered = distinct(self.silent_run.journeys[:, m.J_CUSTOMER])
        each = int(self.settings.rows[-1])
        self.on_their_own = np.zeros((len(self.entered) * each, len(a.METRICS)), dtype=np.int64)
        self._walk(nobody, 0, self.entered, self.on_their_own)
        sent = self.silent_run.decisions[self.silent_run.decisions[:, m.D_STATUS] == m.STATUS_SEND, m.D_JOURNEY]
        self.chosen = distinct(self.silent_run.journeys[sent, m.J_CUSTOMER])
        if self.compiled.pools:  # who gets the last coupons depends on everyone
            self.chosen = everyone
        self.people = np.zeros((len(self.chosen) * each, len(a.METRICS)), dtype=np.int64)
        _, of_chosen = self._walk(nobody, 0, self.chosen)
        self._rest = self.totals - of_chosen

    def draw(self, drawn: Drawn, seed: int) -> Ints:
        """What is counted by group in one draw (`answers.METRICS`), everyone included."""
        return self._walk(drawn, seed, self.chosen, self.people)[1] + self._rest

    def run(self, drawn: Drawn, seed: int) -> Walked:
        """Every journey and decision of one draw."""
        return self._walk(drawn, seed, np.arange(len(self.past.starts) - 1))[0]

    def _walk(self, drawn: Drawn, seed: int, chosen: Ints, people: Ints | None = None) -> tuple[Walked, Ints]:
        """Journeys, decisions and counts by group; `people` receives the counts by customer."""
        plan = self.compiled.plan
        if not self.compiled.pools:
            return self._once(plan, drawn, seed, chosen, people)
        while True:
            walked, totals = self._once(plan, drawn, seed, chosen, None)
            emptied = next_emptied(self.compiled, plan, [takers_of(self.compiled, walked, self.past.rank)])
            if emptied is None:
                return (walked, totals) if people is None else self._once(plan, drawn, seed, chosen, people)
            plan = emptied

    def _once(self, plan: Plan, drawn: Drawn, seed: int, chosen: Ints, people: Ints | None) -> tuple[Walked, Ints]:
        events = np.diff(self.past.starts)[chosen] if len(chosen) else np.zeros(0, dtype=np.int64)
        work = np.concatenate([[0], np.cumsum(events + 4)])[:-1]
        parts = split_evenly(work, max(1, min(self.partitions, len(chosen)))) if len(chosen) else [(0, 0)]
        room = int(np.diff(self.past.starts).max(initial=0)) + 32
        while len(self._own) < len(parts):
            self._own.append(with_room(*self._base(), room))
        longest = max(1024, len(chosen) // len(parts))

        def part(place: int, first: int, last: int) -> tuple[Walked, Ints]:
            own, base = self._own[place]
            answers = base._replace(
                seed=seed,
                record=int(people is not None),
                chosen=chosen,
                rates=drawn.rates,
                ways=drawn.ways,
                curves=drawn.curves,
                totals=np.zeros_like(base.totals),
                people=np.zeros((1, 1), dtype=np.int64) if people is None else people,
            )
            walked, answers = run_places(plan, own, answers, first, last, journeys=2 * longest)
            return walked, answers.totals

        if len(parts) == 1 or config.DISABLE_JIT:
            found = [part(place, *bounds) for place, bounds in enumerate(parts)]
        else:
            with ThreadPoolExecutor(min(len(parts), 16)) as pool:
                found = list(pool.map(lambda one: part(one[0], *one[1]), enumerate(parts)))
        totals: Ints = np.sum([counted for _, counted in found], axis=0)
        return joined([walked for walked, _ in found]), totals

    def _base(self) -> tuple[Past, Answers]:
        past, settings = self.past, self.settings
        count = len(past.fact_bits)
        own = past._replace(
            fact_bits=np.concatenate([past.fact_bits, settings.left]),
            fact_zone=np.concatenate([past.fact_zone, np.full(len(settings.left), -1, dtype=np.int64)]),
        )
        groups = int(settings.groups[-1])
        log, donors = self._bought
        return own, blank(log)._replace(
            kept=settings.kept,
            purchase_bit=settings.purchase_bit,
            value=settings.value,
            leave_bits=settings.leave_bits,
            leave_fact=count,
            begin=settings.begin,
            cut=settings.cut,
            keys=self._keys,
            donors=donors,
            groups=settings.groups,
            by_journey=settings.by_journey,
            rows=settings.rows,
            windows=settings.windows,
            goals=settings.goals,
            first=np.zeros(max(1, groups), dtype=np.int64),
            totals=np.zeros((groups, len(a.METRICS)), dtype=np.int64),
        )
