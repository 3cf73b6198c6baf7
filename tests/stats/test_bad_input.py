"""Bad input gives NaN with a reason, or one clear error; never a made-up number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import MetricError
from toolkit.stats import Mean, Rate, experiment


@pytest.fixture
def outcomes() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "unit": range(3000),
            "arm": ["control", "mail", "offer"] * 1000,
            "converted": rng.random(3000) < 0.1,
            "revenue": np.where(rng.random(3000) < 0.1, rng.gamma(2, 20, 3000), 0),
        }
    )


def row(frame: pd.DataFrame, metric: Rate | Mean, arm: str = "mail") -> pd.Series:
    return experiment(frame, [metric]).lift.set_index("arm").loc[arm]


def numbers(found: pd.Series) -> pd.Series:
    return found[["diff", "diff_lower", "diff_upper", "rel", "rel_lower", "rel_upper", "pvalue"]].astype(float)


def test_one_arm_only_is_an_error(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="one arm only"):
        experiment(outcomes[outcomes["arm"] == "control"], [Rate("converted")])


def test_a_control_that_is_not_there_is_an_error_naming_the_nearest_arm(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match=r"arms found: control, mail, offer; did you mean control='control'"):
        experiment(outcomes, [Rate("converted")], control="contrl")


def test_no_rows_is_an_error(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="no rows"):
        experiment(outcomes.iloc[:0], [Rate("converted")])


def test_an_arm_without_units_is_undefined_with_the_reason(outcomes: pd.DataFrame) -> None:
    outcomes["arm"] = pd.Categorical(outcomes["arm"], categories=["control", "mail", "offer", "late"])
    found = row(outcomes, Mean("revenue"), "late")
    assert found["n"] == 0
    assert numbers(found).isna().all()
    assert found["note"] == "no units in arm 'late'"


def test_a_rate_of_zero_everywhere_has_no_test_and_no_relative_lift(outcomes: pd.DataFrame) -> None:
    found = row(outcomes.assign(converted=0), Rate("converted"))
    assert found["diff"] == 0
    assert found["diff_lower"] < 0 < found["diff_upper"]
    assert np.isnan(found["pvalue"])
    assert np.isnan(found["rel"])
    assert "nobody in either arm" in found["note"]


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_a_constant_mean_has_no_test_and_no_interval(outcomes: pd.DataFrame, value: float) -> None:
    found = row(outcomes.assign(revenue=value), Mean("revenue"))
    assert found["diff"] == 0
    assert found[["diff_lower", "diff_upper", "pvalue"]].astype(float).isna().all()
    assert "nothing to test" in found["note"]


def test_missing_outcomes_make_the_metric_undefined_because_follow_up_is_missing(outcomes: pd.DataFrame) -> None:
    outcomes.loc[[1, 4], "revenue"] = np.nan
    lift = experiment(outcomes, [Mean("revenue"), Rate("converted")]).lift.set_index(["metric", "arm"])
    assert numbers(lift.loc["revenue", "mail"]).isna().all()
    assert "2 of 1,000 units in arm 'mail' have no value of revenue" in lift.loc[("revenue", "mail"), "note"]
    assert numbers(lift.loc["revenue", "offer"]).notna().all()
    assert numbers(lift.loc["converted", "mail"]).notna().all()


def test_infinite_outcomes_make_the_metric_undefined(outcomes: pd.DataFrame) -> None:
    outcomes.loc[0, "revenue"] = np.inf
    found = row(outcomes, Mean("revenue"))
    assert numbers(found).isna().all()
    assert "infinite" in found["note"]


@pytest.mark.parametrize("value", [-1, 2, 0.5])
def test_a_rate_of_anything_but_0_and_1_is_undefined_and_points_to_mean(outcomes: pd.DataFrame, value: float) -> None:
    outcomes["converted"] = outcomes["converted"].astype(float)
    outcomes.loc[0, "converted"] = value
    found = row(outcomes, Rate("converted"))
    assert numbers(found).isna().all()
    assert "a rate needs 0 and 1" in found["note"]
    assert "Mean('converted')" in found["note"]


def test_a_relative_lift_against_a_control_of_zero_is_not_defined(outcomes: pd.DataFrame) -> None:
    outcomes.loc[outcomes["arm"] == "control", ["converted", "revenue"]] = [False, 0.0]
    rate, mean = row(outcomes, Rate("converted")), row(outcomes, Mean("revenue"))
    assert np.isnan(rate["rel"])
    assert rate["rel_lower"] > 0
    assert rate["rel_upper"] == np.inf
    assert np.isnan(mean["rel"])
    assert "not defined" in mean["note"]
    assert "not defined" in rate["note"]


def test_a_relative_interval_without_end_is_said_to_be_unbounded(outcomes: pd.DataFrame) -> None:
    few = outcomes.groupby("arm").head(12).assign(revenue=[30.0, 40, 35] + [0, 20, 30] * 11)
    found = row(few, Mean("revenue"))
    assert "unbounded" in found["note"]
    assert np.inf in (abs(found["rel_lower"]), abs(found["rel_upper"]))


def test_one_unit_in_an_arm_has_no_variance(outcomes: pd.DataFrame) -> None:
    few = pd.concat([outcomes[outcomes["arm"] == "control"], outcomes[outcomes["arm"] == "mail"].head(1)])
    found = row(few, Mean("revenue"))
    assert np.isfinite(found["diff"])
    assert np.isnan(found["pvalue"])
    assert "fewer than two units" in found["note"]


def test_a_unit_with_two_rows_is_an_error(outcomes: pd.DataFrame) -> None:
    twice = pd.concat([outcomes, outcomes.head(5)])
    with pytest.raises(MetricError, match="5 units have more than one row, for example '0'"):
        experiment(twice, [Rate("converted")])


def test_a_unit_in_two_arms_is_an_error(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="1 unit is in more than one arm"):
        experiment(pd.concat([outcomes, outcomes.head(1).assign(arm="mail")]), [Rate("converted")])


def test_a_row_without_arm_or_unit_is_an_error(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="1 of 3,000 rows have no arm"):
        experiment(outcomes.assign(arm=outcomes["arm"].where(outcomes.index > 0)), [Rate("converted")])
    with pytest.raises(MetricError, match="1 of 3,000 rows have no 'unit'"):
        experiment(outcomes.assign(unit=outcomes["unit"].where(outcomes.index > 0)), [Rate("converted")])


def test_twenty_arms_are_compared_one_by_one_with_control(outcomes: pd.DataFrame) -> None:
    outcomes["arm"] = [f"a{at:02d}" for at in np.arange(3000) % 20]
    lift = experiment(outcomes, [Rate("converted"), Mean("revenue")], control="a00").lift
    assert len(lift) == 38
    assert lift["n"].eq(150).all()
    assert lift["diff"].notna().all()


def test_text_where_numbers_belong_is_an_error(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="column 'revenue' should be numbers"):
        experiment(outcomes.assign(revenue="much"), [Mean("revenue")])


def test_a_missing_column_is_an_error_naming_the_nearest(outcomes: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="did you mean 'converted'"):
        experiment(outcomes, [Rate("convertd")])


def test_outcomes_that_were_not_randomised_are_refused_unless_asked_for(outcomes: pd.DataFrame) -> None:
    outcomes.attrs["toolkit"] = {"randomised": False, "why": "the log holds no experiment"}
    with pytest.raises(MetricError, match=r"not drawn at random \(the log holds no experiment\).*observational=True"):
        experiment(outcomes, [Rate("converted")])
    result = experiment(outcomes, [Rate("converted")], observational=True)
    assert result.label == "observed, not randomised"
    assert result.lift["note"].str.startswith("observed, not randomised").all()
    assert result.verdict().action == "look only"


def test_outcomes_known_to_be_randomised_stay_so_even_if_observation_is_accepted(outcomes: pd.DataFrame) -> None:
    outcomes.attrs["toolkit"] = {"randomised": True}
    assert experiment(outcomes, [Rate("converted")], observational=True).label == "randomised"
    outcomes.attrs.clear()
    assert experiment(outcomes, [Rate("converted")], observational=True).label == "observed, not randomised"


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([], "found none"),
        (["converted"], "allowed: Rate, Mean"),
        ([Rate("converted"), Rate("converted")], "is there twice"),
    ],
)
def test_metrics_that_make_no_sense_are_errors(outcomes: pd.DataFrame, metrics: list, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        experiment(outcomes, metrics)


def test_a_split_that_is_not_what_was_meant_raises_the_alarm(outcomes: pd.DataFrame) -> None:
    short = outcomes[(outcomes["arm"] != "mail") | (outcomes.index % 5 > 0)]
    result = experiment(short, [Rate("converted")], weights={"control": 1, "mail": 1, "offer": 1})
    assert result.split is not None
    assert result.split.alarm
    assert result.verdict().action == "do not trust"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"control": 1, "mail": 1}, "'offer' has no weight"),
        ({"control": 1, "mail": 1, "ofer": 1}, "did you mean 'offer'"),
        ({"control": 1, "mail": 1, "offer": 0}, "positive"),
    ],
)
def test_weights_that_do_not_fit_are_errors(outcomes: pd.DataFrame, weights: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        experiment(outcomes, [Rate("converted")], weights=weights)


@pytest.mark.parametrize("values", [[0.5, 0.5, 0, 1], [-0.5, 0.5, 0.5, 0.5], [-1, 0, 0, 1], [2, 0, 0, 1]])
def test_a_rate_of_what_is_not_0_and_1_is_refused_also_where_squares_and_numbers_add_up_alike(values: list) -> None:
    frame = pd.DataFrame({"arm": ["control"] * 4 + ["mail"] * 4, "converted": [0, 1, 0, 1, *values]})
    note = experiment(frame, [Rate("converted")]).comparisons[0].note
    assert note.startswith(f"a rate needs 0 and 1; converted runs from {min(0, *values):g} to {max(1, *values):g}")


@pytest.mark.parametrize("size", [400, 4_000], ids=["exact test", "score test"])
def test_of_what_nobody_did_only_the_difference_has_an_interval(size: int) -> None:
    frame = pd.DataFrame({"arm": ["control", "mail"] * size, "converted": 0})
    found = experiment(frame, [Rate("converted")]).comparisons[0]
    assert found.diff == 0
    assert found.diff_upper == -found.diff_lower == pytest.approx(3.8414588 / (size + 3.8414588))  # Wilson's of 0
    assert np.isnan([found.rel, found.rel_lower, found.rel_upper]).all()
    assert found.note == "nobody in either arm: there is nothing to test"
