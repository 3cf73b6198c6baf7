"""Marked events stand in the order of the kernel, whichever way they were read and on however many threads."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from toolkit.engine.marked import Marked, mark
from toolkit.engine.sorting import Events, sorted_events
from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.events.contents import Contents
from toolkit.events.marks import Mark, Marking, marked_events, stored_events

NAMES = ("view", "cart_add", "purchase", "sign_up", "email_unsubscribed", "email_subscribed")
FEW = Marking(
    (
        Mark("cart_add", "value >= 20"),
        Mark("cart_add"),
        Mark("purchase"),
        Mark("sign_up", "product_id = 'p3' OR value IS NULL"),
        Mark("email_unsubscribed"),
        Mark("email_subscribed"),
        Mark("nobody_does_this"),
    ),
    attributes=("COALESCE(consent, FALSE)", "TRUE"),
)
MANY = Marking((*(Mark("cart_add", f"value >= {least}") for least in range(40)), Mark("purchase")))
PLAIN = Marking((Mark("purchase"), Mark("sign_up")))


@pytest.fixture(scope="module")
def events():
    chance = np.random.default_rng(8)
    count = 6_000
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in chance.integers(0, 200, count)],
            "event": chance.choice(NAMES, count, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05]),
            "at": pd.Timestamp("2024-05-01", tz="UTC") + pd.to_timedelta(chance.integers(0, 300, count), unit="h"),
            "value": np.where(chance.random(count) < 0.1, np.nan, chance.integers(0, 60, count)),
            "product_id": [f"p{number}" for number in chance.integers(0, 9, count)],
        }
    )
    late = np.where(chance.random(count) < 0.1, chance.integers(0, 90, count), 0)
    return frame.assign(received_at=frame["at"] + pd.to_timedelta(late, unit="h")).drop_duplicates()


def assert_same(one: Marked, other: Marked) -> None:
    for name in (name for name in Marked.__slots__ if not name.startswith("__")):
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
        else:
            assert mine.equals(theirs) if isinstance(mine, pa.Array) else mine == theirs, name


@pytest.mark.parametrize("marking", [FEW, MANY, PLAIN], ids=["few", "many", "no condition"])
@pytest.mark.parametrize("late", [True, False])
def test_a_store_read_column_by_column_gives_what_the_database_gives(events, marking, late, tmp_path, monkeypatch):
    given = events if late else events.drop(columns="received_at")
    EventLog.from_pandas(given).save(tmp_path / "store")
    opened = EventLog.open(tmp_path / "store")
    assert stored_events(opened, marking) is not None
    by_columns = mark(opened, marking)
    monkeypatch.setattr(Contents, "whole_file", None)
    again = EventLog.open(tmp_path / "store")
    assert stored_events(again, marking) is None
    by_database = mark(again, marking)
    assert len(by_columns) == marked_events(again, marking).num_rows > 500
    assert_same(by_columns, by_database)


def test_only_a_whole_store_of_which_bits_are_asked_is_read_column_by_column(events, tmp_path):
    log = EventLog.from_pandas(events)
    assert stored_events(log, FEW) is None
    log.save(tmp_path / "store")
    opened = EventLog.open(tmp_path / "store")
    assert stored_events(opened, Marking(FEW.marks, keys=("product_id",))) is None
    assert stored_events(opened.within(opened.ranges(events=2_000)[1]), FEW) is None
    assert stored_events(opened.compacted(["purchase"]), PLAIN) is None


def test_a_store_that_is_gone_is_named(events, tmp_path):
    EventLog.from_pandas(events).save(tmp_path / "store")
    opened = EventLog.open(tmp_path / "store")
    (tmp_path / "store" / "events.parquet").unlink()
    with pytest.raises(EventLogError, match=r"events\.parquet"):
        mark(opened, PLAIN)
    with pytest.raises(EventLogError, match=r"events\.parquet"):
        mark(opened, FEW)


@pytest.mark.parametrize("customers", [1, 3, 2_500])
def test_events_are_sorted_by_customer_and_times_and_else_stay_as_read(customers):
    chance = np.random.default_rng(customers)
    count = 5_000
    customer = chance.integers(7, 7 + customers, count).astype(np.int32)
    received = chance.integers(0, 40, count)
    at = received - chance.integers(0, 3, count)
    bits = chance.integers(0, 3, count)
    row = chance.permutation(count)
    cuts = [0, 10, 10, 3_000, count]
    pieces = [
        Events(customer[a:b], received[a:b], at[a:b], row[a:b], 0, bits[a:b]) for a, b in itertools.pairwise(cuts)
    ]
    for all_of_them in (True, False):
        found = sorted_events(pieces, 7, 7 + customers, with_order=True, all_of_them=all_of_them)
        chosen = np.arange(count) if all_of_them else np.flatnonzero(bits)
        order = chosen[np.lexsort((chosen, at[chosen], received[chosen], customer[chosen]))]
        np.testing.assert_array_equal(found.order, order)
        for name, values in (("received", received), ("at", at), ("row", row), ("bits", bits)):
            np.testing.assert_array_equal(getattr(found, name), values[order])
        np.testing.assert_array_equal(np.diff(found.starts), np.bincount(customer[order] - 7, minlength=customers))
        keys = np.stack([customer[order], received[order], at[order]])
        same = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
        np.testing.assert_array_equal(found.tied, np.append(same, False) | np.append(False, same))


def test_rows_that_follow_one_another_are_counted_from_the_first():
    times = np.array([5, 3], dtype=np.int64)
    none = np.empty(0, dtype=np.int64)
    piece = Events(np.zeros(2, dtype=np.int32), times, times, none, 100, np.ones(2, dtype=np.uint8))
    found = sorted_events([piece], 0, 1, with_order=False, all_of_them=False)
    assert found.row.tolist() == [101, 100]
    assert found.received.tolist() == [3, 5]
