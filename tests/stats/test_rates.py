"""Rates against published tables and live oracles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, boschloo_exact, hypergeom
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest

from toolkit.errors import MetricError
from toolkit.stats.exact import boschloo_test
from toolkit.stats.proportions import (
    Share,
    newcombe_interval,
    score_difference_interval,
    score_ratio_interval,
    score_test,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_those_of_newcombe_1998(successes: int, trials: int, lower: float, upper: float) -> None:
    found = wilson_interval(Share(successes, trials))
    assert tuple(np.round(found, 4)) == (lower, upper)


@pytest.mark.parametrize(
    ("arm", "control", "lower", "upper"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
    ],
)
def test_newcombe_intervals_are_those_of_newcombe_1998(
    arm: tuple[int, int], control: tuple[int, int], lower: float, upper: float
) -> None:
    assert tuple(np.round(newcombe_interval(Share(*arm), Share(*control)), 4)) == (lower, upper)


def test_the_score_interval_of_a_difference_is_that_of_miettinen_and_nurminen_1985() -> None:
    found = score_difference_interval(Share(56, 70), Share(48, 80))
    assert tuple(np.round(found, 4)) == (0.0528, 0.3382)


@pytest.mark.parametrize(
    ("arm", "control", "lower", "upper"),
    [((36, 40), (16, 80), 2.93465, 7.16630), ((8, 15), (4, 15), 0.80337, 5.42310)],
)
def test_the_score_interval_of_a_ratio_is_that_of_miettinen_and_nurminen_1985(
    arm: tuple[int, int], control: tuple[int, int], lower: float, upper: float
) -> None:
    assert tuple(np.round(score_ratio_interval(Share(*arm), Share(*control)), 5)) == (lower, upper)


def test_koopman_1984_interval_is_the_score_interval_without_the_factor() -> None:
    found = score_ratio_interval(Share(36, 40), Share(16, 80), corrected=False)
    assert tuple(np.round(found, 2)) == (2.94, 7.15)


def _tables(count: int, largest: int, seed: int) -> tuple[Share, Share]:
    rng = np.random.default_rng(seed)
    trials, trials_control = rng.integers(5, largest, (2, count))
    rates = rng.uniform(0.02, 0.6, count)
    return (
        Share(rng.binomial(trials, np.clip(rates * rng.uniform(0.7, 1.5, count), 0, 1)), trials),
        Share(rng.binomial(trials_control, rates), trials_control),
    )


def test_the_score_test_is_that_of_statsmodels() -> None:
    arm, control = _tables(50, 4000, seed=1)
    z, p = score_test(arm, control)
    for at in range(50):
        counts, trials = [arm.successes[at], control.successes[at]], [arm.trials[at], control.trials[at]]
        expected = proportions_ztest(counts, trials)
        assert (z[at], p[at]) == pytest.approx(expected, rel=1e-9)


def test_wilson_and_newcombe_are_those_of_statsmodels() -> None:
    arm, control = _tables(50, 500, seed=2)
    lower, upper = newcombe_interval(arm, control)
    for at in range(50):
        four = (arm.successes[at], arm.trials[at], control.successes[at], control.trials[at])
        assert wilson_interval(Share(*four[:2])) == pytest.approx(proportion_confint(*four[:2], method="wilson"))
        expected = confint_proportions_2indep(*four, method="newcomb", compare="diff")
        assert (lower[at], upper[at]) == pytest.approx(expected, abs=1e-9)


def test_the_ratio_interval_is_the_score_interval_of_statsmodels() -> None:
    arm, control = _tables(25, 500, seed=3)
    lower, upper = score_ratio_interval(arm, control)
    for at in range(25):
        four = (arm.successes[at], arm.trials[at], control.successes[at], control.trials[at])
        if min(four) == 0 or four[0] == four[1] or four[2] == four[3]:
            continue
        expected = confint_proportions_2indep(*four, method="score", compare="ratio", correction=True)
        assert (lower[at], upper[at]) == pytest.approx(expected, rel=1e-5)


def test_the_score_intervals_exclude_no_effect_exactly_when_the_score_test_rejects() -> None:
    arm, control = _tables(4_000, 3000, seed=4)
    _, p = score_test(arm, control)
    for alpha in (0.01, 0.05, 0.2):
        lower, upper = score_difference_interval(arm, control, alpha=alpha, corrected=False)
        assert (((lower > 0) | (upper < 0)) == (p < alpha)).all()
        lower, upper = score_ratio_interval(arm, control, alpha=alpha, corrected=False)
        assert (((lower > 1) | (upper < 1)) == (p < alpha)).all()


def test_boschloo_is_that_of_scipy() -> None:
    rng = np.random.default_rng(5)
    for _ in range(12):
        trials, trials_control = rng.integers(3, 40, 2)
        x, x_control = rng.integers(0, trials + 1), rng.integers(0, trials_control + 1)
        expected = boschloo_exact([[x, x_control], [trials - x, trials_control - x_control]], n=64).pvalue
        assert boschloo_test(Share(x, trials), Share(x_control, trials_control)) == pytest.approx(expected, abs=1e-6)


def largest_chance(x: int, trials: int, x_control: int, trials_control: int) -> float:
    """Of tables with a Fisher p-value as small, at two thousand common rates, by scipy."""
    counts, controls = np.arange(trials + 1)[:, None], np.arange(trials_control + 1)
    fisher = hypergeom(trials + trials_control, trials, counts + controls).sf(counts - 1)
    extreme = fisher <= fisher[x, x_control] * (1 + 1e-11)
    some = np.flatnonzero(extreme.any(axis=0))
    least = extreme.argmax(axis=0)[some]
    rates = np.sin(np.linspace(0, np.pi / 2, 2_001))[:, None] ** 2
    chances = binom.sf(least - 1, trials, rates) * binom.pmf(some, trials_control, rates)
    return float(chances.sum(axis=1).max())


@pytest.mark.parametrize(
    ("x", "trials", "x_control", "trials_control"),
    [(31, 5_447, 1, 10), (87, 4_690, 2, 22), (745, 2_670, 4, 11), (3_400, 4_012, 8, 8), (14, 60, 19, 45)],
)
def test_boschloo_misses_no_common_rate_however_uneven_arms_are(
    x: int, trials: int, x_control: int, trials_control: int
) -> None:
    found = boschloo_test(Share(x, trials), Share(x_control, trials_control))
    expected = 2 * min(
        largest_chance(x, trials, x_control, trials_control), largest_chance(x_control, trials_control, x, trials)
    )
    assert (1 - 1e-7) * expected <= found <= (1 + 2e-3) * expected


def test_boschloo_takes_twenty_thousand_trials_and_not_one_more() -> None:
    # scipy 1.17's boschloo_exact([[3000, 5], [16988, 7]], n=64), which takes a hundred times as long
    assert boschloo_test(Share(3_000, 19_988), Share(5, 12)) == pytest.approx(0.0423047614, abs=1e-6)
    with pytest.raises(MetricError, match="20001"):
        boschloo_test(Share(3_000, 19_988), Share(5, 13))


def test_boschloo_refuses_a_table_for_which_it_would_be_slow() -> None:
    with pytest.raises(MetricError, match="20000"):
        boschloo_test(Share(10, 15_000), Share(10, 15_000))


def test_the_ratio_has_no_upper_end_when_nobody_in_control_succeeded() -> None:
    lower, upper = score_ratio_interval(Share(3, 15), Share(0, 15))
    assert 0 < lower < 1
    assert upper == np.inf
    assert score_ratio_interval(Share(0, 15), Share(4, 15))[0] == 0


def test_coverage_of_newcombe_and_of_the_ratio_is_near_what_is_promised() -> None:
    """Exact coverage by enumeration of all tables: no simulation, no Monte-Carlo error."""
    trials, trials_control = 60, 90
    x, x_control = np.meshgrid(np.arange(trials + 1), np.arange(trials_control + 1), indexing="ij")
    arm, control = Share(x, np.full_like(x, trials)), Share(x_control, np.full_like(x, trials_control))
    lower, upper = newcombe_interval(arm, control)
    low_ratio, high_ratio = score_ratio_interval(arm, control)
    coverages, ratio_coverages = [], []
    for rate in (0.1, 0.2, 0.35, 0.5):
        for rate_control in (0.1, 0.2, 0.35, 0.5):
            mass = _binomial(trials, rate)[:, None] * _binomial(trials_control, rate_control)[None, :]
            diff, ratio = rate - rate_control, rate / rate_control
            coverages.append(mass[(lower <= diff) & (diff <= upper)].sum())
            ratio_coverages.append(mass[(low_ratio <= ratio) & (ratio <= high_ratio)].sum())
    assert min(coverages) > 0.935
    assert max(coverages) < 0.97
    assert min(ratio_coverages) > 0.935
    assert abs(np.mean(ratio_coverages) - 0.952) < 0.005


def _binomial(trials: int, rate: float) -> np.ndarray:
    return binom.pmf(np.arange(trials + 1), trials, rate)
