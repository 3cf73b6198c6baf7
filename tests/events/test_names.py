"""Columns may be called anything: no name of theirs is taken for one that the library uses itself."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.errors import EventLogError, InputError
from toolkit.events import EventLog

NAMES = [
    "id", "n", "e", "h", "us", "day", "place", "asked", "others", "gap", "first", "said", "address",
    "share", "order", 'quoted "name"', "two\nlines", "it's",
]  # fmt: skip


def log_of(columns=None, people=None, **more):
    frame = pd.DataFrame({"customer_id": ["a", "b"], "event": "x", "at": "2024-05-01T09:00:00Z", **more})
    customers = pd.DataFrame({"customer_id": ["a", "b"], "email": "x@example.org", **(people or {})})
    return EventLog.from_pandas(frame.assign(**{called: [1, 2] for called in columns or ()}), customers=customers)


def test_properties_and_attributes_may_have_any_name(tmp_path):
    log = log_of(NAMES, {called: [1, 2] for called in NAMES})
    log.save(tmp_path / "store")
    plain = log_of().profile()
    for one in (log, EventLog.open(tmp_path / "store")):
        found = one.profile()
        assert found.suspicious == plain.suspicious
        assert found.table["share_property_rate"].tolist() == [1.0]
        assert found.table["share_rate"].tolist() == [1.0]
        assert "share_property" in str(found)
        assert list(one.properties) == NAMES
        assert len(one.event_ids([1, 0])) == 2


def test_names_that_a_stored_log_needs_get_a_suffix(tmp_path):
    log = log_of(["toolkit_customer", "file_row_number"])
    log.save(tmp_path / "store")
    stored = EventLog.open(tmp_path / "store")
    assert list(stored.properties) == ["toolkit_customer_property", "file_row_number_property"]
    assert stored.event_ids([0, 1]) == log.event_ids([0, 1])


@pytest.mark.parametrize("names", [3, "view", None, [3], ["\ud800"]])
def test_names_of_events_are_texts_in_a_list(names):
    log = log_of()
    for call, asked in (
        ("events", lambda: log.event_ids([0], events=names)),
        ("names", lambda: log.check_holds(names)),
    ):
        with pytest.raises(EventLogError, match=f"{call}: found .*; allowed: a list of names of events"):
            asked()


@pytest.mark.parametrize("taken", ["file_row_number", "source row number"])
def test_names_that_reading_a_file_needs_are_told_not_taken_for_row_numbers(tmp_path, taken):
    frame = pd.DataFrame({"customer_id": ["a", "b"], "event": "x", "at": "2024-05-01T09:00:00Z", taken: 7})
    frame.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(EventLogError, match=f"column '{taken}' has a name that is needed for reading; rename it"):
        EventLog.from_parquet(tmp_path / "log.parquet")


def test_thousands_of_kinds_of_events_are_told_and_the_most_frequent_shown():
    frame = pd.DataFrame({"customer_id": "a", "event": [f"order {n}" for n in range(3000)]})
    frame["at"] = pd.date_range("2024-05-01", periods=3000, freq="h", tz="UTC")
    found = EventLog.from_pandas(frame).profile()
    assert "3,000 kinds of events: perhaps an id, an address or a time is part of their names" in found.suspicious
    assert len(found.table) == 3000
    for shown in (str(found), found._repr_html_()):
        assert shown.count("order ") == 100
        assert "and 2,900 more kinds of events, fewer of each; all are in .table" in shown


def test_an_id_of_blanks_looks_like_a_missing_one():
    assert (
        "1 event of a customer called ' ', which looks like a missing id"
        in log_of(customer_id=["a", " "]).profile(now="2025-01-01T00:00Z").suspicious
    )


def test_arguments_that_cannot_be_are_told(tmp_path):
    log = log_of()
    doors = [
        lambda: log.compacted("view"),
        lambda: log.compacted(None),
        lambda: log.compacted([1]),
        lambda: log.profile(now="some day"),
        lambda: log.profile(now=pd.NaT),
        lambda: log.profile(now=pd.Timestamp("2025-01-01")),
        lambda: log.ranges(events="many"),
        lambda: log.with_answers(None),
        lambda: log.with_answers(tmp_path / "none.sqlite"),
        lambda: EventLog.from_sql("sqlite:///none.db", None),
    ]
    for door in doors:
        with pytest.raises(InputError, match=r"allowed|at least 1|no such file|now needs a time zone"):
            door()


def test_a_table_of_one_kind_of_events_is_told_to_say_which():
    carts = pd.DataFrame({"customer_id": ["ana"], "at": ["2025-03-01 10:00"], "value": [30.0]})
    with pytest.raises(
        EventLogError, match=r"column 'event' is missing; .*, add it with the name of that, such as 'cart_add'"
    ):
        EventLog.from_pandas(carts, zone="UTC")
    with pytest.raises(EventLogError) as told:
        EventLog.from_pandas(carts.assign(event_name="cart_add"), zone="UTC")
    assert "did you mean columns={'event': 'event_name'}?" in str(told.value)
    assert "add it" not in str(told.value)
