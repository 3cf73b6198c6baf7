"""One random world asked in other ways: other files, other orders, parts and threads; the truth stays the same."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.reference.crowds import crowd
from tests.reference.outcomes import with_answers
from tests.reference.worlds import World, people, world
from toolkit.engine import Run, measure, replay
from toolkit.engine.doors import micros_of
from toolkit.engine.runners.local import run_kernel
from toolkit.events import EventLog

FEW, MANY = range(8), range(2_000, 2_100)
# As texts they are told apart, sorted otherwise than as numbers, and stand in quotes in a file.
ODD = {"ana": "10", "bo": "9", "cy": "é 1", "di": 'q"uo,te', "ed": "Ω'x", "flo": "010", "zoe": "null"}
BASE = ["customer_id", "event", "at", "received_at", "event_id"]


class Asked:
    """A world, what a replay of its frame says of it, and the frame to make other logs of."""

    def __init__(self, number: int, folder: Path) -> None:
        self.folder, self.chance = folder, Random(number)
        made = (crowd if number % 2 else world)(number)
        one = made if self.chance.random() < 0.4 else with_answers(made, self.chance)
        if self.chance.random() < 0.5:
            one = replace(one, events=_renamed(one.events), customers=_renamed(one.customers))
        self.world: World = one
        self.options: dict[str, Any] = {
            "until": made.until, "count_logged_sends": made.count_logged_sends, "progress": False,
        }  # fmt: skip
        self.events, self.customers = one.frame(), people(one.customers)
        self.log = self.of(self.events)
        self.run = self.replay(self.log)

    def of(self, events: Any, customers: Any = None) -> EventLog:
        return EventLog.from_pandas(
            events, customers=self.customers if customers is None else customers, progress=False
        )

    def replay(self, log: EventLog, **options: Any) -> Run:
        return replay(self.world.program, log, **{**self.options, **options})

    def shuffled(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.iloc[self.chance.sample(range(len(frame)), len(frame))]


def _renamed(rows: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return tuple({**row, "customer_id": ODD[row["customer_id"]]} for row in rows)


def _same(found: Run, wanted: Run) -> None:
    assert found.digest == wanted.digest
    pd.testing.assert_frame_equal(found.journeys, wanted.journeys)
    pd.testing.assert_frame_equal(found.decisions, wanted.decisions)
    assert [note for note in found.notes if "asks all customers" not in note] == list(wanted.notes)
    for name in ("by_hour", "by_day", "offers"):
        pd.testing.assert_frame_equal(getattr(found.load(), name), getattr(wanted.load(), name))
    pd.testing.assert_frame_equal(found.summary().table, wanted.summary().table)
    assert str(found.overlap()) == str(wanted.overlap())


def _stored_and_in_ranges(asked: Asked) -> None:
    asked.log.save(asked.folder / "store", progress=False)
    stored = EventLog.open(asked.folder / "store")
    _same(asked.replay(stored), asked.run)
    run = asked.replay(stored, events_at_once=asked.chance.choice((1, 2, max(1, len(stored) // 3))))
    _same(run, asked.run)
    for customer in sorted(set(asked.events["customer_id"])):
        assert str(run.trace(customer)) == str(asked.run.trace(customer))
    ids = asked.chance.sample(asked.run.journeys["journey_id"].tolist(), len(asked.run.journeys))
    if ids:
        pd.testing.assert_frame_equal(run.trigger_properties(ids), asked.run.trigger_properties(ids))
    for scenario in (one for one in asked.world.program.scenarios if one.goal):
        options: dict[str, Any] = {"scenario": scenario.scenario, "unit": asked.chance.choice(("customer", "journey"))}
        parts = pd.concat([measure(part, **options) for part in run.parts()], ignore_index=True)
        whole = measure(asked.run, **options).sort_values("unit", ignore_index=True)
        pd.testing.assert_frame_equal(parts.sort_values("unit", ignore_index=True), whole, check_dtype=False)


def _in_another_order(asked: Asked) -> None:
    known = asked.events.assign(known=asked.events[["at", "received_at"]].max(axis=1))
    if known.duplicated(["event_id", "known"]).any():
        return  # of two events with one id that came at once, the first row counts
    _same(asked.replay(asked.of(asked.shuffled(asked.events), asked.shuffled(asked.customers))), asked.run)


def _without_ids(asked: Asked) -> None:
    frame = asked.events.drop(columns="event_id")
    wanted, other = asked.replay(asked.of(frame)), asked.of(asked.shuffled(frame))
    _same(asked.replay(other), wanted)
    other.save(asked.folder / "unnamed", progress=False)
    _same(asked.replay(EventLog.open(asked.folder / "unnamed"), events_at_once=3), wanted)


def _from_parquet(asked: Asked) -> None:
    half = max(1, len(asked.events) // 2)
    files = [asked.folder / f"{name}.parquet" for name in ("first", "second", "people")]
    for frame, file in zip((asked.events[:half], asked.events[half:], asked.customers), files, strict=True):
        frame.to_parquet(file)
    _same(asked.replay(EventLog.from_parquet(files[:2], customers=files[2], progress=False)), asked.run)


def _from_csv(asked: Asked) -> None:
    if "null" in set(asked.customers["customer_id"]) | set(asked.events["customer_id"]):
        return  # a file cannot tell this name from nothing
    for name, frame in (("events", asked.events), ("people", asked.customers)):
        frame.to_csv(asked.folder / f"{name}.csv", index=False)
    log = EventLog.from_csv(asked.folder / "events.csv", customers=asked.folder / "people.csv", progress=False)
    _same(asked.replay(log), asked.run)


def _from_arrow(asked: Asked) -> None:
    log = asked.of(pa.Table.from_pandas(asked.events), pa.Table.from_pandas(asked.customers))
    _same(asked.replay(log), asked.run)


def _from_sqlite(asked: Asked) -> None:
    times = asked.events.select_dtypes("datetimetz").columns
    frame = asked.events.assign(**{name: asked.events[name].astype(str) for name in times})
    with closing(sqlite3.connect(asked.folder / "events.sqlite")) as connection:
        frame.to_sql("events", connection, index=False)
    url = f"sqlite:///{asked.folder / 'events.sqlite'}"
    log = EventLog.from_sql(url, "events", customers=asked.customers, progress=False)
    found, wanted = asked.replay(log), asked.run
    # A flag of SQLite is a number, which a warning may name as such.
    assert found.digest == wanted.digest
    pd.testing.assert_frame_equal(found.decisions, wanted.decisions)


def _in_local_times(asked: Asked) -> None:
    zone = asked.chance.choice(("Europe/Paris", "America/New_York", "Asia/Kathmandu"))
    local = {name: asked.events[name].dt.tz_convert(zone) for name in ("at", "received_at")}
    _same(asked.replay(asked.of(asked.events.assign(**local))), asked.run)


def _from_json_properties(asked: Asked) -> None:
    names = [name for name in asked.events if name not in BASE]
    if asked.events[names].isna().all().any():
        return  # a property that nothing has is none
    rows = [
        json.dumps(
            {
                name: value if isinstance(value, str | float | bool) else str(value)
                for name, value in row.items()
                if not pd.isna(value)
            }
        )
        for row in asked.events[names].to_dict("records")
    ]
    _same(asked.replay(asked.of(asked.events[BASE].assign(properties=rows))), asked.run)


def _after_other_questions(asked: Asked) -> None:
    for number in (1, 2):
        pools = asked.world.program.policies.pools
        other = asked.world.program.replace(policies=world(number).program.policies.replace(pools=pools))
        replay(other, asked.log, progress=False)
    _same(asked.replay(asked.log), asked.run)


def _beside_others(asked: Asked) -> None:
    if asked.world.program.policies.pools or "median" in str(asked.world.program):
        return  # where one customer matters to another
    ids = ("customer_id", "event_id")
    others = asked.events.assign(**{name: "zz" + asked.events[name] for name in ids})
    run = asked.replay(asked.of(pd.concat([others, asked.events], ignore_index=True)))
    for found, wanted in ((run.journeys, asked.run.journeys), (run.decisions, asked.run.decisions)):
        mine = found[~found["customer_id"].str.startswith("zz")].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, wanted)


def _on_several_threads(asked: Asked) -> None:
    run = asked.run
    for threads in (1, 2, 5):
        past = run.prepared.past(asked.log, run.compiled, micros_of(run.until))
        walked = run_kernel(run.compiled, past, threads=threads)
        assert np.array_equal(walked.journeys, asked.run.walked.journeys)
        assert np.array_equal(walked.decisions, asked.run.walked.decisions)


WAYS: tuple[Callable[[Asked], None], ...] = (
    _stored_and_in_ranges, _in_another_order, _without_ids, _from_parquet, _from_csv, _from_arrow, _from_sqlite,
    _in_local_times, _from_json_properties, _after_other_questions, _beside_others, _on_several_threads,
)  # fmt: skip


@pytest.mark.parametrize("number", FEW)
def test_a_random_world_is_the_same_in_whatever_way_it_is_asked(number: int, tmp_path: Path) -> None:
    asked = Asked(number, tmp_path)
    for way in asked.chance.sample(WAYS, 4):
        way(asked)


def test_a_part_in_which_nobody_opened_a_mail_is_measured_in_the_columns_of_the_whole(tmp_path: Path) -> None:
    _stored_and_in_ranges(Asked(2001, tmp_path))


@pytest.mark.soak
def test_a_hundred_random_worlds_are_the_same_in_whatever_way_they_are_asked(tmp_path: Path) -> None:
    for number in MANY:
        folder = tmp_path / str(number)
        folder.mkdir()
        asked = Asked(number, folder)
        for way in WAYS:
            way(asked)
