"""How many people came where, as `flow_of` counts them: the rounds of a repeat are one step."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import toolkit as tk
from toolkit.engine import Run, own_purchases
from toolkit.engine.flow import Leaving, answers_of, flow_of
from toolkit.engine.glance import glance
from toolkit.events import EventLog
from toolkit.events.mail_counts import StepAnswers
from toolkit.scenario import load, loads

ROOT = Path(__file__).parents[2]

TWICE = """
scenario: cart
trigger: {event: cart_add}
reentry: once
goal: {event: purchase, within: 7d, value: revenue}
steps:
  - repeat: 2
    steps:
      - {wait: 1d}
      - {id: reminder, send: cart/reminder, offer: {percent: 10, valid: 7d, code: TEN}}
"""


def carts() -> EventLog:
    """Five carts, two of which buy, one of them when the goal is over; the last gave no consent."""
    start = pd.Timestamp("2026-03-02 09:00", tz="UTC")
    rows = [(f"c{number}", "cart_add", start, None) for number in range(5)]
    rows += [("c0", "purchase", start + pd.Timedelta(30, unit="h"), 50.0)]
    rows += [("c1", "purchase", start + pd.Timedelta(9, unit="D"), 50.0)]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"])
    people = pd.DataFrame({"customer_id": [f"c{n}" for n in range(5)], "consent": [True] * 4 + [False]})
    return EventLog.from_pandas(frame, customers=people)


@pytest.fixture(scope="module")
def shop_run() -> Run:
    return tk.replay(load(ROOT / "templates"), EventLog.open(ROOT / "data" / "shop"), progress=False)


def test_the_rounds_of_a_repeat_are_counted_together():
    run = tk.replay(loads(TWICE), carts(), progress=False)
    assert run.decisions.groupby(["step", "status"]).size().to_dict() == {
        ("reminder#1", "send"): 4,
        ("reminder#2", "send"): 4,
    }
    flow = flow_of(run, "cart")
    assert (flow.sent, flow.skipped, flow.reached("reminder")) == ({"reminder": 8}, {"reminder": 0}, 8)


def test_answers_of_a_step_are_those_of_the_mails_that_really_went(shop_run):
    events, window = shop_run.log.events, pd.Timedelta(7, unit="D")
    own = events[(events["scenario"] == "abandoned_cart") & (events["at"] <= shop_run.until)]
    goals = events[events["event"] == "purchase"].groupby("customer_id")["at"].apply(list).to_dict()
    found = answers_of(shop_run, "abandoned_cart")
    assert set(found) == {"reminder", "offer"}
    for step, answers in found.items():
        mine = own[own["step"] == step]
        mails = {kind: part["decision_id"].nunique() for kind, part in mine.groupby("event")}
        sent = mine[mine["event"] == "email_sent"]
        closed = sent[sent["at"] + window <= shop_run.until]
        reached = sum(
            any(at < goal <= at + window for goal in goals.get(customer, ()))
            for customer, at in zip(closed["customer_id"], closed["at"], strict=True)
        )
        assert answers == StepAnswers(
            sent=mails["email_sent"],
            delivered=mails["email_delivered"],
            opened_least=0,  # this log does not tell people from machines
            opened_most=mails["email_opened"],
            clicked_least=0,
            clicked_most=mails["email_clicked"],
            unsubscribed=mails.get("email_unsubscribed", 0),
            watched=len(closed),
            reached=reached,
        )


def answered() -> EventLog:
    """Four mails of two rounds: opened by a person and a machine, in doubt, by a machine, and not at all."""
    rows = [(f"c{n}", "cart_add", "2026-03-02T09:00Z", None, None, None) for n in range(4)]
    for n, (round_, verdicts) in enumerate(((1, ("human", "machine")), (1, ("unsure",)), (2, ("machine",)), (2, ()))):
        step = f"reminder#{round_}"
        rows += [(f"c{n}", "email_sent", f"2026-03-0{2 + round_}T09:00Z", step, f"d{n}", None)]
        rows += [(f"c{n}", "email_opened", f"2026-03-0{3 + round_}T10:00Z", step, f"d{n}", one) for one in verdicts]
    rows += [("c0", "email_clicked", "2026-03-04T11:00Z", "reminder#1", "d0", "human")]
    rows += [("c1", "email_clicked", "2026-03-04T11:00Z", "reminder#1", "d1", "unsure")]
    rows += [("c2", "email_clicked", "2026-03-05T11:00Z", "reminder#2", "d2", "machine")]
    rows += [("c1", "purchase", "2026-03-06T09:00Z", None, None, None)]
    rows += [("c0", "purchase", "2026-03-12T10:00Z", None, None, None)]
    rows += [("c3", "view", "2026-03-10T09:00Z", None, None, None)]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "step", "decision_id", "verdict"])
    frame["scenario"] = frame["step"].notna().map({True: "cart", False: None})
    return EventLog.from_pandas(frame.assign(revenue=None))


def test_machines_are_apart_and_a_mail_counts_when_its_window_has_closed():
    run = tk.replay(loads(TWICE), answered(), progress=False)
    (answers,) = answers_of(run, "cart").values()
    assert answers == StepAnswers(
        sent=4,
        delivered=4,
        opened_least=1,
        opened_most=2,
        clicked_least=1,
        clicked_most=2,
        unsubscribed=0,
        watched=4,
        reached=1,
    )
    early = tk.replay(loads(TWICE), answered(), until=pd.Timestamp("2026-03-10T09:00Z"), progress=False)
    assert answers_of(early, "cart")["reminder"].watched == 2


LEAVING = """
scenario: cart
trigger: {event: cart_add}
reentry: once
exit_on: [{event: purchase}, {event: refund}]
goal: {event: purchase, where: "revenue >= 10", within: 7d, value: revenue}
steps:
  - {wait: 1d}
  - {id: reminder, send: cart/reminder}
  - {wait: 5d}
  - {id: offer, send: cart/offer}
