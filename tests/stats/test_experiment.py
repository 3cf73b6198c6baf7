"""The whole way from outcomes to a verdict: looks, designs, many metrics, guardrails, and warnings that matter."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import MetricError
from toolkit.stats import Looks, Mean, Rate, Ratio, Spending, experiment, plan
from toolkit.stats.checks import contamination
from toolkit.stats.comparison import Comparison
from toolkit.stats.multiplicity import benjamini_hochberg, holm
from toolkit.stats.outcomes import read, read_arms
from toolkit.stats.verdict import Verdict, amount


def shop(
    count: int, *, seed: int, lift: float = 0.0, cost: float = 0.0, leave: float = 0.0, arms: int = 2
) -> pd.DataFrame:
    """An experiment with a known truth."""
    rng = np.random.default_rng(seed)
    arm = np.arange(count) % arms
    mailed = arm > 0
    converted = rng.random(count) < 0.10 + lift * mailed
    revenue = converted * rng.gamma(4, 10, count)
    return pd.DataFrame(
        {
            "unit": np.arange(count),
            "arm": np.array(["control", "mail", "offer", "both"])[arm],
            "converted": converted,
            "revenue": revenue,
            "cost": cost * converted * mailed,
            "profit": 0.3 * revenue - cost * converted * mailed,
            "unsubscribed": rng.random(count) < 0.01 + leave * mailed,
        }
    )


METRICS = [
    Rate("converted"),
    Mean("profit", currency="EUR"),
    Rate("unsubscribed", role="guardrail", better="lower", margin=0.005),
]


def test_a_mail_that_wins_and_does_no_harm_is_rolled_out() -> None:
    verdict = experiment(shop(40_000, seed=1, lift=0.02), METRICS).verdict()
    assert verdict.action == "roll out"
    assert "mail beats control on converted: +2" in verdict
    assert "It gains €" in verdict
    assert "mail does not harm unsubscribed by more than 0.50 points" in verdict
    assert verdict.splitlines()[-1] == "Roll out mail."
    assert isinstance(verdict, Verdict)


def test_a_discount_that_converts_but_loses_money_is_not_rolled_out() -> None:
    metrics = [*METRICS, Mean("cost", currency="EUR", better="lower")]
    verdict = experiment(shop(40_000, seed=2, lift=0.02, cost=14.0), metrics).verdict()
    assert verdict.action == "do not roll out"
    assert "mail beats control on converted" in verdict
    money = next(line for line in verdict.splitlines() if line.startswith("It costs €"))
    assert re.fullmatch(
        r"It costs €\d\.\d\d a customer \[.*\] and loses €\d\.\d\d profit a customer \[€\d.*, €\d.*\]\.", money
    )
    assert "Do not roll out mail." in verdict


def test_a_mail_that_drives_people_away_is_not_rolled_out() -> None:
    verdict = experiment(shop(40_000, seed=3, lift=0.02, leave=0.02), METRICS).verdict()
    assert verdict.action == "do not roll out"
    assert "mail harms unsubscribed by more than 0.50 points" in verdict


def test_harm_that_cannot_be_excluded_asks_for_more_data() -> None:
    metrics = [Rate("converted"), Rate("unsubscribed", role="guardrail", better="lower", margin=0.0005)]
    verdict = experiment(shop(20_000, seed=4, lift=0.03), metrics).verdict()
    assert verdict.action == "keep testing"
    assert "may harm unsubscribed" in verdict


def test_a_relative_margin_guards_as_an_absolute_one() -> None:
    frame = shop(40_000, seed=5)
    one = experiment(frame, [Rate("converted", role="guardrail", margin_relative=0.2)]).comparisons[0]
    assert one.not_worse
    assert one.margin == pytest.approx(0.2 * one.control)
    assert not experiment(frame, [Rate("converted", role="guardrail", margin_relative=0.01)]).comparisons[0].not_worse


def test_no_difference_asks_for_more_data_and_says_what_is_excluded() -> None:
    verdict = experiment(shop(4_000, seed=6), [Rate("converted")]).verdict()
    assert verdict.action == "keep testing"
    assert "cannot be told apart on converted" in verdict


def test_the_best_of_several_arms_is_named() -> None:
    frame = shop(60_000, seed=7, arms=3)
    rng = np.random.default_rng(8)
    frame["converted"] |= (frame["arm"] == "offer") & (rng.random(len(frame)) < 0.03)
    verdict = experiment(frame, [Rate("converted")]).verdict()
    assert verdict.action == "roll out"
    assert verdict.actions["offer"] == "roll out"
    assert verdict.actions["mail"] == "keep testing"
    assert "Roll out offer." in verdict


def test_primary_comparisons_are_corrected_by_holm_and_secondary_by_benjamini_hochberg() -> None:
    frame = shop(30_000, seed=9, lift=0.006, arms=4)
    metrics = [
        Rate("converted", role="primary"),
        Mean("revenue", role="primary"),
        Mean("profit"),
        Rate("unsubscribed"),
    ]
    table = experiment(frame, metrics).table
    for role, correct in (("primary", holm), ("secondary", benjamini_hochberg)):
        part = table[table["role"] == role]
        assert len(part) == 6
        assert part["pvalue_adjusted"].to_numpy() == pytest.approx(correct(part["pvalue"]))


def test_a_difference_that_many_comparisons_explain_is_not_rolled_out() -> None:
    frame = shop(30_000, seed=14, lift=0.009, arms=4)
    table = experiment(frame, [Rate("converted", role="primary"), Mean("revenue", role="primary")]).table
    between = table[(table["pvalue"] < 0.05) & (table["pvalue_adjusted"] >= 0.05)]
    assert len(between)
    verdict = experiment(frame, [Rate("converted", role="primary"), Mean("revenue", role="primary")]).verdict()
    row = between.iloc[0]
    assert f"{row['arm']} and control cannot be told apart on {row['metric']}" in verdict


def test_a_look_before_the_end_widens_the_intervals_and_raises_the_bar() -> None:
    frame = shop(10_000, seed=10, lift=0.011)
    alone = experiment(frame, [Rate("converted")]).comparisons[0]
    early = experiment(frame, [Rate("converted")], looks=Looks(planned=40_000)).comparisons[0]
    assert early.pvalue == alone.pvalue
    assert early.diff_upper - early.diff_lower > 1.5 * (alone.diff_upper - alone.diff_lower)
    assert early.pvalue_repeated > early.pvalue
    always = experiment(frame, [Rate("converted")], looks=Looks(planned=40_000, spending="always")).comparisons[0]
    assert always.diff_upper - always.diff_lower > alone.diff_upper - alone.diff_lower


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock", Spending("kim_demets", 3), "always"])
def test_a_repeated_pvalue_is_below_alpha_exactly_when_the_repeated_interval_excludes_0(spending) -> None:
    rng = np.random.default_rng(11)
    for _ in range(6):
        units = int(rng.integers(2_000, 9_000))
        frame = shop(units, seed=int(rng.integers(1e6)), lift=float(rng.uniform(0.01, 0.06)))
        result = experiment(frame, [Rate("converted")], looks=Looks(planned=10_000, past=[1_000], spending=spending))
        one = result.comparisons[0]
        assert (one.pvalue_repeated < 0.05) == (one.diff_lower > 0)
        assert (one.diff_lower > 0) == (one.rel_lower > 0)


def test_peeking_outside_the_plan_is_said() -> None:
    planned = plan(Rate("converted"), baseline=0.10, rel=0.10)
    verdict = experiment(shop(5_000, seed=12), [Rate("converted")], design=planned).verdict()
    assert "this is a look before the end: 5,000 of" in verdict


def test_a_result_is_held_against_its_frozen_design(tmp_path: Path) -> None:
    planned = plan(Rate("converted"), baseline=0.10, rel=0.2, alpha=0.01, window="7d")
    planned.freeze(tmp_path / "design.json")
    frame = shop(20_000, seed=13)
    frame.attrs["toolkit"] = {"window": "3d", "randomised": True}
    result = experiment(frame, [Mean("revenue"), Rate("converted")], design=tmp_path / "design.json", alpha=0.05)
    said = " ".join(result.verdict().warnings)
    assert "the design was made for converted, here revenue is primary" in said
    assert "alpha 0.01, here it is 0.05" in said
    assert "counts outcomes for 7d, here it is 3d" in said
    assert experiment(frame, [Rate("converted")], design=planned).alpha == 0.01


def test_a_complete_plan_without_effect_says_stop() -> None:
    planned = plan(Rate("converted"), baseline=0.10, rel=0.2)
    result = experiment(shop(planned.units + 2, seed=14), [Rate("converted")], design=planned)
    assert result.verdict().action == "stop"
    assert not result.verdict().warnings


def test_a_design_with_looks_knows_the_boundary_of_todays_look() -> None:
    planned = plan(Rate("converted"), baseline=0.10, rel=0.1, looks=4)
    quarter = planned.units // 4
    result = experiment(shop(2 * quarter, seed=15), [Rate("converted")], design=planned, looks=[quarter])
    assert result.look is not None
    assert result.look.bounds == pytest.approx([4.3326, 2.9631], abs=2e-3)
    assert not result.verdict().warnings


def test_looks_without_a_plan_are_an_error() -> None:
    with pytest.raises(MetricError, match="Looks\\(planned"):
        experiment(shop(100, seed=16), [Rate("converted")], looks=[50])
    with pytest.raises(MetricError, match="alpha"):
        experiment(shop(100, seed=16), [Rate("converted")], alpha=5.0)


def test_a_design_for_customers_is_held_against_outcomes_of_journeys() -> None:
    design = plan(Rate("converted"), baseline=0.1, diff=0.05).freeze()
    frame = shop(4_000, seed=19)
    for known, told in (("customer", False), ("journey", True)):
        frame.attrs["toolkit"] = {"unit": known}
        said = experiment(frame, [Rate("converted")], design=design).verdict()
        assert ("the design counts customers, here each row is about a journey" in said) is told


@pytest.mark.parametrize(("planned", "action"), [(6_000, "stop"), (6_100, "stop"), (6_200, "keep testing")])
def test_the_last_look_says_stop_where_nothing_was_found(planned: int, action: str) -> None:
    frame = shop(6_000, seed=14)
    for spending in ("obrien_fleming", "pocock"):
        looks = Looks(planned=planned, past=[3_000], spending=spending)  # type: ignore[arg-type]
        assert experiment(frame, [Rate("converted")], looks=looks).verdict().action == action
    always = Looks(planned=planned, spending="always")
    assert experiment(frame, [Rate("converted")], looks=always).verdict().action == "keep testing"
    assert "Stop: the plan is complete" in experiment(frame, [Rate("converted")], looks=Looks(planned=6_000)).verdict()
    assert experiment(shop(6_000, seed=1, lift=0.05), [Rate("converted")], looks=Looks(6_000)).verdict().action == (
        "roll out"
    )


def test_what_holds_alone_and_not_with_all_comparisons_counted_is_said_to() -> None:
    frame = shop(30_000, seed=14, lift=0.009, arms=4)
    result = experiment(frame, [Rate("converted", role="primary"), Mean("revenue", role="primary")])
    for one in result.comparisons:
        alone = (one.diff_lower > 0 or one.diff_upper < 0) and not one.sure(0.05)
        told = f"{one.arm} and control cannot be told apart on {one.metric}, all comparisons counted: "
        assert (told in result.verdict()) == alone
    assert "all comparisons counted" in result.verdict()


def test_a_margin_beside_a_metric_that_decides_is_no_guardrail() -> None:
    frame = shop(40_000, seed=1, lift=0.02)
    verdict = experiment(frame, [Rate("converted", margin=0.01), Rate("unsubscribed", margin=0.5)]).verdict()
    assert "mail beats control on converted: +2" in verdict
    assert "mail and control cannot be told apart on unsubscribed: " in verdict
    assert "harm" not in verdict


def test_opens_decide_only_where_people_alone_and_with_the_unsure_ones_do() -> None:
    frame = pd.DataFrame({"arm": ["control", "mail"] * 2_000, "open_verdict": None})
    for arm, human, unsure in ((0, 300, 100), (1, 310, 300)):
        rows = frame.index[arm::2]
        frame.loc[rows[:human], "open_verdict"] = "human"
        frame.loc[rows[human : human + unsure], "open_verdict"] = "unsure"
    result = experiment(frame, [Rate("opened", verdict="open_verdict")])
    assert [one.sure(0.05) for one in result.comparisons] == [False, True]
    assert result.verdict().action == "keep testing"
    frame.loc[frame.index[1::2][600:1_000], "open_verdict"] = "human"
    assert experiment(frame, [Rate("opened", verdict="open_verdict")]).verdict().action == "roll out"


def test_what_a_mail_costs_is_no_loss_where_more_comes_in() -> None:
    frame = shop(40_000, seed=1, lift=0.03, cost=1.0)
    cost, revenue = Mean("cost", currency="EUR", better="lower"), Mean("revenue", currency="EUR")
    verdict = experiment(frame, [Rate("converted"), revenue, cost]).verdict()
    assert "It costs €" in verdict
    assert verdict.action == "roll out"


def test_why_numbers_cannot_be_trusted_is_the_first_warning() -> None:
    frame = shop(2_000, seed=1).query("arm == 'mail' or unit % 3")
    frame.attrs["toolkit"] = {"window": "7d", "open_windows": 5}
    unsound = experiment(frame, [Rate("converted")], weights={"control": 1, "mail": 1}).verdict()
    assert [warning[:9] for warning in unsound.warnings] == ["split not", "5 custome"]
    assert "\nDo not trust these numbers.\n" in unsound
    watched = experiment(frame, [Rate("converted")], observational=True).verdict()
    assert [warning[:13] for warning in watched.warnings] == ["the arms were", "5 customers a"]


@pytest.mark.parametrize(
    ("value", "ends", "kind", "currency", "told"),
    [
        (0.021, (0.001, 0.041), "rate", None, ("+2.1 points", "2.1")),
        (0.0213, (0.0211, 0.0215), "rate", None, ("+2.130 points", "2.130")),
        (1.5, (1.0, 2.0), "time", None, ("+1.5 days", "1.5")),
        (123_456.78, (123_450.0, 123_460.0), "mean", "EUR", ("+€123,456.78", "€123,456.78")),
        (123_456.78, (110_000.0, 130_000.0), "mean", "EUR", ("+€123,457", "€123,457")),
        (0.5, (-20_000.0, 20_000.0), "mean", "EUR", ("+€0", "€0")),
        (12_345.678, (-np.inf, 20_000.0), "mean", None, ("+12,346", "12,346")),
        (-12.5, (-np.inf, np.inf), "mean", None, ("−12.5", "−12.5")),
        (0.004, (0.004, 0.004), "mean", None, ("+0.0040", "0.0040")),
        (-np.inf, (-np.inf, 3.0), "mean", None, ("−unbounded", "−unbounded")),
        (np.inf, (-1.0, np.inf), "mean", None, ("+unbounded", "unbounded")),
    ],
)
def test_an_amount_has_as_many_digits_as_its_interval_knows(
    value: float, ends: tuple[float, float], kind: str, currency: str | None, told: tuple[str, str]
) -> None:
    one = Comparison(
        metric="x", arm="mail", n_control=9, n=9, diff=value, diff_lower=ends[0], diff_upper=ends[1], kind=kind,
        currency=currency,
    )  # fmt: skip
    assert (amount(value, one, signed=True), amount(value, one, bare=True)) == told


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ((-1.0, 3.0), "[−1.0, 3.0]"),
        ((-np.inf, 3.0), "[−unbounded, 3.0]"),
        ((-np.inf, np.inf), "[too early for"),
    ],
)
def test_an_end_that_is_known_is_told_beside_one_that_is_not(ends: tuple[float, float], told: str) -> None:
    result = experiment(shop(2_000, seed=1), [Mean("revenue")])
    one = replace(result.comparisons[0], diff=1.0, diff_lower=ends[0], diff_upper=ends[1])
    assert told in replace(result, comparisons=(one,)).verdict()


def test_weights_and_open_windows_are_read_from_measured_outcomes() -> None:
    frame = shop(9_000, seed=17)
    frame.attrs["toolkit"] = {
        "randomised": True,
        "weights": {"control": 0.2, "mail": 0.8},
        "window": "7d",
        "open_windows": 120,
    }
    result = experiment(frame, [Rate("converted")])
    assert result.split is not None
    assert result.split.alarm
    assert "120 customers are left out because their window of 7d has not closed yet" in result.verdict()
    assert result.verdict().action == "do not trust"


def test_who_entered_when_there_were_no_mails_is_told_unless_they_are_few() -> None:
    frame = shop(4_000, seed=17)
    for count, is_told in ((39, False), (1_200, True)):
        frame.attrs["toolkit"] = {"untouched": count, "mailed": ("2025-03-17", "2025-05-01")}
        said = "1,200 of 4,000 customers entered when no mail of the experiment could reach them (the log holds some"
        assert (said in experiment(frame, [Rate("converted")]).verdict()) is is_told


def test_a_test_whose_mails_could_reach_nobody_yet_has_no_lift() -> None:
    frame = shop(4_000, seed=17)
    frame.attrs["toolkit"] = {"untouched": 4_000, "mailed": ("2025-05-01", "2025-05-02"), "window": "7d"}
    told = r"none of these 4,000 customers could get a mail .* window of 7d \(the log holds some from 2025-05-01 to"
    with pytest.raises(MetricError, match=told):
        experiment(frame, [Rate("converted")])
    warned = experiment(frame, [Rate("converted")], observational=True).verdict()
    assert "4,000 of 4,000 customers entered when no mail of the experiment could reach them" in warned


@pytest.mark.parametrize(
    ("known", "column", "word"),
    [
        ({}, "unit", "customer"),
        ({"unit": "customer"}, "unit", "customer"),
        ({"unit": "journey"}, "unit", "journey"),
        ({}, "household", "unit"),
    ],
)
def test_the_verdict_says_what_a_row_is_about(known, column, word) -> None:
    frame = shop(4_000, seed=18).rename(columns={"unit": column})
    frame.attrs["toolkit"] = {**known, "window": "7d", "open_windows": 3}
    result = experiment(
        frame, [Mean("revenue", currency="EUR"), Ratio("profit", "revenue", currency="EUR")], unit=column
    )
    assert result.unit == word
    money, ratio, *_ = result.verdict().splitlines()
    assert f" a {word} [" in money
    assert word not in ratio
    assert f"3 {word}s are left out" in result.verdict()


def test_arms_that_differed_before_the_experiment_are_seen() -> None:
    frame = shop(4_000, seed=18)
    frame["pre_revenue"] = np.random.default_rng(1).gamma(2, 10, 4_000) + 3.0 * (frame["arm"] == "mail")
    assert "differed in pre_revenue before the experiment" in experiment(frame, [Rate("converted")]).verdict()
    alike = frame.assign(pre_revenue=np.random.default_rng(1).gamma(2, 10, 4_000))
    assert "before the experiment" not in experiment(alike, [Rate("converted")]).verdict()


def test_arms_that_another_scenario_reached_unevenly_are_seen() -> None:
    frame = shop(4_000, seed=19)
    rng = np.random.default_rng(2)
    frame["other"] = rng.random(4_000) < np.where(frame["arm"] == "mail", 0.10, 0.05)
    assert "reached the arms unevenly" in experiment(frame, [Rate("converted")], contaminated="other").verdict()
    frame["other"] = rng.random(4_000) < 0.2
    assert "beside that scenario" in experiment(frame, [Rate("converted")], contaminated="other").verdict()
    frame["other"] = False
    assert not experiment(frame, [Rate("converted")], contaminated="other").verdict().warnings


def test_mails_of_other_scenarios_are_looked_at_unasked_where_outcomes_have_them() -> None:
    frame = shop(4_000, seed=19)
    rng = np.random.default_rng(2)
    fewer = np.where(frame["arm"] == "mail", 0.06, 0.19)  # two mails a journey fill the cap that others share
    frame["other_mails"] = rng.poisson(fewer)
    result = experiment(frame, [Rate("converted")])
    assert "another scenario reached the arms unevenly (control 1" in result.verdict()
    assert "shared cap" in result.verdict()
    assert not experiment(frame, [Rate("converted")], contaminated=False).verdict().warnings
    frame["other_mails"] = rng.poisson(0.19, 4_000)
    assert not experiment(frame, [Rate("converted")]).verdict().warnings


def test_chance_alone_raises_that_warning_at_most_once_in_a_thousand_times() -> None:
    """2,000 draws: the Monte-Carlo error is 0.07 points."""
    frame = pd.DataFrame({"arm": np.arange(1_000) % 3, "converted": np.arange(1_000) % 7 == 0})
    rng = np.random.default_rng(3)
    check, terms = contamination("other_mails", asked=False)
    arms = read_arms(frame, arm="arm", control=0)
    said = 0
    for _ in range(2_000):
        frame["other_mails"] = rng.poisson(0.19, 1_000)
        said += bool(check(read(frame, terms, arms=arms)))
    assert said / 2_000 < 0.001 + 4 * 0.0007


def test_journeys_of_the_same_customer_are_said_not_to_be_independent() -> None:
    frame = shop(3_000, seed=20)
    frame["customer_id"] = frame["unit"] // 6 * 2 + frame["unit"] % 2
    assert "are not independent" in experiment(frame, [Rate("converted")]).verdict()


def test_opens_alone_do_not_decide_without_a_warning() -> None:
    frame = shop(3_000, seed=21).rename(columns={"converted": "opened"})
    assert "opens alone decide here" in experiment(frame, [Rate("opened")]).verdict()
    both = [Rate("opened"), Mean("revenue", role="primary")]
    assert "opens alone" not in experiment(frame, both).verdict()


def test_the_bayesian_view_is_one_row_for_each_comparison() -> None:
    result = experiment(shop(20_000, seed=22, lift=0.02), METRICS)
    beliefs = result.beliefs().set_index("metric")
    assert beliefs.loc["converted", "probability"] > 0.999
    assert beliefs.loc["profit", "expected_loss"] < beliefs.loc["profit", "expected_loss_control"]
    assert 0 <= beliefs.loc["unsubscribed", "probability"] <= 1
    swapped = experiment(shop(20_000, seed=22, lift=0.02), [Rate("converted", better="lower")]).beliefs()
    assert swapped["probability"].iloc[0] == pytest.approx(1 - beliefs.loc["converted", "probability"])


def test_the_result_does_not_depend_on_the_order_of_the_rows() -> None:
    frame = shop(3_000, seed=23, lift=0.02)
    one = experiment(frame, METRICS).lift
    other = experiment(frame.sample(frac=1, random_state=3), METRICS).lift
    pd.testing.assert_frame_equal(one, other, rtol=1e-9)


def test_labels_of_any_kind_name_the_arms() -> None:
    frame = shop(2_000, seed=24).assign(arm=lambda f: (f["arm"] == "mail").astype(int))
    assert experiment(frame, [Rate("converted")], control=0).lift["arm"].tolist() == ["1"]
    flags = frame.assign(arm=frame["arm"].astype(bool))
    assert experiment(flags, [Rate("converted")], control=False).lift["arm"].tolist() == ["True"]


def test_the_verdict_is_right_as_often_as_promised() -> None:
    """120 shops with an effect at power 0.8 and 120 without: Monte-Carlo errors 3.7 and 2 points."""
    planned = plan(Rate("converted"), baseline=0.10, diff=0.03)
    wins = [
        experiment(shop(planned.units, seed=100 + at, lift=0.03), [Rate("converted")], design=planned).verdict().action
        for at in range(120)
    ]
    none = [
        experiment(shop(planned.units, seed=900 + at), [Rate("converted")], design=planned).verdict().action
        for at in range(120)
    ]
    assert wins.count("roll out") / 120 == pytest.approx(0.8, abs=0.15)
    assert none.count("roll out") / 120 < 0.025 + 0.06
    assert none.count("stop") / 120 > 0.88
