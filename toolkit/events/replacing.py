"""A folder put in the place of another, and how those who read the one before come to know of it."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from uuid import uuid4

__all__ = ["Stamp", "beside", "copies_beside", "held", "left_aside", "set_aside", "stamp_of", "swap"]

Stamp = tuple[int, int, int, int]
_DAY = 86_400
_WRITING = ".writing"
_PATIENCE = 40
_PAUSE = 0.05  # seconds; a swap takes less than a thousandth of one


def stamp_of(file: Path) -> Stamp | None:
    """What tells a file from another that takes its name later; None where there is none now."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def beside(target: Path, ending: str) -> Path:
    """A free name beside a folder, that is not seen in a listing."""
    return target.parent / f".{target.name}.{uuid4().hex[:8]}.{ending}"


@contextmanager
def held(fresh: Path) -> Iterator[None]:
    """Mark a folder as being written, until the end or until this program is killed, so that others leave it alone.

    A lock of the system on a file in it says so, which ends with its program. It has the name that is looked for only
    once it is locked. Where the place knows no locks, there is no such file.
    """
    unlocked = fresh / f"{_WRITING}.part"
    with unlocked.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            unlocked.rename(fresh / _WRITING)
        except OSError:
            unlocked.unlink()
        try:
            yield
        finally:
            (fresh / _WRITING).unlink(missing_ok=True)


def _is_given_up(fresh: Path) -> bool:
    """Whether the program that held a folder is no more."""
    with suppress(OSError), (fresh / _WRITING).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def swap(fresh: Path, target: Path) -> None:
    """Put a folder in the place of another, which is deleted, and so is what killed programs left beside it.

    Raises:
        OSError: it cannot be moved; the old one is where it was.
    """
    old = beside(target, "old")
    try:
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except BaseException:  # also of a stop between the two
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    for left in (old, *_left_behind(target)):
        shutil.rmtree(left, ignore_errors=True)


def _left_behind(target: Path) -> list[Path]:
    """What nobody needs any more: what was moved away from here, now that there is another; and what no program can be
    writing, since it was killed, or made nothing in it for a day."""
    lately = time.time() - _DAY
    moved = set_aside(target)
    return moved + [
        path
        for path in copies_beside(target)
        if path not in moved and (path.stat().st_mtime < lately or _is_given_up(path))
    ]


def copies_beside(target: Path) -> list[Path]:
    """Hidden folders that are being written in the place of this one, or that killed programs left of such writing."""
    hidden = [path for ending in ("new", "old") for path in target.parent.glob(_pattern(target, ending))]
    return sorted(path for path in hidden if path.is_dir())


def _pattern(target: Path, ending: str) -> str:
    return f".{escape(target.name)}.????????.{ending}"


def set_aside(target: Path) -> list[Path]:
    """Folders that a swap moved away from here and has not deleted yet."""
    return sorted(target.parent.glob(_pattern(target, "old"))) if target.name and target.parent.is_dir() else []


def left_aside(target: Path) -> list[Path]:
    """Those which stay when a swap that may be under way has had time to end; none where the folder is there."""
    for _ in range(_PATIENCE):
        if target.exists() or not set_aside(target):
            return []
        time.sleep(_PAUSE)
    return set_aside(target)
