"""When a mail goes: when a postponed one is tried again, when it is too late, and that it is not in quiet hours."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from toolkit.sending.batch.mails import Numbers
from toolkit.sending.batch.parcel import NEVER, Parcel
from toolkit.sending.clock import DAY, Clock, micros
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.protocol import Receipt, Transport
from toolkit.sending.sender.quiet import QuietHours
from toolkit.sending.states import QUIET_HOURS, State

__all__ = ["TOO_LATE", "Ends", "Timely"]

TOO_LATE = "too_late"
_HELD_TOO_LONG = "quiet_expired"
_HELD_AT_MOST = 3 * DAY
_MINUTE = 60_000_000
_BACK_OFF = (1, 5, 15, 60, 240)  # minutes before a postponed mail is tried again


def _next_try(row: Delivery, now: int) -> int:
    """When a mail is to be tried again that was postponed: later each time, and not all of them at one moment."""
    tried = row.attempts + (row.state is State.LEASED)  # one refused before its body is not counted yet
    minutes = _BACK_OFF[min(max(tried, 1), len(_BACK_OFF)) - 1]
    return now + int(minutes * _MINUTE * random.uniform(1.0, 1.25))  # noqa: S311 - no secret


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

    def last_try(self, number: int) -> int:
        """The latest moment to try a mail once more: a minute before its offer is over."""
        return int(self._ends[number]) - self._now() + micros(self._clock()) - _MINUTE

    def over(self) -> list[int]:
        """The numbers of the mails for which it is too late by now, without those that an earlier call gave."""
        now, before = self._now(), self._told
        self._told = max(now, before)
        return [] if now < self._first else np.flatnonzero((self._ends > before) & (self._ends <= now)).tolist()


class Timely:
    """Which leased mails may leave now; the others are written down as too late, or as held by quiet hours.

    Args:
        parcel: the mails.
        way: the way out.
        ledger: where they are written down.
        run_id: their run.
        numbers: decision to number.
    """

    def __init__(self, parcel: Parcel, way: Transport, ledger: Ledger, run_id: str, numbers: Numbers) -> None:
        self._parcel = parcel
        self._ledger = ledger
        self._run = run_id
        self._numbers = numbers
        self._ends = Ends(parcel, way, ledger.clock)
        self.quiet = QuietHours(parcel, way, ledger.clock)

    def again_at(self, results: Iterable[tuple[Delivery, Receipt]]) -> tuple[dict[str, int], set[str]]:
        """When to try each mail again that was postponed, decision to microseconds since 1970; and those of them for
        which it is too late by then, since not even a minute is left before their offers are over."""
        now = micros(self._ledger.clock())
        again = {row.decision_id: _next_try(row, now) for row, receipt in results if receipt.state is State.DEFERRED}
        last = {name: self._ends.last_try(self._numbers[name]) for name in again}
        late = {name for name, moment in again.items() if moment > last[name] <= now}
        return {name: moment if name in late else min(moment, last[name]) for name, moment in again.items()}, late

    def of(self, rows: Sequence[Delivery], *, owner: str, beat: Callable[[], None]) -> Sequence[Delivery]:
        """Those of the mails that this owner has leased.

        With the others goes whatever else waits and is in the same case: it would only take the turns of others.

        Args:
            rows: leased mails.
            owner: who has them.
            beat: called now and then where there is much to write down.
        """
        if self._ends.any_over():
            late = {row.decision_id for row in rows if self._ends.is_over(self._numbers[row.decision_id])}
            if late:
                names = late.union(self._parcel.stub(number).decision_id for number in self._ends.over())
                self._ledger.stop(self._run, dict.fromkeys(names, TOO_LATE), owner=owner)
                rows = [row for row in rows if row.decision_id not in late]
        if not self.quiet.any_now():
            return rows
        numbers = (self._numbers[row.decision_id] for row in rows)
        held = {number: until for number in numbers if (until := self.quiet.until(number)) is not None}
        if not held:
            return rows
        expired: dict[str, str] = {}
        self._ledger.postpone(self._run, self._held(held, expired, beat), reason=QUIET_HOURS, owner=owner)
        self._ledger.stop(self._run, expired, owner=owner)
        return [row for row in rows if self._numbers[row.decision_id] not in held]

    def _held(
        self, held: Mapping[int, int], expired: dict[str, str], beat: Callable[[], None]
    ) -> Iterator[tuple[str, int]]:
        """Decision and moment of each mail that is held; those held for too long are told to `expired`."""
        others = ((number, self.quiet.until(number)) for number in self.quiet.newly() if number not in held)
        for number, until in chain(held.items(), others):
            if until is None:  # the morning came in the meantime
                continue
            stub = self._parcel.stub(number)
            if until - stub.decided_at > _HELD_AT_MOST:
                expired[stub.decision_id] = _HELD_TOO_LONG
            else:
                yield stub.decision_id, until
            beat()
