"""How many people came where: the rounds of a repeat are one step of the picture."""

from __future__ import annotations

import pandas as pd

import toolkit as tk
from toolkit.charts import own_purchases
from toolkit.charts.flow import flow_of
from toolkit.engine.glance import glance
from toolkit.events import EventLog
from toolkit.scenario import loads

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


def _log():
    start = pd.Timestamp("2026-03-02 09:00", tz="UTC")
    rows = [(f"c{number}", "cart_add", start, None) for number in range(5)]
    rows += [("c0", "purchase", start + pd.Timedelta(30, unit="h"), 50.0)]
    rows += [("c1", "purchase", start + pd.Timedelta(9, unit="D"), 50.0)]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"])
    people = pd.DataFrame({"customer_id": [f"c{n}" for n in range(5)], "consent": [True] * 4 + [False]})
    return EventLog.from_pandas(frame, customers=people)


def test_the_rounds_of_a_repeat_are_counted_together():
    run = tk.replay(loads(TWICE), _log(), progress=False)
    assert run.decisions.groupby(["step", "status"]).size().to_dict() == {
        ("reminder#1", "send"): 4,
        ("reminder#2", "send"): 4,
    }
    flow = flow_of(run, "cart")
    assert (flow.sent, flow.skipped, flow.reached("reminder")) == ({"reminder": 8}, {"reminder": 0}, 8)


def test_an_offer_inside_a_repeat_is_an_offer():
    program, log = loads(TWICE), _log()
    assert own_purchases(tk.replay(program, log, progress=False), scenario="cart").offer == "reminder"
    assert glance(program, log, "cart", gift="reminder", edges=(0, 24, 168)).offers == 4
