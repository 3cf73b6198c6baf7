"""Frames whose columns are not of one plain type: what they hold is kept, or told with its row."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.events.database import fetch

PARIS = ZoneInfo("Europe/Paris")


def mixed(*values):
    return pd.Series(list(values), dtype=object)


def log_of(**columns):
    frame = pd.DataFrame({"customer_id": ["a", "b"], "event": "x", "at": "2024-05-01T09:00:00Z"})
    return EventLog.from_pandas(frame.assign(**columns))


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize("column", ["customer_id", "event", "p"])
def test_half_of_a_surrogate_pair_is_told_with_its_column_and_row(column):
    with pytest.raises(EventLogError, match=rf"events, row 1: column '{column}' .* no valid Unicode.*\\ud83d"):
        log_of(**{column: mixed("fine", "cut \ud83d")})
    with pytest.raises(EventLogError, match=rf"events, row 1: column '{column}' .* no valid Unicode"):
        log_of(**{column: mixed(["fine"], {"said": "cut \ud83d"})})


def test_what_mends_half_of_a_sign_is_told_for_texts_alone_since_it_would_empty_all_else():
    texts = mixed("fine", None, "cut \ud83d")
    frame = pd.DataFrame({"customer_id": ["a", "b", "c"], "event": "x", "at": "2024-05-01T09:00:00Z", "p": texts})
    with pytest.raises(EventLogError) as told:
        EventLog.from_pandas(frame)
    frame["p"] = eval(str(told.value).rsplit("in its place: ")[-1], {"frame": frame})
    assert EventLog.from_pandas(frame).events["p"].tolist()[::2] == ["fine", "cut ?"]
    frame["p"] = mixed(["fine"], "fine", ["cut \ud83d"])
    with pytest.raises(EventLogError, match=r"put a mark in its place in each text before the table is made$"):
        EventLog.from_pandas(frame)


def test_an_index_that_is_a_column_of_a_log_is_read_as_one():
    plain = pd.DataFrame(
        {
            "customer_id": ["a", "b"],
            "event": "x",
            "at": pd.to_datetime(["2024-05-01", "2024-05-02"], utc=True),
            "p": [1, 2],
        }
    )
    expected = EventLog.from_pandas(plain).events
    for frame in (plain.set_index("at"), plain.set_index(["customer_id", "at"]), plain.rename_axis("row_number")):
        pd.testing.assert_frame_equal(EventLog.from_pandas(frame).events, expected, check_like=True)
    theirs = plain.rename(columns={"at": "happened"}).set_index("happened")
    log = EventLog.from_pandas(theirs, columns={"at": "happened"})
    pd.testing.assert_frame_equal(log.events, expected, check_like=True)
    beside = plain.set_index(pd.Index(["c", "d"], name="customer_id"))  # the column of that name is meant
    assert EventLog.from_pandas(beside).events["customer_id"].tolist() == ["a", "b"]
    people = pd.DataFrame({"customer_id": ["a", "b"], "email": ["a@example.org", "b@example.org"]}).set_index(
        "customer_id"
    )
    log = EventLog.from_pandas(plain, customers=people)
    assert log.customers["email"].tolist() == ["a@example.org", "b@example.org"]


LINES = pa.list_(pa.struct({"name": pa.string(), "price": pa.float64(), "n": pa.int64()}))
OBJECTS = pa.struct({"size": pa.struct({"cm": pa.list_(pa.int64())}), "gift": pa.bool_()})


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([[{"name": 'Thé "noir"', "price": 1.5, "n": 2}], [{"name": "b/c", "price": 20.0, "n": 1}]], "text", LINES),
        ([{"size": {"cm": [1, 2]}, "gift": True}, {"size": {"cm": []}, "gift": None}], "text", OBJECTS),
        ([np.array([1, 2]), np.array([3])], "text", None),
        ([[Decimal("1.10")], []], "text", None),
        ([[dt.datetime(2025, 1, 1, 5)], [dt.datetime(2025, 1, 2)]], "text", None),  # noqa: DTZ001
        (pd.to_timedelta(["1D", "36h"]), "number", None),
    ],
    ids=["lines", "objects", "arrays", "decimals", "times", "durations"],
)
def test_an_event_of_a_frame_is_the_same_event_of_its_parquet_file(values, kind, stored, tmp_path: Path):
    frame = pd.DataFrame({"customer_id": ["a", "b"], "event": "x", "at": "2024-05-01T09:00:00Z", "p": values})
    table = pa.Table.from_pandas(frame)
    if stored:  # PyArrow before 24 stores the fields of objects by their names otherwise
        table = table.set_column(3, "p", pa.array(values, stored))
    pq.write_table(table, tmp_path / "log.parquet")
    logs = EventLog.from_pandas(frame), EventLog.from_parquet(tmp_path / "log.parquet")
    assert [log.properties for log in logs] == [{"p": kind}] * 2
    assert logs[0].events["p"].tolist() == logs[1].events["p"].tolist()
    assert logs[0].event_ids([0, 1]) == logs[1].event_ids([0, 1])


def test_a_name_of_our_own_that_is_no_text_is_told():
    for ours in ("\ud800", " "):
        with pytest.raises(EventLogError, match="is no name for a column"):
            EventLog.from_pandas(pd.DataFrame({"customer_id": ["a"], "event": "x", "at": "x"}), columns={ours: "event"})


def test_an_id_that_was_a_number_before_is_the_same_customer_as_text():
    log = log_of(customer_id=mixed(17850.0, "17850"), event=["x", "y"])
    assert log.events["customer_id"].tolist() == ["17850", "17850"]
    assert log_of(p=mixed(1.5, "a")).events["p"].tolist() == ["1.5", "a"]


def test_a_time_among_dates_keeps_its_time_of_day_whichever_comes_first():
    day, time = dt.date(2024, 5, 1), dt.datetime(2024, 5, 2, 3)  # noqa: DTZ001
    for values in ((day, time), (time, day)):
        log = log_of(p=mixed(*values))
        assert log.properties == {"p": "time"}
        assert sorted(log.events["p"]) == [utc("2024-05-01"), utc("2024-05-02 03:00")]


def test_times_of_several_zones_are_times_also_as_a_property():
    twice = [dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=fold) for fold in (0, 1)]
    log = log_of(p=mixed(twice[0], utc("2024-05-01")), at=mixed(*twice))
    assert log.properties == {"p": "time"}
    assert log.events["p"].tolist() == [utc("2024-10-27 00:30"), utc("2024-05-01")]
    assert log.events["at"].tolist() == [utc("2024-10-27 00:30"), utc("2024-10-27 01:30")]


def test_a_local_time_among_zoned_ones_still_needs_a_zone():
    with pytest.raises(EventLogError, match="1 time without a time zone"):
        log_of(at=mixed(utc("2024-05-01"), pd.Timestamp("2024-05-01")))


def test_periods_are_what_they_are_called_not_a_number_of_days():
    log = log_of(p=pd.period_range("2024-01", periods=2, freq="M"))
    assert (log.properties, log.events["p"].tolist()) == ({"p": "text"}, ["2024-01", "2024-02"])


def test_objects_hold_the_numbers_of_numpy_and_missing_values_as_json_does():
    documents = mixed({"k": float("nan"), "n": np.int64(3), "d": Decimal("1.5")}, {"k": 1, "n": np.int64(4), "d": 2})
    log = log_of(properties=documents)
    assert log.properties == {"d": "number", "k": "number", "n": "number"}
    assert log.events["n"].tolist() == [3, 4]
    assert log.events["k"].isna().tolist() == [True, False]
    assert log_of(p=mixed("said", {"k": [1]})).events["p"].tolist() == ["said", '{"k":[1]}']


def test_an_object_that_is_no_json_is_told_with_its_row():
    with pytest.raises(EventLogError, match="events, row 1: column 'p' holds a dict that cannot be written as JSON"):
        log_of(p=mixed({"k": 1}, {(1, 2): 3}))


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, 2], dtype="float16"),
        mixed(Decimal("1.5"), Decimal("1e60")),
        pd.arrays.ArrowExtensionArray(pa.array([Decimal("1.5"), None], pa.decimal256(50, 2))),
        pd.arrays.SparseArray([1.5, 2]),
    ],
    ids=["half precision", "long decimals", "decimal256", "sparse"],
)
def test_every_sort_of_number_is_a_number(values):
    log = log_of(p=values)
    assert log.properties == {"p": "number"}
    assert log.events["p"].iloc[0] == 1.5


@pytest.mark.parametrize("paths", [None, 5, b"x.csv", [None], "", " ", "a\0b", "x" * 5000, pd.DataFrame({"x": [1]})])
@pytest.mark.parametrize("read", [EventLog.from_csv, EventLog.from_parquet])
def test_what_is_no_path_is_told_with_what_is_allowed(read, paths):
    with pytest.raises(EventLogError, match="allowed: a path, a list of paths, a folder, or a pattern"):
        read(paths)


def test_an_empty_path_of_customers_reads_no_folder(tmp_path, monkeypatch, three_events):
    monkeypatch.chdir(tmp_path)
    three_events.to_parquet(Path("some.parquet"))
    with pytest.raises(EventLogError, match="found ''"):
        EventLog.from_pandas(three_events, customers="", zone="UTC")


@pytest.mark.parametrize("files", [0, 3])
def test_many_rows_keep_their_order_on_all_cores(tmp_path: Path, files: int) -> None:
    count = 600_000
    frame = pd.DataFrame({"customer_id": [f"c{n % 977}" for n in range(count)], "event": "view", "n": range(count)})
    frame["at"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(count)[::-1], unit="s")  # local: read whole
    paths = [tmp_path / f"{part}.parquet" for part in range(files)]
    for part, path in enumerate(paths):
        frame.iloc[part * count // files : (part + 1) * count // files].to_parquet(path, index=False)
    zone = "Europe/Paris"
    log = EventLog.from_parquet([*map(str, paths)], zone=zone) if files else EventLog.from_pandas(frame, zone=zone)
    read = fetch(log.cursor(), f"SELECT row, n FROM {log.relation}")
    assert (read.column("row").to_numpy() == np.arange(count)).all()
    assert (read.column("n").to_numpy() == np.arange(count)).all()


def test_an_infinite_decimal_is_missing():
    values = [Decimal("1.10"), Decimal("Infinity"), None]
    frame = pd.DataFrame({"customer_id": ["a", "b", "c"], "event": "x", "at": "2025-01-01T00:00Z", "v": values})
    assert EventLog.from_pandas(frame).events["v"].fillna(-1).tolist() == [1.1, -1, -1]


def test_a_column_without_a_name_is_called_by_its_place():
    frame = pd.DataFrame({"": [1], "customer_id": "a", "event": "x", "at": "2025-01-01T00:00Z", "v4": 2})
    assert EventLog.from_pandas(frame).properties == {"column0": "number", "v4": "number"}


def test_a_table_that_is_not_there_yet_is_told_with_how_it_becomes_a_frame():
    class LazyFrame:
        def collect_schema(self): ...

    class Frame:
        def to_pandas(self): ...

    with pytest.raises(EventLogError, match=r"found \w+.LazyFrame; its \.collect\(\) makes one"):
        EventLog.from_pandas(LazyFrame())
    with pytest.raises(EventLogError, match=r"found \w+.Frame; its \.to_pandas\(\) makes one"):
        EventLog.from_pandas(Frame())


def test_ids_in_a_column_of_wide_decimals_stay_exact_where_they_have_no_more_than_38_digits():
    ids = [Decimal("12345678901234567890123456789012345678"), Decimal(17850)]
    log = log_of(customer_id=pd.arrays.ArrowExtensionArray(pa.array(ids, pa.decimal256(50, 0))))
    assert log.events["customer_id"].tolist() == ["12345678901234567890123456789012345678", "17850"]
    longer = pd.arrays.ArrowExtensionArray(pa.array([ids[0] * 1000, ids[1]], pa.decimal256(50, 0)))
    with pytest.raises(EventLogError, match=r"customer_id.* more digits than a float keeps"):
        log_of(customer_id=longer)


MEMORY = """
import numpy as np
import pandas as pd
from pathlib import Path
from toolkit.events import EventLog

def frame(rows):
    at = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="s")
    who = [f"customer {row % 5000}" for row in range(rows)]
    return pd.DataFrame({"customer_id": who, "event": "cart_add", "at": at, "value": np.arange(rows) / 7})

def memory(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) * 1024

EventLog.from_pandas(frame(1000))
events = frame(500_000)
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
EventLog.from_pandas(events, progress=False)
print((memory("VmHWM") - before) / events.memory_usage(deep=True).sum())
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells the most memory taken")
def test_to_read_a_frame_takes_less_than_twice_its_memory():
    told = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=120, check=True)
    assert float(told.stdout) < 2
