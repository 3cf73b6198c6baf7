"""Files that appear whole or not at all, and never over another."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import InputError
from toolkit.whole import write_text

__all__ = ["publish", "saved", "write_whole"]

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_whole(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, safe on the disk when this returns."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def saved(document: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """The file that plain values were written to, as JSON for people to read.

    Raises:
        InputError: the file cannot be written.
    """
    target = Path(path)
    try:
        write_text(target, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as fault:
        raise InputError(f"{target}: cannot be written: {fault.strerror}") from fault
    return target


def publish(part: Path, path: Path) -> bool:
    """Give a whole file its name; True when a file of that name was there already, and stays."""
    try:
        os.link(part, path)  # unlike a rename, never over another file
    except FileExistsError:
        return True
    except OSError as fault:
        if fault.errno not in _NO_LINKS:
            raise
        if path.exists():
            return True
        os.rename(part, path)
    return False
