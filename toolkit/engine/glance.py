"""A look at what a program does: mails by hour and day, and who bought before and after them; counts only.

Screens ask for it after every move of a slider, so nothing of the replay is kept: some customers are walked over, what
is counted of them is counted while it is near, and the next ones are written over it. It looks ahead, so nothing that
decides may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.doors import micros_of
from toolkit.engine.glance_counts import (
    AFTER_MAIL,
    BEFORE,
    HOUR,
    count_entries,
    count_mails,
    count_purchases,
    offers_elsewhere,
)
from toolkit.engine.layout import NEVER, Floats, Ints, Past
from toolkit.engine.prepared import prepare_log
from toolkit.engine.replay import EVENTS_AT_ONCE, compiled_for, ties_customers
from toolkit.engine.runners.local import Walked, in_parts, run_chunks, run_kernel
from toolkit.engine.zones import DAY
from toolkit.events import EventLog
from toolkit.scenario import Duration, Program

__all__ = ["Glance", "glance"]

_MOST_BINS = 130  # of days
_CUSTOMERS = 2048
"""Customers whose journeys are counted at a time: few enough to stay near the processor."""


@dataclass(frozen=True, eq=False)
class Glance:
    """What a look at one scenario of a run finds.

    Attributes:
        hours: mails sent, by send step of the scenario and local hour of the day. Exact.
        days: the same by bin of local days since `first_day`. Exact.
        first_day: days since 1970 of the first bin; bin_days: days in one bin.
        own: purchases by phase (before the mail, after it, after the offer) and stretch of time since the trigger.
            Observed.
        entered: customers who entered the scenario, whoever they are. Exact.
        entries: when the first and the last of its journeys began, microseconds since 1970; (`NEVER`, -1) of none.
        closed: of the watched, customers whose window has closed since they first entered.
        converted: how many of those reached the goal in it. Observed; as `measure` and `experiment` count.
        mails: journeys with a mail, sent or withheld, whose window has closed.
        offers: offers, sent or withheld, whose validity has closed.
        paid: what those paid who bought within it.
        lags: hours from the trigger to the first mail, and to the offer, as they were due; medians.
        until: the last moment decided, microseconds since 1970.
    """

    hours: Ints
    days: Ints
    first_day: int
    bin_days: int
    own: Ints
    entered: int
    entries: tuple[int, int]
    closed: int
    converted: int
    mails: int
    offers: int
    paid: float
    lags: tuple[float, float]
    until: int

    @property
    def sent(self) -> int:
        """Mails sent."""
        return int(self.hours.sum())

    @property
    def before(self) -> int:
        """Bought on their own before the mail."""
        return int(self.own[BEFORE].sum())

    @property
    def after(self) -> int:
        """Bought after the mail, within the window, without having got it."""
        return int(self.own[AFTER_MAIL:].sum())


def glance(
    program: Program,
    log: EventLog,
    scenario: str,
    *,
    until: datetime | None = None,
    arm: str | None = None,
    gift: str | None = None,
    opened: Program | None = None,
    valid: Duration | None = None,
    edges: Sequence[float],
    watched: bool = True,
    threads: int | None = None,
) -> Glance:
    """What a replay of a program finds of one scenario, counted.

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did.
        scenario: whose mails and purchases are counted; it has a goal where purchases are asked for.
        until: the last moment decided; the end of the log unless given.
        arm: whose purchases are counted; everyone's unless given.
        gift: id of the send step whose offer counts.
        opened: the program in which `arm` comes to the offer, where it does not in `program`.
        valid: how long the offer holds; the goal's window unless given.
        edges: hours since the trigger at which purchases are cut.
        watched: whether purchases can be told at all from this log.
        threads: on how many threads; all cores' unless given.

    Returns:
        The counts; the same as `own_purchases` and `sends_table` find.

    >>> import pandas as pd
    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo", "zoe"], "event": ["cart_add", "cart_add", "purchase", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z", "2025-03-20T10:00Z"]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... goal: {event: purchase, within: 7d}
    ... steps: [{wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> found = glance(cart, log, "cart", edges=(0, 1, 24))
    >>> found.sent, found.before, found.after
    (2, 0, 1)
    """
    compiled, last = compiled_for(program, log, until=until)
    other = None if opened is None else compiled_for(opened, log, until=until)[0]
    asked = _Asked.of(compiled, log, scenario, last, arm=arm, gift=gift, valid=valid, edges=edges, watched=watched)
    # Customers who tie others, by coupons or by their gaps, are decided with all others there.
    tied = bool(compiled.pools) or ties_customers(compiled)
    parts = [log]
    if log.stored and len(log) > EVENTS_AT_ONCE and not tied:
        parts = [log.within(chosen, part=place) for place, chosen in enumerate(log.ranges(events=EVENTS_AT_ONCE))]
    found = [sums for part in parts for sums in _sums_of(asked, program, part, compiled, other, threads)]
    return asked.told(found)


def _sums_of(
    asked: _Asked, program: Program, log: EventLog, compiled: Compiled, other: Compiled | None, threads: int | None
) -> list[_Sums]:
    """What is counted in a log, or in a range of its customers, by thread."""
    zone = program.policies.timezone
    prepared = prepare_log(log, compiled, zone=zone)
    past = prepared.past(log, compiled, asked.last)
    other_past = None if other is None else prepare_log(log, other, zone=zone).past(log, other, asked.last)
    values = past.values[asked.value] if asked.value >= 0 else np.full(len(past.at), np.nan)

    def counted(first: int, last: int) -> _Sums:
        sums = _Sums.of(asked)
        ours = run_chunks(compiled.plan, past, first, last, customers=_CUSTOMERS)
        if other is None or other_past is None:
            for walked in ours:
                sums.add(asked, past, values, walked, None)
        else:
            theirs = run_chunks(other.plan, other_past, first, last, customers=_CUSTOMERS)
            for walked, opened in zip(ours, theirs, strict=True):
                sums.add(asked, past, values, walked, opened)
        return sums

    if not compiled.pools:
        return in_parts(past, counted, threads=threads)
    sums = _Sums.of(asked)
    opened = None if other is None or other_past is None else run_kernel(other, other_past)
    sums.add(asked, past, values, run_kernel(compiled, past), opened)
    return [sums]


@dataclass(frozen=True)
class _Asked:
    """What is counted, in numbers."""

    place: int
    arm: int
    row: Ints
    is_gift: npt.NDArray[np.bool_]
    first_day: int
    bin_days: int
    bins: int
    last: int
    edges: Floats
    bit: int
    value: int
    window: int
    valid: tuple[int, int]

    @classmethod
    def of(
        cls,
        compiled: Compiled,
        log: EventLog,
        scenario: str,
        last: int,
        *,
        arm: str | None,
        gift: str | None,
        valid: Duration | None,
        edges: Sequence[float],
        watched: bool,
    ) -> _Asked:
        place = [one.scenario for one in compiled.scenarios].index(scenario)
        sends = compiled.sends
        mine = [number for number, send in enumerate(sends) if send.scenario == scenario]
        row = np.full(max(1, len(sends)), -1, dtype=np.int64)
        row[mine] = np.arange(len(mine))
        first_day = (micros_of(log.span[0]) if log.span else last) // DAY - 1
        count = last // DAY - first_day + 2
        bin_days = max(1, -(-count // _MOST_BINS))
        goal = compiled.scenarios[place].goal
        lasts = valid or (None if goal is None else goal.within)
        return cls(
            place=place,
            arm=-1 if arm is None else compiled.arms[place].index(arm),
            row=row,
            is_gift=np.array(
                [bool(gift) and one.scenario == scenario and one.step_id == gift for one in sends] or [False]
            ),
            first_day=first_day,
            bin_days=bin_days,
            bins=-(-count // bin_days),
            last=last,
            edges=np.array(edges, dtype=np.float64) * HOUR,
            bit=int(compiled.plan.scenarios[place, m.S_GOAL_BIT]) if goal is not None and watched else -1,
            value=int(compiled.goal_values[place]),
            window=0 if goal is None else goal.within.elapsed,
            valid=(0, 0) if lasts is None else (lasts.days, lasts.microseconds),
        )

    def told(self, found: list[_Sums]) -> Glance:
        """The sums of all parts as one."""
        totals: Floats = np.sum([one.totals for one in found], axis=0)
        entries: Ints = np.sum([one.entries for one in found], axis=0)
        if self.bit >= 0 and self.value < 0:
            totals[2] = np.nan
        lags = [np.concatenate([lag for one in found for lag in one.lags[which]]) for which in (0, 1)]
        return Glance(
            hours=np.sum([one.hours for one in found], axis=0),
            days=np.sum([one.days for one in found], axis=0),
            first_day=self.first_day,
            bin_days=self.bin_days,
            own=np.sum([one.own for one in found], axis=0),
            entered=int(entries[0]),
            entries=(min(one.first for one in found), max(one.last for one in found)),
            closed=int(entries[1]),
            converted=int(entries[2]),
            mails=int(totals[0]),
            offers=int(totals[1]),
            paid=float(totals[2]),
            lags=(_median(lags[0]), _median(lags[1])),
            until=self.last,
        )


@dataclass
class _Sums:
    """What one thread has counted so far."""

    hours: Ints
    days: Ints
    own: Ints
    totals: Floats
    entries: Ints
    lags: tuple[list[Ints], list[Ints]] = field(
        default_factory=lambda: ([np.zeros(0, np.int64)], [np.zeros(0, np.int64)])
    )
    first: int = NEVER
    last: int = -1

    @classmethod
    def of(cls, asked: _Asked) -> _Sums:
        steps = int((asked.row >= 0).sum())
        return cls(
            hours=np.zeros((steps, 24), dtype=np.int64),
            days=np.zeros((steps, asked.bins), dtype=np.int64),
            own=np.zeros((3, len(asked.edges) - 1), dtype=np.int64),
            totals=np.zeros(3, dtype=np.float64),
            entries=np.zeros(3, dtype=np.int64),
        )

    def add(self, asked: _Asked, past: Past, values: Floats, walked: Walked, opened: Walked | None) -> None:
        """Count what was decided for some customers; `opened` tells when they come to the offer, where it does."""
        journeys = walked.journeys
        if not len(journeys):
            return
        mail_at, mail_due, offer_at, offer_due = np.full((4, len(journeys)), NEVER, dtype=np.int64)
        count_mails(
            journeys, walked.decisions, asked.row, asked.is_gift, past.zone, past.zones, asked.first_day,
            asked.bin_days, self.hours, self.days, mail_at, mail_due, offer_at, offer_due,
        )  # fmt: skip
        count_entries(
            journeys, asked.place, asked.arm, past.starts, past.at, past.received, past.bits, asked.bit, asked.window,
            asked.last, self.entries,
        )  # fmt: skip
        if opened is not None:
            offer_at[:], offer_due[:] = NEVER, NEVER
            offers_elsewhere(journeys, opened.journeys, opened.decisions, asked.is_gift, offer_at, offer_due)
        if asked.bit >= 0:
            count_purchases(
                journeys, asked.place, asked.arm, past.starts, past.at, past.received, past.bits, values, asked.bit,
                asked.window, *asked.valid, asked.last, past.zone, past.zones, mail_at, offer_at, asked.edges,
                self.own, self.totals,
            )  # fmt: skip
        mine = journeys[:, m.J_SCENARIO] == asked.place
        entered = journeys[mine, m.J_ENTERED]
        self.first = int(entered.min(initial=self.first))
        self.last = int(entered.max(initial=self.last))
        trigger = journeys[:, m.J_TRIGGER]
        for lags, due in zip(self.lags, (mail_due, offer_due), strict=True):
            known = mine & (due < NEVER)
            lags.append(due[known] - trigger[known])


def _median(lags: Ints) -> float:
    return float(np.median(lags)) / HOUR if len(lags) else float("nan")
