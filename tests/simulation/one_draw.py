"""One draw of a simulation as a run, so that it can be held against a replay."""

from __future__ import annotations

import pandas as pd

from toolkit.engine import Run
from toolkit.simulation import Simulation
from toolkit.simulation.simulation import draw_seed

__all__ = ["run_of"]


def run_of(simulation: Simulation, *, draw: int = 0, seed: int = 1) -> Run:
    """The journeys and decisions of one draw, with its answers."""
    values = simulation.response.draws(draw + 1, seed)
    drawn = simulation.draughtsman.draw({path: float(column[draw]) for path, column in values.items()})
    return Run(
        program=simulation.program,
        log=simulation.log,
        until=pd.Timestamp(simulation.asked.until, unit="us", tz="UTC"),
        compiled=simulation.asked.compiled,
        prepared=simulation.asked.prepared,
        walked=simulation.respondents.run(drawn, draw_seed(seed, draw)),
        notes=(f"modelled: answers of draw {draw}, seed {seed}",),
        assume=None,
    )
