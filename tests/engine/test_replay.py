"""Replay as people use it: its views, its warnings, its refusals."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest

from toolkit.engine import measure, replay, sweep
from toolkit.engine.doors import micros_of
from toolkit.engine.hashing import uniform
from toolkit.engine.measure import known_of, label_of
from toolkit.engine.run import Run
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import Program, loads
from toolkit.scenario.models import Experiment
from toolkit.tables import DECISIONS, JOURNEYS, OUTCOMES

CART = """
scenario: cart
trigger: {event: cart_add}
reentry: {after: 7d}
while_active: restart
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
steps:
  - {id: pause, wait: 4h}
  - {id: reminder, send: cart/reminder}
  - {id: day, wait: 1d}
  - {id: last, send: cart/last_call}
"""


def log_of(*rows: tuple[str, str, str] | tuple[str, str, str, float], people: pd.DataFrame | None = None) -> EventLog:
    events = pd.DataFrame([(*row, None)[:4] for row in rows], columns=["customer_id", "event", "at", "revenue"]).astype(
        {"customer_id": "str", "event": "str", "at": "str", "revenue": "float64"}
    )
    return EventLog.from_pandas(events, customers=people, zone="UTC")


LOG = log_of(
    ("ana", "cart_add", "2025-03-03 10:00"),
    ("bo", "cart_add", "2025-03-03 10:00"),
    ("bo", "purchase", "2025-03-03 12:00", 30.0),
    ("cy", "cart_add", "2025-03-03 10:00"),
    ("cy", "purchase", "2025-03-03 20:00", 50.0),
    ("dee", "view", "2025-03-20 10:00"),
)


@pytest.fixture(scope="module")
def run() -> Run:
    return replay(loads(CART), LOG)


def test_a_run_has_the_columns_of_the_tables(run: Run) -> None:
    assert tuple(run.journeys.columns) == JOURNEYS.names
    assert tuple(run.decisions.columns) == DECISIONS.names
    JOURNEYS.check(run.journeys)
    DECISIONS.check(run.decisions)


def test_whoever_buys_before_the_wait_ends_is_not_mailed(run: Run) -> None:
    assert sorted(zip(run.decisions["customer_id"], run.decisions["step"], strict=True)) == [
        ("ana", "last"),
        ("ana", "reminder"),
        ("cy", "reminder"),
    ]
    assert dict(zip(run.journeys["customer_id"], run.journeys["ended_by"], strict=True)) == {
        "ana": "finished",
        "bo": "exited",
        "cy": "exited",
    }


def test_a_summary_counts_what_the_tables_hold(run: Run) -> None:
    row = run.summary().table.iloc[0]
    assert (row["journeys"], row["sent"], row["exited"], row["finished"]) == (3, 3, 2, 1)
    assert "exact" in str(run.summary())
    assert "cart" in run.summary()._repr_html_()


def test_a_trace_says_for_every_mail_why_it_went_or_not(run: Run) -> None:
    assert "cart/reminder sent" in str(run.trace("cy"))
    assert "not reached any more: cart/last_call" in str(run.trace("cy"))
    assert "not reached any more: cart/reminder, cart/last_call" in str(run.trace("bo"))
    assert [row.kind for row in run.trace("dee").table.itertuples()] == ["event"]


def test_a_trace_says_why_nothing_begins_for_whom_nobody_has_a_consent() -> None:
    at = "2025-01-01T00:00Z"
    events = pd.DataFrame({"customer_id": list("abcd"), "event": "cart_add", "at": at})
    events.loc[4] = ["d", "email_subscribed", at]
    people = pd.DataFrame({"customer_id": list("abd"), "consent": [True, None, False]})
    cart = (
        "scenario: cart\ntrigger: {event: cart_add}\nreentry: every\nsteps: [{wait: 1h}, {id: mail, send: cart/mail}]"
    )
    run = replay(loads(cart), EventLog.from_pandas(events, customers=people))
    assert [run.trace(one).notes for one in "ad"] == [(), ()]
    assert run.trace("b").notes == (
        "the customers table has no consent of this customer, so that no marketing scenario begins",
    )
    assert "note: the customers table does not have this customer, so that no" in str(run.trace("c"))
    assert "does not have this customer" in run.trace("c")._repr_html_()
    receipts = replay(loads(cart.replace("trigger", "class: transactional\ntrigger", 1)), run.log)
    assert receipts.trace("b").notes == ()
    assert (run.trace("b").table["kind"] == "event").all()


def test_a_trace_calls_only_the_later_of_two_triggers_of_one_moment_a_new_beginning() -> None:
    program = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: every
while_active: restart
steps: [{wait: 1h}, {send: cart/reminder}]
""")
    rows = [("ana", "cart_add", "2025-03-03T10:00Z", name) for name in "xyz"]
    log = EventLog.from_pandas(pd.DataFrame(rows, columns=["customer_id", "event", "at", "event_id"]))
    told = replay(program, log).trace("ana").table.query("kind == 'journey'")["what"]
    assert told.str.contains("begins again").tolist() == [False, True, True, False]


