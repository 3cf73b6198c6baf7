"""A period of a replay: what was decided in it, and how journeys stood at its end. Exact."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.engine import layout as m
from toolkit.engine.doors import micros_of, moment_of
from toolkit.engine.layout import Ints
from toolkit.engine.runners.local import Walked
from toolkit.errors import InputError

__all__ = ["Period", "period_of"]

_MICROSECOND = pd.Timedelta(1, unit="us")


@dataclass(frozen=True, slots=True)
class Period:
    """Moments of a replay that belong together: `since` is the first of them, `until` the last."""

    since: pd.Timestamp
    until: pd.Timestamp

    @property
    def note(self) -> str:
        """What a reader of its numbers must know."""
        return (
            f"a period of the replay: mails decided {self.words}, and the journeys under way "
            "then, also those that began earlier; one that ended later counts as open"
        )

    @property
    def words(self) -> str:
        """When it is."""
        since, until = (f"{moment:%Y-%m-%d %H:%M %Z}" for moment in (self.since, self.until + _MICROSECOND))
        return f"from {since} on and before {until}"

    @property
    def ends(self) -> tuple[int, int]:
        """The first and the last moment in UTC microseconds."""
        return micros_of(self.since), micros_of(self.until)

    def cut(self, whole: Walked) -> Walked:
        """Of what was decided, the decisions of this period, and the journeys under way in it as they stood at its end.

        Up to a moment nothing depends on what came later (rule R21): so that is what a replay up to the end of the
        period would tell of them.
        """
        first, last = self.ends
        journeys, decisions = whole.journeys, whole.decisions
        kept = self.under_way(journeys)
        place = np.full(len(journeys), -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        decisions = decisions[(decisions[:, m.D_AT] >= first) & (decisions[:, m.D_AT] <= last)]
        decisions[:, m.D_JOURNEY] = place[decisions[:, m.D_JOURNEY]]
        journeys = journeys[kept]
        later = journeys[:, m.J_ENDED] > last
        journeys[later, m.J_ENDED] = m.NONE
        journeys[later, m.J_ENDED_BY] = m.END_OPEN
        sent = decisions[decisions[:, m.D_STATUS] == m.STATUS_SEND, m.D_JOURNEY]
        journeys[:, m.J_SENDS] = np.bincount(sent, minlength=len(journeys))
        return Walked((journeys, decisions))

    def under_way(self, journeys: Ints) -> Ints:
        """The places of the journeys that were under way in this period."""
        first, last = self.ends
        is_open = journeys[:, m.J_ENDED_BY] == m.END_OPEN
        return np.flatnonzero((journeys[:, m.J_ENTERED] <= last) & (is_open | (journeys[:, m.J_ENDED] >= first)))

    def began(self, journeys: Ints) -> npt.NDArray[np.bool_]:
        """Which journeys began in this period."""
        first, last = self.ends
        return (journeys[:, m.J_ENTERED] >= first) & (journeys[:, m.J_ENTERED] <= last)

    def up_to(self, decisions: Ints) -> Ints:
        """Of all decisions those up to the end of this period."""
        chosen: Ints = decisions[decisions[:, m.D_AT] <= self.ends[1]]
        return chosen

    def told(self, whole: Walked) -> Walked:
        """All that was decided, but reasons only of the mails of this period: what came before may be why."""
        first, last = self.ends
        decisions = whole.decisions.copy()
        decisions[(decisions[:, m.D_AT] < first) | (decisions[:, m.D_AT] > last), m.D_REASON] = -1
        return Walked((whole.journeys, decisions))

    def rows(self, moments: pd.Series) -> pd.Series:
        """Which of some moments are in this period."""
        return moments.between(self.since, self.until)


def period_of(
    since: datetime | str | None,
    before: datetime | str | None,
    *,
    span: tuple[pd.Timestamp | None, pd.Timestamp],
) -> Period:
    """A period of a replay.

    Args:
        since, before: its first moment, and the one that ends it and is no part of it; None for the ends of the replay.
        span: the first moment of the replay's log, and the last moment decided.

    Raises:
        InputError: no moment, or one without a time zone; the period ends before it begins, or holds nothing of the
            replay.
    """
    begin = None if since is None else moment_of(since, name="since")
    end = None if before is None else moment_of(before, name="before")
    if begin is not None and end is not None and begin >= end:
        raise InputError(f"between: since {begin} is not before {end}; allowed: since, and a later moment as before")
    first, last = span
    if first is None:  # a log without an event
        last = last if end is None else end - _MICROSECOND
        first = last if begin is None else begin
        return Period(first, max(first, last.tz_convert(first.tz)))
    if (begin is not None and begin > last) or (end is not None and end <= first):
        asked = " and ".join(
            text
            for text, is_given in ((f"since {begin}", begin is not None), (f"before {end}", end is not None))
            if is_given
        )
        raise InputError(f"between: {asked}: nothing was decided then; the replay goes from {first} to {last}")
    first = first if begin is None else max(begin, first.tz_convert(begin.tz))
    last = last if end is None else min(end - _MICROSECOND, last.tz_convert(end.tz))
    return Period(first, last.tz_convert(first.tz))