"""


def left() -> Run:
    """Eight carts, left before and after the first mail: by the goal, by another end, and by who unsubscribed."""
    start = pd.Timestamp("2026-03-02 09:00", tz="UTC")
    ways = {
        "c0": [("purchase", 6, 50.0)],
        "c1": [("email_unsubscribed", 7, None)],
        "c2": [("purchase", 30, 50.0)],
        "c3": [("purchase", 30, 5.0)],  # too small for the goal, and an exit all the same
        "c4": [("refund", 40, None)],
        "c5": [("email_unsubscribed", 48, None)],
        "c6": [("email_unsubscribed", 49, None)],
        "c7": [],
    }
    rows = [(who, "cart_add", start, None) for who in ways]
    rows += [
        (who, kind, start + pd.Timedelta(hours, unit="h"), paid)
        for who, all_ in ways.items()
        for kind, hours, paid in all_
    ]
    rows += [("c9", "view", start + pd.Timedelta(9, unit="D"), None)]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"])
    return tk.replay(loads(LEAVING), EventLog.from_pandas(frame), progress=False)


def test_who_reached_the_goal_who_left_without_it_and_who_unsubscribed_are_told_apart():
    flow = flow_of(left(), "cart")
    assert flow.left == {"": Leaving(1, 0, 1), "reminder": Leaving(1, 2, 2)}
    assert (flow.finished, flow.still_open) == (1, 0)


def test_who_bought_before_a_late_trigger_was_known_has_reached_the_goal():
    rows = [("c0", "cart_add", "2026-03-02T09:00Z", "2026-03-02T12:00Z", None)]
    rows += [("c0", "purchase", "2026-03-02T10:00Z", "2026-03-02T10:00Z", 50.0)]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "received_at", "revenue"])
    run = tk.replay(loads(LEAVING), EventLog.from_pandas(frame), progress=False)
    assert flow_of(run, "cart").left == {"": Leaving(1, 0, 0)}


def without_goal() -> Run:
    """One cart that a purchase ends, in a scenario without a goal."""
    program = loads(LEAVING.replace("goal:", "# goal:"))
    rows = [("c0", "cart_add", "2026-03-02T09:00Z"), ("c0", "purchase", "2026-03-02T10:00Z")]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at"]).assign(revenue=50.0)
    return tk.replay(program, EventLog.from_pandas(frame), progress=False)


def test_of_a_scenario_without_a_goal_nobody_is_said_to_have_reached_it():
    assert flow_of(without_goal(), "cart").left == {"": Leaving(0, 1, 0)}


def test_an_offer_inside_a_repeat_is_an_offer():
    program, log = loads(TWICE), carts()
    assert own_purchases(tk.replay(program, log, progress=False), scenario="cart").offer == "reminder"
    assert glance(program, log, "cart", gift="reminder", edges=(0, 24, 168)).offers == 4