def test_a_trace_of_nobody_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="no customer 'eve'"):
        run.trace("eve")


def test_a_trace_names_the_customer_whose_zeros_a_spreadsheet_took_away() -> None:
    seven = replay(loads(CART), log_of(("007", "cart_add", "2025-03-03 10:00")))
    with pytest.raises(InputError, match="no customer '7' in the log; did you mean '007'"):
        seven.trace("7")


def test_the_digest_is_the_same_however_the_rows_lie(run: Run) -> None:
    shuffled = EventLog.from_pandas(LOG.events.sample(frac=1, random_state=3))
    assert replay(loads(CART), shuffled).digest == run.digest
    assert replay(loads(CART.replace("4h", "5h")), LOG).digest != run.digest


def test_outcomes_are_counted_from_the_first_entry_for_closed_windows(run: Run) -> None:
    outcomes = measure(run)
    OUTCOMES.check(outcomes)
    assert outcomes.set_index("unit")["converted"].to_dict() == {"ana": False, "bo": True, "cy": True}
    assert outcomes["revenue"].sum() == 80
    told = outcomes.attrs["toolkit"]
    assert (told["label"], told["randomised"], told["window"]) == ("observed", False, "7d")
    assert measure(run, within="30d").attrs["toolkit"]["open_windows"] == 3


def test_an_experiment_is_measured_from_when_its_mails_began_in_an_older_log() -> None:
    arms = "experiment: {name: cart_1, arms: {control: 0.5, mail: 0.5}, holdout: control}\nsteps:"
    program = loads(CART.replace("steps:", arms))
    people, days = [f"c{number}" for number in range(40)], (3, 17)
    rows = [
        (one, event, f"2025-03-{day + hours // 24:02} {hours % 24:02}:00", 10.0 if event == "purchase" else None)
        for day in days
        for one in people
        for event, hours in (("cart_add", 10), ("purchase", 60))
    ]
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"])
    mailed = [one for one, share in zip(people, uniform("cart_1", people), strict=True) if share >= 0.5]
    sent = [(one, "email_sent", "2025-03-17 14:00", math.nan, "cart_1", "mail") for one in mailed]
    mails = pd.DataFrame(sent, columns=[*frame.columns, "experiment", "arm"])
    frame.loc[len(frame)] = ["eve", "cart_add", "2025-04-20 10:00", math.nan]
    frame.loc[len(frame)] = ["eve", "view", "2025-05-20 10:00", math.nan]
    run = replay(program, EventLog.from_pandas(pd.concat([frame, mails]), zone="UTC"))
    known = measure(run)
    assert set(known["entered_at"].dt.day) == {3, 20}
    told = known.attrs["toolkit"]
    assert (told["randomised"], told["untouched"], told["mailed"]) == (True, 41, ("2025-03-17", "2025-03-17"))
    parts = [replay(program, run.log.within(one)) for one in run.log.ranges(events=20)]
    assert len(parts) > 5
    assert label_of(parts[0], reduce(add, map(known_of, parts))) == told  # what parts of a log know adds up
    since = measure(run, since="2025-03-15T00:00Z")
    assert sorted(since["unit"]) == sorted([*people, "eve"])
    assert set(since.loc[since["unit"] != "eve", "entered_at"].dt.day) == {17}
    assert since.attrs["toolkit"]["untouched"] == 1
    assert (known["sends"] - since["sends"]).max() == 2
    until = measure(replay(program, run.log, until="2025-04-01T00:00Z"), since="2025-03-15T00:00Z")
    assert (len(until), "untouched" in until.attrs["toolkit"]) == (40, False)
    with pytest.raises(InputError, match="since needs a time zone; found '2025-03-15'"):
        measure(run, since="2025-03-15")


