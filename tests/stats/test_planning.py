"""Before sending: sample sizes of R, what looks and machines cost, and a design that does not change."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestIndPower

from toolkit.errors import MetricError, NotSupportedError
from toolkit.stats import Design, Mean, Quantile, Rate, Ratio, Spending, plan
from toolkit.stats.power import (
    detectable_mean,
    detectable_rate,
    power_of_means,
    power_of_rates,
    units_of_means,
    units_of_rates,
)
from toolkit.stats.sequential import sequence_threshold


@pytest.mark.parametrize(
    ("rate", "control", "power", "per_arm", "digits"),
    [(0.75, 0.5, 0.9, 76.70693, 5), (0.22, 0.20, 0.8, 6509.467, 3), (0.022, 0.02, 0.8, 80681.380, 3)],
)
def test_units_for_rates_are_those_of_r_power_prop_test(
    rate: float, control: float, power: float, per_arm: float, digits: int
) -> None:
    assert round(units_of_rates(rate, control, power=power) / 2, digits) == per_arm


@pytest.mark.parametrize(("diff", "power", "per_arm"), [(1, 0.9, 22.02110), (0.5, 0.8, 63.76576)])
def test_units_for_means_are_those_of_r_power_t_test(diff: float, power: float, per_arm: float) -> None:
    assert round(units_of_means(diff, 1, power=power) / 2, 5) == per_arm


@pytest.mark.parametrize(("share", "times"), [(0.3, 3.0), (0.5, 5.8), (0.7, 12.0)])
def test_machine_opens_multiply_the_sample_for_opens(share: float, times: float) -> None:
    """Source: the project's measurements; 20% against 22% opens by people."""
    plain = plan(Rate("opened"), baseline=0.20, diff=0.02).units
    mixed = plan(Rate("opened"), baseline=0.20, diff=0.02, machine_opens=share).units
    assert mixed / plain == pytest.approx(times, rel=0.015)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.9])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_units_effect_and_power_of_rates_invert_each_other(share: float, power: float) -> None:
    units = units_of_rates(0.13, 0.10, share=share, power=power)
    sizes = {"n": share * units, "n_control": (1 - share) * units}
    assert power_of_rates(0.13, 0.10, **sizes) == pytest.approx(power, abs=1e-10)
    assert detectable_rate(0.10, **sizes, power=power) == pytest.approx(0.03, abs=1e-10)
    fall = units_of_rates(0.07, 0.10, share=share, power=power)
    found = detectable_rate(0.10, n=share * fall, n_control=(1 - share) * fall, power=power, better="lower")
    assert found == pytest.approx(-0.03, abs=1e-10)


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("size", [1.0, 0.2, 0.01])
def test_units_effect_and_power_of_means_invert_each_other(share: float, size: float) -> None:
    units = units_of_means(size, 1.0, share=share)
    sizes = {"n": share * units, "n_control": (1 - share) * units}
    assert power_of_means(size, 1.0, **sizes) == pytest.approx(0.8, abs=1e-9)
    assert detectable_mean(1.0, **sizes) == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize(
    "asked",
    [
        {"metric": Rate("converted"), "baseline": 0.05},
        {"metric": Rate("converted"), "baseline": 0.05, "holdout": 0.1, "looks": 5},
        {"metric": Rate("opened"), "baseline": 0.3, "machine_opens": 0.4, "spending": "always"},
        {"metric": Mean("revenue"), "baseline": 10.0, "sd": 30.0, "correlation": 0.6, "looks": 3, "spending": "pocock"},
        {"metric": Mean("revenue"), "baseline": 10.0, "sd": 30.0, "arms": {"control": 1, "a": 2, "b": 3}},
        {"metric": Mean("revenue"), "baseline": 10.0, "sd": 30.0, "power": 0.95, "alpha": 0.01},
        {"metric": Rate("converted"), "baseline": 0.05, "power": 0.6, "alpha": 0.2, "looks": 2},
    ],
)
def test_a_plans_effect_size_and_power_invert_each_other(asked: dict) -> None:
    metric, power = asked.pop("metric"), asked.get("power", 0.8)
    by_effect = plan(metric, rel=0.08, **asked)
    by_units = plan(metric, units=by_effect.units, **asked)
    assert by_units.rel == pytest.approx(0.08, rel=2e-3)
    assert by_effect.power_at(by_effect.units) == pytest.approx(power, abs=2e-3)


