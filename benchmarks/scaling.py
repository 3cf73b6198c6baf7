"""Time and memory of a replay of stored logs of 1, 10 and 100 million events, each in a process of its own; and what it
takes to begin: the import, and the first call of the kernel.

`python -m benchmarks.scaling STORE EVENTS` replays one store and prints what it took as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import Bound, Result, best_of, peak_memory

SIZES = (1_000_000, 10_000_000, 100_000_000)
ROOM = 12 * 2**30
"""Bytes that the largest log and its store need on the disk while they are made."""


def replay_scaling() -> Iterator[Result]:
    """Stored logs, 20 events a customer; the largest is made, replayed and deleted."""
    smallest: dict[str, Any] | None = None
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="trigger-toolkit-bench-") as folder:
            if size == SIZES[-1] and shutil.disk_usage(folder).free < ROOM:
                print(f"{size:,} events are left out: less than {ROOM / 2**30:.0f} GiB are free", file=sys.stderr)
                continue
            store = _store(size, Path(folder))
            command = [sys.executable, "-m", "benchmarks.scaling", str(store), str(size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        more = {
            "ns_per_event": round(found["seconds"] / size * 1e9, 1),
            "bytes_per_event": round(found["bytes"] / size, 1),
            "peak_gib": round(found["peak"] / 2**30, 2),
            "ranges": found["ranges"],
            "decisions": found["decisions"],
        }
        bounds = [Bound("peak_gib", at_most=4.0)]
        if smallest is not None:
            more["time_per_event_vs_1m"] = round(more["ns_per_event"] / smallest["ns_per_event"], 2)
            more["memory_per_event_vs_1m"] = round(more["bytes_per_event"] / smallest["bytes_per_event"], 2)
            # Flat: no more than a quarter above the smallest.
            bounds += [Bound(f"{what}_per_event_vs_1m", at_most=1.25) for what in ("time", "memory")]
        smallest = smallest or more
        about = "the first replay of a process: opening a stored log, three scenarios; memory above an empty process"
        name = f"replay_{size // 1_000_000}m"
        yield Result(name, f"{size:,} events", found["seconds"], more=more, bounds=tuple(bounds), about=about)


def _store(size: int, folder: Path) -> Path:
    """Made in a process of its own, so that its memory is not counted."""
    code = (
        "import sys; from pathlib import Path; from toolkit.events import EventLog; "
        "from toolkit.simulation import generate_events; folder = Path(sys.argv[1]); size = int(sys.argv[2]); "
        "raw = generate_events(size, folder / 'events.parquet', customers=size // 20, seed=1); "
        "EventLog.from_parquet(raw).save(folder / 'store'); raw.unlink()"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(size)], check=True)
    return folder / "store"


def importing() -> Iterator[Result]:
    """`import toolkit` in a fresh process, above what Python itself takes."""
    empty = best_of(5, lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    seconds = best_of(5, lambda: subprocess.run([sys.executable, "-c", "import toolkit"], check=True)) - empty
    about = "above the start of Python; names are loaded when they are first used"
    yield Result("import_toolkit", "one process", seconds, bounds=(Bound("ours_s", at_most=1.0),), about=about)


def first_kernel_call() -> Iterator[Result]:
    """The first replay after an installation compiles and says so; the second process finds the result on the disk."""
    code = (
        "import time, pandas as pd; from toolkit.engine import replay; from toolkit.events import EventLog; "
        "from toolkit.scenario import loads; "
        "events = pd.DataFrame({'customer_id': ['a'], 'event': 'x', 'at': pd.to_datetime(['2025-01-01T00:00Z'])}); "
        "log = EventLog.from_pandas(events); "
        "one = loads('{scenario: one, trigger: {event: x}, reentry: once, steps: [{send: one/a}]}'); "
        "start = time.perf_counter(); replay(one, log); print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        runs = [
            subprocess.run(
                [sys.executable, "-c", code],
                check=True,
                capture_output=True,
                text=True,
                env={**os.environ, "XDG_CACHE_HOME": cache},
            )
            for _ in range(2)
        ]
    first, second = (float(run.stdout.splitlines()[-1]) for run in runs)
    said = ["compiling" in run.stderr for run in runs]
    if said != [True, False]:
        raise RuntimeError(f"the first call alone must say that it compiles; found {said}")
    about = "the first call in a new process, compiled before; compiling itself as first_s"
    yield Result("first_kernel_call", "one event", second, more={"first_s": round(first, 1)}, about=about)


def _measure(store: str) -> dict[str, Any]:
    from benchmarks.replaying import THREE  # noqa: PLC0415 - only in the measured process
    from toolkit.engine import replay  # noqa: PLC0415
    from toolkit.events import EventLog  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        from toolkit.simulation import generate_events  # noqa: PLC0415

        generate_events(1_000, Path(folder) / "few.parquet", seed=1)
        replay(THREE, EventLog.from_parquet(Path(folder) / "few.parquet")).summary()
    before = peak_memory()
    start = time.perf_counter()
    run = replay(THREE, EventLog.open(store), progress=False)
    seconds = time.perf_counter() - start
    peak = peak_memory()
    table = run.summary().table
    return {
        "seconds": seconds,
        "bytes": peak - before,
        "peak": peak,
        "ranges": len(getattr(run, "ranges", [None])),
        "decisions": int(table[["sent", "withheld", "skipped"]].to_numpy().sum()),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
