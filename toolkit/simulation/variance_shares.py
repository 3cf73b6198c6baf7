"""What an interval is made of: the share of its variance that comes from each number of a model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["parts_of"]

Floats = npt.NDArray[np.float64]
_FEWEST_PER_NUMBER = 3  # draws for each number, below which a linear fit says nothing


def parts_of(plain: Floats, moved: Floats, values: Mapping[str, Floats]) -> list[tuple[str, float]]:
    """Shares of the variance of a result by the numbers that were drawn, the chance of answers, and the people.

    Args:
        plain: the result in each draw.
        moved: the same as if other people came.
        values: the numbers of each draw, those that vary.

    Returns:
        Name and share, the largest number first, then `chance` and `people`; they add up to 1. Nothing where the
        result never varies or there are too few draws.

    Reference: Pratt (1987), in Proceedings of the Second International Tampere Conference in Statistics.
    """
    # Who comes does not hang on what was drawn: their variances add, whatever few draws seem to say of both together.
    inner, people = float(np.var(plain)), float(np.var(moved - plain))
    total = inner + people
    if not total > 0 or len(plain) < _FEWEST_PER_NUMBER * (len(values) + 1):
        return []
    shares: dict[str, float] = {}
    if values:
        x = np.column_stack([(v - v.mean()) / v.std() for v in values.values()])
        y = plain - plain.mean()
        slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
        raw = slopes * (x.T @ y) / len(y)
        # A number that only seems to matter explains, by chance, as much as any column of noise would.
        left = max(0.0, float(np.var(y - x @ slopes)))
        spurious = left / max(1, len(y) - x.shape[1] - 1)
        raw = np.maximum(0.0, raw - spurious)
        scale = min(1.0, inner / raw.sum()) if raw.sum() > 0 else 0.0
        shares = {name: float(share * scale / total) for name, share in zip(values, raw, strict=True)}
    told = sorted(((name, share) for name, share in shares.items() if share > 1e-6), key=lambda one: -one[1])
    known = sum(share for _, share in told)
    return [*told, ("chance", max(0.0, inner / total - known)), ("people", people / total)]
