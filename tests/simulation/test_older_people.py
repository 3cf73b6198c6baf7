"""Logs whose people changed, and logs without prices: what a forecast says of them, and what it leaves out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.engine import measure, replay
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.scenario.models import Program
from toolkit.simulation import ResponseModel, Simulation, simulate, tune

CART = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: {after: 3d, from: entry}
exit_on: [{event: purchase}]
goal: {event: purchase, within: 3d, value: revenue}
experiment: {name: cart_1, arms: {control: 0.3, mail: 0.7}, holdout: control}
steps:
  - {id: pause, wait: 4h}
  - {id: reminder, send: cart/reminder, offer: {percent: 10, valid: 2d}}
""")
NO_VALUE = CART.model_copy(
    update={
        "scenarios": tuple(
            one.model_copy(update={"goal": one.goal.model_copy(update={"value": None})}) for one in CART.scenarios
        )
    }
)
MODEL = ResponseModel.parse("""
response: guess
window: 3d
buys: {rate: [0.05, 0.1, 0.2]}
unsubscribes: {rate: 0.02}
offers: {used_anyway: 0.5}
order: {margin: 0.4}
costs: {mail: 0.01}
""")
STATED = ResponseModel.parse("""
response: guess
window: 3d
buys: {rate: [0.05, 0.1, 0.2]}
offers: {used_anyway: 0.5}
order: {margin: 0.4, price: [30, 40, 60]}
""")
DRAWS = {"draws": 40, "seed": 3, "progress": False}


def log_of(early: float, late: float, *, people: int = 3_000, seed: int = 5, price: float | None = 40.0) -> EventLog:
    """Carts over sixty days, of which this share is bought within two days, in the first month and the second."""
    rng = np.random.default_rng(seed)
    days = rng.uniform(0, 60, people)
    at = pd.Timestamp("2025-01-01T00:00Z") + pd.to_timedelta(days, unit="D")
    buys = rng.random(people) < np.where(days < 30, early, late)
    events = pd.DataFrame({"customer_id": np.arange(people), "event": "cart_add", "at": at})
    hours = pd.to_timedelta(rng.uniform(1, 48, buys.sum()), unit="h")
    bought = events[buys].assign(event="purchase", at=at[buys] + hours)
    end = pd.DataFrame({"customer_id": [0], "event": ["view"], "at": [pd.Timestamp("2025-03-10T00:00Z")]})
    if price is not None:
        bought = bought.assign(revenue=price)
    return EventLog.from_pandas(pd.concat([events, bought, end], ignore_index=True))


def drift_notes(program: Program, log: EventLog, **asked: object) -> list[str]:
    notes = simulate(program, log, response=MODEL, **DRAWS, **asked).notes
    return [note for note in notes if "who comes" in note]


def test_a_log_whose_people_changed_is_told_with_both_rates_and_a_steady_one_is_not() -> None:
    (note,) = drift_notes(CART, log_of(0.1, 0.3))
    assert note.startswith("cart: of those who entered before 2025-01-3")
    early, late = (float(part.split("%")[0]) for part in (note.split(", ")[1], note.split("came later ")[1]))
    assert early == pytest.approx(10, abs=2)
    assert late == pytest.approx(30, abs=3)
    assert not drift_notes(CART, log_of(0.3, 0.3))
    assert not drift_notes(CART, log_of(0.1, 0.3), since="2025-01-31T00:00Z")
    assert any("who comes" in note for note in tune(
        CART, log_of(0.1, 0.3), MODEL, over={"cart.pause.wait": ["1h", "4h"]}, check_out_of_time=False, **DRAWS
    ).notes)  # fmt: skip


def test_a_change_is_told_where_arms_are_drawn_journey_by_journey_too() -> None:
    cart = CART["cart"]
    by_journey = CART.replace(scenarios=(cart.replace(experiment=cart.experiment.replace(unit="journey")),))
    several = pd.concat([log_of(0.1, 0.3).events, log_of(0.1, 0.3, seed=6).events], ignore_index=True)
    assert drift_notes(by_journey, log_of(0.1, 0.3)) == drift_notes(CART, log_of(0.1, 0.3))
    (note,) = drift_notes(by_journey, EventLog.from_pandas(several))
    early, late = (float(part.split("%")[0]) for part in (note.split(", ")[1], note.split("came later ")[1]))
    assert early == pytest.approx(10, abs=3)  # everyone counts once, by the first of two carts, most of them early
    assert late == pytest.approx(22, abs=3)
    assert not drift_notes(by_journey, log_of(0.3, 0.3))


def test_chance_alone_is_seldom_told_as_a_change() -> None:
    told = sum(bool(drift_notes(CART, log_of(0.2, 0.2, people=600, seed=seed))) for seed in range(60))
    assert told <= 1


def test_who_entered_before_since_counts_for_nothing_as_in_a_measurement() -> None:
    log, since = log_of(0.1, 0.3), "2025-01-31T00:00Z"
    forecast = simulate(CART, log, response=MODEL, since=since, **DRAWS)
    outcomes = measure(replay(CART, log), since=since, within="3d")
    # What is followed: a window after the entry, and one after a mail within it.
    seen = outcomes[outcomes["entered_at"] <= pd.Timestamp("2025-03-10T00:00Z") - pd.Timedelta("6D")]
    for arm, rows in seen.groupby("arm"):
        assert forecast.value("cart", "people", str(arm)) == len(rows)
        assert forecast.value("cart", "own_conversions", str(arm)) == rows["converted"].sum()
        assert forecast.value("cart", "own_revenue", str(arm)) == rows["revenue"].sum()
    whole = simulate(CART, log, response=MODEL, **DRAWS)
    assert 0 < forecast.value("cart", "caused", "mail") < whole.value("cart", "caused", "mail")
    before = simulate(CART, log, response=MODEL, since="2020-01-01T00:00Z", **DRAWS)
    pd.testing.assert_frame_equal(before.table, whole.table)


