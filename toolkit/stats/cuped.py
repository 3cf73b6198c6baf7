"""Less noise: what covariates known before the experiment explain is taken out of a mean (CUPED).

A metric is here a weighted sum of terms: one term for a mean, numerator and denominator for a ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.stats.moments import Moments, Term
from toolkit.stats.welch import Sample

__all__ = ["adjusted", "regressors", "slopes", "weighted"]

Floats = NDArray[np.float64]


def regressors(covariates: Sequence[str]) -> tuple[Term, ...]:
    """What is taken out: each covariate (0 where missing), and whether it is missing."""
    return tuple(term for name in covariates for term in (Term("filled", name), Term("missing", name)))


def weighted(moments: Moments, weights: dict[Term, float]) -> tuple[float, Floats]:
    """Sum of squared deviations of a weighted sum of terms, and its co-moments with every term."""
    at = [moments.index(term) for term in weights]
    factors = np.array(list(weights.values()))
    products = moments.comoments[at, :]
    return float(factors @ products[:, at] @ factors), np.asarray(factors @ products)


def slopes(pooled: Moments, crossed: Floats, candidates: Sequence[Term]) -> tuple[Floats, list[Term]]:
    """Least-squares slopes on the candidates that vary at all.

    Args:
        pooled: moments of both arms together.
        crossed: co-moments of the target with every term of `pooled`.
        candidates: the regressors; one that is constant or a copy of the others is harmless.

    Returns:
        One slope per regressor kept, and those regressors.
    """
    used = [term for term in candidates if pooled.comoments[pooled.index(term), pooled.index(term)] > 0]
    if not used:
        return np.zeros(0), []
    at = [pooled.index(term) for term in used]
    products = pooled.comoments[np.ix_(at, at)]
    scale = np.sqrt(np.diag(products))
    theta, *_ = np.linalg.lstsq(products / np.outer(scale, scale), crossed[at] / scale, rcond=1e-10)
    return np.asarray(theta / scale), used


def adjusted(
    side: Moments, sample: Sample, weights: dict[Term, float], *, theta: Floats, used: Sequence[Term], centre: Floats
) -> Sample:
    """One arm's sample after the slopes are taken out.

    Args:
        side: moments of the arm.
        sample: the arm's plain sample.
        weights: the metric as a weighted sum of terms.
        theta, used: slopes and their regressors.
        centre: mean of each regressor over all arms compared.

    Returns:
        The sample with its mean moved to where the arm would be with average regressors, and the variance left.

    Reference: Deng, Xu, Kohavi & Walker (2013), Improving the Sensitivity of Online Controlled Experiments by
    Utilizing Pre-Experiment Data, WSDM; Lin (2013), Annals of Applied Statistics 7, 295-318.
    """
    at = [side.index(term) for term in used]
    moved = float(theta @ (side.means[at] - centre))
    squared, crossed = weighted(side, weights)
    rest = squared - 2 * float(theta @ crossed[at]) + float(theta @ side.comoments[np.ix_(at, at)] @ theta)
    variance = max(rest, 0.0) / (side.n - 1) if side.n > 1 else math.nan
    return Sample(sample.n, sample.mean - moved, variance)
