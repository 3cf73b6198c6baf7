"""Hillstrom, Mens e-mail against none: the published experiment, to the digits of the reference computation.

Source: Hillstrom (2008), MineThatData E-Mail Analytics Challenge; values computed with R and statsmodels.
"""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.stats import Mean, Rate, Result, experiment
from toolkit.stats.cuped import slopes, weighted
from toolkit.stats.gathering import gather
from toolkit.stats.moments import Term
from toolkit.tables import LIFT


@pytest.fixture(scope="module")
def result(mens: pd.DataFrame) -> Result:
    metrics = [
        Rate("visit"),
        Rate("conversion"),
        Mean("spend", currency="USD"),
        Mean("visit", name="visit_mean"),
        Mean("conversion", name="conversion_mean"),
        Mean("spend", covariate="history", name="spend_cuped"),
    ]
    return experiment(mens, metrics, control="No E-Mail")


@pytest.fixture(scope="module")
def lift(result: Result) -> pd.DataFrame:
    return result.lift.set_index("metric")


def test_the_lift_table_has_exactly_its_columns(result: Result) -> None:
    assert tuple(result.lift.columns) == LIFT.names
    LIFT.check(result.lift)


def test_counts_and_arm_values_are_those_of_the_file(lift: pd.DataFrame) -> None:
    assert lift.loc["visit", ["n_control", "n"]].tolist() == [21306, 21307]
    assert round(lift.loc["visit", "value"], 6) == 0.182757
    assert round(lift.loc["visit", "control"], 6) == 0.106167
    assert round(lift.loc["conversion", "value"], 6) == 0.012531
    assert round(lift.loc["conversion", "control"], 6) == 0.005726
    assert round(lift.loc["spend", "value"], 6) == 1.422617
    assert round(lift.loc["spend", "control"], 6) == 0.652789


@pytest.mark.parametrize(
    ("metric", "diff", "statistic"),
    [("visit_mean", 0.07658956, 22.620231), ("conversion_mean", 0.00680501, 7.389736), ("spend", 0.76982716, 5.300140)],
)
def test_welch_differences_and_t_are_the_reference(result: Result, metric: str, diff: float, statistic: float) -> None:
    found = next(one for one in result.comparisons if one.metric == metric)
    assert round(found.diff, 8) == diff
    assert round(found.statistic, 6) == statistic


def test_spend_by_welch_is_the_reference(result: Result) -> None:
    found = next(one for one in result.comparisons if one.metric == "spend")
    assert round(found.df, 3) == 36671.158
    assert found.pvalue == pytest.approx(1.16381e-07, rel=5e-6)
    assert (round(found.diff_lower, 8), round(found.diff_upper, 8)) == (0.48513973, 1.05451458)


def test_newcombe_interval_of_conversion_is_the_reference(lift: pd.DataFrame) -> None:
    row = lift.loc["conversion"]
    assert (round(row["diff_lower"], 7), round(row["diff_upper"], 7)) == (0.0050143, 0.0086407)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("visit_mean", (0.721405, 0.640927, 0.807116)), ("spend", (1.179289, 0.643690, 1.977447))],
)
def test_relative_lift_by_fieller_is_the_reference(
    lift: pd.DataFrame, metric: str, expected: tuple[float, float, float]
) -> None:
    assert tuple(lift.loc[metric, ["rel", "rel_lower", "rel_upper"]].astype(float).round(6)) == expected


def test_the_slope_of_spend_on_history_and_the_spread_of_spend_are_the_reference(mens: pd.DataFrame) -> None:
    terms = [Term("value", "spend"), Term("filled", "history")]
    codes = (mens["arm"] == "Mens E-Mail").to_numpy(dtype=int)
    control, arm = gather(mens, terms, codes=codes, arms=2)
    assert round(arm.variance(terms[0]) ** 0.5, 6) == 17.754205
    assert round(control.variance(terms[0]) ** 0.5, 6) == 11.588200
    pooled = arm + control
    theta, used = slopes(pooled, weighted(pooled, {terms[0]: 1.0})[1], [terms[1]])
    assert used == [terms[1]]
    assert round(float(theta[0]), 8) == 0.00122290


def test_cuped_on_history_saves_almost_nothing_and_says_so(result: Result) -> None:
    found = next(one for one in result.comparisons if one.metric == "spend_cuped")
    assert round(found.diff, 8) == 0.76743850
    assert round(found.error, 8) == 0.14521504
    assert found.variance_saved == pytest.approx(0.0004, abs=0.0005)


def test_the_split_of_the_three_arms_is_as_meant(hillstrom: pd.DataFrame) -> None:
    arms = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
    found = experiment(hillstrom, [Rate("visit")], control="No E-Mail", weights=dict.fromkeys(arms, 1)).split
    assert found is not None
    assert round(found.pvalue, 5) == 0.90369
    assert not found.alarm


def test_the_verdict_says_what_to_do_in_plain_words(result: Result) -> None:
    verdict = result.verdict()
    assert verdict.action == "roll out"
    assert "Mens E-Mail beats No E-Mail on visit: +7.7 points" in verdict
    assert "$0.77" in verdict
    assert "<table" in result._repr_html_()