def test_what_mails_brought_before_since_is_not_counted_either() -> None:
    """Everyone enters once, so those before and those after are together all; each draw adds up to the last mail."""
    log, since = log_of(0.2, 0.2), pd.Timestamp("2025-01-31T00:00Z")
    until = pd.Timestamp("2025-03-10T00:00Z")
    values = MODEL.draws(5, 3)
    long_followed = int((until - since) / pd.Timedelta(1, unit="us")) + 1  # so that entries before `since` alone count
    earlier = Simulation(CART, log, response=MODEL, follow=long_followed)
    later = Simulation(CART, log, response=MODEL, since=since)
    whole = Simulation(CART, log, response=MODEL)
    drawn = [one.counts(values, 5, 3).drawn for one in (earlier, later, whole)]
    np.testing.assert_array_equal(drawn[0] + drawn[1], drawn[2])


@pytest.mark.parametrize("since", ["2025-01-31", 5, "soon", float("nan")])
def test_a_since_that_is_no_moment_with_a_zone_is_refused(since: object) -> None:
    with pytest.raises(InputError, match="since"):
        simulate(CART, log_of(0.1, 0.3, people=100), response=MODEL, since=since, **DRAWS)  # type: ignore[arg-type]


def test_a_since_after_which_nobody_enters_in_time_is_told() -> None:
    with pytest.raises(InputError, match=r"nobody enters early enough .* an earlier since"):
        simulate(CART, log_of(0.1, 0.3, people=100), response=MODEL, since="2025-03-09T00:00Z", **DRAWS)


def test_a_log_without_prices_takes_the_price_of_the_model_and_says_so() -> None:
    bare, priced = (
        simulate(NO_VALUE, log_of(0.2, 0.2, price=price), response=STATED, **DRAWS) for price in (None, 40.0)
    )
    pd.testing.assert_frame_equal(bare.table.drop(columns="label"), priced.table.drop(columns="label"))
    assert bare.value("cart", "caused_revenue", "mail") > 0
    assert bare.value("cart", "discount_own", "mail") > 0
    own = [one.table.loc[one.table["metric"] == "own_revenue", "label"].unique().tolist() for one in (bare, priced)]
    assert own == [["modelled"], ["observed"]]
    told = [[note for note in one.notes if "the log has no 'revenue' of a purchase" in note] for one in (bare, priced)]
    assert [len(notes) for notes in told] == [1, 0]
    assert "is taken to cost 40.00, the likely order.price of the response model (modelled)" in told[0][0]


@pytest.mark.parametrize(("empty", "kind"), [(float("nan"), "empty"), (0.0, "number")])
def test_a_column_of_prices_that_is_empty_is_none(empty: float, kind: str) -> None:
    log = log_of(0.2, 0.2, price=empty)
    assert log.properties == {"revenue": kind}
    bare, priced = (simulate(NO_VALUE, one, response=STATED, **DRAWS) for one in (log, log_of(0.2, 0.2, price=None)))
    pd.testing.assert_frame_equal(bare.table, priced.table)
    assert bare.notes == priced.notes
    with_value = simulate(CART, log, response=STATED, **DRAWS)
    pd.testing.assert_frame_equal(with_value.table, priced.table)
    with pytest.raises(InputError, match=r"with a number in 'revenue'.*state order: \{price: 40\} there"):
        simulate(CART, log, response=MODEL, **DRAWS)


def test_a_price_that_is_paid_after_the_end_is_not_known_yet() -> None:
    bare = log_of(0.2, 0.2, price=None)
    end = bare.span[1]
    late = {"customer_id": "late", "event": "purchase", "at": end + pd.Timedelta(1, unit="D"), "revenue": 40.0}
    events = bare.events[["customer_id", "event", "at"]].assign(revenue=None)
    priced = EventLog.from_pandas(pd.concat([events.astype({"revenue": "float64"}), pd.DataFrame([late])]))
    told = [simulate(NO_VALUE, one, response=STATED, until=end, **DRAWS) for one in (bare, priced)]
    pd.testing.assert_frame_equal(told[0].table, told[1].table)


def test_a_log_without_prices_and_a_model_without_one_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"with a number in 'revenue'.*state order: \{price: 40\} there"):
        simulate(NO_VALUE, log_of(0.2, 0.2, price=None), response=MODEL, **DRAWS)


def test_a_price_is_no_fault_where_nobody_buys() -> None:
    opens = ResponseModel.parse("{response: opens, opens: {rate: 0.4}, order: {margin: 0.4, price: 40}}")
    views = EventLog.from_pandas(
        pd.DataFrame({
            "customer_id": ["ana", "ana", "bo"], "event": ["cart_add", "view", "purchase"], "revenue": [1.0, None, 0.0],
            "at": ["2025-01-01T10:00Z", "2025-02-01T10:00Z", "2025-02-01T10:00Z"],
        })
    )  # fmt: skip
    assert simulate(CART, views, response=opens, **DRAWS).value("cart", "profit", "control") == 0
