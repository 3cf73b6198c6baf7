"""Times of every kind become UTC microseconds."""

from __future__ import annotations

import datetime as dt
import time
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.events.times import epoch_unit, from_local, offsets

ZONES = (
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Tehran",
    "Europe/Dublin",
    "UTC",
)
local_times = st.datetimes(
    min_value=dt.datetime.fromisoformat("1971-01-01"), max_value=dt.datetime.fromisoformat("2060-01-01")
)


def log_of(times, **options):
    frame = pd.DataFrame({"customer_id": "a", "event": [f"e{i}" for i in range(len(times))], "at": times})
    return EventLog.from_pandas(frame, **options)


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@settings(max_examples=25, deadline=None)
@given(zone=st.sampled_from(ZONES), times=st.lists(local_times, min_size=1, max_size=20))
def test_local_times_become_utc_as_zoneinfo_does_with_fold_0(zone, times):
    sql = from_local("x", ZoneInfo(zone), min(times), max(times))
    values = ", ".join(f"(TIMESTAMP '{time.isoformat(' ')}')" for time in times)
    with duckdb.connect() as database:
        found = [row[0] for row in database.execute(f"SELECT {sql} FROM (VALUES {values}) t(x)").fetchall()]
    expected = [time.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).replace(tzinfo=None) for time in times]
    assert found == expected


@pytest.mark.parametrize("zone", ZONES)
def test_every_half_hour_around_each_change_of_the_clock_is_as_in_zoneinfo(zone):
    area = ZoneInfo(zone)
    steps = offsets(area, dt.datetime.fromisoformat("2005-01-01"), dt.datetime.fromisoformat("2025-12-31"))
    moments = [
        since + dt.timedelta(minutes=30 * k, microseconds=micro)
        for since, _ in steps[1:]
        for k in range(-8, 9)
        for micro in (-1, 0)
    ]
    for local in moments:
        offset = next(offset for since, offset in reversed(steps) if since <= local)
        assert dt.timedelta(microseconds=offset) == area.utcoffset(local)


def test_an_ambiguous_time_is_the_first_of_the_two_and_one_in_a_gap_moves_forward():
    for form in (
        ["2024-10-27 02:30", "2024-03-31 02:30"],
        pd.to_datetime(["2024-10-27 02:30", "2024-03-31 02:30"]),
    ):
        log = log_of(form, zone="Europe/Paris")
        assert list(log.events["at"]) == [utc("2024-10-27 00:30"), utc("2024-03-31 01:30")]


def test_offsets_in_one_text_column_may_differ_and_local_times_may_stand_between():
    texts = ["2024-05-01T10:00:00+02:00", "2024-05-01 10:00:00Z", "2024-05-01T10:00:00.123456-0500", "2024-05-01 10:00"]
    log = log_of(texts, zone="Asia/Tokyo")
    expected = ["2024-05-01 08:00", "2024-05-01 10:00", "2024-05-01 15:00:00.123456", "2024-05-01 01:00"]
    assert list(log.events["at"]) == list(map(utc, expected))


def test_local_and_aware_datetime_objects_in_one_column_keep_their_meaning():
    aware = dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    log = log_of(pd.Series([aware, dt.datetime.fromisoformat("2024-01-01")], dtype=object), zone="Asia/Tokyo")
    assert list(log.events["at"]) == [utc("2023-12-31 19:00"), utc("2023-12-31 15:00")]


def test_dates_are_local_midnights():
    log = log_of([dt.date(2024, 1, 1), dt.date(2024, 7, 1)], zone="Europe/Paris")
    assert list(log.events["at"]) == [utc("2023-12-31 23:00"), utc("2024-06-30 22:00")]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_pandas_times_of_every_resolution_are_read(unit):
    times = pd.to_datetime(["2024-05-01 10:00:01"], utc=True).as_unit(unit)
    assert log_of(times).events["at"].iloc[0] == utc("2024-05-01 10:00:01")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1_700_000_000], "2023-11-14 22:13:20"),
        ([1_700_000_000.25], "2023-11-14 22:13:20.250"),
        ([1_700_000_000_123], "2023-11-14 22:13:20.123"),
        ([1_700_000_000_123_456], "2023-11-14 22:13:20.123456"),
        ([1_700_000_000_123_456_789], "2023-11-14 22:13:20.123456"),
        (["1700000000"], "2023-11-14 22:13:20"),
    ],
)
def test_numbers_since_1970_are_read_by_their_size_and_noted(numbers, expected):
    log = log_of(numbers)
    assert log.events["at"].iloc[0] == utc(expected)
    assert any("since 1970" in note for note in log.notes)


