"""A log prepared for a program: marked events, time zones, and the shares of customers in experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.gaps import NO_GAP, median_gaps
from toolkit.engine.hashing import text_buffers, uniform
from toolkit.engine.ids import journey_ids, key_texts
from toolkit.engine.layout import Floats, Ints, Past
from toolkit.engine.marked import Marked, is_kept, mark
from toolkit.engine.zones import zone_tables
from toolkit.events import EventLog
from toolkit.events.marks import Marking
from toolkit.memory import array_of

__all__ = ["Prepared", "prepare_log"]

_RANGE = 40
"""A range of customers has fewer than 2**40 of them; the ranges are in the order of customer_id."""
_AT_ONCE = 1 << 15
_SPAN_AFTER = 2 * 366 * 86_400_000_000
# By log, not by Marked: what is prepared holds its Marked, which would then never go.
_KEPT: WeakKeyDictionary[EventLog, dict[tuple[Marking, str], Prepared]] = WeakKeyDictionary()


@dataclass(eq=False)
class Prepared:
    """Marked events together with time zones and, as they are asked for, the shares of customers in experiments."""

    marked: Marked
    unknown_zones: Mapping[str, int]
    zone: Ints
    _fact_zone: Ints
    zone_names: tuple[str, ...]
    _names: tuple[Ints, m.Bytes]
    _arm_shares: dict[tuple[str, ...], Floats] = field(default_factory=dict)
    _spread_shares: dict[tuple[str, ...], Floats] = field(default_factory=dict)
    _gaps: dict[tuple[int, int], Ints] = field(default_factory=dict)

    @property
    def duplicates(self) -> int:
        """Exact repetitions of events that counted once."""
        return self.marked.duplicates

    @cached_property
    def seen(self) -> int:
        """The bits of all marked events together."""
        return int(np.bitwise_or.reduce(self.marked.bits, initial=0))

    @cached_property
    def _longest_name(self) -> int:
        """Bytes of the longest customer_id, looked for piece by piece: no array as long as all is made."""
        starts, _ = self._names
        pieces = (np.diff(starts[first : first + _AT_ONCE + 1]) for first in range(0, len(starts) - 1, _AT_ONCE))
        return max((int(piece.max()) for piece in pieces), default=0)

    def past(self, log: EventLog, compiled: Compiled, until: int) -> Past:
        """The log as the kernel reads it, for one compiled program."""
        marked = self.marked
        count = len(marked.customers)
        starts, names = self._names
        key_places, key_texts = self._key_texts(log, compiled)
        span = (min(marked.first, until), max(marked.last, until) + _SPAN_AFTER)
        spread = compiled.suffixes if compiled.plan.scenarios[:, m.S_QUIET_SPREAD].any() else ()
        return Past(
            starts=marked.starts,
            at=marked.at,
            received=marked.received,
            bits=marked.bits,
            fact=marked.fact,
            fact_bits=marked.fact_bits,
            fact_zone=self._fact_zone,
            keys=marked.keys,
            key_counts=marked.key_counts,
            values=marked.values,
            gaps=self._gaps_of(compiled),
            key_places=key_places,
            key_texts=key_texts,
            longest_key=int((key_places[1::2] - key_places[::2]).max(initial=0)),
            attribute_bits=marked.attribute_bits,
            dates=marked.dates,
            zone=self.zone,
            rank=self.rank(log, compiled),
            known_from=marked.known_from,
            zones=zone_tables(self.zone_names, first=span[0], last=span[1]),
            names=names,
            name_starts=starts,
            longest_name=self._longest_name,
            journey_shares=self._journey_shares(log, compiled),
            arm_shares=_shares(self._arm_shares, compiled.salts, count),
            spread_shares=_shares(self._spread_shares, spread, count),
            first=marked.first,
        )

    def _gaps_of(self, compiled: Compiled) -> Ints:
        """The usual time between two events, as known at each, for cycles that go by it; kept for the next run."""
        for asked in compiled.gaps:
            if asked not in self._gaps:
                self._gaps[asked] = median_gaps(self.marked, *asked)
        none = np.full(1, NO_GAP, dtype=np.int64)
        return np.stack([self._gaps[asked] for asked in compiled.gaps] or [none])

    def _key_texts(self, log: EventLog, compiled: Compiled) -> tuple[Ints, m.Bytes]:
        """Where the key of each event that a scenario's ids hold begins and ends in one text, and the text."""
        places = np.zeros((max(2, 2 * len(compiled.keyed)), len(self.marked) if compiled.keyed else 1), dtype=np.int64)
        texts = [b"\0"]
        for row, place in enumerate(compiled.keyed):
            rules = compiled.plan.scenarios[place]
            bits = [int(bit) for bit in (rules[m.S_TRIGGER_BIT], rules[m.S_SINCE_BIT]) if bit >= 0]
            events = np.flatnonzero(self.marked.bits & sum(1 << bit for bit in set(bits)))
            keys = key_texts(log, self.marked, compiled, np.full(len(events), place), events)
            offsets, content = text_buffers(pc.fill_null(keys, ""))
            behind = sum(map(len, texts)) - offsets[0]
            places[2 * row, events], places[2 * row + 1, events] = offsets[:-1] + behind, offsets[1:] + behind
            texts.append(content[offsets[0] : offsets[-1]].tobytes())
        return places, np.frombuffer(bytearray(b"".join(texts)), dtype=np.uint8)

    def rank(self, log: EventLog, compiled: Compiled) -> Ints:
        """Turn of each customer within one moment: only coupons that run out need to know it."""
        if not compiled.pools:
            return np.zeros(1, dtype=np.int64)
        return self._rank + (log.part << _RANGE)

    @cached_property
    def _rank(self) -> Ints:
        """Turn of each customer within one moment, by customer_id."""
        order = pc.array_sort_indices(self.marked.customers).to_numpy()
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank

    @cached_property
    def _no_journey_shares(self) -> Floats:
        """One row of nothing: the kernel does not read it, a simulation copies it from event to event."""
        return np.zeros((1, len(self.marked)))  # memory that nobody touches is never taken

    def _journey_shares(self, log: EventLog, compiled: Compiled) -> Floats:
        """Shares of the journeys that events would begin, for experiments whose unit is the journey."""
        wanted = [
            (salt, place) for place, salt in enumerate(compiled.salts) if compiled.plan.split_by_journey[place] >= 0
        ]
        if not wanted:
            return self._no_journey_shares
        shares = np.full((len(wanted), len(self.marked)), np.nan)
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
        kept[names] = array_of(max(1, len(names)), count if names else 1).view(np.float64)
        kept[names][:] = np.nan
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
    kept = _KEPT.setdefault(log, {})
    known = kept.get((compiled.marking, zone))
    if known is not None and known.marked is marked:
        return known
    for key, one in list(kept.items()):
        if not is_kept(log, one.marked):
            kept.pop(key, None)
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
    starts, texts = text_buffers(marked.customers)
    prepared = Prepared(
        marked,
        unknown,
        lookup[marked.zone],
        np.where(marked.fact_zone < 0, -1, lookup[marked.fact_zone]),
        tuple(names),
        # Copies, because the compiler takes arrays that cannot be written to for another type.
        (starts.copy(), texts.copy()),
    )
    kept[compiled.marking, zone] = prepared
    return prepared


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
