"""Replay on real logs agrees, row for row, with the same rule computed another way."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from tests.shared import shared
from toolkit.engine import measure, replay
from toolkit.events import EventLog
from toolkit.scenario import loads

CART = """
scenario: abandoned_cart
trigger: {{event: cart_added}}
reentry: every
while_active: restart
exit_on: [{{event: purchase}}]
goal: {{event: purchase, within: 7d}}
steps:
  - {{id: pause, wait: {wait}}}
  - {{id: reminder, send: abandoned_cart/reminder}}
"""


def _carts(wait: str, hours: int) -> pd.DataFrame:
    """A mail goes so many hours after each cart_added, unless the customer adds again or buys within them."""
    path = shared("retailrocket_sample/eventlog.parquet")
    with duckdb.connect() as connection:
        return connection.execute(
            f"""
            WITH log AS (
              SELECT customer_id, event, timestamp AS happened, row_number() OVER () AS place
              FROM (SELECT DISTINCT * FROM '{path}') WHERE event IN ('cart_added', 'purchase')
            ), following AS (
              SELECT *, min(happened) OVER (PARTITION BY customer_id ORDER BY happened, place
                        ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS next_one
              FROM log
            )
            SELECT customer_id, CAST(happened AS TIMESTAMP) + INTERVAL {hours} HOUR AS sent
            FROM following, (SELECT max(timestamp) AS stop FROM '{path}')
            WHERE event = 'cart_added' AND happened + INTERVAL {hours} HOUR <= stop
              AND (next_one IS NULL OR next_one > happened + INTERVAL {hours} HOUR)
            ORDER BY sent, customer_id
            """
        ).df()


@pytest.mark.parametrize(("wait", "hours"), [("1h", 1), ("4h", 4), ("24h", 24), ("7d", 168)])
def test_abandoned_carts_of_retailrocket_are_those_of_a_window_query(wait: str, hours: int) -> None:
    log = EventLog.from_parquet(shared("retailrocket_sample/eventlog.parquet"), columns={"at": "timestamp"}, zone="UTC")
    run = replay(loads(CART.format(wait=wait)), log)
    got = run.decisions[["customer_id", "at"]].sort_values(["at", "customer_id"])
    want = _carts(wait, hours)
    assert len(want) > 80
    assert list(got["customer_id"]) == list(want["customer_id"].astype(str))
    assert list(got["at"].dt.tz_localize(None)) == list(want["sent"])
    assert set(run.decisions["status"]) == {"send"}


def test_welcome_after_the_first_order_of_online_retail_goes_to_each_customer_once() -> None:
    log = EventLog.from_parquet(
        shared("online_retail/eventlog.parquet"), columns={"at": "timestamp"}, zone="Europe/London"
    )
    name = next(iter(log.event_counts))
    scenario = loads(f"""
scenario: welcome
trigger: {{event: {name}}}
reentry: once
steps: [{{wait: 1d}}, {{send: welcome/first}}]
""")
    run = replay(scenario, log)
    events = log.events
    first = events[events["event"] == name].groupby("customer_id")["at"].min()
    local = first.dt.tz_convert("Europe/London")
    # The program's zone is UTC and no customer has a zone of their own, so a day is 24 hours here.
    assert len(local) == len(run.journeys)
    due = first + pd.Timedelta(days=1)
    got = run.decisions.set_index("customer_id")["at"]
    want = due[due <= run.until]
    assert got.sort_index().equals(want.sort_index().rename("at").astype(got.dtype))


def test_order_status_of_olist_is_one_journey_per_order() -> None:
    log = EventLog.from_parquet(
        shared("olist_sample/eventlog.parquet"), columns={"at": "timestamp"}, zone="America/Sao_Paulo"
    )
    shipped = next(name for name in log.event_counts if "shipped" in name)
    scenario = loads(f"""
scenario: order_status
class: transactional
trigger: {{event: {shipped}}}
key: order_id
reentry: once
steps: [{{send: order_status/shipped}}]
""")
    run = replay(scenario, log)
    events = log.events
    orders = events.loc[events["event"] == shipped, ["customer_id", "order_id", "at"]].drop_duplicates(
        ["customer_id", "order_id"]
    )
    assert len(run.decisions) == len(orders)
    assert set(run.journeys["key"]) == set(orders["order_id"])


def test_reactivation_of_cdnow_falls_due_after_each_silence() -> None:
    log = EventLog.from_parquet(shared("cdnow/eventlog.parquet"), columns={"at": "timestamp"}, zone="UTC")
    name = next(iter(log.event_counts))
    scenario = loads(f"""
scenario: reactivation
trigger: {{inactive: {name}, for: 90d}}
reentry: every
goal: {{event: {name}, within: 30d}}
steps: [{{send: reactivation/miss_you}}]
""")
    run = replay(scenario, log)
    events = log.events.drop_duplicates(["customer_id", "at"]).sort_values(["customer_id", "at"])
    following = events.groupby("customer_id")["at"].shift(-1)
    due = events["at"] + pd.Timedelta(days=90)
    # A purchase on the ninetieth day itself is in time: it is known before the silence falls due.
    lapsed = due[((following > due) | following.isna()) & (due <= run.until)]
    assert len(run.decisions) == len(lapsed) > 1000
    assert list(run.decisions["at"]) == sorted(lapsed)
    outcomes = measure(run)
    assert outcomes["reactivated"].mean() == pytest.approx(outcomes["converted"].mean())
    assert outcomes.attrs["toolkit"]["randomised"] is False
