"""What a purchase looks like that a mail brings about: like one of the log, picked from all of them.

A walk sees of it what conditions say and its numbers, and nothing of whose it was. So purchases alike in that are one
kind, kinds stand in the order of what they are, and the same draw picks the same purchase wherever the log lies and
however its customers are parted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from toolkit.engine.layout import Floats, Ints, Past

__all__ = ["Donors", "all_donors", "donors_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Donors:
    """Kinds of purchases in the order of their numbers and bits.

    bits, values: of each kind, as in `Past`. counts: how many purchases are of it. value: which of the numbers is the
    price. places: an event of the log that is of each kind; None where the purchases are those of a larger log.
    """

    bits: Ints
    values: Floats
    counts: Ints
    value: int
    places: Ints | None

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def usual_price(self) -> float:
        """The mean price; 0 without any purchase."""
        return float(self.values[self.value] @ self.counts / self.counts.sum()) if len(self.counts) else 0.0

    def log_of(self, past: Past) -> tuple[Past, Ints]:
        """The log from which purchases are copied, and the places in it that a draw picks from, evenly."""
        if self.places is not None:
            return past, np.repeat(self.places, self.counts)
        first = len(past.bits)
        more = past._replace(
            bits=np.concatenate([past.bits, self.bits]), values=np.concatenate([past.values, self.values], axis=1)
        )
        return more, np.repeat(first + np.arange(len(self.bits)), self.counts)


def donors_of(bits: Ints, values: Floats, *, purchase_bit: int, value: int) -> Donors:
    """The purchases of a log that have a price.

    Args:
        bits, values: of every event, as in `Past`.
        purchase_bit: which events are purchases.
        value: which of the numbers is their price; -1 where the log has none.
    """
    chosen = np.zeros(0, dtype=np.int64)
    if value >= 0:
        chosen = np.flatnonzero(((bits >> purchase_bit) & 1 == 1) & (values[value] > 0))
    return _kinds(bits[chosen], values[:, chosen], np.ones(len(chosen), dtype=np.int64), value, chosen)


def all_donors(parts: Sequence[Donors]) -> Donors:
    """The purchases of all parts of a log, of which there is at least one."""
    bits, counts = (np.concatenate([getattr(part, name) for part in parts]) for name in ("bits", "counts"))
    values = np.concatenate([part.values for part in parts], axis=1)
    return replace(_kinds(bits, values, counts, parts[0].value, np.zeros_like(bits)), places=None)


def _kinds(bits: Ints, values: Floats, counts: Ints, value: int, places: Ints) -> Donors:
    """Purchases sorted, the price first, and those alike taken together."""
    values = np.where(np.isnan(values), np.nan, values) + 0.0  # one kind of NaN and of zero
    rest = [row for row in range(len(values)) if row != value]
    columns = [values[row].view(np.int64) for row in ([value] if value >= 0 else []) + rest] + [bits]
    order = np.lexsort(columns[::-1])
    is_first: npt.NDArray[np.bool_] = np.zeros(len(order), dtype=np.bool_)
    is_first[:1] = True
    for column in columns:
        is_first[1:] |= column[order[1:]] != column[order[:-1]]
    first = np.flatnonzero(is_first)
    total = np.add.reduceat(counts[order], first) if len(first) else counts
    kept = order[first]
    return Donors(bits[kept], values[:, kept], total, value, places[kept])
