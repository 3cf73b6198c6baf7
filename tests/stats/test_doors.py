"""What comes in at the door: units of every kind, numbers of every kind, strata, and what leaves it as text."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import MetricError
from toolkit.stats import Looks, Mean, Quantile, Rate, Ratio, TimeTo, experiment, plan, survival_curves
from toolkit.stats.comparison import Comparison
from toolkit.stats.gathering import gather
from toolkit.stats.moments import Term
from toolkit.stats.verdict import amount


def frame(units: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"unit": units, "arm": ["control", "mail"] * 50, "converted": [0, 1, 0, 0] * 25})


UNITS = {
    "sorted texts": pd.Series([f"c{at:04d}" for at in range(100)], dtype="str"),
    "texts in any order": pd.Series([f"c{at}" for at in range(100)], dtype="str"),
    "small numbers": pd.Series(np.arange(100)[::-1]),
    "numbers far apart": pd.Series(np.arange(100) * 2**40),
    "objects": pd.Series([("a", at) for at in range(100)], dtype=object),
    "numbers that may be missing": pd.Series(range(100), dtype="Int64"),
}


@pytest.mark.parametrize("kind", UNITS)
def test_units_of_every_kind_are_seen_to_be_unique_or_not(kind: str) -> None:
    outcomes = frame(UNITS[kind])
    assert experiment(outcomes, [Rate("converted")]).lift["n"].tolist() == [50]
    twice = pd.concat([outcomes, outcomes.tail(1)])
    with pytest.raises(MetricError, match="1 unit has more than one row"):
        experiment(twice, [Rate("converted")])


def test_a_unit_column_that_is_named_but_absent_is_an_error() -> None:
    with pytest.raises(MetricError, match=r"column 'who' .* is missing"):
        experiment(frame(UNITS["small numbers"]), [Rate("converted")], unit="who")
    without = frame(UNITS["small numbers"]).drop(columns="unit")
    assert experiment(without, [Rate("converted")]).lift["n"].tolist() == [50]


def test_an_arm_column_that_is_absent_or_ambiguous_is_an_error() -> None:
    outcomes = frame(UNITS["small numbers"])
    with pytest.raises(MetricError, match="did you mean arm='arm'"):
        experiment(outcomes, [Rate("converted")], arm="arms")
    mixed = outcomes.assign(arm=pd.Series([1, "1"] * 50, dtype=object))
    with pytest.raises(MetricError, match="read the same"):
        experiment(mixed, [Rate("converted")], control="1")


@pytest.mark.parametrize(
    "revenue",
    [
        pd.Series([Decimal("1.5"), Decimal(2)] * 50, dtype=object),
        pd.Series([1.5, 2] * 50, dtype="float32"),
        pd.Series([1.5, 2] * 50, dtype="Float64"),
    ],
)
def test_numbers_of_every_kind_are_read(revenue: pd.Series) -> None:
    outcomes = frame(UNITS["small numbers"]).assign(revenue=revenue)
    assert experiment(outcomes, [Mean("revenue", method="welch")]).lift["diff"].tolist() == [0.5]


def test_missing_numbers_of_every_kind_are_seen_as_missing() -> None:
    for kind in ("Float64", "Int64", "boolean"):
        values = pd.Series([1, 0] * 49 + [None, 1], dtype=kind)
        outcomes = frame(UNITS["small numbers"]).assign(value=values)
        found = experiment(outcomes, [Mean("value")]).comparisons[0]
        assert math.isnan(found.diff)
        assert "1 of 50 units in arm 'control' have no value" in found.note


def test_moments_of_different_terms_are_not_added() -> None:
    outcomes = frame(UNITS["small numbers"])
    codes = np.zeros(100, dtype=int)
    one = gather(outcomes, [Term("value", "converted")], codes=codes, arms=1)[0]
    other = gather(outcomes, [Term("value", "unit")], codes=codes, arms=1)[0]
    with pytest.raises(MetricError, match="different terms"):
        one + other


def test_strata_that_are_absent_or_too_many_are_errors() -> None:
    outcomes = pd.DataFrame({"arm": ["control", "mail"] * 1_500, "value": range(3_000), "segment": range(3_000)})
    with pytest.raises(MetricError, match="did you mean 'segment'"):
        experiment(outcomes, [Mean("value", strata="segmnt")])
    with pytest.raises(MetricError, match="3,000 values; allowed: at most 1,000"):
        experiment(outcomes, [Mean("value", strata="segment")])


def test_strata_too_small_to_compare_are_put_together_and_said() -> None:
    rng = np.random.default_rng(2)
    outcomes = pd.DataFrame({"arm": ["control", "mail"] * 200, "segment": "large", "value": rng.normal(size=400)})
    outcomes.loc[:5, "segment"] = [f"small {at}" for at in range(6)]
    found = experiment(outcomes, [Mean("value", strata="segment")]).comparisons[0]
    assert "6 strata with fewer than two units in an arm put together" in found.note
    assert "(2 strata)" in found.method
    alone = outcomes.assign(segment=np.where(outcomes.index == 0, "one", "large"))
    found = experiment(alone, [Mean("value", strata="segment")]).comparisons[0]
    assert "1 unit left out, in strata that one arm lacks" in found.note


def test_no_stratum_to_compare_leaves_nothing() -> None:
    outcomes = pd.DataFrame({"arm": ["control", "control", "mail"], "segment": ["a", "a", "a"], "value": [1, 2, 3]})
    found = experiment(outcomes, [Mean("value", strata="segment")]).comparisons[0]
    assert math.isnan(found.diff)
    assert "no stratum of segment has two units in both arms" in found.note


def test_ratios_in_rows_take_their_covariate_from_the_first_row() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(400), 3), "arm": np.repeat(["control", "mail"], 600)})
    rows["mails"], rows["opens"] = 1, rng.integers(0, 2, 1_200)
    rows["taste"] = np.repeat(rng.random(400), 3)
    found = experiment(rows, [Ratio("opens", "mails", covariate="taste")]).comparisons[0]
    once = rows.groupby("unit").agg({"arm": "first", "mails": "sum", "opens": "sum", "taste": "first"}).reset_index()
    expected = experiment(once, [Ratio("opens", "mails", covariate="taste")]).comparisons[0]
    assert found.diff == pytest.approx(expected.diff)
    assert found.error == pytest.approx(expected.error)


def test_empty_arms_leave_every_metric_undefined_with_the_reason() -> None:
    outcomes = frame(UNITS["small numbers"])
    outcomes["days"] = 1.0
    outcomes["arm"] = pd.Categorical(outcomes["arm"], categories=["control", "mail", "late"])
    metrics = [
        Rate("converted"),
        Mean("days"),
        Ratio("converted", "days"),
        Quantile("days"),
        TimeTo("days", within="7d", name="soon"),
    ]
    result = experiment(outcomes, metrics)
    late = result.lift[result.lift["arm"] == "late"]
    assert len(late) == 6
    assert late["diff"].isna().all()
    assert late["note"].str.contains("no units in arm 'late'").all()
    assert list(survival_curves(outcomes, metrics[-1])) == ["control", "mail"]
    assert "no number can be given" in result.verdict()


def test_a_quantile_of_too_few_units_has_no_interval() -> None:
    outcomes = pd.DataFrame({"arm": ["control"] * 4 + ["mail"] * 4, "value": [1.0, 2, 3, 4, 5, 6, 7, 8]})
    found = experiment(outcomes, [Quantile("value")]).comparisons[0]
    assert found.diff_lower == -np.inf
    assert "too few units" in found.note
    below = outcomes.assign(value=outcomes["value"] - 10)
    assert "not defined" in experiment(below, [Quantile("value")]).comparisons[0].note
    same = outcomes.assign(value=[1.0, 2, 3, 4] * 2)
    assert experiment(same, [Quantile("value")]).comparisons[0].pvalue == 1.0


def test_times_as_days_need_no_moment_to_count_from() -> None:
    outcomes = frame(UNITS["small numbers"]).assign(days=[3.0, 1.0] * 50)
    whether, soon = experiment(outcomes, [TimeTo("days", within="2d")]).comparisons
    assert (whether.control, whether.value) == (0, 1)
    assert (soon.control, soon.value) == (2, 1)


@pytest.mark.parametrize(
    ("value", "shape", "text"),
    [
        (0.0213, {"kind": "rate"}, "+2.1 points"),
        (-0.00042, {"kind": "rate"}, "−0.042 points"),
        (12.5, {"currency": "EUR"}, "+€12.50"),
        (-12.5, {"currency": "CHF"}, "−12.50 CHF"),
        (3.2, {"kind": "time"}, "+3.2 days"),
        (1234.5, {}, "+1,234.5"),
        (math.inf, {}, "+unbounded"),
    ],
)
def test_amounts_are_written_as_people_write_them(value: float, shape: dict, text: str) -> None:
    assert amount(value, Comparison(metric="x", arm="mail", n_control=1, n=1, **shape), signed=True) == text


def test_a_look_that_comes_too_early_for_an_interval_says_so() -> None:
    looked = experiment(frame(UNITS["small numbers"]), [Mean("converted")], looks=Looks(planned=1_000_000)).verdict()
    assert "[too early for an interval]." in looked
    assert "unbounded" not in looked


def test_a_verdict_shows_itself_as_its_text() -> None:
    verdict = experiment(frame(UNITS["small numbers"]), [Rate("converted")]).verdict()
    assert repr(verdict) == str(verdict)
    assert verdict.splitlines()[-1].startswith(("Roll out", "Keep testing"))


def test_plans_read_a_baseline_of_human_opens_from_the_verdict() -> None:
    outcomes = pd.DataFrame({"open": ["human"] * 20 + ["machine"] * 50 + [None] * 30})
    planned = plan(Rate("opened", verdict="open"), outcomes=outcomes, rel=0.1)
    assert planned.baseline == pytest.approx(0.2)
    with pytest.raises(MetricError, match="values are missing"):
        plan(Mean("x"), outcomes=pd.DataFrame({"x": [1.0, np.nan]}), rel=0.1)
    fall = plan(Mean("x", better="lower"), baseline=1, sd=2, units=1_000)
    assert fall.diff < 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"journeys": pd.DataFrame({"customer_id": ["a"]})}, "'entered_at' is missing"),
        ({"journeys": pd.DataFrame({"customer_id": [], "entered_at": []})}, "nobody entered"),
        ({"per_day": -1}, "positive"),
        ({"per_day": math.inf}, "positive"),
        ({"per_day": 5, "journeys": pd.DataFrame()}, "not both"),
        ({"holdout": 0.5, "arms": {"control": 1, "b": 1}}, "not both"),
    ],
)
def test_entries_that_cannot_be_are_errors(asked: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        plan(Rate("x"), baseline=0.1, rel=0.1, **asked)


def test_a_pace_cannot_be_told_from_one_moment() -> None:
    journeys = pd.DataFrame({"customer_id": ["a", "b"], "entered_at": pd.to_datetime(["2025-01-01"] * 2, utc=True)})
    with pytest.raises(MetricError, match="too few days"):
        _ = plan(Rate("x"), baseline=0.1, rel=0.1, journeys=journeys).days


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"baseline": pd.DataFrame({"x": [1]})},
            r"plan: baseline: found a DataFrame; allowed: a number; frames are outcomes= and journeys=$",
        ),
        ({"baseline": "20%"}, r"plan: baseline: found '20%'; allowed: a number; did you mean 0\.2\?"),
        ({"rel": "much"}, r"plan: rel: found 'much'; allowed: a number$"),
        ({"alpha": True}, "plan: alpha: found True; allowed: a number"),
        ({"per_day": "many"}, "plan: per_day: found 'many'"),
        ({"rel": None, "units": math.inf}, "plan: found inf units; allowed: a number, at least two"),
        (
            {"window": "7 days", "per_day": 5},
            "plan: window: expected a duration; found '7 days'; allowed: a number and s",
        ),
        ({"window": "-7d"}, "plan: window: found '-7d'; allowed: longer than nothing"),
        ({"arms": {"control": "half", "mail": 1}}, "plan: arms: control: found 'half'; allowed: a number"),
        ({"arms": ["control", "mail"]}, "plan: arms: found .*; allowed: the weight of each arm"),
        ({"looks": "often"}, "plan: looks: found 'often'; allowed: how many"),
        ({"outcomes": "outcomes.parquet"}, "plan: outcomes: found str; allowed: a DataFrame"),
        ({"journeys": [1]}, "plan: journeys: found list; allowed: a DataFrame"),
    ],
)
def test_what_a_plan_cannot_take_is_named(asked: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        plan(Rate("x"), **{"baseline": 0.2, "rel": 0.1, **asked})


def test_a_plan_needs_a_metric() -> None:
    with pytest.raises(MetricError, match=r"plan: metric: found 'x'; allowed: .*; did you mean Rate\('x'\)\?"):
        plan("x", baseline=0.2, rel=0.1)
    for found in (None, Rate):
        with pytest.raises(MetricError, match="plan: metric: found"):
            plan(found, baseline=0.2, rel=0.1)


@pytest.mark.parametrize("column", ["converted", "arm", "unit"])
def test_two_columns_of_one_name_are_an_error(column: str) -> None:
    outcomes = frame(UNITS["small numbers"])
    twice = pd.concat([outcomes, outcomes[[column]]], axis=1)
    with pytest.raises(MetricError, match=f"outcomes: found 2 columns '{column}'; allowed: one of each name"):
        experiment(twice, [Rate("converted")])
