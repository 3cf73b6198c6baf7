"""A replay in Spark of 1, 10 and 50 million events, and what of it is Spark's own: the same plan without the kernel."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.measuring import Bound, Result
from benchmarks.replaying import THREE
from toolkit.engine import replay
from toolkit.engine.runners.spark import SparkRun
from toolkit.events import EventLog
from toolkit.events.spark import spark_session
from toolkit.simulation import generate_events

SIZES = (1_000_000, 10_000_000, 50_000_000)


def spark_replay() -> Iterator[Result]:
    """Unsorted Parquet, 20 events a customer, on two cores of this machine; skipped where Spark is not installed."""
    try:
        session = spark_session("local[2]")
    except Exception as fault:
        print(f"spark: skipped, {fault}", file=sys.stderr)
        return
    session.sparkContext.setLogLevel("OFF")
    smallest: float | None = None
    with tempfile.TemporaryDirectory(prefix="trigger-toolkit-bench-") as folder:
        few = generate_events(20_000, Path(folder) / "few.parquet", customers=1_000, seed=1)
        replay(THREE, EventLog.from_spark(session.read.parquet(str(few)))).summary()  # the kernel is compiled
        for size in SIZES:
            path = generate_events(size, Path(folder) / "events.parquet", customers=size // 20, seed=1)
            log = EventLog.from_spark(session.read.parquet(str(path)))
            start = time.perf_counter()
            run = replay(THREE, log)
            took = time.perf_counter() - start
            empty = _empty(run)
            mails = int(run.summary().table[["sent", "withheld", "skipped"]].to_numpy().sum())
            per_event = took / size
            more = {
                "ns_per_event": round(per_event * 1e9, 1),
                "kernel_share": round(max(0.0, 1 - empty / took), 2),
                "decisions": mails,
            }
            bounds = []
            if smallest is not None:
                more["time_per_event_vs_1m"] = round(per_event / smallest, 2)
                bounds.append(Bound("time_per_event_vs_1m", at_most=1.25))
            smallest = smallest or per_event
            about = "facts, shuffle, marking, kernel; the peer reads, shuffles and sorts the same rows, no more"
            yield Result(
                f"spark_{size // 1_000_000}m",
                f"{size:,} events, Spark on two cores",
                took,
                "the same plan with an empty kernel",
                empty,
                more=more,
                bounds=tuple(bounds),
                about=about,
            )
    session.stop()


def _empty(run: SparkRun) -> float:
    """Seconds for the same rows in the same parts, counted and thrown away where they are."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"rows": [sum(batch.num_rows for batch in batches)]})

    rows: Any = run.log.parts()
    start = time.perf_counter()
    rows.mapInArrow(work, "rows long").collect()
    return time.perf_counter() - start