@pytest.mark.parametrize("numbers", [[5, 1_700_000_000_000], [0], [-3], [20240501], [1_700_000_000, 1_700_000_000_000]])
def test_numbers_of_no_clear_unit_are_refused(numbers):
    with pytest.raises(EventLogError, match="not clearly seconds, milliseconds"):
        log_of(numbers)
    assert epoch_unit(min(numbers), max(numbers)) is None


@pytest.mark.parametrize(
    "bad", ["yesterday", "01/02/2024", "2024-13-01", "2024-02-30", "12:30", "epoch", "infinity", "2024", "now"]
)
def test_a_text_that_is_no_time_is_named_with_its_row(bad):
    with pytest.raises(EventLogError) as fault:
        log_of(["2024-05-01", bad], zone="UTC")
    assert f"events, row 1: column 'at' (at) should hold times, found {bad!r}; not a time in 1 row of 2" in str(
        fault.value
    )


@pytest.mark.parametrize("times", [["2024-05-01 10:00"], pd.to_datetime(["2024-05-01 10:00"]), [dt.date(2024, 5, 1)]])
def test_local_times_without_a_zone_are_refused_with_an_example(times):
    with pytest.raises(EventLogError, match=r"1 time without a time zone, for example 2024-05-01.*zone='Europe/Paris'"):
        log_of(times)


@pytest.mark.parametrize("zone", ["Europe/Pari", "", "Europe/Paris/x", "../etc", 5])
def test_a_zone_that_does_not_exist_is_refused(zone):
    with pytest.raises(EventLogError, match="not an IANA time zone"):
        log_of(["2024-05-01"], zone=zone)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_infinite_times_are_refused(tmp_path, kind):
    path = str(tmp_path / "log.parquet")
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 'a' AS customer_id, 'x' AS event, 'infinity'::{kind} AS \"at\") TO '{path}'")
    with pytest.raises(EventLogError, match="holds infinite times"):
        EventLog.from_parquet(path, zone="UTC")


def test_the_zone_of_local_times_is_noted():
    assert "at: times without a zone are read as Europe/Paris" in log_of(["2024-05-01"], zone="Europe/Paris").notes
    assert not any("without a zone" in note for note in log_of(["2024-05-01T10:00Z"], zone="Europe/Paris").notes)


def test_flags_are_no_times():
    with pytest.raises(EventLogError, match="should hold times, found BOOLEAN"):
        log_of([True])


def test_what_was_received_before_it_happened_is_received_when_it_happened_and_noted():
    frame = pd.DataFrame(
        {
            "customer_id": "a",
            "event": ["x", "y", "z"],
            "at": pd.to_datetime(["2024-01-02"] * 3, utc=True),
            "received_at": pd.to_datetime(["2024-01-01", "2024-01-03", None], utc=True),
        }
    )
    log = EventLog.from_pandas(frame)
    assert list(log.events["received_at"]) == list(map(utc, ["2024-01-02", "2024-01-03", "2024-01-02"]))
    assert "1 event received before at, the moment it happened; at is taken instead" in log.notes
    assert "1 event without received_at; at is taken instead" in log.notes
    assert log.span == (utc("2024-01-02"), utc("2024-01-03"))


def test_the_zone_of_the_machine_changes_nothing(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        log = log_of(["2024-05-01T10:00", "2024-05-01T10:00Z"], zone="UTC")
        assert list(log.events["at"]) == [utc("2024-05-01 10:00")] * 2
        assert log.cursor().execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_last_evening_of_the_year_9999_means_no_end_in_every_zone():
    last = pd.Timestamp("9999-12-31 23:59:59.999999", tz="UTC")
    log = log_of(["9999-12-31 23:59:59", "2024-05-01 09:00"], zone="America/New_York")
    assert log.events["at"].tolist() == [last, pd.Timestamp("2024-05-01 13:00", tz="UTC")]
    assert repr(log) == "EventLog(2024-05-01 to 9999-12-31, 2 kinds of events)"
    assert log.profile().last == last
    assert log_of(["9999-12-31T23:59:59-05:00"]).events["at"].tolist() == [last]
    people = pd.DataFrame({"customer_id": ["a"], "until": pd.Series(["9999-12-31 23:59:59"]).astype("datetime64[s]")})
    log = log_of(["2024-05-01 09:00"], zone="America/New_York", customers=people)
    assert log.customers["until"].tolist() == [last]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_times_of_years_that_no_calendar_has_are_told(zone):
    far = pd.Series(np.array(["20000-01-01", "-3000-01-01"], dtype="datetime64[s]"))
    with pytest.raises(EventLogError, match="outside the years 1 to 9999, for example"):
        log_of(far.dt.tz_localize("UTC") if zone is None else far, zone=zone)
