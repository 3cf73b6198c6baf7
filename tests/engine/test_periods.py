"""A period of a run is what a plain filter of its tables gives, and what a replay up to its end knew of journeys."""

from __future__ import annotations

import pandas as pd
import pytest

import toolkit as tk
from tests.engine.test_ranges import PEOPLE, THREE
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import loads, set_parameters
from toolkit.simulation import generate_events

ONE = pd.Timedelta(1, unit="us")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    place = tmp_path_factory.mktemp("periods")
    generate_events(20_000, place / "events.parquet", customers=900, seed=3)
    EventLog.from_parquet(place / "events.parquet", customers=PEOPLE).save(place / "store")
    return EventLog.open(place / "store")


@pytest.fixture(scope="module")
def program():
    return loads(THREE)


@pytest.fixture(scope="module")
def run(program, log):
    return tk.replay(program, log)


@pytest.fixture(scope="module")
def edges(run):
    """Moments that part the run in four; two of them are the very moment of a mail."""
    moments = run.decisions["at"]
    return [moments.iloc[len(moments) * part // 4] for part in (1, 2)] + [moments.iloc[-1] - pd.Timedelta(days=3)]


@pytest.fixture(scope="module")
def thirds(run, edges):
    return [run.between(since, before) for since, before in zip([None, *edges], [*edges, None], strict=True)]


def test_decisions_are_those_of_a_plain_filter(run, edges, thirds):
    for period, since, before in zip(thirds, [None, *edges], [*edges, None], strict=True):
        at = run.decisions["at"]
        wanted = run.decisions[(at >= (since or at.min())) & (at < (before or at.max() + ONE))]
        pd.testing.assert_frame_equal(period.decisions, wanted.reset_index(drop=True))
        assert len(wanted) > 50


def test_journeys_are_those_under_way_as_a_replay_up_to_the_end_of_the_period_knew_them(program, log, thirds):
    for period in thirds:
        known = tk.replay(program, log, until=period.until).journeys
        there = known[known["ended_at"].isna() | (known["ended_at"] >= period.period.since)]
        sent = period.decisions.query("status == 'send'")["journey_id"].value_counts()
        wanted = there.assign(sends=there["journey_id"].map(sent).fillna(0).astype("int64")).reset_index(drop=True)
        pd.testing.assert_frame_equal(period.journeys, wanted)
        assert set(period.decisions["journey_id"]) <= set(wanted["journey_id"])


def test_a_summary_counts_the_tables_of_its_period(thirds):
    for period in thirds:
        summary = period.summary()
        for row in summary.table.itertuples():
            arm = period.journeys["arm"].fillna("") == row.arm
            mine = period.journeys[arm & (period.journeys["scenario"] == row.scenario)]
            decided = period.decisions[period.decisions["journey_id"].isin(mine["journey_id"])]
            assert (row.journeys, row.customers) == (len(mine), mine["customer_id"].nunique())
            counts = decided["status"].value_counts()
            assert [row.sent, row.withheld, row.skipped] == [
                counts.get(status, 0) for status in ("send", "withheld", "skipped")
            ]
            endings = mine["ended_by"].value_counts()
            assert [row.finished, row.exited, row.open] == [
                endings.get(ending, 0) for ending in ("finished", "exited", "open")
            ]
        assert summary.reasons["mails"].sum() == (period.decisions["status"] != "send").sum()
        assert f"{period.period.since:%Y-%m-%d} to {period.until:%Y-%m-%d} (exact)" in str(summary)
        assert "a period of the replay" in str(summary)


def test_mails_of_successive_periods_add_up(run, thirds):
    total = run.load().by_hour.set_index("hour")["mails"]
    parts = pd.concat([period.load().by_hour for period in thirds]).groupby("hour")["mails"].sum()
    pd.testing.assert_series_equal(parts, total)
    collisions = run.overlap().collisions
    assert sum(period.overlap().collisions for period in thirds).equals(collisions)
    assert collisions.to_numpy().sum() > 0
    caps = sum(period.overlap().caps["mails"] for period in thirds)
    assert caps.tolist() == run.overlap().caps["mails"].tolist()
    offers = pd.concat([period.load().offers for period in thirds]).groupby(["scenario", "step"])["mails"].sum()
    assert offers.tolist() == run.load().offers.groupby(["scenario", "step"])["mails"].sum().tolist()


def test_codes_left_are_those_at_the_end_of_the_period(program, log, thirds):
    for period in thirds:
        left = tk.replay(program, log, until=period.until).load().offers.set_index("step")["codes_left"]
        mine = period.load().offers.set_index("step")["codes_left"]
        assert mine.tolist() == left[mine.index].tolist()
    gifts = thirds[1].load().offers.set_index("step").loc["gift"]
    assert gifts["codes_left"] + gifts["mails"] < 20  # some went before the period


def test_a_period_is_the_same_in_ranges_of_customers(program, log, run, edges):
    streamed = tk.replay(program, log, events_at_once=3_000, progress=False)
    mine, theirs = (one.between(edges[0], edges[1]) for one in (run, streamed))
    assert len(streamed.ranges) > 2
    for name in ("journeys", "decisions"):
        pd.testing.assert_frame_equal(getattr(theirs, name), getattr(mine, name))
    assert theirs.digest == mine.digest != run.digest
    assert str(theirs.summary()) == str(mine.summary())
    assert str(theirs.load()) == str(mine.load())
    assert str(theirs.overlap()) == str(mine.overlap())
    customer = mine.decisions["customer_id"].iloc[0]
    assert str(theirs.trace(customer)) == str(mine.trace(customer))
    assert len(streamed.decisions) == len(run.decisions)
    other = tk.replay(
        set_parameters(program, {"cart.pause.wait": "4h"}), log, events_at_once=3_000, progress=False
    ).between(edges[0], edges[1])
    pd.testing.assert_frame_equal(
        theirs.diff(other).table, mine.diff(tk.replay(other.program, log).between(edges[0], edges[1])).table
    )
    assert theirs.diff(other).period == mine.period


def test_a_trace_tells_the_period_alone(run, thirds):
    customer = thirds[1].decisions["customer_id"].iloc[0]
    whole, part = run.trace(customer).table, thirds[1].trace(customer).table
    since, until = thirds[1].period.since, thirds[1].until
    assert part.equals(whole[(whole["at"] >= since) & (whole["at"] <= until)].reset_index(drop=True))
    assert 0 < len(part) < len(whole)


def test_a_difference_has_the_mails_that_are_in_the_period_before_or_after(program, log, run, edges):
    other = tk.replay(set_parameters(program, {"cart.pause.wait": "1d"}), log)
    whole = run.diff(other)
    part = run.between(edges[0], edges[1]).diff(other.between(edges[0], edges[1]))
    there = [whole.mails[name].between(edges[0], edges[1], inclusive="left") for name in ("at_before", "at_after")]
    pd.testing.assert_frame_equal(part.mails, whole.mails[there[0] | there[1]].reset_index(drop=True))
    both = run.decisions.merge(other.decisions, on=["decision_id", "at", "status", "template", "offer"])
    both = both[(both["status"] == "send") & both["at"].between(edges[0], edges[1], inclusive="left")]
    assert part.same == len(both)
    assert {"moved", "lost"} <= set(part.mails["change"])
    said = f"from {edges[0]:%Y-%m-%d %H:%M} UTC on and before {edges[1]:%Y-%m-%d %H:%M} UTC alone"
    assert said in str(part)
    assert said in part._repr_html_()
    assert "alone" not in str(whole)
    with pytest.raises(InputError, match="allowed: the same period of both"):
        run.between(edges[0]).diff(other)


def test_a_period_of_a_period_is_what_both_hold(run, edges, thirds):
    inner = run.between(edges[0]).between(None, edges[1])
    pd.testing.assert_frame_equal(inner.decisions, thirds[1].decisions)
    pd.testing.assert_frame_equal(inner.journeys, thirds[1].journeys)
    assert sum(note.startswith("a period of") for note in inner.notes) == 1


@pytest.mark.parametrize(
    ("since", "before", "said"),
    [
        ("2025-03-01", None, "since needs a time zone; found '2025-03-01'"),
        (None, 3, "before: found 3; allowed: a moment"),
        (
            "2025-03-02T00:00Z",
            "2025-03-02T00:00Z",
            "is not before 2025-03-02 00:00:00.00:00; allowed: since, and a later",
        ),
        ("2035-03-02T00:00Z", None, "since 2035-03-02 .*: nothing was decided then; the replay goes from 2024-01-01"),
        (None, "2005-03-02T00:00Z", "before 2005-03-02 .*: nothing was decided then; the replay goes from 2024-01-01"),
    ],
)
def test_a_period_that_is_none_is_refused_in_one_sentence(run, since, before, said):
    with pytest.raises(InputError, match=said):
        run.between(since, before)


def test_outcomes_are_measured_on_the_whole_run(run, edges):
    with pytest.raises(InputError, match=r"measure: found a period of a run; allowed: the whole run, with since="):
        tk.measure(run.between(edges[0]), scenario="cart", within="7d")


def test_a_period_of_an_empty_log_holds_nothing():
    empty = EventLog.from_pandas(pd.DataFrame({"customer_id": [], "event": [], "at": pd.to_datetime([], utc=True)}))
    hello = loads("{scenario: hello, trigger: {event: sign_up}, reentry: once, steps: [{send: hello/one}]}")
    period = tk.replay(hello, empty, until="2025-04-01T00:00Z").between(None, "2025-03-01T00:00Z")
    assert len(period.decisions) == len(period.journeys) == 0
