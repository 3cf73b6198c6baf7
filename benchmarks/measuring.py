"""One measurement: the best of several runs of ours and of a peer, side by side, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Result", "best_of", "compare", "machine"]


@dataclass(frozen=True)
class Result:
    """ours and peer in seconds, their ratio, and what was measured on what."""

    name: str
    size: str
    ours_s: float
    peer: str
    peer_s: float
    more: dict[str, Any]

    def row(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "name": self.name,
            "size": self.size,
            "ours_s": round(self.ours_s, 4),
            "peer": self.peer,
            "peer_s": round(self.peer_s, 4),
            "ratio": round(self.ours_s / self.peer_s, 4),
            "machine": machine(),
            **self.more,
        }


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
    **more: Any,
) -> Result:
    """Both in turn, twice, several runs at a time, so that a noisy moment hits both alike.

    Not run by run: threads that a database leaves busy after its answer would take a core from what follows.
    """
    ours_s, peer_s = float("inf"), float("inf")
    for _ in range(2):
        ours_s = min(ours_s, best_of(runs, ours))
        peer_s = min(peer_s, best_of(runs, theirs))
    return Result(name, size, ours_s, peer, peer_s, more)


def machine() -> str:
    """Processor, cores and Python."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"
