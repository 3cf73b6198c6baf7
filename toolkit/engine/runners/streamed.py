"""A replay of a log larger than memory: range of customers after range of customers, with the same result.

Customers decide nothing for each other but where coupons run out, so a log can be replayed in ranges of customers. What
reports add up is kept of each range; journeys and decisions are made again when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from toolkit.bars import Bar
from toolkit.engine.compile import Compiled
from toolkit.engine.difference import Difference, joined
from toolkit.engine.instructions import Assumption
from toolkit.engine.layout import NEVER
from toolkit.engine.ordered import in_order
from toolkit.engine.period import Period
from toolkit.engine.prepared import Prepared, prepare_log
from toolkit.engine.reports import Counted
from toolkit.engine.run import Run, counted
from toolkit.engine.runners.local import Takers, next_emptied, run_once, takers_of
from toolkit.engine.runners.parted import Parted
from toolkit.engine.trace import Trace
from toolkit.errors import InputError, NotSupportedError, shown
from toolkit.events import EventLog
from toolkit.events.ranges import Range
from toolkit.scenario.models import Program

__all__ = ["StreamedRun", "replay_in_ranges"]

_ARRAYS = ("walked", "marked", "prepared", "all_journey_ids")


@dataclass(frozen=True, slots=True)
class _Part:
    """What is kept of a range: counts for reports, who took coupons, and what is to be noted."""

    counted: Counted
    takers: Takers
    unknown_zones: dict[str, int]
    duplicates: int
    seen: int


class StreamedRun(Parted, Run):
    """A replay whose customers were decided in ranges; exact, and the same as the replay of all at once.

    `summary`, `load`, `overlap` and `trace` answer at once. `journeys`, `decisions`, `digest` and `diff` read the log
    again, range by range; the two frames are as large as what they hold. `parts()` gives one `Run` for each range.
    """

    def __init__(
        self,
        *,
        program: Program,
        log: EventLog,
        until: pd.Timestamp,
        compiled: Compiled,
        ranges: tuple[Range, ...],
        assume: Assumption | None,
        progress: bool,
    ) -> None:
        self.program, self.log, self.until, self.assume = program, log, until, assume
        self.compiled, self.ranges, self.notes = compiled, ranges, ()
        self._whole = None
        self._parts = self._walk_all(progress)

    def __getattr__(self, name: str) -> Any:
        if name in _ARRAYS:
            raise NotSupportedError(
                "a replay in ranges of customers does not hold all journeys at once; use .parts(), one Run for each "
                f"of its {len(self.ranges)} ranges, or replay(..., events_at_once=None) where memory suffices for all"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _walk_all(self, progress: bool) -> list[_Part]:
        parts: list[_Part | None] = [None] * len(self.ranges)
        while True:
            again = [place for place, part in enumerate(parts) if part is None]
            for place in Bar(again, desc="replay", unit=" ranges", disable=not progress, delay=0.5):
                parts[place] = self._counted(self._part(self.ranges[place], place))
            done = [part for part in parts if part is not None]
            plan = next_emptied(self.compiled, self.compiled.plan, [part.takers for part in done])
            if plan is None:
                return done
            # Up to the moment a pool runs out all is decided; ranges in which nobody comes to it later stay.
            (pool,) = (self.compiled.plan.pool_until != plan.pool_until).nonzero()[0].tolist()
            until = plan.pool_until[pool]
            for place, part in enumerate(done):
                if part.takers.last[pool] >= until:
                    parts[place] = None
            self.compiled = replace(self.compiled, plan=plan)

    def _counted(self, run: Run) -> _Part:
        return _Part(
            counted(run),
            takers_of(self.compiled, run.walked, run.rank),
            dict(run.prepared.unknown_zones),
            run.marked.duplicates,
            run.prepared.seen,
        )

    def within_period(self, period: Period) -> Run:
        """This run, of a period alone: the log is read again, range by range."""
        cut = copy(self)
        for made in ("journeys", "decisions", "digest"):
            cut.__dict__.pop(made, None)
        cut._whole, cut.period, cut.until = self, period, period.until.tz_convert("UTC")
        cut.notes = (period.note, *self.notes)
        cut._parts = [cut._counted(run) for run in cut.parts()]
        return cut

    def _part(self, chosen: Range, place: int) -> Run:
        log = self.log.within(chosen, part=place)
        prepared: Prepared = prepare_log(log, self.compiled, zone=self.program.policies.timezone)
        past = prepared.past(log, self.compiled, self.compiled.plan.until)
        run = Run(
            program=self.program,
            log=log,
            until=self.whole.until,
            compiled=self.compiled,
            prepared=prepared,
            walked=run_once(self.compiled.plan, past),
            notes=(),
            assume=self.assume,
        )
        return run if self.period is None else run.within_period(self.period)

    def parts(self, *, progress: bool = False) -> Iterator[Run]:
        """One run for each range of customers, in the order of customer_id; the log is read again."""
        for place, chosen in enumerate(
            Bar(self.ranges, desc="ranges", unit=" ranges", disable=not progress, delay=0.5)
        ):
            yield self._part(chosen, place)

    @cached_property
    def journeys(self) -> pd.DataFrame:
        """One row per journey, in the order of entered_at and journey_id (`tables.JOURNEYS`)."""
        frame = pd.concat([part.journeys for part in self.parts()], ignore_index=True)
        return in_order(frame, "entered_at", "journey_id")

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row per decision, in the order of at and decision_id (`tables.DECISIONS`)."""
        frame = pd.concat([part.decisions for part in self.parts()], ignore_index=True)
        return in_order(frame, "at", "decision_id")

    def diff(self, other: Run) -> Difference:
        """Who gains, loses or moves a mail in another run; range by range where both have the same ranges."""
        if isinstance(other, StreamedRun) and other.ranges == self.ranges:
            return joined(mine.diff(theirs) for mine, theirs in zip(self.parts(), other.parts(), strict=True))
        return super().diff(other)

    def trace(self, customer_id: object) -> Trace:
        """One customer's timeline; only their part of the log is read."""
        name = str(customer_id)
        place = next(place for place, chosen in enumerate(self.ranges) if name in chosen)
        # Coupons go by turns within a range, so that its people must all be there.
        chosen = self.ranges[place] if self._runs_out else Range.of(name)
        return self._part(chosen, place).trace(name)

    @property
    def _runs_out(self) -> bool:
        return bool((self.compiled.plan.pool_until != NEVER).any())

    def trigger_properties(self, journey_ids: Any = None) -> pd.DataFrame:
        """What set each journey off; as in `Run`, range by range."""
        wanted = None if journey_ids is None else pd.Index(journey_ids)
        found = []
        for part in self.parts():
            mine = part.journeys["journey_id"]
            found.append(part.trigger_properties(mine if wanted is None else mine[mine.isin(wanted)]))
        frame = pd.concat(found)
        if wanted is None:
            return frame
        unknown = wanted.difference(frame.index)
        if len(unknown):
            raise InputError(f"{len(unknown)} journeys are not of this run, the first is {shown(unknown[0])}")
        chosen: pd.DataFrame = frame.loc[wanted]
        return chosen


def replay_in_ranges(
    program: Program,
    log: EventLog,
    compiled: Compiled,
    *,
    until: pd.Timestamp,
    assume: Assumption | None,
    events_at_once: int,
    progress: bool,
) -> StreamedRun:
    """Replay a log in ranges of customers.

    Args:
        program, log, compiled, until, assume: as in `Run`.
        events_at_once: about how many events of the log are held in memory at a time.
        progress: show a progress bar where it takes longer than a moment.

    Returns:
        The run; its notes are still to be written.
    """
    return StreamedRun(
        program=program,
        log=log,
        until=until,
        compiled=compiled,
        ranges=tuple(log.ranges(events=events_at_once)),
        assume=assume,
        progress=progress,
    )
