"""How many units an effect needs, and what effect so many units can show: rates and means."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import nctdtr, ndtr, ndtri, stdtrit

from toolkit.errors import MetricError, shown

__all__ = ["detectable_mean", "detectable_rate", "power_of_means", "power_of_rates", "units_of_means", "units_of_rates"]

_ROUNDS = 200
_NORMAL_FROM = 20_000.0  # degrees of freedom from which Student's and the normal power agree to 5 digits


def power_of_rates(rate: float, control_rate: float, *, n: float, n_control: float, alpha: float = 0.05) -> float:
    """The chance that the score test finds a difference of two rates, in its direction.

    Args:
        rate, control_rate: of the arm and of control, 0 to 1.
        n, n_control: units in the arm and in control.
        alpha: two-sided.

    Returns:
        Power, 0 to 1.

    Reference: Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, chapter 4; R power.prop.test.

    >>> f"{power_of_rates(0.22, 0.20, n=6509.467, n_control=6509.467):.6f}"
    '0.800000'
    """
    _check(alpha=alpha, rates=(rate, control_rate))
    pooled = (n * rate + n_control * control_rate) / (n + n_control)
    under_none = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_control))
    spread = math.sqrt(rate * (1 - rate) / n + control_rate * (1 - control_rate) / n_control)
    gap = abs(rate - control_rate) + float(ndtri(alpha / 2)) * under_none
    if spread == 0:
        return 1.0 if gap > 0 else 0.0
    return float(ndtr(gap / spread))


def units_of_rates(
    rate: float, control_rate: float, *, share: float = 0.5, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Units of both arms together that a difference of two rates needs.

    Args:
        rate, control_rate: of the arm and of control, 0 to 1, different.
        share: the arm's share of the units, above 0 and below 1.
        alpha: two-sided.
        power: chance to find the difference.

    Returns:
        Units of both arms, not rounded.

    Reference: as `power_of_rates`.

    >>> f"{units_of_rates(0.75, 0.5, power=0.9) / 2:.5f}"
    '76.70693'
    """
    _check(alpha=alpha, rates=(rate, control_rate), share=share, power=power)
    if rate == control_rate:
        raise MetricError("sample size: both rates are the same; there is no effect to find")
    pooled = share * rate + (1 - share) * control_rate
    under_none = math.sqrt(pooled * (1 - pooled) * (1 / share + 1 / (1 - share)))
    spread = math.sqrt(rate * (1 - rate) / share + control_rate * (1 - control_rate) / (1 - share))
    total = (float(ndtri(power)) * spread - float(ndtri(alpha / 2)) * under_none) / (rate - control_rate)
    return total * total


def power_of_means(diff: float, sd: float, *, n: float, n_control: float, alpha: float = 0.05) -> float:
    """The chance that the t-test finds a difference of two means, in its direction.

    Args:
        diff: difference of the means.
        sd: standard deviation of a unit, positive.
        n, n_control: units in the arm and in control.
        alpha: two-sided.

    Returns:
        Power, 0 to 1.

    Reference: Cohen (1988), Statistical Power Analysis, chapter 2; R power.t.test.

    >>> f"{power_of_means(0.5, 1, n=63.76576, n_control=63.76576):.6f}"
    '0.800000'
    """
    _check(alpha=alpha)
    if not (sd > 0 and math.isfinite(sd)):
        raise MetricError(f"power: sd: found {shown(sd)}; allowed: a positive number")
    df = n + n_control - 2
    if not df > 0:
        return 0.0
    shift = abs(diff) / (sd * math.sqrt(1 / n + 1 / n_control))
    if df > _NORMAL_FROM:
        return float(ndtr(shift + ndtri(alpha / 2)))
    return float(1 - nctdtr(df, shift, stdtrit(df, 1 - alpha / 2)))


def units_of_means(diff: float, sd: float, *, share: float = 0.5, alpha: float = 0.05, power: float = 0.8) -> float:
    """Units of both arms together that a difference of two means needs.

    Args:
        diff: difference of the means, not 0.
        sd: standard deviation of a unit, positive.
        share: the arm's share of the units, above 0 and below 1.
        alpha: two-sided.
        power: chance to find the difference.

    Returns:
        Units of both arms, not rounded.

    Reference: as `power_of_means`.

    >>> f"{units_of_means(1, 1, power=0.9) / 2:.5f}"
    '22.02110'
    """
    _check(alpha=alpha, share=share, power=power)
    if diff == 0 or not math.isfinite(diff):
        raise MetricError(f"sample size: diff: found {shown(diff)}; allowed: a number other than 0")

    def found(total: float) -> float:
        return power_of_means(diff, sd, n=share * total, n_control=(1 - share) * total, alpha=alpha)

    least = 2.0 + 1e-6
    return _rising(found, power, least, start=max(4.0, least))


def detectable_rate(
    control_rate: float,
    *,
    n: float,
    n_control: float,
    alpha: float = 0.05,
    power: float = 0.8,
    better: str = "higher",
) -> float:
    """The smallest difference of rates that so many units show with the power asked (minimum detectable effect).

    Args:
        control_rate: rate of control, 0 to 1.
        n, n_control: units in the arm and in control.
        alpha: two-sided.
        power: chance to find the difference.
        better: `higher` for a rise, `lower` for a fall.

    Returns:
        The difference, negative for a fall; NaN where even the largest possible change is not found.

    >>> f"{detectable_rate(0.20, n=6509.467, n_control=6509.467):.5f}"
    '0.02000'
    """
    _check(alpha=alpha, rates=(control_rate,), power=power)
    room = 1 - control_rate if better == "higher" else control_rate
    sign = 1.0 if better == "higher" else -1.0

    def found(size: float) -> float:
        rate = min(1.0, max(0.0, control_rate + sign * size))
        return power_of_rates(rate, control_rate, n=n, n_control=n_control, alpha=alpha)

    if room <= 0 or found(room) < power:
        return math.nan
    return sign * _bisect(found, power, 0.0, room)


def detectable_mean(sd: float, *, n: float, n_control: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference of means that so many units show with the power asked (minimum detectable effect).

    Args:
        sd: standard deviation of a unit, positive.
        n, n_control: units in the arm and in control.
        alpha: two-sided.
        power: chance to find the difference.

    Returns:
        The size of the difference, positive; NaN with fewer than three units.

    >>> f"{detectable_mean(1, n=63.76576, n_control=63.76576):.6f}"
    '0.500000'
    """
    _check(alpha=alpha, power=power)
    if n + n_control <= 2:
        return math.nan
    scale = sd * math.sqrt(1 / n + 1 / n_control)

    def found(size: float) -> float:
        return power_of_means(size, sd, n=n, n_control=n_control, alpha=alpha)

    return _rising(found, power, 0.0, start=scale)


def _rising(function: Callable[[float], float], target: float, low: float, *, start: float) -> float:
    high = start
    while function(high) < target:
        low, high = high, high * 2
        if high > 1e15:
            raise MetricError("sample size: the effect is too small for any number of units")
    return _bisect(function, target, low, high)


def _bisect(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if function(middle) < target:
            low = middle
        else:
            high = middle
    return high


def _check(
    *, alpha: float, rates: tuple[float, ...] = (), share: float | None = None, power: float | None = None
) -> None:
    for name, value in (("alpha", alpha), ("share", share), ("power", power)):
        if value is not None and not 0 < value < 1:
            raise MetricError(f"power: {name}: found {shown(value)}; allowed: a number between 0 and 1")
    for rate in rates:
        if not 0 <= rate <= 1:
            raise MetricError(f"power: a rate is from 0 to 1; found {shown(rate)}")
