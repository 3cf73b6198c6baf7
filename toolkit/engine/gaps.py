"""The usual time between two events, as it was known when each event became known (rule R11, `after: {median: …}`).

A gap lies between two consecutive events of one customer that count for the trigger and, where a property is named,
have the same value of it. Two events of one moment are one occasion: nothing lies between them. The median is taken
over all gaps of the customer, or of everybody with the same value, between events received by then; so it never looks
ahead, and a late event corrects it from the moment it is known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.engine.compiled import compiled
from toolkit.engine.layout import Ints
from toolkit.engine.marked import Marked

__all__ = ["NO_GAP", "median_gaps"]

NO_GAP = -1
"""Nothing has repeated yet."""


def median_gaps(marked: Marked, bit: int, group: int) -> Ints:
    """The median gap known at the receipt of each event with a bit.

    Args:
        marked: the marked events.
        bit: which events count.
        group: which of `marked.groups` tells whose gaps are taken together; -1 for those of each customer alone.

    Returns:
        One per marked event: microseconds, or NO_GAP where none is known yet, where the event has not the bit, or
        where the property is missing.
    """
    found = np.full(len(marked), NO_GAP, dtype=np.int64)
    events = np.flatnonzero((marked.bits >> bit) & 1)
    customer = np.searchsorted(marked.starts, events, side="right") - 1
    whose = customer if group < 0 else marked.groups[group, events]
    known = whose >= 0
    events, customer, whose = events[known], customer[known], whose[known]
    order = np.lexsort((marked.received[events], whose))  # stable, so that events stay in the order of the log
    events, customer, whose = events[order], customer[order], whose[order]
    _, chain = np.unique(whose * len(marked.customers) + customer, return_inverse=True)
    of_events = np.empty(len(events), dtype=np.int64)
    _medians(whose, chain.astype(np.int64), marked.at[events], marked.received[events], of_events)
    found[events] = of_events
    return found


@compiled
def _link(chain: Ints, at: Ints, ends: Ints, gaps: Ints, signs: npt.NDArray[np.int8]) -> None:
    """Put each event in its customer's order of `at`; write which gaps that opens (1) and which it closes (-1)."""
    count = len(at)
    before = np.full(count, -1, dtype=np.int64)
    after = np.full(count, -1, dtype=np.int64)
    tail = np.full(count, -1, dtype=np.int64)
    written = 0
    for k in range(count):
        follower = -1
        leader = tail[chain[k]]
        while leader >= 0 and at[leader] > at[k]:
            follower = leader
            leader = before[leader]
        before[k], after[k] = leader, follower
        if follower < 0:
            tail[chain[k]] = k
        else:
            before[follower] = k
            gaps[written], signs[written] = at[follower] - at[k], 1
            written += 1
        if leader >= 0:
            after[leader] = k
            gaps[written], signs[written] = at[k] - at[leader], 1
            written += 1
            if follower >= 0:
                gaps[written], signs[written] = at[follower] - at[leader], -1
                written += 1
        ends[k] = written


@compiled
def _ranked(tree: Ints, rank: int) -> int:
    """Place of the rank-th smallest in a tree of counts (Fenwick 1994)."""
    place = 0
    step = 1
    while 2 * step < len(tree):
        step *= 2
    while step:
        if place + step < len(tree) and tree[place + step] < rank:
            place += step
            rank -= tree[place]
        step //= 2
    return place


@compiled
def _medians(whose: Ints, chain: Ints, at: Ints, received: Ints, out: Ints) -> None:
    count = len(at)
    ends = np.empty(count, dtype=np.int64)
    gaps = np.empty(3 * count, dtype=np.int64)
    signs = np.empty(3 * count, dtype=np.int8)
    _link(chain, at, ends, gaps, signs)
    low = 0
    while low < count:
        high = low
        while high < count and whose[high] == whose[low]:
            high += 1
        first = ends[low - 1] if low else 0
        lengths = np.unique(gaps[first : ends[high - 1]])
        tree = np.zeros(len(lengths) + 1, dtype=np.int64)
        total = 0
        written = first
        k = low
        while k < high:
            now = received[k]
            together = k
            while together < high and received[together] == now:
                together += 1
            while written < ends[together - 1]:
                if gaps[written] > 0:
                    total += int(signs[written])
                    place = np.searchsorted(lengths, gaps[written]) + 1
                    while place < len(tree):
                        tree[place] += signs[written]
                        place += place & -place
                written += 1
            median = NO_GAP
            if total > 0:
                middle = lengths[_ranked(tree, (total + 1) // 2)]
                median = (middle + lengths[_ranked(tree, total // 2 + 1)]) // 2
            while k < together:
                out[k] = median
                k += 1
        low = high
