"""Reactivation in time: Freireich's leukaemia trial, and live oracles."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf, logrank

from toolkit.errors import MetricError
from toolkit.stats.survival import kaplan_meier, log_rank

DRUG = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
DRUG_HAPPENED = [True] * 9 + [False] * 12
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
PLACEBO_HAPPENED = [True] * 21


def test_the_curve_and_medians_are_those_of_freireich_1963() -> None:
    curve = kaplan_meier(DRUG, DRUG_HAPPENED)
    assert [round(curve.at(time), 4) for time in (6, 10, 23)] == [0.8571, 0.7529, 0.4482]
    assert curve.median == 23
    assert kaplan_meier(PLACEBO, PLACEBO_HAPPENED).median == 8


def test_the_log_rank_test_is_that_of_freireich_1963() -> None:
    chi2, pvalue = log_rank(DRUG, DRUG_HAPPENED, control_durations=PLACEBO, control_happened=PLACEBO_HAPPENED)
    assert round(chi2, 5) == 16.79294
    assert pvalue == pytest.approx(4.17e-05, rel=1e-3)


def test_restricted_means_at_20_are_those_of_survrm2() -> None:
    assert np.round(kaplan_meier(DRUG, DRUG_HAPPENED).restricted_mean(20), 7).tolist() == [16.1165266, 1.2515602]
    assert np.round(kaplan_meier(PLACEBO, PLACEBO_HAPPENED).restricted_mean(20), 7).tolist() == [8.4285714, 1.2680827]


def people(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    happens, ends = rng.exponential(20, count), rng.uniform(1, 40, count)
    return np.ceil(np.minimum(happens, ends)), happens <= ends


def test_curve_and_log_rank_are_those_of_scipy() -> None:
    (one, flags), (other, flags_other) = people(1), people(2, 200)
    first, second = (
        CensoredData(one[flags], right=one[~flags]),
        CensoredData(other[flags_other], right=other[~flags_other]),
    )
    curve = kaplan_meier(one, flags)
    oracle = ecdf(first).sf
    assert curve.survival == pytest.approx(oracle.evaluate(curve.times), rel=1e-12)
    expected = logrank(first, second)
    chi2, pvalue = log_rank(one, flags, control_durations=other, control_happened=flags_other)
    assert chi2 == pytest.approx(expected.statistic**2, rel=1e-10)
    assert pvalue == pytest.approx(expected.pvalue, rel=1e-9)


def test_curve_band_and_median_are_those_of_lifelines() -> None:
    """lifelines' variance of the restricted mean is not an oracle: it is wrong in 0.30.3."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            durations, happened = people(3)
            oracle = importlib.import_module("lifelines").KaplanMeierFitter().fit(durations, happened)
            bands = oracle.confidence_interval_
            mean = importlib.import_module("lifelines.utils").restricted_mean_survival_time(oracle, t=15)
    except Exception as reason:  # a broken oracle, not a broken library
        pytest.skip(f"lifelines does not run here: {reason}")
    curve = kaplan_meier(durations, happened)
    lower, upper = curve.band()
    assert curve.survival == pytest.approx(oracle.survival_function_["KM_estimate"].reindex(curve.times).to_numpy())
    assert lower == pytest.approx(bands.iloc[:, 0].reindex(curve.times).to_numpy(), abs=1e-9)
    assert upper == pytest.approx(bands.iloc[:, 1].reindex(curve.times).to_numpy(), abs=1e-9)
    assert curve.median == oracle.median_survival_time_
    assert curve.restricted_mean(15)[0] == pytest.approx(mean)


def test_the_error_of_the_restricted_mean_covers_as_promised() -> None:
    """1,000 draws of 200 people: 95% intervals must hold 93 to 97% (Monte-Carlo error 0.7 points)."""
    rng = np.random.default_rng(4)
    truth = 20 * (1 - np.exp(-15 / 20))
    hits = 0
    for _ in range(1000):
        happens, ends = rng.exponential(20, 200), rng.uniform(10, 40, 200)
        mean, error = kaplan_meier(np.minimum(happens, ends), happens <= ends).restricted_mean(15)
        hits += abs(mean - truth) < 1.959964 * error
    assert 0.93 < hits / 1000 < 0.97


def test_nothing_is_said_beyond_the_follow_up() -> None:
    curve = kaplan_meier([1, 2, 3], [True, False, False])
    assert np.isnan(curve.at(4))
    assert np.isnan(curve.restricted_mean(4)[0])
    assert np.isnan(curve.median)
    assert kaplan_meier([1, 2], [True, True]).restricted_mean(10)[0] == 1.5


def test_a_pace_that_nobody_shows_cannot_be_compared() -> None:
    found = log_rank([1, 2], [False, False], control_durations=[1, 2], control_happened=[False, False])
    assert np.isnan(found).all()
    alone = log_rank([5, 6], [True, False], control_durations=[1, 2], control_happened=[False, False])
    assert np.isnan(alone).all()  # nobody of control is followed any more when it happens


@pytest.mark.parametrize(
    ("durations", "happened", "message"),
    [
        ([], [], "nobody"),
        ([1, -1], [1, 1], "0 or more"),
        ([1, np.nan], [1, 1], "finite"),
        ([1], [1, 0], "one for each"),
    ],
)
def test_durations_that_cannot_be_are_errors(durations: list, happened: list, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        kaplan_meier(durations, happened)


def test_a_curve_begins_at_1_and_stays_at_0_once_it_happened_to_everybody() -> None:
    curve = kaplan_meier([0, 2, 5], [True, True, True])
    assert [curve.at(time) for time in (0, 1.9, 2, 5, 9)] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0, 0])
    assert kaplan_meier([1, 2], [True, True]).at(0.5) == 1.0
    lower, upper = curve.band()
    assert (lower[-1], upper[-1]) == (0.0, 0.0)
    assert np.isfinite(lower).all()
    assert np.isfinite(upper).all()
