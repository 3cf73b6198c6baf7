"""Events into the order of the kernel: by customer, received_at and at, on several threads, each event moved once."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from toolkit.cores import cores
from toolkit.engine.compiled import compiled, config
from toolkit.engine.layout import Ints
from toolkit.memory import array_of

__all__ = ["Events", "Sorted", "count_with", "events_with", "on_threads", "sorted_events", "split_evenly"]

Found = TypeVar("Found")
_FEW = 32
"""So many events of a customer are sorted by insertion, which takes least where most stand right already."""


class Events(NamedTuple):
    """A piece of the events as they were read.

    customer: whose each is, as a number. received, at, bits: as in `Marked`. row: the number of each row, or empty
    where they follow one another from `first_row`.
    """

    customer: npt.NDArray[np.int32]
    received: Ints
    at: Ints
    row: Ints
    first_row: int
    bits: npt.NDArray[np.integer]


class Sorted(NamedTuple):
    """Sorted events.

    starts: first event of each number of a customer, and one more. received, at, row, bits: one per event.
    order: for each event its place in what was read; empty unless asked for. tied: whether a neighbour of the same
    customer shares both times.
    """

    starts: Ints
    received: Ints
    at: Ints
    row: Ints
    bits: Ints
    order: Ints
    tied: npt.NDArray[np.bool_]


def sorted_events(pieces: Sequence[Events], lowest: int, stop: int, *, with_order: bool, all_of_them: bool) -> Sorted:
    """Events by customer, then by received_at and at; of two with the same times the one read first stays first.

    Args:
        pieces: the events in the order read.
        lowest, stop: the numbers of customers go from lowest to before stop; `Sorted.starts` begins at lowest.
        with_order: tell where each event was read, too.
        all_of_them: also those without a bit.

    Returns:
        The same on any number of threads: each moves and sorts the events of a range of customers.
    """
    starts = np.zeros(stop - lowest + 1, dtype=np.int64)
    for piece in pieces:
        _count(piece.customer, piece.bits, all_of_them, lowest, starts)
    np.cumsum(starts, out=starts)
    count = int(starts[-1])
    received, at, row, bits = (array_of(count) for _ in range(4))
    order = array_of(count if with_order else 0)
    tied = np.zeros(count, dtype=np.bool_)
    free = starts[:-1].copy()

    def fill(low: int, high: int) -> None:
        first = 0
        for piece in pieces:
            _move(*piece, all_of_them, first, lowest, low, high, free, received, at, row, bits, order)
            first += len(piece.at)
        _sort(starts, low, high, received, at, row, bits, order, tied)

    on_threads(starts[:-1], fill)
    return Sorted(starts, received, at, row, bits, order, tied)


def on_threads(
    work: Ints, do: Callable[[int, int], Found], *, each: int = 0, threads: int | None = None
) -> list[Found]:
    """Do something for all places, a thread for each part of them: from one place to before another.

    Args:
        work: the work before each place, for parts of equal work.
        do: what is done for the places of a part.
        each: the further work at each place.
        threads: how many; all cores unless given, but none for fewer than a thousand places.

    Returns:
        What it gave for each part, in their order.
    """
    threads = 1 if config.DISABLE_JIT else threads or cores()
    threads = max(1, min(threads, len(work) // 1000 + 1))
    parts = split_evenly(work, threads, each=each)
    if threads == 1:
        return [do(*parts[0])]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(do, *part) for part in parts[1:]]
        return [do(*parts[0]), *(other.result() for other in others)]


def split_evenly(work: Ints, parts: int, *, each: int = 0) -> list[tuple[int, int]]:
    """Places cut into parts of equal work, given the work before each place, and so much more at each."""
    count = len(work)

    def before(place: int) -> int:
        return int(work[place]) + each * place

    whole = before(count - 1) + 1 if count else 0
    cuts = [bisect_left(range(count), whole * part / parts, key=before) for part in range(1, parts)]
    return list(itertools.pairwise([0, *cuts, count]))


@compiled
def _count(
    customer: npt.NDArray[np.int32], bits: npt.NDArray[np.integer], all_of_them: bool, lowest: int, starts: Ints
) -> None:
    """How many events each customer has, one place further on."""
    for i in range(len(customer)):
        if all_of_them or bits[i]:
            starts[customer[i] - lowest + 1] += 1


@compiled
def _move(
    customer: npt.NDArray[np.int32],
    its_received: Ints,
    its_at: Ints,
    its_row: Ints,
    first_row: int,
    its_bits: npt.NDArray[np.integer],
    all_of_them: bool,
    first: int,
    lowest: int,
    low: int,
    high: int,
    free: Ints,
    received: Ints,
    at: Ints,
    row: Ints,
    bits: Ints,
    order: Ints,
) -> None:
    """Put the events of customers from low to before high behind those of the same customer that stand already."""
    ordered = len(order) > 0
    numbered = len(its_row) > 0
    for i in range(len(customer)):
        c = customer[i] - lowest
        if c < low or c >= high or not (all_of_them or its_bits[i]):
            continue
        place = free[c]
        free[c] = place + 1
        received[place] = its_received[i]
        at[place] = its_at[i]
        row[place] = its_row[i] if numbered else first_row + i
        bits[place] = its_bits[i]
        if ordered:
            order[place] = first + i


@compiled
def _sort(
    starts: Ints,
    low: int,
    high: int,
    received: Ints,
    at: Ints,
    row: Ints,
    bits: Ints,
    order: Ints,
    tied: npt.NDArray[np.bool_],
) -> None:
    """Sort the events of each customer by their times, and tell which share both with a neighbour."""
    ordered = len(order) > 0
    for c in range(low, high):
        first, stop = starts[c], starts[c + 1]
        tidy = True
        for k in range(first + 1, stop):
            if received[k - 1] > received[k] or (received[k - 1] == received[k] and at[k - 1] > at[k]):
                tidy = False
                break
        if not tidy and stop - first > _FEW:
            by_at = np.argsort(at[first:stop], kind="mergesort")
            turn = by_at[np.argsort(received[first:stop][by_at], kind="mergesort")]
            received[first:stop] = received[first:stop][turn]
            at[first:stop] = at[first:stop][turn]
            row[first:stop] = row[first:stop][turn]
            bits[first:stop] = bits[first:stop][turn]
            if ordered:
                order[first:stop] = order[first:stop][turn]
        elif not tidy:
            for k in range(first + 1, stop):
                its_received, its_at = received[k], at[k]
                place = k
                while place > first and (
                    received[place - 1] > its_received
                    or (received[place - 1] == its_received and at[place - 1] > its_at)
                ):
                    place -= 1
                if place == k:
                    continue
                its_row, its_bits = row[k], bits[k]
                its_order = order[k] if ordered else 0
                for moved in range(k, place, -1):
                    received[moved] = received[moved - 1]
                    at[moved] = at[moved - 1]
                    row[moved] = row[moved - 1]
                    bits[moved] = bits[moved - 1]
                    if ordered:
                        order[moved] = order[moved - 1]
                received[place] = its_received
                at[place] = its_at
                row[place] = its_row
                bits[place] = its_bits
                if ordered:
                    order[place] = its_order
        for k in range(first + 1, stop):
            if received[k] == received[k - 1] and at[k] == at[k - 1]:
                tied[k - 1] = True
                tied[k] = True


@compiled
def count_with(bits: Ints, mask: int, first: int, stop: int) -> int:
    """How many events have one of some bits, from one to before another."""
    count = 0
    for one in bits[first:stop]:
        count += (one & mask) != 0
    return count


@compiled
def events_with(bits: Ints, mask: int) -> Ints:
    """The events that have one of some bits."""
    events = np.empty(count_with(bits, mask, 0, len(bits)), dtype=np.int64)
    count = 0
    for k in range(len(bits)):
        if bits[k] & mask:
            events[count] = k
            count += 1
    return events
