"""Programs with a key, and arms drawn journey by journey, are simulated as they are replayed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.simulation.one_draw import run_of
from toolkit.engine import measure, replay
from toolkit.engine.answers import METRICS
from toolkit.errors import NotSupportedError
from toolkit.events import EventLog
from toolkit.scenario import loads, set_parameters
from toolkit.simulation import ResponseModel, Simulation, simulate

ORDERS = loads("""
scenario: unpaid
trigger: {event: ordered}
key: order_id
reentry: once
exit_on: [{event: purchase, match: order_id}]
goal: {event: purchase, within: 3d, value: revenue}
experiment: {name: unpaid_1, arms: {control: 0.3, mail: 0.7}, holdout: control, unit: journey}
steps: [{id: pause, wait: 4h}, {id: reminder, send: unpaid/reminder}, {wait: 1d}, {id: again, send: unpaid/again}]
""")
MODEL = ResponseModel.parse("""
response: guess
window: 3d
opens: {rate: 0.4}
buys: {rate: [0.1, 0.2, 0.3]}
unsubscribes: {rate: 0.01}
order: {margin: 0.4}
""")
SURELY = ResponseModel.parse("{response: surely, window: 3d, buys: {rate: 1, after: 1h}, order: {margin: 0.5}}")


@pytest.fixture(scope="module")
def log() -> EventLog:
    """Orders over six weeks, several a customer and some of them at once; three of ten are paid by themselves."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    at = pd.Timestamp("2025-01-01T00:00Z") + pd.to_timedelta(rng.uniform(0, 35, len(who)), unit="D")
    at = at.where(rng.random(len(who)) < 0.7, pd.Timestamp("2025-01-20T10:00Z"))
    order = np.array([f"o{number}" for number in range(len(who))])
    paid = rng.random(len(who)) < 0.3
    later = at[paid] + pd.to_timedelta(rng.exponential(10, int(paid.sum())), unit="h")
    frames = [
        pd.DataFrame({"customer_id": who, "event": "ordered", "at": at, "order_id": order}),
        pd.DataFrame({"customer_id": who[paid], "event": "purchase", "at": later, "order_id": order[paid],
                      "revenue": rng.lognormal(4, 0.5, int(paid.sum())).round(2)}),
        pd.DataFrame({"customer_id": [0], "event": ["view"], "at": [pd.Timestamp("2025-03-01T00:00Z")]}),
    ]  # fmt: skip
    events = pd.concat(frames, ignore_index=True)
    return EventLog.from_pandas(events.assign(customer_id="c" + events["customer_id"].astype(str)))


def test_a_response_of_nothing_is_the_replay_of_every_order(log: EventLog) -> None:
    run = run_of(Simulation(ORDERS, log, response=ResponseModel.nothing()))
    assert run.digest == replay(ORDERS, log, assume="never").digest
    assert run.journeys.duplicated("customer_id").any()
    assert (run.journeys.groupby("customer_id")["arm"].nunique() > 1).any()  # arms differ between a customer's orders


def test_a_purchase_that_a_mail_brings_about_pays_its_own_order_alone(log: EventLog) -> None:
    run = run_of(Simulation(ORDERS, log, response=SURELY))
    sent = run.decisions.query("status == 'send'")
    reminded = run.journeys[run.journeys["journey_id"].isin(sent.query("step == 'reminder'")["journey_id"])]
    waiting = reminded[reminded["key"].notna() & (reminded["ended_by"] != "open")]
    # whoever pays an hour after the reminder gets no second one; in the replay most orders get both
    again = sent[sent["step"] == "again"]
    silent = replay(ORDERS, log, assume="never").decisions.query("status == 'send' and step == 'again'")
    assert len(again) < 0.2 * len(silent)
    assert (waiting["ended_by"] == "exited").mean() > 0.8
    held_out = run.journeys[run.journeys["arm"] == "control"]
    plain = replay(ORDERS, log, assume="never").journeys
    plain = plain[plain["arm"] == "control"]
    # the control journeys of the same customers end as they did: another order's payment is not theirs
    assert held_out["ended_by"].value_counts().to_dict() == plain["ended_by"].value_counts().to_dict()


@pytest.mark.parametrize("partitions", [2, 7])
def test_keyed_draws_do_not_depend_on_how_the_customers_are_parted(log: EventLog, partitions: int) -> None:
    one, many = (
        simulate(ORDERS, log, response=MODEL, draws=8, seed=3, partitions=parts, progress=False)
        for parts in (1, partitions)
    )
    assert (one.counted == many.counted).all()


