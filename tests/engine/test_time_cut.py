"""Random worlds cut in time: periods add up, days come one after another, and no choice sees what comes later."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from tests.engine.test_recounts import _replayed, _world
from tests.reference.random_logs import HALF_HOUR
from tests.reference.random_settings import random_grid
from tests.reference.worlds import people
from toolkit.engine import Run, compact, measure, replay, sends_table, sweep
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog

FEW, MANY = range(5_000, 5_012), range(5_015, 5_250)
ENDED = ["finished", "exited", "superseded", "unsubscribed"]


# --- periods ----------------------------------------------------------------------------------------------------------


def _added(frames: Iterable[pd.DataFrame], by: list[str], numbers: list[str]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for row in pd.concat(list(frames)).to_dict("records"):
        for name in numbers:
            total[(*(row[key] for key in by), name)] += row[name]
    return Counter({key: value for key, value in total.items() if value})


def _edges(run: Run, chance: Random) -> list[pd.Timestamp]:
    """Moments within a run; some are those of a mail, a beginning or an end."""
    first, last = run.span
    assert first is not None
    told = [*run.decisions["at"], *run.journeys["entered_at"], *run.journeys["ended_at"].dropna()]
    drawn = [
        chance.choice(told) if told and chance.random() < 0.6 else first + (last - first) * chance.random()
        for _ in range(chance.choice((1, 2, 4)))
    ]
    return sorted({moment.floor("us") for moment in drawn if first < moment <= last})


def _periods_add_up(number: int) -> int:
    """How many decisions were parted."""
    one, chance = _world(number)
    log, asked = one.log(), {"count_logged_sends": one.count_logged_sends}
    run = _replayed(one, log, **asked)
    edges = _edges(run, chance)
    parts = [run.between(since, before) for since, before in zip([None, *edges], [*edges, None], strict=True)]
    decisions = pd.concat([part.decisions for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(decisions, run.decisions, check_dtype=False)
    for of, by, numbers in (
        (lambda each: each.summary().table, ["scenario", "arm"], ["sent", "withheld", "skipped", *ENDED]),
        (lambda each: each.summary().reasons, ["scenario", "reason"], ["mails"]),
        (lambda each: each.load().by_hour, ["hour"], ["mails"]),
        (lambda each: each.load().by_day, ["day"], ["mails"]),
        (lambda each: each.load().offers, ["scenario", "step", "offer"], ["mails"]),
        (lambda each: each.overlap().caps.reset_index(), ["scenario"], ["mails"]),
        (lambda each: sends_table(each).assign(mails=1), ["scenario", "step", "day", "hour"], ["mails"]),
    ):
        assert _added(map(of, parts), by, numbers) == _added([of(run)], by, numbers), by
    assert sum(part.overlap().collisions for part in parts).equals(run.overlap().collisions)
    weeks = [part.overlap().weekly for part in (run, *parts)]
    mails = [int((week["mails"] * week["customer_weeks"]).sum()) for week in weeks]
    assert mails[0] == sum(mails[1:])
    for part in parts:
        assert part.period is not None
        known = _replayed(one, log, until=part.until, **asked)
        there = known.journeys[~(known.journeys["ended_at"] < part.period.since)]
        assert part.journeys.drop(columns="sends").equals(there.drop(columns="sends").reset_index(drop=True))
        left, offers = (
            each.load().offers.set_index(["scenario", "step", "offer"])["codes_left"] for each in (known, part)
        )
        assert offers.fillna(-1).tolist() == left[offers.index].fillna(-1).tolist()
    for customer in sorted({row["customer_id"] for row in one.events}):
        whole = run.trace(customer).table
        told = pd.concat([part.trace(customer).table for part in parts], ignore_index=True)
        assert told.astype(str).equals(whole[whole["at"].between(*run.span)].reset_index(drop=True).astype(str))
    return len(run.decisions)


def test_periods_of_random_runs_add_up_to_the_whole() -> None:
    assert sum(_periods_add_up(number) for number in FEW) > 20


# --- days -------------------------------------------------------------------------------------------------------------


def _further(events: pd.DataFrame, chance: Random) -> pd.DataFrame:
    """The same events again some days later, up to two times, some of them late; and events nobody asks for."""
    parts = [events, events.iloc[::3].assign(event="noise", event_id=[f"noise{k}" for k in range(len(events[::3]))])]
    for turn in range(chance.choice((0, 1, 2))):
        later = timedelta(days=chance.randint(3, 9) * (turn + 1))
        late = [HALF_HOUR * chance.choice([0, 0, 0, 0, 1, 40, 200, 600]) for _ in range(len(events))]
        parts.append(
            events.assign(
                at=events["at"] + later,
                received_at=events["received_at"] + later + pd.Series(late, index=events.index),
                event_id=events["event_id"] + f"+{turn}",
            )
        )
    return pd.concat(parts, ignore_index=True)


def _days_follow(number: int, folder: Path) -> int:
    """How many decisions were compared."""
    one, chance = _world(number)
    events, customers = _further(one.frame(), chance), people(one.customers)
    if chance.random() < 0.3:
        events = events.drop(columns="event_id").drop_duplicates(ignore_index=True)
    received = events[["at", "received_at"]].max(axis=1)
    asked: dict[str, Any] = {"count_logged_sends": one.count_logged_sends, "assume": "never", "progress": False}
    asked["until"] = one.until if chance.random() < 0.5 else None

    def read(rows: pd.DataFrame) -> EventLog:
        return EventLog.from_pandas(rows, customers=customers, progress=False)

    whole = replay(one.program, read(events), **asked)
    first, last = received.min(), received.max()
    edges = sorted({*(first + (last - first) * chance.random() for _ in range(chance.choice((2, 4, 8)))), last})
    known = compact(one.program, read(events[received <= edges[0]]))
    for day, (before, after) in enumerate(itertools.pairwise(edges)):
        again = chance.choice((timedelta(0), timedelta(hours=12), timedelta(days=3)))
        rows = events[(received > before - again) & (received <= after)]
        if not len(rows):
            continue
        way = chance.choice(("saved", "kept", "joined"))
        if way == "saved":
            known.save(folder / f"{number}-{day}", progress=False)
            known = EventLog.open(folder / f"{number}-{day}")
        known = known.followed_by(read(rows))
        if way != "joined":
            known = compact(one.program, known)
    run = replay(one.program, known, **asked)
    assert run.digest == whole.digest
    for scenario in one.program.scenarios:
        if scenario.goal and scenario.goal.event in known.event_names:
            found, wanted = (measure(each, scenario=scenario.scenario) for each in (run, whole))
            pd.testing.assert_frame_equal(found[list(wanted)], wanted, check_dtype=False)
            assert found.attrs == wanted.attrs
    return len(run.decisions)


def test_random_days_after_one_another_are_replayed_as_if_everything_had_been_kept(tmp_path: Path) -> None:
    assert sum(_days_follow(number, tmp_path) for number in FEW) > 20


# --- choices ----------------------------------------------------------------------------------------------------------


def _other_futures(early: pd.DataFrame, late: pd.DataFrame, split: pd.Timestamp, chance: Random) -> list[pd.DataFrame]:
    """The log as it is, without a future, with another, and with both."""
    both = pd.concat([early, late])
    days = [timedelta(days=chance.choice((0, 1, 5, 10))) for _ in range(len(both))]
    came = [split + HALF_HOUR * chance.randint(1, 400) for _ in range(len(both))]
    other = both.assign(event_id="f" + both["event_id"], at=both["at"] + pd.Series(days, index=both.index))
    other["received_at"] = pd.concat([other["at"], pd.Series(came, index=both.index)], axis=1).max(axis=1)
    other["value"] = chance.sample(both["value"].tolist(), len(both))
    return [early, both, pd.concat([early, other]), pd.concat([both, other])]


def _choices_hold(number: int) -> int:
    """How many rows of a sweep were held to those of other futures."""
    one, chance = _world(number)
    rows = one.frame()
    rows["received_at"] = rows[["at", "received_at"]].max(axis=1)
    rows = rows[rows["event"] != "email_sent"].reset_index(drop=True)  # a real mail changes whose purchases tell
    share, first = chance.choice((0.2, 0.5, 0.8)), rows["at"].min()
    until = first + timedelta(days=chance.choice((6, 10, 20)))
    split = first + (until - first) * share
    early = rows[rows["received_at"] <= split]
    if early["at"].min() != first:
        return 0
    late = rows[(rows["received_at"] > split) & rows["event"].isin(set(early["event"]))]
    grid = random_grid(chance, one.program)
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    found = []
    for frame in _other_futures(early, late, split, chance):
        log = EventLog.from_pandas(frame, customers=people(one.customers), progress=False)
        try:
            tried = sweep(
                one.program, log, settings, until=until, assume="never", progress=False, chosen_on=share
            )  # fmt: skip
        except ScenarioError:
            return 0
        known = tried.parts[tried.parts["part"] == "first"].reset_index(drop=True)
        found.append((known, [_choice(tried, value) for value in ("sent", "own_before", "mailed", "own_after_rate")]))
    (wanted, choices), *others = found
    for known, again in others:
        pd.testing.assert_frame_equal(known, wanted, check_dtype=False)
        assert again == choices
    return len(wanted)


def _choice(tried: Any, value: str) -> Sequence[Any] | str:
    try:
        return list(tried.best(value).chosen.items())
    except InputError as fault:
        return str(fault)


def test_what_is_chosen_on_the_first_part_is_the_same_whatever_comes_after_it() -> None:
    assert sum(_choices_hold(number) for number in range(5_000, 5_016)) > 10


@pytest.mark.soak
def test_all_that_holds_in_hundreds_of_random_worlds(tmp_path: Path) -> None:
    assert sum(_periods_add_up(number) for number in MANY) > 1_000
    assert sum(_days_follow(number, tmp_path) for number in MANY) > 1_000
    assert sum(_choices_hold(number) for number in MANY) > 100