@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.95)])
def test_several_arms_are_each_held_against_control_at_their_share_of_alpha_as_statsmodels_does(alpha, power) -> None:
    planned = plan(
        Mean("revenue"), baseline=10, sd=30, diff=3, alpha=alpha, power=power, arms={"control": 2, "a": 1, "b": 3}
    )
    n, n_control = planned.units / 6, planned.units / 3  # the smallest arm has the least power
    oracle = TTestIndPower().power(3 / 30, n, alpha / 2, ratio=n_control / n, alternative="two-sided")
    assert oracle == pytest.approx(power, abs=1e-4)
    assert planned.power_at(planned.units) == pytest.approx(oracle, abs=1e-4)
    assert planned.detectable(planned.units) == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9)])
def test_a_plan_for_looking_at_any_time_finds_the_effect_as_often_as_asked(alpha: float, power: float) -> None:
    """4,000 Brownian motions of 200 steps, with the drift a single look would need: Monte-Carlo error 0.7 points."""
    cost = plan(Mean("revenue"), baseline=10, sd=30, diff=3, spending="always", alpha=alpha, power=power).inflation
    drift = (norm.isf(alpha / 2) + norm.ppf(power)) * math.sqrt(cost)
    rng, times = np.random.default_rng(9), np.arange(1, 201) / 200
    paths = np.cumsum(rng.normal(drift / 200, math.sqrt(1 / 200), (4_000, 200)), axis=1)
    needed = np.array([sequence_threshold(time, alpha=alpha) for time in times])
    assert (paths / np.sqrt(times) > needed).any(axis=1).mean() == pytest.approx(power, abs=0.025)


def test_power_is_what_simulated_experiments_show() -> None:
    """4,000 simulated experiments with a 10% holdout: Monte-Carlo error at most 0.7 points."""
    planned = plan(Rate("converted"), baseline=0.10, diff=0.03, holdout=0.1)
    rng = np.random.default_rng(1)
    n, n_control = planned.per_arm["mail"], planned.per_arm["control"]
    arm, control = rng.binomial(n, 0.13, 4000), rng.binomial(n_control, 0.10, 4000)
    pooled = (arm + control) / (n + n_control)
    z = (arm / n - control / n_control) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_control))
    assert (z > 1.959964).mean() == pytest.approx(0.8, abs=0.025)


def test_looks_cost_what_the_boundaries_cost() -> None:
    single = plan(Rate("converted"), baseline=0.05, rel=0.1).units
    late = plan(Rate("converted"), baseline=0.05, rel=0.1, looks=5)
    early = plan(Rate("converted"), baseline=0.05, rel=0.1, looks=5, spending="pocock")
    endless = plan(Rate("converted"), baseline=0.05, rel=0.1, spending="always")
    assert single < late.units < early.units < endless.units
    assert late.inflation == pytest.approx(1.03, abs=0.01)
    assert late.looks == (0.2, 0.4, 0.6, 0.8, 1.0)


def test_covariates_save_the_share_of_variance_they_explain() -> None:
    plain = plan(Mean("revenue"), baseline=10, sd=30, rel=0.1).units
    less = plan(Mean("revenue"), baseline=10, sd=30, rel=0.1, correlation=0.6).units
    assert less / plain == pytest.approx(1 - 0.36, rel=1e-3)


@pytest.fixture
def outcomes() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    before = rng.gamma(2, 10, 4000)
    frame = pd.DataFrame(
        {
            "unit": range(4000),
            "arm": ["control", "mail"] * 2000,
            "converted": rng.random(4000) < 0.1,
            "pre_revenue": before,
            "revenue": 0.5 * before + rng.gamma(2, 10, 4000),
            "mails": rng.integers(1, 5, 4000),
        }
    )
    frame.attrs["toolkit"] = {"window": "7d", "randomised": True}
    return frame


def test_baseline_spread_correlation_and_window_are_read_from_measured_outcomes(outcomes: pd.DataFrame) -> None:
    control = outcomes[outcomes["arm"] == "control"]
    rate = plan(Rate("converted"), outcomes=outcomes, rel=0.2)
    assert rate.baseline == pytest.approx(control["converted"].mean())
    assert rate.window == "7d"
    mean = plan(Mean("revenue", covariate="pre_revenue"), outcomes=outcomes, rel=0.1)
    correlation = control["revenue"].corr(control["pre_revenue"])
    assert mean.sd == pytest.approx(control["revenue"].std() * math.sqrt(1 - correlation**2))
    ratio = plan(Ratio("revenue", "mails", currency="EUR"), outcomes=outcomes, rel=0.1)
    assert ratio.baseline == pytest.approx(control["revenue"].sum() / control["mails"].sum())
    left = (control["revenue"] - ratio.baseline * control["mails"]) / control["mails"].mean()
    assert ratio.sd == pytest.approx(left.std())
    given = plan(Mean("revenue", covariate="pre_revenue"), outcomes=outcomes, rel=0.1, baseline=7, sd=3, correlation=0)
    assert (given.baseline, given.sd, given.diff) == pytest.approx((7, 3, 0.7))
    few = plan(Mean("revenue"), outcomes=outcomes.head(6), rel=0.1)
    assert few.sd == pytest.approx(control["revenue"].head(3).std())


