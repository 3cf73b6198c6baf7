"""Rates of few people: Boschloo's exact unconditional test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from toolkit.errors import MetricError
from toolkit.stats.proportions import Share

__all__ = ["boschloo_test"]

_GRIDS = (256, 32, 32)  # the first finds the highest peak, the others climb it
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
    """P-value of the first rate being greater: the largest chance, over the common rate, of a table as extreme."""
    first = _first_extreme(x1, n1, x0, n0)
    counts = np.flatnonzero(first <= n1)
    starts = first[counts]
    ways, ways_control = _log_choose(n1), _log_choose(n0)[counts]
    low, high = 0.0, 1.0
    best = 0.0
    for grid in _GRIDS:
        rates = np.linspace(low, high, grid + 1)
        inner = np.clip(rates, 1e-300, 1 - 1e-16)[:, None]
        yes, no = np.log(inner), np.log1p(-inner)
        mass = np.exp(ways + np.arange(n1 + 1) * yes + (n1 - np.arange(n1 + 1)) * no)
        upper = mass[:, ::-1].cumsum(axis=1)[:, ::-1][:, starts]  # the arm's count is that or more
        chance = (np.exp(ways_control + counts * yes + (n0 - counts) * no) * upper).sum(axis=1)
        at = int(chance.argmax())
        best = max(best, float(chance[at]))
        low, high = rates[max(at - 1, 0)], rates[min(at + 1, grid)]
    return min(1.0, best)


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
