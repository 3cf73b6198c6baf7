"""Replay of one abandoned-cart scenario, beside a hand-written DuckDB query and pandas.merge_asof of the same rule."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import duckdb
import pandas as pd

from benchmarks.measuring import Result, compare
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads, set_parameters
from toolkit.simulation import generate_events

EVENTS = 10_000_000
CUSTOMERS = 500_000
CART = loads("""
scenario: abandoned_cart
trigger: {event: cart_add, where: "value >= 20"}
reentry: every
while_active: restart
exit_on: [{event: purchase}]
steps: [{wait: 4h}, {send: abandoned_cart/reminder}]
""")

# The peers know nothing of consent and bounces; without consent our rule is theirs, and must find the same mails.
SAME_RULE = set_parameters(CART, {"abandoned_cart.class": "transactional"})

QUERY = """
WITH carts AS (
  SELECT customer_id, received, greatest(happened + INTERVAL 4 HOUR, received) AS due
  FROM events WHERE event = 'cart_add' AND value >= 20 AND received - happened <= INTERVAL 72 HOUR
), stops AS (
  SELECT customer_id, received FROM events
  WHERE event = 'purchase'
     OR (event = 'cart_add' AND value >= 20 AND received - happened <= INTERVAL 72 HOUR)
)
SELECT c.customer_id, c.due
FROM carts c ASOF LEFT JOIN stops s ON c.customer_id = s.customer_id AND c.received < s.received
WHERE (s.received IS NULL OR s.received > c.due) AND c.due <= (SELECT max(received) FROM events)
"""


@lru_cache(maxsize=1)
def large_log() -> Path:
    """The generated log: 10 million events of half a million customers, in Parquet, sorted neither way."""
    folder = Path(tempfile.gettempdir()) / "trigger-toolkit-bench"
    folder.mkdir(exist_ok=True)
    path = folder / f"events-{EVENTS}-{CUSTOMERS}.parquet"
    if not path.exists():
        generate_events(EVENTS, path, customers=CUSTOMERS, seed=1)
    return path


def _database(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        'CREATE TABLE events AS SELECT customer_id, event, "at" AS happened, received_at AS received, value '
        f"FROM '{path}'"
    )
    return connection


def _asof(connection: duckdb.DuckDBPyConnection) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM ({QUERY})").fetchall()
    return int(count)


def _merge_asof(events: pd.DataFrame) -> int:
    is_cart = (
        (events["event"] == "cart_add")
        & (events["value"] >= 20)
        & (events["received"] - events["happened"] <= pd.Timedelta(hours=72))
    )
    carts = events.loc[is_cart, ["customer_id", "happened", "received"]].sort_values("received")
    stops = events.loc[is_cart | (events["event"] == "purchase"), ["customer_id", "received"]]
    stops = stops.rename(columns={"received": "stop"}).sort_values("stop")
    joined = pd.merge_asof(
        carts,
        stops,
        left_on="received",
        right_on="stop",
        by="customer_id",
        direction="forward",
        allow_exact_matches=False,
    )
    due = (joined["happened"] + pd.Timedelta(hours=4)).clip(lower=joined["received"])
    return int(((joined["stop"].isna() | (joined["stop"] > due)) & (due <= events["received"].max())).sum())


def replay_prepared() -> Iterator[Result]:
    """The log read, marked and sorted before; beside both peers with their data in memory."""
    path = large_log()
    log = EventLog.from_parquet(path)
    connection = _database(path)
    frame = connection.sql("FROM events").to_arrow_table().to_pandas()
    found = (len(replay(SAME_RULE, log).walked.decisions), _asof(connection), _merge_asof(frame))
    if len(set(found)) != 1:
        raise RuntimeError(f"the three ways to find the mails disagree: {found}")
    replay(CART, log)
    size = f"{EVENTS:,} events, {CUSTOMERS:,} customers"
    yield compare(
        "replay_prepared_vs_duckdb",
        size,
        ours=lambda: replay(CART, log),
        peer="DuckDB ASOF join, table in memory",
        theirs=lambda: _asof(connection),
        mails=found[0],
    )
    yield compare(
        "replay_prepared_vs_pandas",
        size,
        ours=lambda: replay(CART, log),
        peer="pandas.merge_asof, frame in memory",
        theirs=lambda: _merge_asof(frame),
        runs=3,
        mails=found[0],
    )


def replay_first() -> Iterator[Result]:
    """From an unsorted Parquet file, everything included; the peer has its table in memory."""
    path = large_log()
    connection = _database(path)
    yield compare(
        "replay_first_vs_duckdb",
        f"{EVENTS:,} events, {CUSTOMERS:,} customers",
        ours=lambda: replay(CART, EventLog.from_parquet(path)),
        peer="DuckDB ASOF join, table in memory",
        theirs=lambda: _asof(connection),
        runs=3,
    )
