"""A program over a log, ready to be answered: draw by draw, all of its people or those of one part of a log."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.bars import Bar
from toolkit.cores import cores
from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.doors import check_program, micros_of, moment_at, moment_of
from toolkit.engine.instructions import ANSWERS
from toolkit.engine.prepared import Prepared, prepare_log
from toolkit.engine.replay import compiled_for
from toolkit.engine.runners.answering import Respondents, Settings
from toolkit.engine.runners.donors import Donors, donors_of
from toolkit.errors import InputError, NotSupportedError
from toolkit.events import EventLog
from toolkit.events.marks import Mark, bits_by_consent, bits_of_events, mailed_scenarios
from toolkit.scenario.checks import check_against
from toolkit.scenario.models import Program, Scenario
from toolkit.simulation.doors import check_numbers, check_partitions, check_response
from toolkit.simulation.drawing import Draughtsman
from toolkit.simulation.drift import drift_of, drift_told
from toolkit.simulation.forecast import Forecast, Groups
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.noise import Scatter, scatter_of

__all__ = ["Asked", "Counts", "Simulation", "asked_of", "check_donors", "donors_in", "draw_seed"]

_EPOCH = pd.Timestamp("1970-01-01", tz="UTC")
_LONG_AGO = -(2**62)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What all draws counted, of everyone or of the people of a part; those of parts add up.

    drawn: draws x groups x `engine.answers.METRICS`. silent: the same without any answer. scatter: of the people.
    drift: of `drift_of`.
    """

    drawn: Ints
    silent: Ints
    scatter: Scatter
    drift: Ints

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.drawn + other.drawn,
            self.silent + other.silent,
            self.scatter + other.scatter,
            self.drift + other.drift,
        )


@dataclass
class Asked:
    """A compiled program with what a simulation asks besides: purchases and their price.

    stated: the price is that of the model, because the log has no such property, or no purchase of it has one.
    """

    compiled: Compiled
    prepared: Prepared
    until: int
    purchase_bit: int
    value: int
    stated: bool


