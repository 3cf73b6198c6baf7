"""Permutation and bootstrap: exact where they can be checked, and right where Welch is not."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from toolkit.errors import MetricError
from toolkit.stats import Mean, experiment
from toolkit.stats.bootstrap import bootstrap_difference, bootstrap_means
from toolkit.stats.permutation import by_rank, draws_for, permutation_test, permutation_wanted, shuffled_sums
from toolkit.stats.welch import Sample, welch


def student(one: np.ndarray, other: np.ndarray) -> float:
    return (one.mean() - other.mean()) / np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))


def test_the_permutation_pvalue_is_that_of_all_shuffles() -> None:
    """All 11!/(4! 7!) = 330 shuffles of eleven units; 20,000 draws: Monte-Carlo error of p below 0.004."""
    one, other = np.array([12.0, 0.0, 31.0, 25.0]), np.array([0.0, 0.0, 7.0, 3.0, 0.0, 9.0, 1.0])
    both = np.concatenate([one, other])
    all_of_them = [student(both[list(chosen)], np.delete(both, list(chosen))) for chosen in combinations(range(11), 4)]
    statistic = student(one, other)
    above = np.mean(np.array(all_of_them) >= statistic - 1e-9)
    below = np.mean(np.array(all_of_them) <= statistic + 1e-9)
    found = permutation_test(one, other, seed=3, draws=20_000)
    assert found.pvalue == pytest.approx(min(1, 2 * min(above, below)), abs=0.012)


@pytest.mark.parametrize("base", [0.7, 10.3, 99.9, 1000.7, 1e6 + 0.7])
def test_amounts_far_from_0_that_lie_close_together_keep_the_orders_that_are_equal(base: float) -> None:
    """All 11!/(5! 6!) = 462 shuffles; the statistic does not change when all amounts rise alike."""
    one, other = np.array([0.1, 0.2, 0.0, 0.2, 0.1]), np.array([0.1, 0.0, 0.1, 0.0, 0.0, 0.1])
    both = np.concatenate([one, other])
    all_of_them = np.array([student(both[list(c)], np.delete(both, list(c))) for c in combinations(range(11), 5)])
    statistic = student(one, other)
    wanted = 2 * min(np.mean(all_of_them >= statistic - 1e-9), np.mean(all_of_them <= statistic + 1e-9))
    found = permutation_test(base + one, base + other, seed=3, draws=20_000)
    assert found.pvalue == pytest.approx(min(1, wanted), abs=0.012)
    swapped = permutation_test(base + other, base + one, seed=3, draws=20_000)
    assert swapped.pvalue == pytest.approx(found.pvalue, abs=0.012)
    resampled = bootstrap_difference(base + one, base + other, seed=3)
    assert resampled.pvalue == pytest.approx(bootstrap_difference(one + 0.7, other + 0.7, seed=3).pvalue, abs=0.012)


@pytest.mark.parametrize("count", [12, 400])
def test_random_arms_are_drawn_without_replacement_and_every_one_as_often(count: int) -> None:
    """Both ways of drawing are taken: few values and many draws, many values and few draws."""
    values = np.arange(1.0, count + 1)
    draws = 20_000 if count == 12 else 300
    sums, squares = shuffled_sums(values, count, 2 * count // 3, draws=draws, seed=6)
    mean, share = values.sum() / 3, 1 / 3
    everyone = np.concatenate([values, np.zeros(count)])
    variance = (2 * count) * share * (1 - share) * everyone.var(ddof=1)
    assert sums.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / draws))
    assert sums.var() == pytest.approx(variance, rel=6 * np.sqrt(2 / draws))
    assert squares.mean() == pytest.approx((values**2).sum() / 3, rel=0.05)
    assert sums.max() <= values.sum()


def test_the_permutation_test_does_not_depend_on_which_arm_is_smaller() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.gamma(1, 20, 30), rng.gamma(1, 15, 300)
    first, second = permutation_test(one, other, seed=5), permutation_test(other, one, seed=5)
    assert first.pvalue == second.pvalue
    assert (first.lower, first.upper) == pytest.approx((-second.upper, -second.lower))


@pytest.mark.parametrize("resample", [permutation_test, bootstrap_difference])
def test_the_interval_excludes_0_exactly_when_p_is_below_alpha(resample) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for run in range(120):
        one = np.where(rng.random(60) < 0.4, rng.gamma(1, 30, 60), 0)
        other = np.where(rng.random(240) < 0.25, rng.gamma(1, 30, 240), 0)
        for alpha in (0.05, 0.2):
            found = resample(one, other, alpha=alpha, seed=run, draws=499)
            assert (found.lower > 0 or found.upper < 0) == (found.pvalue < alpha)
            hits += found.pvalue < alpha
    assert 20 < hits < 220


def test_the_relative_interval_of_a_resampled_mean_agrees_with_its_test() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        frame = pd.DataFrame(
            {
                "arm": ["control"] * 30 + ["mail"] * 300,
                "revenue": np.concatenate([rng.gamma(1, 10, 30), rng.gamma(1, 16, 300)]),
            }
        )
        one = experiment(frame, [Mean("revenue")]).comparisons[0]
        assert one.method.startswith("studentised permutation")
        assert (one.diff_lower > 0 or one.diff_upper < 0) == (one.pvalue < 0.05)
        assert (one.rel_lower > 0 or one.rel_upper < 0) == (one.pvalue < 0.05)


@pytest.mark.parametrize("resample", [permutation_test, bootstrap_difference])
def test_intervals_are_made_of_welchs_error_and_the_quantiles_of_the_draws(resample) -> None:
    rng = np.random.default_rng(12)
    one, other = rng.gamma(1, 20, 9), rng.gamma(1, 10, 40)
    for first, second in ((one, other), (other, one)):
        found = resample(first, second, seed=2)
        sides = (Sample(len(side), side.mean(), side.var(ddof=1)) for side in (first, second))
        expected = welch(*sides)
        assert (expected.diff - found.lower) / expected.error == pytest.approx(found.upper_critical)
        assert (expected.diff - found.upper) / expected.error == pytest.approx(found.lower_critical)


def test_the_same_seed_gives_the_same_result_and_another_nearly_the_same() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.gamma(1, 12, 50), rng.gamma(1, 10, 500)
    first = permutation_test(one, other, seed=1)
    assert permutation_test(one, other, seed=1) == first
    assert permutation_test(one, other, seed=2).pvalue == pytest.approx(first.pvalue, abs=0.04)


def test_a_tiny_alpha_gets_more_shuffles_and_an_unreachable_one_no_rejection() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.normal(3, 1, 20), rng.normal(0, 1, 60)
    assert permutation_test(one, other, alpha=0.005).pvalue < 0.005
    found = permutation_test(one, other, alpha=1e-7)
    assert found.lower == -np.inf
    assert "cannot be below" in found.note
    assert permutation_test(other, one, alpha=1e-7).note == found.note


def test_many_values_get_fewer_shuffles_at_a_tiny_alpha_and_never_fewer_than_at_an_ordinary_one() -> None:
    rng = np.random.default_rng(5)
    values = np.where(np.arange(30_000) < 12_500, rng.gamma(1, 30, 30_000), 0.0)
    rng.shuffle(values)
    one, other = values[:3_000], values[3_000:]
    assert "(8,000 shuffles)" in permutation_test(one, other, alpha=0.002).method  # 12,500 values, 100 million steps
    few, none = np.concatenate([one[one != 0][:50], np.zeros(2_950)]), np.zeros(27_000)
    assert "(99,999 shuffles)" in permutation_test(few, none, alpha=0.002).method
    assert draws_for(0.05, steps=10**9) == draws_for(0.05) == 4_999


def test_fewer_shuffles_find_no_more_false_alarms_at_a_small_alpha() -> None:
    """2,000 experiments of which nothing is true, at the alpha of a look, 0.01, with 999 shuffles; strays by 0.0022."""
    rng = np.random.default_rng(8)
    alarms = 0
    for run in range(2_000):
        values = rng.gamma(0.5, 10, 60)
        found = permutation_test(values[:10], values[10:], alpha=0.01, seed=run, draws=999)
        alarms += found.lower > 0 or found.upper < 0
    assert alarms / 2_000 < 0.017


def test_shuffles_too_few_for_an_interval_are_told() -> None:
    rng = np.random.default_rng(6)
    found = permutation_test(rng.normal(size=60), rng.normal(size=20), alpha=0.0003, draws=4_999)
    assert (found.lower, found.upper) == (-np.inf, np.inf)
    assert found.note == "p cannot be below 0.0004 with 4,999 shuffles"


@pytest.mark.parametrize(
    ("sizes", "buyers", "wanted"),
    [
        ((5_000, 5_000), 1_000, False),
        ((2_500, 7_500), 1_000, False),
        ((2_400, 7_600), 1_000, True),
        ((5_000, 5_000), 150, True),
        ((100_000, 900_000), 300_000, False),
        ((0, 100), 50, False),
    ],
)
def test_the_design_chooses_the_test_before_anyone_looks(sizes: tuple[int, int], buyers: int, wanted: bool) -> None:
    assert permutation_wanted(sizes, buyers) is wanted


def test_welch_stays_when_asked_for_and_the_verdict_warns() -> None:
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"arm": ["control"] * 100 + ["mail"] * 5000, "revenue": 0.0})
    frame["revenue"] = np.where(rng.random(5100) < 0.05, rng.gamma(1, 50, 5100), 0)
    welsh = experiment(frame, [Mean("revenue", method="welch")])
    assert welsh.comparisons[0].method.startswith("Welch")
    assert "too few for Welch's test" in welsh.verdict()
    assert "too few" not in experiment(frame, [Mean("revenue")]).verdict()
    boot = experiment(frame, [Mean("revenue", method="bootstrap")])
    assert boot.comparisons[0].method.startswith("studentised bootstrap")


def test_the_bootstrap_of_buyers_only_has_the_distribution_of_the_plain_bootstrap() -> None:
    """Two buyers among five: the mean of a resample takes few values, whose chances are known exactly."""
    means = bootstrap_means([0.0, 0.0, 0.0, 10.0, 10.0], draws=40_000, seed=1)
    counts = np.bincount(np.round(means / 2).astype(int), minlength=6)
    assert counts / 40_000 == pytest.approx(binom.pmf(np.arange(6), 5, 0.4), abs=0.01)


def test_bootstrap_means_are_those_of_theory() -> None:
    rng = np.random.default_rng(7)
    values = np.where(rng.random(20_000) < 0.03, rng.gamma(2, 30, 20_000), 0)
    means = bootstrap_means(values, draws=4_000, seed=2)
    expected = values.std() / np.sqrt(len(values))
    assert means.mean() == pytest.approx(values.mean(), abs=4 * expected / np.sqrt(4_000))
    assert means.std() == pytest.approx(expected, rel=0.05)
    assert bootstrap_means(np.zeros(10), draws=3).tolist() == [0, 0, 0]


def test_the_studentised_bootstrap_is_the_plain_one_of_efron_and_tibshirani() -> None:
    """Six units against five, 60,000 resamples of each: Monte-Carlo error of an end 0.5 % of the interval."""
    one, other = np.array([23.0, 20.0, 34.0, 28.0, 41.0, 26.0]), np.array([12.0, 0.0, 22.5, 7.0, 17.0])
    rng = np.random.default_rng(12)
    again, again0 = (side[rng.integers(0, len(side), (60_000, len(side)))] for side in (one, other))
    errors = np.sqrt(again.var(axis=1, ddof=1) / 6 + again0.var(axis=1, ddof=1) / 5)
    diff = one.mean() - other.mean()
    pivots = (again.mean(axis=1) - again0.mean(axis=1) - diff) / errors
    error = np.sqrt(one.var(ddof=1) / 6 + other.var(ddof=1) / 5)
    low, high = diff - np.quantile(pivots, [0.9, 0.1]) * error
    found = bootstrap_difference(one, other, alpha=0.2, seed=4, draws=60_000)
    assert (found.lower, found.upper) == pytest.approx((low, high), abs=0.015 * (high - low))
    beyond = min((pivots >= diff / error).mean(), (pivots <= diff / error).mean())
    assert found.pvalue == pytest.approx(2 * beyond, abs=0.004)


def test_permutation_and_bootstrap_cover_where_welch_does_not() -> None:
    """A control of 150 with skewed money against 3,000, with a true effect: 300 draws, Monte-Carlo error 1.3 points.

    Welch misses the truth in 9% or more on one side alone, the permutation in 2.5% on either, the bootstrap between.
    """
    rng = np.random.default_rng(8)
    missed = {"welch": [0, 0], "permutation": [0, 0], "bootstrap": [0, 0]}
    for run in range(300):
        one = np.where(rng.random(3000) < 0.12, rng.lognormal(3, 1, 3000), 0)
        other = np.where(rng.random(150) < 0.10, rng.lognormal(3, 1, 150), 0)
        truth = 0.02 * np.exp(3.5)
        plain = welch(*(Sample(len(side), side.mean(), side.var(ddof=1)) for side in (one, other)))
        ends = {
            "welch": (plain.lower, plain.upper),
            "permutation": _ends(permutation_test(one, other, seed=run, draws=399)),
            "bootstrap": _ends(bootstrap_difference(one, other, seed=run, draws=399)),
        }
        for name, (lower, upper) in ends.items():
            missed[name][0] += lower > truth
            missed[name][1] += upper < truth
    assert sum(missed["welch"]) / 300 > 0.09
    assert max(missed["permutation"]) / 300 < 0.025 + 3 * 0.009
    assert sum(missed["permutation"]) / 300 < 0.05 + 3 * 0.0126
    assert sum(missed["bootstrap"]) < sum(missed["welch"])


def _ends(found) -> tuple[float, float]:
    return found.lower, found.upper


@pytest.mark.parametrize("resample", [permutation_test, bootstrap_difference])
def test_values_that_cannot_be_resampled_are_errors(resample) -> None:
    with pytest.raises(MetricError, match="two units"):
        resample([1.0], [1.0, 2.0])
    with pytest.raises(MetricError, match="finite"):
        resample([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(MetricError, match="finite"):
        bootstrap_means([np.inf])
    with pytest.raises(MetricError, match="at least one"):
        bootstrap_means([])


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_an_interval_leaves_out_what_the_pvalue_rejects_among_equal_draws_too(alpha: float) -> None:
    """Draws take few values, equal ones up to rounding; a statistic is often one of them."""
    rng = np.random.default_rng(9)
    rejected = 0
    for _ in range(300):
        drawn = rng.normal(0, 2, 99).round() + rng.uniform(-1e-10, 1e-10, 99)
        statistic = float(rng.integers(-7, 8) + rng.uniform(-1e-10, 1e-10))
        pvalue, low, high = by_rank(statistic, drawn, alpha=alpha, slack=1e-9)
        assert (pvalue < alpha) == (not low <= statistic <= high)
        rejected += pvalue < alpha
    assert 0 < rejected < 300


def test_the_smallest_pvalue_that_shuffles_can_give_is_told_to_be_one() -> None:
    found = permutation_test(np.arange(100.0, 120.0), np.arange(60.0))
    assert found.pvalue == pytest.approx(2 / 5_000)
    assert found.note == "p cannot be below 0.0004 with 4,999 shuffles"
    assert permutation_test(np.arange(20.0), np.arange(60.0) / 3 + 1).note == ""
