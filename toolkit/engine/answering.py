"""Memory for a walk with answers: a customer's own copy of their events, and the tables to fill in."""

from __future__ import annotations

import numpy as np

from toolkit.engine import answers as a
from toolkit.engine.answers import Answers
from toolkit.engine.compiled import compiled
from toolkit.engine.layout import Bytes, Ints, Past

__all__ = ["blank", "customer_keys", "with_room"]


def blank(past: Past) -> Answers:
    """Answers in which nobody answers and nothing is counted, to be filled in."""
    nothing = np.zeros(1, dtype=np.int64)
    table = np.zeros((1, 1), dtype=np.int64)
    floats = np.zeros((1, 1), dtype=np.float64)
    return Answers(
        seed=0,
        record=0,
        kept=0,
        purchase_bit=0,
        value=0,
        leave_bits=0,
        leave_fact=0,
        begin=0,
        cut=0,
        log=past,
        chosen=nothing,
        keys=nothing,
        donors=nothing,
        rates=floats,
        ways=table,
        curves=np.zeros((1, 2, 1), dtype=np.float64),
        groups=nothing,
        by_journey=nothing,
        rows=nothing,
        windows=nothing,
        goals=table,
        origin=nothing,
        used=nothing,
        own=table,
        first=nothing,
        totals=table,
        people=table,
    )


def with_room(past: Past, answers: Answers, room: int) -> tuple[Past, Answers]:
    """One customer's copy of their events with room for so many, answers included; the counts so far stay."""

    def ints(*shape: int) -> Ints:
        return np.full(shape, -1, dtype=np.int64)

    own = past._replace(
        at=ints(room),
        received=ints(room),
        bits=ints(room),
        fact=ints(room),
        keys=ints(len(past.keys), room),
        values=np.full((len(past.values), room), np.nan),
        gaps=ints(len(past.gaps), room),
        key_places=np.zeros((len(past.key_places), room), dtype=np.int64),
        journey_shares=np.full((len(past.journey_shares), room), np.nan),
    )
    return own, answers._replace(
        origin=ints(room), used=ints(room), own=np.zeros((len(answers.totals), len(a.METRICS)), dtype=np.int64)
    )


@compiled
def _keys(starts: Ints, names: Bytes, out: Ints) -> None:
    for i in range(len(out)):
        key, word, filled = starts[i + 1] - starts[i], 0, 0
        for k in range(starts[i], starts[i + 1]):
            word = (word << 8) | int(names[k])
            filled += 1
            if filled == 7:
                key, word, filled = a.mixed(key, word), 0, 0
        out[i] = a.mixed(key, word)


def customer_keys(starts: Ints, names: Bytes) -> Ints:
    """A number for each customer's name, the same in whatever log the customer stands.

    >>> both = np.frombuffer(b"anabo", dtype=np.uint8)
    >>> alone = np.frombuffer(b"bo", dtype=np.uint8)
    >>> keys = customer_keys(np.array([0, 3, 5]), both)
    >>> bool(keys[1] == customer_keys(np.array([0, 2]), alone)[0] != keys[0])
    True
    """
    out = np.empty(len(starts) - 1, dtype=np.int64)
    _keys(starts, names, out)
    return out
