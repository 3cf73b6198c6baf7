"""A sweep: every setting as its own replay would be, work done once, and a best cell that does not flatter itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from toolkit.engine import OBSERVED, replay, sweep
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import load, loads, set_parameters
from toolkit.simulation import generate_events
from toolkit.tables import ENDINGS

ROOT = Path(__file__).parents[2]

CART = """
scenario: cart
trigger: {event: cart_add, where: "value >= 20"}
reentry: {after: 1d, from: entry}
exit_on: [{event: purchase}]
goal: {event: purchase, within: 3d}
steps: [{id: pause, wait: 4h}, {id: reminder, send: cart/reminder, offer: {percent: 10}}]
"""
WELCOME = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
steps: [{id: pause, wait: 1h}, {id: hello, send: welcome/hello}, {id: more, wait: 2d}, {id: tour, send: welcome/tour}]
"""
CAPPED = "caps: [{limit: 1, per: 7d}]\n---" + CART + "---" + WELCOME
APART = CART + "---" + WELCOME


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep")
    generate_events(20_000, place / "events.parquet", customers=900, seed=4)
    EventLog.from_parquet(place / "events.parquet").save(place / "store")
    return place / "store"


@pytest.fixture(scope="module")
def log(folder):
    return EventLog.open(folder)


def _replayed(program, log, setting):
    """What replays of the whole program say, setting by setting."""
    run = replay(set_parameters(program, setting), log)
    decisions, journeys = run.decisions, run.journeys
    rows = {}
    for name in journeys["scenario"].unique():
        mine = decisions[decisions["scenario"] == name]
        ended = journeys.loc[journeys["scenario"] == name, "ended_by"]
        counts = [len(ended), *((mine["status"] == status).sum() for status in ("send", "withheld", "skipped"))]
        rows[name] = [*counts, *((ended == by).sum() for by in ENDINGS)]
    return rows


@pytest.mark.parametrize("text", [CAPPED, APART], ids=["sharing a limit", "sharing nothing"])
def test_each_cell_is_the_replay_of_its_setting(log, text):
    program = loads(text)
    grid = {"cart.pause.wait": ["1h", "2d"], "welcome.pause.wait": ["0s", "1d"]}
    tried = sweep(program, log, grid, progress=False)
    assert len(tried.table) == 8
    columns = ["journeys", "sent", "withheld", "skipped", *ENDINGS]
    for row in tried.table.to_dict("records"):
        setting = {path: row[path] for path in grid}
        assert [row[name] for name in columns] == _replayed(program, log, setting)[row["scenario"]]


def test_what_a_setting_does_not_touch_is_not_replayed_again(log):
    grid = {"cart.pause.wait": ["1h", "4h", "1d"], "welcome.pause.wait": ["0s", "1h"]}
    assert sweep(loads(APART), log, grid, progress=False).runs == 3 + 2
    assert sweep(loads(CAPPED), log, grid, progress=False).runs == 3 * 2
    percents = sweep(loads(APART), log, {"cart.reminder.offer.percent": [5.0, 10.0, 20.0]}, progress=False)
    assert percents.runs == 2
    assert percents.table.loc[percents.table["scenario"] == "cart", "sent"].nunique() == 1


def test_a_list_of_settings_is_tried_as_it_stands(log):
    program = loads(APART)
    settings = [{"cart.pause.wait": "1h"}, {"cart.pause.wait": "2h", "welcome.pause.wait": "2h"}, {}]
    table = sweep(program, log, settings, progress=False).table
    carts = table[table["scenario"] == "cart"]
    assert carts["cart.pause.wait"].tolist() == ["1h", "2h", "4h"]
    assert carts["welcome.pause.wait"].tolist() == ["1h", "2h", "1h"]
    grid = sweep(program, log, {"cart.pause.wait": ["1h"]}, progress=False).table
    assert carts["sent"].iloc[0] == grid.loc[grid["scenario"] == "cart", "sent"].iloc[0]


def test_the_first_part_is_what_was_known_at_its_end(log):
    program = loads(CAPPED)
    tried = sweep(program, log, {"cart.pause.wait": ["1h", "1d"]}, progress=False, chosen_on=0.4)
    early = sweep(program, log, {"cart.pause.wait": ["1h", "1d"]}, progress=False, until=tried.span[1])
    first = tried.parts[tried.parts["part"] == "first"].drop(columns="part").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, early.table)
    second = tried.parts[tried.parts["part"] == "second"]
    assert (first["journeys"].to_numpy() + second["journeys"].to_numpy() == tried.table["journeys"].to_numpy()).all()


