"""How soon: time until something happens, when not everybody has been followed to the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.arrow import TableLike
from toolkit.errors import MetricError, shown
from toolkit.readable import counted
from toolkit.stats.arguments import check_column
from toolkit.stats.comparison import Comparison
from toolkit.stats.doors import check_once, frame_at
from toolkit.stats.means import compare_estimates, compare_resampled
from toolkit.stats.metric import Metric, Setting, join
from toolkit.stats.moments import Term, numbers
from toolkit.stats.outcomes import Outcomes, read, read_arms
from toolkit.stats.proportions import Share
from toolkit.stats.rates import compare_shares
from toolkit.stats.restricted import restricted_means_test, shuffles_wanted
from toolkit.stats.survival import Followed, Survival, kaplan_meier, log_rank
from toolkit.stats.welch import Estimate
from toolkit.stats.windows import days_of, window_text

__all__ = ["TimeTo", "survival_curves"]

_FEW = 5  # to whom it happened in an arm


@dataclass(frozen=True)
class TimeTo(Metric):
    """Time until something happens, reactivation for example: first whether, then how soon.

    Two comparisons: the share to whom it happened within the window, refused where follow-up is shorter than the
    window; and the mean time until it happens, counted to the window (restricted mean), which needs no full
    follow-up, with the log-rank test in its note.

    Attributes:
        column: when it happened: a time (with `since`), or days; missing where it did not happen.
        within: the window, for example `28d`.
        since: for times, the column of the moment from which is counted, for example `entered_at`.
        until: how long each unit was followed: a column (of times, or of days), or one moment for all; everybody is
            taken to have been followed for the whole window unless given.

    Where the split is beyond 1:3, or it happened to fewer than 200, a studentised permutation test compares the mean
    times in place of the normal approximation.

    Reference: Royston & Parmar (2013), BMC Medical Research Methodology 13:152; Ditzhaus, Yu & Xu (2023), Statistics in
    Medicine 42, 2226-2240.

    >>> TimeTo("reactivated_at", within="28d", since="entered_at").label
    'reactivated_at'
    """

    column: str
    within: str | timedelta = field(kw_only=True)
    since: str | None = field(default=None, kw_only=True)
    until: str | pd.Timestamp | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "time"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "within", window_text(self.within))
        except ValueError as fault:
            raise MetricError(f"{self.label}: within: {fault}") from None
        super().__post_init__()
        if self.days <= 0:
            raise MetricError(f"{self.label}: within: found {self.within}; allowed: longer than nothing")
        is_moment = isinstance(self.until, datetime) and not pd.isna(self.until)
        if self.until is not None and not is_moment and not (isinstance(self.until, str) and self.until):
            found = shown(self.until)
            raise MetricError(
                f"{self.label}: until: found {found}; allowed: a column, or a moment together with since="
            )

    @property
    def label(self) -> str:
        """What the metric is called in tables."""
        return self.name or self.column

    @property
    def days(self) -> float:
        """The window in days of 24 hours."""
        return days_of(self.within)

    def terms(self) -> tuple[Term, ...]:
        """Nothing: it needs each unit's own times."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(name for name in (self.column, self.since, self.until) if isinstance(name, str))

    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control: whether, and how soon."""
        start = self.start(outcomes, arm)
        names = (f"{self.label} within {self.within}", f"{self.label} mean days (to {self.within})")
        empty = next((side for side in (outcomes.arms.control, arm) if not outcomes.moments[side].n), None)
        if empty is not None:
            return tuple(replace(start, metric=name, note=f"no units in arm {empty!r}") for name in names)
        one = self.followed(outcomes.rows(arm, self.columns()))
        other = self.followed(outcomes.rows(outcomes.arms.control, self.columns()))
        whether = self._whether(replace(start, metric=names[0], kind="rate"), one, other, setting)
        opposite = "lower" if self.better == "higher" else "higher"
        role = start.role if math.isnan(whether.diff) else "secondary"
        soon = replace(start, metric=names[1], better=opposite, role=role)
        return (self.guarded(whether), self._how_soon(soon, one, other, setting))

    def curves(self, outcomes: Outcomes) -> dict[str, Survival]:
        """The Kaplan-Meier curve of each arm that has units, control first."""
        return {
            arm: kaplan_meier(*self.followed(outcomes.rows(arm, self.columns())))
            for arm in outcomes.arms.names
            if outcomes.moments[arm].n
        }

    def followed(self, rows: pd.DataFrame) -> Followed:
        """Days until it happened or follow-up ended, and whether it happened.

        Args:
            rows: one row per unit.

        Returns:
            One duration and one flag per unit.

        Raises:
            MetricError: a column is missing or of the wrong kind, or something happened before it was counted from.
        """
        happened_at = self._days(rows, self.column)
        happened = ~np.isnan(happened_at)
        if self.until is None:
            end = np.full(len(rows), self.days)
        elif isinstance(self.until, str) and self.until in rows.columns:
            end = self._days(rows, self.until)
        else:
            end = self._days_to(rows, self.until)
        if np.isnan(end).any():
            raise MetricError(f"{self.label}: {counted(int(np.isnan(end).sum()), 'unit')} with no end of follow-up")
        early = int((happened & (happened_at < 0)).sum()) + int((end < 0).sum())
        if early:
            raise MetricError(
                f"{self.label}: {counted(early, 'unit')} with a time before the moment from which is counted"
            )
        happened &= happened_at <= end
        return np.where(happened, happened_at, end), happened

    def _days(self, rows: pd.DataFrame, column: str) -> NDArray[np.float64]:
        if column in rows.columns and pd.api.types.is_datetime64_any_dtype(rows[column]):
            if self.since is None:
                raise MetricError(f"{self.label}: {column!r} holds times; say since= which column to count from")
            if self.since not in rows.columns or not pd.api.types.is_datetime64_any_dtype(rows[self.since]):
                raise MetricError(f"{self.label}: since: column {self.since!r} is missing or holds no times")
            if (rows[column].dt.tz is None) != (rows[self.since].dt.tz is None):
                raise MetricError(f"{self.label}: of {column!r} and {self.since!r} only one has a time zone")
            return np.asarray((rows[column] - rows[self.since]).dt.total_seconds() / 86_400, dtype=np.float64)
        return np.asarray(numbers(rows, column), dtype=np.float64)

    def _days_to(self, rows: pd.DataFrame, moment: str | pd.Timestamp) -> NDArray[np.float64]:
        if self.since is None or self.since not in rows.columns:
            raise MetricError(
                f"{self.label}: until: found {shown(moment)}; allowed: a column, or a moment together with since="
            )
        try:
            end = pd.Timestamp(moment)
        except (TypeError, ValueError):
            raise MetricError(f"{self.label}: until: found {shown(moment)}; allowed: a column or a moment") from None
        if not pd.api.types.is_datetime64_any_dtype(rows[self.since]):
            raise MetricError(
                f"{self.label}: since: column {self.since!r} holds no times, to which until={moment!r} asks"
            )
        zone = rows[self.since].dt.tz
        if zone is not None and end.tzinfo is None:
            end = end.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
        if zone is None and end.tzinfo is not None:
            raise MetricError(f"{self.label}: of {self.since!r} and until={moment!r} only one has a time zone")
        return np.asarray((end - rows[self.since]).dt.total_seconds() / 86_400, dtype=np.float64)

    def _whether(self, start: Comparison, one: Followed, other: Followed, setting: Setting) -> Comparison:
        short = sum(int((~flags & (lengths < self.days)).sum()) for lengths, flags in (one, other))
        if short:
            note = f"{counted(short, 'unit')} followed for less than {self.within}: a rate would count them as no"
            return replace(start, note=note)
        shares = [Share(int((flags & (lengths <= self.days)).sum()), len(flags)) for lengths, flags in (one, other)]
        return compare_shares(start, shares[0], shares[1], setting)

    def _how_soon(self, start: Comparison, one: Followed, other: Followed, setting: Setting) -> Comparison:
        curves = kaplan_meier(*one), kaplan_meier(*other)
        means = [curve.restricted_mean(self.days) for curve in curves]
        if any(math.isnan(mean) for mean, _ in means):
            return replace(start, note=f"nobody in an arm has been followed for {self.within}: shorten within")
        _, pvalue = log_rank(*one, control_durations=other[0], control_happened=other[1])
        note = f"log-rank p = {pvalue:.3g}" if not math.isnan(pvalue) else "it happened to nobody"
        estimates = [Estimate(mean, error**2, math.inf) for mean, error in means]
        if any(error > 0 for _, error in means) and shuffles_wanted(one, other, self.days):
            drawn = restricted_means_test(one, other, self.days, alpha=setting.alpha, seed=setting.seed)
            start = replace(start, method=drawn.method, note=drawn.note)
            found = compare_resampled(start, estimates[0], estimates[1], drawn)
            note = join(_told_of_few(min(_count(side, self.days) for side in (one, other))), note)
        else:
            start = replace(start, method="difference of restricted means (Kaplan-Meier)")
            found = compare_estimates(start, estimates[0], estimates[1], setting)
        return replace(found, note=join(found.note, note))


def _count(side: Followed, days: float) -> int:
    """To how many it happened before the window ended."""
    return int((side[1] & (side[0] < days)).sum())


def _told_of_few(fewest: int) -> str:
    if fewest >= _FEW:
        return ""
    return f"it happened to {fewest} only in an arm: with so few the interval may miss the truth in up to 10 of 100"


def survival_curves(
    outcomes: TableLike, metric: TimeTo, *, control: object = "control", arm: str = "arm"
) -> Mapping[str, Survival]:
    """The Kaplan-Meier curve of each arm.

    Args:
        outcomes: one row per unit.
        metric: what to wait for.
        control: the value of the arm column which is control.
        arm: the column that says which arm a unit is in.

    Returns:
        One curve per arm, control first.

    Raises:
        MetricError: a column is missing or of the wrong kind.
    """
    outcomes = frame_at(outcomes, "outcomes", where="survival_curves")
    check_column(arm, where="survival_curves: arm")
    check_once(outcomes, where="survival_curves")
    if not isinstance(metric, TimeTo):
        raise MetricError(f"survival_curves: metric: found {type(metric).__name__}; allowed: a TimeTo of a column")
    return metric.curves(read(outcomes, (), arms=read_arms(outcomes, arm=arm, control=control)))
