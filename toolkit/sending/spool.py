"""What a batch holds, kept until it is sent: in memory while small, else in a file without a name.

So a batch of a million mails takes as much memory as one of ten thousand, but for a few bytes a mail that say where
each of them lies.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, SupportsIndex, TypeVar, overload

from toolkit.errors import SendingError

__all__ = ["Chosen", "Spool", "Store"]

_IN_MEMORY = 4 * 1024 * 1024

T = TypeVar("T")


class Spool:
    """Bytes by number. What was added is never changed.

    Reading names its place each time, so that threads, and processes forked from this one, do not disturb each other.

    >>> spool = Spool()
    >>> spool.add(b"one"), spool.add(b"two")
    (0, 1)
    >>> spool[1], len(spool)
    (b'two', 2)
    """

    def __init__(self, in_memory: int | None = None) -> None:
        self._most = _IN_MEMORY if in_memory is None else in_memory
        self._memory = bytearray()  # what is not in the file yet
        self._file: int | None = None
        self._filed = 0  # bytes in the file
        self._ends = array("q", [0])
        self._lock = threading.Lock()

    def add(self, data: bytes) -> int:
        """The number of what is now kept."""
        with self._lock:
            self._memory += data
            self._ends.append(self._ends[-1] + len(data))
            if len(self._memory) > self._most:
                self._put_away()
            return len(self._ends) - 2

    def _put_away(self) -> None:
        try:
            self._write()
        except OSError as fault:
            said = f"{tempfile.gettempdir()}: a batch does not fit there: {fault.strerror}"
            how = "make room there, or set TMPDIR to a folder with more before the notebook or command starts"
            raise SendingError(f"{said}; {how}") from fault

    def _write(self) -> None:
        if self._file is None:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
        view = memoryview(bytes(self._memory))
        while view:
            written = os.pwrite(self._file, view, self._filed)
            self._filed += written
            view = view[written:]
        self._memory.clear()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        ends = self._ends
        if not 0 <= number < len(ends) - 1:
            raise IndexError(f"number {number} of {len(self)}")
        start, end = ends[number], ends[number + 1]
        if self._file is None or end > self._filed:  # else it lies in the file, where nothing moves
            with self._lock:
                if self._file is None or start >= self._filed:
                    return bytes(self._memory[start - self._filed : end - self._filed])
        return os.pread(self._file, end - start, start)

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    def sha256(self, number: int) -> str:
        """SHA-256 of the bytes as they are now, 64 hex digits."""
        return hashlib.sha256(self[number]).hexdigest()

    def size(self, number: int) -> int:
        """How many bytes."""
        return self._ends[number + 1] - self._ends[number]


class Store(Sequence[T], Generic[T]):
    """Frozen objects by number, read anew from the spool each time they are asked for.

    Args:
        items: the first of them.
        together: so many lie side by side and are read at once, the last ones read being kept: for small objects that
            nobody can change, such as tuples of text, mostly asked for in their order.

    >>> store = Store([("ana", 1), ("ben", 2), ("cleo", 3)], together=2)
    >>> store[-1], len(store), list(store)[0]
    (('cleo', 3), 3, ('ana', 1))
    """

    def __init__(self, items: Sequence[T] = (), *, together: int = 1) -> None:
        self._spool = Spool()
        self._together = together
        self._last: list[T] = []  # those that are not in the spool yet
        self._read: tuple[int, list[T]] = (-1, [])
        for item in items:
            self.add(item)

    def add(self, item: T) -> int:
        """The number of what is now kept."""
        if self._together == 1:
            return self._spool.add(_pickled(item))
        self._last.append(item)
        number = len(self) - 1
        if len(self._last) == self._together:
            self._spool.add(_pickled(self._last))
            self._last = []
        return number

    def __len__(self) -> int:
        return len(self._spool) * self._together + len(self._last)

    @overload
    def __getitem__(self, number: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[T, ...]: ...

    def __getitem__(self, number: SupportsIndex | slice) -> T | tuple[T, ...]:
        if isinstance(number, slice):
            return tuple(self[place] for place in range(*number.indices(len(self))))
        place = number.__index__()
        if place < 0:
            place += len(self)
        if self._together == 1:
            item: T = pickle.loads(self._spool[place])  # noqa: S301 - our own spool
            return item
        block, place = divmod(place, self._together)
        read, items = self._read  # as one, since threads may ask at the same time
        if read != block:
            if block == len(self._spool):
                return self._last[place]
            items = pickle.loads(self._spool[block])  # noqa: S301 - our own spool
            self._read = block, items
        return items[place]

    def __iter__(self) -> Iterator[T]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        return f"Store({len(self):,})"


class Chosen(Sequence[T], Generic[T]):
    """Some of the objects of a store, which stay where they lie.

    >>> chosen = Chosen(Store(["ana", "ben", "cleo"]), [0, 2])
    >>> chosen[1], chosen[-2:], len(chosen)
    ('cleo', ('ana', 'cleo'), 2)
    """

    def __init__(self, store: Store[T], numbers: Iterable[int]) -> None:
        self._store = store
        self._numbers = array("q", numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[T, ...]: ...

    def __getitem__(self, number: SupportsIndex | slice) -> T | tuple[T, ...]:
        if isinstance(number, slice):
            return tuple(self._store[place] for place in self._numbers[number])
        return self._store[self._numbers[number]]

    def __iter__(self) -> Iterator[T]:
        return (self._store[place] for place in self._numbers)


def _pickled(item: object) -> bytes:
    return pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