def test_values_of_a_goal_that_are_no_numbers_are_told_and_never_measured_as_nothing() -> None:
    events = LOG.events.assign(revenue=LOG.events["revenue"].map({30.0: "30,00 €", 50.0: "50"}))
    told = replay(loads(CART), EventLog.from_pandas(events))
    said = "cart.goal.value: 'revenue' is no number in 1 of the 2 'purchase' events, for example '30,00 €'"
    assert [note for note in told.notes if note.startswith(f"line 7: {said}")]
    with pytest.raises(InputError, match=said):
        measure(told)
    readable = events.assign(revenue=events["revenue"].replace("30,00 €", " "))
    assert measure(replay(loads(CART), EventLog.from_pandas(readable)))["revenue"].sum() == 50


def test_a_length_of_time_that_is_none_is_refused_by_the_name_of_its_argument(run: Run) -> None:
    with pytest.raises(
        InputError, match=r"within: expected a duration; found '7 days'; allowed: .*did you mean '7d'\?"
    ):
        measure(run, within="7 days")
    with pytest.raises(InputError, match="within: found '0h'; allowed: longer than nothing"):
        measure(run, within="0h")
    with pytest.raises(InputError, match="before: expected a duration; found 'x'"):
        measure(run, before="x")
    with pytest.raises(InputError, match="before: found '-1d'; allowed: 0s or longer"):
        measure(run, before="-1d")
    for lapsed in ("-1d", "0d"):
        with pytest.raises(InputError, match=f"lapsed: found '{lapsed}'; allowed: longer than nothing"):
            measure(run, lapsed=lapsed)
    with pytest.raises(InputError, match="lapsed: expected a duration; found 7;"):
        measure(run, lapsed=7)


def test_what_is_no_run_is_not_measured() -> None:
    with pytest.raises(InputError, match=r"run: found EventLog; allowed: a run of replay\(program, log\)"):
        measure(LOG)


def test_outcomes_tell_when_the_goal_was_reached_and_which_mails_of_others_came_meanwhile() -> None:
    events = LOG.events.assign(scenario=None)
    sent = pd.DataFrame(
        {
            "customer_id": ["ana", "ana", "ana", "bo", "cy"],
            "event": "email_sent",
            "at": pd.to_datetime(
                ["2025-03-03 15:00", "2025-03-04 09:00", "2025-03-15 09:00"] + ["2025-03-04 09:00"] * 2
            ),
            "scenario": ["cart", "welcome", "welcome", "order_sent", "not_in_the_program"],
        }
    )
    sent["at"] = sent["at"].dt.tz_localize("UTC")
    log = EventLog.from_pandas(pd.concat([events, sent], ignore_index=True).drop(columns="received_at"))
    service = (
        "scenario: order_sent\nclass: transactional\ntrigger: {event: order}\nreentry: every\nsteps: [{send: a/b}]"
    )
    welcome = "scenario: welcome\ntrigger: {event: sign_up}\nreentry: once\nsteps: [{send: a/c}]"
    all_three = tuple(one for text in (CART, service, welcome) for one in loads(text).scenarios)
    outcomes = measure(replay(Program(scenarios=all_three), log), scenario="cart")
    found = outcomes.set_index("unit")
    assert found["converted_at"].dropna().astype(str).to_dict() == {
        "bo": "2025-03-03 12:00:00+00:00",
        "cy": "2025-03-03 20:00:00+00:00",
    }
    assert found["other_mails"].to_dict() == {"ana": 1, "bo": 0, "cy": 0}
    assert "other_mails" not in measure(replay(Program(scenarios=all_three[:2]), log), scenario="cart")
    arms = {"arms": {"mail": 0.5, "none": 0.5}, "holdout": "none"}
    for name, is_other in (("series", False), ("another", True)):  # two parts of a series are one experiment
        named = zip((all_three[0], all_three[2]), ("series", name), strict=True)
        parts = tuple(one.replace(experiment=Experiment(name=called, **arms)) for one, called in named)
        assert ("other_mails" in measure(replay(Program(scenarios=parts), log), scenario="cart")) == is_other
    OUTCOMES.check(outcomes)


def test_a_sweep_tells_who_bought_before_and_who_after(run: Run) -> None:
    tried = sweep(loads(CART), LOG, {"cart.pause.wait": ["1h", "4h", "12h"]}, progress=False)
    table = tried.table.set_index("cart.pause.wait")
    assert table["own_before"].to_dict() == {"1h": 0, "4h": 1, "12h": 2}
    assert table["own_after"].to_dict() == {"1h": 2, "4h": 1, "12h": 0}
    assert table.loc["4h", "sent"] == len(run.decisions)
    assert set(table["basis"]) == {"all"}


