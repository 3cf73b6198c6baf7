"""What holds of a customer at an instant: attributes, the trigger, and what happened before (rules R1, R2, R12)."""

from __future__ import annotations

from toolkit.engine import layout as m
from toolkit.engine.compiled import kernel
from toolkit.engine.layout import Past, Plan, Work

__all__ = ["happened", "holds", "seen_since"]


@kernel
def happened(past: Past, work: Work, bit: int, within: int, at_least: int, now: int) -> bool:
    """At least so many events with the bit in `(now - within, now]`, of those received by now."""
    if within == m.NEVER:
        return bool(work.counts[bit] >= at_least)
    found = 0
    since = now - within
    # An event is never received before it happened, so whatever was received by `since` happened by then.
    for i in range(work.n[m.N_SEEN] - 1, work.n[m.N_FIRST] - 1, -1):
        if past.received[i] <= since:
            break
        if (past.bits[i] >> bit) & 1 and past.at[i] > since:
            found += 1
            if found >= at_least:
                return True
    return False


@kernel
def seen_since(past: Past, work: Work, bit: int, first: int, key: int, code: int) -> bool:
    """An event with the bit (and the key value) among those received from place `first` on."""
    for i in range(first, work.n[m.N_SEEN]):
        if (past.bits[i] >> bit) & 1 and (key < 0 or past.keys[key, i] == code):
            return True
    return False


@kernel
def holds(plan: Plan, past: Past, work: Work, start: int, event: int, now: int) -> bool:
    """Whether the condition at `start` holds now for the customer at hand; `event` is the trigger, or -1."""
    stack = 0
    i = start
    while plan.conditions[i, 0] != m.COND_END:
        code = plan.conditions[i, 0]
        a = plan.conditions[i, 1]
        if code == m.COND_ATTRIBUTE:
            stack = (stack << 1) | ((work.n[m.N_ATTRIBUTES] >> a) & 1)
        elif code == m.COND_TRIGGER:
            stack = (stack << 1) | (((past.bits[event] >> a) & 1) if event >= 0 else 0)
        elif code == m.COND_HAPPENED:
            found = happened(past, work, a, plan.conditions[i, 2], plan.conditions[i, 3], now)
            stack = (stack << 1) | (1 if found else 0)
        elif code == m.COND_NOT:
            stack ^= 1
        elif code == m.COND_AND:
            stack = (stack >> 2 << 1) | ((stack >> 1) & stack & 1)
        else:
            stack = (stack >> 2 << 1) | (((stack >> 1) | stack) & 1)
        i += 1
    return bool(stack & 1)
