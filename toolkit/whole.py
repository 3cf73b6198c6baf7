"""A file that takes the place of another once it is whole: nobody ever reads half of it, whatever ends the program."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex

__all__ = ["parts_beside", "whole_file", "write_text"]

_DAY = 86_400


@contextmanager
def whole_file(path: str | os.PathLike[str], *, mode: int = 0o666) -> Iterator[Path]:
    """A file beside another, to be written; it takes the other's place at the end, safe on the disk.

    Where that is not reached, be it for a full disk, Ctrl-C or `kill -9`, the older file stays as it was. The new one
    may be read by whoever could read the older one. Of a link the file that it leads to is replaced. What is no file,
    such as /dev/stdout, is written to itself.

    Args:
        path: where; the folder must be there.
        mode: who may read it while it is written and, where there is no older one, afterwards, less the umask.

    Raises:
        OSError: it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder, "a.txt")) as part:
    ...         _ = part.write_text("all of it")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.txt']
    """
    try:
        target = Path(path).resolve()
        os.fsencode(target)
    except ValueError as fault:
        raise OSError(errno.EINVAL, "no path that a file can have") from fault
    if target.exists() and not target.is_file():
        yield target
        return
    if target.exists() and not os.access(target, os.W_OK):  # its folder would let it be replaced
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    part = target.with_name(f".{target.name}.{token_hex(4)}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield part
        if target.exists():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    _tidy(target)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text in UTF-8 as a whole file; see `whole_file`.

    Returns:
        The path, as it was given.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def parts_beside(path: str | os.PathLike[str]) -> list[Path]:
    """Hidden files that are being written in the place of this one, or that killed programs left of such writing."""
    target = Path(path).resolve()
    return sorted(target.parent.glob(f".{escape(target.name)}.????????.part"))


def _tidy(target: Path) -> None:
    """Take away what killed programs left beside a file: nobody has written it for a day."""
    lately = time.time() - _DAY
    for left in parts_beside(target):
        with suppress(OSError):
            if left.stat().st_mtime < lately:
                left.unlink()