def test_a_sweep_of_a_path_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"cart\.pause\.wait"):
        sweep(loads(CART), LOG, {"cart.pauze.wait": ["1h"]})
    with pytest.raises(ScenarioError, match="nothing to try"):
        sweep(loads(CART), LOG, {"cart.pause.wait": []})


def test_an_unknown_event_is_a_note_with_the_nearest_name_in_the_log() -> None:
    run = replay(loads(CART.replace("event: cart_add", "event: cart_ad")), LOG)
    assert any("cart_add" in note for note in run.notes)
    assert len(run.journeys) == 0


def test_an_unknown_column_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="revenue"):
        replay(loads(CART.replace("{event: cart_add}", '{event: cart_add, where: "revenu > 3"}')), LOG)


def test_an_empty_log_replays_to_nothing() -> None:
    run = replay(loads(CART), log_of())
    assert len(run.journeys) == len(run.decisions) == 0
    assert tuple(run.decisions.columns) == DECISIONS.names
    assert "cart" in str(run.summary())
    assert len(measure(run)) == 0


def test_a_program_that_waits_for_clicks_needs_to_be_told_of_them() -> None:
    program = loads(CART + "  - wait_for: {event: email_clicked, within: 1d}\n    else: [{send: cart/offer}]\n")
    with pytest.raises(ScenarioError, match="assume="):
        replay(program, LOG)
    told = replay(program, LOG, assume="never")
    assert any("assumed" in note for note in told.notes)
    assert "offer" in set(told.decisions["step"])


def test_until_needs_a_time_zone() -> None:
    with pytest.raises(InputError, match="time zone"):
        replay(loads(CART), LOG, until=pd.Timestamp("2025-03-04"))
    with pytest.raises(InputError, match="until needs a time zone; found '2025-03-04'"):
        replay(loads(CART), LOG, until="2025-03-04")


def test_until_may_be_the_text_of_a_moment_and_nothing_else() -> None:
    until = pd.Timestamp("2025-03-04T00:00Z")
    assert replay(loads(CART), LOG, until="2025-03-04T01:00+01:00").until == until
    assert replay(loads(CART), LOG, until="2025-03-04T00:00Z").digest == replay(loads(CART), LOG, until=until).digest
    for found in ("tomorrow", 5, until.date(), pd.NaT):
        with pytest.raises(InputError, match=r"until: found .*; allowed: a moment with a time zone, for example"):
            replay(loads(CART), LOG, until=found)


POOL = """
scenario: gift
trigger: {event: sign_up}
reentry: every
while_active: parallel
steps:
  - {id: gift, send: gift/code, offer: {percent: 10, pool: spring, on_empty: EMPTY}}
  - {wait: 1d}
  - {id: more, send: gift/code, offer: {percent: 5, pool: spring, on_empty: skip}}
---
pools: {spring: {size: SIZE}}
"""


def signed_up(count: int) -> EventLog:
    day = pd.Timestamp("2025-03-03T10:00Z")
    events = pd.DataFrame({"customer_id": [f"c{i:02}" for i in range(count)], "event": "sign_up", "at": day})
    return EventLog.from_pandas(pd.concat([events, events.assign(at=day + pd.Timedelta(hours=1))]))


def test_what_reaches_past_a_moment_is_the_whole_run_without_the_other_journeys() -> None:
    days = [f"2025-03-{day:02} 10:00" for day in (3, 3, 11, 19, 19, 20)]
    log = log_of(*((customer, "cart_add", day) for customer in ("ana", "bo", "cy") for day in days))
    whole = replay(loads(CART), log)
    moment = pd.Timestamp("2025-03-12 14:00", tz="UTC")  # the very moment of a first mail's second
    part = whole.reaching(moment)
    late = set(whole.decisions.loc[whole.decisions["at"] > moment, "journey_id"])
    assert 0 < len(late) < len(whole.journeys)
    for mine, all_rows in ((part.journeys, whole.journeys), (part.decisions, whole.decisions)):
        expected = all_rows[all_rows["journey_id"].isin(late)].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, expected)
    pd.testing.assert_frame_equal(part.trigger_properties(), whole.trigger_properties(part.all_journey_ids.to_pandas()))
    assert not len(whole.reaching(whole.decisions["at"].max()).journeys)
    pd.testing.assert_frame_equal(whole.journeys, replay(loads(CART), log).journeys)


