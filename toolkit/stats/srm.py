"""Whether the split is sound: the test for a sample-ratio mismatch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from toolkit.errors import MetricError, did_you_mean, shown
from toolkit.stats.arguments import array_of_numbers, check_number

__all__ = ["SRM_ALARM", "SampleRatio", "sample_ratio", "split_alike", "unlike"]

SRM_ALARM = 0.0005
_EXPECTED = 5.0  # units in the smallest cell of a chi-square


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Observed units per arm against the shares that were meant.

    Attributes:
        observed: units by arm.
        expected: units by arm under the shares meant.
        pvalue: chi-square p-value that chance alone made the gap.
        alarm: the p-value is below 0.0005: something other than chance decided who is in which arm, and no lift
            of this experiment can be trusted.
    """

    observed: Mapping[str, int]
    expected: Mapping[str, float]
    pvalue: float

    @property
    def alarm(self) -> bool:
        """Whether the split is too far from what was meant."""
        return self.pvalue < SRM_ALARM

    def __str__(self) -> str:
        parts = ", ".join(f"{arm} {n:,} (meant {self.expected[arm]:,.0f})" for arm, n in self.observed.items())
        verdict = "not what was meant" if self.alarm else "as meant"
        return f"split {verdict}: {parts}; p = {self.pvalue:.3g}"


def sample_ratio(observed: Mapping[str, int], weights: Mapping[str, float]) -> SampleRatio:
    """Whether the units per arm fit the weights the experiment was set to.

    Args:
        observed: units by arm.
        weights: positive weight by arm, the same arms; any scale (shares, or 1:1).

    Returns:
        Observed and expected units, and the chi-square p-value; `.alarm` when it is below 0.0005.

    Raises:
        MetricError: the arms differ, a weight is not positive, nobody was observed, or no such number of units.

    Reference: Fabijan et al. (2019), Diagnosing Sample Ratio Mismatch in Online Controlled Experiments, KDD.

    >>> print(f"{sample_ratio({'control': 821588, 'mail': 815482}, {'control': 1, 'mail': 1}).pvalue:.4g}")
    1.822e-06
    """
    for name, given in (("observed", observed), ("weights", weights)):
        if not isinstance(given, Mapping):
            raise MetricError(
                f"{name}: found {shown(given)}; allowed: a number for each arm, as {{'control': 1, 'mail': 1}}"
            )
    for arm in weights:
        if arm not in observed:
            raise MetricError(
                f"weights: arm {arm!r} is not in the outcomes" + did_you_mean(str(arm), map(str, observed))
            )
    without = [arm for arm in observed if arm not in weights]
    if without:
        raise MetricError(f"weights: arm {without[0]!r} has no weight; give one for every arm")
    shares = array_of_numbers([weights[arm] for arm in observed], where="weights")
    if not np.isfinite(shares).all() or (shares <= 0).any():
        raise MetricError(f"weights: each must be a positive number; found {shown(dict(weights))}")
    for arm, count in observed.items():
        check_number(count, where=f"observed: {arm}", allowed="units, from 0", least=0.0, most=1e15)
    counts = np.array(list(observed.values()), dtype=np.float64)
    total = counts.sum()
    if total <= 0:
        raise MetricError("weights: nobody was observed in any arm")
    expected = shares / shares.sum() * total
    statistic = float(((counts - expected) ** 2 / expected).sum())
    pvalue = float(chdtrc(len(counts) - 1, statistic)) if len(counts) > 1 else 1.0
    return SampleRatio(dict(observed), dict(zip(observed, expected.tolist(), strict=True)), pvalue)


def split_alike(units: NDArray[np.integer]) -> float:
    """Whether arms are split alike in all groups of units; groups too small for a chi-square are put together.

    Args:
        units: groups by arms.

    Returns:
        P-value; NaN where fewer than two groups are large enough.

    >>> f"{split_alike(np.array([[100, 100], [100, 50]])):.4f}"
    '0.0018'
    """
    counts = units.astype(np.float64)
    shares = counts.sum(axis=0) / counts.sum()
    small = counts.sum(axis=1) * shares.min() < _EXPECTED
    counts = np.vstack([counts[~small], counts[small].sum(axis=0)]) if small.any() else counts
    counts = counts[counts.sum(axis=1) > 0]
    if len(counts) < 2:
        return math.nan
    expected = np.outer(counts.sum(axis=1), shares)
    return float(chdtrc((len(counts) - 1) * (counts.shape[1] - 1), float(((counts - expected) ** 2 / expected).sum())))


def unlike(groups: str, pvalue: float) -> str:
    """What to say of groups in which arms are not split alike, or nothing."""
    if not pvalue < SRM_ALARM:
        return ""
    return (
        f"arms are not split alike by {groups} (p = {pvalue:.2g}): it changed with the arms, or their weights changed"
    )
