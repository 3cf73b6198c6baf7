"""Quiet hours as mails leave: one that would leave in them waits for their end (rule R15).

The engine asks them as it decides. Until the mail leaves it may have waited for an approval, a limit, a pause or a
server, and by then it may be night where its customer is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import UTC, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from toolkit.engine import uniform
from toolkit.scenario.models import Program, Quiet
from toolkit.sending.batch.parcel import Parcel, Stub
from toolkit.sending.clock import DAY, Clock, from_micros, micros
from toolkit.sending.protocol import Transport

__all__ = ["QuietHours", "quiet_hours_of", "zone_of"]

_MINUTE = 60_000_000
_ANY_TIME = -1  # of a mail that may leave at any hour


class QuietHours:
    """The quiet hours of a parcel's mails, each in the time zone of its customer as it was when the mail was prepared.

    Transactional mail knows none (rule R19). A rehearsal of another day than it was prepared for asks for none: at the
    moment it was prepared for, the engine asked.

    Args:
        parcel: the mails, told one after the other by `add`.
        way: the way out.
        clock: tells the time.
    """

    def __init__(self, parcel: Parcel, way: Transport, clock: Clock) -> None:
        self._parcel = parcel
        self._clock = clock
        self._quiet = quiet_hours_of(parcel.rules)
        if way.rehearsal and abs(micros(clock()) - micros(parcel.now)) > DAY:
            self._quiet = {}
        self._codes = array("i")
        self._kinds: dict[tuple[Quiet, ZoneInfo], int] = {}
        self._ends: dict[int, int] = {}  # of those kinds whose quiet hours it is in this minute
        self._minute = -1
        self._held: dict[int, int] = {}  # kind to the end of the quiet hours for which `newly` gave its mails

    def add(self, stub: Stub) -> None:
        """The parcel's next mail."""
        if self._quiet:
            quiet = self._quiet.get(stub.scenario)
            kind = None if quiet is None else (quiet, zone_of(stub.timezone, self._parcel.rules.policies.timezone))
            self._codes.append(_ANY_TIME if kind is None else self._kinds.setdefault(kind, len(self._kinds)))

    def any_now(self) -> bool:
        """Whether it is quiet hours for anybody by now."""
        return bool(self._kinds and self._now())

    def until(self, number: int) -> int | None:
        """When this mail may leave, in microseconds since 1970, where that is later than now."""
        end = self._now().get(self._codes[number]) if self._kinds else None
        return None if end is None else end + self._spread(self._parcel.stub(number))

    def newly(self) -> Iterator[int]:
        """The numbers of all mails whose quiet hours have begun since this was asked last."""
        begun = {kind: end for kind, end in self._now().items() if self._held.get(kind) != end}
        self._held |= begun
        codes = np.frombuffer(self._codes, dtype=np.int32)
        yield from np.flatnonzero(np.isin(codes, list(begun))).tolist()

    def _now(self) -> dict[int, int]:
        now = micros(self._clock())
        if now // _MINUTE != self._minute:  # quiet hours begin and end with a minute
            self._minute = now // _MINUTE
            ends = {code: _end_of(quiet, zone, now) for (quiet, zone), code in self._kinds.items()}
            self._ends = {code: end for code, end in ends.items() if end is not None}
        return self._ends

    def _spread(self, stub: Stub) -> int:
        spread = self._quiet[stub.scenario].spread.elapsed
        if not spread:
            return 0
        (share,) = uniform("spread", [f"{stub.customer_id}:{stub.scenario}:{stub.step}"])
        return int(share * spread)


def quiet_hours_of(program: Program) -> dict[str, Quiet]:
    """Scenario to its quiet hours, its own or else the program's; only marketing scenarios have any (rule R19)."""
    return {one.scenario: quiet for one in program.scenarios if (quiet := program.quiet_of(one)) is not None}


def _end_of(quiet: Quiet, zone: ZoneInfo, now: int) -> int | None:
    """When the quiet hours end in which a moment is (both in microseconds since 1970); None where it is in none.

    >>> night = Quiet.model_validate({"from": "22:00", "to": "08:00"})
    >>> from datetime import datetime
    >>> late = micros(datetime(2026, 3, 28, 22, 30, tzinfo=UTC))  # half past eleven in Paris, of a night of nine hours
    >>> (_end_of(night, ZoneInfo("Europe/Paris"), late) - late) / 3_600_000_000
    7.5
    """
    local = from_micros(now).astimezone(zone).replace(tzinfo=None, fold=0)
    clock = local.hour * 60 + local.minute
    start, stop = quiet.from_.minutes, quiet.to.minutes
    if not (start <= clock < stop if start < stop else (clock >= start or clock < stop)):
        return None
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    wall = midnight + timedelta(minutes=stop, days=1 if clock >= stop else 0)
    end = micros(wall.replace(tzinfo=zone).astimezone(UTC))
    # Not ahead where the clock was put back over the end of the quiet hours.
    return end if end > now else now + (wall - local) // timedelta(microseconds=1)


@lru_cache(1_000)
def zone_of(own: object, shared: str) -> ZoneInfo:
    """The customer's time zone, else the program's, else UTC (rule R8)."""
    for name in (own, shared):
        try:
            return ZoneInfo(str(name))
        except (KeyError, ValueError, OSError):  # no such zone, or not the name of one
            continue
    return ZoneInfo("UTC")