def test_the_story_of_a_robot_shows_its_first_and_last_and_how_many_are_between() -> None:
    moments = pd.date_range("2025-03-03", periods=3_000, freq="min").astype(str)
    log = log_of(*(("robot", "view", moment) for moment in moments), ("ana", "cart_add", "2025-03-03 10:00"))
    trace = replay(loads(CART), log).trace("robot")
    assert len(trace.table) == 3_000
    lines = str(trace).splitlines()
    assert len(lines) == 2_002
    assert lines[1001].strip() == "… 1,000 more in between; all are in .table"
    assert (lines[1][2:18], lines[1002][2:18]) == ("2025-03-03 00:00", "2025-03-04 09:20")
    shown = trace._repr_html_()
    assert shown.count("<tr") == 2_001
    assert "1,000 more in between" in shown


def test_journeys_and_decisions_stand_in_the_order_of_moment_and_id(run: Run) -> None:
    for frame, columns in ((run.journeys, ["entered_at", "journey_id"]), (run.decisions, ["at", "decision_id"])):
        assert frame[columns[0]].duplicated().any()
        pd.testing.assert_frame_equal(frame, frame.sort_values(columns, kind="stable", ignore_index=True))


@pytest.mark.parametrize("size", [0, 1, 3, 12, 13, 24, 30, 47, 48, 60])
def test_coupons_go_in_order_of_time_then_customer_and_no_more_than_there_are(size: int) -> None:
    program = loads(POOL.replace("EMPTY", "skip").replace("SIZE", str(size)))
    run = replay(program, signed_up(12), until=pd.Timestamp("2025-03-10T00:00Z"))
    decisions = run.decisions.sort_values(["at", "customer_id"], kind="stable")
    assert len(decisions) == 48
    status = list(decisions["status"])
    assert status == ["send"] * min(size, 48) + ["skipped"] * max(0, 48 - size)
    assert set(decisions.loc[decisions["status"] == "skipped", "reason"]) <= {"coupon_empty"}


def test_a_mail_may_go_without_the_offer_when_the_pool_is_empty() -> None:
    program = loads(POOL.replace("EMPTY", "send_without").replace("SIZE", "5"))
    run = replay(program, signed_up(12), until=pd.Timestamp("2025-03-10T00:00Z"))
    first = run.decisions[run.decisions["step"] == "gift"]
    assert list(first["status"].unique()) == ["send"]
    assert first["offer"].notna().sum() == 5
    assert set(run.decisions.loc[run.decisions["step"] == "more", "reason"]) == {"coupon_empty"}


def test_a_pool_of_unknown_size_never_runs_out_and_the_run_says_so() -> None:
    program = loads(POOL.replace("EMPTY", "skip").replace("{size: SIZE}", "{file: codes.csv}"))
    run = replay(program, signed_up(12), until=pd.Timestamp("2025-03-10T00:00Z"))
    assert (run.decisions["status"] == "send").all()
    assert run.load().offers["codes_left"].isna().all()
    assert any("replays and forecasts count as if they never ran out" in note for note in run.notes)


def test_consent_comes_and_goes_with_the_log() -> None:
    people = pd.DataFrame({"customer_id": ["ana", "bo"], "email": ["a@example.org", None], "consent": [True, True]})
    log = log_of(
        ("ana", "cart_add", "2025-03-03 10:00"),
        ("ana", "email_unsubscribed", "2025-03-03 11:00"),
        ("ana", "cart_add", "2025-03-13 10:00"),
        ("ana", "email_subscribed", "2025-03-14 11:00"),
        ("ana", "cart_add", "2025-03-23 10:00"),
        ("bo", "cart_add", "2025-03-23 10:00"),
        ("cy", "cart_add", "2025-03-23 10:00"),
        ("dee", "view", "2025-04-20 10:00"),
        people=people,
    )
    run = replay(loads(CART), log)
    assert list(run.journeys["customer_id"]).count("ana") == 2
    assert "unsubscribed" in set(run.journeys["ended_by"])
    assert "cy" not in set(run.journeys["customer_id"])
    assert set(run.decisions.loc[run.decisions["customer_id"] == "bo", "reason"]) == {"no_address"}


def test_a_difference_tells_who_gains_loses_or_moves_a_mail(run: Run) -> None:
    longer = replay(loads(CART.replace("wait: 4h", "wait: 12h")), LOG)
    told = run.diff(longer)
    assert set(zip(told.mails["change"], told.mails["customer_id"], told.mails["step"], strict=True)) == {
        ("lost", "cy", "reminder"),
        ("moved", "ana", "reminder"),
        ("moved", "ana", "last"),
    }
    assert set(told.mails.loc[told.mails["change"] == "moved", "later"]) == {pd.Timedelta(hours=8)}
    assert told.same == 0
    assert "1 lost, 2 moved" in str(told)
    back = longer.diff(run)
    assert set(back.mails["change"]) == {"gained", "moved"}
    offered = replay(loads(CART.replace("cart/last_call}", "cart/last_call, offer: {percent: 5}}")), LOG)
    assert list(run.diff(offered).mails["change"]) == ["changed"]
    nothing = run.diff(run)
    assert (len(nothing.mails), nothing.same) == (0, 3)
    assert "3 mails are the same" in str(nothing)


