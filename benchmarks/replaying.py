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
from toolkit.scenario import loads
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

QUERY = """
SELECT c.customer_id, c.happened + INTERVAL 4 HOUR AS sent
FROM carts c ASOF LEFT JOIN stops s ON c.customer_id = s.customer_id AND c.happened < s.happened
WHERE (s.happened IS NULL OR s.happened > c.happened + INTERVAL 4 HOUR) AND c.happened + INTERVAL 4 HOUR <= (SELECT max(happened) FROM events)
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
    connection.execute(f"CREATE TABLE events AS SELECT customer_id, event, received_at AS happened, value FROM '{path}'")
    return connection


def _asof(connection: duckdb.DuckDBPyConnection) -> int:
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW carts AS SELECT * FROM events WHERE event = 'cart_add' AND value >= 20"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW stops AS SELECT customer_id, happened FROM events "
        "WHERE event = 'purchase' OR (event = 'cart_add' AND value >= 20)"
    )
    (row,) = connection.execute(f"SELECT count(*) FROM ({QUERY})").fetchall()
    return int(row[0])


def _merge_asof(carts: pd.DataFrame, stops: pd.DataFrame, last: pd.Timestamp) -> int:
    joined = pd.merge_asof(
        carts, stops, left_on="at", right_on="stop", by="customer", direction="forward", allow_exact_matches=False
    )
    due = joined["at"] + pd.Timedelta(hours=4)
    return int(((joined["stop"].isna() | (joined["stop"] > due)) & (due <= last)).sum())


def replay_prepared() -> Iterator[Result]:
    """The log read, marked and sorted before; beside both peers with their data in memory."""
    path = large_log()
    log = EventLog.from_parquet(path)
    run = replay(CART, log)
    sent = len(run.walked.decisions)
    connection = _database(path)
    queried = _asof(connection)
    size = f"{EVENTS:,} events, {CUSTOMERS:,} customers"
    more = {"mails": sent, "peer_mails": queried}
    yield compare(
        "replay_prepared_vs_duckdb", size, ours=lambda: replay(CART, log), peer="DuckDB ASOF join, table in memory",
        theirs=lambda: _asof(connection), **more,
    )  # fmt: skip
    frame = connection.sql("SELECT customer_id, event, happened AS \"at\", value FROM events").to_arrow_table().to_pandas()
    frame["customer"] = frame["customer_id"].astype("category").cat.codes
    frame = frame.sort_values("at", kind="stable")
    is_cart = (frame["event"] == "cart_add") & (frame["value"] >= 20)
    carts = frame.loc[is_cart, ["customer", "at"]]
    stops = frame.loc[is_cart | (frame["event"] == "purchase"), ["customer", "at"]].rename(columns={"at": "stop"})
    last = frame["at"].max()
    yield compare(
        "replay_prepared_vs_pandas", size, ours=lambda: replay(CART, log),
        peer="pandas.merge_asof, frames filtered, sorted and coded before",
        theirs=lambda: _merge_asof(carts, stops, last), runs=3, mails=sent, peer_mails=_merge_asof(carts, stops, last),
    )  # fmt: skip


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
