"""A stored log replayed in ranges of customers gives what the replay of everyone at once gives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from toolkit.engine import measure, replay
from toolkit.engine.runners.streamed import StreamedRun
from toolkit.errors import EventLogError, InputError, NotSupportedError
from toolkit.events import EventLog
from toolkit.events.ranges import Range
from toolkit.scenario import load, loads
from toolkit.simulation import generate_events

ROOT = Path(__file__).parents[2]

THREE = """
timezone: Europe/Paris
quiet: {from: "22:00", to: "08:00", spread: 30m}
caps: [{limit: 1, per: 7d}]
pools: {gifts: {size: 20}, thanks: {size: 25}}
---
scenario: cart
priority: 60
trigger: {event: cart_add, where: "value >= 20"}
reentry: every
while_active: restart
exit_on: [{event: purchase}]
experiment: {name: one, arms: {control: 0.2, mail: 0.8}, holdout: control}
steps:
  - {id: pause, wait: 1h}
  - {id: reminder, send: cart/reminder}
  - {id: longer, wait: 1d}
  - {id: gift, send: cart/gift, offer: {amount: 5, pool: gifts, valid: 2d}}
---
scenario: review
trigger: {event: order_delivered}
reentry: {after: 3d, from: entry}
steps:
  - {id: pause, wait: 2h}
  - {id: ask, send: review/ask, offer: {percent: 10, pool: thanks, on_empty: send_without}}
---
scenario: silence
trigger: {inactive: view, for: 5d}
reentry: every
steps: [{id: hello, send: silence/hello}]
"""


PEOPLE = pd.DataFrame(
    {
        "customer_id": [f"c{number:05}" for number in range(1200)],
        "timezone": ["Europe/Paris", "America/New_York", "Mars/Base"] * 400,
        "email": "someone@example.org",
        "consent": [True, True, True, False] * 300,
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("ranges")
    generate_events(20_000, place / "events.parquet", customers=900, seed=3)
    EventLog.from_parquet(place / "events.parquet", customers=PEOPLE).save(place / "store")
    return place / "store"


@pytest.fixture(scope="module")
def log(folder):
    return EventLog.open(folder)


@pytest.fixture(scope="module")
def program():
    return loads(THREE)


@pytest.fixture(scope="module")
def whole(program, log):
    return replay(program, log)


@pytest.fixture(scope="module")
def streamed(program, log):
    return replay(program, log, events_at_once=3_000)


def test_ranges_hold_everyone_once(log):
    ranges = log.ranges(events=3_000)
    assert len(ranges) > 4
    assert ranges[0].lower == ""
    assert ranges[-1].upper is None
    assert [one.upper for one in ranges[:-1]] == [one.lower for one in ranges[1:]]
    parts = [log.within(one) for one in ranges]
    assert sum(len(part.customer_table) for part in parts) == len(log.customer_table)
    counts = [part.cursor().execute(f"SELECT count(*) FROM {part.relation}").fetchone()[0] for part in parts]
    assert sum(counts) == len(log)


def test_the_footer_of_a_stored_log_says_where_ranges_begin(program, log, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.events.storage._ROW_GROUP", 2_048)
    log.save(tmp_path / "store")
    opened = EventLog.open(tmp_path / "store")
    monkeypatch.setattr("toolkit.events.ranges.fetch_rows", _footer_only)
    run = replay(program, opened, events_at_once=5_000)
    assert 3 <= len(run.ranges) <= 6
    assert run.digest == whole.digest


def _footer_only(cursor, query):
    assert "parquet_metadata" in query
    return cursor.execute(query).fetchall()


def test_a_replay_in_ranges_decides_the_same(whole, streamed):
    assert isinstance(streamed, StreamedRun)
    assert not isinstance(whole, StreamedRun)
    assert streamed.digest == whole.digest
    pd.testing.assert_frame_equal(streamed.journeys, whole.journeys)
    pd.testing.assert_frame_equal(streamed.decisions, whole.decisions)
    assert streamed.notes == whole.notes


def test_coupons_that_run_out_are_shared_by_all_ranges(whole, streamed):
    decisions = streamed.decisions
    assert (decisions["offer"].str.startswith("5 EUR") & (decisions["status"] == "send")).sum() == 20
    assert (decisions["offer"].str.startswith("10%") & (decisions["status"] == "send")).sum() == 25
    assert (decisions["reason"] == "coupon_empty").sum() > 0
    assert whole.load().offers["codes_left"].tolist() == [0.0, 0.0]


def test_reports_of_a_replay_in_ranges_are_those_of_the_whole(whole, streamed):
    for ours, theirs in ((streamed.summary(), whole.summary()), (streamed.overlap(), whole.overlap())):
        assert str(ours) == str(theirs)
    assert str(streamed.load(largest_order=200.0)) == str(whole.load(largest_order=200.0))
    pd.testing.assert_frame_equal(streamed.load().by_hour, whole.load().by_hour)


def test_one_customer_is_traced_without_reading_the_others(whole, streamed):
    for customer in whole.decisions["customer_id"].drop_duplicates().iloc[:20]:
        assert str(streamed.trace(customer)) == str(whole.trace(customer))
    with pytest.raises(InputError, match="no customer 'nobody'"):
        streamed.trace("nobody")


def test_two_replays_in_ranges_differ_as_the_wholes_do(program, log, whole, streamed):
    other = loads(THREE.replace("wait: 1h", "wait: 5h"))
    plain = whole.diff(replay(other, log))
    ranged = streamed.diff(replay(other, log, events_at_once=3_000))
    assert str(ranged) == str(plain)
    assert len(ranged.mails) > 10


def test_triggers_are_found_range_by_range(whole, streamed):
    asked = whole.journeys["journey_id"].iloc[[7, 3, 500]]
    pd.testing.assert_frame_equal(streamed.trigger_properties(asked), whole.trigger_properties(asked))


def test_outcomes_are_measured_range_by_range(log, whole, streamed):
    goal = "goal: {event: purchase, within: 7d, value: value}\nexperiment:"
    program = loads(THREE.replace("experiment:", goal, 1))
    here, there = (replay(program, log, events_at_once=size, progress=False) for size in (None, 3_000))
    assert len(there.ranges) > 3
    for unit in ("customer", "journey"):
        found, wanted = (measure(run, scenario="cart", unit=unit) for run in (there, here))
        pd.testing.assert_frame_equal(found, wanted)
        assert found.attrs == wanted.attrs
        assert len(found) > 100


def test_what_a_replay_in_ranges_does_not_hold_is_said_with_the_way_to_it(streamed):
    with pytest.raises(NotSupportedError, match=r"does not hold all journeys at once; use \.parts\(\)"):
        _ = streamed.walked
    with pytest.raises(AttributeError):
        _ = streamed.colour
    assert sum(len(part.walked.journeys) for part in streamed.parts()) == len(streamed.journeys)


def test_a_customer_with_more_events_than_a_range_is_not_split(tmp_path):
    events = pd.DataFrame(
        {
            "customer_id": ["bo"] * 50 + ["ana", "cy"],
            "event": "view",
            "at": pd.date_range("2025-01-01", periods=52, tz="UTC"),
        }
    )
    EventLog.from_pandas(events).save(tmp_path / "store")
    log = EventLog.open(tmp_path / "store")
    assert log.ranges(events=10) == [Range("", "bo"), Range("bo", "cy"), Range("cy", None)]
    hello = loads("{scenario: hello, trigger: {event: view}, reentry: every, steps: [{send: hello/one}]}")
    assert replay(hello, log, events_at_once=10).digest == replay(hello, log).digest


def test_ids_that_sort_oddly_are_parted_by_their_bytes(tmp_path):
    names = ["", "a", "a\u0001", "aé", "B", "Ω", "𝔞", "z'z", "10", "9"][1:]
    events = pd.DataFrame({"customer_id": names * 3, "event": "view"})
    events["at"] = pd.date_range("2025-01-01", periods=len(events), tz="UTC", freq="h")
    EventLog.from_pandas(events).save(tmp_path / "store")
    log = EventLog.open(tmp_path / "store")
    hello = loads("{scenario: hello, trigger: {event: view}, reentry: once, steps: [{send: hello/one}]}")
    run = replay(hello, log, events_at_once=4)
    assert len(run.ranges) > 3
    assert run.digest == replay(hello, log).digest
    assert len(run.journeys) == len(names)


def test_the_shipped_shop_is_the_same_in_ranges():
    log = EventLog.open(ROOT / "data" / "shop")
    program = load(ROOT / "templates")
    whole = replay(program, log)
    assert replay(program, log, events_at_once=5_000).digest == whole.digest


def test_a_median_of_all_customers_needs_them_all_at_once(log):
    refill = loads("""
