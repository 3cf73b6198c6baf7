"""The reports of a replay: sums of what was counted in it, as a whole or in each of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.engine.compile import Compiled
from toolkit.engine.load import Load, MailCounts, load_of
from toolkit.engine.overlap import Meetings, Overlap, overlap_of
from toolkit.engine.period import Period
from toolkit.engine.summary import JourneyCounts, Summary, summarise
from toolkit.engine.unmet import nobody_enters
from toolkit.scenario.models import Program

__all__ = ["Counted", "Reports"]


@dataclass(frozen=True, slots=True)
class Counted:
    """What reports of a run add up."""

    journeys: JourneyCounts
    mails: MailCounts
    meetings: Meetings


class Reports:
    """Answers that need no journey and no decision, wherever they were decided."""

    program: Program
    log: Any
    until: pd.Timestamp
    compiled: Compiled
    notes: tuple[str, ...]
    period: Period | None = None

    @property
    def _counts(self) -> Sequence[Counted]:
        """What was counted: once, or in each part."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    @property
    def span(self) -> tuple[pd.Timestamp | None, pd.Timestamp]:
        """The first moment of the log (None when it is empty) or of the period, and the last moment decided."""
        if self.period is not None:
            return self.period.since, self.period.until
        return (None if self.log.span is None else self.log.span[0]), self.until

    @property
    def nobody_enters(self) -> tuple[str, ...]:
        """One sentence for each scenario whose trigger is an event that the log has not, or has not seen repeated."""
        scenarios = self.compiled.scenarios
        began = np.sum([one.journeys.by_scenario for one in self._counts], axis=0)
        idle = [] if self.period else [one.scenario for one, count in zip(scenarios, began, strict=True) if not count]
        return nobody_enters(scenarios, self.log.event_names, without=idle)

    def summary(self) -> Summary:
        """Counts by scenario and arm: journeys, mails, why not, how journeys ended."""
        return summarise(
            [one.journeys for one in self._counts],
            self.compiled,
            span=self.span,
            notes=self.notes,
            nobody=self.nobody_enters,
        )

    def load(self, *, largest_order: float | None = None) -> Load:
        """Mails by hour and day, the peak, and the offers given with the most they can cost.

        Args:
            largest_order: an amount in the currency of the program; a percentage has no ceiling of its own, and is
                taken from it.

        Returns:
            The load; print it, `.plot()` it, or take its tables.

        Raises:
            InputError: `largest_order` is not above 0.
        """
        return load_of(
            [one.mails for one in self._counts],
            program=self.program,
            compiled=self.compiled,
            span=self.span,
            largest_order=largest_order,
        )

    def overlap(self) -> Overlap:
        """How the scenarios meet in the same people: who gets mails of both, limits reached, mails a person a week."""
        names = [scenario.scenario for scenario in self.compiled.scenarios]
        return overlap_of([one.meetings for one in self._counts], names)
