"""A look at a run in one pass: mails by hour and day, and who bought before and after them; counts only.

Screens ask for it after every move of a slider, so it walks the arrays once and makes no table. It looks ahead, so
nothing that decides may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.engine import layout as m
from toolkit.engine.compiled import compiled
from toolkit.engine.layout import NEVER, Floats, Ints
from toolkit.engine.run import Run
from toolkit.engine.zones import DAY, Zones, add_days, to_local, zone_tables
from toolkit.scenario import Duration

__all__ = ["Glance", "glance", "offer_moments"]

HOUR = 3_600_000_000
_AFTER = 366 * DAY
BEFORE, AFTER_MAIL, AFTER_OFFER = range(3)


@dataclass(frozen=True, eq=False)
class Glance:
    """What a look at one scenario of a run finds.

    Attributes:
        hours: mails sent, by send step of the scenario and local hour of the day. Exact.
        days: the same by bin of local days since `first_day`. Exact.
        first_day: days since 1970 of the first bin; bin_days: days in one bin.
        own: purchases by phase (before the mail, after it, after the offer) and stretch of time since the trigger.
            Observed.
        reached: journeys that came to a mail, sent or withheld, whoever's.
        mails: journeys with a mail, sent or withheld, whose window has closed.
        offers: offers, sent or withheld, whose validity has closed.
        paid: what those paid who bought within it.
        lags: hours from the trigger to the first mail, and to the offer, as they were due; medians.
    """

    hours: Ints
    days: Ints
    first_day: int
    bin_days: int
    own: Ints
    reached: int
    mails: int
    offers: int
    paid: float
    lags: tuple[float, float]

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
    run: Run,
    scenario: str,
    *,
    arm: str | None,
    gift: str | None,
    valid: Duration | None,
    edges: Sequence[float],
    watched: bool = True,
    offer_at: Ints | None = None,
    offer_due: Ints | None = None,
    most_bins: int = 130,
) -> Glance:
    """One look at a scenario of a run.

    Args:
        run: a replay.
        scenario: its name; it has a goal where purchases are asked for.
        arm: whose purchases are counted; everyone's unless given.
        gift: id of the send step whose offer counts.
        valid: how long the offer holds; the goal's window unless given.
        edges: hours since the trigger at which purchases are cut.
        watched: whether purchases can be told at all from this log.
        offer_at, offer_due: when each journey came to the offer and when it was due, where another replay knows it.
        most_bins: at most so many bins of days.

    Returns:
        The counts; the same as `toolkit.charts.own_purchases` and `sends_table` find.
    """
    walked, names = run.walked, [one.scenario for one in run.compiled.scenarios]
    place = names.index(scenario)
    sends = run.compiled.sends
    row = np.full(max(1, len(sends)), -1, dtype=np.int64)
    mine = [number for number, send in enumerate(sends) if send.scenario == scenario]
    row[mine] = np.arange(len(mine))
    is_gift = np.array([bool(gift) and send.scenario == scenario and send.step == gift for send in sends] or [False])
    last = _micros(run.until)
    first = _micros(run.log.span[0]) if run.log.span else last
    first_day = first // DAY - 1
    count = int(last // DAY - first_day + 2)
    bin_days = max(1, -(-count // most_bins))
    hours = np.zeros((len(mine), 24), dtype=np.int64)
    days = np.zeros((len(mine), -(-count // bin_days)), dtype=np.int64)
    journeys = walked.journeys
    mail_at = np.full(len(journeys), NEVER, dtype=np.int64)
    mail_due = np.full(len(journeys), NEVER, dtype=np.int64)
    mine_at, mine_due = mail_at.copy(), mail_due.copy()
    zones = zone_tables(run.prepared.zone_names, first=min(first, last), last=last + _AFTER)
    _mails(
        journeys, walked.decisions, row, is_gift, run.prepared.zone, zones, first_day, bin_days, hours, days,
        mail_at, mail_due, mine_at, mine_due,
    )  # fmt: skip
    if offer_at is None or offer_due is None:
        offer_at, offer_due = mine_at, mine_due
    own = np.zeros((3, len(edges) - 1), dtype=np.int64)
    totals = np.zeros(3, dtype=np.float64)
    goal = run.program[scenario].goal
    bit = int(run.compiled.plan.scenarios[place, m.S_GOAL_BIT])
    if goal is not None and watched and bit >= 0:
        value = int(run.compiled.goal_values[place])
        values = run.marked.values[value] if value >= 0 else np.full(len(run.marked.at), np.nan)
        lasts = valid or goal.within
        _purchases(
            journeys, place, -1 if arm is None else run.compiled.arms[place].index(arm), run.marked.starts,
            run.marked.at, run.marked.received, run.marked.bits, values, bit, goal.within.elapsed, lasts.days,
            lasts.microseconds, last, run.prepared.zone, zones, mail_at, offer_at,
            np.array(edges, dtype=np.float64) * HOUR, own, totals,
        )  # fmt: skip
        if value < 0:
            totals[2] = np.nan
    trigger = journeys[:, m.J_TRIGGER]
    of = journeys[:, m.J_SCENARIO] == place
    lags = (_median(mail_due[of], trigger[of]), _median(offer_due[of], trigger[of]))
    reached = int((of & (mail_at < NEVER)).sum())
    return Glance(
        hours, days, int(first_day), bin_days, own, reached, int(totals[0]), int(totals[1]), float(totals[2]), lags
    )


def offer_moments(run: Run, scenario: str, gift: str, of: Run) -> tuple[Ints, Ints]:
    """When journeys of one run came to an offer in another run of the same people.

    Args:
        run: the run whose journeys are asked about.
        scenario, gift: the scenario, and the id of the send step with the offer.
        of: the other run.

    Returns:
        For each journey of `run` the moment it came to the offer, and when that was due; NEVER where it did not.
    """
    sends = of.compiled.sends
    is_gift = np.array([send.scenario == scenario and send.step == gift for send in sends] or [False])
    decisions = of.walked.decisions
    kept = decisions[
        (decisions[:, m.D_STATUS] != m.STATUS_SKIPPED)
        & is_gift[decisions[:, m.D_SEND]]
        & (decisions[:, m.D_PLAIN] == 0)
    ]
    there = np.full(len(of.walked.journeys), NEVER, dtype=np.int64)
    due = there.copy()
    order = np.argsort(-kept[:, m.D_AT], kind="stable")
    there[kept[order, m.D_JOURNEY]] = kept[order, m.D_AT]
    due[kept[order, m.D_JOURNEY]] = kept[order, m.D_DUE]
    keys = [
        np.ascontiguousarray(one.walked.journeys[:, [m.J_CUSTOMER, m.J_SCENARIO, m.J_ENTERED]]).view(
            [("customer", np.int64), ("scenario", np.int64), ("entered", np.int64)]
        )[:, 0]
        for one in (run, of)
    ]
    order = np.argsort(keys[1], order=("customer", "scenario", "entered"), kind="stable")
    place = np.clip(np.searchsorted(keys[1][order], keys[0]), 0, max(0, len(order) - 1))
    if not len(order):
        return np.full(len(keys[0]), NEVER, dtype=np.int64), np.full(len(keys[0]), NEVER, dtype=np.int64)
    found = order[place]
    same = keys[1][found] == keys[0]
    return np.where(same, there[found], NEVER), np.where(same, due[found], NEVER)


@compiled
def _mails(
    journeys: Ints,
    decisions: Ints,
    row: Ints,
    is_gift: npt.NDArray[np.bool_],
    zone: Ints,
    zones: Zones,
    first_day: int,
    bin_days: int,
    hours: Ints,
    days: Ints,
    mail_at: Ints,
    mail_due: Ints,
    offer_at: Ints,
    offer_due: Ints,
) -> None:
    for i in range(len(decisions)):
        status = decisions[i, m.D_STATUS]
        if status == m.STATUS_SKIPPED:
            continue
        journey, send, at = decisions[i, m.D_JOURNEY], decisions[i, m.D_SEND], decisions[i, m.D_AT]
        step = row[send]
        if status == m.STATUS_SEND and step >= 0:
            local = to_local(zones, zone[journeys[journey, m.J_CUSTOMER]], at)
            hours[step, local // HOUR % 24] += 1
            days[step, min(max((local // DAY - first_day) // bin_days, 0), days.shape[1] - 1)] += 1
        if at < mail_at[journey]:
            mail_at[journey] = at
            mail_due[journey] = decisions[i, m.D_DUE]
        if is_gift[send] and decisions[i, m.D_PLAIN] == 0 and at < offer_at[journey]:
            offer_at[journey] = at
            offer_due[journey] = decisions[i, m.D_DUE]


@compiled
def _first(
    starts: Ints,
    at: Ints,
    received: Ints,
    bits: Ints,
    customer: int,
    after: int,
    up_to: int,
    bit: int,
) -> int:
    """The first event with the bit that happened in `(after, up_to]`."""
    low, high = starts[customer], starts[customer + 1]
    while low < high:
        middle = (low + high) // 2
        if received[middle] <= after:
            low = middle + 1
        else:
            high = middle
    first = NEVER
    for k in range(low, starts[customer + 1]):
        if (bits[k] >> bit) & 1 and after < at[k] <= up_to:
            first = min(first, at[k])
    return first


@compiled
def _purchases(
    journeys: Ints,
    place: int,
    arm: int,
    starts: Ints,
    at: Ints,
    received: Ints,
    bits: Ints,
    values: Floats,
    bit: int,
    window: int,
    valid_days: int,
    valid_micros: int,
    last: int,
    zone: Ints,
    zones: Zones,
    mail_at: Ints,
    offer_at: Ints,
    edges: Floats,
    own: Ints,
    totals: Floats,
) -> None:
    most = len(edges) - 2
    for i in range(len(journeys)):
        if journeys[i, m.J_SCENARIO] != place or journeys[i, m.J_ENDED_BY] == m.END_SUPERSEDED:
            continue
        if arm >= 0 and journeys[i, m.J_ARM] != arm:
            continue
        customer = journeys[i, m.J_CUSTOMER]
        when, phase = NEVER, BEFORE
        if mail_at[i] <= last - window:
            totals[0] += 1
            when = _first(starts, at, received, bits, customer, mail_at[i], mail_at[i] + window, bit)
            phase = AFTER_OFFER if offer_at[i] < when else AFTER_MAIL
        elif (
            mail_at[i] == NEVER
            and journeys[i, m.J_ENDED_BY] == m.END_EXITED
            and journeys[i, m.J_ENTERED] + window <= last
        ):
            when = _first(starts, at, received, bits, customer, journeys[i, m.J_ENTERED], journeys[i, m.J_ENDED], bit)
        if when < NEVER:
            since = when - journeys[i, m.J_TRIGGER]
            stretch = 0
            while stretch < most and edges[stretch + 1] < since:
                stretch += 1
            own[phase, stretch] += 1
        if offer_at[i] < NEVER:
            until = add_days(zones, zone[customer], offer_at[i], valid_days, valid_micros)
            if until <= last:
                totals[1] += 1
                bought = _first(starts, at, received, bits, customer, offer_at[i], until, bit)
                if bought < NEVER:
                    for k in range(starts[customer], starts[customer + 1]):
                        if (bits[k] >> bit) & 1 and offer_at[i] < at[k] <= bought and not np.isnan(values[k]):
                            totals[2] += values[k]


def _micros(moment: pd.Timestamp) -> int:
    return int((moment - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(1, unit="us"))


def _median(due: Ints, trigger: Ints) -> float:
    known = due < NEVER
    if not known.any():
        return float("nan")
    return float(np.median(due[known] - trigger[known])) / HOUR
