"""A binary heap of timers in an array: rows of due, order, what, version, smallest (due, order, what) first."""

from __future__ import annotations

from toolkit.engine.compiled import kernel
from toolkit.engine.layout import H_DUE, H_ORDER, H_VERSION, H_WHAT, Ints

__all__ = ["pop", "push"]


@kernel
def _before(heap: Ints, i: int, j: int) -> bool:
    if heap[i, H_DUE] != heap[j, H_DUE]:
        return bool(heap[i, H_DUE] < heap[j, H_DUE])
    if heap[i, H_ORDER] != heap[j, H_ORDER]:
        return bool(heap[i, H_ORDER] < heap[j, H_ORDER])
    return bool(heap[i, H_WHAT] < heap[j, H_WHAT])


@kernel
def _write(heap: Ints, i: int, due: int, order: int, what: int, version: int) -> None:
    # Number by number: read as a whole, a row would wait until all that was just written of it has reached the cache.
    heap[i, H_DUE] = due
    heap[i, H_ORDER] = order
    heap[i, H_WHAT] = what
    heap[i, H_VERSION] = version


@kernel
def _move(heap: Ints, source: int, target: int) -> None:
    _write(heap, target, heap[source, H_DUE], heap[source, H_ORDER], heap[source, H_WHAT], heap[source, H_VERSION])


@kernel
def _swap(heap: Ints, i: int, j: int) -> None:
    due, order, what, version = heap[i, H_DUE], heap[i, H_ORDER], heap[i, H_WHAT], heap[i, H_VERSION]
    _move(heap, j, i)
    _write(heap, j, due, order, what, version)


@kernel
def push(heap: Ints, size: int, due: int, order: int, what: int, version: int) -> int:
    """Add a timer; gives the new size. The caller makes sure that there is room."""
    i = size
    _write(heap, i, due, order, what, version)
    while i > 0 and _before(heap, i, (i - 1) // 2):
        _swap(heap, i, (i - 1) // 2)
        i = (i - 1) // 2
    return size + 1


@kernel
def pop(heap: Ints, size: int) -> int:
    """Take the first timer off row 0, which the caller has read; gives the new size."""
    size -= 1
    if size == 0:
        return 0
    _move(heap, size, 0)
    i = 0
    while True:
        first = i
        for child in (2 * i + 1, 2 * i + 2):
            if child < size and _before(heap, child, first):
                first = child
        if first == i:
            return size
        _swap(heap, i, first)
        i = first
