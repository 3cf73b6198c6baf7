"""Reactivation in time, when not everybody has been followed to the end: Kaplan-Meier, log-rank, restricted means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtri

from toolkit.drawable import Drawable
from toolkit.errors import MetricError
from toolkit.stats.arguments import array_of_numbers, check_alpha, check_number

__all__ = ["Followed", "Survival", "kaplan_meier", "log_rank"]

Floats = NDArray[np.float64]
Followed = tuple[Floats, NDArray[np.bool_]]
"""Time until it happened, or until follow-up ended, and whether it happened."""


@dataclass(frozen=True, eq=False)
class Survival(Drawable):
    """The Kaplan-Meier curve: the share of people to whom it has not happened yet.

    Attributes:
        times: the moments at which it happened to someone, rising.
        at_risk: people still followed just before each moment.
        events: people to whom it happened at each moment.
        survival: share to whom it has not happened after each moment.
        last: the longest follow-up.
        n: people.
    """

    times: Floats
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    survival: Floats
    last: float
    n: int

    def at(self, time: float) -> float:
        """The share to whom it has not happened by a time; NaN beyond the follow-up unless the curve is at 0.

        Raises:
            MetricError: a time that is no number, or below 0.
        """
        if isinstance(time, float) and math.isnan(time):
            return math.nan
        check_number(time, where="survival: time", allowed="0 or more, in the unit of the times", least=0.0)
        if time > self.last and not (len(self.survival) and self.survival[-1] == 0):
            return math.nan
        before = np.searchsorted(self.times, time, side="right")
        return float(self.survival[before - 1]) if before else 1.0

    @property
    def median(self) -> float:
        """The time by which it has happened to half; NaN when it has not."""
        below = np.flatnonzero(self.survival <= 0.5 + 1e-12)
        return float(self.times[below[0]]) if len(below) else math.nan

    def band(self, *, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Pointwise interval of the curve at each moment, on the complementary log-log scale (Greenwood's variance).

        Raises:
            MetricError: an alpha out of its range.

        Reference: Kalbfleisch & Prentice (2002), The Statistical Analysis of Failure Time Data, section 1.4.
        """
        check_alpha(alpha, where="survival")
        z = -float(ndtri(alpha / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(np.cumsum(self.events / (self.at_risk * (self.at_risk - self.events))))
            log = np.log(self.survival)
            half = z * spread / np.abs(log)
            lower, upper = self.survival ** np.exp(half), self.survival ** np.exp(-half)
        inside = (self.survival > 0) & (self.survival < 1)
        return np.where(inside, lower, self.survival), np.where(inside, upper, self.survival)

    def restricted_mean(self, horizon: float) -> tuple[float, float]:
        """Mean time until it happens, counted to a horizon, and its standard error.

        Args:
            horizon: in the unit of the times; not beyond the longest follow-up unless it happened to everybody.

        Returns:
            Mean and standard error (Greenwood's variance); NaN beyond the follow-up.

        Raises:
            MetricError: a horizon that is no number, or below 0.

        Reference: Royston & Parmar (2013), BMC Medical Research Methodology 13:152.

        >>> curve = kaplan_meier([1, 2, 3, 4], [True, True, True, True])
        >>> f"{curve.restricted_mean(4)[0]:.2f}"
        '2.50'
        """
        allowed = "0 or more, in the unit of the times"
        check_number(horizon, where="restricted mean: horizon", allowed=allowed, least=0.0, most=1e15)
        horizon = float(horizon)
        if horizon > self.last and not (len(self.survival) and self.survival[-1] == 0):
            return math.nan, math.nan
        within = self.times < horizon
        edges = np.concatenate([[0.0], self.times[within], [horizon]])
        heights = np.concatenate([[1.0], self.survival[within]])
        areas = heights * np.diff(edges)
        after = np.cumsum(areas[::-1])[::-1][1:]  # area to the right of each moment
        events, at_risk = self.events[within], self.at_risk[within]
        left = at_risk - events
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(left > 0, after**2 * events / (at_risk * left), 0.0)
        return float(areas.sum()), math.sqrt(float(terms.sum()))


def kaplan_meier(durations: ArrayLike, happened: ArrayLike) -> Survival:
    """The share to whom it has not happened yet, over time, with people who were followed for different lengths.

    Args:
        durations: time until it happened, or until follow-up ended; 0 or more, any unit.
        happened: True where it happened, False where follow-up ended before.

    Returns:
        The curve.

    Raises:
        MetricError: lengths differ, nobody, or a duration that is negative, missing or infinite.

    Reference: Kaplan & Meier (1958), JASA 53, 457-481.

    >>> kaplan_meier([2, 3, 3, 5], [True, True, False, True]).survival.round(3).tolist()
    [0.75, 0.5, 0.0]
    """
    lengths, flags = _checked(durations, happened)
    times, where = np.unique(lengths, return_inverse=True)
    events = np.bincount(where, weights=flags, minlength=len(times)).astype(np.int64)
    leaving = np.bincount(where, minlength=len(times))
    at_risk = len(lengths) - np.concatenate([[0], np.cumsum(leaving)[:-1]])
    kept = events > 0
    survival = np.cumprod(1 - events[kept] / at_risk[kept])
    return Survival(times[kept], at_risk[kept], events[kept], survival, float(lengths.max()), len(lengths))


def log_rank(
    durations: ArrayLike, happened: ArrayLike, *, control_durations: ArrayLike, control_happened: ArrayLike
) -> tuple[float, float]:
    """Whether it happens at the same pace in two arms.

    Args:
        durations, happened: of the arm, as in `kaplan_meier`.
        control_durations, control_happened: of control.

    Returns:
        Chi-square with one degree of freedom and its p-value; NaN where it happened to nobody.

    Reference: Mantel (1966); Peto & Peto (1972), JRSS A 135, 185-207.

    >>> chi2, p = log_rank([5, 6, 7], [True] * 3, control_durations=[1, 2, 3], control_happened=[True] * 3)
    >>> f"{chi2:.4f} {p:.4f}"
    '5.0517 0.0246'
    """
    one, flags = _checked(durations, happened)
    other, flags_control = _checked(control_durations, control_happened)
    times = np.unique(np.concatenate([one[flags], other[flags_control]]))
    if not len(times):
        return math.nan, math.nan
    risk = _at_risk(one, times)
    risk_all = risk + _at_risk(other, times)
    events = _events(one[flags], times)
    events_all = events + _events(other[flags_control], times)
    share = risk / risk_all
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(
            risk_all > 1, events_all * share * (1 - share) * (risk_all - events_all) / (risk_all - 1), 0.0
        ).sum()
    if variance <= 0:
        return math.nan, math.nan
    chi2 = float((events - events_all * share).sum() ** 2 / variance)
    return chi2, float(chdtrc(1, chi2))


def _at_risk(lengths: Floats, times: Floats) -> NDArray[np.int64]:
    return len(lengths) - np.searchsorted(np.sort(lengths), times, side="left").astype(np.int64)


def _events(lengths: Floats, times: Floats) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(times, lengths), minlength=len(times))


def _checked(durations: ArrayLike, happened: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    lengths = array_of_numbers(durations, where="survival: durations")
    known = array_of_numbers(happened, where="survival: happened")
    if not np.isin(known, (0.0, 1.0)).all():
        raise MetricError("survival: happened: allowed: True or False for each person, none missing")
    flags = known == 1.0
    if lengths.shape != flags.shape or lengths.ndim != 1:
        raise MetricError(
            f"survival: found {lengths.shape} durations and {flags.shape} flags; give one for each person"
        )
    if not len(lengths):
        raise MetricError("survival: found nobody; give at least one duration")
    if not (np.isfinite(lengths).all() and (lengths >= 0).all()):
        raise MetricError("survival: durations must be finite and 0 or more; found one that is not")
    return lengths, flags
