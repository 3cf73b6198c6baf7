"""An interval excludes no effect exactly when its p-value is below alpha: absolute and relative, few people or many."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from toolkit.stats import Mean, Rate, Ratio, TimeTo, experiment
from toolkit.stats.comparison import Comparison
from toolkit.stats.metric import Setting
from toolkit.stats.proportions import Share, newcombe_interval, score_test
from toolkit.stats.rates import compare_shares
from toolkit.stats.relative import fieller
from toolkit.stats.welch import Estimate

START = Comparison(metric="converted", arm="mail", n_control=1, n=1, kind="rate")


def agrees(one: Comparison, alpha: float) -> bool:
    rejected = one.pvalue < alpha
    absolute = (one.diff_lower > 0 or one.diff_upper < 0) == rejected
    relative = math.isnan(one.rel_lower) or (one.rel_lower > 0 or one.rel_upper < 0) == rejected
    held = one.diff_lower <= one.diff <= one.diff_upper
    return absolute and relative and held


def rates(count: int, seed: int, smallest: int, largest: int) -> list[tuple[Share, Share]]:
    rng = np.random.default_rng(seed)
    n, n_control = rng.integers(smallest, largest, (2, count))
    base = rng.uniform(0.005, 0.6, count)
    arm = rng.binomial(n, np.clip(base * rng.uniform(0.3, 2.5, count), 0, 1))
    control = rng.binomial(n_control, base)
    return [
        (Share(int(a), int(b)), Share(int(c), int(d))) for a, b, c, d in zip(arm, n, control, n_control, strict=True)
    ]


def test_rates_of_few_people_agree_with_boschloo() -> None:
    methods = set()
    for arm, control in rates(250, 1, 4, 60):
        for alpha in (0.05, 0.2):
            one = compare_shares(START, arm, control, Setting(alpha=alpha))
            assert agrees(one, alpha), (arm, control, alpha)
            methods.add(one.method)
    assert any("Boschloo" in method for method in methods)


def test_rates_of_many_people_agree_with_the_score_test() -> None:
    for arm, control in rates(1_000, 2, 600, 6_000):
        assert agrees(compare_shares(START, arm, control, Setting()), 0.05), (arm, control)


def test_a_rate_is_given_with_the_intervals_of_newcombe_and_of_miettinen_and_nurminen() -> None:
    one = compare_shares(START, Share(36, 40), Share(16, 80), Setting(alpha=0.05))
    assert (1 + one.rel_lower, 1 + one.rel_upper) == pytest.approx((2.93465, 7.16630), abs=1e-5)
    assert one.method == "Boschloo exact test; Newcombe interval; relative: Miettinen-Nurminen score"
    other = compare_shares(START, Share(56, 70), Share(48, 80), Setting(alpha=0.05))
    assert (other.diff_lower, other.diff_upper) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("arm", "control", "rough"), [((3, 900), (2, 1_100), True), ((11, 900), (2, 1_100), False)])
def test_a_score_test_of_few_expected_says_that_it_is_rough(arm, control, rough: bool) -> None:
    one = compare_shares(START, Share(*arm), Share(*control), Setting(alpha=0.05))
    assert ("the test is rough" in one.note) is rough
    assert "rough" not in compare_shares(START, Share(3, 90), Share(2, 110), Setting(alpha=0.05)).note


def test_where_newcombe_and_the_test_disagree_the_interval_that_inverts_the_test_is_given() -> None:
    rng = np.random.default_rng(3)
    n, n_control = rng.integers(600, 6_000, (2, 200_000))
    control = rng.binomial(n_control, 0.05)
    arm = rng.binomial(n, 0.065)
    _, p = score_test(Share(arm, n), Share(control, n_control))
    lower, upper = newcombe_interval(Share(arm, n), Share(control, n_control))
    disagree = np.flatnonzero(((lower > 0) | (upper < 0)) != (p < 0.05))[:40]
    assert len(disagree) == 40
    for at in disagree.tolist():
        one = compare_shares(
            START, Share(int(arm[at]), int(n[at])), Share(int(control[at]), int(n_control[at])), Setting()
        )
        assert agrees(one, 0.05)
        assert "Mee score interval" in one.method
        assert one.pvalue == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_of_an_experiment_agrees_with_its_test(seed: int) -> None:
    rng = np.random.default_rng(seed)
    checked = rejected = 0
    for _ in range(8):
        count = int(rng.integers(60, 2_500))
        arm = rng.random(count) < rng.uniform(0.15, 0.85)
        lift = float(rng.uniform(-0.3, 0.6))
        mails = rng.integers(1, 6, count)
        before = rng.gamma(1, 20, count)
        frame = pd.DataFrame(
            {
                "arm": np.where(arm, "mail", "control"),
                "converted": rng.random(count) < 0.2 * (1 + lift * arm),
                "revenue": np.where(rng.random(count) < 0.4, rng.gamma(1, 30, count) + before, 0) * (1 + lift * arm),
                "before": before,
                "segment": rng.choice(["a", "b", "c"], count),
                "mails": mails,
                "opens": rng.binomial(mails, 0.3 * (1 + lift * arm / 2)),
                "days": np.where(rng.random(count) < 0.7, rng.exponential(12, count) / (1 + lift * arm), np.nan),
            }
        )
        metrics = [
            Rate("converted"),
            Mean("revenue"),
            Mean("revenue", covariate="before", name="less noise"),
            Mean("revenue", strata="segment", name="stratified"),
            Ratio("opens", "mails"),
            TimeTo("days", within="14d"),
        ]
        for alpha in (0.05, 0.3):
            for one in experiment(frame, metrics, alpha=alpha).comparisons:
                assert agrees(one, alpha), one
                checked += 1
                rejected += one.pvalue < alpha
    assert checked == 8 * 2 * 7
    assert 0.1 < rejected / checked < 0.9


def test_fiellers_interval_is_the_set_of_ratios_that_do_not_differ_which_holds_the_estimate() -> None:
    rng = np.random.default_rng(5)
    met = {"bounded": 0, "ray up": 0, "ray down": 0, "line": 0}
    for _ in range(1_500):
        mean, base, error, base_error = rng.normal(0, 2), rng.uniform(0.1, 3), rng.uniform(0, 2), rng.uniform(0, 2)
        found = fieller(_estimate(mean, error), _estimate(base, base_error), critical=1.5)

        def kept(ratio, mean=mean, base=base, error=error, base_error=base_error):
            return abs(mean - ratio * base) <= 1.5 * np.sqrt(error + ratio**2 * base_error)

        assert found.rel == pytest.approx(mean / base - 1)
        assert found.lower <= found.rel <= found.upper
        assert found.unbounded == (base <= 1.5 * math.sqrt(base_error))
        ratios = 1 + np.concatenate([np.linspace(-40, 40, 400), np.clip([found.lower, found.upper], -1e6, 1e6)])
        inside = (ratios > 1 + found.lower) & (ratios < 1 + found.upper)
        if math.isinf(found.lower) and math.isinf(found.upper):
            met["line"] += 1
            # all of it is kept, or it holds two rays, and that of the estimate does not hold "no lift"
            assert kept(1.0)
            between = np.linspace(1, mean / base, 1_000)
            assert kept(ratios).all() or not kept(between).all()
            continue
        met["bounded" if not found.unbounded else "ray up" if math.isinf(found.upper) else "ray down"] += 1
        assert kept(ratios[inside]).all()
        for end, outwards in ((found.lower, -1), (found.upper, 1)):
            if math.isfinite(end):
                step = 1e-6 * max(1, abs(end))
                assert not kept(1 + end + outwards * step)
                assert kept(1 + end - outwards * step)
        assert kept(1.0) == (found.lower <= 0 <= found.upper)
    assert min(met.values()) > 30


def _estimate(mean: float, error: float) -> Estimate:
    return Estimate(mean, error, 100.0)
