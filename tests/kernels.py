"""Compiles the kernel and its variant with answers, side by side: `python -m tests.kernels`.

Every worker of a test run would compile both, one after the other; once compiled they are read from the disk.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd

from toolkit.engine import replay
from toolkit.engine.compiled import is_first_compilation
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
        Simulation(cart, log, response=ResponseModel.nothing()).as_run(0, seed=1)
    else:
        replay(cart, log)


def main() -> int:
    """Compile what is not on the disk yet."""
    missing = [answers for answers in (False, True) if is_first_compilation(answers=answers)]
    if missing:
        with ProcessPoolExecutor(len(missing), mp_context=get_context("spawn")) as pool:
            list(pool.map(compile_kernel, missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
