"""Replay of three scenarios with a cap and quiet hours, beside a hand-written DuckDB query and pandas.merge_asof of one
scenario without either."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from benchmarks.measuring import Bound, Result, best_of, compare
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.events.storage import FORMAT
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

# What is measured: three scenarios that share a limit and quiet hours. The peers do the first of them, without either.
THREE = loads("""
quiet: {from: "22:00", to: "08:00", spread: 30m}
caps: [{limit: 3, per: 7d}]
---
scenario: abandoned_cart
priority: 60
trigger: {event: cart_add, where: "value >= 20"}
reentry: every
while_active: restart
exit_on: [{event: purchase}]
steps: [{id: pause, wait: 4h}, {id: reminder, send: abandoned_cart/reminder}]
---
scenario: welcome
priority: 40
trigger: {event: sign_up}
reentry: once
exit_on: [{event: purchase}]
steps:
  - {id: pause, wait: 1h}
  - {id: hello, send: welcome/hello}
  - {id: second_pause, wait: 3d}
  - {id: tour, send: welcome/tour}
---
scenario: review
priority: 20
trigger: {event: order_delivered}
reentry: {after: 30d, from: entry}
steps: [{id: pause, wait: 7d}, {id: ask, send: review/ask}]
""")

# The peers know nothing of consent and bounces; without consent our rule is theirs, and must find the same mails.
SAME_RULE = set_parameters(CART, {"abandoned_cart.class": "transactional"})

# Beside the join itself it takes three clauses for the same mails: of two carts of one instant the later one goes on
# alone, and a cart heard of only after the purchase that came of it begins nothing (R4), nor ends anything.
QUERY = """
WITH every_cart AS (
  SELECT customer_id, received, max(happened) AS happened FROM events
  WHERE event = 'cart_add' AND value >= 20 AND received - happened <= INTERVAL 72 HOUR
  GROUP BY customer_id, received
), purchases AS (
  SELECT customer_id, happened, received FROM events WHERE event = 'purchase'
), too_late AS (
  SELECT DISTINCT customer_id, c.received FROM every_cart c JOIN purchases p USING (customer_id)
  WHERE c.received > c.happened AND p.happened > c.happened AND p.received <= c.received
), carts AS (
  SELECT customer_id, received, greatest(happened + INTERVAL 4 HOUR, received) AS due
  FROM every_cart ANTI JOIN too_late USING (customer_id, received)
), stops AS (
  SELECT customer_id, received FROM purchases UNION ALL SELECT customer_id, received FROM carts
)
SELECT c.customer_id, c.due
FROM carts c ASOF LEFT JOIN stops s ON c.customer_id = s.customer_id AND c.received < s.received
WHERE (s.received IS NULL OR s.received > c.due) AND c.due <= (SELECT max(received) FROM events)
"""

# The join without these clauses finds a few mails too many; what it takes is told beside.
JOIN_ALONE = """
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


@lru_cache(maxsize=1)
def large_store() -> Path:
    """The generated log in its own store."""
    store = large_log().with_suffix(".store")
    manifest = store / "manifest.json"
    if not manifest.exists() or json.loads(manifest.read_text(encoding="utf-8"))["format"] != FORMAT:
        EventLog.from_parquet(large_log()).save(store)
    return store


def _database(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        'CREATE TABLE events AS SELECT customer_id, event, "at" AS happened, received_at AS received, value '
        f"FROM '{path}'"
    )
    return connection


def _asof(connection: duckdb.DuckDBPyConnection, query: str = QUERY) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM ({query})").fetchall()
    return int(count)


def _merge_asof(events: pd.DataFrame) -> int:
    is_cart = (
        (events["event"] == "cart_add")
        & (events["value"] >= 20)
        & (events["received"] - events["happened"] <= pd.Timedelta(hours=72))
    )
    carts = events.loc[is_cart, ["customer_id", "happened", "received"]].sort_values("received")
    purchases = events.loc[events["event"] == "purchase", ["customer_id", "happened", "received"]]
    # Few carts share an instant or are heard of late; only those are looked at for the clauses of the query above.
    same = carts["received"].eq(carts["received"].shift()) | carts["received"].eq(carts["received"].shift(-1))
    twice = carts[same].sort_values("happened").duplicated(["customer_id", "received"], keep="last")
    carts = carts.drop(twice.index[twice])
    late = carts[carts["received"] > carts["happened"]].reset_index()
    late = late.merge(purchases[purchases["customer_id"].isin(late["customer_id"])], on="customer_id")
    bought = (late["happened_y"] > late["happened_x"]) & (late["received_y"] <= late["received_x"])
    carts = carts.drop(late.loc[bought, "index"].unique())
    stops = pd.concat([carts, purchases])[["customer_id", "received"]]
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


