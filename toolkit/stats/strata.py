"""Less noise: arms compared within strata known before the experiment, then averaged (post-stratification)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolkit.errors import MetricError
from toolkit.stats.gathering import gather
from toolkit.stats.moments import Moments, Term, numbers
from toolkit.stats.outcomes import Outcomes
from toolkit.stats.srm import split_alike
from toolkit.stats.welch import Estimate, Sample
from toolkit.tables import as_text

__all__ = ["post_stratified", "stratified_moments"]

_MOST = 1_000


def stratified_moments(
    outcomes: Outcomes, arm: str, term: Term, *, strata: str
) -> tuple[list[tuple[Moments, Moments]], int, float]:
    """Moments of one term by stratum, of the arm and of control; strata too small to compare are put together.

    Args:
        outcomes: the outcomes.
        arm: the arm held against control.
        term: what is compared.
        strata: column of the stratum; a missing value is a stratum of its own.

    Returns:
        One pair per stratum with at least two units in both arms, how many strata were put together, and the p-value
        that the arms are split alike in all strata.

    Raises:
        MetricError: no such column, or more than 1,000 strata (a number is no stratum).
    """
    sides = [outcomes.rows(side, (strata, term.column)) for side in (arm, outcomes.arms.control)]
    if strata not in sides[0].columns:
        numbers(sides[0], strata)
    labels = [as_text(side[strata]).fillna("missing") for side in sides]
    names = sorted(set(labels[0]) | set(labels[1]))
    if len(names) > _MOST:
        raise MetricError(f"strata: column {strata!r} has {len(names):,} values; allowed: at most {_MOST:,} strata")
    codes = [pd.Index(names).get_indexer(pd.Index(one)) for one in labels]
    counts = np.array([np.bincount(code, minlength=len(names)) for code in codes])
    small = counts.min(axis=0) < 2
    together = np.where(small, len(names), np.arange(len(names)))
    parts = [
        gather(side, [term], codes=together[code], arms=len(names) + 1) for side, code in zip(sides, codes, strict=True)
    ]
    pairs = [(one, other) for one, other in zip(*parts, strict=True) if one.n > 1 and other.n > 1]
    return pairs, int(small.sum()), split_alike(counts.T)


def post_stratified(pairs: list[tuple[Moments, Moments]], term: Term) -> tuple[Estimate, Estimate]:
    """The mean of each arm, every stratum weighted by its share of both arms together.

    Args:
        pairs: moments of arm and control by stratum.
        term: what is compared.

    Returns:
        Estimates of the arm and of control.

    Reference: Miratrix, Sekhon & Yu (2013), JRSS B 75, 369-396.
    """
    total = sum(one.n + other.n for one, other in pairs)
    estimates = []
    for side in (0, 1):
        mean = error = parts = 0.0
        for pair in pairs:
            weight = (pair[0].n + pair[1].n) / total
            sample = Sample(pair[side].n, pair[side].mean(term), pair[side].variance(term))
            share = weight * weight * sample.error
            mean += weight * sample.mean
            error += share
            parts += share * share / sample.df
        estimates.append(Estimate(mean, error, error * error / parts if parts > 0 else np.nan))
    return estimates[0], estimates[1]
