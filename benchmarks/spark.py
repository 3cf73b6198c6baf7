"""A replay in Spark of 1, 10 and 50 million events; what of it is Spark's own: the same plan with an empty kernel."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from benchmarks.measuring import Bound, Result
from benchmarks.replaying import THREE
from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.events.spark import SparkLog, gathered, spark_session
from toolkit.simulation import generate_events

SIZES = tuple(int(size) * 1_000_000 for size in os.environ.get("TOOLKIT_BENCH_SPARK", "1,10,50").split(","))
_EVERY = 0.25


def spark_replay() -> Iterator[Result]:
    """Unsorted Parquet, 20 events a customer, on two cores of this machine; skipped where Spark is not installed.

    `TOOLKIT_BENCH_SPARK=1,10` takes other sizes, in millions.
    """
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
            frame = session.read.parquet(str(path))
            if smallest is None:  # Spark's own code is compiled in its first seconds
                _seconds_of_an_empty_kernel(EventLog.from_spark(frame))
            empty = _seconds_of_an_empty_kernel(EventLog.from_spark(frame))
            log = EventLog.from_spark(frame)
            start = time.perf_counter()
            with _Peak() as peak:
                run = replay(THREE, log)
            took = time.perf_counter() - start
            mails = int(run.summary().table[["sent", "withheld", "skipped"]].to_numpy().sum())
            again = time.perf_counter()
            decisions = run.decisions.count()
            decisions_s = time.perf_counter() - again
            log.unpersist()
            if decisions != mails:
                raise RuntimeError(f"{decisions:,} decisions, {mails:,} counted")
            per_event = took / size
            more: dict[str, Any] = {
                "ns_per_event": round(per_event * 1e9, 1),
                "kernel_share": round(max(0.0, 1 - empty / took), 2),
                "peak_mb": round(peak.bytes / 1e6),
                "bytes_per_event": round(peak.bytes / size),
                "decisions": mails,
                "decisions_again_s": round(decisions_s, 2),
            }
            bounds = []
            if smallest is not None:
                more["time_per_event_vs_smallest"] = round(per_event / smallest, 2)
                bounds.append(Bound("time_per_event_vs_smallest", at_most=1.25))
            smallest = smallest or per_event
            yield Result(
                f"spark_{size // 1_000_000}m",
                f"{size:,} events, Spark on two cores",
                took,
                "the same plan with an empty kernel",
                empty,
                more=more,
                bounds=tuple(bounds),
                about="names and span, shuffle, marking, kernel; the peer does the same with an empty kernel",
            )
    session.stop()


def _rows(part: pa.Table) -> int:
    """An empty kernel: what it is handed, counted."""
    return part.num_rows


def _seconds_of_an_empty_kernel(log: SparkLog) -> float:
    """The same plan, with nothing marked and nothing decided."""
    start = time.perf_counter()
    rows = log.parts()
    handed = sum(gathered(rows, _rows))
    took = time.perf_counter() - start
    log.unpersist()
    if handed != len(log):
        raise RuntimeError(f"{handed:,} rows handed over, {len(log):,} in the log")
    return took


class _Peak:
    """The most memory that this process and all it started hold at once, while the block runs."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.bytes = max(self.bytes, _held_by_family())
            self._over.wait(_EVERY)


def _held_by_family() -> int:
    """Resident bytes of this process and its descendants; shared pages count for each."""
    parents, held = dict[int, int](), dict[int, int]()
    page = os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
                held[int(entry.name)] = int(stat[21]) * page
            except (OSError, IndexError):  # gone in the meantime
                continue
    family = {os.getpid()}
    while True:
        more = {one for one, parent in parents.items() if parent in family} - family
        if not more:
            return sum(held.get(one, 0) for one in family)
        family |= more
