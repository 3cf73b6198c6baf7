"""Simulate: a program, a log and a response model in, what it would bring out. Modelled, with intervals."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.compile import ANSWERS, Compiled
from toolkit.engine.prepared import Prepared, prepare_log
from toolkit.engine.replay import compiled_for
from toolkit.engine.run import Run
from toolkit.engine.runners.answering import Respondents, Settings
from toolkit.errors import InputError, NotSupportedError
from toolkit.events import EventLog
from toolkit.events.marks import Mark, bits_by_consent, bits_of_events, mailed_scenarios
from toolkit.scenario.checks import check_against
from toolkit.scenario.models import Program, Scenario
from toolkit.simulation.drawing import Draughtsman
from toolkit.simulation.forecast import Forecast, Groups
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.noise import covariances

__all__ = ["Simulation", "simulate"]

MOST_DRAWS = 100_000
_EPOCH = pd.Timestamp("1970-01-01", tz="UTC")


def simulate(
    program: Program | Scenario,
    log: EventLog,
    *,
    response: ResponseModel,
    draws: int = 200,
    seed: int = 1,
    level: float = 0.9,
    until: datetime | None = None,
    partitions: int | None = None,
    progress: bool = True,
) -> Forecast:
    """What a program would bring, if people answered as a response model says.

    The program runs over the log as in a replay, and every mail that goes is answered: opens, clicks, purchases and
    unsubscribes become events of that customer, which the program meets like any other. What people did on their own
    stays: their purchases in the log happen anyway, unless a mail pulls one forward. Each draw takes every number of
    the model from its range, so that intervals hold what is not known of the model, the chance of answers, and that
    another time other people come (as many as now).

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did, without these mails. Where it holds real mails of a scenario, what they caused counts
            as done anyway, and a note says so.
        response: how people answer.
        draws: how often; 200 give steady 90 % intervals.
        seed: where chance comes from. The same seed gives the same numbers, however many partitions; two programs
            simulated with one seed meet the same people in the same mood (common random numbers).
        level: share of an interval, between 0 and 1.
        until: the last moment that is decided; the end of the log unless given.
        partitions: in how many parts the customers are simulated at once; the number of processors unless given.
        progress: show a progress bar where it takes longer than a moment.

    Returns:
        The forecast: `.table`, `.lift`, `.profit`, `.assumptions`, `.plot()`.

    Raises:
        ScenarioError: the program does not fit the log, or the model names a mail that is not in it.
        InputError: a number out of its range; a log without purchases, or too short to see what follows.

    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo", "cy"], "event": ["cart_add", "cart_add", "purchase", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z", "2025-04-03T10:00Z"],
    ...     "revenue": [None, None, 30.0, None]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... goal: {event: purchase, within: 7d, value: revenue}
    ... steps: [{wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> surely = ResponseModel.parse("{response: surely, buys: {rate: 1}, order: {margin: 0.5}}")
    >>> told = simulate(cart, log, response=surely, draws=20, seed=1, progress=False)
    >>> told.value("cart", "caused"), told.value("cart", "profit")
    (1.0, 15.0)
    """
    simulation = Simulation(program, log, response=response, until=until, partitions=partitions)
    return simulation.run(draws=draws, seed=seed, level=level, progress=progress)


@dataclass
class _Asked:
    """A compiled program with what a simulation asks besides: purchases and their price."""

    compiled: Compiled
    prepared: Prepared
    until: int
    purchase_bit: int
    value: int


class Simulation:
    """A program over a log, ready to be answered; what `simulate` and `tune` run."""

    def __init__(
        self,
        program: Program | Scenario,
        log: EventLog,
        *,
        response: ResponseModel,
        until: datetime | None = None,
        partitions: int | None = None,
        follow: int | None = None,
    ) -> None:
        if isinstance(program, Scenario):
            program = Program(scenarios=(program,))
        if partitions is not None and partitions < 1:
            raise InputError(f"partitions: found {partitions!r}; allowed: 1 or more")
        check_against(
            program,
            event_counts=dict.fromkeys(log.event_names, 1),
            properties=log.properties,
            attributes=log.attributes,
        )
        self.program, self.log, self.response = program, log, response
        asked = _ask(program, log, response, until)
        compiled, marked = asked.compiled, asked.prepared.marked
        self.asked = asked
        if compiled.keyed:
            named = ", ".join(compiled.scenarios[place].scenario for place in compiled.keyed)
            raise NotSupportedError(
                f"{named}: arms by journey with a key and a trigger that is no event: not simulated"
            )
        past = asked.prepared.past(log, compiled, asked.until)
        prices = np.zeros(0)
        if asked.value >= 0:
            prices = marked.values[asked.value][((marked.bits >> asked.purchase_bit) & 1) == 1]
            prices = prices[prices > 0]
        if not len(prices) and any(path.endswith("buys.rate") or ".grid." in path for path in response.numbers):
            raise InputError(
                f"the log has no event {response.purchase!r} with a number in {response.value!r}: purchases that mails "
                "bring about are made like those of the log; name the event and the property in the response model "
                "(purchase:, value:)"
            )
        self.usual_price = float(prices.mean()) if len(prices) else 0.0
        self.draughtsman = Draughtsman(compiled, response, log, self.usual_price)
        window = response.times["window"].elapsed
        windows = np.array([s.goal.within.elapsed if s.goal else window for s in compiled.scenarios], dtype=np.int64)
        goals = np.array(
            [
                (int(row[m.S_GOAL_BIT]), value if value >= 0 else asked.value)
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
        )
        settings = Settings(
            purchase_bit=asked.purchase_bit,
            value=asked.value,
            kept=~answer_bits,
            leave_bits=int(leaves[0]),
            left=bits_by_consent(log, compiled.marking, marked.customers, consent=False),
            cut=asked.until - self.follow,
            groups=np.array(starts, dtype=np.int64),
            windows=windows,
            goals=goals,
        )
        self.respondents = Respondents(compiled, past, settings, partitions or _processors())

    def run(self, *, draws: int, seed: int, level: float, progress: bool = False) -> Forecast:
        """The forecast of so many draws."""
        if not 1 <= draws <= MOST_DRAWS:
            raise InputError(f"draws: found {draws!r}; allowed: 1 to {MOST_DRAWS:,}")
        if not 0 < level < 1:
            raise InputError(f"level: found {level!r}; allowed: between 0 and 1, for example 0.9")
        if not self.respondents.totals[:, a.N_PEOPLE].any():
            raise InputError(
                f"nobody enters early enough to see what follows: the log ends "
                f"{_EPOCH + pd.Timedelta(self.asked.until, unit='us'):%Y-%m-%d %H:%M} UTC, and "
                f"{pd.Timedelta(self.follow, unit='us')} are needed after an entry; take a longer log, or a shorter "
                "goal and window"
            )
        values = self.response.draws(draws, seed)
        counted = np.empty((draws, *self.respondents.totals.shape))
        # The sum over draws by customer starts anew, so that one simulation can run with several seeds.
        self.respondents.people[:] = 0
        for draw in tqdm(range(draws), desc="simulate", disable=not progress, delay=1.0):
            drawn = self.draughtsman.draw({path: float(column[draw]) for path, column in values.items()})
            counted[draw] = self.respondents.draw(drawn, draw_seed(seed, draw))
        return Forecast(
            program=self.program,
            response=self.response,
            groups=self.groups,
            counted=counted,
            silent=self.respondents.totals.astype(float),
            covariances=covariances(self.respondents, draws),
            values=values,
            seed=seed,
            level=level,
            notes=(*self._notes(), *self.draughtsman.notes, *self.response.notes),
            currency=self.program.policies.currency,
        )

    def as_run(self, draw: int, *, seed: int) -> Run:
        """One draw as a run: its journeys and decisions, with the answers of that draw. Modelled."""
        values = self.response.draws(draw + 1, seed)
        drawn = self.draughtsman.draw({path: float(column[draw]) for path, column in values.items()})
        return Run(
            program=self.program,
            log=self.log,
            until=_EPOCH + pd.Timedelta(self.asked.until, unit="us"),
            compiled=self.asked.compiled,
            prepared=self.asked.prepared,
            walked=self.respondents.run(drawn, draw_seed(seed, draw)),
            notes=(f"modelled: answers of draw {draw}, seed {seed}, of the response model {self.response.name!r}",),
            assume=None,
        )

    def _notes(self) -> list[str]:
        mailed = mailed_scenarios(self.log) & set(self.groups.scenarios)
        notes = [
            f"the log holds real mails of {name}: purchases that they caused count as done anyway, so that the "
            "forecast is of what comes on top; simulate over people who were not mailed for the whole effect"
            for name in sorted(mailed)
        ]
        if "order.margin" not in self.response.numbers:
            notes.append("no order.margin in the response model: margin and profit are not known")
        return notes


def draw_seed(seed: int, draw: int) -> int:
    """The number of 62 bits from which the answers of one draw come."""
    return (seed * 0x5851F42D4C957F2D + (draw + 1) * 0x14057B7EF767814F) & 0x3FFFFFFFFFFFFFFF


def _processors() -> int:
    return min(os.cpu_count() or 1, 16)


def _ask(program: Program, log: EventLog, response: ResponseModel, until: datetime | None) -> _Asked:
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
    return _Asked(asked, prepare_log(log, asked, zone=program.policies.timezone), last, marks.index(purchase), value)
