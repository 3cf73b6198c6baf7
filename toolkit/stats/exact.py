"""Rates of few people: Boschloo's exact unconditional test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln, xlog1py, xlogy

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
    counts = np.arange(n0 + 1)
    possible = first <= n1
    low, high = 0.0, 1.0
    best = 0.0
    for grid in _GRIDS:
        rates = np.linspace(low, high, grid + 1)
        inner = np.clip(rates, 1e-300, 1 - 1e-16)[:, None]
        log_mass = _log_choose(n0, counts) + xlogy(counts, inner) + xlog1py(n0 - counts, -inner)
        upper = np.where(first == 0, 1.0, betainc(np.maximum(first, 1), np.maximum(n1 - first + 1, 1), inner))
        chance = (np.exp(log_mass) * upper * possible).sum(axis=1)
        at = int(chance.argmax())
        best = max(best, float(chance[at]))
        low, high = rates[max(at - 1, 0)], rates[min(at + 1, grid)]
    return min(1.0, best)


def _first_extreme(x1: int, n1: int, x0: int, n0: int) -> NDArray[np.int64]:
    """For each count of control, the smallest count of the arm whose Fisher p-value is at most the observed one."""
    observed = _fisher(np.array([x1]), n1, np.array([x0]), n0)[0] * _EQUAL
    counts = np.arange(n0 + 1)
    low = np.zeros(n0 + 1, dtype=np.int64)
    high = np.full(n0 + 1, n1 + 1, dtype=np.int64)
    while (low < high).any():  # Fisher's p-value falls as the arm's count grows
        middle = (low + high) // 2
        extreme = _fisher(np.minimum(middle, n1), n1, counts, n0) <= observed
        open_ = low < high
        high = np.where(open_ & extreme, middle, high)
        low = np.where(open_ & ~extreme, middle + 1, low)
    return low


def _fisher(x1: NDArray[np.int64], n1: int, x0: NDArray[np.int64], n0: int) -> NDArray[np.float64]:
    total = x1 + x0
    value = np.arange(n1 + 1)
    rest = total[:, None] - value
    allowed = (rest >= 0) & (rest <= n0) & (value >= x1[:, None])
    log_mass = np.where(
        allowed,
        _log_choose(n1, value) + _log_choose(n0, np.clip(rest, 0, n0)) - _log_choose(n1 + n0, total)[:, None],
        -np.inf,
    )
    return np.asarray(np.exp(log_mass).sum(axis=1))


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
