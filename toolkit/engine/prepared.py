"""A log prepared for a program, and the run of the kernel over it, on all cores."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.compiled import config
from toolkit.engine.hashing import text_buffers, uniform
from toolkit.engine.ids import journey_ids
from toolkit.engine.layout import Floats, Ints, Out, Past, Plan, Work
from toolkit.engine.marked import Marked, mark
from toolkit.engine.walk import walk
from toolkit.engine.zones import zone_tables
from toolkit.events import EventLog

__all__ = ["Prepared", "Walked", "prepare_log", "run_kernel"]

_SPAN_AFTER = 2 * 366 * 86_400_000_000
_KEPT: WeakKeyDictionary[Marked, dict[str, Prepared]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Walked:
    """What the kernel decided: rows of `layout.JOURNEY_COLUMNS` and `layout.DECISION_COLUMNS`."""

    journeys: Ints
    decisions: Ints


@dataclass(eq=False)
class Prepared:
    """Marked events together with time zones and, as they are asked for, the shares of customers in experiments."""

    marked: Marked
    unknown_zones: Mapping[str, int]
    zone: Ints
    zone_names: tuple[str, ...]
    _names: tuple[Ints, m.Bytes]
    _arm_shares: dict[tuple[str, ...], Floats] = field(default_factory=dict)
    _spread_shares: dict[tuple[str, ...], Floats] = field(default_factory=dict)

    def past(self, log: EventLog, compiled: Compiled, until: int) -> Past:
        """The log as the kernel reads it, for one compiled program."""
        marked = self.marked
        count = len(marked.customers)
        starts, names = self._names
        span = (min(marked.first, until), max(marked.last, until) + _SPAN_AFTER)
        spread = compiled.suffixes if compiled.plan.scenarios[:, m.S_QUIET_SPREAD].any() else ()
        return Past(
            starts=marked.starts,
            at=marked.at,
            received=marked.received,
            bits=marked.bits,
            fact=marked.fact,
            fact_bits=marked.fact_bits,
            keys=marked.keys,
            key_counts=marked.key_counts,
            values=marked.values,
            attribute_bits=marked.attribute_bits,
            dates=marked.dates,
            zone=self.zone,
            zones=zone_tables(self.zone_names, first=span[0], last=span[1]),
            names=names,
            name_starts=starts,
            journey_shares=self._journey_shares(log, compiled),
            arm_shares=_shares(self._arm_shares, compiled.salts, count),
            spread_shares=_shares(self._spread_shares, spread, count),
            first=marked.first,
        )

    def _journey_shares(self, log: EventLog, compiled: Compiled) -> Floats:
        """Shares of the journeys that events would begin, for experiments whose unit is the journey."""
        wanted = [
            (salt, place) for place, salt in enumerate(compiled.salts) if compiled.plan.split_by_journey[place] >= 0
        ]
        shares = np.full((max(1, len(wanted)), len(self.marked)), np.nan)
        for row, (salt, place) in enumerate(wanted):
            scenario = compiled.scenario_of_split[place]
            bit = compiled.plan.scenarios[scenario, m.S_TRIGGER_BIT]
            events = np.flatnonzero((self.marked.bits >> bit) & 1)
            customers = np.searchsorted(self.marked.starts, events, side="right") - 1
            ids = journey_ids(log, self.marked, compiled, np.full(len(events), scenario), customers, events, None)
            shares[row, events] = uniform(salt.removesuffix(":"), ids)
        return shares


def _shares(kept: dict[tuple[str, ...], Floats], names: tuple[str, ...], count: int) -> Floats:
    """Room for shares that the kernel computes when it first needs them, kept for the next run."""
    if names not in kept:
        kept.clear()
        kept[names] = np.full((max(1, len(names)), count if names else 1), np.nan)
    return kept[names]


def prepare_log(log: EventLog, compiled: Compiled, *, zone: str) -> Prepared:
    """Read, mark and sort a log for a compiled program; the same object again when the log is asked the same.

    Args:
        log: the event log.
        compiled: the program in arrays.
        zone: time zone of customers without one, or with one that is unknown.

    Returns:
        The prepared log.
    """
    marked = mark(log, compiled.marking)
    kept = _KEPT.setdefault(marked, {})
    if zone in kept:
        return kept[zone]
    names = [zone]
    places, unknown = [], {}
    for place, name in enumerate(marked.zones):
        if not _is_zone(name):
            unknown[name] = int((marked.zone == place).sum())
            places.append(0)
            continue
        if name not in names:
            names.append(name)
        places.append(names.index(name))
    lookup = np.array([*places, 0], dtype=np.int64)  # the last, for -1, is the program's
    prepared = Prepared(marked, unknown, lookup[marked.zone], tuple(names), text_buffers(marked.customers))
    kept[zone] = prepared
    return prepared


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


# The run .............................................................................................................


def run_kernel(compiled: Compiled, past: Past, *, threads: int | None = None) -> Walked:
    """Decide everything, on several threads; the result does not depend on how many."""
    customers = len(past.starts) - 1
    threads = 1 if config.DISABLE_JIT else threads or min(os.cpu_count() or 1, 16)
    threads = max(1, min(threads, customers // 1000 + 1))
    # Parts of equal work: the number of events before a customer, and the customers themselves.
    work = past.starts[:-1] + 4 * np.arange(customers)
    cuts = np.searchsorted(work, np.linspace(0, work[-1] + 1 if customers else 0, threads + 1)[1:-1])
    bounds = [0, *(int(cut) for cut in cuts), customers]
    parts = list(itertools.pairwise(bounds))
    if threads == 1:
        walked = [_run_part(compiled.plan, past, *parts[0])]
    else:
        with ThreadPoolExecutor(threads) as pool:
            walked = list(pool.map(lambda part: _run_part(compiled.plan, past, *part), parts))
    shift = 0
    for part in walked:
        part.decisions[:, m.D_JOURNEY] += shift
        shift += len(part.journeys)
    if len(walked) == 1:
        return walked[0]
    return Walked(
        np.concatenate([part.journeys for part in walked]), np.concatenate([part.decisions for part in walked])
    )


def _run_part(plan: Plan, past: Past, first: int, last: int) -> Walked:
    starting = past.bits[past.starts[first] : past.starts[last]] & plan.trigger_mask
    journeys = 1024 + int(np.count_nonzero(starting)) * max(1, len(plan.scenarios) // 2)
    out = Out(_room(journeys, m.JOURNEY_COLUMNS), _room(2 * journeys, m.DECISION_COLUMNS))
    size = 1024
    work = _scratch(plan, past, size)
    customer = first
    while True:
        customer = walk(plan, past, work, out, customer, last)
        full, work.n[m.N_FULL] = work.n[m.N_FULL], 0
        if customer >= last and not full:
            break
        if full == m.FULL_JOURNEYS:
            out = Out(_more(out.journeys), out.decisions)
        elif full == m.FULL_DECISIONS:
            out = Out(out.journeys, _more(out.decisions))
        else:
            size *= 4
            counts = work.n
            work = _scratch(plan, past, size)
            work.n[:] = counts
    return Walked(out.journeys[: work.n[m.N_JOURNEYS]], out.decisions[: work.n[m.N_DECISIONS]])


def _room(rows: int, columns: int) -> Ints:
    return np.empty((rows, columns), dtype=np.int64)


def _more(rows: Ints) -> Ints:
    return np.concatenate([rows, np.empty_like(rows)])


def _scratch(plan: Plan, past: Past, size: int) -> Work:
    slots = sum(
        1 if key < 0 else int(past.key_counts[key].max(initial=0)) for key in plan.scenarios[:, m.S_KEY].tolist()
    )
    longest = int(np.diff(past.name_starts).max(initial=0))
    texts = int(np.diff(plan.salt_starts).max(initial=0)) + int(np.diff(plan.suffix_starts).max(initial=0))
    return Work(
        n=np.zeros(m.N_PLACES, dtype=np.int64),
        journeys=_room(size, m.WORK_COLUMNS),
        slots=_room(max(1, slots), m.SLOT_COLUMNS),
        slot_base=np.zeros(len(plan.scenarios) + 1, dtype=np.int64),
        heap=_room(4 * size, 4),
        synthetic=_room(4 * size + slots, 4),
        sends=_room(4 * size, 3),
        counts=np.zeros(64, dtype=np.int64),
        chosen=np.zeros(size, dtype=np.int64),
        message=np.zeros(longest + texts + 72, dtype=np.uint8),
        state=np.zeros(4, dtype=np.int64),
    )