def test_that_a_forecast_counts_by_journey_is_said(log: EventLog) -> None:
    said = "draws its arms by journey"
    assert any(said in note for note in simulate(ORDERS, log, response=MODEL, draws=2, progress=False).notes)
    by_customer = set_parameters(ORDERS, {"unpaid.experiment.unit": "customer"})
    assert not any(said in note for note in simulate(by_customer, log, response=MODEL, draws=2, progress=False).notes)


def test_what_follows_journeys_is_counted_and_scattered_by_their_own_arm(log: EventLog) -> None:
    simulation = Simulation(ORDERS, log, response=MODEL)
    counts = simulation.counts(MODEL.draws(6, 1), 6, 1)
    # nothing of a person's journey in one arm is laid on another arm
    assert (counts.scatter.sums == counts.drawn.sum(axis=0)).all()


def test_without_answers_a_forecast_by_journey_is_what_measure_sees(log: EventLog) -> None:
    simulation = Simulation(ORDERS, log, response=ResponseModel.nothing())
    forecast = simulation.run(draws=3, seed=0, level=0.9)
    run = replay(ORDERS, log, assume="never")
    outcomes = measure(run, unit="journey")
    # a forecast follows everybody for as long as its windows are, so it leaves out who came too late for that
    last = pd.Timestamp(simulation.asked.until - simulation.follow, unit="us", tz="UTC")
    seen = outcomes[outcomes["entered_at"] <= last]
    by_arm = seen.groupby("arm")
    bought = pd.DataFrame({"own": by_arm["converted"].sum(), "n": by_arm.size()})
    told = forecast.table.pivot(index="arm", columns="metric", values="value")
    assert told["own_conversions"].to_dict() == bought["own"].to_dict()
    assert told["conversions"].to_dict() == bought["own"].to_dict()
    assert told["journeys"].to_dict() == bought["n"].to_dict()
    persons = seen.assign(person=seen["unit"].map(run.journeys.set_index("journey_id")["customer_id"]))
    assert told["people"].to_dict() == persons.groupby("arm")["person"].nunique().to_dict()
    lift = forecast.lift.query("metric == 'conversions'").iloc[0]
    assert (lift["unit"], lift["n"]) == ("journey", bought["n"]["mail"])
    assert lift["control"] == pytest.approx(bought["own"]["mail"] / bought["n"]["mail"], rel=1e-12)
    # and the people who might come another time are those of the log: the variance is that of the sums by person
    sums = persons[persons["arm"] == "mail"].groupby("person").agg(own=("converted", "sum"), n=("unit", "size"))
    place = [METRICS.index(name) for name in ("own_conversions", "journeys")]
    theirs = forecast.covariances[1][np.ix_(place, place)]
    assert theirs == pytest.approx(2 * len(sums) * np.cov(sums["own"].astype(float), sums["n"]), rel=1e-9)


def test_the_effect_of_each_order_is_what_the_model_says(log: EventLog) -> None:
    one = loads("""
scenario: unpaid
trigger: {event: ordered}
key: order_id
reentry: once
exit_on: [{event: purchase, match: order_id}]
goal: {event: purchase, within: 3d, value: revenue}
steps: [{id: reminder, send: unpaid/reminder}]
""")
    sure = MODEL.with_numbers({"buys.rate": 0.2})
    told = simulate(one, log, response=sure, draws=150, seed=2, progress=False)
    run = replay(one, log)
    sent = run.decisions.query("status == 'send'")[["customer_id", "at"]]
    bought = log.events.query("event == 'purchase'")[["customer_id", "at"]].rename(columns={"at": "bought"})
    after = sent.reset_index().merge(bought, on="customer_id")
    own = after[(after["bought"] > after["at"]) & (after["bought"] <= after["at"] + pd.Timedelta(days=3))]["index"]
    # who buys anyway, this order or another, cannot be made to
    assert told.value("unpaid", "mails") == pytest.approx(len(sent), rel=0.06)
    assert told.value("unpaid", "caused") == pytest.approx(0.2 * (len(sent) - own.nunique()), rel=0.15)


def test_arms_by_journey_of_a_trigger_that_is_no_event_are_refused_by_name(log: EventLog) -> None:
    away = loads("""
scenario: away
trigger: {inactive: purchase, for: 10d}
key: order_id
reentry: every
goal: {event: purchase, within: 3d, value: revenue}
experiment: {name: away_1, arms: {control: 0.5, mail: 0.5}, holdout: control, unit: journey}
steps: [{send: away/hello}]
""")
    with pytest.raises(NotSupportedError, match="away: arms by journey with a key"):
        simulate(away, log, response=MODEL, draws=2)
