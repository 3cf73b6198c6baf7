"""What a single value of the statistics may be: each wrong one is told in one sentence, none becomes a number."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import MetricError
from toolkit.stats import (
    BuyingModel,
    Design,
    Looks,
    Mean,
    Rate,
    Ratio,
    Share,
    Spending,
    TimeTo,
    bootstrap_difference,
    bootstrap_means,
    buying_histories,
    calibrate,
    effect_posterior,
    experiment,
    kaplan_meier,
    plan,
    qini,
    rates_posterior,
    sample_ratio,
    survival_curves,
)

WRONG: Any = "no"
ROWS = pd.DataFrame(
    {
        "unit": range(400),
        "arm": ["control", "mail"] * 200,
        "converted": [0, 1, 0, 0] * 100,
        "revenue": [0.0, 5.0, 0.0, 2.0] * 100,
        "entered_at": pd.Timestamp("2025-03-03T10:00Z"),
        "bought_at": pd.Timestamp("2025-03-05T10:00"),
    }
)
DESIGN = plan(Rate("converted"), baseline=0.25, rel=0.2, window="7d").freeze()
LOOKS = Looks(planned=1_000)
ONE_ROW = pd.DataFrame({"moment": [1.5], "told": ["a long text"], "by": ["somebody"]})
BUYING = BuyingModel(0.24, 4.4, 0.79, 2.4)
CURVE = kaplan_meier([1, 2, 3], [True, False, True])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: experiment(ROWS), r"metrics: found none; give at least one, for example Rate\('converted'\)"),
        (lambda: experiment(ROWS, design=DESIGN), "found none; .* first the rate that the design was made for, 'conv"),
        (lambda: experiment(ROWS, Rate("converted"), observational=WRONG), "observational: found 'no'; allowed: True"),
        (lambda: calibrate(ROWS, []), "calibrate: metrics: found none"),
        (lambda: Rate("opened", opens=WRONG), "opened: opens: found 'no'; allowed: True or False"),
        (lambda: Ratio("a", "b", repeats=WRONG), "a per b: repeats: found 'no'; allowed: True or False"),
        (lambda: TimeTo("x", within="7d", until=5), "x: until: found 5; allowed: a column, or a moment"),  # type: ignore[arg-type]
        (lambda: TimeTo("x", within="7d", until=pd.NaT), "x: until: found NaT"),  # type: ignore[arg-type]
        (
            lambda: TimeTo("x", within="7d", until=ONE_ROW),  # type: ignore[arg-type]
            "x: until: found a DataFrame; allowed",
        ),
        (
            lambda: plan(Rate("x"), baseline=0.2, diff=1e-12),
            "a difference of 1e-12 would take more than 100,000,000,000 people; allowed: a larger one",
        ),
        (
            lambda: experiment(ROWS, TimeTo("bought_at", within="7d", since="entered_at")),
            "of 'bought_at' and 'entered_at' only one has a time zone",
        ),
        (
            lambda: experiment(ROWS, TimeTo("revenue", within="7d", since="unit", until=pd.Timestamp("2025-04-01"))),
            "column 'unit' holds no times",
        ),
        (
            lambda: experiment(
                ROWS, TimeTo("revenue", within="7d", since="bought_at", until=pd.Timestamp("2025-04-01T00:00Z"))
            ),
            "of 'bought_at' and until=.* only one has a time zone",
        ),
        (lambda: LOOKS.at(WRONG), "looks: units: found 'no'; allowed: a positive number of units"),
        (lambda: LOOKS.at(math.nan), "looks: units: found nan"),
        (lambda: LOOKS.at(500, alpha=WRONG), "looks: alpha: found 'no'; allowed: a number between 0 and 1"),
        (lambda: LOOKS.at(500, alpha=1.5), "looks: alpha: found 1.5"),
        (lambda: LOOKS.repeated_pvalue(WRONG, 500), "looks: pvalue: found 'no'; allowed: a p-value"),
        (lambda: LOOKS.repeated_pvalue(-1, 500), "looks: pvalue: found -1"),
        (lambda: LOOKS.repeated_pvalue(0.01, math.inf), "looks: units: found inf"),
        (lambda: Spending().spent(WRONG), "spending: time: found 'no'"),
        (lambda: Spending().spent(-0.5), "spending: time: found -0.5"),
        (lambda: Spending().spent(0.5, alpha=7), "spending: alpha: found 7"),
        (lambda: CURVE.at(WRONG), "survival: time: found 'no'; allowed: 0 or more"),
        (lambda: CURVE.at(-1), "survival: time: found -1"),
        (lambda: CURVE.band(alpha=WRONG), "survival: alpha: found 'no'"),
        (lambda: rates_posterior(WRONG, Share(1, 2)), r"arm: found 'no'; allowed: a Share, for example Share\(51, 100"),
        (lambda: rates_posterior(Share(1, 2), Share("a", 2)), "control: found 'a'; allowed: two counts"),
        (lambda: experiment(ROWS, Rate("converted")).beliefs(prior_sd=-1), "prior_sd: found -1; allowed: a positive"),
        (lambda: plan(Rate("converted"), baseline=0.2, units=100, days=3, per_day=9), "give units or days, not both"),
        (lambda: plan(Rate("converted"), baseline=0.2, rel=0.1, sd=3), "sd is for Mean and Ratio"),
        (lambda: BUYING.expected_purchases(WRONG, 1, 1.0, 2.0), "purchases: within: found 'no'; allowed: 0 or"),
        (lambda: BUYING.expected_purchases(math.inf, 1, 1.0, 2.0), "expected purchases: within: found inf"),
        (
            lambda: experiment(ROWS.assign(revenue=ROWS["revenue"] + 0j), Mean("revenue")),
            "column 'revenue' should be numbers or flags; found complex128",
        ),
        (lambda: Design.load(5), "design: path: found 5; allowed: a path"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_told(call: Callable[[], object], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        call()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"units": math.nan}, "design: units: found nan; allowed: a whole number, 2 to"),
        ({"units": 0}, "design: units: found 0"),
        ({"alpha": 2}, "design: alpha: found 2"),
        ({"power": "high"}, "design: power: found 'high'"),
        ({"effect": math.inf}, "design: effect: found inf"),
        ({"kind": "rates"}, "design: kind: found 'rates'; allowed: rate, mean, ratio"),
        ({"better": "up"}, "design: better: found 'up'; allowed: higher, lower"),
        ({"metric": ""}, "design: metric: found ''; allowed: a text"),
        ({"arms": {"mail": 1.0}}, "design: arms: found .*'control' and at least one other"),
        ({"arms": {"control": 0.5, "mail": -1}}, "design: arms: mail: found -1; allowed: a share"),
        ({"looks": [0.5, 0.2, 1.0]}, "design: looks: found .* rising to 1"),
        ({"looks": [0.5]}, "design: looks: found .* rising to 1"),
        ({"looks": []}, "design: looks: found none; with obrien_fleming"),
        ({"spending": "pockock"}, "spending: found 'pockock'.* did you mean 'pocock'"),
        ({"window": "soon"}, "design: window: .*soon"),
    ],
)
def test_a_frozen_design_that_can_be_none_is_refused_however_it_came(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(MetricError, match=said):
        replace(DESIGN, **changed)
    path = DESIGN.save(tmp_path / "design.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed), encoding="utf-8")
    with pytest.raises(MetricError, match=f"design.json: not a design: .*{said}"):
        experiment(ROWS, Rate("converted"), design=path)


def test_the_design_of_another_experiment_is_seen_by_arms_control_kind_and_direction() -> None:
    other = replace(
        DESIGN, arms={"control": 0.2, "reminder": 0.4, "offer": 0.4}, metric="revenue", kind="mean", better="lower"
    )
    notes = " | ".join(experiment(ROWS, [Rate("converted", name="revenue")], design=other).notes)
    assert "the design has the arms control, reminder, offer, here they are control, mail" in notes
    assert "the design was made for revenue as a mean, here it is a rate" in notes
    assert "in the design lower is better for revenue, here higher is" in notes
    swapped = replace(DESIGN, arms={"mail": 0.5, "control": 0.5}, control="mail")
    assert "the design holds arms against mail, here it is control" in " | ".join(
        experiment(ROWS, [Rate("converted")], control="control", design=swapped).notes
    )
    assert experiment(ROWS, [Rate("converted")], design=swapped).control == "mail"
    same = " | ".join(experiment(ROWS, [Rate("converted")], design=DESIGN).notes)
    assert "the design has" not in same
    assert "in the design" not in same


def test_amounts_near_the_largest_number_there_is_give_no_warning_and_no_made_up_end() -> None:
    revenue = ROWS["revenue"] + 1
    small, large = (experiment(ROWS.assign(revenue=revenue * by), Mean("revenue")).lift.iloc[0] for by in (1.0, 1e74))
    for name in ("rel", "rel_lower", "rel_upper", "pvalue"):
        assert large[name] == pytest.approx(small[name]), name
    for by in (1e80, 1e160, 1e300):
        found = experiment(ROWS.assign(revenue=revenue * by), Mean("revenue")).lift.iloc[0]
        assert all(math.isnan(found[name]) for name in ("diff", "diff_lower", "rel_upper", "pvalue"))
        assert "too large to be compared" in found["note"]


def test_who_has_stopped_for_sure_has_no_chance_to_be_alive() -> None:
    assert BUYING.alive(10_000, 1.0, 1e6) == 0.0


def test_a_window_given_in_other_words_is_the_same_window(tmp_path: Path) -> None:
    planned = plan(Mean("revenue"), baseline=10, sd=3, rel=0.1, window=timedelta(weeks=1))  # type: ignore[arg-type]
    assert json.loads(planned.freeze(tmp_path / "a.json").save(tmp_path / "b.json").read_text())["window"] == "7d"
    rows = ROWS.copy()
    rows.attrs["toolkit"] = {"randomised": True, "window": "7d"}
    for window, differs in (("1w", False), ("168h", False), ("8d", True)):
        notes = experiment(rows, [Rate("converted")], design=replace(DESIGN, window=window)).notes
        assert any("the design counts outcomes for" in note for note in notes) is differs


@pytest.mark.parametrize("seed", range(20))
def test_the_units_of_the_arms_are_together_those_of_the_plan_and_no_arm_lacks_any(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arms = {name: float(rng.uniform(0.1, 5)) for name in ("control", "a", "b", "c")[: rng.integers(2, 5)]}
    metric = Rate("converted")
    planned = plan(metric, baseline=float(rng.uniform(0.05, 0.6)), rel=float(rng.uniform(0.1, 0.5)), arms=arms)
    assert sum(planned.per_arm.values()) == planned.units
    assert planned.power_at(planned.units) >= planned.power - 1e-9
    whole = plan(metric, baseline=0.2, units=int(rng.integers(100, 10_000)), arms=arms)
    assert sum(whole.per_arm.values()) == whole.units
    for name, count in whole.per_arm.items():
        assert abs(count - whole.units * whole.arms[name]) < 1


def test_an_even_split_never_needs_an_odd_number() -> None:
    for sd in np.linspace(1, 3, 40):
        planned = plan(Mean("revenue"), baseline=10, sd=float(sd), diff=0.7)
        assert planned.per_arm == {"control": planned.units / 2, "mail": planned.units / 2}


DAYS = pd.to_datetime(["2024-01-01", "2024-01-02"])
LENGTHS = DAYS - DAYS[0]
AWARE = pd.Timestamp("2024-02-01T00:00Z")
BOUGHT = pd.DataFrame({"customer_id": ["a", "b"], "at": DAYS})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: qini(DAYS, [1, 0], [1, 2]), "qini: outcome: found Datetime.*; allowed: numbers in a list"),
        (lambda: qini([1, 0], ["1", "0"], [1, 2]), r"qini: treated: found \['1', '0'\]; allowed: numbers"),
        (lambda: qini([1, 0], [1, 0], LENGTHS), "qini: score: found Timedelta.*; allowed: numbers"),
        (lambda: qini([1e308, 1, 2], [1, 0, 1], [1, 2, 3]), r"qini: outcome: found 1e\+308; allowed: numbers up to"),
        (lambda: qini([1, 0], [1, 0], [1, 2], progress=WRONG), "qini: progress: found 'no'; allowed: True or False"),
        (
            lambda: qini([1, 0], [1, 0], [1, 2], draws=1, progress=False),
            "qini: none of 1 resamples of 2 units holds both arms; use more units, or draws=0",
        ),
        (lambda: kaplan_meier(LENGTHS, [1, 0]), "survival: durations: found Timedelta.*; allowed: numbers"),
        (lambda: kaplan_meier([1, 2], ["1", "0"]), r"survival: happened: found \['1', '0'\]; allowed: numbers"),
        (lambda: kaplan_meier([1, 2], pd.Series(["1", "0"])), "survival: happened: found a Series; allowed: numbers"),
        (lambda: bootstrap_means(DAYS), "bootstrap: values: found Datetime.*; allowed: numbers"),
        (lambda: bootstrap_means([Decimal("1e300")]), r"bootstrap: values: found 1e\+300; allowed: numbers up to"),
        (lambda: bootstrap_difference([1, 2], [2, 3], alpha=1), "bootstrap: alpha: found 1; allowed: a number between"),
        (lambda: BuyingModel(-0.24, 4.4, 0.79, 2.4), "buying model: r: found -0.24; allowed: a positive number"),
        (lambda: BuyingModel(0.24, WRONG, 0.79, 2.4), "buying model: alpha: found 'no'; allowed: a positive number"),
        (lambda: BuyingModel(0.24, 4.4, 0, 2.4), "buying model: a: found 0; allowed: a positive number"),
        (lambda: BuyingModel(0.24, 4.4, 0.79, math.nan), "buying model: b: found nan; allowed: a positive number"),
        (lambda: BUYING.alive([1, 2], LENGTHS, LENGTHS), "buying histories: recency: found Timedelta.*; allowed: numb"),
        (lambda: BUYING.alive(["1", "2"], 1, 2), r"buying histories: repeats: found \['1', '2'\]; allowed: numbers"),
        (lambda: buying_histories(BOUGHT, AWARE), "of column 'at' and until=.* only one has a time zone"),
        (lambda: sample_ratio({"a": -5, "b": 10}, {"a": 1, "b": 1}), "observed: a: found -5; allowed: units, from 0"),
        (lambda: sample_ratio({"a": 5, "b": math.nan}, {"a": 1, "b": 1}), "observed: b: found nan; allowed: units"),
        (lambda: sample_ratio({"a": "5", "b": 7}, {"a": 1, "b": 1}), "observed: a: found '5'; allowed: units"),  # type: ignore[dict-item]
        (lambda: effect_posterior(1, 1e-200), "effect posterior: error: found 1e-200; allowed: a positive number, 1e"),
        (lambda: effect_posterior(1e200, 1), r"effect posterior: diff: found 1e\+200; allowed: a number up to 1e\+75"),
        (lambda: experiment(ROWS, Rate("converted"), design=DESIGN, looks=3), "looks: past: found 3; allowed: units"),  # type: ignore[arg-type]
        (
            lambda: plan(Rate("converted"), baseline=0.2, rel=0.1, journeys=BOUGHT.assign(entered_at="soon")),
            "plan: journeys: column 'entered_at' should be moments; found ",
        ),
        (
            lambda: plan(Rate("converted"), baseline=0.2, rel=0.1, journeys=BOUGHT.assign(entered_at=[AWARE, pd.NaT])),
            "plan: journeys: 1 of 2 rows have no 'entered_at'",
        ),
        (
            lambda: plan(Rate("revenue"), rel=0.1, outcomes=ROWS.drop(columns="arm")),
            r"plan: a rate needs 0 and 1; revenue runs from 0 to 5 \(for counts or money use Mean\('revenue'\)\)",
        ),
        (
            lambda: plan(Ratio("converted", "mails"), rel=0.1, outcomes=ROWS.assign(mails=0)),
            "plan: mails is 0 for everybody: there is nothing to divide by",
        ),
        (
            lambda: calibrate(pd.concat([ROWS] * 3).drop(columns="unit"), Rate("revenue"), runs=10),  # type: ignore[arg-type]
            "calibrate: a rate needs 0 and 1; revenue runs from 0 to 5",
        ),
        (
            lambda: calibrate(ROWS, [Rate("revenue")], runs=10),
            "calibrate: revenue: no number can be given: a rate needs 0 and 1",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_with_is_told_and_makes_no_number(call: Callable[[], object], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        call()


@pytest.mark.parametrize("value", [0.0, 2.0, 99.9])
def test_a_bootstrap_of_equal_values_has_no_interval_and_says_why(value: float) -> None:
    for other in (value, value + 1):
        found = bootstrap_difference([value] * 7, [other] * 5)
        assert math.isnan(found.pvalue)
        assert math.isnan(found.lower)
        assert math.isnan(found.upper)
        assert found.note == "every value is the same within each arm: there is nothing to test"


def test_a_bootstrap_does_not_mind_how_far_from_nothing_amounts_lie() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.5, 1, 60), rng.normal(0, 1, 80)
    near, far = (bootstrap_difference(one + level, other + level, seed=1) for level in (5.0, 1e9))
    assert far.pvalue == pytest.approx(near.pvalue, abs=0.002)
    assert (far.lower, far.upper) == pytest.approx((near.lower, near.upper), abs=0.01)


def test_a_constant_arm_is_no_source_of_error_in_a_bootstrap() -> None:
    found = bootstrap_difference([99.9] * 3, [100.9, 100.9, 101.9])
    assert (found.lower, found.upper) == (-math.inf, math.inf)  # some resamples of the other arm do not vary, either


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("plan", lambda rows: plan(Ratio("revenue", "mails"), rel=0.1, outcomes=rows.drop(columns="arm"))),
        ("calibrate", lambda rows: calibrate(rows, [Rate("converted")], runs=10)),
        ("survival_curves", lambda rows: survival_curves(rows, TimeTo("revenue", within="7d"))),
    ],
    ids=["plan", "calibrate", "survival"],
)
def test_rows_of_one_unit_are_refused_where_each_would_count_as_a_unit(
    name: str, call: Callable[[pd.DataFrame], object]
) -> None:
    rows = pd.concat([ROWS, ROWS, ROWS], ignore_index=True).assign(unit=[*range(3 * len(ROWS) - 1), 0], mails=1)
    with pytest.raises(MetricError, match=f"{name}: outcomes: 1 row of units that are there already, for example '0'"):
        call(rows)
    call(rows.assign(unit=range(len(rows))))


def test_what_a_plan_cannot_find_is_not_called_nan() -> None:
    text = str(plan(Mean("revenue"), baseline=2, sd=1, units=2))
    assert (
        text == "revenue: 2 people (control 1, mail 1) find no effect, however large, on 2 with power 80% at alpha 0.05"
    )


def test_earlier_looks_may_come_from_a_generator() -> None:
    assert Looks(planned=1_000, past=(units for units in (100, 200))).past == (100.0, 200.0)  # type: ignore[arg-type]


def test_nothing_is_expected_within_no_time() -> None:
    assert math.copysign(1, BUYING.expected_purchases(0, 2, 1.0, 3.0)) == 1


LONG = "y" * 20_000
MANY = pd.DataFrame({"arm": [f"someone{at}@example.org" for at in range(5_000)], "converted": 0, "at": pd.Timestamp(0)})
WIDE = pd.DataFrame({**{f"column_{at}": [0, 1] for at in range(800)}, "arm": ["control", "mail"]})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: experiment(MANY, [Rate("converted")]), "arms found: someone0@example.org, "),
        (lambda: experiment(MANY, [Rate("converted")]), " and 4,988 more"),
        (lambda: experiment(MANY, [Rate("converted")], control=LONG), "no unit is in control 'yyyyyyyyyyyy...yyyy"),
        (lambda: experiment(WIDE, [Rate("converted")]), "columns found: column_0, column_1, "),
        (lambda: experiment(WIDE, [Rate("column_0")], arm="group"), " and 789 more"),
        (lambda: experiment(WIDE, [Rate("column_0")], unit="customer"), " and 789 more"),
        (lambda: experiment(WIDE, [Rate(LONG)]), "column 'yyyyyyyyyyyy...yyyyyyyyyyyyy' is missing"),
        (lambda: experiment(WIDE, [LONG]), "metrics: found 'yyyyyyyyyyyy...yyyyyyyyyyyyy'; allowed"),
        (lambda: experiment(WIDE, [Rate("opened", verdict="by")], arm="arm"), "column 'by' is missing"),
        (lambda: Mean("revenue", method=LONG), "method: found 'yyyyyyyyyyyy...yyyyyyyyyyyyy'; allowed: auto"),
        (lambda: Looks(100, past=list(range(5_000, 0, -1))), "rise and be above 0; found [5000.0, 4999.0, "),
        (lambda: Looks(100, spending=LONG), "spending: found 'yyyyyyyyyyyy...yyyyyyyyyyyyy'; allowed"),
        (lambda: plan(Rate("x"), baseline=0.1, diff=0.01, looks=[2] * 5_000), "must end at 1; found [2.0, 2.0"),
        (lambda: plan(Rate("x"), baseline=0.1, diff=0.01, arms={f"a{at}": 1 for at in range(5_000)}), "4,988 more"),
        (
            lambda: buying_histories(WIDE, "2025-01-01", customer="who"),
            "column 'who' is missing; columns found: column_0",
        ),
    ],
    ids=range(15),
)
def test_what_is_long_is_told_in_short(call: Callable[[], object], said: str) -> None:
    with pytest.raises(MetricError) as caught:
        call()
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("bought", r"found 'bought'; .*; did you mean \[Rate\('bought'\)\]\?"),
        (["bought"], r"found 'bought'; .*; did you mean Rate\('bought'\)\?"),
        ([Rate("bought")], r"column 'bought' should .* 'no'; outcomes\['bought'\] == 'Yes ' makes flags of them"),
        (
            [Mean("revenue")],
            r"found .*, for example '12,50 €'; pandas.to_numeric\(outcomes\['revenue'\].*makes numbers",
        ),
        (
            [Mean("paid")],
            r"1 of 2 units in arm 'control' have no value of paid: .* \(if missing means none, fill in 0\)",
        ),
    ],
    ids=["a column", "a list of columns", "yes and no", "money as text", "missing for none"],
)
def test_a_table_as_it_comes_from_a_spreadsheet_is_told_how_to_be_made_ready(metrics: object, said: str) -> None:
    table = pd.DataFrame(
        {"arm": ["control", "mail"] * 2, "bought": ["no", "Yes ", "no", "no"], "paid": [1, 2, None, 0]}
    )
    table["revenue"] = ["12,50 €", None, "3,00 €", None]
    if said.startswith("1 of 2"):
        assert re.search(said, experiment(table, metrics).comparisons[0].note)  # type: ignore[arg-type]
        return
    with pytest.raises(MetricError, match=said):
        experiment(table, metrics)  # type: ignore[arg-type]
    with pytest.raises(
        MetricError, match="3 of 4 rows have no arm in column 'arm'; say which, or leave these rows out"
    ):
        experiment(table.assign(arm=["control", None, None, None]), [Mean("paid")])


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["1.234,50 €", "12,5 €"], [1234.5, 12.5]),
        (["1,234.50", "7"], [1234.5, 7.0]),
        (["€12.50", "-€3.10"], [12.5, -3.1]),
        (["12.50", "3"], [12.5, 3.0]),
    ],
)
def test_money_as_text_is_told_how_it_becomes_numbers_in_a_frame_and_in_a_file(
    tmp_path, texts: list[str], wanted: list[float]
) -> None:
    outcomes = pd.DataFrame({"arm": ["control", "mail"], "revenue": texts})
    outcomes.to_parquet(tmp_path / "outcomes.parquet", index=False)
    for given in (outcomes, tmp_path / "outcomes.parquet"):
        with pytest.raises(MetricError) as told:
            experiment(given, [Mean("revenue")])
        advice = str(told.value).partition(f", for example {texts[0]!r}; ")[2].removesuffix(" makes numbers of them")
        assert eval(advice, {"pandas": pd, "outcomes": outcomes}).tolist() == wanted


def test_texts_of_a_file_are_told_with_what_makes_flags_of_them(tmp_path) -> None:
    pd.DataFrame({"arm": ["control", "mail"], "bought": ["no", "yes"]}).to_parquet(tmp_path / "outcomes.parquet")
    with pytest.raises(MetricError, match=r"found text, for example 'no'; outcomes\['bought'\] == 'yes' makes flags"):
        experiment(tmp_path / "outcomes.parquet", [Rate("bought")])
