"""A shop with a program at work: the mails are those a replay gives, and the truth is what an analysis should find."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from toolkit.engine import measure, replay
from toolkit.errors import InputError
from toolkit.scenario import Program, loads
from toolkit.simulation import Answers, MailedShop, Shop, mailed, shop
from toolkit.simulation.sample import sample_program

TEMPLATES = Path(__file__).parents[2] / "templates"
NOBODY_ANSWERS = Answers(
    buys={}, uses_offer=0, opens=0, opens_transactional=0, unsubscribes=0, bounces_soft=0, bounces_hard=0
)


@pytest.fixture(scope="module")
def program() -> Program:
    return sample_program(TEMPLATES)


@pytest.fixture(scope="module")
def quiet() -> Shop:
    return shop(customers=2500, days=100, seed=3)


@pytest.fixture(scope="module")
def busy(quiet: Shop, program: Program) -> MailedShop:
    return mailed(quiet, program)


@pytest.fixture(scope="module")
def events(busy: MailedShop) -> pd.DataFrame:
    return busy.shop.events.drop_duplicates("event_id")


def _of(events: pd.DataFrame, name: str) -> pd.DataFrame:
    return events[events["event"] == name]


def test_replaying_the_program_over_the_log_gives_exactly_the_mails_in_it(busy, program, events):
    run = replay(program, busy.shop.log())
    sent = run.decisions[run.decisions["status"] == "send"].set_index("decision_id").sort_index()
    logged = _of(events, "email_sent").set_index("decision_id").sort_index()
    assert len(logged) > 2000
    assert sent.index.equals(logged.index)
    assert sent["at"].equals(logged["at"])
    assert sent[["customer_id", "scenario", "step"]].equals(logged[["customer_id", "scenario", "step"]])
    assert sent["arm"].fillna("-").equals(logged["arm"].fillna("-"))


def test_the_log_ends_when_the_shop_without_mails_ended(quiet, busy):
    assert busy.shop.events["received_at"].max() == quiet.events["received_at"].max()


def test_conversions_measured_in_the_log_are_those_of_the_truth(busy):
    outcomes = measure(busy.run, scenario="abandoned_cart", unit="journey").set_index("unit")
    assert outcomes.attrs["toolkit"]["unit"] == "journey"
    truth = busy.journeys.set_index("journey_id").loc[outcomes.index]
    expected = truth["buys_anyway"] | truth["caused"]
    assert len(outcomes) > 1000
    assert (outcomes["converted"].astype(bool) == expected).all()


def test_only_mails_that_were_given_an_effect_make_people_buy(busy):
    causing = busy.mails.dropna(subset="caused_at")
    assert set(causing["scenario"] + "." + causing["step"]) == {"abandoned_cart.reminder", "abandoned_cart.offer"}
    assert not busy.journeys.loc[busy.journeys["arm"] == "control", "caused"].any()
    assert set(causing["arm"]) == {"reminder", "discount"}


def test_a_reminder_makes_the_stated_share_of_unwilling_people_buy(busy):
    mails = busy.mails[(busy.mails["step"] == "reminder") & busy.mails["delivered"]]
    within = mails["own_purchase_at"] - mails["at"] <= pd.Timedelta(days=7)
    share = mails.loc[~within, "caused_at"].notna().mean()
    assert share == pytest.approx(busy.answers.buys["abandoned_cart.reminder"], abs=0.025)
    assert mails.loc[within, "caused_at"].isna().all()


def test_the_true_effect_of_the_discount_is_greater_than_that_of_the_reminder(busy):
    effect = busy.effect().set_index("arm")
    assert effect.loc["control", "caused_rate"] == 0
    assert effect.loc["discount", "caused_rate"] > effect.loc["reminder", "caused_rate"] > 0.01
    assert effect["n"].sum() == len(busy.journeys)


def test_a_journey_is_brought_to_buy_at_most_once(busy):
    assert not busy.mails.dropna(subset="caused_at").duplicated("journey_id").any()


def test_mails_are_delivered_then_opened_then_clicked(events):
    stages = events.dropna(subset="decision_id").pivot_table(
        index="decision_id", columns="event", values="at", aggfunc="min"
    )
    assert (stages["email_sent"] < stages[["email_delivered", "email_bounced"]].min(axis=1)).mean() > 0.999
    opened = stages.dropna(subset="email_opened")
    assert (opened["email_delivered"] <= opened["email_opened"]).all()
    clicked = stages.dropna(subset="email_clicked")
    assert (clicked["email_opened"] < clicked["email_clicked"]).all()
    assert stages["email_delivered"].notna().mean() == pytest.approx(0.993, abs=0.005)


def test_whoever_buys_because_of_a_mail_has_opened_and_clicked_it_first(busy, events):
    end = events["received_at"].max()
    caused = busy.mails[busy.mails["caused_at"] <= end].set_index("decision_id")
    clicks = _of(events, "email_clicked").set_index("decision_id")["at"]
    assert (clicks.loc[caused.index] < caused["caused_at"]).all()
    bought = caused.merge(_of(events, "purchase"), left_on=["customer_id", "caused_at"], right_on=["customer_id", "at"])
    assert len(bought) == len(caused) > 20


def test_nothing_in_a_purchase_tells_that_a_mail_caused_it(busy, events):
    caused = busy.mails.set_index("customer_id")["caused_at"].dropna()
    purchases = _of(events, "purchase")
    by_mail = purchases["at"].isin(caused)
    assert purchases["decision_id"].isna().all()
    assert purchases["event_id"].str.fullmatch("[0-9a-f]{14}").all()
    assert purchases.loc[by_mail, ["product_id", "product_name", "category", "items", "revenue"]].notna().all(axis=None)
    assert purchases.sort_values(["at", "order_id"])["order_id"].is_monotonic_increasing


def test_every_event_id_is_unique_and_no_order_number_is_used_twice(busy, events):
    assert len(busy.shop.log().quarantine) == 0
    assert _of(events, "purchase")["order_id"].is_unique
    assert _of(events, "order_placed")["order_id"].is_unique


def test_offers_take_ten_percent_off_also_from_people_who_would_have_bought_anyway(busy, events):
    used = busy.mails.dropna(subset="discount")
    assert set(used["step"]) <= {"offer", "first_order"}
    assert used["caused_at"].notna().any()
    assert used["caused_at"].isna().any()
    purchases = _of(events, "purchase")
    cheaper = purchases.dropna(subset="discount")
    assert len(cheaper) == pytest.approx(len(used), abs=5)  # a purchase after the end of the log is not in it
    full = cheaper["revenue"] + cheaper["discount"]
    assert (cheaper["discount"] / full).to_numpy() == pytest.approx(0.1, abs=0.002)
    placed = _of(events, "order_placed").set_index("order_id")["value"]
    matched = cheaper[cheaper["order_id"].isin(placed.index)]
    assert placed.loc[matched["order_id"]].to_numpy() == pytest.approx(matched["revenue"].to_numpy())


def test_who_unsubscribes_gets_no_marketing_mail_until_subscribing_again(events):
    left = _of(events, "email_unsubscribed").groupby("customer_id")["at"].min()
    back = set(_of(events, "email_subscribed")["customer_id"])
    left = left[~left.index.isin(back)]
    sent = _of(events, "email_sent")
    marketing = sent[sent["scenario"] != "order_status"]
    after = marketing["at"] > marketing["customer_id"].map(left)
    assert len(left) > 10
    assert not after.any()


def test_the_same_shop_and_program_give_the_same_log(quiet, program, busy):
    again = mailed(quiet, program)
    pd.testing.assert_frame_equal(again.shop.events, busy.shop.events)
    pd.testing.assert_frame_equal(again.mails, busy.mails)


def test_where_nobody_answers_the_mails_are_those_of_a_plain_replay(quiet, program):
    silent = mailed(quiet, program, answers=NOBODY_ANSWERS)
    run = replay(program, quiet.log())
    assert silent.mails["decision_id"].sort_values().tolist() == (
        run.decisions.loc[run.decisions["status"] == "send", "decision_id"].sort_values().tolist()
    )
    before, after = (_of(part.events, "purchase").drop_duplicates("event_id") for part in (quiet, silent.shop))
    assert before["revenue"].tolist() == after["revenue"].tolist()
    assert not silent.shop.events["event"].eq("email_opened").any()
    assert not silent.journeys["caused"].any()


def test_a_program_without_experiment_has_no_journeys_to_compare(quiet, program):
    only = mailed(quiet, Program(scenarios=(program["order_status"],), policies=program.policies))
    assert only.journeys.empty
    assert len(only.mails) == (only.run.decisions["status"] == "send").sum() > 0
    assert set(only.shop.events["experiment"].dropna()) == set()


def test_an_effect_of_a_mail_that_is_never_sent_is_refused_with_the_nearest(quiet, program):
    with pytest.raises(
        InputError, match=r"'abandoned_cart.remindr' is not a mail.*did you mean 'abandoned_cart.reminder'"
    ):
        mailed(quiet, program, answers=Answers(buys={"abandoned_cart.remindr": 0.1}))


def test_all_wrong_shares_of_answers_are_named_at_once():
    with pytest.raises(InputError, match=r"opens: found 2.*buys\['welcome.hello'\]: found -1"):
        Answers(opens=2, buys={"welcome.hello": -1})
    with pytest.raises(InputError, match=r"unsubscribes: found 0\.5; allowed: at most opens"):
        Answers(unsubscribes=0.5, opens=0.4)


def test_mails_inside_a_branch_of_a_wait_are_known_as_mails(quiet):
    nested = loads(
        """
        scenario: cart
        trigger: {event: cart_add}
        reentry: once
        steps:
          - wait_for: {event: purchase, within: 1d}
            then: [exit]
            else:
              - id: late
                send: cart/late
        """
    )
    with pytest.raises(InputError, match=r"allowed: cart\.late"):
        mailed(quiet, nested, answers=Answers(buys={"other.mail": 0.1}))
