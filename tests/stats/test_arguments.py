"""Wrong arguments at every public door of the statistics: each is told, with what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from toolkit.errors import MetricError
from toolkit.stats import (
    Design,
    Looks,
    Mean,
    Quantile,
    Rate,
    Ratio,
    Spending,
    TimeTo,
    bootstrap_difference,
    bootstrap_means,
    buying_histories,
    calibrate,
    effect_posterior,
    experiment,
    fit_buying,
    kaplan_meier,
    plan,
    qini,
    sample_ratio,
    survival_curves,
    uplift_by_segment,
)
from toolkit.stats.sequential import sequence_rho, spending_boundaries

ROWS = pd.DataFrame({"unit": range(40), "arm": ["control", "mail"] * 20, "converted": [0, 1, 1, 0] * 10})
RATES = [Rate("converted")]
BOUGHT = pd.DataFrame({"customer_id": [1], "at": [pd.Timestamp(0)]})
PLAN = plan(Rate("converted"), baseline=0.2, rel=0.1)
NOTHING: Any = None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: experiment(pa.chunked_array([["a"]]), RATES), r"found pyarrow.Ch.*; did you mean .to_pandas\(\)"),
        (lambda: experiment(5, RATES), "outcomes: found int; allowed: a DataFrame"),  # type: ignore[arg-type]
        (lambda: experiment(ROWS, NOTHING), r"metrics: found None; allowed: a list"),
        (lambda: experiment(ROWS, RATES, arm=NOTHING), "experiment: arm: found None; allowed: the name of a column"),
        (lambda: experiment(ROWS, RATES, unit=NOTHING), "experiment: unit: found None"),
        (lambda: experiment(ROWS, RATES, covariates=NOTHING), "covariates: found None; allowed: the name of a column"),
        (lambda: experiment(ROWS, [Mean("converted")], covariates="pre"), "column 'pre' is missing"),
        (lambda: experiment(ROWS, RATES, covariates="pre"), "covariates: found 'pre', which no metric here takes"),
        (lambda: experiment(ROWS, RATES, weights=[1, 1]), "weights: found .* the weight of each arm"),  # type: ignore[arg-type]
        (lambda: experiment(ROWS, RATES, weights={"control": "a", "mail": 1}), "weights: found"),  # type: ignore[dict-item]
        (lambda: experiment(ROWS, RATES, design=0.8), "design: found float; allowed: a plan, a Design"),  # type: ignore[arg-type]
        (lambda: experiment(ROWS, RATES, design=""), "cannot be read"),
        (lambda: experiment(ROWS, RATES, contaminated=True), "contaminated: found True"),  # type: ignore[arg-type]
        (lambda: experiment(ROWS, RATES, seed=-1), "seed: found -1; allowed: a whole number from 0"),
        (lambda: experiment(ROWS, RATES, alpha=1), "alpha: found 1; allowed: a number between 0 and 1"),
        (lambda: Rate(NOTHING), "Rate: column: found None; allowed: the name of a column"),
        (lambda: Rate("converted", name=""), "Rate: name: found ''; allowed: a text"),
        (lambda: Rate("converted", margin="5%"), "a margin: found '5%'; allowed: a positive number"),  # type: ignore[arg-type]
        (lambda: Mean("revenue", covariate=NOTHING), "Mean: covariate: found None"),
        (lambda: Mean("revenue", strata=5), "Mean: strata: found 5"),  # type: ignore[arg-type]
        (lambda: Ratio("opens", ["mails"]), r"Ratio: denominator: found \['mails'\]"),  # type: ignore[arg-type]
        (lambda: Quantile("revenue", q=NOTHING), "Quantile: q: found None; allowed: a number between 0 and 1"),
        (lambda: TimeTo("came", within="7d", since=3), "TimeTo: since: found 3"),  # type: ignore[arg-type]
        (lambda: Looks(planned="many"), "looks: planned units: found 'many'; allowed: a positive number"),  # type: ignore[arg-type]
        (lambda: Looks(planned=10, past="x"), "looks: past: found 'x'"),  # type: ignore[arg-type]
        (lambda: Looks(planned=10, past=3), "looks: past: found 3; allowed: units at each earlier look, in a list"),  # type: ignore[arg-type]
        (lambda: Looks(planned=10, spending=5), "looks: spending: found 5; allowed: a family"),  # type: ignore[arg-type]
        (lambda: Spending("kim_demets", math.inf), r"kim_demets needs parameter \(rho\) above 0; found inf"),
        (lambda: spending_boundaries([0.0, 1.0]), "information times must rise and be above 0"),
        (lambda: spending_boundaries([1.0, 1.3]), "nothing is left to spend after information time 1"),
        (lambda: sequence_rho(0), "confidence sequence: planned units: found 0; allowed: a positive number"),
        (lambda: Mean("revenue", method="permutation", strata="group"), "permutation works without covariate"),
        (lambda: Spending(["pocock"]), "spending: found"),  # type: ignore[arg-type]
        (lambda: plan(Rate("c"), baseline=0.2, rel=0.1, looks=10**20), "plan: looks: found 1.*: .* 1 to 1,000"),
        (lambda: plan(Rate("c"), baseline=0.2, rel=0.1, alpha=NOTHING), "plan: alpha: found None"),
        (lambda: plan(Rate("c"), baseline=0.2, rel=0.1, control=NOTHING), "plan: control: found None"),
        (lambda: plan(Rate("c"), baseline=0.2, rel=0.1, spending=0.05), "plan: spending: found 0.05"),  # type: ignore[arg-type]
        (lambda: calibrate(ROWS, "converted"), "calibrate: metrics: found 'converted'"),  # type: ignore[arg-type]
        (lambda: calibrate(ROWS, RATES, runs=0), "calibrate: runs: found 0; allowed: a whole number, 1 to"),
        (lambda: calibrate(ROWS, RATES, alpha=5), "calibrate: alpha: found 5"),
        (lambda: qini(["a"], [1], [2]), "qini: outcome: found"),
        (lambda: qini([1.0, 2.0], [1, 0], [2.0, 3.0], draws=-1), "qini: draws: found -1; allowed: .* 0 to 100,000"),
        (lambda: uplift_by_segment(ROWS, "converted", by="arm"), r"metric: found 'converted'.*Rate\('converted'\)"),  # type: ignore[arg-type]
        (lambda: uplift_by_segment("rows.parquet", RATES[0], by="arm"), "outcomes: found str"),  # type: ignore[arg-type]
        (lambda: uplift_by_segment(ROWS, RATES[0], by="arm", alpha=0), "alpha: found 0"),
        (lambda: kaplan_meier([1, 2], [True, NOTHING]), "survival: happened: .* none missing|happened: found"),
        (lambda: kaplan_meier(["a"], [True]), "survival: durations: found"),
        (lambda: kaplan_meier([1, 2], [1, 1]).restricted_mean(math.inf), "restricted mean: horizon: found inf"),
        (lambda: PLAN.power_at(0), "plan: units: found 0; allowed: a positive number"),
        (lambda: PLAN.detectable(-1), "plan: units: found -1"),
        (lambda: PLAN.freeze("."), "a design cannot be written here"),
        (lambda: PLAN.freeze(5), "design: path: found 5"),  # type: ignore[arg-type]
        (lambda: survival_curves(ROWS, RATES[0]), "survival_curves: metric: found Rate"),  # type: ignore[arg-type]
        (lambda: effect_posterior(1.0, math.inf), "error: found inf; allowed: a positive number"),
        (lambda: experiment(ROWS, RATES).beliefs(prior=NOTHING), "prior: found None; allowed: two positive numbers"),
        (lambda: sample_ratio(NOTHING, {"a": 1}), "observed: found None"),
        (lambda: bootstrap_means([1, 2], draws=-1), "bootstrap: draws: found -1"),
        (lambda: bootstrap_means({}), "bootstrap: values: found {}"),  # type: ignore[arg-type]
        (lambda: bootstrap_difference([1, 2], [1, 2], alpha=math.nan), "bootstrap: alpha: found nan"),
        (lambda: fit_buying([], [1], [2, 3]), "buying histories: repeats, recency and age: numbers, one each"),
        (lambda: buying_histories(NOTHING, "2025-01-01"), "purchases: found NoneType"),
        (lambda: buying_histories(BOUGHT, "soon"), "buying_histories: .*soon"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_told(call: Callable[[], object], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        call()


def test_numbers_of_numpy_and_one_covariate_as_a_text_are_taken() -> None:
    outcomes = ROWS.assign(pre_orders=np.arange(40.0), revenue=np.arange(40.0) ** 2)
    one = experiment(outcomes, [Mean("revenue")], covariates="pre_orders", alpha=np.float64(0.1), seed=np.int64(3))
    assert one.table["variance_saved"][0] > 0
    assert Looks(planned=np.int64(100), past=np.array([10, 20])).past == (10.0, 20.0)
    assert plan(Rate("converted"), baseline=0.2, rel=0.1, looks=np.int64(2)).looks == (0.5, 1.0)


def test_a_quantile_at_nothing_has_a_relative_lift_without_an_interval() -> None:
    outcomes = pd.DataFrame({"arm": ["mail"] * 20 + ["control"] * 20, "revenue": [0.0] * 18 + [5.0, 9.0] + [1.0] * 20})
    found = experiment(outcomes, [Quantile("revenue")]).lift.iloc[0]
    assert (found["rel"], found["note"]) == (-1.0, "the arm is at 0: the relative lift has no interval")
    assert math.isnan(found["rel_lower"])
    assert math.isnan(found["rel_upper"])


def test_a_constant_metric_is_not_said_to_be_near_nothing() -> None:
    found = experiment(ROWS.assign(revenue=3.0), [Mean("revenue")]).lift.iloc[0]
    assert found["note"] == "every value is the same within each arm: there is nothing to test"
    assert math.isnan(found["rel_lower"])
    assert math.isnan(found["rel_upper"])


def test_a_design_that_is_a_folder_is_told(tmp_path: Any) -> None:
    with pytest.raises(MetricError, match="cannot be read"):
        Design.load(tmp_path)
