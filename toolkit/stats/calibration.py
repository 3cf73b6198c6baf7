"""Does it hold on my own data? A/A experiments: arms drawn again and again where there is no effect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.arrow import TableLike
from toolkit.errors import MetricError, shown
from toolkit.readable import counted
from toolkit.stats.arguments import check_alpha, check_count, check_number, check_seed
from toolkit.stats.doors import check_metric, check_once, frame_at
from toolkit.stats.means import Mean
from toolkit.stats.metric import Metric, Setting
from toolkit.stats.moments import numbers
from toolkit.stats.outcomes import Arms, read
from toolkit.stats.permutation import DRAWS, centred, permutation_wanted, shuffled_sums
from toolkit.stats.proportions import Share, score_test
from toolkit.stats.rates import Rate
from toolkit.stats.welch import Sample, welch

__all__ = ["calibrate"]

Floats = NDArray[np.float64]
_MOST_RUNS = 1_000_000


def calibrate(
    outcomes: TableLike,
    metrics: Sequence[Metric],
    *,
    holdout: float = 0.5,
    runs: int = 1_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """How often each metric raises a false alarm on these very outcomes, when arms are drawn and nothing is done.

    Args:
        outcomes: one row per unit; arms, where there are any, are left aside.
        metrics: what to compare. Plain rates and means take about a tenth of a millisecond a run, others longer.
        holdout: share of units in control, above 0 and below 1.
        runs: how many times arms are drawn.
        alpha: two-sided.
        seed: where the draws start.

    Returns:
        One row per metric: metric, method, runs, false_alarms (share), below and above (share of alarms that say
        control is better, or the arm), lower and upper (interval of the share within which alpha should lie, 95%
        Monte-Carlo).

    Raises:
        MetricError: a holdout out of range, missing values, or a metric that cannot be compared.

    >>> people = pd.DataFrame({"converted": [1] * 300 + [0] * 2700})
    >>> found = calibrate(people, [Rate("converted")], runs=2000, seed=1)
    >>> bool(found["lower"].iloc[0] <= 0.05 <= found["upper"].iloc[0])
    True
    """
    outcomes = frame_at(outcomes, "outcomes", where="calibrate")
    check_once(outcomes, where="calibrate")
    chosen = _metrics(metrics)
    for metric in chosen:
        check_metric(metric, where="calibrate")
    allowed = "above 0 and below 1"
    check_number(holdout, where="calibrate: holdout", allowed=allowed, least=math.ulp(0.0), most=1 - 2**-53)
    check_count(runs, where="calibrate: runs", most=_MOST_RUNS)
    check_alpha(alpha, where="calibrate")
    check_seed(seed, where="calibrate")
    n_control = round(len(outcomes) * holdout)
    if min(n_control, len(outcomes) - n_control) < 2:
        raise MetricError(f"calibrate: {counted(len(outcomes), 'unit')}: too few for a holdout of {holdout:.0%}")
    rows = []
    for metric in chosen:
        if isinstance(metric, Rate) and metric.verdict is None and len(outcomes) >= 1_000:
            pvalues, diffs, method = _rates(_flags(outcomes, metric.column), n_control, runs, seed)
        elif isinstance(metric, Mean) and not metric.covariate and not metric.strata and metric.method != "bootstrap":
            pvalues, diffs, method = _means(_values(outcomes, metric.column), n_control, runs, seed, metric.method)
        else:
            pvalues, diffs, method = _any(outcomes, metric, n_control, runs, seed)
        alarms = pvalues < alpha
        share = float(alarms.mean())
        spread = 1.959964 * math.sqrt(max(share * (1 - share), alpha * (1 - alpha)) / runs)
        rows.append(
            {
                "metric": metric.label,
                "method": method,
                "runs": runs,
                "false_alarms": share,
                "below": float((alarms & (diffs < 0)).mean()),
                "above": float((alarms & (diffs > 0)).mean()),
                "lower": max(share - spread, 0.0),
                "upper": min(share + spread, 1.0),
            }
        )
    return pd.DataFrame(rows)


def _metrics(metrics: object) -> Sequence[Metric]:
    if isinstance(metrics, Metric):
        return (metrics,)
    if not isinstance(metrics, Iterable) or isinstance(metrics, str):
        raise MetricError(
            f"calibrate: metrics: found {shown(metrics)}; allowed: a list, for example [Rate('converted')]"
        )
    chosen = tuple(metrics)
    if not chosen:
        raise MetricError("calibrate: metrics: found none; give at least one, for example Rate('converted')")
    return chosen


def _values(outcomes: pd.DataFrame, column: str) -> Floats:
    values = numbers(outcomes, column).astype(np.float64)
    if not np.isfinite(values).all():
        raise MetricError(f"calibrate: column {column!r} has missing or infinite values")
    return values


def _flags(outcomes: pd.DataFrame, column: str) -> Floats:
    values = _values(outcomes, column)
    if not np.isin(values, (0.0, 1.0)).all():
        raise MetricError(
            f"calibrate: a rate needs 0 and 1; {column} runs from {values.min():g} to {values.max():g}"
            f" (for counts or money use Mean({column!r}))"
        )
    return values


def _rates(values: Floats, n_control: int, runs: int, seed: int) -> tuple[Floats, Floats, str]:
    successes = int((values != 0).sum())
    n = len(values) - n_control
    drawn = np.random.default_rng(seed).hypergeometric(successes, len(values) - successes, n, size=runs)
    arm, control = Share(drawn, n), Share(successes - drawn, n_control)
    _, pvalues = score_test(arm, control)
    return pvalues, np.asarray(arm.rate - control.rate), "score z-test"


def _means(values: Floats, n_control: int, runs: int, seed: int, method: str) -> tuple[Floats, Floats, str]:
    bought = int((values != 0).sum())
    (values,) = centred(values)
    total, squares = float(values.sum()), float(values @ values)
    n = len(values) - n_control
    buyers = values[values != 0]
    size = min(n, n_control)
    zeros = len(values) - len(buyers)
    first = _samples(*shuffled_sums(buyers, zeros, size, draws=runs, seed=seed), size)
    other = _samples(total - first[0] * size, squares - first[1], len(values) - size)
    arm, control = (first[2], other[2]) if size == n else (other[2], first[2])
    found = welch(arm, control)
    if method == "welch" or (method == "auto" and not permutation_wanted((n, n_control), bought)):
        return found.pvalue, found.diff, "Welch t-test"
    # the shuffles of every one of these experiments are those of the pooled outcomes: they are drawn once
    null = _samples(*shuffled_sums(buyers, zeros, size, draws=DRAWS, seed=seed + 1), size)
    null_other = _samples(total - null[0] * size, squares - null[1], len(values) - size)
    pair = (null[2], null_other[2]) if size == n else (null_other[2], null[2])
    ordered = np.sort(welch(*pair).statistic)
    above = 1 + len(ordered) - np.searchsorted(ordered, found.statistic, side="left")
    below = 1 + np.searchsorted(ordered, found.statistic, side="right")
    return np.minimum(1.0, 2 * np.minimum(above, below) / (DRAWS + 1)), found.diff, "studentised permutation test"


def _samples(sums: Floats, squares: Floats, n: int) -> tuple[Floats, Floats, Sample]:
    return sums / n, squares, Sample(n, sums / n, np.maximum(squares - sums * sums / n, 0.0) / (n - 1))


def _any(outcomes: pd.DataFrame, metric: Metric, n_control: int, runs: int, seed: int) -> tuple[Floats, Floats, str]:
    rng = np.random.default_rng(seed)
    codes = np.zeros(len(outcomes), dtype=np.int8)
    codes[n_control:] = 1
    pvalues, diffs, method = np.empty(runs), np.empty(runs), ""
    for run in range(runs):
        arms = Arms(("control", "arm"), rng.permutation(codes))
        found = metric.compare(read(outcomes, metric.terms(), arms=arms), "arm", Setting(seed=run))[0]
        if np.isnan(found.diff):
            raise MetricError(f"calibrate: {metric.label}: no number can be given: {found.note}")
        pvalues[run], diffs[run], method = found.pvalue, found.diff, found.method
    return pvalues, diffs, method