def test_the_best_cell_is_shown_on_the_part_it_was_not_chosen_on(log):
    waits = ["1h", "2h", "6h", "12h", "1d", "2d"]
    tried = sweep(loads(CART), log, {"cart.pause.wait": waits}, progress=False)
    best = tried.best("own_after_rate", lowest=True)
    parts = tried.parts.set_index(["part", "cart.pause.wait"])["own_after_rate"]
    assert best.chosen == {"cart.pause.wait": parts["first"].idxmin()}
    assert best.first == parts["first"].min()
    assert best.second == parts["second", best.chosen["cart.pause.wait"]]
    said = str(best)
    assert "observed" in said
    assert "is a selection" in said
    assert "cart, would have bought anyway (observed): the lowest of 6 settings is cart.pause.wait = " in said
    assert f": {100 * best.second:.1f}%, place " in said
    assert "observed" not in str(tried.best("sent"))
    assert "exact" in str(tried.best("sent"))
    assert "chosen on the first part" in best._repr_html_()


@pytest.mark.parametrize(
    ("path", "tried"), [("cart.pause.wait", ["240m", "1d"]), ("cart.reminder.offer.percent", [10, 15])]
)
def test_the_program_as_it_is_is_known_however_it_was_written(log, path, tried):
    chosen = sweep(loads(CART), log, {path: tried}, progress=False).best("sent")
    assert chosen.is_now.tolist() == [True, False]
    assert "the program as it is: " in str(chosen)


def test_a_number_that_nothing_defines_cannot_be_the_best(log):
    tried = sweep(loads(WELCOME), log, {"welcome.pause.wait": ["1h", "2h"]}, progress=False)
    with pytest.raises(InputError, match="not defined in the first part"):
        tried.best("own_after_rate")
    with pytest.raises(InputError, match="did you mean 'sent'"):
        tried.best("sents")
    with pytest.raises(InputError, match="did you mean 'welcome'"):
        tried.best("sent", scenario="welcom")


def test_what_people_did_on_their_own_is_missing_where_nothing_can_tell(log):
    mailed = pd.DataFrame(
        {"customer_id": ["ana"], "event": ["email_sent"], "at": ["2025-01-02T00:00Z"], "scenario": ["cart"]}
    )
    own = ["own_before", "mailed", "own_after"]
    waits = {"cart.pause.wait": ["1h", "4h"]}
    both = EventLog.from_pandas(pd.concat([log.events.assign(scenario=None), mailed]))
    tried = sweep(loads(APART), both, waits, progress=False)
    table = tried.table.set_index("scenario")
    assert table.loc["cart", "basis"].tolist() == ["none", "none"]
    assert table.loc["cart", own].isna().all(axis=None)  # the log holds real mails and no control group
    assert table.loc["welcome", ["mailed", "own_after"]].isna().all(axis=None)  # there is no goal
    assert (table["sent"] > 0).all()
    assert "NA" not in str(tried)
    with pytest.raises(InputError, match="own_before of cart is not known: the log holds real mails of it and no con"):
        tried.heatmap("own_before")
    with pytest.raises(InputError, match="own_after of welcome is not known: the scenario has no goal"):
        tried.heatmap("own_after", scenario="welcome")
    assert [trace.name for trace in tried.plot().data] == ["mails sent"]
    seen = sweep(loads(APART), log, waits, progress=False).table
    assert seen.loc[seen["scenario"] == "cart", own].notna().all(axis=None)


def test_exact_and_observed_columns_are_told_apart(log):
    tried = sweep(loads(CART), log, {"cart.pause.wait": ["1h"]}, progress=False)
    assert set(OBSERVED) < set(tried.table.columns)
    assert f"Observed: {', '.join(OBSERVED)}" in str(tried)
    assert "All other counts are exact" in tried._repr_html_()


def test_scenarios_that_no_setting_changes_are_counted_but_not_shown(log):
    tried = sweep(loads(APART), log, {"cart.pause.wait": ["1h", "4h"]}, progress=False)
    for shown in (str(tried), tried._repr_html_()):
        assert "welcome" not in shown
        assert "1 scenario that no setting changes left out here; .table has all" in shown
    assert set(tried.table["scenario"]) == {"cart", "welcome"}
    both = sweep(
        loads(APART), log, {"cart.pause.wait": ["1h", "4h"], "welcome.more.wait": ["1d", "9d"]}, progress=False
    )
    assert "left out" not in str(both)
    alike = sweep(loads(APART), log, {"cart.priority": [60, 70]}, progress=False)
    assert "cart" in str(alike)  # where nothing changes anything all is shown
    assert "welcome" in str(alike)


def test_a_log_larger_than_memory_is_swept_in_ranges(log, monkeypatch):
    grid = {"cart.pause.wait": ["1h", "1d"]}
    whole = sweep(loads(CAPPED), log, grid, progress=False)
    monkeypatch.setattr(sys.modules["toolkit.engine.sweep"], "EVENTS_AT_ONCE", 4_000)
    ranged = sweep(loads(CAPPED), log, grid, progress=False)
    pd.testing.assert_frame_equal(ranged.table, whole.table)
    pd.testing.assert_frame_equal(ranged.parts, whole.parts)


