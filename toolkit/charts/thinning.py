"""Of a long line as many points as can be told apart on a screen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_POINTS", "seen"]

MOST_POINTS = 5_000
_COLUMNS = MOST_POINTS // 4


def seen(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Places of the points that draw the same line: of each narrow part of it the first, lowest, highest and last.

    All of them where there are few. A picture of a million points is 50 MB in a notebook, and its browser stands still.

    Args:
        x: rising.
        y: one for each.

    Reference: Jugel et al. (2014), M4: a visualization-oriented time series data aggregation, PVLDB 7(10).

    >>> x = np.linspace(0, 1, 100_000)
    >>> y = np.where(x == x[50_000], 1.0, 0.0)
    >>> chosen = seen(x, y)
    >>> len(chosen) <= MOST_POINTS, chosen[0].item(), chosen[-1].item(), y[chosen].max().item()
    (True, 0, 99999, 1.0)
    """
    if len(x) <= MOST_POINTS:
        return np.arange(len(x))
    width = x[-1] - x[0]
    column = (
        np.minimum((x - x[0]) / width * _COLUMNS, _COLUMNS - 1).astype(np.int64) if width else np.zeros(len(x), int)
    )
    first = np.flatnonzero(np.diff(column, prepend=-1))
    last = np.append(first[1:], len(x)) - 1
    by_height = np.lexsort((y, column))
    return np.unique(np.concatenate([first, last, by_height[first], by_height[last]]))
