"""The run of the kernel over a prepared log, on all cores, and again where coupons run out."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.answering import with_room
from toolkit.engine.answers import Answers
from toolkit.engine.compile import Compiled
from toolkit.engine.compiled import is_first_compilation, note_compilation
from toolkit.engine.layout import Ints, Out, Past, Plan, Work
from toolkit.engine.sorting import count_with, on_threads, split_evenly
from toolkit.engine.walk import walk
from toolkit.memory import array_of

Given = TypeVar("Given", Answers, None)
"""A response model's answers, or none in a replay."""

__all__ = [
    "Takers",
    "Walked",
    "in_parts",
    "joined",
    "next_emptied",
    "run_chunks",
    "run_kernel",
    "run_once",
    "run_places",
    "split_evenly",
    "takers_of",
]

Found = TypeVar("Found")
_SCRATCH = 1024
_SAYING = threading.Lock()


class Walked:
    """What the kernel decided: rows of `layout.JOURNEY_COLUMNS` and `layout.DECISION_COLUMNS`.

    Each thread of a walk leaves a part; they are put together when they are first asked for.
    """

    def __init__(self, *parts: tuple[Ints, Ints]) -> None:
        self._journeys = [journeys for journeys, _ in parts]
        self._decisions = [decisions for _, decisions in parts]
        self._firsts = [0, *itertools.accumulate(len(journeys) for journeys in self._journeys)]

    @property
    def journeys(self) -> Ints:
        """One row per journey; those of a customer stand together, customers in their order."""
        parts = self._journeys
        if len(parts) > 1:
            self._journeys = parts = [np.concatenate(parts)]
        return parts[0]

    @property
    def decisions(self) -> Ints:
        """One row per decision, in the order of the customers; D_JOURNEY is the place of its journey in `journeys`."""
        parts = self._decisions
        if len(parts) > 1:
            rows = np.concatenate(parts)
            ends = itertools.accumulate(len(part) for part in parts)
            for part, end, first in zip(parts, ends, self._firsts, strict=False):
                rows[end - len(part) : end, m.D_JOURNEY] += first
            self._decisions = parts = [rows]
        return parts[0]

    def parts(self) -> list[tuple[Ints, Ints]]:
        """The parts as the threads left them; D_JOURNEY counts from the start of its part."""
        if len(self._journeys) != len(self._decisions):
            return [(self.journeys, self.decisions)]
        return list(zip(self._journeys, self._decisions, strict=True))


@dataclass(frozen=True, slots=True)
class Takers:
    """Who took the coupons of each pool, by place of the pool.

    at, rank: the moments, and the turns of their customers. last: when a mail with such a coupon was last decided on,
    also one withheld from a holdout, which takes none (NONE where there was no such mail).
    """

    at: tuple[Ints, ...]
    rank: tuple[Ints, ...]
    last: tuple[int, ...]


def run_kernel(compiled: Compiled, past: Past, *, threads: int | None = None) -> Walked:
    """Decide everything, on several threads; the result does not depend on how many.

    Coupons that run out tie customers together. A first run counts as if none ran out; up to the moment at which the
    first pool does, it is right. With that moment known the program runs again, until no further pool runs out.
    """
    plan = compiled.plan
    while True:
        walked = run_once(plan, past, threads=threads)
        if not compiled.pools:
            return walked  # as its threads left it: put together only when somebody asks
        emptied = next_emptied(compiled, plan, [takers_of(compiled, walked, past.rank)])
        if emptied is None:
            return walked
        plan = emptied


def takers_of(compiled: Compiled, walked: Walked, rank: Ints) -> Takers:
    """Who took coupons in a run, or in a range of its customers."""
    at, ranks, last = [], [], []
    ops = compiled.plan.ops
    rows = walked.decisions
    for pool in range(len(compiled.pools)):
        sends = np.unique(ops[(ops[:, m.CODE] == m.OP_SEND) & (ops[:, m.B] == pool), m.A])
        of_pool = np.isin(rows[:, m.D_SEND], sends)
        last.append(int(rows[of_pool, m.D_AT].max(initial=m.NONE)))
        took = of_pool & (rows[:, m.D_STATUS] == m.STATUS_SEND) & (rows[:, m.D_PLAIN] == 0)
        at.append(rows[took, m.D_AT])
        ranks.append(rank[walked.journeys[rows[took, m.D_JOURNEY], m.J_CUSTOMER]])
    return Takers(tuple(at), tuple(ranks), tuple(last))


def next_emptied(compiled: Compiled, plan: Plan, takers: Sequence[Takers]) -> Plan | None:
    """The plan with the next pool to run out: its last coupon's moment and customer, and that customer's share.

    None when no further pool does. `takers` are of all ranges of customers.
    """
    ends = []
    for pool, (_, size) in enumerate(compiled.pools):
        if plan.pool_until[pool] != m.NEVER:
            continue
        at = np.concatenate([one.at[pool] for one in takers])
        if len(at) < size or all(one.last[pool] == m.NONE for one in takers):
            continue  # where just enough took one, a mail withheld later may still have asked for it
        if size == 0:
            ends.append((m.NONE, 0, 0, pool))
            continue
        rank = np.concatenate([one.rank[pool] for one in takers])
        order = np.lexsort((np.arange(len(at)), rank, at))[:size]
        last, customer = at[order[-1]], rank[order[-1]]
        share = int(((at[order] == last) & (rank[order] == customer)).sum())
        ends.append((int(last), int(customer), share, pool))
    if not ends:
        return None
    until, rank_of_last, share, pool = min(ends)
    new = plan._replace(
        pool_until=plan.pool_until.copy(), pool_rank=plan.pool_rank.copy(), pool_share=plan.pool_share.copy()
    )
    new.pool_until[pool], new.pool_rank[pool], new.pool_share[pool] = until, rank_of_last, share
    return new


