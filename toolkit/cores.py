"""How many cores this process may use."""

from __future__ import annotations

import os

__all__ = ["cores"]


def cores(most: int = 16) -> int:
    """As many as it is let run on, which in a container may be fewer than the machine has; at least one.

    Args:
        most: no more than so many.

    >>> cores(1)
    1
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(given, most))