scenario: refill
trigger: {cycle: purchase, after: {median: product_id}}
reentry: every
steps: [{send: refill/one}]
""")
    run = replay(refill, log, events_at_once=3_000)
    assert run.digest == replay(refill, log).digest
    assert "asks all customers" in " ".join(run.notes)


@pytest.mark.parametrize("events", [0, -1])
def test_a_range_of_no_events_is_refused(program, log, events):
    with pytest.raises(InputError, match="at least 1 event"):
        replay(program, log, events_at_once=events)


def test_a_store_whose_middle_is_damaged_names_the_file(tmp_path, log, program):
    log.save(tmp_path / "store")
    file = tmp_path / "store" / "events.parquet"
    content = bytearray(file.read_bytes())
    middle = slice(len(content) // 8, len(content) * 7 // 8)
    content[middle] = bytes(len(content[middle]))
    file.write_bytes(content)
    opened = EventLog.open(tmp_path / "store")
    with pytest.raises(EventLogError, match=r"events\.parquet"):
        _ = replay(program, opened).digest


def test_a_store_that_is_cut_off_names_the_file(tmp_path, log):
    log.save(tmp_path / "store")
    file = tmp_path / "store" / "events.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(EventLogError, match=r"events\.parquet"):
        EventLog.open(tmp_path / "store")


def test_a_store_whose_views_stand_apart_gives_the_same_mails_at_once_and_in_ranges(tmp_path):
    file = generate_events(310_000, tmp_path / "events.parquet", customers=16_000, seed=5)
    log = EventLog.from_parquet(file)
    assert log.event_counts["view"] > 200_000  # enough for a section of their own
    log.save(tmp_path / "store")
    stored = EventLog.open(tmp_path / "store")
    program = loads(THREE)
    found = replay(program, log).summary().table
    pd.testing.assert_frame_equal(replay(program, stored).summary().table, found)
    streamed = replay(program, stored, events_at_once=120_000, progress=False)
    assert len(streamed.ranges) > 1
    pd.testing.assert_frame_equal(streamed.summary().table, found)
    customer = stored.numbered_customers[7_000].as_py()
    assert str(replay(program, stored).trace(customer)) == str(replay(program, log).trace(customer))
