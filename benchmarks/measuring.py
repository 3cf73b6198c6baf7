"""One measurement: the best of several runs of ours and of a peer, side by side, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Bound", "Result", "best_of", "compare", "machine", "peak_memory"]


@dataclass(frozen=True)
class Bound:
    """What a measurement was to reach: a field of its row, and the most or the least it may be."""

    measure: str = "ratio"
    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, row: dict[str, Any]) -> bool:
        """Whether a row of results.json keeps to it; a number that is missing does not."""
        value = row.get(self.measure)
        if value is None:
            return False
        too_much = self.at_most is not None and value > self.at_most
        too_little = self.at_least is not None and value < self.at_least
        return not too_much and not too_little


@dataclass(frozen=True)
class Result:
    """ours and peer in seconds, their ratio, and what was measured on what.

    name: as in the table of results. size: of what. peer, peer_s: what it stands beside, and its seconds; None where
    there is none. more: further numbers by name. bounds: what it was to reach. about: one sentence for the page.
    """

    name: str
    size: str
    ours_s: float
    peer: str | None = None
    peer_s: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    bounds: tuple[Bound, ...] = ()
    about: str = ""

    def row(self) -> dict[str, Any]:
        """As it stands in results.json."""
        row = {
            "name": self.name,
            "size": self.size,
            "ours_s": _short(self.ours_s),
            "peer": self.peer,
            "peer_s": None if self.peer_s is None else _short(self.peer_s),
            "ratio": None if not self.peer_s else _short(self.ours_s / self.peer_s),
            "machine": machine(),
            **self.more,
        }
        if self.about:
            row["about"] = self.about
        if self.bounds:
            row["bounds"] = [
                {
                    "measure": bound.measure,
                    **({} if bound.at_most is None else {"at_most": bound.at_most}),
                    **({} if bound.at_least is None else {"at_least": bound.at_least}),
                    "met": bound.is_met(row),
                }
                for bound in self.bounds
            ]
        return row


def _short(number: float) -> float:
    """Four digits that count."""
    return float(f"{number:.4g}")


def best_of(runs: int, work: Callable[[], Any]) -> float:
    """The shortest time of several runs, in seconds: what the work costs when nothing else disturbs it."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(
    name: str,
    size: str,
    *,
    ours: Callable[[], Any],
    peer: str,
    theirs: Callable[[], Any],
    runs: int = 5,
    at_most: float | None = None,
    about: str = "",
    **more: Any,
) -> Result:
    """Both in turn, twice, several runs at a time, so that a noisy moment hits both alike.

    Not run by run: threads that a database leaves busy after its answer would take a core from what follows.

    Args:
        name, size: as in `Result`.
        ours, theirs: the work of each side.
        peer: what theirs is, in words.
        runs: how many at a time.
        at_most: the ratio that was to be reached.
        about: one sentence for the page.
        **more: further numbers for the row.
    """
    ours_s, peer_s = float("inf"), float("inf")
    for _ in range(2):
        ours_s = min(ours_s, best_of(runs, ours))
        peer_s = min(peer_s, best_of(runs, theirs))
    bounds = () if at_most is None else (Bound("ratio", at_most=at_most),)
    return Result(name, size, ours_s, peer, peer_s, more, bounds, about)


def peak_memory() -> int:
    """The most memory that this process has held, in bytes.

    Linux says of a new process that it held as much as the one that started it (`ru_maxrss`), so its own is read.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the peak of memory is read from /proc/self/status, which Linux has")


def machine() -> str:
    """Processor, cores, memory and Python."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
