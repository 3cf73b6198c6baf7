"""Arms that beat control held against each other: whether one of them really beats another."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.stats.comparison import Comparison
from toolkit.stats.metric import Metric, Setting
from toolkit.stats.moments import Moments
from toolkit.stats.multiplicity import holm
from toolkit.stats.outcomes import Arms, Outcomes

__all__ = ["by_gain", "winning_pairs"]


@dataclass(frozen=True, slots=True, eq=False)
class _HeldAgainst:
    """The same outcomes with another arm in the place of control."""

    outcomes: Outcomes
    arms: Arms

    @classmethod
    def of(cls, outcomes: Outcomes, against: str) -> _HeldAgainst:
        arms = outcomes.arms
        names = (against, *(name for name in arms.names if name != against))
        place = np.array([names.index(name) for name in arms.names], dtype=arms.codes.dtype)
        return cls(outcomes, Arms(names, place.take(arms.codes)))

    @property
    def moments(self) -> Mapping[str, Moments]:
        return self.outcomes.moments

    @property
    def control(self) -> Moments:
        return self.moments[self.arms.control]

    def values(self, column: str, arm: str) -> NDArray[np.float64]:
        return self.outcomes.values(column, arm)

    def rows(self, arm: str, columns: Sequence[str]) -> pd.DataFrame:
        return self.outcomes.rows(arm, columns)

    def words(self, column: str) -> Sequence[str]:
        return self.outcomes.words(column)


def by_gain(arms: Sequence[str], comparisons: Sequence[Comparison]) -> list[str]:
    """Arms in the order of what they gain on the primary metrics, the first of which counts most.

    Args:
        arms: which.
        comparisons: those of all arms with control.
    """

    def losses(arm: str) -> tuple[float, ...]:
        found = [one for one in comparisons if one.arm == arm and one.role == "primary"]
        return tuple(
            math.inf if math.isnan(one.diff) else -one.diff if one.better == "higher" else one.diff for one in found
        )

    return sorted(arms, key=losses)


def winning_pairs(
    outcomes: Outcomes,
    metrics: Sequence[Metric],
    comparisons: Sequence[Comparison],
    setting: Setting,
    *,
    alpha: float,
    repeated: Callable[[float], float],
) -> tuple[Comparison, ...]:
    """Every two arms that beat control on a primary metric, held against each other on all primary metrics.

    The chance of even one false alarm among all of them stays below alpha, however many arms are in the experiment:
    Holm's correction counts every pair of arms, also of those that did not win, since which ones win is not known
    before.

    Args:
        outcomes: of all arms.
        metrics: what was compared.
        comparisons: those of all arms with control, adjusted.
        setting: what holds for every comparison.
        alpha: what an arm has to be sure at to have won.
        repeated: a p-value of today's data, as it holds for all looks.

    Returns:
        One comparison per metric and pair: `arm` gains more than `against` on the first primary metric.
    """
    primary = [one for one in comparisons if one.role == "primary"]
    won = dict.fromkeys(one.arm for one in primary if one.sure(alpha) and one.improved)
    if len(won) < 2:
        return ()
    found = list(_compared(outcomes, metrics, by_gain(list(won), comparisons), setting))
    pvalues = [repeated(one.pvalue) for one in found]
    tested = Counter((one.arm, one.against) for one in [*primary, *found] if not math.isnan(one.pvalue))
    pairs = math.comb(len(outcomes.arms.others), 2) * max(tested.values())
    adjusted = holm([*pvalues, *[1.0] * (pairs - np.isfinite(pvalues).sum())])
    return tuple(
        replace(one, pvalue_repeated=p, pvalue_adjusted=float(q))
        for one, p, q in zip(found, pvalues, adjusted, strict=False)
    )


def _compared(
    outcomes: Outcomes, metrics: Sequence[Metric], arms: Sequence[str], setting: Setting
) -> Iterator[Comparison]:
    held_against = {against: _HeldAgainst.of(outcomes, against) for against in arms[1:]}
    for arm, against in itertools.combinations(arms, 2):
        held = held_against[against]
        for metric in metrics:
            for one in metric.compare(held, arm, setting):
                if one.role == "primary":
                    yield replace(one, against=against)
