"""Sweeps, simulations and experiments over Spark give the numbers of one machine, where exact to the last digit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.engine.test_ranges import THREE
from tests.shared import outcomes_of_an_experiment
from tests.simulation.test_simulate import CART, MODEL, shop_log
from toolkit.engine import measure, replay, sweep
from toolkit.errors import InputError, MetricError, NotSupportedError
from toolkit.events import EventLog, SparkOutcomes
from toolkit.scenario import loads
from toolkit.scenario.models import Program
from toolkit.simulation import ResponseModel, simulate, tune
from toolkit.stats import Mean, Quantile, Rate, Ratio, experiment

pytest.importorskip("pyspark", reason="pyspark is not installed: make spark installs it")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
    # Spark says that it was not tried with this pandas; nothing here goes through pandas in it.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SAME = {"check_exact": True}
OVER = {"cart.pause.wait": ["1h", "4h"], "cart.gift.offer.amount": [5, 8]}
THANKS = """
scenario: thanks
trigger: {event: purchase}
reentry: every
while_active: parallel
goal: {event: purchase, within: 3d, value: revenue}
experiment: {name: thanks_1, unit: journey, arms: {control: 0.5, mail: 0.5}, holdout: control}
steps: [{id: pause, wait: 1h}, {id: thank, send: thanks/thank}]
"""
MEDIAN = """
scenario: again
trigger: {cycle: purchase, after: {median: product_id}}
reentry: every
steps: [{id: hello, send: again/hello}]
"""


# --- sweeps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_sweep_counts_what_it_counts_on_one_machine(both, parts):
    here = sweep(loads(THREE), both[0], OVER, progress=False)
    there = sweep(loads(THREE), both[1], OVER, parts=parts)
    assert here.table["sent"].nunique() > 2
    pd.testing.assert_frame_equal(there.table, here.table, **SAME)
    pd.testing.assert_frame_equal(there.parts, here.parts, **SAME)
    assert (there.runs, there.span) == (here.runs, here.span)
    assert str(there.best("sent", scenario="cart")) == str(here.best("sent", scenario="cart"))


# --- simulations ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop() -> EventLog:
    return shop_log(300)


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(scenarios=(*CART.scenarios, *loads(THANKS).scenarios))


@pytest.fixture(scope="module")
def forecast(shop, program):
    return simulate(program, shop, response=MODEL, draws=12, seed=3, progress=False)


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_a_forecast_is_the_same_to_the_last_digit_in_however_many_parts(in_spark, shop, program, forecast, partitions):
    there = simulate(program, in_spark(shop), response=MODEL, draws=12, seed=3, partitions=partitions)
    assert np.array_equal(there.counted, forecast.counted)
    assert np.array_equal(there.covariances, forecast.covariances)
    assert there.across.keys() == forecast.across.keys() != set()
    assert all(np.array_equal(there.across[pair], forecast.across[pair]) for pair in forecast.across)
    for name in ("table", "lift", "assumptions"):
        pd.testing.assert_frame_equal(getattr(there, name), getattr(forecast, name), **SAME)
    assert there.notes == forecast.notes
    assert there.value("thanks", "mails", "mail") > forecast.silent[-1, 2]  # purchases that mails brought about


def test_coupons_that_may_run_out_are_not_simulated_in_spark_and_it_says_why(both):
    with pytest.raises(NotSupportedError, match=r"coupons that may run out \(gifts, thanks\) tie all customers"):
        simulate(loads(THREE), both[1], response=ResponseModel.nothing())


def test_a_median_over_all_customers_is_refused_by_sweeps_and_simulations_too(both):
    with pytest.raises(NotSupportedError, match="median of a property asks all customers at once"):
        sweep(loads(MEDIAN), both[1], {"again.priority": [1, 2]})
    with pytest.raises(NotSupportedError, match="median of a property asks all customers at once"):
        simulate(loads(MEDIAN), both[1], response=ResponseModel.nothing())


def test_a_log_without_purchases_or_too_short_is_refused_as_on_one_machine(in_spark, shop):
    events = shop.events
    for log in (
        EventLog.from_pandas(events[events["event"] != "purchase"]),
        EventLog.from_pandas(events[events["at"] < events["at"].min() + pd.Timedelta("2D")]),
    ):
        with pytest.raises(InputError) as here:
            simulate(CART, log, response=MODEL, draws=2)
        with pytest.raises(InputError) as there:
            simulate(CART, in_spark(log), response=MODEL, draws=2)
        assert str(there.value) == str(here.value)


def test_what_needs_the_log_here_says_so(both):
    with pytest.raises(NotSupportedError, match=r"a log in Spark has no .*: replay, sweep and simulate take it"):
        tune(loads(THREE), both[1], MODEL, over={"cart.pause.wait": ["1h"]}, progress=False)


def test_parts_are_kept_until_they_are_let_go(both):
    log = both[1]
    assert log.parts(3) is log.parts(3)
    log.unpersist()
    assert log.parts(3).storageLevel.useMemory


# --- experiments ------------------------------------------------------------------------------------------------------

METRICS = [
    Rate("converted"),
    Rate("opened", verdict="open"),
    Mean("revenue", covariate=("pre_revenue", "pre_gaps"), currency="EUR"),
    Mean("revenue", name="plain revenue"),
    Mean("level"),
    Ratio("clicks", "mails"),
]


@pytest.fixture(scope="module")
def outcomes() -> pd.DataFrame:
    return outcomes_of_an_experiment().drop(columns=["segment", "days", "other"])


def test_an_experiment_over_spark_is_that_of_the_frame(frame_in_spark, outcomes):
    here = experiment(outcomes, METRICS, weights={"control": 1, "mail": 1})
    there = experiment(frame_in_spark(outcomes), METRICS, weights={"control": 1, "mail": 1})
    pd.testing.assert_frame_equal(there.table, here.table, rtol=1e-12, check_dtype=False)
    assert there.verdict() == here.verdict()


def test_only_moments_of_it_come_to_the_driver(frame_in_spark, outcomes, monkeypatch):
    source = SparkOutcomes(frame_in_spark(outcomes.drop(columns="pre_gaps")))
    asked, rows = [], []
    original = SparkOutcomes._answers

    def answers(self, query):
        found = original(self, query)
        asked.append(query)
        rows.append(len(found))
        return found

    monkeypatch.setattr(SparkOutcomes, "_answers", answers)
    experiment(source, [Rate("converted"), Mean("revenue", covariate="pre_revenue")])
    assert len(asked) == 3  # the sums, the extremes, the units
    assert max(rows) <= 2


def test_rows_of_one_customer_are_added_up_in_spark(frame_in_spark):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(500), 3), "arm": np.repeat(["control", "mail"], 750)})
    rows["mails"], rows["opens"] = 1, rng.integers(0, 2, 1_500).astype(bool)
    rows["pre_taste"] = np.repeat(rng.random(500), 3)
    metric = Ratio("opens", "mails", covariate="pre_taste")
    there, here = (experiment(one, [metric]).table for one in (frame_in_spark(rows), rows))
    pd.testing.assert_frame_equal(there, here, rtol=1e-12, check_dtype=False)
    with pytest.raises(MetricError, match="500 units have more than one row, for example '0'"):
        experiment(frame_in_spark(rows), [Rate("opens")])
    rows.loc[0, "arm"] = "mail"
    with pytest.raises(MetricError, match="1 unit is in more than one arm, for example '0'"):
        experiment(frame_in_spark(rows), [metric])


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        (
            lambda f: f.drop(columns="revenue"),
            Mean("revenue"),
            "column 'revenue' is missing; did you mean 'pre_revenue'",
        ),
        (lambda f: f.assign(revenue="much"), Mean("revenue"), "'revenue' should be numbers or flags; found text"),
        (lambda f: f.assign(arm=None).astype({"arm": "string"}), Mean("revenue"), "rows have no arm"),
        (lambda f: f[f["arm"] == "mail"], Mean("revenue"), "control"),
    ],
)
def test_outcomes_that_cannot_be_compared_are_refused(frame_in_spark, outcomes, change, metric, message):
    with pytest.raises(MetricError, match=message):
        experiment(frame_in_spark(change(outcomes)), [metric])


def test_a_quantile_asks_for_rows_and_gets_few(frame_in_spark, outcomes, monkeypatch):
    frame = frame_in_spark(outcomes)
    here, there = (experiment(one, [Quantile("level", q=0.75)]).lift for one in (outcomes, frame))
    assert there[["control", "value"]].values.tolist() == here[["control", "value"]].values.tolist()
    monkeypatch.setattr("toolkit.events.outcome_sums.MOST_ROWS", 100)
    with pytest.raises(NotSupportedError, match=r"level: this asks for all .* which stay in Spark"):
        experiment(frame, [Quantile("level", q=0.75)])


def test_outcomes_of_a_replay_carry_what_is_known_of_them(in_spark, shop):
    sends = replay(CART, shop, assume="never").decisions.query("status == 'send'")
    mails = pd.DataFrame(
        {
            "customer_id": sends["customer_id"],
            "event": "email_sent",
            "at": sends["at"],
            "scenario": sends["scenario"],
            "step": sends["step"],
            "experiment": "cart_1",
            "arm": sends["arm"],
        }
    )
    wrong = mails.assign(arm="control")
    late = mails[mails["at"] > mails["at"].quantile(0.6)]  # the experiment began in an older log
    logs = ((), (mails,), (wrong,), (late,))
    for more in logs:
        events = pd.concat([shop.events, *more])
        log = EventLog.from_pandas(events.reset_index(drop=True))
        here = measure(replay(CART, log, assume="never"))
        frame = replay(CART, in_spark(log), assume="never", parts=3).measure()
        known = here.attrs["toolkit"]
        assert SparkOutcomes(frame).about == json.loads(json.dumps(known))
        assert known.get("untouched", 0) > 0 or more is not logs[-1]
        if not known["randomised"]:
            with pytest.raises(MetricError, match="were not drawn at random"):
                experiment(frame, [Rate("converted")])
        asked = {"metrics": [Rate("converted"), Mean("revenue", currency="EUR")], "observational": True}
        there = experiment(frame, **asked)
        pd.testing.assert_frame_equal(there.table, experiment(here, **asked).table, rtol=1e-12, check_dtype=False)
        assert there.verdict() == experiment(here, **asked).verdict()
