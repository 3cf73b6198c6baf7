"""Forecasts beside as many plain replays, what memory they take, and worlds of a million customers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Bound, Result, compare, peak_memory
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.simulation import ResponseModel, Simulation, generate_events, world

EVENTS = 1_000_000
CUSTOMERS = 50_000
DRAWS = 200
PROGRAM = loads("""
scenario: cart
trigger: {event: cart_add, where: "value >= 20"}
reentry: {after: 7d, from: entry}
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d}
steps: [{wait: 4h}, {send: cart/reminder}, {wait: 1d}, {send: cart/offer, offer: {percent: 10, valid: 3d}}]
---
scenario: bought
trigger: {event: purchase}
reentry: {after: 30d, from: entry}
goal: {event: purchase, within: 7d}
steps: [{wait: 2d}, {send: bought/thanks}]
---
scenario: away
trigger: {inactive: purchase, for: 20d}
reentry: every
goal: {event: purchase, within: 7d}
steps: [{send: away/hello}]
""")
MODEL = ResponseModel.parse("""
response: guess
opens: {rate: [0.3, 0.4, 0.5]}
clicks: {rate: 0.15}
buys: {rate: [0.01, 0.03, 0.06], by_delay: {1h: 1, 1d: 0.7}}
unsubscribes: {rate: 0.003}
offers: {used_anyway: 0.5}
order: {margin: 0.4}
""")


def _stored() -> Path:
    folder = Path(tempfile.gettempdir()) / "trigger-toolkit-bench"
    folder.mkdir(exist_ok=True)
    path = folder / f"events-{EVENTS}-{CUSTOMERS}.parquet"
    if not path.exists():
        generate_events(EVENTS, path, customers=CUSTOMERS, seed=1)
    return path


def simulate_draws() -> Iterator[Result]:
    """The log read, marked and sorted before; the bound is 1.5 replays a draw."""
    log = EventLog.from_parquet(_stored())
    simulation = Simulation(PROGRAM, log, response=MODEL)
    simulation.run(draws=2, seed=1, level=0.9)
    replay(PROGRAM, log)
    yield compare(
        "simulate_vs_replay",
        f"{EVENTS:,} events, {CUSTOMERS:,} customers, {DRAWS} draws",
        ours=lambda: simulation.run(draws=DRAWS, seed=1, level=0.9),
        peer=f"{DRAWS} replays of the same program",
        theirs=lambda: [replay(PROGRAM, log) for _ in range(DRAWS)],
        runs=1,
        at_most=1.5,
        about="A draw walks only over the customers who are mailed.",
    )


def forecast_memory() -> Iterator[Result]:
    """The most memory that a process takes for a few draws and for many: flat, since draws are added up one by one."""
    peaks, seconds = [], []
    for draws in (20, DRAWS, 5 * DRAWS):
        start = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", f"from benchmarks.forecasting import peak; peak({draws})"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
        peaks.append(int(said.stdout.split()[-1]))
    yield Result(
        "forecast_memory",
        f"{EVENTS:,} events, {CUSTOMERS:,} customers; 20, {DRAWS} and {5 * DRAWS:,} draws, a process each",
        seconds[1],
        more={
            "mib_20": peaks[0],
            f"mib_{DRAWS}": peaks[1],
            f"mib_{5 * DRAWS}": peaks[2],
            "growth": round(peaks[2] / peaks[0], 3),
        },
        bounds=(Bound("growth", at_most=1.1),),
        about="growth is the memory of the most draws over that of the fewest.",
    )


def peak(draws: int) -> None:
    """Print the most memory that a forecast of so many draws took, in MiB."""
    Simulation(PROGRAM, EventLog.from_parquet(_stored()), response=MODEL).run(draws=draws, seed=1, level=0.9)
    print(peak_memory() // 2**20)


def worlds() -> Iterator[Result]:
    """A world of a million customers: its log, and a pilot with everyone's answers."""
    customers = 1_000_000
    for name, work in (
        ("world_log_1m", lambda: world("seasonal", customers=customers, seed=1).log()),
        ("world_pilot_1m", lambda: world("seasonal", customers=customers, seed=1).pilot()),
    ):
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        yield Result(
            name,
            f"{customers:,} customers",
            seconds,
            more={"customers_per_minute": round(60 * customers / seconds)},
            bounds=(Bound("customers_per_minute", at_least=1_000_000),),
        )
