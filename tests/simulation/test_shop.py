"""The shop of our own: plausible, seeded, and safe across clocks and letters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import InputError
from toolkit.simulation import Habits, Shop, shop

DAYS = 120


@pytest.fixture(scope="module")
def made() -> Shop:
    return shop(customers=6000, days=DAYS, seed=11)


@pytest.fixture(scope="module")
def once(made: Shop) -> pd.DataFrame:
    return made.events.drop_duplicates("event_id")


def _of(events: pd.DataFrame, name: str) -> pd.DataFrame:
    return events[events["event"] == name]


def test_the_same_seed_gives_the_same_shop():
    one, two = shop(customers=300, days=60, seed=5), shop(customers=300, days=60, seed=5)
    pd.testing.assert_frame_equal(one.events, two.events)
    pd.testing.assert_frame_equal(one.customers, two.customers)
    pd.testing.assert_frame_equal(one.truth.carts, two.truth.carts)


def test_another_seed_gives_another_shop():
    one, two = shop(customers=300, days=60, seed=5), shop(customers=300, days=60, seed=6)
    assert not one.events["at"].head(50).equals(two.events["at"].head(50))


def test_every_kind_of_event_of_a_shop_occurs(once):
    assert set(once["event"]) == {
        *("sign_up", "view", "cart_add", "purchase", "order_placed", "order_paid", "order_shipped"),
        *("order_delivered", "order_cancelled", "refund", "password_changed", "balance_topped_up"),
        *("email_unsubscribed", "email_subscribed", "email_bounced"),
    }


def test_nobody_does_anything_before_signing_up(made, once):
    signed_up = once["customer_id"].map(made.customers.set_index("customer_id")["signed_up_at"])
    assert (once["at"] >= signed_up).all()


def test_sign_ups_in_the_log_are_those_of_the_customers_table(made, once):
    joined = _of(once, "sign_up").set_index("customer_id")["at"].sort_index()
    table = made.customers.set_index("customer_id")["signed_up_at"].sort_index()
    expected = table[table >= pd.Timestamp("2025-01-06", tz="UTC")]
    pd.testing.assert_series_equal(joined, expected, check_names=False)
    assert 0.4 < len(joined) / len(table) < 0.5


def test_everything_happens_and_is_received_within_the_log(once):
    first = pd.Timestamp("2025-01-06", tz="UTC")
    assert once["at"].min() >= first
    assert once["received_at"].max() < first + pd.Timedelta(days=DAYS)
    assert (once["received_at"] >= once["at"]).all()


def test_about_one_visit_in_a_hundred_is_received_late_by_hours(once):
    visits = once[once["event"].isin(["view", "cart_add", "purchase", "sign_up"])]
    delay = visits["received_at"] - visits["at"]
    late = delay > pd.Timedelta(0)
    assert late.mean() == pytest.approx(0.01, abs=0.003)
    assert pd.Timedelta(hours=1) < delay[late].median() < pd.Timedelta(hours=6)


def test_a_few_events_come_twice_with_the_same_id_and_payload(made):
    twice = made.events[made.events.duplicated("event_id", keep=False)]
    assert len(twice) / 2 / len(made.events) == pytest.approx(0.002, abs=0.0005)
    assert len(twice.drop_duplicates()) == len(twice) / 2


def test_visits_follow_the_hours_of_each_persons_own_clock(made, once):
    views = _of(once, "view").merge(made.customers[["customer_id", "timezone"]], on="customer_id")
    for zone in ("Europe/Paris", "America/New_York"):
        hour = views.loc[views["timezone"] == zone, "at"].dt.tz_convert(zone).dt.hour
        share = hour.value_counts(normalize=True)
        assert share[range(20, 22)].sum() > 0.12
        assert share.reindex(range(2, 6), fill_value=0).sum() < 0.04


def test_evenings_stay_evenings_when_the_clocks_change(made, once):
    paris = made.customers.loc[made.customers["timezone"] == "Europe/Paris", "customer_id"]
    views = _of(once[once["customer_id"].isin(paris)], "view")
    summer = pd.Timestamp("2025-03-30 01:00", tz="UTC")

    def mean_evening(part: pd.DataFrame) -> float:
        local = part["at"].dt.tz_convert("Europe/Paris")
        return (local.dt.hour + local.dt.minute / 60)[local.dt.hour >= 17].mean()

    before, after = mean_evening(views[views["at"] < summer]), mean_evening(views[views["at"] >= summer])
    assert before == pytest.approx(after, abs=0.15)


def test_sundays_are_busier_than_saturdays(made, once):
    visits = _of(once, "view").merge(made.customers[["customer_id", "timezone"]], on="customer_id")
    local = visits[visits["timezone"] == "Europe/Paris"]["at"].dt.tz_convert("Europe/Paris")
    counts = local.dt.day_of_week.value_counts()
    assert counts[6] > 1.15 * counts[5]


def test_carts_are_bought_within_minutes_hours_days_or_never_as_the_habits_say(made):
    carts = made.truth.carts
    delay = carts["bought_at"] - carts["at"]
    habits = made.truth.habits
    assert (delay < pd.Timedelta(minutes=30)).mean() == pytest.approx(habits.buys_soon, abs=0.02)
    assert delay.notna().mean() == pytest.approx(habits.buy_share, abs=0.025)
    assert (delay > pd.Timedelta(hours=20)).mean() == pytest.approx(habits.buys_days_later, abs=0.02)


def test_every_purchase_is_a_cart_with_its_value_and_its_order(made, once):
    purchases = _of(once, "purchase")
    carts = made.truth.carts.dropna(subset="bought_at")
    matched = purchases.merge(carts, left_on=["customer_id", "at"], right_on=["customer_id", "bought_at"])
    assert len(matched) == len(purchases)
    assert matched["revenue"].to_numpy() == pytest.approx(matched["value_y"].to_numpy())
    placed = _of(once, "order_placed").set_index("order_id")
    assert purchases["order_id"].is_unique
    assert set(placed.index) == set(purchases["order_id"])


def test_orders_go_their_way_in_order(once):
    orders = once.dropna(subset="order_id").pivot_table(index="order_id", columns="event", values="at", aggfunc="min")
    shipped = orders.dropna(subset="order_shipped")
    assert (shipped["order_placed"] < shipped["order_paid"]).all()
    assert (shipped["order_paid"] < shipped["order_shipped"]).all()
    delivered = orders.dropna(subset="order_delivered")
    assert (delivered["order_shipped"] < delivered["order_delivered"]).all()
    assert orders.loc[orders["order_cancelled"].notna(), "order_shipped"].isna().all()
    assert 0.002 < orders["order_cancelled"].notna().mean() < 0.04
    assert 0.005 < orders["refund"].notna().mean() < 0.08


def test_a_few_orders_are_shipped_in_two_parcels(once):
    parcels = _of(once, "order_shipped")["order_id"].value_counts()
    assert 0.01 < (parcels == 2).mean() < 0.06
    assert parcels.max() == 2


def test_customers_look_like_those_of_a_french_shop(made):
    people = made.customers
    assert people["consent"].mean() == pytest.approx(0.85, abs=0.02)
    assert people["timezone"].value_counts(normalize=True)["Europe/Paris"] > 0.5
    assert {"America/Montreal", "Asia/Tokyo", "Europe/London"} <= set(people["timezone"].dropna())
    assert 0 < people["timezone"].isna().mean() < 0.03
    assert 0 < people["email"].isna().mean() < 0.02
    assert people["birthday"].isna().mean() == pytest.approx(0.12, abs=0.02)
    assert people["birthday"].dropna().str.endswith("-02-29").any()
    assert people["email"].dropna().str.fullmatch(r"[a-z]+\.\d+@example\.(org|com|net)").all()
    assert people["email"].dropna().is_unique
    assert people["signed_up_at"].is_monotonic_increasing


def test_names_keep_their_accents_through_the_event_log(made):
    log = made.log()
    names = log.customers.set_index("customer_id")["first_name"]
    pd.testing.assert_series_equal(
        names.sort_index(), made.customers.set_index("customer_id")["first_name"].sort_index(), check_dtype=False
    )
    assert {"Zoé", "Jürgen", "Íñigo"} <= set(names)


def test_the_event_log_counts_repeated_events_once(made, once):
    log = made.log()
    assert len(log) == len(once)
    assert log.event_counts == once["event"].value_counts().to_dict()


def test_people_come_and_stay_away_as_bg_nbd_says(made):
    people = made.truth.customers
    habits = made.truth.habits
    assert people["visits_per_day"].mean() == pytest.approx(habits.sessions_per_day, rel=0.05)
    spread = people["visits_per_day"].var() / people["visits_per_day"].mean() ** 2
    assert 1 / spread == pytest.approx(habits.sessions_shape, rel=0.15)
    expected = habits.dropout_a / (habits.dropout_a + habits.dropout_b)
    assert people["dropout"].mean() == pytest.approx(expected, rel=0.08)
    assert 0.03 < people["lapsed"].mean() < 0.4


def test_lapsed_people_do_not_come_back(made, once):
    people = made.truth.customers.set_index("customer_id")
    gone = people.index[people["purchases_left"] == 0]
    assert len(gone) > 20
    assert not once[once["customer_id"].isin(gone)]["event"].isin(["view", "cart_add", "purchase"]).any()


def test_a_shop_without_buyers_has_no_order():
    quiet = shop(customers=200, days=30, seed=1, habits=Habits(buys_soon=0, buys_later=0, buys_days_later=0))
    assert not quiet.events["event"].isin(["purchase", "order_placed"]).any()
    assert quiet.events["event"].isin(["cart_add"]).any()
    assert quiet.truth.carts["bought_at"].isna().all()


def test_one_customer_and_one_day_make_a_shop():
    tiny = shop(customers=1, days=1, seed=0)
    assert len(tiny.customers) == 1
    assert list(tiny.events.columns[:5]) == ["event_id", "customer_id", "event", "at", "received_at"]


def test_all_wrong_sizes_are_named_at_once():
    with pytest.raises(InputError, match=r"customers: found 0.*days: found -3.*seed: found 1\.5"):
        shop(customers=0, days=-3, seed=1.5)
    with pytest.raises(InputError, match="start: expected a date; found '6 January'"):
        shop(customers=5, days=5, seed=1, start="6 January")


def test_all_wrong_habits_are_named_at_once():
    with pytest.raises(InputError, match=r"cart_share: found 1\.2.*dropout_a: found 0"):
        Habits(cart_share=1.2, dropout_a=0)
    with pytest.raises(InputError, match="at most 1"):
        Habits(buys_soon=0.5, buys_later=0.4, buys_days_later=0.3)
    with pytest.raises(InputError, match="growth"):
        dataclasses.replace(Habits(), growth=-1)


def test_sign_ups_grow_over_the_log(once):
    days = (_of(once, "sign_up")["at"] - pd.Timestamp("2025-01-06", tz="UTC")).dt.days
    assert np.sum(days >= DAYS / 2) > 1.1 * np.sum(days < DAYS / 2)
