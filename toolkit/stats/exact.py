"""Rates of few people: Boschloo's exact unconditional test."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from toolkit.errors import MetricError
from toolkit.stats.proportions import Share

__all__ = ["boschloo_test"]

_CLIMB = np.linspace(-1, 1, 17)
_CLIMBS = 3  # each narrows the place of a peak to an eighth
_PEAKS = 16  # of the highest ones near which the largest chance may lie
_FEWEST = 64  # steps of the first grid
_AT_ONCE = 4_000_000  # chances of a count held in memory
_EQUAL = 1 + 1e-11  # p-values this close are ties of rounding
_LARGEST = 20_000


def boschloo_test(arm: Share, control: Share) -> float:
    """Whether two rates differ, for small numbers: Boschloo's exact test, never weaker than Fisher's.

    Args:
        arm: successes and trials of the arm, whole numbers.
        control: successes and trials of control.

    Returns:
        Two-sided p-value: twice the smaller one-sided one, at most 1.

    Raises:
        MetricError: more than 20,000 trials together, where the score test is exact enough and this one is slow.

    Reference: Boschloo (1970), Statistica Neerlandica 24, 1-35; Lydersen, Fagerland & Laake (2009), Statistics in
    Medicine 28, 1159-1175.

    >>> f"{boschloo_test(Share(7, 12), Share(8, 25)):.4f}"
    '0.1633'
    """
    x1, n1, x0, n0 = int(arm.successes), int(arm.trials), int(control.successes), int(control.trials)
    if n1 + n0 > _LARGEST:
        raise MetricError(f"Boschloo's test: found {n1 + n0} trials; allowed: at most {_LARGEST}; use score_test")
    greater = _one_sided(x1, n1, x0, n0)
    less = _one_sided(x0, n0, x1, n1)
    return min(1.0, 2 * min(greater, less))


def _one_sided(x1: int, n1: int, x0: int, n0: int) -> float:
    """P-value of the first rate being greater: the largest chance, over the common rate, of a table as extreme.

    The rate is the squared sine of an angle, in which the counts of n trials spread alike, by 1 / (2 sqrt(n)), at every
    rate. Steps of half of that miss no peak; of the highest ones each is climbed, since their steps tell them apart to
    some hundredths only.
    """
    first = _first_extreme(x1, n1, x0, n0)
    counts = np.flatnonzero(first <= n1)
    starts = first[counts]
    ways, ways_control = _log_choose(n1), _log_choose(n0)[counts]

    def chances(angles: NDArray[np.float64]) -> NDArray[np.float64]:
        rates = np.clip(np.sin(angles) ** 2, 1e-300, 1 - 1e-16)[:, None]
        yes, no = np.log(rates), np.log1p(-rates)
        mass = np.exp(ways + np.arange(n1 + 1) * yes + (n1 - np.arange(n1 + 1)) * no)
        upper = mass[:, ::-1].cumsum(axis=1)[:, ::-1][:, starts]  # the arm's count is that or more
        found = (np.exp(ways_control + counts * yes + (n0 - counts) * no) * upper).sum(axis=1)
        return np.asarray(found)

    def of_all(angles: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = math.ceil(len(angles) * (n1 + 1) / _AT_ONCE)
        return np.concatenate([chances(part) for part in np.array_split(angles, parts)])

    angles = np.linspace(0, math.pi / 2, max(_FEWEST, math.ceil(2 * math.pi * math.sqrt(max(n1, n0)))) + 1)
    step, found = angles[1], of_all(angles)
    beside = np.pad(found, 1)
    peaks = np.flatnonzero((found >= beside[:-2]) & (found >= beside[2:]))
    tops = angles[peaks[np.argsort(-found[peaks], kind="stable")[:_PEAKS]]]
    for _ in range(_CLIMBS):
        around = np.clip(tops[:, None] + step * _CLIMB, 0, math.pi / 2)
        climbed = of_all(around.ravel()).reshape(around.shape)
        tops = around[np.arange(len(tops)), climbed.argmax(axis=1)]
        step = step * (_CLIMB[1] - _CLIMB[0])
    return min(1.0, float(climbed.max()))


def _first_extreme(x1: int, n1: int, x0: int, n0: int) -> NDArray[np.int64]:
    """For each count of control, the smallest count of the arm whose Fisher p-value is at most the observed one.

    It is n1 + 1 where there is none. Fisher's p-value of a table is its own chance and, with one more in the arm and
    one fewer in control, the p-value of the next: so all of them follow from the largest count of the arm down.
    """
    ways, ways_control, together = _log_choose(n1), _log_choose(n0), _log_choose(n1 + n0)
    more = np.arange(x1, min(n1, x1 + x0) + 1)
    observed = np.exp(ways[more] + ways_control[x1 + x0 - more] - together[x1 + x0]).sum() * _EQUAL
    first = np.full(n0 + 1, n1 + 1, dtype=np.int64)
    tails = np.zeros(n0 + 1)
    for count in range(n1, -1, -1):
        tails[1:] = tails[:-1]
        tails[0] = 0.0
        tails += np.exp(ways[count] + ways_control - together[count : count + n0 + 1])
        first[tails <= observed] = count
    return first


def _log_choose(n: int) -> NDArray[np.float64]:
    """Logarithms of how many ways there are to choose 0, 1, … n out of n."""
    counts = np.arange(n + 1)
    return np.asarray(gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1))
