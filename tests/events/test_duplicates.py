"""Every event counts once (rule R24)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.events import EventLog


def events_with_ids(rows):
    frame = pd.DataFrame(rows, columns=["event_id", "received_at", "value"])
    frame["customer_id"], frame["event"] = "a", "x"
    frame["at"] = pd.to_datetime(["2024-01-01"] * len(frame), utc=True)
    frame["received_at"] = pd.to_datetime(frame["received_at"], utc=True)
    return frame


def from_frame(frame, tmp_path):
    return EventLog.from_pandas(frame)


def from_file(frame, tmp_path):
    frame.to_parquet(tmp_path / "log.parquet", index=False)
    return EventLog.from_parquet(tmp_path / "log.parquet")


@pytest.mark.parametrize("read", [from_frame, from_file])
class TestGivenIds:
    def test_r24_the_same_id_and_payload_counts_once_whenever_it_was_received(self, read, tmp_path):
        rows = [("e1", "2024-01-03", 1.0), ("e1", "2024-01-02", 1.0), ("e2", "2024-01-02", 1.0)]
        log = read(events_with_ids(rows), tmp_path)
        assert len(log) == 2
        assert sorted(log.events["event_id"]) == ["e1", "e2"]
        assert log.events["received_at"].max() == pd.Timestamp("2024-01-02", tz="UTC")
        assert log.quarantine.empty
        assert any(note.startswith("1 repetition of an event") for note in log.notes)

    def test_r24_the_same_id_with_another_payload_goes_to_quarantine_and_the_first_received_counts(
        self, read, tmp_path
    ):
        rows = [("e1", "2024-01-04", 3.0), ("e1", "2024-01-02", 1.0), ("e1", "2024-01-03", 1.0)]
        log = read(events_with_ids(rows), tmp_path)
        assert list(log.events["value"]) == [1.0]
        assert list(log.quarantine["value"]) == [3.0]
        assert list(log.quarantine.columns) == list(log.events.columns)
        assert any(note.startswith("1 event with the event_id of another") for note in log.notes)

    def test_r24_the_engine_sees_each_id_once_too(self, read, tmp_path):
        log = read(events_with_ids([("e1", "2024-01-04", 3.0), ("e1", "2024-01-02", 1.0)]), tmp_path)
        rows = log.cursor().execute(f"SELECT event_id, value, row FROM {log.relation}").fetchall()
        assert rows == [("e1", 1.0, 1)]
        assert log.event_ids([1]) == ["e1"]

    def test_an_event_without_an_id_among_others_gets_a_hash(self, read, tmp_path):
        log = read(events_with_ids([("e1", "2024-01-02", 1.0), (None, "2024-01-02", 2.0)]), tmp_path)
        ids = list(log.events["event_id"])
        assert ids[0] == "e1"
        assert len(ids[1]) == 32
        assert log.event_ids([0, 1]) == ids

    def test_a_missing_property_is_the_same_payload_as_an_absent_one(self, read, tmp_path):
        log = read(events_with_ids([("e1", "2024-01-02", np.nan), ("e1", "2024-01-03", None)]), tmp_path)
        assert len(log) == 1
        assert log.quarantine.empty


def test_numeric_event_ids_are_ids_too():
    log = EventLog.from_pandas(events_with_ids([(7, "2024-01-02", 1.0), (7, "2024-01-02", 1.0)]))
    assert list(log.events["event_id"]) == ["7"]


@pytest.mark.parametrize("read", [from_frame, from_file])
def test_rows_that_differ_in_anything_are_different_events(read, tmp_path):
    frame = events_with_ids([("", "2024-01-02", 1.0), ("", "2024-01-02", None), ("", "2024-01-03", 1.0)])
    log = read(frame.drop(columns="event_id"), tmp_path)
    assert len(log) == 3
    assert len(set(log.event_ids([0, 1, 2]))) == 3


@pytest.mark.parametrize("read", [from_frame, from_file])
def test_exact_repetitions_without_ids_count_once_and_share_their_hash(read, tmp_path):
    frame = events_with_ids([("", "2024-01-02", 1.0)] * 3 + [("", "2024-01-02", 2.0)]).drop(columns="event_id")
    log = read(frame, tmp_path)
    assert log.event_counts == {"x": 2}
    assert len(log.events) == 2
    assert "2 exact repetitions of a row left out: each counts once" in log.notes
    held = [row for (row,) in log.cursor().execute(f"SELECT row FROM {log.relation} ORDER BY row").fetchall()]
    assert len(set(log.event_ids(held))) == 2


def test_the_hash_of_an_event_does_not_depend_on_the_order_or_number_of_columns():
    frame = pd.DataFrame({"customer_id": ["a"], "event": ["x"], "at": ["2024-01-01"], "b": [2], "a": ["t"]})
    wider = frame[["a", "at", "b", "event", "customer_id"]].assign(b=2.0, c=None)
    assert EventLog.from_pandas(frame, zone="UTC").event_ids([0]) == EventLog.from_pandas(wider, zone="UTC").event_ids(
        [0]
    )


def test_the_hash_tells_separators_in_values_from_separators_between_them():
    base = {"customer_id": ["a"], "event": ["x"], "at": ["2024-01-01"]}
    first = EventLog.from_pandas(pd.DataFrame({**base, "p": ['1","q="2']}), zone="UTC")
    second = EventLog.from_pandas(pd.DataFrame({**base, "p": ["1"], "q": ["2"]}), zone="UTC")
    assert first.event_ids([0]) != second.event_ids([0])


@pytest.mark.parametrize("at_once", [2, 1000])
def test_repetitions_are_found_in_a_log_that_is_looked_through_part_by_part(monkeypatch, at_once):
    monkeypatch.setattr("toolkit.events.duplicates._AT_ONCE", at_once)
    who = [*"abcdefg", *"abca"]
    log = EventLog.from_pandas(
        pd.DataFrame({"customer_id": who, "event": "x", "at": pd.Timestamp("2025-01-01", tz="UTC")})
    )
    assert sorted(log.events["customer_id"]) == [*"abcdefg"]
    assert "4 exact repetitions of a row left out: each counts once" in log.notes