def test_all_wrong_paths_come_at_once_with_the_nearest():
    log = EventLog.open(ROOT / "data" / "shop")
    program = load(ROOT / "templates")
    with pytest.raises(ScenarioError) as told:
        sweep(program, log, {"abandoned_cart.pauze.wait": ["1h"], "abandoned_cart.gaol.within": ["1d"]})
    assert [fault.nearest for fault in told.value.faults] == ["abandoned_cart.pause.wait", "abandoned_cart.goal.within"]
    with pytest.raises(ScenarioError) as told:
        sweep(program, log, {"abandoned_cart.pause.wait": ["1h", "soon", "later"]})
    assert len(told.value.faults) == 2


def test_too_many_settings_and_none_are_refused(log):
    hours = [f"{hour}h" for hour in range(1, 102)]
    with pytest.raises(ScenarioError, match=r"10,201 settings; at most 10,000"):
        sweep(loads(APART), log, {"cart.pause.wait": hours, "welcome.pause.wait": hours})
    with pytest.raises(ScenarioError, match="list of settings is empty"):
        sweep(loads(CART), log, [])
    with pytest.raises(InputError, match="chosen_on"):
        sweep(loads(CART), log, {"cart.pause.wait": ["1h"]}, chosen_on=1.0)


def test_an_empty_log_is_swept_to_nothing():
    columns = {"customer_id": [], "event": [], "at": pd.to_datetime([], utc=True)}
    empty = EventLog.from_pandas(pd.DataFrame(columns))
    tried = sweep(loads(WELCOME), empty, {"welcome.pause.wait": ["1h", "2h"]}, progress=False)
    assert tried.table["sent"].tolist() == [0, 0]
    with pytest.raises(InputError, match="nothing can be chosen"):
        tried.best("sent")


def test_who_breaks_off_a_sweep_waits_for_what_has_begun_alone(log, monkeypatch):
    begun = []

    def count(self, *job):
        begun.append(job)
        time.sleep(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["toolkit.engine.sweep"]._Work, "_count", count)
    monkeypatch.setattr(sys.modules["toolkit.engine.sweep"], "cores", lambda: 1)
    waits = {"cart.pause.wait": [f"{hours}h" for hours in range(1, 9)]}
    with pytest.raises(KeyboardInterrupt):
        sweep(loads(CART), log, waits, progress=False)
    assert 1 <= len(begun) < 3


@pytest.mark.parametrize("program", [APART, CAPPED])
def test_scenarios_stand_in_the_same_order_under_every_priority_tried(log, program):
    tried = sweep(loads(program), log, {"cart.priority": [0, 90]}, progress=False)
    assert tried.table["scenario"].tolist() == ["cart", "welcome"] * 2
    assert tried.parts["scenario"].tolist() == ["cart", "welcome"] * 4
    assert tried.table["cart.priority"].tolist() == [0, 0, 90, 90]


def _percents(log, *tried, **over):
    """A sweep of discounts, which move no mail, so all of them tie."""
    return sweep(loads(CART), log, {"cart.reminder.offer.percent": list(tried), **over}, progress=False)


@pytest.mark.parametrize(
    ("tried", "chosen"),
    [
        ((5, 15.0, 10.0, 20), 10.0),  # the program as it is
        ((40, 30, 2), 30),  # two stops from 10 to 40, one to 30
        ((5, 15), 5),  # as near on both sides: the first
    ],
)
def test_of_settings_that_tie_the_nearest_to_the_program_is_chosen(log, tried, chosen):
    best = _percents(log, *tried).best("sent")
    assert best.chosen == {"cart.reminder.offer.percent": chosen}
    assert best.table["rank_first"].tolist() == [1] * len(tried)
    assert len(best.tied) == len(tried)
    assert best.first == best.table["first"].iloc[tried.index(chosen)]
    assert best.plot().data[2].text == (f"{chosen:g}%",)


def test_of_settings_that_tie_one_that_changes_fewer_parameters_is_chosen(log):
    over = {"cart.pause.wait": "0s", "cart.reminder.offer.percent": 10}
    tried = sweep(loads(CART), log, [{**over, "cart.reminder.offer.percent": 11}, over], progress=False)
    assert tried.best("journeys").chosen["cart.reminder.offer.percent"] == 10


def test_a_tie_says_who_shares_it_and_why_one_was_taken(log):
    said = str(_percents(log, 5, 10, 15).best("sent"))
    assert "\nall 3 settings are alike in the first part" in said
    assert "; the program as it is was taken\n" in said
    assert ", place 1 of 3 there, shared by 3" in said
    some = str(_percents(log, 5, 15, **{"cart.pause.wait": ["1h", "10d"]}).best("sent"))
    assert (
        "\n2 settings share it, also with cart.reminder.offer.percent = 15; "
        "the nearest to the program as it is was taken, of several as near the first tried\n"
    ) in some
    many = str(_percents(log, *range(20, 30), **{"cart.pause.wait": ["1h", "10d"]}).best("sent"))
    assert "10 settings share it, also with cart.reminder.offer.percent = 21; " in many
    assert "; and 4 more; the nearest" in many
    alone = str(sweep(loads(CART), log, {"cart.pause.wait": ["1h", "10d"]}, progress=False).best("sent"))
    assert "share" not in alone
