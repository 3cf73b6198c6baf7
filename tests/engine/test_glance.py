"""A look at a run in one pass finds what the tables find."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.charts import own_purchases, sends_table
from toolkit.charts.purchases import EDGES, opened_to_all
from toolkit.engine import replay
from toolkit.engine.glance import glance, offer_moments
from toolkit.events import EventLog
from toolkit.scenario import Duration, Program, loads

CART = """
scenario: cart
trigger: {event: cart_add}
reentry: every
while_active: restart
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
experiment: {name: cart_1, arms: {control: 0.5, mail: 0.5}, holdout: control}
steps:
  - {id: pause, wait: 90m}
  - {id: reminder, send: cart/reminder}
  - {id: second_pause, wait: 1d}
  - {id: gift, send: cart/gift, offer: {percent: 20, valid: 3d}, only: [mail]}
"""


@pytest.fixture
def log() -> EventLog:
    rows = []
    for number in range(120):
        name, start = f"c{number:03}", pd.Timestamp("2025-03-20T10:00Z") + pd.Timedelta(hours=7 * number)
        rows.append((name, "cart_add", start, None))
        if number % 3:
            rows.append((name, "purchase", start + pd.Timedelta(minutes=50 * (number % 97)), 10.0 + number))
    rows.append(("zoe", "view", pd.Timestamp("2025-06-20T10:00Z"), None))
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"])
    return EventLog.from_pandas(frame)


def test_a_glance_finds_the_mails_and_purchases_that_the_tables_find(log: EventLog) -> None:
    program: Program = loads("timezone: Europe/Paris\n---\n" + CART)
    run = replay(program, log)
    own = own_purchases(run)
    found = glance(run, "cart", arm=None, gift="gift", valid=Duration.parse("3d"), edges=EDGES)
    table = sends_table(run)
    assert found.sent == len(table) > 0
    assert found.hours.sum(axis=0).tolist() == table["hour"].value_counts().reindex(range(24), fill_value=0).tolist()
    assert found.days.sum() == found.sent
    assert (found.before, found.after, found.mails) == (own.before, own.after, own.mails)
    assert found.own.T.tolist() == own.counts()[["before", "after_mail", "after_offer"]].to_numpy().tolist()
    assert (found.offers, found.paid, found.lags) == (own.offers, pytest.approx(own.given), own.lags)


def test_moments_of_an_offer_in_another_replay_are_those_of_the_same_journey(log: EventLog) -> None:
    run = replay(loads(CART), log)
    scenario = run.program["cart"]
    gift = next(step for step in scenario.steps if step.id == "gift")
    at, due = offer_moments(run, "cart", "gift", opened_to_all(run, scenario, "control", gift))
    own_at, _ = offer_moments(run, "cart", "gift", run)
    known = own_at < own_at.max()
    assert (at[known] == own_at[known]).all()
    assert (at < at.max()).sum() > known.sum()
    assert (due <= at).all()
