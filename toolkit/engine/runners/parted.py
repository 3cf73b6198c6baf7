"""The reports of a replay whose customers were decided in parts: sums of what was counted in each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, Protocol

import pandas as pd

from toolkit.engine.compile import Compiled
from toolkit.engine.load import Load, load_of
from toolkit.engine.overlap import Overlap, overlap_of
from toolkit.engine.run import Counted
from toolkit.engine.summary import Summary, summarise
from toolkit.scenario.models import Program

__all__ = ["Parted"]


class _Part(Protocol):
    """What is kept of a part."""

    @property
    def counted(self) -> Counted: ...
    @property
    def unknown_zones(self) -> dict[str, int]: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def seen(self) -> int: ...


class Parted:
    """Answers that need no journey and no decision, wherever the parts were decided."""

    program: Program
    log: Any
    until: pd.Timestamp
    compiled: Compiled
    notes: tuple[str, ...]
    _parts: Sequence[_Part]

    @property
    def span(self) -> tuple[pd.Timestamp | None, pd.Timestamp]:
        """The first moment of the log (None when it is empty), and the last moment decided."""
        return (None if self.log.span is None else self.log.span[0]), self.until

    @property
    def unknown_zones(self) -> dict[str, int]:
        """Customers by time zone that nobody knows."""
        total: dict[str, int] = {}
        for part in self._parts:
            for name, count in part.unknown_zones.items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def duplicates(self) -> int:
        """Exact repetitions of events that counted once."""
        return sum(part.duplicates for part in self._parts)

    @property
    def seen(self) -> int:
        """The bits of all marked events together."""
        return reduce(or_, (part.seen for part in self._parts), 0)

    def summary(self) -> Summary:
        """Counts by scenario and arm: journeys, mails, why not, how journeys ended."""
        each = [part.counted.journeys for part in self._parts]
        return summarise(each, self.compiled, span=self.span, notes=self.notes)

    def load(self, *, largest_order: float | None = None) -> Load:
        """Mails by hour and day, the peak, and the offers given with the most they can cost; as in `Run`."""
        return load_of(
            [part.counted.mails for part in self._parts],
            program=self.program,
            compiled=self.compiled,
            span=self.span,
            largest_order=largest_order,
        )

    def overlap(self) -> Overlap:
        """How the scenarios meet in the same people; as in `Run`."""
        names = [scenario.scenario for scenario in self.compiled.scenarios]
        return overlap_of([part.counted.meetings for part in self._parts], names)