def mails_found(path: Path) -> tuple[int, int, int]:
    """How many mails of one scenario the engine, DuckDB and pandas find in a generated log."""
    connection = _database(path)
    frame = connection.sql("FROM events").to_arrow_table().to_pandas()
    return len(replay(SAME_RULE, EventLog.from_parquet(path)).walked.decisions), _asof(connection), _merge_asof(frame)


def _size() -> str:
    return f"{EVENTS:,} events, {CUSTOMERS:,} customers, three scenarios"


_PEER = "one scenario, no limits, data in memory"


def replay_prepared() -> Iterator[Result]:
    """The log read, marked and sorted before; beside both peers with their data in memory."""
    path = large_log()
    found = mails_found(path)
    if len(set(found)) != 1:
        raise RuntimeError(f"the three ways to find the mails of one scenario disagree: {found}")
    log = EventLog.from_parquet(path)
    connection = _database(path)
    frame = connection.sql("FROM events").to_arrow_table().to_pandas()
    run = replay(THREE, log)
    counts = {"mails_of_one": found[0], "decisions_of_three": len(run.walked.decisions)}
    alone = best_of(3, lambda: _asof(connection, JOIN_ALONE))
    yield compare(
        "replay_prepared_vs_duckdb",
        _size(),
        ours=lambda: replay(THREE, log),
        peer=f"a DuckDB ASOF join: {_PEER}",
        theirs=lambda: _asof(connection),
        at_most=0.2,
        about="three scenarios with a limit and quiet hours, the log prepared",
        peer_join_alone_s=round(alone, 4),
        **counts,
    )
    yield compare(
        "replay_prepared_vs_pandas",
        _size(),
        ours=lambda: replay(THREE, log),
        peer=f"pandas.merge_asof: {_PEER}",
        theirs=lambda: _merge_asof(frame),
        runs=3,
        at_most=0.05,
        about="three scenarios with a limit and quiet hours, the log prepared",
        **counts,
    )


def replay_first() -> Iterator[Result]:
    """From an unsorted Parquet file, everything included; the peer has its table in memory."""
    path = large_log()
    connection = _database(path)
    yield compare(
        "replay_first_vs_duckdb",
        _size(),
        ours=lambda: replay(THREE, EventLog.from_parquet(path)),
        peer=f"a DuckDB ASOF join: {_PEER}",
        theirs=lambda: _asof(connection),
        runs=3,
        at_most=2.0,
        about="from an unsorted Parquet file: reading, sorting and deciding",
    )


def replay_stored() -> Iterator[Result]:
    """From the log's own store, everything included; the peer has its table in memory."""
    path, store = large_log(), large_store()
    connection = _database(path)
    if replay(THREE, EventLog.open(store)).digest != replay(THREE, EventLog.from_parquet(path)).digest:
        raise RuntimeError("the store and the file it was made of give different mails")
    yield compare(
        "replay_stored_vs_duckdb",
        _size(),
        ours=lambda: replay(THREE, EventLog.open(store)),
        peer=f"a DuckDB ASOF join: {_PEER}",
        theirs=lambda: _asof(connection),
        runs=3,
        at_most=0.4,
        about="from a stored log: opening, reading and deciding",
    )


def trace() -> Iterator[Result]:
    """One customer's timeline in a run over the large log, from the store and from the unsorted file."""
    for name, log in (
        ("trace_stored", EventLog.open(large_store())),
        ("trace_unsorted", EventLog.from_parquet(large_log())),
    ):
        run = replay(THREE, log)
        start = time.perf_counter()
        run.trace(run.marked.customers[0].as_py())
        first = time.perf_counter() - start
        times = []
        for place in np.linspace(0, len(run.marked.customers) - 1, 60).astype(int):
            start = time.perf_counter()
            run.trace(run.marked.customers[int(place)].as_py())
            times.append(time.perf_counter() - start)
        p50, p95 = np.percentile(times, [50, 95])
        more = {"p50_ms": round(p50 * 1e3, 2), "p95_ms": round(p95 * 1e3, 2), "first_ms": round(first * 1e3, 2)}
        about = "one customer's timeline; the first one of a run included as first_ms"
        yield Result(name, _size(), float(p50), more=more, bounds=(Bound("p95_ms", at_most=50.0),), about=about)
