"""A look at a run in one pass finds what the tables find."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.engine import measure, own_purchases, replay, sends_table, sweep
from toolkit.engine.glance import glance
from toolkit.engine.own_purchases import EDGES, opened_to_all
from toolkit.events import EventLog
from toolkit.scenario import Duration, Program, load, loads, set_parameters

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


def _same(found, own) -> None:
    assert (found.before, found.after, found.mails) == (own.before, own.after, own.mails)
    assert found.own.T.tolist() == own.counts()[["before", "after_mail", "after_offer"]].to_numpy().tolist()
    assert (found.offers, found.paid, found.lags) == (own.offers, pytest.approx(own.given), own.lags)


def test_a_glance_finds_the_mails_and_purchases_that_the_tables_find(log: EventLog) -> None:
    program: Program = loads("timezone: Europe/Paris\n---\n" + CART)
    run = replay(program, log)
    found = glance(program, log, "cart", gift="gift", valid=Duration.parse("3d"), edges=EDGES)
    table = sends_table(run)
    assert found.sent == len(table) > 0
    assert found.hours.sum(axis=0).tolist() == table["hour"].value_counts().reindex(range(24), fill_value=0).tolist()
    assert found.days.sum() == found.sent
    _same(found, own_purchases(run))


def test_the_holdout_comes_to_an_offer_that_only_another_arm_gets(log: EventLog) -> None:
    mailed = log.events.iloc[:1].assign(event="email_sent", scenario="cart", event_id="a mail")
    program = loads(CART)
    log = EventLog.from_pandas(pd.concat([log.events, mailed], ignore_index=True))
    gift = next(step for step in program["cart"].steps if step.id == "gift")
    opened = opened_to_all(program, program["cart"], "control", gift)
    found = glance(
        program, log, "cart", arm="control", gift="gift", opened=opened, valid=Duration.parse("3d"), edges=EDGES
    )
    own = own_purchases(replay(program, log))
    assert own.basis == "control"
    assert found.offers > 0
    assert (found.before, found.after, found.mails, found.offers) == (own.before, own.after, own.mails, own.offers)
    assert found.paid == pytest.approx(own.given)


def test_two_journeys_of_one_moment_come_each_to_an_offer_of_their_own(log: EventLog) -> None:
    events = log.events.assign(event_id=[f"e{row}" for row in range(len(log.events))])
    mailed = events.iloc[:1].assign(event="email_sent", scenario="cart", event_id="a mail")
    twice = events.query("event == 'cart_add'").assign(event_id=lambda frame: "again " + frame["event_id"])
    both = EventLog.from_pandas(pd.concat([events, twice, mailed], ignore_index=True))
    one = EventLog.from_pandas(pd.concat([events, mailed], ignore_index=True))
    program = loads(CART.replace("while_active: restart", "while_active: parallel"))
    single, double = (own_purchases(replay(program, each)) for each in (one, both))
    assert single.offers > 0
    assert (double.before, double.after, double.mails) == (2 * single.before, 2 * single.after, 2 * single.mails)
    assert (double.offers, double.given) == (2 * single.offers, pytest.approx(2 * single.given))
    phases = ["before", "after_mail", "after_offer"]
    assert double.counts()[phases].to_numpy().tolist() == (2 * single.counts()[phases].to_numpy()).tolist()


def test_a_glance_counts_entries_as_measure_does_and_a_sweep_own_purchases_as_a_glance() -> None:
    log, program = EventLog.open("data/shop"), load("templates/abandoned_cart")
    waits = ["1h", "4h", "1d", "3d"]
    tried = sweep(program, log, {"abandoned_cart.pause.wait": waits}, progress=False).table
    tried = tried.set_index("abandoned_cart.pause.wait")
    for wait in waits:
        setting = set_parameters(program, {"abandoned_cart.pause.wait": wait})
        run = replay(setting, log)
        found = glance(setting, log, "abandoned_cart", arm="control", gift="offer", edges=EDGES)
        outcomes = measure(run)
        control = outcomes[outcomes["arm"] == "control"]
        assert found.entered == run.journeys["customer_id"].nunique()
        assert (found.closed, found.converted) == (len(control), control["converted"].sum())
        row = tried.loc[wait]
        assert (row["own_before"], row["mailed"], row["own_after"]) == (found.before, found.mails, found.after)


def test_a_glance_at_some_customers_at_a_time_is_the_glance_at_all(log: EventLog, monkeypatch) -> None:
    whole = glance(loads(CART), log, "cart", gift="gift", edges=EDGES)
    monkeypatch.setattr("toolkit.engine.glance._CUSTOMERS", 7)
    parts = glance(loads(CART), log, "cart", gift="gift", edges=EDGES)
    for name in ("hours", "days", "own"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()
    assert (parts.entered, parts.closed, parts.converted) == (whole.entered, whole.closed, whole.converted)
    assert parts.entries == whole.entries
    assert (parts.mails, parts.offers) == (whole.mails, whole.offers)
    assert (parts.paid, parts.lags) == (pytest.approx(whole.paid), whole.lags)


def test_a_stored_log_is_looked_at_in_ranges_and_coupons_that_run_out_all_at_once(log, tmp_path, monkeypatch) -> None:
    log.save(tmp_path / "store")
    stored = EventLog.open(tmp_path / "store")
    whole = glance(loads(CART), log, "cart", gift="gift", edges=EDGES)
    few = loads("pools: {gifts: {size: 5}}\n---\n" + CART.replace("valid: 3d}", "valid: 3d, pool: gifts}"))
    emptied = glance(few, log, "cart", gift="gift", edges=EDGES)
    monkeypatch.setattr("toolkit.engine.glance.EVENTS_AT_ONCE", 50)
    ranges = glance(loads(CART), stored, "cart", gift="gift", edges=EDGES)
    assert ranges.days.tolist() == whole.days.tolist()
    assert (ranges.before, ranges.after, ranges.offers) == (whole.before, whole.after, whole.offers)
    again = glance(few, stored, "cart", gift="gift", edges=EDGES)
    assert again.sent == emptied.sent < whole.sent
