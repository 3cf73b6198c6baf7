"""What followed: events of a customer in a window after (or before) a moment. It looks ahead, so nothing that decides
may use it."""

from __future__ import annotations

import numpy as np

from toolkit.engine.compiled import compiled
from toolkit.engine.layout import NEVER, Floats, Ints
from toolkit.engine.marked import Marked

__all__ = ["received_after", "within"]


@compiled
def received_after(starts: Ints, received: Ints, customer: int, moment: int) -> int:
    """The place of the customer's first event received after a moment.

    An event is never received before it happened: whatever stands before it happened by then.
    """
    low, high = starts[customer], starts[customer + 1]
    while low < high:
        middle = (low + high) // 2
        if received[middle] <= moment:
            low = middle + 1
        else:
            high = middle
    return int(low)


@compiled
def _within(
    starts: Ints,
    at: Ints,
    received: Ints,
    bits: Ints,
    values: Floats,
    customers: Ints,
    after: Ints,
    up_to: Ints,
    known_by: Ints,
    bit: int,
    count: Ints,
    total: Floats,
    first: Ints,
) -> None:
    for i in range(len(customers)):
        customer = customers[i]
        count[i] = 0
        total[i] = 0.0
        first[i] = NEVER
        if customer < 0:
            continue
        for k in range(received_after(starts, received, customer, after[i]), starts[customer + 1]):
            if received[k] > known_by[i]:
                break
            if (bits[k] >> bit) & 1 and after[i] < at[k] <= up_to[i]:
                count[i] += 1
                if not np.isnan(values[k]):
                    total[i] += values[k]
                first[i] = min(first[i], at[k])


def within(
    marked: Marked,
    customers: Ints,
    *,
    after: Ints,
    up_to: Ints,
    bit: int,
    known_by: int | Ints,
    value: int = -1,
) -> tuple[Ints, Floats, Ints]:
    """Events with a bit in `(after, up_to]` of each row's customer.

    Args:
        marked: the marked events.
        customers: place of each row's customer in the marked events, -1 where it has none.
        after, up_to: window of each row, UTC microseconds.
        bit: which condition.
        value: which value to add up, -1 for none.
        known_by: only events received by then count, one moment for all or one per row; the end of a replay, that what
            came to be known later makes no difference.

    Returns:
        Per row: how many, the sum of their values (missing values add nothing), and the moment of the first (NEVER
        where there is none).
    """
    rows = len(customers)
    count, total, first = np.zeros(rows, np.int64), np.zeros(rows, np.float64), np.zeros(rows, np.int64)
    values = marked.values[value] if value >= 0 else np.full(len(marked), np.nan)
    late = np.ascontiguousarray(np.broadcast_to(np.asarray(known_by, dtype=np.int64), rows))
    _within(
        marked.starts,
        marked.at,
        marked.received,
        marked.bits,
        values,
        np.ascontiguousarray(customers),
        np.ascontiguousarray(after),
        np.ascontiguousarray(up_to),
        late,
        bit,
        count,
        total,
        first,
    )
    return count, total, first
