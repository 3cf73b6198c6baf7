"""For whom: uplift by segment with all segments counted, and whether a score finds the people whom a mail moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from toolkit.arrow import TableLike
from toolkit.bars import Bar
from toolkit.drawable import Drawable
from toolkit.errors import MetricError, shown
from toolkit.stats.arguments import array_of_numbers, check_alpha, check_column, check_count, check_flag, check_seed
from toolkit.stats.doors import check_metric, frame_at
from toolkit.stats.metric import Metric, Setting, join
from toolkit.stats.moments import numbers
from toolkit.stats.multiplicity import benjamini_hochberg, holm
from toolkit.stats.outcomes import Arms, read, read_arms
from toolkit.stats.srm import split_alike, unlike
from toolkit.stats.units import one_row_per_unit
from toolkit.tables import LIFT, as_text

__all__ = ["Qini", "qini", "uplift_by_segment"]

Floats = NDArray[np.float64]
_MOST = 200
MOST_DRAWS = 100_000
_FORMULA = (
    "gain(f) = sum of outcomes of treated in the top f / treated - "
    "(sum of outcomes of control in the top f / control in the top f) * treated in the top f / treated; "
    "qini = area under gain over f from 0 to 1, minus gain(1) / 2; "
    "auuc = area under f * (mean of treated in the top f - mean of control in the top f)"
)


def uplift_by_segment(
    outcomes: TableLike,
    metric: Metric,
    by: str,
    *,
    control: object = "control",
    arm: str = "arm",
    unit: str = "unit",
    alpha: float = 0.05,
    correction: str = "holm",
    seed: int = 0,
) -> pd.DataFrame:
    """The lift in each segment, with p-values that count all segments looked at.

    Args:
        outcomes: one row per unit, or several where the metric is a `Ratio`: they are added up within each segment.
        metric: what to compare.
        by: a column known before the experiment; a missing value is a segment of its own.
        control: the value of the arm column which is control.
        arm: the column that says which arm a unit is in.
        unit: the column that names the unit; without a column `unit`, each row counts as one unit.
        alpha: two-sided, of each interval.
        correction: `holm` (no false alarm at all) or `benjamini_hochberg` (few among the alarms).
        seed: where permutations start.

    Returns:
        One row per segment and arm: segment, the columns of `toolkit.tables.LIFT`, pvalue_adjusted (over all rows),
        heterogeneity, the p-value that segments differ in their lift at all (Cochran's Q, one per arm), and split, the
        p-value that arms are split alike in all segments (chi-square). A segment without control is undefined, with a
        note; where split is below 0.0005, every note says that arms and segments are not independent.

    Raises:
        MetricError: a column missing, more than 200 segments, an unknown correction, or a unit in several arms or rows.

    Reference: Cochran (1954), Biometrics 10, 101-129; Holm (1979); Fabijan et al. (2019), KDD, for the split.
    """
    outcomes = frame_at(outcomes, "outcomes", where="uplift_by_segment")
    check_metric(metric, where="uplift_by_segment")
    for name, column in (("by", by), ("arm", arm), ("unit", unit)):
        check_column(column, where=f"uplift_by_segment: {name}")
    check_alpha(alpha, where="uplift_by_segment")
    check_seed(seed, where="uplift_by_segment")
    corrections = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}
    if not isinstance(correction, str) or correction not in corrections:
        raise MetricError(f"correction: found {shown(correction)}; allowed: {', '.join(corrections)}")
    if by not in outcomes.columns:
        numbers(outcomes, by)
    arms = read_arms(outcomes, arm=arm, control=control)
    labels = as_text(outcomes[by]).fillna("missing")
    segments = sorted(set(labels))
    if len(segments) > _MOST:
        raise MetricError(f"segments: column {by!r} has {len(segments):,} values; allowed: at most {_MOST}")
    setting = Setting(alpha=alpha, seed=seed)
    one_row_per_unit(outcomes, (metric,), arms=arms, unit=unit)
    rows, counts = [], []
    for segment in segments:
        chosen = (labels == segment).to_numpy(dtype=bool)
        theirs = Arms(arms.names, arms.codes[chosen])
        frame, theirs, _ = one_row_per_unit(outcomes.loc[chosen], (metric,), arms=theirs, unit=unit)
        counts.append(np.bincount(theirs.codes, minlength=len(arms.names)))
        part = read(frame, metric.terms(), arms=theirs)
        for name in arms.others:
            for one in metric.compare(part, name, setting):
                told = {column: getattr(one, column) for column in LIFT.names}
                rows.append({"segment": segment, **told, "_error": one.error})
    frame = pd.DataFrame(rows)
    split = split_alike(np.array(counts))
    why = unlike(by, split)
    frame["note"] = [join(note, why) for note in frame["note"]]
    frame["pvalue_adjusted"] = corrections[correction](frame["pvalue"].to_numpy())
    heterogeneity = {
        key: _cochran(group["diff"].to_numpy(), group["_error"].to_numpy())
        for key, group in frame.groupby(["metric", "arm"])
    }
    frame["heterogeneity"] = [heterogeneity[key] for key in zip(frame["metric"], frame["arm"], strict=True)]
    return frame.drop(columns="_error").assign(split=split)


def _cochran(diffs: Floats, errors: Floats) -> float:
    known = np.isfinite(diffs) & (errors > 0)
    if known.sum() < 2:
        return math.nan
    weights = 1 / errors[known] ** 2
    centre = (weights * diffs[known]).sum() / weights.sum()
    return float(chdtrc(int(known.sum()) - 1, float((weights * (diffs[known] - centre) ** 2).sum())))


@dataclass(frozen=True, eq=False)
class Qini(Drawable):
    """Whether a score ranks people by what a mail does to them.

    Attributes:
        table: one row per step of the curve: share (of all units, best scores first), gain (outcomes gained per
            treated unit when the mail goes to that share), random (the same at random).
        qini: area between the curve and the line of a random order.
        qini_lower, qini_upper: bootstrap interval; NaN without draws.
        auuc: area under the uplift curve.
        formula: what these numbers are, since packages differ.
    """

    table: pd.DataFrame
    qini: float
    auuc: float
    qini_lower: float = math.nan
    qini_upper: float = math.nan
    formula: str = _FORMULA

    def __str__(self) -> str:
        interval = "" if math.isnan(self.qini_lower) else f" [{self.qini_lower:.4g}, {self.qini_upper:.4g}]"
        return f"Qini {self.qini:.4g}{interval}, AUUC {self.auuc:.4g}; {self.formula}"

    __repr__ = __str__


def qini(
    outcome: ArrayLike,
    treated: ArrayLike,
    score: ArrayLike,
    *,
    draws: int = 0,
    alpha: float = 0.05,
    seed: int = 0,
    progress: bool = True,
) -> Qini:
    """The Qini curve of a score: what is gained when the mail goes to the best scores only.

    Args:
        outcome: one number per unit, for example converted or revenue.
        treated: True for units that were mailed, False for control; drawn at random.
        score: higher means mail first. Made on other data than these, else it flatters itself.
        draws: bootstrap resamples of units for the interval of the Qini; 0 for none.
        alpha: 1 - confidence of that interval.
        seed: where the resamples start.
        progress: show a progress bar where the draws take longer than a moment.

    Returns:
        The curve, Qini and AUUC with their formula. Units of equal score enter together.

    Raises:
        MetricError: lengths differ, a value is missing, an arm is empty, or too small to be resampled.

    Reference: Radcliffe (2007), Direct Marketing Analytics Journal 1, 14-21; Devriendt et al. (2020), IEEE TKDE.

    >>> found = qini([1, 0, 0, 0], [True, False, True, False], [0.9, 0.8, 0.2, 0.1])
    >>> round(found.qini, 3)
    0.188
    """
    values, flags, ranks = (
        array_of_numbers(part, where=f"qini: {name}")
        for name, part in (("outcome", outcome), ("treated", treated), ("score", score))
    )
    check_count(draws, where="qini: draws", least=0, most=MOST_DRAWS)
    check_alpha(alpha, where="qini")
    check_seed(seed, where="qini")
    check_flag(progress, where="qini: progress")
    if not values.shape == flags.shape == ranks.shape or values.ndim != 1:
        raise MetricError("qini: outcome, treated and score must be of the same length")
    if not (np.isfinite(values).all() and np.isfinite(ranks).all() and np.isin(flags, (0.0, 1.0)).all()):
        raise MetricError("qini: outcome and score must be finite, treated must be True or False, for every unit")
    mailed = flags == 1.0
    if not mailed.any() or mailed.all():
        raise MetricError("qini: needs treated units and control units")
    order = np.argsort(-ranks, kind="stable")
    values, mailed, ranks = values[order], mailed[order], ranks[order]
    share, gain, uplift = _curve(values, mailed, ranks, np.ones(len(values)))
    found = Qini(
        pd.DataFrame({"share": share, "gain": gain, "random": share * gain[-1]}),
        float(np.trapezoid(gain, share) - gain[-1] / 2),
        float(np.trapezoid(uplift, share)),
    )
    if not draws:
        return found
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in Bar(range(draws), desc="qini", unit=" draws", disable=not progress, delay=0.5):
        weights = rng.poisson(1.0, len(values)).astype(np.float64)
        if not (weights[mailed].any() and weights[~mailed].any()):
            continue
        places, height, _ = _curve(values, mailed, ranks, weights)
        resampled.append(float(np.trapezoid(height, places) - height[-1] / 2))
    if not resampled:
        raise MetricError(
            f"qini: none of {draws:,} resamples of {len(values):,} units holds both arms; use more units, or draws=0"
        )
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return replace(found, qini_lower=float(low), qini_upper=float(high))


def _curve(values: Floats, mailed: NDArray[np.bool_], ranks: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Share, gain and uplift after each group of equal scores, from (0, 0) on."""
    last = np.flatnonzero(np.append(ranks[1:] != ranks[:-1], True))
    sums = [
        np.concatenate([[0.0], np.cumsum(part * weights)[last]])
        for part in (mailed.astype(np.float64), ~mailed * 1.0, values * mailed, values * ~mailed)
    ]
    n, n_control, total, total_control = sums
    share = (n + n_control) / (n[-1] + n_control[-1])
    mean = np.divide(total, n, out=np.zeros_like(n), where=n > 0)
    mean_control = np.divide(total_control, n_control, out=np.zeros_like(n), where=n_control > 0)
    gain = (total - mean_control * n) / n[-1]
    return share, gain, share * (mean - mean_control)
