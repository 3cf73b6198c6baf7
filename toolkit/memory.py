"""Memory for large arrays, used again once nobody holds the array that had it.

A replay writes some hundred megabytes. Memory that is new to the process is cleared by the system, page by page, and on
a virtual machine often fetched from its host first: of the replay of a stored log that was up to half the time.
"""

from __future__ import annotations

import threading
import weakref
from itertools import accumulate
from math import prod

import numpy as np
import numpy.typing as npt

__all__ = ["KEPT_AT_MOST", "array_of"]

Ints = npt.NDArray[np.int64]
KEPT_AT_MOST = 3 << 27
"""Bytes that stay when no array has them: 384 MiB, what the replay of ten million events takes."""
_LARGE = 1 << 18
_idle: list[Ints] = []
_lock = threading.Lock()


def array_of(*shape: int) -> Ints:
    """An array of 64-bit integers that hold anything; a large one in memory that another had, if there is some.

    Args:
        *shape: as of `numpy.empty`.

    Returns:
        The array. Its memory is free again when it and all its views are gone.

    >>> array_of(2, 3).shape
    (2, 3)
    """
    count = int(prod(shape))  # plain Python counts in numbers of numpy where compiled code gives its own
    if count < _LARGE:
        return np.empty(shape, dtype=np.int64)
    with _lock:
        fitting = [k for k, memory in enumerate(_idle) if count <= len(memory) <= 2 * count]
        smallest = min(fitting, key=lambda k: len(_idle[k]), default=None)
        memory = np.empty(_with_room(count), dtype=np.int64) if smallest is None else _idle.pop(smallest)
    # Through a memoryview: views of an array keep the array, so that its end is the end of them all.
    array = np.frombuffer(memory.data, dtype=np.int64)
    weakref.finalize(array, _give_back, memory).atexit = False
    return array[:count].reshape(shape)


def _with_room(count: int) -> int:
    """A little more, up to an eighth, so that of a log that grows the next array fits, too; what nobody writes to costs
    no memory."""
    step = 1 << (count.bit_length() - 4)
    return -(-count // step) * step


def _give_back(memory: Ints) -> None:
    # The collector may come while another array is made, in the same thread even: then this memory is not kept.
    if not _lock.acquire(blocking=False):
        return
    try:
        _idle.append(memory)
        if sum(one.nbytes for one in _idle) > KEPT_AT_MOST:  # the latest stay, they are the likeliest to be asked for
            sizes = accumulate(one.nbytes for one in reversed(_idle))
            kept = sum(size <= KEPT_AT_MOST for size in sizes)
            del _idle[: len(_idle) - kept]
    finally:
        _lock.release()
