"""Means of two arms: Welch's test and interval. Every function takes numbers or arrays of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

__all__ = ["Difference", "Estimate", "Sample", "welch"]


class Estimate(NamedTuple):
    """An estimated mean with the variance of that estimate and its degrees of freedom."""

    mean: Any
    error: Any
    df: Any


class Sample(NamedTuple):
    """Size, mean and variance (divisor n - 1) of one arm; numbers, or arrays of the same shape.

    >>> Sample(100, 2.0, 4.0).error
    np.float64(0.04)
    """

    n: Any
    mean: Any
    variance: Any

    @property
    def error(self) -> Any:
        """Variance of the mean."""
        n = np.asarray(self.n, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.asarray(self.variance, dtype=np.float64) / n)[()]

    @property
    def df(self) -> Any:
        """Degrees of freedom of the variance."""
        return (np.asarray(self.n, dtype=np.float64) - 1)[()]


class Difference(NamedTuple):
    """A difference of two means with its standard error, test and interval."""

    diff: Any
    error: Any
    statistic: Any
    df: Any
    pvalue: Any
    lower: Any
    upper: Any


def student(df: Any, alpha: float) -> Any:
    """Student's t that is exceeded on either side with probability alpha; infinite for an alpha that rounds away."""
    at = 1 - alpha / 2
    return stdtrit(df, at) if at < 1 else np.where(np.isnan(df), np.nan, np.inf)  # NaN in SciPy before 1.17


def welch(arm: Sample | Estimate, control: Sample | Estimate, *, alpha: float = 0.05) -> Difference:
    """The difference of two means, each arm with its own variance.

    Args:
        arm: size, mean and variance of the arm; or an estimate of its mean.
        control: the same of control.
        alpha: 1 - confidence.

    Returns:
        The difference, its standard error, Welch's t with its degrees of freedom and two-sided p-value, and the
        interval, which excludes 0 exactly when p < alpha; NaN where no variance is known or it is 0.

    Reference: Welch (1947), Biometrika 34, 28-35; Satterthwaite (1946).

    >>> found = welch(Sample(21307, 1.422617, 17.754205**2), Sample(21306, 0.652789, 11.588200**2))
    >>> f"{found.statistic:.4f} {found.df:.1f} {found.pvalue:.2e}"
    '5.3001 36671.2 1.16e-07'
    """
    diff = np.asarray(arm.mean, dtype=np.float64) - control.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = np.asarray(arm.error), np.asarray(control.error)
        squared = first + second
        df = squared**2 / (first**2 / arm.df + second**2 / control.df)
        error = np.where(squared > 0, np.sqrt(squared), np.nan)
        statistic = diff / error
    pvalue = 2 * stdtr(df, -np.abs(statistic))
    half = student(df, alpha) * error
    return Difference(
        diff[()], error[()], statistic[()], df[()], np.asarray(pvalue)[()], (diff - half)[()], (diff + half)[()]
    )