class Simulation:
    """A program over a log, ready to be answered; what `simulate` and `tune` run.

    Args:
        program, log, response, until, since, partitions: as in `simulate`.
        follow: how long after an entry the log must go on, microseconds; of the program and the model unless given.
        donors: the purchases of the larger log that this one is a part of; this log's own unless given.
    """

    def __init__(
        self,
        program: Program | Scenario,
        log: EventLog,
        *,
        response: ResponseModel,
        until: datetime | str | None = None,
        since: datetime | str | None = None,
        partitions: int | None = None,
        follow: int | None = None,
        donors: Donors | None = None,
        stated: bool | None = None,
    ) -> None:
        program = check_program(program, log)
        check_response(response)
        check_partitions(partitions)
        check_against(
            program,
            event_counts=dict.fromkeys(log.event_names, 1),
            properties=log.properties,
            attributes=log.attributes,
        )
        self.program, self.log, self.response = program, log, response
        asked = asked_of(program, log, response, until, stated=stated)
        compiled, marked = asked.compiled, asked.prepared.marked
        self.asked = asked
        if compiled.keyed:
            named = ", ".join(compiled.scenarios[place].scenario for place in compiled.keyed)
            raise NotSupportedError(
                f"{named}: arms by journey with a key and a trigger that is no event: not simulated"
            )
        past = asked.prepared.past(log, compiled, asked.until)
        self.donors = donors_in(asked) if donors is None else donors
        if donors is None:
            check_donors(self.donors, response)
        self.draughtsman = Draughtsman(compiled, response, log, self.donors.usual_price)
        window = response.times["window"].elapsed
        windows = np.array([s.goal.within.elapsed if s.goal else window for s in compiled.scenarios], dtype=np.int64)
        priced = [asked.stated and name == response.value for name in compiled.marking.values]
        goals = np.array(
            [
                (int(row[m.S_GOAL_BIT]), asked.value if value < 0 or priced[value] else value)
                if row[m.S_GOAL_BIT] >= 0
                else (asked.purchase_bit, asked.value)
                for row, value in zip(compiled.plan.scenarios, compiled.goal_values, strict=True)
            ],
            dtype=np.int64,
        ).reshape(-1, 2)
        answer_bits = sum(1 << bit for bit, one in enumerate(compiled.marking.marks) if one.event in ANSWERS)
        leaves = bits_of_events(log, compiled.marking, [{"event": "email_unsubscribed"}])
        # A mail within a window of the entry is followed for a window of its own.
        self.follow = int(windows.max(initial=0)) + window if follow is None else follow
        starts = [0]
        for arms in compiled.arms:
            starts.append(starts[-1] + max(1, len(arms)))
        self.groups = Groups(
            tuple(s.scenario for s in compiled.scenarios),
            compiled.arms,
            tuple(s.experiment.holdout if s.experiment else None for s in compiled.scenarios),
            tuple(s.experiment.unit if s.experiment else "customer" for s in compiled.scenarios),
        )
        self.entries = _entries(log, since, asked.until - self.follow)
        settings = Settings(
            purchase_bit=asked.purchase_bit,
            value=asked.value,
            kept=~answer_bits,
            leave_bits=int(leaves[0]),
            left=bits_by_consent(log, compiled.marking, marked.customers, consent=False),
            begin=_LONG_AGO if since is None else self.entries[0],
            cut=self.entries[1],
            groups=np.array(starts, dtype=np.int64),
            by_journey=np.array([unit == "journey" for unit in self.groups.units_of_groups], dtype=np.int64),
            windows=windows,
            goals=goals,
        )
        self.respondents = Respondents(compiled, past, settings, self.donors, partitions or cores())

    def run(self, *, draws: int, seed: int, level: float, progress: bool = False) -> Forecast:
        """The forecast of so many draws."""
        check_numbers(draws, level, seed)
        self.check_people(self.respondents.totals)
        values = self.response.draws(draws, seed)
        counts = self.counts(values, draws, seed, progress=progress)
        return self.forecast(
            counts, values, seed=seed, level=level, mailed=mailed_scenarios(self.log, up_to=self.asked.until)
        )

    def check_people(self, silent: Ints) -> None:
        """Refuse a log that ends before anything that follows an entry can be seen."""
        if not silent[:, a.N_PEOPLE].any():
            late = self.respondents.settings.begin > _LONG_AGO
            raise InputError(
                f"nobody enters early enough to see what follows: the log ends "
                f"{moment_at(self.asked.until):%Y-%m-%d %H:%M} UTC, and "
                f"{pd.Timedelta(self.follow, unit='us')} are needed after an entry; take a longer log, "
                f"{'an earlier since, ' if late else ''}or a shorter goal and window"
            )

    def counts(self, values: Mapping[str, Floats], draws: int, seed: int, *, progress: bool = False) -> Counts:
        """What so many draws count, each with its numbers of the model."""
        drawn = np.empty((draws, *self.respondents.totals.shape), dtype=np.int64)
        # The sum over draws by customer starts anew, so that one simulation can run with several seeds.
        self.respondents.people[:] = 0
        for draw in Bar(range(draws), desc="simulate", unit=" draws", disable=not progress, delay=1.0):
            answers = self.draughtsman.draw({path: float(column[draw]) for path, column in values.items()})
            drawn[draw] = self.respondents.draw(answers, draw_seed(seed, draw))
        drift = drift_of(self.respondents, *self.entries)
        return Counts(drawn, self.respondents.totals, scatter_of(self.respondents, draws), drift)

    def forecast(
        self, counts: Counts, values: Mapping[str, Floats], *, seed: int, level: float, mailed: Collection[str]
    ) -> Forecast:
        """The forecast that counts give; they may be those of a larger log.

        Args:
            counts, values: from all draws.
            seed, level: as in `simulate`.
            mailed: the scenarios of which the log holds real mails.
        """
        return Forecast(
            program=self.program,
            response=self.response,
            groups=self.groups,
            counted=counts.drawn.astype(float),
            silent=counts.silent.astype(float),
            covariances=counts.scatter.covariances(len(counts.drawn)),
            across=counts.scatter.across(len(counts.drawn)),
            values=values,
            seed=seed,
            level=level,
            notes=(
                *_too_few(len(counts.drawn), level),
                *self._notes(mailed),
                *drift_told(counts.drift, self.groups.scenarios, *self.entries),
                *self.draughtsman.notes,
                *self.response.notes,
            ),
            currency=self.program.policies.currency,
            stated_prices=self.asked.stated,
        )

    def _notes(self, mailed: Collection[str]) -> list[str]:
        notes = [
            f"the log holds real mails of {name}: purchases that they caused count as done anyway, so that the "
            "forecast is of what comes on top; simulate over people who were not mailed for the whole effect"
            for name in sorted(set(mailed) & set(self.groups.scenarios))
        ]
        if self.asked.stated:
            notes.append(
                f"the log has no {self.response.value!r} of a purchase: every one, those that people make on their own "
                f"too, is taken to cost {self.donors.usual_price:,.2f}, the likely order.price of the response model "
                "(modelled)"
            )
        if "order.margin" not in self.response.numbers:
            notes.append("no order.margin in the response model: margin and profit are not known")
        notes += [
            f"{name} draws its arms by journey: conversions and what each adds are told by journey, and one purchase "
            "may follow several journeys of a person"
            for name, unit in zip(self.groups.scenarios, self.groups.units, strict=True)
            if unit == "journey"
        ]
        return notes


