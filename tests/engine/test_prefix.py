"""R21 on what is shipped: decisions and reports up to a moment are those of the log as it was known at that moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.reference.compare import differences
from toolkit.engine import measure, own_purchases, prepared, replay, sweep
from toolkit.engine.flow import flow_of
from toolkit.engine.gaps import NO_GAP, median_gaps
from toolkit.engine.glance import glance
from toolkit.engine.marked import Marked
from toolkit.engine.own_purchases import EDGES
from toolkit.events import EventLog
from toolkit.scenario import Program, load, loads
from toolkit.simulation import ResponseModel, simulate

TEMPLATES = load("templates")
Decide = Callable[[Program, pd.DataFrame, pd.DataFrame, pd.Timestamp], pd.DataFrame]

REPLENISHMENT = """
scenario: replenishment
trigger: {cycle: purchase, after: {median: WHOSE}}
reentry: every
steps: [{send: replenishment/again}, {wait: 2d}, {send: replenishment/last_call}]
"""


@pytest.fixture(scope="module")
def shop() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Five hundred customers of the shipped log; a tenth of their events is received up to ten days late."""
    log = EventLog.open("data/shop")
    people = log.customer_table.to_pandas().head(500)
    events = log.events
    events = events[events["customer_id"].isin(people["customer_id"])].reset_index(drop=True)
    chance = np.random.default_rng(7)
    late = pd.to_timedelta(
        np.where(chance.random(len(events)) < 0.1, chance.integers(1, 240, len(events)), 0), unit="h"
    )
    return events.assign(received_at=events["received_at"] + late), people


def by_engine(program: Program, events: pd.DataFrame, people: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    return replay(program, EventLog.from_pandas(events, customers=people), until=until, assume="as_logged").decisions


def knowing_late_news(
    program: Program, events: pd.DataFrame, people: pd.DataFrame, until: pd.Timestamp
) -> pd.DataFrame:
    """A cheat: events that are received late are known when they happen."""
    return by_engine(program, events.assign(received_at=events["at"]), people, until)


def looked_ahead(decide: Decide, program: Program, events: pd.DataFrame, people: pd.DataFrame) -> list[str]:
    """Decisions that the log cut at three moments, one of them the receipt of an event, would not have given."""
    received = events["received_at"].sort_values(ignore_index=True)
    whole = decide(program, events, people, received.iloc[-1])
    said = []
    for share, later in ((0.3, "0h"), (0.55, "5h"), (0.8, "31h")):
        cut = received.iloc[int(share * len(received))] + pd.Timedelta(later)
        before = decide(program, events[events["received_at"] <= cut], people, cut)
        said += differences(whole[whole["at"] <= cut].reset_index(drop=True), before)
    return said


@pytest.mark.parametrize("scenario", [scenario.scenario for scenario in TEMPLATES.scenarios])
def test_a_shipped_scenario_decides_by_what_is_known(scenario: str, shop: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    program = TEMPLATES.replace(scenarios=(TEMPLATES[scenario],))
    assert looked_ahead(by_engine, program, *shop) == []


def test_all_shipped_scenarios_together_decide_by_what_is_known(shop: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    assert looked_ahead(by_engine, TEMPLATES, *shop) == []
    assert looked_ahead(knowing_late_news, TEMPLATES, *shop) != []


@pytest.mark.parametrize("whose", ["customer", "category"])
def test_a_usual_time_between_two_is_the_one_known_then(
    whose: str, shop: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, people = shop
    events = events.assign(category=events["category"].fillna("all"))
    program = loads(REPLENISHMENT.replace("WHOSE", whose))
    assert looked_ahead(by_engine, program, events, people) == []

    def of_the_whole_log(marked: Marked, bit: int, group: int) -> np.ndarray:
        """A cheat: the usual time between two as it is known in the end."""
        gaps = median_gaps(marked, bit, group)
        known = gaps[gaps != NO_GAP]
        return np.where((marked.bits >> bit) & 1, known[-1] if len(known) else NO_GAP, NO_GAP)

    monkeypatch.setattr(prepared, "median_gaps", of_the_whole_log)
    assert looked_ahead(by_engine, program, events, people) != []


CUT = pd.Timestamp("2025-04-07T00:00Z")
ANSWERS = ResponseModel.parse("{response: some, purchase: purchase, value: revenue, window: 3d, opens: {rate: 0.5}}")


def reports(events: pd.DataFrame, people: pd.DataFrame) -> dict[str, object]:
    """What every report up to a moment says of the shipped abandoned cart."""
    name, log = "abandoned_cart", EventLog.from_pandas(events, customers=people, progress=False)
    program = TEMPLATES.replace(scenarios=(TEMPLATES[name],))
    run = replay(program, log, until=CUT, progress=False)
    tried = sweep(program, log, {f"{name}.pause.wait": ["1h", "1d"]}, until=CUT, progress=False)
    brought = simulate(program, log, response=ANSWERS, draws=3, seed=1, until=CUT, progress=False)
    seen = glance(program, log, name, until=CUT, arm=None, gift="offer", edges=EDGES)
    own = own_purchases(run)
    return {
        "measured": measure(run, lapsed="30d"),
        "swept": tried.table,
        "parts": tried.parts,
        "simulated": brought.table,
        "seen": (seen.own.tolist(), seen.converted, seen.mails, seen.offers, seen.paid),
        "bought": own.table,
        "own": (str(own), own.given_away(10.0)),
        "flow": flow_of(run, name),
    }


def test_reports_up_to_a_moment_count_what_was_known_then(shop: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    events, people = shop
    is_late = (events["event"] == "purchase") & (events["at"].dt.day % 2 == 0)
    late = events["received_at"].where(~is_late, events["at"] + pd.Timedelta("14D"))
    events = events.assign(received_at=late)
    whole, cut = reports(events, people), reports(events[events["received_at"] <= CUT], people)
    for name, found in whole.items():
        if isinstance(found, pd.DataFrame):
            pd.testing.assert_frame_equal(found, cut[name], obj=name)
        else:
            assert found == cut[name], name
    known_later = reports(events.assign(received_at=events["at"]), people)
    with pd.option_context("display.max_columns", None, "display.max_rows", None):
        same = [name for name, found in whole.items() if str(found) == str(known_later[name])]
    assert same == []


def test_before_its_first_mail_everybody_shows_what_people_do_on_their_own(
    shop: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    events, people = shop
    mailed = events.loc[(events["event"] == "email_sent") & (events["scenario"] == "abandoned_cart"), "at"]
    log = EventLog.from_pandas(events, customers=people, progress=False)
    program = TEMPLATES.replace(scenarios=(TEMPLATES["abandoned_cart"],))
    for until, basis in ((mailed.min() - pd.Timedelta("1us"), "all"), (mailed.min(), "control")):
        assert own_purchases(replay(program, log, until=until, progress=False)).basis == basis
        tried = sweep(program, log, {"abandoned_cart.pause.wait": ["4h"]}, until=until, progress=False)
        assert tried.table["basis"].tolist() == [basis]
