"""A log stored as a folder and opened again."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import EventLogError
from toolkit.events import EventLog


@pytest.fixture
def log():
    events = pd.DataFrame(
        {
            "customer_id": ["bo", "ana", "ana", "bo", "ana"],
            "event": ["view", "purchase", "view", "view", "view"],
            "at": ["2024-05-02 18:30", "2024-05-01 09:20", "2024-05-01 09:00", "2024-05-02 18:30", "2024-04-01 10:00"],
            "received_at": ["2024-05-02 18:30", "2024-05-03", "2024-05-01 09:00", "2024-05-02 18:30", None],
            "revenue": [None, 20.0, None, None, None],
            "ok": [True, None, False, True, None],
            "due": pd.to_datetime(["2024-05-02 18:30Z", None, None, "2024-05-02 18:30Z", None]),
            "note": ["é \"q\" 'x'", None, "", "é \"q\" 'x'", "🙂"],
        }
    )
    customers = pd.DataFrame({"customer_id": ["ana", "cy"], "birthday": ["1990-05-04", None], "consent": ["yes", None]})
    return EventLog.from_pandas(events, customers=customers, zone="Europe/Paris")


def in_order(events):
    return events.sort_values(list(events.columns[:4]), ignore_index=True)


def test_what_is_saved_is_what_is_opened(log, tmp_path):
    log.save(tmp_path / "shop")
    opened = EventLog.open(tmp_path / "shop")
    pd.testing.assert_frame_equal(in_order(opened.events), in_order(log.events))
    assert opened.customer_table == log.customer_table
    assert opened.properties == log.properties
    assert opened.attributes == log.attributes
    assert opened.event_counts == log.event_counts
    assert opened.span == log.span
    assert opened.notes == log.notes
    assert len(opened) == len(log) == 4
    assert opened.stored
    assert not log.stored


def test_events_keep_their_hash_through_the_store(log, tmp_path):
    log.save(tmp_path / "shop")
    opened = EventLog.open(tmp_path / "shop")
    ids = []
    for each in (log, opened):
        rows = [row for (row,) in each.cursor().execute(f"SELECT row FROM {each.relation}").fetchall()]
        ids.append(sorted(each.event_ids(rows)))
    assert ids[0] == ids[1]


def test_a_stored_log_is_sorted_by_customer_and_time_in_row_order(log, tmp_path):
    log.save(tmp_path / "shop")
    opened = EventLog.open(tmp_path / "shop")
    rows = (
        opened.cursor().execute(f'SELECT customer_id, received_at, "at" FROM {opened.relation} ORDER BY row').fetchall()
    )
    assert rows == sorted(rows)
    assert [row[0] for row in rows] == ["ana", "ana", "ana", "bo"]


def test_other_programs_read_the_same_instants(log, tmp_path):
    log.save(tmp_path / "shop")
    stored = pd.read_parquet(tmp_path / "shop" / "events.parquet")
    assert str(stored["at"].dtype.tz) == "UTC"
    read = EventLog.from_pandas(stored.drop(columns="toolkit_customer"))
    pd.testing.assert_frame_equal(in_order(read.events), in_order(log.events))


def test_an_empty_received_at_in_the_file_says_that_an_event_was_received_at_once(log, tmp_path):
    log.save(tmp_path / "shop")
    stored = pd.read_parquet(tmp_path / "shop" / "events.parquet")
    late = log.events["received_at"] > log.events["at"]
    assert 0 < stored["received_at"].notna().sum() == late.sum() < len(stored)


def test_customers_are_numbered_in_the_order_of_their_names(log, tmp_path):
    log.save(tmp_path / "shop")
    opened = EventLog.open(tmp_path / "shop")
    stored = pd.read_parquet(tmp_path / "shop" / "events.parquet")
    assert opened.numbered_customers.to_pylist() == ["ana", "bo"]
    assert stored["toolkit_customer"].tolist() == [0, 0, 0, 1]
    assert log.numbered_customers is None


def test_events_that_fill_parts_of_the_file_stand_apart_and_a_program_reads_past_them(tmp_path):
    count = 210_000
    at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(count + 3), unit="s")
    names = ["view"] * count + ["purchase"] * 3
    customers = [f"c{place % 700:03}" for place in range(count + 3)]
    log = EventLog.from_pandas(pd.DataFrame({"customer_id": customers, "event": names, "at": at}))
    log.save(tmp_path / "shop")
    file = pq.ParquetFile(tmp_path / "shop" / "events.parquet")
    opened = EventLog.open(tmp_path / "shop")
    rows = opened.cursor().execute(f'SELECT event, customer_id, "at" FROM {opened.relation} ORDER BY row').fetchall()
    assert [row[0] for row in rows[:4]] == ["purchase"] * 3 + ["view"]
    assert rows[3:] == sorted(rows[3:])
    groups = [file.metadata.row_group(place).column(1).statistics for place in range(file.num_row_groups)]
    assert sum(one.min <= "purchase" for one in groups) == 1 < len(groups)
    pd.testing.assert_frame_equal(in_order(opened.events), in_order(log.events))
    parts = [len(opened.within(one).events) for one in opened.ranges(events=110_000)]
    assert len(parts) > 1
    assert sum(parts) == count + 3


def test_a_log_stored_by_the_version_before_can_still_be_opened(log, tmp_path):
    log.save(tmp_path / "shop")
    file = tmp_path / "shop" / "events.parquet"
    table = pq.read_table(file).drop_columns("toolkit_customer")
    received = pc.coalesce(table.column("received_at"), table.column("at"))
    pq.write_table(table.set_column(table.schema.get_field_index("received_at"), "received_at", received), file)
    (tmp_path / "shop" / "ids.parquet").unlink()
    change(tmp_path / "shop", format=1)
    opened = EventLog.open(tmp_path / "shop")
    pd.testing.assert_frame_equal(in_order(opened.events), in_order(log.events))
    opened.save(tmp_path / "again")
    assert EventLog.open(tmp_path / "again").numbered_customers is not None


def test_the_manifest_says_what_is_inside(log, tmp_path):
    log.save(tmp_path / "shop")
    manifest = json.loads((tmp_path / "shop" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == 2
    assert manifest["events"] == 4
    assert manifest["customers"] == 2
    assert manifest["sorted_by"] == ["customer_id", "received_at", "at"]
    assert manifest["span"] == ["2024-04-01T08:00:00+00:00", "2024-05-02T22:00:00+00:00"]


def test_a_log_that_knows_one_time_only_stores_it_once(log, tmp_path):
    one = EventLog.from_pandas(log.events.drop(columns="received_at"))
    one.save(tmp_path / "shop")
    assert "received_at" not in pq.read_schema(tmp_path / "shop" / "events.parquet").names
    pd.testing.assert_frame_equal(in_order(EventLog.open(tmp_path / "shop").events), in_order(one.events))


def test_an_empty_log_can_be_stored(tmp_path):
    EventLog.from_pandas(pd.DataFrame({"customer_id": [], "event": [], "at": []})).save(tmp_path / "nothing")
    opened = EventLog.open(tmp_path / "nothing")
    assert len(opened) == 0
    assert opened.span is None


def test_ids_and_quarantine_are_stored_too(tmp_path):
    at = pd.to_datetime(["2024-01-01"] * 2, utc=True)
    frame = pd.DataFrame({"customer_id": "a", "event": "x", "at": at, "event_id": "e1", "value": [1, 2]})
    log = EventLog.from_pandas(frame)
    log.save(tmp_path / "shop")
    opened = EventLog.open(tmp_path / "shop")
    assert opened.has_event_ids
    pd.testing.assert_frame_equal(opened.quarantine, log.quarantine)
    assert list(opened.quarantine["value"]) == [2]
    assert opened.event_ids([0]) == ["e1"]


def test_a_stored_log_is_replaced_whole_and_leaves_nothing_beside_it(log, tmp_path):
    folder = tmp_path / "shop"
    EventLog.from_pandas(log.events.head(1)).save(folder)
    log.save(folder)
    assert len(EventLog.open(folder)) == 4
    EventLog.open(folder).save(folder)
    assert len(EventLog.open(folder)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_an_empty_folder_may_be_taken_and_missing_folders_are_made(log, tmp_path):
    (tmp_path / "empty").mkdir()
    log.save(tmp_path / "empty")
    log.save(tmp_path / "a" / "b")
    assert len(EventLog.open(tmp_path / "a" / "b")) == 4


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"manifest.json": "{}"}, {"manifest.json": "not json"}])
def test_a_folder_with_something_else_is_left_alone(log, tmp_path, content):
    for file, text in content.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(EventLogError, match="holds something else than a stored event log"):
        log.save(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == content


def test_a_file_is_not_replaced_by_a_folder(log, write):
    with pytest.raises(EventLogError, match="is a file"):
        log.save(write("shop", "mine"))


def test_a_write_that_fails_leaves_the_old_log_and_nothing_half_written(log, tmp_path):
    folder = tmp_path / "shop"
    log.save(folder)
    source = tmp_path / "log.parquet"
    log.events.to_parquet(source, index=False)
    lazy = EventLog.from_parquet(source)
    assert len(lazy) == 4
    source.unlink()
    with pytest.raises(EventLogError, match="can no longer be read"):
        lazy.save(folder)
    assert len(EventLog.open(folder)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def change(folder, **entries):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **entries}))


def test_a_newer_format_is_refused_with_the_way_out(log, tmp_path):
    log.save(tmp_path / "shop")
    change(tmp_path / "shop", format=3)
    with pytest.raises(EventLogError, match="in format 3; this version reads formats 1 to 2: upgrade trigger-toolkit"):
        EventLog.open(tmp_path / "shop")


def test_files_that_do_not_fit_the_manifest_are_refused(log, tmp_path):
    folder = tmp_path / "shop"
    log.save(folder)
    change(folder, events=5)
    with pytest.raises(EventLogError, match="4 rows where 5 are expected"):
        EventLog.open(folder)
    log.save(folder)
    (folder / "events.parquet").write_bytes(b"broken")
    with pytest.raises(EventLogError, match="cannot be read as Parquet"):
        EventLog.open(folder)
    (folder / "customers.parquet").unlink()
    with pytest.raises(EventLogError, match=r"customers.parquet missing"):
        EventLog.open(folder)


def test_what_is_no_stored_log_is_said_so(log, tmp_path, write):
    log.save(tmp_path / "shop")
    with pytest.raises(EventLogError, match=r"no such folder: .*did you mean '.*shop'"):
        EventLog.open(tmp_path / "shops")
    with pytest.raises(EventLogError, match=r"it has no manifest.json"):
        EventLog.open(tmp_path)
    write("manifest.json", '{"kind": "something"}')
    with pytest.raises(EventLogError, match="of something else"):
        EventLog.open(tmp_path)
    with pytest.raises(EventLogError, match=r"is a stored event log; read it with EventLog.open"):
        EventLog.from_parquet(tmp_path / "shop")


@pytest.mark.parametrize(
    ("file", "reader"), [("e.csv", "from_csv"), ("e.csv.gz", "from_csv"), ("e.parquet", "from_parquet")]
)
def test_a_file_is_said_to_be_one_with_what_reads_it(write, file, reader):
    path = write(file, "customer_id,event,at\n")
    with pytest.raises(EventLogError) as fault:
        EventLog.open(path)
    said = (
        f"{path} is a file; open takes the folder of a stored log; read the file with EventLog.{reader}({str(path)!r})"
    )
    assert str(fault.value) == said


def test_row_groups_hold_about_a_hundred_thousand_rows(tmp_path):
    count = 250_000
    at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(range(count), unit="s")
    frame = pd.DataFrame({"customer_id": [f"c{i % 999}" for i in range(count)], "event": "x", "at": at})
    EventLog.from_pandas(frame).save(tmp_path / "shop")
    metadata = pq.read_metadata(tmp_path / "shop" / "events.parquet")
    assert metadata.num_row_groups == 3
    assert metadata.row_group(0).column(0).compression == "LZ4"  # unpacked twice as fast as ZSTD


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
rows = st.fixed_dictionaries(
    {
        "customer_id": words.filter(bool),
        "event": words.filter(bool),
        "at": st.datetimes(pd.Timestamp("1971-01-01"), pd.Timestamp("2100-01-01")),
        "text": st.none() | words,
        "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "flag": st.none() | st.booleans(),
    }
)


@settings(max_examples=8, deadline=None)
@given(table=st.lists(rows, min_size=1, max_size=8))
def test_any_log_comes_back_from_the_store_as_it_was(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "log"
    frame = pd.DataFrame(table).astype({"number": "float64", "flag": "boolean"})
    log = EventLog.from_pandas(frame, zone="Europe/Paris")
    log.save(folder)
    opened = EventLog.open(folder)
    assert len(log) == len(frame.drop_duplicates())
    pd.testing.assert_frame_equal(
        opened.events.sort_values(list(opened.events.columns), ignore_index=True),
        log.events.sort_values(list(log.events.columns), ignore_index=True),
    )


def test_a_log_larger_than_its_bound_of_memory_is_sorted_on_disk_and_stored_the_same(tmp_path, monkeypatch):
    count = 400_000
    events = pd.DataFrame(
        {
            "customer_id": [f"c{(i * 7919) % 9973:05d}" for i in range(count)],
            "event": "view",
            "at": pd.Timestamp("2025-01-01", tz="UTC")
            + pd.to_timedelta([(i * 31) % 5_000_000 for i in range(count)], "s"),
            "note": [f"{i * 2654435761 % 2**32:032x}" for i in range(count)],
        }
    )
    events.to_parquet(tmp_path / "events.parquet", index=False)
    log = EventLog.from_parquet(tmp_path / "events.parquet")
    log.save(tmp_path / "plenty")
    monkeypatch.setattr("toolkit.events.storage._SORTING_MEMORY", "48MiB")
    log.save(tmp_path / "little")
    plenty, little = (pq.read_table(tmp_path / name / "events.parquet") for name in ("plenty", "little"))
    assert little.equals(plenty)
    assert len(log.events) == count