def _too_few(draws: int, level: float) -> list[str]:
    """A note where not even one draw lies beyond each end of an interval: it then ends where chance left it."""
    needed = math.ceil(round(2 / (1 - level), 6))
    if draws >= needed:
        return []
    told = "1 draw is" if draws == 1 else f"{draws:,} draws are"
    return [f"{told} too few for {level:.0%} intervals: take {needed:,} at the least, better {10 * needed:,}"]


def draw_seed(seed: int, draw: int) -> int:
    """The number of 62 bits from which the answers of one draw come."""
    return (int(seed) * 0x5851F42D4C957F2D + (draw + 1) * 0x14057B7EF767814F) & 0x3FFFFFFFFFFFFFFF


def donors_in(asked: Asked) -> Donors:
    """The purchases of a log that has been asked, those known at the last moment decided."""
    marked = asked.prepared.marked
    known = np.where(marked.received <= asked.until, marked.bits, 0)
    return donors_of(known, marked.values, purchase_bit=asked.purchase_bit, value=asked.value)


def check_donors(donors: Donors, response: ResponseModel) -> None:
    """Refuse a log without a purchase that one which a mail brings about could be like."""
    if not len(donors) and any(path.endswith("buys.rate") or ".grid." in path for path in response.numbers):
        raise InputError(
            f"the log has no event {response.purchase!r} with a number in {response.value!r}: purchases that mails "
            "bring about are made like those of the log; name the event and the property in the response model "
            "(purchase:, value:), or where purchases of the log have no such property, state order: {price: 40} there"
        )


def asked_of(
    program: Program,
    log: EventLog,
    response: ResponseModel,
    until: datetime | str | None,
    *,
    stated: bool | None = None,
) -> Asked:
    """A program compiled for a simulation, and the log prepared for it.

    Args:
        program, log, response, until: as in `simulate`.
        stated: whether what purchases cost is the model's; unless given, where the model says it and no purchase of
            this log has a price by then. A part of a log does not know what the others have.
    """
    compiled, last = compiled_for(program, log, until=until, assume="modelled")
    marks = list(compiled.marking.marks)
    purchase = Mark(response.purchase)
    if purchase not in marks:
        marks.append(purchase)
    values = list(compiled.marking.values)
    value = -1
    if response.value in log.properties:
        if response.value not in values:
            values.append(response.value)
        value = values.index(response.value)
    marking = replace(compiled.marking, marks=tuple(marks), values=tuple(values))
    asked = replace(compiled, marking=marking)
    prepared, bit = prepare_log(log, asked, zone=program.policies.timezone), marks.index(purchase)
    price = response.numbers.get("order.price")
    if stated is None:
        stated = price is not None and (value < 0 or _all_without(prepared, bit, value, last))
    if stated and price is not None:
        prepared, value = _priced(prepared, bit, price.likely), len(values)
    return Asked(asked, prepared, last, bit, value, stated)


def _all_without(prepared: Prepared, purchase_bit: int, value: int, last: int) -> bool:
    """Whether there are purchases, as far as was known at the last moment decided, and none has a price."""
    marked = prepared.marked
    prices = marked.values[value][((marked.bits >> purchase_bit) & 1 == 1) & (marked.received <= last)]
    return len(prices) > 0 and not (prices > 0).any()


def _priced(prepared: Prepared, purchase_bit: int, price: float) -> Prepared:
    """The log with one price more: what every purchase is taken to cost."""
    marked = prepared.marked
    prices = np.where((marked.bits >> purchase_bit) & 1 == 1, price, np.nan)
    return replace(prepared, marked=replace(marked, values=np.vstack([marked.values, prices])))


def _entries(log: EventLog, since: datetime | str | None, last: int) -> tuple[int, int]:
    """The first and the last moment of an entry that counts, UTC microseconds."""
    first = moment_of(since, name="since") if since is not None else _EPOCH if log.span is None else log.span[0]
    return micros_of(first), last
