"""Who buys on their own, before the mail and after it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from tests.charts.conftest import CART
from toolkit.engine import own_purchases, uniform
from toolkit.engine.local_time import later
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import Duration, loads, set_parameters


def test_each_buyer_stands_before_the_mail_after_it_or_after_the_offer(cart_program, cart_log):
    own = own_purchases(tk.replay(cart_program, cart_log))
    assert own.basis == "all"
    assert own.table[["hours", "phase"]].values.tolist() == [
        [0.5, "before"],
        [5.0, "after_mail"],
        [30.0, "after_offer"],
    ]
    assert (own.before, own.after, own.mails) == (1, 2, 4)
    assert own.before_rate == 1 / 5
    assert own.after_rate == 2 / 4
    assert own.lags == (1.0, 25.0)


def test_a_discount_is_given_away_on_what_is_bought_within_its_validity(cart_program, cart_log):
    own = own_purchases(tk.replay(cart_program, cart_log))
    # cy, di and eve came to the offer; of them cy alone bought within its two days, for 40.
    assert (own.offers, own.given) == (3, 40.0)
    assert own.given_away(10) == pytest.approx(100 * 0.10 * 40 / 3)
    assert own.given_away(0) == 0


def test_purchases_fall_into_the_stretch_of_time_they_happened_in(cart_program, cart_log):
    counts = own_purchases(tk.replay(cart_program, cart_log)).counts([0, 1, 12, 48])
    assert counts.values.tolist() == [[0, 1, 1, 0, 0], [1, 12, 0, 1, 0], [12, 48, 0, 0, 1]]


@pytest.mark.parametrize("wait", ["0s", "4h", "1d", "4d"])
def test_those_who_buy_anyway_are_the_same_as_in_a_sweep(shop_program, shop_log, wait):
    path = "abandoned_cart.pause.wait"
    swept = tk.sweep(shop_program, shop_log, {path: [wait]}, progress=False).table
    row = swept[swept["scenario"] == "abandoned_cart"].iloc[0]
    own = own_purchases(tk.replay(set_parameters(shop_program, {path: wait}), shop_log), scenario="abandoned_cart")
    assert (own.mails, own.after, own.basis) == (row["mailed"], row["own_after"], row["basis"])


def _experiment_log(name: str) -> tuple[EventLog, list[str]]:
    """Forty carts under an experiment; the arms got their mails, and everyone bought 30 hours later."""
    people = [f"c{number}" for number in range(40)]
    control = [who for who, share in zip(people, uniform(name, people), strict=True) if share < 0.5]
    rows = [(who, "cart_add", "2025-03-03T10:00Z", None, None) for who in people]
    rows += [(who, "purchase", "2025-03-04T16:00Z", 40.0, None) for who in people]
    rows += [(who, "email_sent", "2025-03-03T11:00Z", None, "cart") for who in people if who not in control]
    rows.append(("zoe", "view", "2025-04-20T10:00Z", None, None))
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue", "scenario"])
    return EventLog.from_pandas(frame), control


def test_where_others_got_mails_only_the_control_group_counts_and_it_walks_to_the_offer_too():
    log, control = _experiment_log("cart_1")
    cart = loads(
        CART.replace("valid: 2d}}", "valid: 2d}, only: [gift]}").replace(
            "steps:", "experiment: {name: cart_1, arms: {control: 0.5, gift: 0.5}, holdout: control}\nsteps:"
        )
    )
    own = own_purchases(tk.replay(cart, log))
    assert own.basis == "control"
    assert (own.mails, own.after) == (len(control), len(control))
    assert set(own.table["phase"]) == {"after_offer"}
    assert (own.offers, own.given) == (len(control), 40.0 * len(control))


def test_a_log_of_mails_without_a_control_group_cannot_tell():
    log, _ = _experiment_log("cart_1")
    own = own_purchases(tk.replay(loads(CART), log))
    assert own.basis == "none"
    assert np.isnan(own.after_rate)
    assert "no control group" in str(own)


def test_validity_in_days_is_wall_clock_time(shop_program):
    people = pd.DataFrame({"customer_id": ["ana"], "timezone": ["Europe/Paris"]})
    events = pd.DataFrame(
        {"customer_id": ["ana"], "event": ["cart_add"], "at": ["2025-03-29T09:00Z"], "revenue": [30.0]}
    )
    run = tk.replay(
        loads(CART).replace(policies=shop_program.policies),
        EventLog.from_pandas(events, customers=people),
    )
    moment = np.array([pd.Timestamp("2025-03-29T09:00Z").value // 1000])  # 10:00 in Paris, the day before summer time
    there = later(run, moment, np.array([0]), Duration.parse("1d"))
    assert pd.Timestamp(there[0], unit="us", tz="UTC") == pd.Timestamp("2025-03-30T08:00Z")


def test_a_scenario_or_step_that_is_not_there_is_refused_with_the_nearest(shop_run):
    with pytest.raises(InputError, match="did you mean 'abandoned_cart'"):
        own_purchases(shop_run, scenario="abandonned_cart")
    with pytest.raises(InputError, match="did you mean 'offer'"):
        own_purchases(shop_run, scenario="abandoned_cart", offer="ofer")
    with pytest.raises(InputError, match="pass scenario="):
        own_purchases(shop_run)
    with pytest.raises(InputError, match="no goal"):
        own_purchases(shop_run, scenario="order_status")
