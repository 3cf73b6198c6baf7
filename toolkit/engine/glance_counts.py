"""What a glance counts, compiled: mails by hour and day, offers by journey, and who bought before and after them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.engine import layout as m
from toolkit.engine.compiled import compiled
from toolkit.engine.follow import received_after
from toolkit.engine.layout import NEVER, Floats, Ints
from toolkit.engine.zones import DAY, Zones, add_days, to_local

__all__ = [
    "AFTER_MAIL",
    "AFTER_OFFER",
    "BEFORE",
    "HOUR",
    "count_entries",
    "count_mails",
    "count_purchases",
    "offers_elsewhere",
]

HOUR = 3_600_000_000
BEFORE, AFTER_MAIL, AFTER_OFFER = range(3)


@compiled
def count_mails(
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
    """Mails sent by hour and day; and when each journey came to its first mail and to the offer, and was due there."""
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
def offers_elsewhere(
    journeys: Ints, others: Ints, decisions: Ints, is_gift: npt.NDArray[np.bool_], offer_at: Ints, offer_due: Ints
) -> None:
    """When each journey came to the offer in another walk of the same customers, whose journeys come in like order."""
    at = np.full(len(others), NEVER, dtype=np.int64)
    due = np.full(len(others), NEVER, dtype=np.int64)
    for i in range(len(decisions)):
        if decisions[i, m.D_STATUS] == m.STATUS_SKIPPED or decisions[i, m.D_PLAIN] != 0:
            continue
        journey = decisions[i, m.D_JOURNEY]
        if is_gift[decisions[i, m.D_SEND]] and decisions[i, m.D_AT] < at[journey]:
            at[journey], due[journey] = decisions[i, m.D_AT], decisions[i, m.D_DUE]
    first = last = hint = 0
    for i in range(len(journeys)):
        customer = journeys[i, m.J_CUSTOMER]
        if i == 0 or customer != journeys[i - 1, m.J_CUSTOMER]:
            first = last
            while first < len(others) and others[first, m.J_CUSTOMER] < customer:
                first += 1
            last = first
            while last < len(others) and others[last, m.J_CUSTOMER] == customer:
                last += 1
            hint = first
        for step in range(last - first):
            k = hint + step
            k = k if k < last else k - (last - first)
            if (
                others[k, m.J_SCENARIO] == journeys[i, m.J_SCENARIO]
                and others[k, m.J_ENTERED] == journeys[i, m.J_ENTERED]
                and others[k, m.J_KEY] == journeys[i, m.J_KEY]
            ):
                offer_at[i], offer_due[i] = at[k], due[k]
                hint = k + 1 if k + 1 < last else first
                break


@compiled
def _first(
    starts: Ints,
    at: Ints,
    received: Ints,
    bits: Ints,
    customer: int,
    after: int,
    up_to: int,
    known_by: int,
    bit: int,
) -> int:
    """The first event with the bit that happened in `(after, up_to]`, of those received by a moment."""
    first = NEVER
    for k in range(received_after(starts, received, customer, after), starts[customer + 1]):
        if received[k] > known_by:
            break
        if (bits[k] >> bit) & 1 and after < at[k] <= up_to:
            first = min(first, at[k])
    return first


@compiled
def count_entries(
    journeys: Ints,
    place: int,
    arm: int,
    starts: Ints,
    at: Ints,
    received: Ints,
    bits: Ints,
    bit: int,
    window: int,
    last: int,
    entries: Ints,
) -> None:
    """Customers who entered; and of those in the arm whose window has closed since their first entry, how many reached
    the goal in it.
    """
    i = 0
    while i < len(journeys):
        customer, first = journeys[i, m.J_CUSTOMER], -1
        while i < len(journeys) and journeys[i, m.J_CUSTOMER] == customer:
            if journeys[i, m.J_SCENARIO] == place and (
                first < 0 or journeys[i, m.J_ENTERED] < journeys[first, m.J_ENTERED]
            ):
                first = i
            i += 1
        if first < 0:
            continue
        entries[0] += 1
        entered = journeys[first, m.J_ENTERED]
        if bit < 0 or entered > last - window or (arm >= 0 and journeys[first, m.J_ARM] != arm):
            continue
        entries[1] += 1
        if _first(starts, at, received, bits, customer, entered, entered + window, last, bit) < NEVER:
            entries[2] += 1


@compiled
def count_purchases(
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
    """Purchases by phase and stretch of time; closed windows of mails, closed offers, and what was paid in those."""
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
            when = _first(starts, at, received, bits, customer, mail_at[i], mail_at[i] + window, last, bit)
            phase = AFTER_OFFER if offer_at[i] < when else AFTER_MAIL
        elif (
            mail_at[i] == NEVER
            and journeys[i, m.J_ENDED_BY] == m.END_EXITED
            and journeys[i, m.J_ENTERED] + window <= last
        ):
            entered, ended = journeys[i, m.J_ENTERED], journeys[i, m.J_ENDED]
            when = _first(starts, at, received, bits, customer, entered, ended, last, bit)
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
                bought = _first(starts, at, received, bits, customer, offer_at[i], until, last, bit)
                if bought < NEVER:
                    for k in range(starts[customer], starts[customer + 1]):
                        if received[k] > last:
                            break
                        if (bits[k] >> bit) & 1 and offer_at[i] < at[k] <= bought and not np.isnan(values[k]):
                            totals[2] += values[k]
