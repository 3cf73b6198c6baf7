"""When a mail goes: when a postponed one is tried again, and when it is too late, since its offer is over."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np

from toolkit.sending.batch.parcel import NEVER, Parcel
from toolkit.sending.clock import DAY, Clock, micros
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.protocol import Receipt, Transport
from toolkit.sending.states import State

__all__ = ["TOO_LATE", "Ends", "again_at"]

TOO_LATE = "too_late"
_BACK_OFF = (1, 5, 15, 60, 240)  # minutes before a postponed mail is tried again


def again_at(results: Iterable[tuple[Delivery, Receipt]], now: int) -> dict[str, int]:
    """When to try each mail again that was postponed: decision to moment, both in microseconds since 1970.

    Later each time, and not all of them at one moment.
    """
    again = {}
    for row, receipt in results:
        if receipt.state is State.DEFERRED:
            minutes = _BACK_OFF[min(max(row.attempts, 1), len(_BACK_OFF)) - 1]
            spread = random.uniform(1.0, 1.25)  # noqa: S311 - no secret
            again[receipt.decision_id] = now + int(minutes * 60_000_000 * spread)
    return again


class Ends:
    """The ends of the offers of a parcel's mails: at that moment it is too late for the mail.

    Args:
        parcel: the mails.
        way: the way out. A rehearsal of another day goes by the moment that its batch was prepared for.
        clock: tells the time.
    """

    def __init__(self, parcel: Parcel, way: Transport, clock: Clock) -> None:
        self._ends = np.array(parcel.ends, dtype=np.int64)
        self._first = int(self._ends.min(initial=NEVER))
        self._told = self._first - 1
        self._prepared = micros(parcel.now)
        self._rehearsal = way.rehearsal
        self._clock = clock

    def _now(self) -> int:
        now = micros(self._clock())
        return self._prepared if self._rehearsal and abs(now - self._prepared) > DAY else now

    def any_over(self) -> bool:
        """Whether it is too late for some mail by now."""
        return self._first < NEVER and self._now() >= self._first

    def is_over(self, number: int) -> bool:
        """Whether it is too late for this mail by now."""
        return int(self._ends[number]) <= self._now()

    def over(self) -> list[int]:
        """The numbers of the mails for which it is too late by now, without those that an earlier call gave."""
        now, before = self._now(), self._told
        self._told = max(now, before)
        return [] if now < self._first else np.flatnonzero((self._ends > before) & (self._ends <= now)).tolist()
