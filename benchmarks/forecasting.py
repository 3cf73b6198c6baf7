"""Two hundred draws of a program of three scenarios over a million events, beside as many plain replays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Result, compare
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.simulation import ResponseModel, Simulation, generate_events

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


def simulate_draws() -> Iterator[Result]:
    """The log read, marked and sorted before; the bound is 1.5 replays a draw."""
    folder = Path(tempfile.gettempdir()) / "trigger-toolkit-bench"
    folder.mkdir(exist_ok=True)
    path = folder / f"events-{EVENTS}-{CUSTOMERS}.parquet"
    if not path.exists():
        generate_events(EVENTS, path, customers=CUSTOMERS, seed=1)
    log = EventLog.from_parquet(path)
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
