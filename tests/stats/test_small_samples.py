"""Few units, where degrees of freedom and divisors show: each number against its formula, written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, ttest_ind
from scipy.stats import t as student

from toolkit.errors import MetricError
from toolkit.stats import Mean, Rate, Ratio, TimeTo, bootstrap_difference, experiment, sample_ratio
from toolkit.stats.comparison import Comparison, settle
from toolkit.stats.means import compare_estimates, compare_resampled
from toolkit.stats.metric import Setting
from toolkit.stats.permutation import Resampled, permutation_test
from toolkit.stats.welch import Estimate, Sample


def few(seed: int, sizes: tuple[int, int] = (9, 14)) -> pd.DataFrame:
    """Some customers of two strata, with history, mails and revenue."""
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    before = rng.gamma(4, 5, count)
    return pd.DataFrame(
        {
            "arm": ["mail"] * sizes[0] + ["control"] * sizes[1],
            "group": rng.permutation(["new", "old"] * count)[:count],
            "before": before,
            "mails": rng.integers(1, 6, count),
            "revenue": 0.6 * before + rng.normal(20, 4, count),
        }
    )


def found(frame: pd.DataFrame, metric: Mean | Ratio) -> Comparison:
    return experiment(frame, [metric]).comparisons[0]


@pytest.mark.parametrize("seed", range(4))
def test_post_stratification_has_the_degrees_of_freedom_of_satterthwaite(seed: int) -> None:
    """Cochran (1977), Sampling Techniques, 3rd ed., equation 5.16, over the strata of both arms."""
    frame = few(seed)
    ours = found(frame, Mean("revenue", strata="group"))
    diff, parts = 0.0, []
    for _, group in frame.groupby("group"):
        share = len(group) / len(frame)
        one, other = (group.loc[group["arm"] == arm, "revenue"] for arm in ("mail", "control"))
        diff += share * (one.mean() - other.mean())
        parts += [(share**2 * side.var() / len(side), len(side) - 1) for side in (one, other)]
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / free for part, free in parts)
    half = student.ppf(0.975, df) * math.sqrt(variance)
    assert ours.df == pytest.approx(df)
    assert ours.pvalue == pytest.approx(2 * student.sf(abs(diff) / math.sqrt(variance), df))
    assert (ours.diff_lower, ours.diff_upper) == pytest.approx((diff - half, diff + half))
    assert ours.note == ""


def test_a_stratum_of_two_and_two_counts_and_one_of_one_is_put_together_with_others() -> None:
    frame = few(1)
    frame["group"] = ["a"] * 2 + ["b"] * 7 + ["a"] * 2 + ["b"] * 12
    ours = found(frame, Mean("revenue", strata="group"))
    assert "(2 strata)" in ours.method
    assert ours.note == ""
    frame["group"] = ["a", "c"] + ["b"] * 7 + ["a", "c"] + ["b"] * 12
    ours = found(frame, Mean("revenue", strata="group"))
    assert "(2 strata)" in ours.method
    assert ours.note == "2 strata with fewer than two units in an arm put together"


@pytest.mark.parametrize("seed", range(4))
def test_the_relative_interval_of_few_units_is_fiellers_with_students_quantile(seed: int) -> None:
    """The ends are the ratios r at which the mean of the arm just differs from r times that of control."""
    frame = few(seed)
    ours = found(frame, Mean("revenue", method="welch"))
    one, other = (frame.loc[frame["arm"] == arm, "revenue"] for arm in ("mail", "control"))
    critical = student.ppf(0.975, ttest_ind(one, other, equal_var=False).df)

    def beyond(ratio: float) -> float:
        gap = one.mean() - ratio * other.mean()
        return float(abs(gap) / math.sqrt(one.var() / len(one) + ratio**2 * other.var() / len(other)) - critical)

    middle = one.mean() / other.mean()
    assert ours.rel_lower == pytest.approx(brentq(beyond, middle - 2, middle) - 1)
    assert ours.rel_upper == pytest.approx(brentq(beyond, middle, middle + 2) - 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_where_the_normal_and_students_quantile_part_the_relative_lift_agrees_with_the_test(sign: int) -> None:
    free = 1_200.0
    between = (1.959964 + student.ppf(0.975, free)) / 2  # beyond the normal quantile, not beyond Student's
    arm, control = Estimate(10 + sign * between, 1.0, free), Estimate(10.0, 0.0, free)
    start = Comparison(metric="revenue", arm="mail", n_control=700, n=700)
    ours = compare_estimates(start, arm, control, Setting())
    assert ours.pvalue > 0.05
    assert ours.diff_lower < 0 < ours.diff_upper
    assert ours.rel_lower < 0 < ours.rel_upper


def test_many_units_take_the_normal_quantile_for_the_relative_lift() -> None:
    start = Comparison(metric="revenue", arm="mail", n_control=5_000, n=5_000)
    ours = compare_estimates(start, Sample(5_000, 12.0, 5_000.0), Sample(5_000, 10.0, 0.0), Setting())
    assert (ours.rel_lower, ours.rel_upper) == pytest.approx(((2 - 1.959964) / 10, (2 + 1.959964) / 10), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_covariate_saves_of_a_ratio_is_the_variance_of_what_is_left(seed: int) -> None:
    frame = few(seed, sizes=(40, 60))
    plain = found(frame, Ratio("revenue", "mails", currency="EUR"))
    less = found(frame, Ratio("revenue", "mails", currency="EUR", covariate="before"))
    assert less.variance_saved == pytest.approx(1 - less.error**2 / plain.error**2)
    assert "CUPED (before)" in less.method
    assert "CUPED" not in plain.method
    assert math.isnan(plain.variance_saved)


@pytest.mark.parametrize("how", [{"covariate": "before"}, {"strata": "group"}], ids=["covariate", "strata"])
def test_what_is_saved_of_a_mean_is_the_share_of_its_variance_that_went(how: dict[str, str]) -> None:
    frame = few(2, sizes=(30, 50))
    plain, less = found(frame, Mean("revenue", method="welch")), found(frame, Mean("revenue", **how))  # type: ignore[arg-type]
    assert less.variance_saved == pytest.approx(1 - less.error**2 / plain.error**2)


@pytest.mark.parametrize(("low", "high"), [(-9.0, 1.0), (-1.0, 9.0), (-9.0, 9.0)])
def test_a_resampled_lift_is_unbounded_where_control_is_within_reach_of_nothing_on_either_side(
    low: float, high: float
) -> None:
    arm, control = Sample(50, 12.0, 100.0), Sample(50, 5.0, 80.0)  # control is four standard errors from nothing
    drawn = Resampled(0.5, -9.0, 21.0, low, high, "drawn")
    ours = compare_resampled(Comparison(metric="revenue", arm="mail", n_control=50, n=50), arm, control, drawn)
    assert (ours.rel_lower, ours.rel_upper) == (-math.inf, math.inf)
    assert "the relative interval is unbounded" in ours.note


@pytest.mark.parametrize(
    ("arm", "control", "said"),
    [
        (0.0, 0.0, "every value is 0 within"),
        (0.0, 5.0, "every value is the same"),
        (5.0, 0.0, "every value is the same"),
    ],
)
def test_a_metric_that_is_constant_in_each_arm_is_told_as_such_and_has_no_number(
    arm: float, control: float, said: str
) -> None:
    frame = few(3).assign(revenue=lambda rows: np.where(rows["arm"] == "mail", arm, control))
    result = experiment(frame, [Mean("revenue")])
    assert result.comparisons[0].note.startswith(said)
    assert not result.comparisons[0].defined
    assert f"mail on revenue: no number can be given: {said}" in result.verdict()
    assert result.verdict().action == "keep testing"


@pytest.mark.parametrize("value", [-1e80, 1e80])
def test_amounts_too_large_to_be_squared_are_told_below_nothing_too(value: float) -> None:
    frame = few(4)
    frame.loc[0, "revenue"] = value
    assert "values of revenue reach 1e+80: too large" in found(frame, Mean("revenue")).note


@pytest.mark.parametrize(
    ("ends", "rejected", "positive", "kept"),
    [
        ((-3.0, -1.0), True, False, (-3.0, -1.0)),
        ((1.0, 3.0), True, True, (1.0, 3.0)),
        ((-3.0, 1.0), False, False, (-3.0, 1.0)),
        ((-3.0, 1.0), True, False, (-3.0, -1e-12)),
        ((-1.0, 3.0), True, True, (1e-12, 3.0)),
        ((-3.0, -1.0), False, False, (-3.0, 0.0)),
        ((1.0, 3.0), False, True, (0.0, 3.0)),
    ],
)
def test_an_interval_leaves_out_nothing_exactly_when_the_test_rejects(
    ends: tuple[float, float], rejected: bool, positive: bool, kept: tuple[float, float]
) -> None:
    assert settle([("one", lambda: ends)], rejected=rejected, positive=positive) == ("one", *kept)


@pytest.mark.parametrize(("pvalue", "alarm"), [(0.00045, True), (0.00055, False)])
def test_a_split_raises_the_alarm_below_one_in_two_thousand(pvalue: float, alarm: bool) -> None:
    gap = math.sqrt(chi2.isf(pvalue, 1) * 1_000_000) / 2
    split = sample_ratio({"control": 500_000 + gap, "mail": 500_000 - gap}, {"control": 1, "mail": 1})  # type: ignore[dict-item]
    assert split.pvalue == pytest.approx(pvalue)
    assert split.alarm == alarm


def test_the_error_of_a_ratio_is_that_of_its_linear_form() -> None:
    """Deng, Knoblich & Lu (2018): the variance of (top - ratio * bottom) / mean of bottom, customer by customer."""
    frame = few(5)
    ours = found(frame, Ratio("revenue", "mails", currency="EUR"))
    variance = 0.0
    for _, side in frame.groupby("arm"):
        ratio = side["revenue"].sum() / side["mails"].sum()
        variance += ((side["revenue"] - ratio * side["mails"]) / side["mails"].mean()).var() / len(side)
    assert ours.error == pytest.approx(math.sqrt(variance))


@pytest.mark.parametrize(
    ("change", "options"),
    [({}, {"currency": "EUR"}), ({"mails": 0.5}, {}), ({"revenue": 9.5}, {}), ({}, {"repeats": True})],
    ids=["money", "fractions below", "fractions above", "repeats"],
)
def test_only_counts_must_not_exceed_what_they_are_counted_of(
    change: dict[str, float], options: dict[str, object]
) -> None:
    frame = few(6).assign(mails=2, revenue=lambda rows: rows["revenue"].round())
    assert "exceeds mails" in found(frame, Ratio("revenue", "mails")).note
    frame = frame.astype(dict.fromkeys(change, float))
    for column, value in change.items():
        frame.loc[0, column] = value
    assert found(frame, Ratio("revenue", "mails", **options)).note == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(("columns", "told"), [(1, True), (20, False)])
def test_a_difference_before_the_experiment_is_counted_with_all_that_were_looked_at(columns: int, told: bool) -> None:
    """Two sides apart by a p-value of 0.0005: rare for one column, not among twenty."""
    size = 500
    spread = np.tile([-1.0, 1.0], size // 2)
    gap = float(student.isf(0.00025, 2 * size - 2)) * spread.std(ddof=1) * math.sqrt(2 / size)
    frame = pd.DataFrame({"arm": ["control"] * size + ["mail"] * size, "converted": [0, 1] * size})
    frame["pre_0"] = np.concatenate([spread, spread + gap])
    for at in range(1, columns):
        frame[f"pre_{at}"] = np.concatenate([spread, spread])
    notes = experiment(frame, [Rate("converted")]).notes
    assert any("differed in pre_0 before the experiment" in note for note in notes) == told


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_what_should_happen_to_few_should_happen_late(better: Literal["higher", "lower"]) -> None:
    frame = few(7).assign(left=[1.0, 2.0, np.nan] + [np.nan] * 20)
    share, days = experiment(frame, [TimeTo("left", within="7d", better=better)]).comparisons
    assert (share.better, days.better) == (better, {"higher": "lower", "lower": "higher"}[better])


@pytest.mark.parametrize("test", [permutation_test, bootstrap_difference])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_value_that_is_not_finite_in_either_arm_is_told(test: Callable[..., Resampled], wrong: float) -> None:
    for arms in (([1.0, wrong], [1.0, 2.0]), ([1.0, 2.0], [1.0, wrong])):
        with pytest.raises(MetricError, match="values must be finite"):
            test(*arms)
    with pytest.raises(MetricError, match="needs two units in each arm"):
        test([1.0, 2.0], [1.0])


def test_a_bootstrap_with_few_buyers_in_a_small_arm_is_told_to_err_too_often() -> None:
    """Of 150 experiments without effect, money lognormal (sigma 1.8), 15 buyers in control, 34 raised an alarm."""
    rng = np.random.default_rng(1)
    size = 6_000
    frame = pd.DataFrame({"arm": np.where(np.arange(size) % 20, "mail", "control")})
    frame["revenue"] = (rng.random(size) < 0.05) * rng.lognormal(3, 1.8, size)
    (note,) = (one for one in experiment(frame, [Mean("revenue", method="bootstrap")]).notes if "bootstrap" in one)
    assert "are too few for the bootstrap: it may err several times as often as alpha says; use method='permut" in note
    even = frame.assign(arm=np.where(np.arange(size) % 2, "mail", "control"), revenue=rng.gamma(2, 10, size))
    assert experiment(even, [Mean("revenue", method="bootstrap")]).notes == ()
