"""Reports of random programs on random logs say what the two tables and the events say, counted again."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pandas as pd
import pytest

from tests.reference.crowds import crowd
from tests.reference.outcomes import with_answers
from tests.reference.random_settings import random_grid
from tests.reference.recounts import (
    Own,
    basis_of,
    changes_between,
    flow_of_tables,
    load_of_tables,
    overlap_of_tables,
    reasons_of_tables,
    story_of_tables,
    summary_of_tables,
)
from tests.reference.worlds import World, world
from toolkit.engine import Run, own_purchases, replay, sends_table, sweep
from toolkit.engine.doors import micros_of
from toolkit.engine.flow import flow_of
from toolkit.engine.glance import glance
from toolkit.engine.own_purchases import EDGES, opened_to_all
from toolkit.errors import ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import set_parameters
from toolkit.scenario.models import Experiment, Offer, Scenario, Send, every_step

FEW, MANY = range(12), range(1_000, 1_400)


def _world(number: int) -> tuple[World, Random]:
    """A world with goals and answers more often than not; in half of them experiments hold people out."""
    chance = Random(number)
    one = (crowd if number % 2 else world)(number)
    asked = {"until": one.until, "count_logged_sends": one.count_logged_sends and chance.random() < 0.5}
    if chance.random() < 0.8:
        one = with_answers(one, chance)
    if chance.random() < 0.5:
        one = _held_out(one, chance)
    return replace(one, **asked), chance


def _held_out(one: World, chance: Random) -> World:
    """The first arm of every marketing scenario gets no mail, and the offer of a first step belongs to the last."""
    scenarios = (_tested(scenario, chance) for scenario in one.program.scenarios)
    return replace(one, program=one.program.replace(scenarios=tuple(scenarios)))


def _tested(scenario: Scenario, chance: Random) -> Scenario:
    if scenario.class_ != "marketing":
        return scenario
    made = scenario.experiment or Experiment(name=f"{scenario.scenario}_x", arms={"control": 0.5, "mail": 0.5})
    first, *_, last = made.arms
    steps = scenario.steps
    if isinstance(steps[0], Send):
        offer = Offer(percent=10.0, valid=chance.choice(("4h", "1d", "3d")))
        steps = (steps[0].replace(offer=offer, only=(last,)), *steps[1:])
    return scenario.replace(experiment=made.replace(holdout=first), steps=steps)


def _replayed(one: World, log: EventLog, program: Any = None, **asked: Any) -> Run:
    asked = {"until": one.until, **asked}
    return replay(program or one.program, log, assume="never", progress=False, **asked)


def _some(counts: dict[Any, int]) -> dict[Any, int]:
    return {name: count for name, count in counts.items() if count}


# --- one run ----------------------------------------------------------------------------------------------------------


def _summary_agrees(run: Run) -> None:
    summary = run.summary()
    rows = summary.table.set_index(["scenario", "arm"]).to_dict("index")
    assert rows == summary_of_tables(run)
    assert {(row.scenario, row.reason): row.mails for row in summary.reasons.itertuples()} == reasons_of_tables(run)
    sends = run.decisions.loc[run.decisions["status"] == "send", "journey_id"].value_counts()
    assert run.journeys["sends"].tolist() == sends.reindex(run.journeys["journey_id"]).fillna(0).astype(int).tolist()


def _load_agrees(run: Run) -> None:
    load, (hours, days, offers) = run.load(largest_order=50.0), load_of_tables(run)
    assert dict(zip(load.by_hour["hour"], load.by_hour["mails"], strict=True)) == hours
    assert _some(dict(zip(load.by_day["day"], load.by_day["mails"], strict=True))) == days
    assert {(row.scenario, row.step, row.offer): row.mails for row in load.offers.itertuples()} == offers
    assert (load.offers["codes_left"].dropna() >= 0).all()


def _overlap_agrees(run: Run, one: World) -> None:
    overlap, (people, caps, weeks) = run.overlap(), overlap_of_tables(run)
    assert {(a, b): overlap.people.loc[a, b] for a, b in people} == people
    assert {row.scenario: row.mails for row in overlap.caps.itertuples()} == {
        name: few for name, (few, _) in caps.items()
    }
    for row in overlap.caps.itertuples():
        stopped, decided = caps[row.scenario]
        assert pd.isna(row.share) if not decided else row.share == pytest.approx(stopped / decided)
        filled = overlap.collisions.loc[row.scenario]
        # Without mails of the log, a limit that stopped a mail was filled by mails of the run.
        assert filled.max() <= stopped
        assert one.count_logged_sends or filled.sum() >= stopped
    assert dict(zip(overlap.weekly["mails"], overlap.weekly["customer_weeks"], strict=True)) == weeks


def _flow_agrees(run: Run, scenario: str) -> None:
    flow, counted = flow_of(run, scenario), flow_of_tables(run, scenario)
    for name in ("sent", "withheld", "skipped", "arms"):
        assert _some(getattr(flow, name)) == counted[name], name
    left = sum(one.total for one in flow.left.values())
    assert (flow.journeys, left, flow.finished) == (counted["journeys"], counted["left"], counted["finished"])
    assert sum(one.unsubscribed for one in flow.left.values()) == counted["unsubscribed"]


def _trace_agrees(run: Run, one: World, customer: str) -> None:
    table = run.trace(customer).table
    journeys, mails = (table[table["kind"] == kind] for kind in ("journey", "no mail"))
    said = {
        "events": Counter(table.loc[table["kind"] == "event", "at"].astype("datetime64[us, UTC]").astype("int64")),
        "mails": Counter(table.loc[table["kind"] == "mail", "at"]),
        "not sent": Counter(mails.loc[~mails["what"].str.startswith("not reached"), "at"]),
        "begin": Counter(journeys.loc[journeys["what"].str.contains(" begins"), "at"]),
        "end": Counter(journeys.loc[journeys["what"].str.contains(" ends: "), "at"]),
        "again": Counter({"again": int(journeys["what"].str.contains(" begins again").sum())}),
        "open": Counter({"open": int(journeys["what"].str.contains("still under way").sum())}),
    }
    assert said == story_of_tables(run, one, customer), str(run.trace(customer))


def _reports_agree(number: int) -> None:
    one, _ = _world(number)
    run = _replayed(one, one.log(), count_logged_sends=one.count_logged_sends)
    _summary_agrees(run)
    _load_agrees(run)
    _overlap_agrees(run, one)
    for scenario in one.program.scenarios:
        _flow_agrees(run, scenario.scenario)
    for customer in sorted({row["customer_id"] for row in (*one.events, *one.customers)}):
        _trace_agrees(run, one, customer)


@pytest.mark.parametrize("number", FEW)
def test_reports_of_a_random_program_are_what_its_tables_say(number: int) -> None:
    _reports_agree(number)


@pytest.mark.soak
def test_reports_of_hundreds_of_random_programs_are_what_their_tables_say() -> None:
    for number in MANY:
        _reports_agree(number)


# --- two runs, and many -----------------------------------------------------------------------------------------------


def _differences_agree(number: int) -> int:
    """How many mails differ, over a few settings."""
    one, chance = _world(number)
    log, again = one.log(), one.log()
    before, differing = _replayed(one, log), 0
    for _ in range(3):
        setting = {path: chance.choice(values) for path, values in random_grid(chance, one.program).items()}
        try:
            program = set_parameters(one.program, setting)
        except ScenarioError:  # each alone would do
            continue
        after = _replayed(one, log, program)
        found = before.diff(after)
        mails, same = changes_between(before, after)
        blank = found.mails.drop(columns="later").astype(object).where(found.mails.notna(), None)
        assert Counter(blank.itertuples(index=False, name=None)) == mails, setting
        assert found.same == same
        counts: Counter[Any] = Counter()
        for (change, scenario, step, *_), count in mails.items():
            counts[scenario, step, change] += count
        assert {(row.scenario, row.step, row.change): row.mails for row in found.table.itertuples()} == counts
        differing += len(mails)
    assert str(before.diff(_replayed(one, again))) == str(before.diff(before))
    return differing


def test_what_differs_between_two_settings_is_what_their_decisions_say() -> None:
    assert sum(_differences_agree(number) for number in range(20, 32)) > 10


@pytest.mark.soak
def test_what_differs_between_hundreds_of_settings_is_what_their_decisions_say() -> None:
    for number in MANY:
        _differences_agree(number)


def _row(found: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    return {name: None if pd.isna(found[name]) else found[name] for name in names}


def _sweep_agrees(number: int) -> int:
    """How many cells were compared."""
    one, chance = _world(number)
    grid = random_grid(chance, one.program)
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    log = one.log()
    try:
        tried = sweep(
            one.program, log, settings, until=one.until, assume="never", progress=False,
            chosen_on=chance.choice((0.2, 0.5, 0.8)),
        )  # fmt: skip
    except ScenarioError:
        return 0  # each value alone would do, two of them together contradict each other
    assert tried.span is not None
    split = tried.span[1]
    parts = {name: tried.parts[tried.parts["part"] == name].to_dict("records") for name in ("first", "second")}
    cells = {"whole": tried.table.to_dict("records"), **parts}
    scenarios = len(one.program.scenarios)
    for place, setting in enumerate(settings):
        program = set_parameters(one.program, setting)
        run, early = _replayed(one, log, program), _replayed(one, log, program, until=split)
        for part, rows in cells.items():
            mine = {row["scenario"]: row for row in rows[place * scenarios : (place + 1) * scenarios]}
            assert {path: value for path, value in mine["s1"].items() if path in setting} == {
                path: value if isinstance(value, int | float) else str(value) for path, value in setting.items()
            }
            for scenario in program.scenarios:
                own = Own(one, scenario)
                row = (
                    own.row(early, last=run.until)
                    if part == "first"
                    else own.row(run, after=split if part == "second" else None)
                )
                assert _row(mine[scenario.scenario], row) == row, (part, setting, scenario.scenario)
    return scenarios * len(settings)


@pytest.mark.parametrize("number", FEW)
def test_every_cell_of_a_sweep_is_counted_in_a_replay_of_its_setting(number: int) -> None:
    _sweep_agrees(number)


@pytest.mark.soak
def test_every_cell_of_hundreds_of_sweeps_is_counted_in_a_replay_of_its_setting() -> None:
    assert sum(_sweep_agrees(number) for number in MANY) > 1_000


def _glance_agrees(number: int) -> int:
    """How many journeys with a closed window were looked at."""
    one, _ = _world(number)
    log = one.log()
    run, mails = _replayed(one, log), 0
    for scenario in one.program.scenarios:
        if scenario.goal is None:
            continue
        basis, arm = basis_of(one, scenario, last=run.until)
        sends = [step for step in every_step(scenario.steps) if isinstance(step, Send) and step.offer]
        gift = sends[0] if sends else None
        is_closed = gift is not None and arm is not None and bool(gift.only) and arm not in gift.only
        found = glance(
            one.program, log, scenario.scenario, until=one.until, arm=arm, gift=gift.id if gift else None,
            opened=opened_to_all(one.program, scenario, arm, gift) if is_closed and arm and gift else None,
            valid=gift.offer.valid if gift and gift.offer else None, edges=EDGES, watched=basis != "none",
        )  # fmt: skip
        own = own_purchases(run, scenario=scenario.scenario)
        counted = Own(one, scenario).row(run)
        table = sends_table(run)
        hours = table.loc[table["scenario"] == scenario.scenario, "hour"].value_counts()
        assert found.hours.sum(axis=0).tolist() == hours.reindex(range(24), fill_value=0).tolist()
        mine = run.journeys[run.journeys["scenario"] == scenario.scenario]
        assert found.entered == mine["customer_id"].nunique()
        if len(mine):
            ends = (mine["entered_at"].min(), mine["entered_at"].max())
            assert found.entries == tuple(map(micros_of, ends))
        assert own.basis == basis
        if basis != "none":
            wanted = (counted["own_before"], counted["mailed"], counted["own_after"])
            assert (found.before, found.mails, found.after) == wanted
            assert (own.before, own.mails, own.after) == wanted
            assert found.offers == own.offers
            assert found.lags == pytest.approx(own.lags, nan_ok=True)
            phases = own.counts()[["before", "after_mail", "after_offer"]].to_numpy()
            assert gift is None or found.own.T.tolist() == phases.tolist()
            mails += found.mails
    return mails


def test_a_glance_and_own_purchases_are_what_a_plain_count_finds() -> None:
    assert sum(_glance_agrees(number) for number in (*FEW, 30, 31, 32, 33)) > 20


@pytest.mark.soak
def test_hundreds_of_glances_and_own_purchases_are_what_a_plain_count_finds() -> None:
    assert sum(_glance_agrees(number) for number in MANY) > 1_000
