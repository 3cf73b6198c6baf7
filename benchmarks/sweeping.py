"""A sweep of a hundred waits, in event-settings a second."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Bound, Result, best_of
from benchmarks.replaying import THREE
from toolkit.engine import replay, sweep
from toolkit.events import EventLog
from toolkit.scenario import set_parameters
from toolkit.simulation import generate_events

EVENTS = 1_000_000
SETTINGS = 100
PATH = "abandoned_cart.pause.wait"


def sweep_waits() -> Iterator[Result]:
    """Every setting decides all three scenarios anew, since they share a limit."""
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog.from_parquet(generate_events(EVENTS, Path(folder) / "events.parquet", customers=50_000, seed=1))
        waits = [f"{15 * step}m" for step in range(1, SETTINGS + 1)]
        tried = sweep(THREE, log, {PATH: waits}, progress=False)
        run = replay(set_parameters(THREE, {PATH: waits[41]}), log)
        row = tried.table[(tried.table[PATH].astype(str) == waits[41]) & (tried.table["scenario"] == "abandoned_cart")]
        sent = (run.decisions["status"].eq("send") & run.decisions["scenario"].eq("abandoned_cart")).sum()
        if len(row) != 1 or row["sent"].iloc[0] != sent:
            raise RuntimeError(f"a cell of the sweep is not the replay of its setting: {row}, {sent}")
        seconds = best_of(3, lambda: sweep(THREE, log, {PATH: waits}, progress=False))
    rate = EVENTS * SETTINGS / seconds
    cores = os.cpu_count() or 1
    yield Result(
        "sweep",
        f"{EVENTS:,} events, {SETTINGS} waits, three scenarios",
        seconds,
        more={
            "event_settings_per_s": rate,
            "event_settings_per_s_per_core": rate / cores,
            "replays": tried.runs,
            "marked_events": len(run.marked),
        },
        bounds=(Bound("event_settings_per_s_per_core", at_least=1e7),),
        about="events of the log times settings; vectorbt's own figures are 1.25 to 1.8 million bar-settings a second",
    )