def test_the_load_counts_mails_by_hour_and_day(run: Run) -> None:
    load = run.load()
    assert load.by_day["mails"].sum() == load.by_hour["mails"].sum() == 3
    assert len(load.by_day) == 18
    assert load.peak == (pd.Timestamp("2025-03-03T14:00Z"), 2)
    assert "3 mails" in str(load)
    assert replay(loads(CART), log_of()).load().peak == (None, 0)


def test_mails_a_day_are_a_mean_over_days_of_24_hours_wherever_they_begin() -> None:
    day = replay(loads(CART), LOG).between("2025-03-04T01:30+05:30", "2025-03-05T01:30+05:30").load()
    assert (len(day.by_day), round(day.days, 9)) == (2, 1.0)
    assert str(day).startswith("1 mail (exact), 1.0 a day; ")
    hours = replay(loads(CART), LOG).between("2025-03-03T12:00Z", "2025-03-03T15:00Z").load()
    assert "2 mails (exact), 2.0 a day; most" in str(hours)


def test_an_overlap_counts_people_of_both_and_limits_reached() -> None:
    both = loads(
        CART
        + "caps: [{limit: 1, per: 7d, scope: marketing}]\n---\n"
        + CART.replace("scenario: cart", "scenario: basket").replace("trigger:", "priority: 10\ntrigger:")
    )
    overlap = replay(both, LOG).overlap()
    assert overlap.people.loc["cart", "basket"] == 2
    assert overlap.people.loc["cart", "cart"] == 2
    caps = overlap.caps.set_index("scenario")["mails"]
    assert caps["cart"] > 0
    assert caps["basket"] == 0
    assert "both" in overlap._repr_html_()


def test_what_customer_updated_says_holds_from_then_on_whatever_kind_it_comes_in() -> None:
    people = pd.DataFrame({"customer_id": ["ana"], "country": [None], "points": [3], "timezone": ["UTC"]})
    events = pd.DataFrame(
        {
            "customer_id": "ana",
            "event": ["cart_add", "customer_updated", "cart_add", "customer_updated", "cart_add"],
            "at": pd.to_datetime(["2025-03-01", "2025-03-10", "2025-03-11", "2025-03-20", "2025-03-21"], utc=True),
            "country": [None, "FR", None, None, None],
            "points": [None, "7", None, "many", None],
        }
    )
    log = EventLog.from_pandas(events, customers=people)
    audience = CART.replace("reentry: {after: 7d}", "reentry: every\naudience: \"country = 'FR' and points > 5\"")
    audience = audience.replace(", value: revenue", "")
    run = replay(loads(audience), log)
    assert [moment.day for moment in run.journeys["entered_at"]] == [11, 21]


def test_a_customer_who_moves_is_mailed_by_the_clock_of_the_new_zone() -> None:
    people = pd.DataFrame({"customer_id": ["ana"], "timezone": ["UTC"]})
    events = pd.DataFrame(
        {
            "customer_id": "ana",
            "event": ["customer_updated", "view"],
            "at": pd.to_datetime(["2024-10-26T09:00Z", "2024-10-30T01:00Z"], utc=True),
            "timezone": ["Asia/Kathmandu", None],
        }
    )
    scenario = loads("""
scenario: news
trigger: {schedule: once, from: 2024-10-26, at: "22:00"}
reentry: once
steps: [{send: news/once}]
""")
    run = replay(scenario, EventLog.from_pandas(events, customers=people))
    assert list(run.journeys["entered_at"]) == [pd.Timestamp("2024-10-26T16:15Z")]


