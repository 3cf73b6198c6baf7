"""Looking early without fooling oneself: group-sequential boundaries, spending at unplanned looks, and confidence
sequences for mails that never end.

The process of z-values is that of a Brownian motion seen at information times 0 < t1 < … ; its density between the
boundaries is carried from look to look by numerical integration (Armitage, McPherson & Rowe 1969).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from toolkit.errors import MetricError, did_you_mean, shown
from toolkit.stats.arguments import check_number

__all__ = [
    "Spending",
    "crossing_probabilities",
    "obrien_fleming_constant",
    "pocock_constant",
    "sample_inflation",
    "sequence_rho",
    "sequence_threshold",
    "solve_falling",
    "spending_boundaries",
]

Floats = NDArray[np.float64]
_FARTHEST = 9.0  # standard deviations beyond which no path is followed (probability 2e-19)
_NODES = 10  # points of integration per standard deviation of a step
Family = Literal["obrien_fleming", "pocock", "hwang_shih_decani", "kim_demets"]
_FAMILIES = ("obrien_fleming", "pocock", "hwang_shih_decani", "kim_demets")


@dataclass(frozen=True, slots=True)
class Spending:
    """How much of the chance of a false alarm may be used up by each moment of the experiment.

    Attributes:
        family: `obrien_fleming` (late looks, nearly the power of one look), `pocock` (early looks),
            `hwang_shih_decani` or `kim_demets`.
        parameter: gamma of Hwang-Shih-DeCani (not 0; -4 is near O'Brien-Fleming), rho of Kim-DeMets (above 0).

    Reference: Lan & DeMets (1983), Biometrika 70; Hwang, Shih & DeCani (1990), Statistics in Medicine 9; Kim &
    DeMets (1987), Biometrika 74.

    >>> f"{Spending().spent(0.5):.5f}"
    '0.00305'
    """

    family: Family = "obrien_fleming"
    parameter: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.family, str) or self.family not in _FAMILIES:
            raise MetricError(
                f"spending: found {shown(self.family)}; allowed: {', '.join(_FAMILIES)}"
                + did_you_mean(str(self.family), _FAMILIES)
            )
        value = self.parameter
        if self.family == "hwang_shih_decani" and not (value is not None and math.isfinite(value) and value != 0):
            raise MetricError(f"spending: hwang_shih_decani needs parameter (gamma) other than 0; found {shown(value)}")
        if self.family == "kim_demets" and not (value is not None and math.isfinite(value) and value > 0):
            raise MetricError(f"spending: kim_demets needs parameter (rho) above 0; found {shown(value)}")
        if self.family in ("obrien_fleming", "pocock") and value is not None:
            raise MetricError(f"spending: {self.family} takes no parameter; found {shown(value)}")

    def spent(self, time: float, *, alpha: float = 0.05) -> float:
        """The two-sided false-alarm chance used up at an information time.

        Args:
            time: share of the planned information, 0 to 1; beyond 1 counts as 1.
            alpha: two-sided total.

        Returns:
            A number from 0 to alpha.

        Raises:
            MetricError: a time below 0, or an alpha out of its range.
        """
        check_number(time, where="spending: time", allowed="a share of the planned information, from 0", least=0.0)
        check_number(alpha, where="spending: alpha", allowed="a number, 0 to 1", least=0.0, most=1.0)
        time = min(max(time, 0.0), 1.0)
        if time == 0:
            return 0.0
        if self.family == "obrien_fleming":
            return float(4 * ndtr(ndtri(alpha / 4) / math.sqrt(time)))
        if self.family == "pocock":
            return alpha * math.log1p((math.e - 1) * time)
        parameter = float(self.parameter or 0.0)
        if self.family == "kim_demets":
            return float(alpha * time**parameter)
        return float(alpha * math.expm1(-parameter * time) / math.expm1(-parameter))


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(count)


class _Path:
    """The chance of being where, at the last look, without having crossed at any look so far (no effect)."""

    def __init__(self) -> None:
        self.time = 0.0
        self.places: Floats = np.zeros(1)
        self.weights: Floats = np.ones(1)

    def beyond(self, time: float, bound: float, drift: float = 0.0) -> tuple[float, float]:
        """Chance of first crossing above and below at the next look, on the scale of the Brownian motion."""
        step = time - self.time
        spread = math.sqrt(step)
        likelihood = self.weights * np.exp(drift * self.places - drift * drift * self.time / 2)
        above = ndtr((self.places + drift * step - bound) / spread)
        below = ndtr((-bound - self.places - drift * step) / spread)
        return float(likelihood @ above), float(likelihood @ below)

    def go(self, time: float, bound: float) -> None:
        """Move on to the next look, keeping what lies between the boundaries."""
        step = time - self.time
        spread = math.sqrt(step)
        edge = min(bound, _FARTHEST * math.sqrt(time))
        nodes, weights = _legendre(32 * max(2, min(32, math.ceil(_NODES * edge / spread / 32))))
        places = nodes * edge
        kernel = np.exp(-((places[:, None] - self.places[None, :]) ** 2) / (2 * step)) / (
            spread * math.sqrt(2 * math.pi)
        )
        self.weights = weights * edge * (kernel @ self.weights)
        self.places = places
        self.time = time


def crossing_probabilities(times: Sequence[float], bounds: Sequence[float], *, drift: float = 0.0) -> Floats:
    """The chance of crossing two-sided boundaries for the first time at each look.

    Args:
        times: information times of the looks, rising, above 0.
        bounds: boundary of |z| at each look.
        drift: expected z at information time 1; 0 is no effect.

    Returns:
        One probability per look, both sides together; their sum is the size at drift 0.

    Reference: Jennison & Turnbull (2000), Group Sequential Methods, chapter 19.

    >>> f"{crossing_probabilities([0.5, 1.0], [1.96, 1.96]).sum():.4f}"
    '0.0831'
    """
    return np.asarray(_crossings(times, bounds, drift).sum(axis=1))


def _crossings(times: Sequence[float], bounds: Sequence[float], drift: float) -> Floats:
    times = _times(times)
    if len(bounds) != len(times):
        raise MetricError(f"looks: found {len(bounds)} boundaries for {len(times)} looks; give one for each")
    path = _Path()
    crossed = []
    for time, bound in zip(times, bounds, strict=True):
        edge = bound * math.sqrt(time)
        crossed.append(path.beyond(time, edge, drift))
        path.go(time, edge)
    return np.array(crossed)


def spending_boundaries(times: Sequence[float], spending: Spending | None = None, *, alpha: float = 0.05) -> Floats:
    """The boundaries of |z| at looks taken at any times, planned or not.

    Args:
        times: share of the planned information at each look so far, rising. The last may exceed 1: then all of
            alpha is spent there.
        spending: how alpha is spent; O'Brien-Fleming unless given.
        alpha: two-sided total.

    Returns:
        One boundary per look; infinite where nothing may be spent yet.

    Raises:
        MetricError: times not rising or not positive, or a look after the information was complete.

    Reference: Lan & DeMets (1983), Biometrika 70, 659-663.

    >>> spending_boundaries([0.2, 0.4, 0.6, 0.8, 1.0]).round(3).tolist()
    [4.877, 3.357, 2.68, 2.29, 2.031]
    """
    times = _times(times)
    if len(times) > 1 and times[-2] >= 1:
        raise MetricError(f"looks: nothing is left to spend after information time 1; found looks at {times}")
    spending = spending or Spending()
    path = _Path()
    found: list[float] = []
    before = 0.0
    for time in times:
        spent = spending.spent(time, alpha=alpha)
        increment = spent - before
        if increment <= 1e-18:
            bound = math.inf
        else:
            bound = solve_falling(lambda z, now=time: sum(path.beyond(now, z * math.sqrt(now))), increment)  # type: ignore[misc]
            before = spent
        found.append(bound)
        path.go(time, bound * math.sqrt(time))
    return np.array(found)


def solve_falling(falling: Callable[[float], float], target: float, *, start: float = 0.0) -> float:
    """Where a falling positive function meets its target: false position on the logarithm (Illinois rule).

    Args:
        falling: the function, at or above the target at `start`.
        target: a positive number.
        start: where to begin.

    Returns:
        The place.
    """
    low, high = start, max(0.5, 2 * start)
    at_low = math.log(max(falling(low), 1e-300)) - math.log(target)
    at_high = math.log(max(falling(high), 1e-300)) - math.log(target)
    while at_high > 0 and high < 1000:
        low, at_low = high, at_high
        high *= 2
        at_high = math.log(max(falling(high), 1e-300)) - math.log(target)
    side = 0.0
    for _ in range(200):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = math.log(max(falling(middle), 1e-300)) - math.log(target)
        if abs(value) < 1e-13 or high - low < 1e-13 * high:
            return middle
        if value > 0:
            low, at_low = middle, value
            at_high = at_high / 2 if side > 0 else at_high
        else:
            high, at_high = middle, value
            at_low = at_low / 2 if side < 0 else at_low
        side = value
    return (low + high) / 2


def pocock_constant(looks: int, *, alpha: float = 0.05) -> float:
    """The one boundary of |z| for so many equally spaced looks.

    Reference: Pocock (1977), Biometrika 64, 191-199.

    >>> f"{pocock_constant(5):.4f}"
    '2.4132'
    """
    times = _equal(looks)
    return solve_falling(lambda c: float(crossing_probabilities(times, [c] * looks).sum()), alpha)


def obrien_fleming_constant(looks: int, *, alpha: float = 0.05) -> float:
    """The constant C of O'Brien and Fleming: at look k of K the boundary of |z| is C sqrt(K / k).

    Reference: O'Brien & Fleming (1979), Biometrics 35, 549-556.

    >>> f"{obrien_fleming_constant(5):.4f}"
    '2.0401'
    """
    times = _equal(looks)
    return solve_falling(lambda c: float(crossing_probabilities(times, [c / math.sqrt(t) for t in times]).sum()), alpha)


def sample_inflation(
    times: Sequence[float], bounds: Sequence[float], *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """By how much the largest sample must grow, against one look at the end, to keep the power.

    Args:
        times: information times of the looks, the last 1.
        bounds: boundary of |z| at each look.
        alpha: two-sided size of the boundaries.
        power: chance to find the effect, and in its right direction; alpha to 1.

    Returns:
        A factor, 1 or a little more.

    Reference: Jennison & Turnbull (2000), tables 2.2 and 2.4.

    >>> c = pocock_constant(2)
    >>> f"{sample_inflation([0.5, 1.0], [c, c]):.4f}"
    '1.1104'
    """
    if not alpha < power < 1:
        raise MetricError(f"power: found {shown(power)}; allowed: between alpha ({alpha}) and 1")
    drift = solve_falling(lambda d: 1 - float(_crossings(times, bounds, d)[:, 0].sum()), 1 - power)
    return float((drift / (ndtri(power) - ndtri(alpha / 2))) ** 2)


def sequence_rho(planned: float, *, alpha: float = 0.05) -> float:
    """The parameter of an asymptotic confidence sequence that makes it tightest at so many units.

    Args:
        planned: units at which the sequence shall be tightest.
        alpha: two-sided total over all time.

    Returns:
        rho.

    Reference: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Annals of Statistics 52, 2613-2640.

    >>> f"{sequence_rho(5000):.10f}"
    '0.0398400668'
    """
    if not planned > 0:
        raise MetricError(f"confidence sequence: planned units: found {shown(planned)}; allowed: a positive number")
    twice = -2 * math.log(alpha)
    return math.sqrt((twice + math.log(twice + 1)) / planned)


def sequence_threshold(time: float, *, alpha: float = 0.05) -> float:
    """The |z| an effect needs at any moment, if one may look at every moment and never stop.

    Args:
        time: units so far as a share of the units at which the sequence is tightest; above 0, also beyond 1.
        alpha: two-sided total over all time.

    Returns:
        The threshold of |z|.

    Reference: as `sequence_rho`; two-sided boundary, equation 6.

    >>> f"{sequence_threshold(1.0):.4f}"
    '3.0352'
    """
    if not time > 0:
        raise MetricError(f"confidence sequence: time: found {shown(time)}; allowed: a positive number")
    scaled = time * sequence_rho(1.0, alpha=alpha) ** 2
    return math.sqrt(2 * (scaled + 1) / scaled * math.log(math.sqrt(scaled + 1) / alpha))


def _equal(looks: int) -> list[float]:
    if looks < 1:
        raise MetricError(f"looks: found {shown(looks)}; allowed: 1 or more")
    return [(at + 1) / looks for at in range(looks)]


def _times(times: Sequence[float]) -> list[float]:
    found = [float(time) for time in times]
    if not found or found[0] <= 0 or any(b <= a for a, b in itertools.pairwise(found)):
        raise MetricError(f"looks: information times must rise and be above 0; found {shown(found)}")
    return found
