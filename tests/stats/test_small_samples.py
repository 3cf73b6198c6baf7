"""Few units, where degrees of freedom and divisors show: each number against its formula, written out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import t as student
from scipy.stats import ttest_ind

from toolkit.stats import Mean, Ratio, experiment
from toolkit.stats.comparison import Comparison
from toolkit.stats.means import compare_estimates
from toolkit.stats.metric import Setting
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
    assert "(2 strata)" in found(frame, Mean("revenue", strata="group")).method
    frame["group"] = ["a", "c"] + ["b"] * 7 + ["a", "c"] + ["b"] * 12
    ours = found(frame, Mean("revenue", strata="group"))
    assert "(2 strata)" in ours.method
    assert ours.note == "2 strata with fewer than two units in an arm are put together"


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
