"""Compiles the kernel and its variant with answers, side by side: `python -m tests.kernels`.

Every worker of a test run would compile both, one after the other; once compiled they are read from the disk. Both are
asked for each time: machine code is kept for one checkout, and what notes that it is there speaks of all of them.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd

from tests.simulation.one_draw import run_of
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.simulation import ResponseModel, Simulation


def compile_kernel(answers: bool) -> None:
    """One replay, or one simulation, of next to nothing."""
    log = EventLog.from_pandas(
        pd.DataFrame(
            {
                "customer_id": ["ana", "ana"],
                "event": ["cart_add", "view"],
                "at": ["2025-03-03T10:00Z", "2025-04-03T10:00Z"],
            }
        )
    )
    cart = loads(
        "scenario: cart\ntrigger: {event: cart_add}\nreentry: once\nsteps: [{wait: 1h}, {send: cart/reminder}]"
    )
    if answers:
        run_of(Simulation(cart, log, response=ResponseModel.nothing()))
    else:
        replay(cart, log)


def main() -> int:
    """Compile what is not on the disk yet."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(compile_kernel, (False, True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