def test_logged_mails_fill_the_caps_when_they_are_to_count() -> None:
    events = pd.DataFrame(
        {
            "customer_id": ["ana", "ana", "bo", "bo"],
            "event": ["email_sent", "cart_add"] * 2,
            "at": pd.to_datetime(["2024-01-01T10:00Z", "2024-01-02T10:00Z"] * 2, utc=True),
            "scenario": ["cart", None, "other", None],
        }
    )
    log = EventLog.from_pandas(events)
    until = pd.Timestamp("2024-01-05T00:00Z")
    capped = CART.replace(", value: revenue", "").replace(
        "  - {id: day, wait: 1d}\n  - {id: last, send: cart/last_call}\n", ""
    )
    own = loads(capped + "caps: [{limit: 1, per: 7d, scope: scenario}]\n")
    shared = loads(capped + "caps: [{limit: 1, per: 7d, scope: marketing}]\n")
    statuses = {
        (name, counted): replay(program, log, until=until, count_logged_sends=counted)
        .decisions.set_index("customer_id")["status"]
        .to_dict()
        for name, program in (("own", own), ("shared", shared))
        for counted in (False, True)
    }
    assert statuses["own", False] == statuses["shared", False] == {"ana": "send", "bo": "send"}
    assert statuses["own", True] == {"ana": "skipped", "bo": "send"}
    assert statuses["shared", True] == {"ana": "skipped", "bo": "skipped"}


def test_a_logged_mail_counts_when_it_went_and_without_a_scenario_of_its_own() -> None:
    events = pd.DataFrame(
        {
            "customer_id": "ana",
            "event": ["email_sent", "cart_add"],
            "at": pd.to_datetime(["2024-01-01T10:00Z", "2024-01-02T11:00Z"], utc=True),
            "received_at": pd.to_datetime(["2024-01-02T10:00Z", "2024-01-02T11:00Z"], utc=True),
            "scenario": [None, None],
        }
    )
    log = EventLog.from_pandas(events)
    capped = CART.replace(", value: revenue", "").split("  - {id: day")[0].replace("wait: 4h", "wait: 0s")
    for per, status in (("24h", "send"), ("26h", "skipped")):
        program = loads(f"{capped}caps: [{{limit: 1, per: {per}, scope: marketing}}]\n")
        run = replay(program, log, until=pd.Timestamp("2024-01-05T00:00Z"), count_logged_sends=True)
        assert list(run.decisions["status"]) == [status]


def test_the_kernel_gets_arrays_of_one_type_whatever_the_log() -> None:
    # An array that cannot be written to is another type for the compiler, and half a minute of compiling.
    left = log_of(("ana", "cart_add", "2025-03-03 10:00"), ("ana", "email_unsubscribed", "2025-03-03 11:00"))
    for log in (LOG, log_of(), left):
        run = replay(loads(CART), log)
        past = run.prepared.past(log, run.compiled, micros_of(run.until))._asdict()
        arrays = {name: value for name, value in past.items() if isinstance(value, np.ndarray)}
        frozen = [name for name, value in arrays.items() if not value.flags.writeable]
        assert not frozen


def test_trigger_properties_are_those_of_the_event_that_began_the_journey(run: Run) -> None:
    chosen = run.journeys["journey_id"].iloc[::-1]
    properties = run.trigger_properties(chosen)
    assert list(properties.index) == list(chosen)
    assert set(properties["event"]) == {"cart_add"}
    with pytest.raises(InputError, match="not of this run"):
        run.trigger_properties(["nobody"])


def test_program_and_scenario_replay_alike(run: Run) -> None:
    program = loads(CART)
    assert isinstance(program, Program)
    assert replay(program["cart"], LOG).digest == run.digest


def test_a_customer_with_more_work_than_the_memory_first_set_aside_is_decided_whole() -> None:
    hours = pd.date_range("2025-01-01", periods=6000, freq="h", tz="UTC")
    events = pd.DataFrame({"customer_id": "ana", "event": "tick", "at": hours, "order_id": range(len(hours))})
    scenario = loads("""
scenario: ticks
class: transactional
trigger: {event: tick}
key: order_id
reentry: every
steps: [{wait: 400d}, {send: ticks/late}]
""")
    last = hours[-1] + pd.Timedelta(days=500)
    run = replay(scenario, EventLog.from_pandas(events), until=last)
    assert len(run.decisions) == len(hours)
    assert (run.decisions["at"].to_numpy() == (hours + pd.Timedelta(days=400)).to_numpy()).all()


def test_more_conditions_than_the_engine_holds_are_refused_with_the_scenario_that_asks_for_most() -> None:
    many = ", ".join(f'{{event: view, where: "revenue > {n}"}}' for n in range(58))
    people = ", ".join(f"\"customer_id = 'c{n}'\"" for n in range(70))
    text = (
        CART
        + f"""
---
scenario: picky
trigger: {{event: view}}
reentry: every
audience: {{any: [{people}], happened: [{many}]}}
steps: [{{send: picky/mail}}]
"""
    )
    with pytest.raises(ScenarioError) as caught:
        replay(loads(text), LOG)
    found = [(fault.path, fault.found, fault.message.partition(";")[0]) for fault in caught.value.faults]
    assert found == [
        ("picky", 65, "more conditions on events than the engine holds"),
        ("picky", 72, "more conditions on attributes than the engine holds"),
    ]


