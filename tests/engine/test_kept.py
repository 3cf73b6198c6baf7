"""What is kept of a log for its next replay goes with the log, and old questions go before new ones."""

from __future__ import annotations

import gc
import weakref

import pandas as pd

from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import Program, loads


def shop() -> EventLog:
    at = pd.date_range("2024-05-01", periods=40, freq="h", tz="UTC")
    events = pd.DataFrame({"customer_id": ["ana", "bo"] * 20, "event": "cart_add", "at": at, "value": range(40)})
    return EventLog.from_pandas(events)


def cart(least: int, zone: str = "UTC") -> Program:
    return loads(f"""
timezone: {zone}
---
scenario: cart
trigger: {{event: cart_add, where: "value >= {least}"}}
reentry: every
steps: [{{wait: 1h}}, {{send: cart/reminder}}]
""")


def test_a_log_that_nobody_holds_takes_its_marked_events_along():
    run = replay(cart(3), shop())
    marked, prepared = weakref.ref(run.marked), weakref.ref(run.prepared)
    del run
    gc.collect()
    assert marked() is None
    assert prepared() is None


def test_the_same_question_is_prepared_once_and_each_zone_on_its_own():
    log = shop()
    first = replay(cart(3), log)
    assert replay(cart(3), log).prepared is first.prepared
    other = replay(cart(3, "Asia/Tokyo"), log)
    assert other.marked is first.marked
    assert other.prepared is not first.prepared
    assert replay(cart(3), log).prepared is first.prepared


def test_of_old_questions_nothing_is_left():
    log = shop()
    first = replay(cart(0), log)
    marked, prepared = weakref.ref(first.marked), weakref.ref(first.prepared)
    del first
    for least in range(1, 6):
        replay(cart(least), log)
    gc.collect()
    assert marked() is None
    assert prepared() is None
