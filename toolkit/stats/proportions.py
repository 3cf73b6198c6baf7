"""Rates (opened, converted, reactivated): score test, Wilson and Newcombe intervals, and the intervals that invert
the score test, for the difference (Miettinen-Nurminen, Mee) and for the ratio (Miettinen-Nurminen, Koopman).

Every function takes numbers or arrays of them, so that thousands of experiments are computed at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

__all__ = [
    "Share",
    "newcombe_interval",
    "score_difference_interval",
    "score_ratio_interval",
    "score_test",
    "wilson_interval",
]

_ENDLESS = 1e6  # standard errors: an interval so wide holds every rate, and alpha 0 asks for one wider still
_HALVINGS = 60  # from the whole scale to the last digit of a double
_LAST_DIGIT = 4 * float(np.finfo(np.float64).eps)  # the least that brentq takes
_SMALLEST = 1e-20  # of differences of rates


class Share(NamedTuple):
    """So many successes among so many trials; numbers, or arrays of the same shape.

    >>> Share(30, 200).rate
    np.float64(0.15)
    """

    successes: Any
    trials: Any

    @property
    def rate(self) -> Any:
        """Successes over trials; NaN where there are no trials."""
        trials = np.asarray(self.trials, dtype=np.float64)
        return np.divide(
            self.successes, trials, out=np.full(np.broadcast(self.successes, trials).shape, np.nan), where=trials > 0
        )[()]


def wilson_interval(share: Share, *, alpha: float = 0.05) -> tuple[Any, Any]:
    """The interval of one rate: the rates that the score test does not reject.

    Args:
        share: successes and trials.
        alpha: 1 - confidence, 0 to 1.

    Returns:
        Lower and upper end.

    Reference: Wilson (1927), JASA 22, 209-212.

    >>> lower, upper = wilson_interval(Share(81, 263))
    >>> f"{lower:.4f} {upper:.4f}"
    '0.2553 0.3662'
    """
    successes = np.asarray(share.successes, dtype=np.float64)
    trials = np.asarray(share.trials, dtype=np.float64)
    z = np.minimum(-ndtri(alpha / 2), _ENDLESS)
    rate = share.rate
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    lower = np.where(successes == 0, 0.0, centre - half)
    upper = np.where(successes == trials, 1.0, centre + half)
    return lower[()], upper[()]


def newcombe_interval(arm: Share, control: Share, *, alpha: float = 0.05) -> tuple[Any, Any]:
    """The interval of a difference of two rates, from the Wilson interval of each.

    Args:
        arm: successes and trials of the arm.
        control: successes and trials of control.
        alpha: 1 - confidence.

    Returns:
        Lower and upper end of the arm's rate minus control's.

    Reference: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10.

    >>> lower, upper = newcombe_interval(Share(56, 70), Share(48, 80))
    >>> f"{lower:.4f} {upper:.4f}"
    '0.0524 0.3339'
    """
    lower, upper = wilson_interval(arm, alpha=alpha)
    lower_control, upper_control = wilson_interval(control, alpha=alpha)
    rate, rate_control = arm.rate, control.rate
    diff = rate - rate_control
    return (
        diff - np.sqrt((rate - lower) ** 2 + (upper_control - rate_control) ** 2),
        diff + np.sqrt((upper - rate) ** 2 + (rate_control - lower_control) ** 2),
    )


def score_test(arm: Share, control: Share) -> tuple[Any, Any]:
    """Whether two rates differ: the score z-test, whose square is Pearson's chi-square without correction.

    Args:
        arm: successes and trials of the arm.
        control: successes and trials of control.

    Returns:
        z, positive when the arm's rate is higher, and the two-sided p-value; both NaN where all or none succeeded.

    Reference: Agresti (2013), Categorical Data Analysis, 3rd ed., section 3.2.

    >>> z, p = score_test(Share(30, 1000), Share(20, 1000))
    >>> f"{z:.4f} {p:.4f}"
    '1.4322 0.1521'
    """
    trials = np.asarray(arm.trials, dtype=np.float64)
    trials_control = np.asarray(control.trials, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (np.asarray(arm.successes) + control.successes) / (trials + trials_control)
        error = np.sqrt(pooled * (1 - pooled) * (1 / trials + 1 / trials_control))
        z = np.where(error > 0, (arm.rate - control.rate) / error, np.nan)
    return z[()], (2 * ndtr(-np.abs(z)))[()]


def score_difference_interval(
    arm: Share, control: Share, *, alpha: float = 0.05, corrected: bool = True
) -> tuple[Any, Any]:
    """The interval of a difference of two rates: the differences that the score test does not reject.

    Args:
        arm: successes and trials of the arm.
        control: successes and trials of control.
        alpha: 1 - confidence.
        corrected: with the variance factor N / (N - 1) of Miettinen and Nurminen; without it (Mee) the interval
            excludes 0 exactly when `score_test` gives p < alpha.

    Returns:
        Lower and upper end.

    Reference: Miettinen & Nurminen (1985), Statistics in Medicine 4, 213-226; Mee (1984), Biometrics 40, 1175-1176.

    >>> lower, upper = score_difference_interval(Share(56, 70), Share(48, 80))
    >>> f"{lower:.4f} {upper:.4f}"
    '0.0528 0.3382'
    """
    x1, n1, x0, n0 = _four(arm, control)
    z = -ndtri(alpha / 2)
    total = n1 + n0
    factor = total / (total - 1) if corrected else 1.0
    diff = x1 / n1 - x0 / n0

    def excess(delta: Any) -> Any:
        p0 = _rate_given_difference(x1, n1, x0, n0, delta)
        p1 = np.minimum(np.maximum(p0 + delta, 0.0), 1.0)
        variance = (p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) * factor
        return (diff - delta) ** 2 - z * z * variance

    return _edge(excess, diff * 0 - 1.0, diff), _edge(excess, diff * 0 + 1.0, diff)


def score_ratio_interval(arm: Share, control: Share, *, alpha: float = 0.05, corrected: bool = True) -> tuple[Any, Any]:
    """The interval of a ratio of two rates: the ratios that the score test does not reject.

    Args:
        arm: successes and trials of the arm.
        control: successes and trials of control.
        alpha: 1 - confidence.
        corrected: with the variance factor N / (N - 1) of Miettinen and Nurminen; without it (Koopman) the
            interval excludes 1 exactly when `score_test` gives p < alpha.

    Returns:
        Lower and upper end of the arm's rate over control's; the upper end is infinite where control has no
        success, both are (0, inf) where neither arm has one.

    Reference: Koopman (1984), Biometrics 40, 513-517; Miettinen & Nurminen (1985), Statistics in Medicine 4.

    >>> lower, upper = score_ratio_interval(Share(36, 40), Share(16, 80))
    >>> f"{lower:.5f} {upper:.5f}"
    '2.93465 7.16630'
    """
    x1, n1, x0, n0 = _four(arm, control)
    z = -ndtri(alpha / 2)
    total = n1 + n0
    factor = total / (total - 1) if corrected else 1.0

    def excess(log_ratio: Any) -> Any:
        ratio = np.exp(log_ratio)
        p0 = _rate_given_ratio(x1, n1, x0, n0, ratio)
        p1 = np.minimum(ratio * p0, 1.0)
        variance = (p1 * (1 - p1) / n1 + ratio * ratio * p0 * (1 - p0) / n0) * factor
        return (x1 / n1 - ratio * x0 / n0) ** 2 - z * z * variance

    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(x1 / n1) - np.log(x0 / n0)
    bound = total * 0 + 40.0  # a ratio of e^40: beyond any count of people
    inside = np.where(np.isnan(log_ratio), 0.0, np.clip(log_ratio, -bound, bound))[()]
    lower = np.where(x1 == 0, 0.0, np.exp(_edge(excess, -bound, inside)))
    highest = _edge(excess, bound, inside)
    upper = np.where((x0 == 0) | (highest > bound - 1e-9), np.inf, np.exp(highest))
    return lower[()], upper[()]


def _four(arm: Share, control: Share) -> tuple[Any, Any, Any, Any]:
    x1, n1, x0, n0 = np.broadcast_arrays(arm.successes, arm.trials, control.successes, control.trials)
    return tuple(part.astype(np.float64)[()] for part in (x1, n1, x0, n0))  # type: ignore[return-value]


def _edge(excess: Any, outside: Any, inside: Any) -> Any:
    """Where rejection begins between a value that is not rejected and the far end of the scale.

    `excess` is above 0 where a value is rejected.
    """
    if np.ndim(inside) == 0 and excess(inside) < 0 < excess(outside):  # one table, as most are
        return brentq(excess, inside, outside, xtol=_SMALLEST, rtol=_LAST_DIGIT, maxiter=1_000)
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        out = excess(middle) > 0
        outside = np.where(out, middle, outside)
        inside = np.where(out, inside, middle)
    return inside[()]


def _rate_given_ratio(x1: Any, n1: Any, x0: Any, n0: Any, ratio: Any) -> Any:
    a = (n1 + n0) * ratio
    b = n1 * ratio + x1 + n0 + x0 * ratio
    c = x1 + x0
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
    return 2 * c / (b + root)  # the smaller root, written so that nothing cancels


def _rate_given_difference(x1: Any, n1: Any, x0: Any, n0: Any, delta: Any) -> Any:
    """Control's rate of greatest likelihood when the rates differ by delta: the root of a cubic in closed form."""
    total = n1 + n0
    l2 = (n1 + 2 * n0) * delta - total - (x1 + x0)
    l1 = (n0 * delta - total - 2 * x0) * delta + (x1 + x0)
    l0 = x0 * delta * (1 - delta)
    third = l2 / (3 * total)
    q = third**3 - l1 * l2 / (6 * total**2) + l0 / (2 * total)
    p = np.copysign(np.sqrt(np.maximum(third**2 - l1 / (3 * total), 0.0)), q)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(p == 0, 0.0, np.clip(q / p**3, -1.0, 1.0))
    root = 2 * p * np.cos((np.pi + np.arccos(angle)) / 3) - third
    return np.minimum(np.maximum(root, np.maximum(0.0, -delta)), np.minimum(1.0, 1.0 - delta))
