"""Who holds a lease: a name for one call of one process, and whether that call is certainly over."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["is_over", "owner"]

_here: set[str] = set()


@contextmanager
def owner() -> Iterator[str]:
    """A name that no other call has, for as long as the call lasts.

    >>> with owner() as name:
    ...     is_over(name)
    False
    >>> is_over(name)
    True
    """
    name = f"{_place()}:{os.getpid()}:{_started(os.getpid())}:{secrets.token_hex(6)}"
    _here.add(name)
    try:
        yield name
    finally:
        _here.discard(name)


def is_over(name: str) -> bool:
    """Whether the call of that name is certainly over: its process is gone, or it returned. False when in doubt."""
    place, _, rest = name.partition(":")
    pid, _, rest = rest.partition(":")
    if not place or place != _place() or not pid.isdigit():
        return False  # another machine or container: only its lease can tell
    if int(pid) == os.getpid():
        return name not in _here
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    started, now = rest.partition(":")[0], _started(int(pid))
    return now is not None and now != started


def _place() -> str:
    """This boot of this machine and this process namespace; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When the process began, in clock ticks; `over` for a zombie, None where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rfind(")") + 2 :].split()
    return "over" if fields[0] in ("Z", "X") else fields[19]
