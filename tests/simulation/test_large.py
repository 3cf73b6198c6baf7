"""Logs of any size straight to Parquet."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.simulation import generate_events


def test_a_large_log_has_exactly_the_rows_asked_for_in_several_pieces(tmp_path):
    path = generate_events(1_000_000, tmp_path / "large.parquet", customers=50_000, seed=3)
    file = pq.ParquetFile(path)
    assert file.metadata.num_rows == 1_000_000
    assert file.metadata.num_row_groups >= 2
    assert file.schema_arrow.names == ["customer_id", "event", "at", "received_at", "product_id", "value", "revenue"]
    table = file.read(columns=["customer_id", "event"])
    assert pc.count_distinct(table["customer_id"]).as_py() == pytest.approx(45_000, rel=0.15)
    counts = {row["values"]: row["counts"] for row in pc.value_counts(table["event"]).to_pylist()}
    assert counts["view"] > counts["cart_add"] > counts["purchase"] > 5_000


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    one = generate_events(5_000, tmp_path / "one.parquet", seed=3)
    two = generate_events(5_000, tmp_path / "two.parquet", seed=3)
    assert one.read_bytes() == two.read_bytes()


def test_a_large_log_opens_as_an_event_log(tmp_path):
    log = EventLog.from_parquet(generate_events(5_000, tmp_path / "log.parquet", seed=3))
    assert len(log) == 5_000


def test_purchases_follow_the_cart_of_the_same_customer(tmp_path):
    table = pq.read_table(generate_events(20_000, tmp_path / "log.parquet", seed=4)).to_pandas()
    carts = table[table["event"] == "cart_add"].groupby("customer_id")["at"].min()
    bought = table[table["event"] == "purchase"].groupby("customer_id")["at"].min()
    assert (carts.reindex(bought.index) < bought).all()


def test_nothing_is_left_behind_when_the_numbers_are_wrong(tmp_path):
    with pytest.raises(InputError, match="n_events: found 0"):
        generate_events(0, tmp_path / "none.parquet", seed=1)
    assert not list(tmp_path.iterdir())
