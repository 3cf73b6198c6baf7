"""A compact log, and what came after it, gives what a replay of everything gives."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings

from tests.engine.test_reference import AT_RANDOM, ONE_BY_ONE
from tests.reference.worlds import World, people, worlds
from toolkit.engine import compact, measure, replay
from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.simulation import generate_events
from toolkit.tables import FIRST_SEEN

CART = """
scenario: cart
trigger: {event: cart_add, where: "value >= 20"}
reentry: every
while_active: restart
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: value}
steps: [{id: pause, wait: 4h}, {id: reminder, send: cart/reminder}]
"""


def day_by_day(one: World, folder: Path) -> list[str]:
    """The digest of a replay of everything, and that of compact logs: each stored, then followed by what came next."""
    events, customers = pd.DataFrame(one.events), None if one.customers is None else people(one.customers)
    noise = events.iloc[::3].assign(event="noise", event_id=[f"noise{k}" for k in range(len(events.iloc[::3]))])
    noise["at"] = noise["received_at"] = noise[["at", "received_at"]].max(axis=1) - timedelta(hours=7)
    events = pd.concat([events, noise], ignore_index=True)
    received = events[["at", "received_at"]].max(axis=1)
    asked = {"until": one.until, "count_logged_sends": one.count_logged_sends}

    def read(rows: pd.DataFrame) -> EventLog:
        return EventLog.from_pandas(rows, customers=customers)

    whole = replay(one.program, read(events), **asked)
    first, second = received.quantile([0.4, 0.7])
    known = compact(one.program, read(events[received <= first]))
    for number, (before, after) in enumerate([(first, second), (second, received.max())]):
        known.save(folder / str(number))
        days = read(events[(received > before - timedelta(hours=12)) & (received <= after)])  # days may overlap
        known = compact(one.program, EventLog.open(folder / str(number)).followed_by(days))
    run = replay(one.program, known, **asked)
    pd.testing.assert_frame_equal(run.journeys, whole.journeys)
    pd.testing.assert_frame_equal(run.decisions, whole.decisions)
    return [whole.digest, run.digest]


@settings(ONE_BY_ONE, max_examples=10)
@given(worlds())
def test_days_after_a_compact_log_are_replayed_as_if_everything_had_been_kept(tmp_path_factory, one: World) -> None:
    assert len(set(day_by_day(one, tmp_path_factory.mktemp("compact")))) == 1


@pytest.mark.soak
@settings(AT_RANDOM, max_examples=1_000)
@given(worlds())
def test_a_thousand_random_programs_go_on_from_compact_logs(tmp_path_factory, one: World) -> None:
    assert len(set(day_by_day(one, tmp_path_factory.mktemp("compact")))) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("history")
    generate_events(30_000, place / "events.parquet", customers=900, seed=5)
    return place


def test_a_log_without_ids_keeps_the_names_of_its_journeys_and_can_be_measured(folder, tmp_path) -> None:
    program, log = loads(CART), EventLog.from_parquet(folder / "events.parquet")
    frame = log.events
    cut = frame["received_at"].quantile(0.8)
    history, day = frame[frame["received_at"] <= cut], frame[frame["received_at"] > cut - timedelta(days=1)]
    compact(program, EventLog.from_pandas(history)).save(tmp_path / "state")
    joined = EventLog.open(tmp_path / "state").followed_by(EventLog.from_pandas(day))
    whole, run = replay(program, log), replay(program, joined)
    assert not log.has_event_ids
    assert run.digest == whole.digest
    pd.testing.assert_frame_equal(measure(run), measure(whole))
    assert any("already in the log" in note for note in joined.notes)
    assert len(joined) < len(log)
    # what stayed stayed whole, so that a value may still be tried
    other = loads(CART.replace(">= 20", ">= 35"))
    assert replay(other, joined).digest == replay(other, log).digest


def test_a_compact_log_says_what_it_was_left_without(folder, tmp_path) -> None:
    program, log = loads(CART), EventLog.from_parquet(folder / "events.parquet")
    small = compact(program, log)
    assert set(small.event_names) <= {
        "cart_add",
        "purchase",
        "email_unsubscribed",
        "email_subscribed",
        "email_bounced",
        FIRST_SEEN,
    }
    assert small.span == log.span
    small.save(tmp_path / "state")
    opened = EventLog.open(tmp_path / "state")
    assert opened.left_out == small.left_out
    assert opened.span == log.span
    assert opened.event_counts == small.event_counts
    silence = loads("{scenario: s, trigger: {inactive: view, for: 5d}, reentry: every, steps: [{send: m/x}]}")
    for known in (small, opened, opened.followed_by(log), compact(program, opened)):
        with pytest.raises(EventLogError, match=r"compacted without the events 'view'.*compact the whole log again"):
            replay(silence, known)


def test_a_log_whose_folder_was_stored_anew_is_not_read_as_if_it_were_the_old_one(folder, tmp_path) -> None:
    program = loads(CART)
    compact(program, EventLog.from_parquet(folder / "events.parquet")).save(tmp_path / "state")
    opened = EventLog.open(tmp_path / "state")
    joined = opened.followed_by(EventLog.from_pandas(rows(("a", "ana", "2030-01-01T00:00Z", "2030-01-01T00:00Z"))))
    run = replay(program, joined)
    joined.save(tmp_path / "state")
    for look in (lambda: run.journeys, lambda: opened.events, lambda: joined.profile(now=run.until)):
        with pytest.raises(EventLogError, match="another was stored in its place: open it again"):
            look()
    assert len(EventLog.open(tmp_path / "state")) == len(opened) + 1


def rows(*of: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(of, columns=["event_id", "customer_id", "at", "received_at"]).assign(event="cart_add", value=30)


def test_of_two_events_with_one_id_the_first_received_counts_wherever_it_stands() -> None:
    history = rows(
        ("a", "ana", "2025-03-03T10:00Z", "2025-03-03T10:00Z"), ("b", "bo", "2025-03-03T10:00Z", "2025-03-03T15:00Z")
    )
    later = rows(
        ("a", "ana", "2025-03-03T09:00Z", "2025-03-03T16:00Z"), ("b", "bo", "2025-03-03T10:00Z", "2025-03-03T11:00Z"),
        ("c", "cy", "2025-03-04T10:00Z", "2025-03-04T10:00Z"),
    )  # fmt: skip
    joined = EventLog.from_pandas(history).followed_by(EventLog.from_pandas(later))
    both = EventLog.from_pandas(pd.concat([history, later]))
    columns = ["event_id", "at", "received_at"]
    found = joined.events[columns].sort_values("event_id", ignore_index=True)
    pd.testing.assert_frame_equal(found, both.events[columns].sort_values("event_id", ignore_index=True))
    assert joined.notes[-3:] == (
        "1 event of the later log already in the log: each counts once",
        "1 event of the log replaced by the later log, which received it earlier",
        "the later log: 3 events",
    )
    assert replay(loads(CART), joined).digest == replay(loads(CART), both).digest


def test_the_later_customers_table_has_the_last_word() -> None:
    who = pd.DataFrame({"customer_id": ["ana", "bo"], "city": ["Lyon", "Lille"], "age": [30, 40]})
    news = pd.DataFrame({"customer_id": ["bo", "cy"], "city": ["Paris", "Nice"]})
    one = rows(("a", "ana", "2025-03-03T10:00Z", "2025-03-03T10:00Z"))
    log = EventLog.from_pandas(one, customers=who).followed_by(EventLog.from_pandas(one, customers=news))
    assert log.customers["city"].tolist() == ["Lyon", "Paris", "Nice"]
    assert log.customers["age"].isna().tolist() == [False, True, True]
    assert EventLog.from_pandas(one).followed_by(log).customers.equals(log.customers)
    assert log.followed_by(EventLog.from_pandas(one)).customers.equals(log.customers)
    wrong = EventLog.from_pandas(one, customers=news.assign(age="young"))
    with pytest.raises(EventLogError, match="age is number in the log and text in the later one"):
        log.followed_by(wrong)
    with pytest.raises(EventLogError, match="followed_by: found DataFrame; allowed: an EventLog, for example"):
        log.followed_by(one)


def test_nothing_is_a_history_too() -> None:
    nothing = EventLog.from_pandas(rows())
    one = EventLog.from_pandas(rows(("a", "ana", "2025-03-03T10:00Z", "2025-03-03T10:00Z")))
    program = loads(CART)
    for joined in (compact(program, nothing).followed_by(one), compact(program, one).followed_by(nothing)):
        assert replay(program, joined).digest == replay(program, one).digest
    assert compact(program, nothing).span is None