def test_the_duration_is_read_from_a_replays_entries_and_the_window(outcomes: pd.DataFrame) -> None:
    start = pd.Timestamp("2025-01-01", tz="UTC")
    journeys = pd.DataFrame(
        {
            "customer_id": [f"c{at % 900}" for at in range(1000)],  # the first hundred come back
            "entered_at": [start + pd.Timedelta(hours=2.4 * at) for at in range(1000)],
        }
    )
    planned = plan(Rate("converted"), outcomes=outcomes, units=500, journeys=journeys)
    assert planned.days == pytest.approx(499 * 0.1 + 7)
    beyond = plan(Rate("converted"), baseline=0.1, units=2000, journeys=journeys)
    assert beyond.days == pytest.approx(89.9 + 1100 * 0.1, rel=0.01)
    assert plan(Rate("converted"), baseline=0.1, days=50, journeys=journeys).units == 501
    assert plan(Rate("converted"), baseline=0.1, days=20, per_day=50).units == 1000
    later = plan(Rate("converted"), baseline=0.1, days=189.9, journeys=journeys)  # a hundred days on, ten a day
    assert later.units == pytest.approx(900 + 100 * 10, rel=0.01)


def test_the_curve_shows_what_more_or_fewer_units_would_show() -> None:
    curve = plan(Rate("converted"), baseline=0.1, rel=0.1, per_day=100).curve()
    assert curve["diff"].is_monotonic_decreasing
    shares = curve["units"] / plan(Rate("converted"), baseline=0.1, rel=0.1).units
    assert shares.to_numpy() == pytest.approx([0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5], abs=1e-3)
    assert curve["power"].is_monotonic_increasing
    assert curve["days"].is_monotonic_increasing
    at = curve.set_index("power").index.searchsorted(0.7999)
    assert curve.loc[at, "rel"] == pytest.approx(0.1, rel=1e-3)


def test_a_frozen_design_is_read_back_and_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "design.json"
    asked = {"looks": [0.3, 1.0], "spending": Spending("kim_demets", 2), "window": "7d", "alpha": 0.1, "power": 0.9}
    planned = plan(Rate("converted", better="lower"), baseline=0.1, rel=-0.1, holdout=0.3, **asked)
    design = planned.freeze(path)
    for name in ("units", "alpha", "power", "arms", "control", "looks", "window"):
        assert getattr(design, name) == getattr(planned, name)
    assert (design.effect, design.better, design.kind) == (planned.diff, "lower", "rate")
    assert (design.spending, design.parameter) == ("kim_demets", 2)
    assert Design.load(path) == design
    assert planned.freeze(path) == design
    assert json.loads(path.read_text())["metric"] == "converted"
    with pytest.raises(MetricError, match="does not change"):
        plan(Rate("converted"), baseline=0.1, rel=0.2).freeze(path)
    with pytest.raises(MetricError, match="no such file"):
        Design.load(tmp_path / "other.json")
    path.write_text("{}")
    with pytest.raises(MetricError, match="not a design"):
        Design.load(path)


def test_a_plan_reads_as_a_sentence() -> None:
    opened = plan(Rate("opened"), baseline=0.2, rel=0.1, per_day=1000, looks=2, machine_opens=0.3)
    assert str(opened) == (
        "opened: 39,742 people (control 19,871, mail 19,871) find +2 points (+10.0%) on 20% with power 80% at alpha "
        "0.05, in 40 days; 2 looks cost 0.4% more people; 30% of the opens are a machine's"
    )
    mean = plan(Mean("revenue", currency="EUR"), baseline=0, sd=2, diff=0.1)
    assert str(mean) == (
        "revenue: 12,562 people (control 6,281, mail 6,281) find +0.1 on 0 with power 80% at alpha 0.05"
    )
    assert "EUR" in mean._repr_html_()
    assert "points" not in mean._repr_html_()
    assert "points" in opened._repr_html_()


