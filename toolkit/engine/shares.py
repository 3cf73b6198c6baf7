"""The share of a customer in an experiment, and of a mail in the spread after quiet hours (rules R13, R15)."""

from __future__ import annotations

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.compiled import kernel
from toolkit.engine.hashing import ID_DIGITS, md5_digits, md5_share, md5_state
from toolkit.engine.layout import Bytes, Ints, Past, Plan, Work

__all__ = ["arm_of", "spread_share"]


@kernel
def _append(message: Bytes, length: int, source: Bytes, start: int, stop: int) -> int:
    for k in range(start, stop):
        message[length] = source[k]
        length += 1
    return length


@kernel
def _hash_share(
    work: Work,
    past: Past,
    salt: Bytes,
    salt_starts: Ints,
    which: int,
    suffix: Bytes,
    suffix_start: int,
    suffix_stop: int,
) -> float:
    customer = work.n[m.N_CUSTOMER]
    length = _append(work.message, 0, salt, salt_starts[which], salt_starts[which + 1])
    length = _append(work.message, length, past.names, past.name_starts[customer], past.name_starts[customer + 1])
    length = _append(work.message, length, suffix, suffix_start, suffix_stop)
    return md5_share(work.message, length, work.state)


@kernel
def _append_number(message: Bytes, length: int, number: int) -> int:
    if number < 0:
        message[length] = 45  # -
        length += 1
        number = -number
    digits = 1
    while number >= 10**digits and digits < 18:
        digits += 1
    for k in range(digits - 1, -1, -1):
        message[length] = 48 + number // 10**k % 10
        length += 1
    return length


@kernel
def _journey_share(plan: Plan, past: Past, work: Work, split: int, event: int, trigger_at: int) -> float:
    """The share of a journey that no event began, by its id (see `toolkit.engine.ids`)."""
    origin = plan.origins[plan.split_origin[split]]
    customer = work.n[m.N_CUSTOMER]
    message = work.message
    length = _append(message, 0, plan.origin_texts, origin[m.O_BEFORE], origin[m.O_BEFORE_END])
    length = _append(message, length, past.names, past.name_starts[customer], past.name_starts[customer + 1])
    message[length] = 0x1F
    length += 1
    if origin[m.O_KEY] >= 0 and event >= 0:
        begin, end = past.key_places[origin[m.O_KEY], event], past.key_places[origin[m.O_KEY] + 1, event]
        length = _append(message, length, past.key_texts, begin, end)
    length = _append(message, length, plan.origin_texts, origin[m.O_AFTER], origin[m.O_AFTER_END])
    length = _append_number(message, length, trigger_at)
    md5_state(message, length, work.state)
    length = _append(message, 0, plan.salts, plan.salt_starts[split], plan.salt_starts[split + 1])
    md5_digits(work.state, message, length, ID_DIGITS)
    return md5_share(message, length + ID_DIGITS, work.state)


@kernel
def arm_of(plan: Plan, past: Past, work: Work, split: int, event: int, trigger_at: int) -> int:
    """The arm of a split: of the customer, or of the journey that the event or the moment began (rule R13)."""
    if plan.split_by_journey[split] >= 0:
        share = past.journey_shares[plan.split_by_journey[split], event]
    elif plan.split_origin[split] >= 0:
        share = _journey_share(plan, past, work, split, event, trigger_at)
    else:
        share = past.arm_shares[split, work.n[m.N_CUSTOMER]]
        if np.isnan(share):
            share = _hash_share(work, past, plan.salts, plan.salt_starts, split, plan.suffixes, 0, 0)
            past.arm_shares[split, work.n[m.N_CUSTOMER]] = share
    arm = 0
    while share >= plan.arm_ends[split, arm]:
        arm += 1
    return arm


@kernel
def spread_share(plan: Plan, past: Past, work: Work, send: int) -> float:
    """Where in the spread after quiet hours a held mail leaves: salt `spread`, unit `customer:scenario:step`."""
    share = past.spread_shares[send, work.n[m.N_CUSTOMER]]
    if np.isnan(share):
        last = len(plan.salt_starts) - 2  # the salt behind those of the splits is "spread:"
        share = _hash_share(
            work,
            past,
            plan.salts,
            plan.salt_starts,
            last,
            plan.suffixes,
            plan.suffix_starts[send],
            plan.suffix_starts[send + 1],
        )
        past.spread_shares[send, work.n[m.N_CUSTOMER]] = share
    return float(share)
