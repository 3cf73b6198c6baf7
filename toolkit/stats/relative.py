"""The relative lift of a mean: Fieller's interval for a ratio of two means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from toolkit.stats.welch import Estimate, Sample

__all__ = ["Relative", "fieller"]


class Relative(NamedTuple):
    """A lift as a share of control, with its interval; `unbounded` where the interval has no finite end."""

    rel: Any
    lower: Any
    upper: Any
    unbounded: Any


def fieller(arm: Sample | Estimate, control: Sample | Estimate, *, critical: Any) -> Relative:
    """The lift of a mean as a share of control's mean, with Fieller's interval.

    The ratios r are kept for which `arm - r * control` does not differ from 0. Where control's own mean does not
    differ from 0, that set has no end: it is the whole line, or two rays. Of two rays the one that holds the
    estimate is given, unless the other holds 0 (no lift): then the whole line. So the interval excludes 0 exactly
    when the difference of the means, tested with the same critical value, does.

    Args:
        arm: size, mean and variance of the arm.
        control: the same of control, with a positive mean.
        critical: quantile of the test, for example 1.96.

    Returns:
        The lift, lower and upper end, and whether the interval is unbounded; NaN where control's mean is not
        positive.

    Reference: Fieller (1954), JRSS B 16, 175-185; Franz (2007), arXiv:0710.2024.

    >>> found = fieller(Sample(21307, 1.422617, 17.754205**2), Sample(21306, 0.652789, 11.588200**2), critical=1.96)
    >>> f"{found.rel:.4f} [{found.lower:.3f}, {found.upper:.3f}]"
    '1.1793 [0.644, 1.977]'
    """
    mean, base = np.broadcast_arrays(np.asarray(arm.mean, dtype=np.float64), control.mean)
    usable = base > 0
    base = np.where(usable, base, np.nan)
    first, second, q2 = arm.error, control.error, np.asarray(critical, dtype=np.float64) ** 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = mean / base
        # a r^2 - 2 b r + c <= 0 is the set of ratios kept
        a = base**2 - q2 * second
        b = mean * base
        c = mean**2 - q2 * first
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        # both roots without cancellation
        far = np.where(b >= 0, b + root, b - root)
        one, two = far / a, np.where(far == 0, 0.0, c / far)
        low, high = np.minimum(one, two), np.maximum(one, two)
        bounded = a > 0
        whole = ~bounded & (b * b - a * c <= 0)
        right = ratio >= high
        holds_none = a - 2 * b + c <= 0  # the ratio 1, no lift, is kept
        ray_holds_none = np.where(right, high <= 1, low >= 1)
        whole |= ~bounded & holds_none & ~ray_holds_none
        lower = np.where(bounded, low, np.where(whole | ~right, -np.inf, high))
        upper = np.where(bounded, high, np.where(whole | right, np.inf, low))
    defined = usable & np.isfinite(first) & np.isfinite(second) & ~np.isnan(a)  # no variance, no critical value
    return Relative(
        (ratio - 1)[()],
        np.where(defined, lower - 1, np.nan)[()],
        np.where(defined, upper - 1, np.nan)[()],
        (~bounded & defined)[()],
    )
