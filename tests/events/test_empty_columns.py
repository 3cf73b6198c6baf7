"""A column without a value has no kind: a condition may compare it with anything, and nothing comes of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.simulation.one_draw import run_of
from toolkit.engine import measure, replay
from toolkit.errors import EventLogError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.simulation import ResponseModel
from toolkit.simulation.simulation import Simulation

MISSING = {
    "None": None,
    "NaN": np.nan,
    "NaT": pd.NaT,
    "text": pd.Series([None] * 3, dtype="str").array,
    "flag": pd.array([None] * 3, dtype="boolean"),
    "whole": pd.array([None] * 3, dtype="Int64"),
}
CONDITIONS = (
    "coupon = 'X'",
    "coupon <> 'X'",
    "coupon > 3",
    "coupon = true",
    "coupon < '2025-01-01'",
    "coupon in ('A', 'B')",
    "coupon not in (1, 2)",
    "coupon between 1 and 2",
    "coupon like 'a%'",
    "lower(coupon) = 'x'",
    "starts_with(coupon, 'a')",
    "year(coupon) = 2025",
    "cast(coupon as date) > '2025-01-01'",
    "round(coupon, 1) * 2 = -coupon",
    "not coupon",
    "coupon",
)


def rows(**more):
    at = pd.to_datetime(["2025-01-01T10:00Z", "2025-01-02T10:00Z", "2025-01-03T10:00Z"])
    return pd.DataFrame({"customer_id": ["ana", "bo", "cy"], "event": ["cart", "cart", "buy"], "at": at, **more})


def mails(where, log, *, key='trigger: {{event: cart, where: "{}"}}'):
    program = loads(f"{{scenario: s, reentry: every, {key.format(where)}, steps: [{{send: a/b}}]}}")
    return len(replay(program, log).decisions)


def sources(frame, folder):
    frame.to_parquet(folder / "events.parquet")
    frame.to_csv(folder / "events.csv", index=False)
    log = EventLog.from_pandas(frame)
    log.save(folder / "store")
    return [
        log,
        EventLog.from_parquet(folder / "events.parquet"),
        EventLog.from_csv(folder / "events.csv"),
        EventLog.open(folder / "store"),
    ]


@pytest.mark.parametrize("kind", MISSING)
def test_whatever_it_is_compared_with_nothing_comes_of_a_column_without_values(kind, tmp_path):
    for log in sources(rows(coupon=MISSING[kind], value=[1.0, 2.0, 3.0]), tmp_path):
        assert log.properties == {"coupon": "empty", "value": "number"}
        assert {where: mails(where, log) for where in CONDITIONS} == dict.fromkeys(CONDITIONS, 0)
        assert mails("coupon is null", log) == mails("coalesce(coupon, 5) > 3", log) == 2
        assert mails("coupon = 'X' or value > 1", log) == 1


def test_a_column_of_mistakes_is_still_told():
    log = EventLog.from_pandas(rows(coupon=None))
    with pytest.raises(ScenarioError, match="unknown column; found 'cuopon'"):
        mails("cuopon = 'X'", log)
    with pytest.raises(ScenarioError, match="nothing equals null"):
        mails("coupon = null", log)


@pytest.mark.parametrize(("value", "kind"), [("X", "text"), (5.0, "number"), (True, "flag")])
@pytest.mark.parametrize("empty_first", [True, False])
def test_a_column_that_is_empty_in_one_file_has_the_kind_of_the_others(value, kind, empty_first, tmp_path):
    later = rows(coupon=[None, value, None]).assign(at=lambda frame: frame["at"] + pd.Timedelta(days=9))
    names = ["a", "b"] if empty_first else ["b", "a"]
    for name, frame in zip(names, (rows(coupon=None), later), strict=True):
        frame.to_parquet(tmp_path / f"{name}.parquet")
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    for log in (EventLog.from_parquet(tmp_path / "*.parquet"), EventLog.from_csv(tmp_path / "*.csv")):
        assert log.properties == {"coupon": kind}
        assert mails(f"coupon = {value!r}".lower() if kind != "text" else "coupon = 'X'", log) == 1


@pytest.mark.parametrize(("value", "kind"), [("X", "text"), (5.0, "number"), (True, "flag")])
@pytest.mark.parametrize("empty_first", [True, False])
def test_a_day_without_a_value_follows_or_goes_before_one_with_values(value, kind, empty_first):
    full = EventLog.from_pandas(rows(coupon=[None, value, None]))
    empty = EventLog.from_pandas(rows(coupon=np.nan).assign(at=lambda frame: frame["at"] + pd.Timedelta(days=9)))
    log = empty.followed_by(full) if empty_first else full.followed_by(empty)
    assert log.properties == {"coupon": kind}
    assert not any("coupon" in note for note in log.notes)
    assert log.events["coupon"].dropna().tolist() == [value]
    assert empty.followed_by(EventLog.from_pandas(rows(coupon=None))).properties == {"coupon": "empty"}


def test_an_event_keeps_its_name_whether_an_empty_column_is_there_or_not():
    ids = [list(EventLog.from_pandas(frame).event_ids([0, 1, 2])) for frame in (rows(), rows(coupon=None))]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("kind", MISSING)
def test_attributes_without_a_value_are_compared_with_anything(kind):
    people = pd.DataFrame({"customer_id": ["ana", "bo", "cy"], "email": None, "consent": True, "tier": MISSING[kind]})
    log = EventLog.from_pandas(rows(), customers=people)
    assert log.attributes == {"email": "text", "consent": "flag", "tier": "empty"}
    for where in ("tier = 'gold'", "tier > 3", "tier < '2025-01-01'"):
        assert mails(where, log, key='class: transactional, trigger: {{event: cart}}, audience: "{}"') == 0
    assert mails("tier is null", log, key='class: transactional, trigger: {{event: cart}}, audience: "{}"') == 2


def test_an_empty_attribute_that_events_tell_has_the_kind_of_what_they_tell():
    people = pd.DataFrame({"customer_id": ["ana", "bo"], "email": "x@example.org", "consent": True, "tier": np.nan})
    told = pd.DataFrame(
        {"customer_id": ["bo"], "event": "customer_updated", "at": ["2025-01-01T00:00Z"], "tier": "gold"}
    )
    log = EventLog.from_pandas(pd.concat([told, rows()]), customers=people)
    assert log.attributes["tier"] == "text"
    assert mails("tier = 'gold'", log, key='trigger: {{event: cart}}, audience: "{}"') == 1


def test_customers_of_a_later_log_may_fill_an_empty_attribute():
    early, late = (
        pd.DataFrame({"customer_id": [who], "tier": [tier]}) for who, tier in (("ana", np.nan), ("bo", "gold"))
    )
    for first, second in ((early, late), (late, early)):
        log = EventLog.from_pandas(rows(), customers=first).followed_by(EventLog.from_pandas(rows(), customers=second))
        assert log.attributes == {"tier": "text"}
        assert log.customer_table.column("tier").to_pylist().count("gold") == 1
    number = pd.DataFrame({"customer_id": ["cy"], "tier": [3]})
    with pytest.raises(EventLogError, match="tier is text in the log and number in the later one"):
        EventLog.from_pandas(rows(), customers=late).followed_by(EventLog.from_pandas(rows(), customers=number))


def test_a_goal_whose_value_is_empty_is_worth_nothing():
    program = loads(
        "{scenario: s, reentry: every, trigger: {event: cart}, steps: [{send: a/b}], "
        "goal: {event: buy, within: 1d, value: revenue}}"
    )
    for nothing in (None, np.nan):
        outcomes = measure(replay(program, EventLog.from_pandas(rows(revenue=nothing))))
        assert outcomes["revenue"].fillna(0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_what_mails_say_is_known_before_the_first_of_them(nothing):
    log = EventLog.from_pandas(rows(step=nothing, verdict=nothing))
    assert log.properties == {"step": "text", "verdict": "empty"}
    opening = ResponseModel.parse("{response: everyone, window: 3d, opens: {rate: 1}}")
    program = loads("""
scenario: s
trigger: {event: cart}
reentry: once
goal: {event: buy, within: 3d}
experiment: {name: s_1, arms: {control: 0.01, mail: 0.99}, holdout: control}
steps:
  - {id: first, send: a/b}
  - wait_for: {event: email_opened, where: "step = 'first'", within: 2d}
    then: [{id: opener, send: a/c}]
    else: [{id: other, send: a/d}]
""")
    run = run_of(Simulation(program, log, response=opening))
    steps = run.decisions.query("status == 'send'")["step"].tolist()
    assert steps.count("opener") == steps.count("first") > 0