@pytest.mark.parametrize(
    ("metric", "asked", "message"),
    [
        (Rate("x"), {"baseline": 0.1}, "give the effect to find"),
        (Rate("x"), {"rel": 0.1}, "baseline"),
        (Rate("x"), {"baseline": 1.1, "rel": 0.1}, "0 to 1"),
        (Rate("x"), {"baseline": 0.1, "diff": 0.95}, "no rate"),
        (Rate("x"), {"baseline": 0.95, "diff": 0.1}, "0.95 .0.1 is no rate"),
        (Rate("x"), {"baseline": 0.05, "diff": -0.1}, "0.05 -0.1 is no rate"),
        (Rate("x"), {"baseline": 0.1, "diff": 0.0}, "the same"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "diff": 0.1}, "not both"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "units": 10}, "not both"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "days": 10, "per_day": 5}, "the effect .* or the size .*, not both"),
        (Rate("x"), {"baseline": math.inf, "rel": 0.1}, "baseline: found inf"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "arms": {"control": 1, "b": math.inf}}, "positive"),
        (Mean("x"), {"baseline": 1, "sd": -1, "rel": 0.1}, "sd: found -1"),
        (Mean("x"), {"baseline": 1, "sd": math.inf, "rel": 0.1}, "sd: found inf"),
        (Rate("x"), {"baseline": 0.1, "days": 10}, "journeys or per_day"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "correlation": 0.5}, "Mean and Ratio"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "arms": {"a": 1, "b": 1}}, "'control'"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "arms": {"control": 1}}, "'control' and at least one other"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "arms": {"control": 1, "b": 0}}, "positive"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "holdout": 1.0}, "holdout"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "looks": 0}, "a whole number, 1 to 1,000"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "looks": [0.5, 0.9]}, "end at 1"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "machine_opens": 1.0}, "below 1"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "power": 1.0}, "power"),
        (Rate("x"), {"baseline": 0.1, "units": 1}, "at least two"),
        (Rate("x"), {"baseline": 0.1, "rel": 0.1, "per_day": 0}, "per_day"),
        (Mean("x"), {"baseline": 1, "rel": 0.1}, "sd"),
        (Mean("x"), {"baseline": 1, "sd": 0, "rel": 0.1}, "sd"),
        (Mean("x"), {"baseline": 1, "sd": 1, "diff": 0}, "other than 0"),
        (Mean("x"), {"baseline": 1, "sd": 1, "rel": 0.1, "machine_opens": 0.3}, "rate of opens"),
        (Mean("x"), {"baseline": 1, "sd": 1, "rel": 0.1, "correlation": 1.0}, "below 1"),
    ],
)
def test_plans_that_cannot_be_are_errors(metric, asked: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        plan(metric, **asked)


def test_a_quantile_has_no_planning_formula() -> None:
    with pytest.raises(NotSupportedError, match="Quantile"):
        plan(Quantile("revenue"), baseline=1, rel=0.1)


@pytest.mark.parametrize(("base", "better"), [(0.95, "higher"), (0.05, "lower")])
def test_what_even_the_largest_change_does_not_show_has_no_smallest_effect(base: float, better: str) -> None:
    """From 95% to all of 60 and 60 people: z = (0.05 - 1.96 sqrt(2 x 0.975 x 0.025 / 60)) / sqrt(0.95 x 0.05 / 60)
    = -0.21, power 0.42. Of 200 and 200 it is 0.94."""
    whole = 1.0 if better == "higher" else 0.0
    few, many = ({"n": size, "n_control": size} for size in (60, 200))
    assert power_of_rates(whole, base, **few) == pytest.approx(0.42, abs=0.01)
    assert math.isnan(detectable_rate(base, **few, better=better))
    assert abs(detectable_rate(base, **many, better=better)) < 0.05
    assert power_of_rates(base + detectable_rate(base, **many, better=better), base, **many) == pytest.approx(0.8)
    assert math.isnan(detectable_rate(whole, **many, better=better))  # from everybody nothing can rise


def test_two_people_show_nothing() -> None:
    assert power_of_means(100.0, 1.0, n=1, n_control=1) == 0.0
    assert power_of_means(100.0, 1.0, n=2, n_control=1) > 0.5


def test_entries_that_are_no_moments_are_an_error() -> None:
    journeys = pd.DataFrame({"customer_id": ["a", "b"], "entered_at": ["2025-01-01", "2025-01-02"]})
    with pytest.raises(MetricError, match=r"column 'entered_at' should be moments; found .*; pass run.journeys"):
        plan(Rate("converted"), baseline=0.1, units=500, journeys=journeys)