def run_once(plan: Plan, past: Past, *, threads: int | None = None) -> Walked:
    """Decide everything as the plan says, on several threads."""
    return joined(in_parts(past, lambda first, last: _run_part(plan, past, first, last), threads=threads))


def in_parts(past: Past, work: Callable[[int, int], Found], *, threads: int | None = None) -> list[Found]:
    """Do a work for all customers, a thread for each part of them: from one place to before another."""
    # Parts of equal work: the number of events before a customer, and the customers themselves.
    return on_threads(past.starts[:-1], work, each=4, threads=threads)


def joined(walked: list[Walked]) -> Walked:
    """What the kernel decided in parts, as one."""
    return Walked(*(part for one in walked for part in one.parts()))


@lru_cache(maxsize=2)
def _say_if_compiling(answers: bool) -> None:
    """Once a process: why the first replay, or the first simulation, on a machine takes so long."""
    if is_first_compilation(answers=answers):
        what = "simulation on this machine: compiling" if answers else "replay on this machine: compiling"
        sys.stderr.write(f"First {what} the kernel ({'a minute or two' if answers else 'a minute'}, once) …\n")
        sys.stderr.flush()


@lru_cache(maxsize=2)
def _note(answers: bool) -> None:
    note_compilation(answers=answers)


def _run_part(plan: Plan, past: Past, first: int, last: int) -> Walked:
    starting = count_with(past.bits, plan.trigger_mask, past.starts[first], past.starts[last])
    journeys = 1024 + starting * max(1, len(plan.scenarios) // 2)
    return run_places(plan, past, None, first, last, journeys=journeys)[0]


def run_places(plan: Plan, past: Past, answers: Given, first: int, last: int, *, journeys: int) -> tuple[Walked, Given]:
    """Walk over places from one to before another, with more memory whenever it runs out; `journeys` is a guess."""
    out = Out(array_of(journeys, m.JOURNEY_COLUMNS), array_of(2 * journeys, m.DECISION_COLUMNS))
    work, out, answers = _filled(plan, past, answers, _scratch(plan, past, _SCRATCH), out, first, last)
    return _walked(work, out), answers


def run_chunks(plan: Plan, past: Past, first: int, last: int, *, customers: int) -> Iterator[Walked]:
    """Walk over places from one to before another, so many at a time.

    Each step writes over what the step before gave, so that what is counted of it is read while it is still near.
    """
    out = Out(array_of(2 * customers, m.JOURNEY_COLUMNS), array_of(4 * customers, m.DECISION_COLUMNS))
    work = _scratch(plan, past, _SCRATCH)
    for place in range(first, last, customers):
        work.n[m.N_JOURNEYS] = work.n[m.N_DECISIONS] = 0
        work, out, _ = _filled(plan, past, None, work, out, place, min(place + customers, last))
        yield _walked(work, out)


def _walked(work: Work, out: Out) -> Walked:
    return Walked((out.journeys[: work.n[m.N_JOURNEYS]], out.decisions[: work.n[m.N_DECISIONS]]))


def _filled(
    plan: Plan, past: Past, answers: Given, work: Work, out: Out, first: int, last: int
) -> tuple[Work, Out, Given]:
    """Walk over places, with more memory whenever it runs out."""
    with _SAYING:  # several threads begin at once
        _say_if_compiling(answers is not None)
    customer = first
    while True:
        customer = walk(plan, past, work, out, answers, customer, last)
        full, work.n[m.N_FULL] = work.n[m.N_FULL], 0
        if customer >= last and not full:
            _note(answers is not None)
            return work, out, answers
        if full == m.FULL_JOURNEYS:
            out = Out(_more(out.journeys), out.decisions)
        elif full == m.FULL_DECISIONS:
            out = Out(out.journeys, _more(out.decisions))
        else:
            counts = work.n
            work = _scratch(plan, past, 4 * len(work.journeys))
            work.n[:] = counts
            if answers is not None:
                past, answers = with_room(past, answers, 2 * len(past.at))


def _more(rows: Ints) -> Ints:
    return np.concatenate([rows, np.empty_like(rows)])


def _scratch(plan: Plan, past: Past, size: int) -> Work:
    slots = sum(
        1 if key < 0 else int(past.key_counts[key].max(initial=0)) for key in plan.scenarios[:, m.S_KEY].tolist()
    )
    longest = past.longest_name + past.longest_key + len(plan.origin_texts)
    texts = int(np.diff(plan.salt_starts).max(initial=0)) + int(np.diff(plan.suffix_starts).max(initial=0))
    return Work(
        n=np.zeros(m.N_PLACES, dtype=np.int64),
        journeys=array_of(size, m.WORK_COLUMNS),
        slots=array_of(max(1, slots), m.SLOT_COLUMNS),
        slot_base=np.zeros(len(plan.scenarios) + 1, dtype=np.int64),
        heap=array_of(4 * size, m.HEAP_COLUMNS),
        synthetic=array_of(4 * size + slots, m.HEAP_COLUMNS),
        sends=array_of(4 * size, m.SENT_COLUMNS),
        counts=np.zeros(64, dtype=np.int64),
        reserved=np.zeros(len(plan.pool_until), dtype=np.int64),
        chosen=np.zeros(size, dtype=np.int64),
        message=np.zeros(longest + texts + 72, dtype=np.uint8),
        state=np.zeros(4, dtype=np.int64),
    )
