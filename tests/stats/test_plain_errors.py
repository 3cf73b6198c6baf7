"""What a single value of the statistics may be: each wrong one is told in one sentence, none becomes a number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
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
    calibrate,
    experiment,
    kaplan_meier,
    plan,
    rates_posterior,
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
