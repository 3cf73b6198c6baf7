"""The rendered mails of a batch, kept until they are sent: in memory while small, else in a file without a name."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import weakref
from array import array

__all__ = ["Spool"]

_IN_MEMORY = 32 * 1024 * 1024


class Spool:
    """Messages by number. What was added is never changed.

    >>> spool = Spool()
    >>> spool.add(b"one"), spool.add(b"two")
    (0, 1)
    >>> spool[1], len(spool)
    (b'two', 2)
    """

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 - closed with the spool
        self._ends = array("q", [0])
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def add(self, message: bytes) -> int:
        """The number of a message now kept."""
        with self._lock:
            self._file.seek(self._ends[-1])
            self._file.write(message)
            self._ends.append(self._ends[-1] + len(message))
            return len(self._ends) - 2

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < len(self):
            raise IndexError(f"message {number} of {len(self)}")
        with self._lock:
            self._file.seek(self._ends[number])
            return self._file.read(self._ends[number + 1] - self._ends[number])

    def sha256(self, number: int) -> str:
        """SHA-256 of a message's bytes as they are now, 64 hex digits."""
        return hashlib.sha256(self[number]).hexdigest()

    def size(self, number: int) -> int:
        """Bytes of a message."""
        return self._ends[number + 1] - self._ends[number]