def test_a_condition_of_a_hundred_parts_is_taken_whole() -> None:
    often = ", ".join(f"{{event: view, within: {n}d}}" for n in range(1, 101))
    text = f"""
scenario: s
trigger: {{event: view}}
reentry: every
audience: {{happened: [FIRST{often}LAST]}}
steps: [{{send: m/x}}]
"""
    for first, last, mails in (("", "", 1), ("{event: order}, ", "", 0), ("", ", {event: order}", 0)):
        assert len(replay(loads(text.replace("FIRST", first).replace("LAST", last)), LOG).decisions) == mails


def test_a_log_from_before_our_time_to_after_the_end_of_nanoseconds_is_replayed() -> None:
    log = log_of(("ana", "cart_add", "1900-01-01 10:00"), ("bo", "cart_add", "2290-01-01 10:00"))
    decisions = replay(loads(CART), log, until=pd.Timestamp("2290-02-01", tz="UTC")).decisions
    assert decisions["at"].dt.year.tolist() == [1900, 1900, 2290, 2290]


@pytest.mark.parametrize("days", [float("nan"), float("inf"), -1.0, 0.0, 1e300])
def test_a_cycle_of_days_that_are_no_length_of_time_is_never_due(days: float) -> None:
    events = pd.DataFrame({"customer_id": "ana", "event": "purchase", "at": ["2025-03-03T10:00Z"], "days": days})
    cycle = "scenario: s\ntrigger: {cycle: purchase, after: days}\nreentry: every\nsteps: [{send: m/x}]"
    run = replay(loads(cycle), EventLog.from_pandas(events), until=pd.Timestamp("2200-01-01", tz="UTC"))
    assert len(run.journeys) == 0


def test_names_and_keys_of_any_script_are_replayed_and_drawn() -> None:
    events = pd.DataFrame(
        {
            "customer_id": ["Łucja 😀", "日本", "Łucja 😀", "a\x1fb"],
            "event": "purchase",
            "at": pd.Timestamp("2025-03-03T10:00Z"),
            "product": ["thé", "茶", None, "\u202etea"],
        }
    )
    text = """
scenario: s
trigger: {inactive: purchase, for: 1d}
key: product
reentry: every
experiment: {name: e, arms: {a: 0.5, b: 0.5}, unit: journey}
steps: [{send: m/x}]
"""
    journeys = replay(loads(text), EventLog.from_pandas(events), until=pd.Timestamp("2025-04-01T00:00Z")).journeys
    assert set(zip(journeys["customer_id"], journeys["key"], strict=True)) == {
        ("Łucja 😀", "thé"),
        ("日本", "茶"),
        ("a\x1fb", "\u202etea"),
    }
    drawn = ["a" if share < 0.5 else "b" for share in uniform("e", journeys["journey_id"])]
    assert journeys["arm"].tolist() == drawn


AFTER_A_MAIL = """
scenario: last_call
trigger: {event: email_sent, where: "scenario = 'cart' and step = 'offer'"}
exit_on: [{event: email_clicked, where: "template = 'cart/offer'"}]
reentry: once
steps: [{wait: 1d}, {id: call, send: cart/call}]
"""


def test_a_log_before_its_first_mail_has_nobody_who_got_one():
    visits = pd.DataFrame({"customer_id": ["ana", "bo"], "event": "visit", "at": "2025-01-01T00:00Z"})
    run = replay(loads(AFTER_A_MAIL), EventLog.from_pandas(visits), assume="as_logged")
    assert len(run.journeys) == 0
    mails = visits.assign(event="email_sent", scenario="cart", step=["offer", "reminder"], template="cart/offer")
    run = replay(loads(AFTER_A_MAIL), EventLog.from_pandas(mails), assume="as_logged")
    assert run.journeys["customer_id"].tolist() == ["ana"]
    with pytest.raises(ScenarioError, match=r"last_call\.trigger\.where: unknown column; found 'step'"):
        replay(loads(AFTER_A_MAIL), EventLog.from_pandas(mails.drop(columns="step")), assume="as_logged")
    with pytest.raises(ScenarioError, match=r"unknown column; found 'stp'.*did you mean 'step'"):
        replay(loads(AFTER_A_MAIL.replace("step =", "stp =")), EventLog.from_pandas(visits), assume="as_logged")
