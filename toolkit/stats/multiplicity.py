"""Many metrics and arms: p-values that hold for all of them together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["benjamini_hochberg", "holm"]


def holm(pvalues: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values that keep the chance of even one false alarm below alpha (family-wise error).

    Args:
        pvalues: one p-value per comparison; NaN stays NaN and does not count.

    Returns:
        Adjusted p-values in the same order; reject where one is below alpha.

    Reference: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values, order, adjusted = _ordered(pvalues)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    return adjusted


def benjamini_hochberg(pvalues: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values that keep the expected share of false alarms among the alarms below alpha.

    Args:
        pvalues: one p-value per comparison; NaN stays NaN and does not count.

    Returns:
        Adjusted p-values in the same order; reject where one is below alpha.

    Reference: Benjamini & Hochberg (1995), JRSS B 57, 289-300.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    values, order, adjusted = _ordered(pvalues)
    scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


def _ordered(pvalues: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    values = np.asarray(pvalues, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    return values, known[np.argsort(values[known], kind="stable")], np.full(values.shape, np.nan)
