"""Marked events in the order of the kernel: by customer, received_at, at and event_id, each event once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine.compiled import compiled
from toolkit.engine.doors import micros_of
from toolkit.engine.layout import MAX_BITS, NONE, Ints
from toolkit.engine.sorting import Events, Sorted, events_with, sorted_events
from toolkit.errors import ScenarioError
from toolkit.events import EventLog
from toolkit.events.marks import (
    NUMBER,
    Marking,
    asked_events,
    bits_by_consent,
    changes_attributes,
    facts_of,
    first_heard,
    marked_events,
    one_piece,
    people,
    stored_events,
)
from toolkit.memory import array_of

__all__ = ["Marked", "is_kept", "mark"]

_KEEP = 4
_KEPT: WeakKeyDictionary[EventLog, dict[Marking, Marked]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Marked:
    """Marked events, sorted by customer, received_at, at and event_id; times in UTC microseconds.

    customers: text array, one per customer. starts: first event of each customer, n_customers + 1.
    at, received, bits, row (row number in the log), fact (index into fact_bits, or -1): one per event.
    keys: (n_keys, n_events) codes within the customer, -1 where missing; key_counts: (n_keys, n_customers).
    values: (n_values, n_events), NaN where missing. groups: (n_groups, n_events) codes of all customers, -1 where
    missing. attribute_bits, zone (index into zones), locale: one per customer.
    dates: (n_dates, n_customers), days since 1970, or NO_DATE; where events change them, those after each fact stand
    behind. known_from: since when each customer is known, or NONE.
    """

    customers: pa.Array
    starts: Ints
    at: Ints
    received: Ints
    bits: Ints
    row: Ints
    fact: Ints
    fact_bits: Ints
    fact_zone: Ints
    keys: Ints
    key_counts: Ints
    values: npt.NDArray[np.float64]
    groups: Ints
    attribute_bits: Ints
    zone: Ints
    zones: tuple[str, ...]
    dates: Ints
    known_from: Ints
    first: int
    last: int
    duplicates: int

    def __len__(self) -> int:
        return len(self.at)


def mark(log: EventLog, marking: Marking) -> Marked:
    """The marked events of a log, sorted for the kernel.

    Args:
        log: the event log.
        marking: what is asked of it; expressions are already checked.

    Returns:
        Arrays; the same object again when the same log is asked the same.

    Raises:
        ScenarioError: more conditions than the engine holds.
        EventLogError: a compact log that was left without an event that is asked for.
    """
    log.check_holds([one.event for one in marking.marks])
    for kind, asked in (("events", marking.marks), ("attributes", marking.attributes)):
        if len(asked) > MAX_BITS:
            raise ScenarioError(
                f"{len(asked)} different conditions on {kind}; the engine holds {MAX_BITS}: "
                "replay fewer scenarios at once, or share conditions between them"
            )
    kept = _KEPT.setdefault(log, {})
    marked = kept.get(marking)
    if marked is None:
        for oldest in list(kept)[: max(0, len(kept) - _KEEP + 1)]:  # another thread may take it out at the same moment
            kept.pop(oldest, None)
        marked = kept[marking] = _mark(log, marking)
    return marked


def is_kept(log: EventLog, marked: Marked) -> bool:
    """Whether a log that is asked again would answer with these."""
    return any(one is marked for one in list(_KEPT.get(log, {}).values()))


def _mark(log: EventLog, marking: Marking) -> Marked:
    table, who, found = _read(log, marking)
    tied = np.flatnonzero(found.tied)
    with ThreadPoolExecutor(1) as aside:  # the ids of a few events take as long as all that follows
        ids = aside.submit(log.event_ids, found.row[tied], events=asked_events(log, marking))
        customers = who if log.numbered_customers is None else log.numbered_customers.take(pa.array(who))
        heard = first_heard(log) if marking.heard else None
        for known in (log.customer_table if marking.everyone else None, heard):
            if known is None:
                continue
            others = one_piece(known, "customer_id").cast(pa.large_string())
            others = others.filter(pc.invert(pc.is_in(others, value_set=customers)))
            customers = pa.concat_arrays([customers, others])
            found = found._replace(starts=np.concatenate([found.starts, np.full(len(others), found.starts[-1])]))
        attribute_bits, zone, zones, dates = people(log, marking, customers)
        of_strangers = None if len(log.customer_table) or not marking.attributes else _bits_of_strangers(log, marking)
        found, duplicates = _same_instants(found, tied, ids.result())
    starts, received, at, row, bits, order, _ = found

    keys = np.full((len(marking.keys), len(at)), -1, dtype=np.int64)
    key_counts = np.zeros((len(marking.keys), len(customers)), dtype=np.int64)
    for k in range(len(marking.keys)):
        texts = one_piece(table, f"key_{k}").dictionary_encode()
        rank = np.full(len(texts.dictionary) + 1, -1, dtype=np.int64)  # the last place is of events without a value
        rank[pc.array_sort_indices(texts.dictionary).to_numpy()] = np.arange(len(texts.dictionary))
        ranks = rank[pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)[order]]
        _local_codes(starts, ranks, len(texts.dictionary), keys[k], key_counts[k])
    values = np.empty((len(marking.values), len(at)), dtype=np.float64)
    for v in range(len(marking.values)):
        column = table.column(f"value_{v}").to_numpy(zero_copy_only=False)
        values[v] = np.asarray(column, dtype=np.float64)[order]
    groups = np.empty((len(marking.groups), len(at)), dtype=np.int64)
    for g in range(len(marking.groups)):
        texts = one_piece(table, f"group_{g}").dictionary_encode()
        groups[g] = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)[order]

    if changes_attributes(log, marking):
        fact, fact_bits, told, news = facts_of(log, marking, row)
        dates = np.concatenate([dates, news], axis=1) if marking.dates else dates
        names = dict.fromkeys((*zones, *filter(None, told)))
        codes_of = {name: code for code, name in enumerate(names)}
        fact_zone = np.array([codes_of.get(name or "", -1) for name in told], dtype=np.int64)
        zones = tuple(names)
    else:
        fact, fact_bits = _consents(log, marking, customers, starts, bits, at, of_strangers)
        fact_zone = np.full(len(fact_bits), -1, dtype=np.int64)
    first, last = (0, 0) if log.span is None else tuple(map(micros_of, log.span))
    return Marked(
        customers=customers,
        starts=starts,
        at=at,
        received=received,
        bits=bits,
        row=row,
        fact=fact,
        fact_bits=fact_bits,
        fact_zone=fact_zone,
        keys=keys,
        key_counts=key_counts,
        values=values,
        groups=groups,
        attribute_bits=attribute_bits,
        zone=zone,
        zones=zones,
        dates=dates,
        first=first,
        last=last,
        known_from=np.full(len(customers), NONE) if heard is None else _known_from(log, customers, heard),
        duplicates=duplicates,
    )


def _read(log: EventLog, marking: Marking) -> tuple[pa.Table, pa.Array | Ints, Sorted]:
    """Further columns of the marked events as read, who they are of, each once, and the events by customer and time.

    In a numbered log they are of numbers, else of customers by name.
    """
    groups = stored_events(log, marking)
    if groups is not None:
        row = np.empty(0, dtype=np.int64)
        pieces = [Events(group.customer, group.received, group.at, row, group.first, group.bits) for group in groups]
        return pa.table({}), *_by_number(pieces, with_order=False, all_of_them=False)
    table = marked_events(log, marking)
    with_order = bool(marking.keys or marking.values or marking.groups)
    if log.numbered_customers is not None:
        pieces = _pieces(table, NUMBER)
        return table, *_by_number(pieces, with_order=with_order, all_of_them=True)
    encoded = table.column("customer_id").dictionary_encode()
    customers = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.large_string())
    codes = pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32())
    pieces = _pieces(table.set_column(0, "customer_id", codes), "customer_id")
    found = sorted_events(pieces, 0, len(customers), with_order=with_order, all_of_them=True)
    return table, customers.cast(pa.large_string()), found


def _by_number(pieces: list[Events], *, with_order: bool, all_of_them: bool) -> tuple[Ints, Sorted]:
    """The numbers of the customers that events are of, and the events in order."""
    first = min((int(piece.customer.min()) for piece in pieces), default=0)
    stop = max((int(piece.customer.max()) + 1 for piece in pieces), default=0)
    found = sorted_events(pieces, first, stop, with_order=with_order, all_of_them=all_of_them)
    met = np.flatnonzero(found.starts[1:] != found.starts[:-1])
    starts = np.empty(len(met) + 1, dtype=np.int64)
    np.take(found.starts, met, out=starts[:-1])
    starts[-1] = found.starts[-1]
    met += first
    return met, found._replace(starts=starts)


def _pieces(table: pa.Table, customer: str) -> list[Events]:
    """The table as it came, piece by piece."""
    pieces = []
    for batch in table.to_batches():
        numbers, received, at, row, bits = (
            batch.column(name).to_numpy() for name in (customer, "received_at", "at", "row", "bits")
        )
        if len(at):
            pieces.append(Events(numbers, received, at, row, 0, bits))
    return pieces


def _known_from(log: EventLog, customers: pa.Array, heard: pa.Table) -> Ints:
    """Since when each customer is known: always, for people of the customers table; else since their first event."""
    table = one_piece(log.customer_table, "customer_id").cast(pa.large_string())
    place = pc.index_in(customers, value_set=one_piece(heard, "customer_id").cast(pa.large_string()))
    since = pc.fill_null(one_piece(heard, "first").take(place), NONE)
    since = pc.if_else(pc.is_in(customers, value_set=table), NONE, since)
    return np.array(since.to_numpy(zero_copy_only=False), dtype=np.int64)


def _consents(
    log: EventLog,
    marking: Marking,
    customers: pa.Array,
    starts: Ints,
    bits: Ints,
    at: Ints,
    of_strangers: tuple[Ints, Ints] | None,
) -> tuple[Ints, Ints]:
    """Attribute bits after each event that gives or takes back the consent, where nothing else changes.

    `of_strangers`: those of anyone, where nobody is known, with the consent and without.
    """
    fact = array_of(len(bits))
    fact[:] = -1
    given = _mask(marking, "email_subscribed")
    told = given | _mask(marking, "email_unsubscribed") | _mask(marking, "email_complained")
    events = events_with(bits, told)
    if not marking.attributes or not len(events):
        return fact, np.zeros(0, dtype=np.int64)
    owners, owner = np.unique(np.searchsorted(starts, events, side="right") - 1, return_inverse=True)
    word = events[_latest(owner.astype(np.int64), at[events])]
    fact[events] = np.where(bits[word] & given, owner, owner + len(owners))
    if of_strangers is not None:
        return fact, np.concatenate([told.repeat(len(owners)) for told in of_strangers])
    changed = customers.take(pa.array(owners))
    return fact, np.concatenate([bits_by_consent(log, marking, changed, consent=consent) for consent in (True, False)])


def _bits_of_strangers(log: EventLog, marking: Marking) -> tuple[Ints, Ints]:
    """Attribute bits of someone of whom nothing is known but that they gave the consent, or refused it."""
    nobody = pa.array([""], pa.large_string())
    given, refused = (bits_by_consent(log, marking, nobody, consent=consent) for consent in (True, False))
    return given, refused


@compiled
def _latest(owner: Ints, at: Ints) -> Ints:
    """For each event, the one of the same owner that happened last, of those received by then (rule R18)."""
    latest = np.empty(len(at), dtype=np.int64)
    for k in range(len(at)):
        latest[k] = k
        if k and owner[k] == owner[k - 1] and at[latest[k - 1]] > at[k]:
            latest[k] = latest[k - 1]
    return latest


def _mask(marking: Marking, event: str) -> int:
    return sum(1 << bit for bit, one in enumerate(marking.marks) if one.event == event and one.where is None)


def _ints(table: pa.Table, name: str) -> Ints:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


def _same_instants(found: Sorted, places: Ints, event_ids: list[str]) -> tuple[Sorted, int]:
    """Order events of one customer and instant by event_id, and drop the second of two that are the same (R3, R24).

    `places`: of the events that share an instant, with their ids. Returns all events, and how many were dropped.
    """
    if not len(places):
        return found, 0
    starts, received, at, row, bits, order, _ = found
    customer = np.searchsorted(starts, places, side="right")
    instants = [values[1:] != values[:-1] for values in (customer, received[places], at[places])]
    instant = np.append(0, np.cumsum(np.logical_or.reduce(instants)))
    encoded = pa.array(event_ids, pa.large_string()).dictionary_encode()
    rank = np.empty(len(encoded.dictionary), dtype=np.int64)
    rank[pc.array_sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(rank))
    rank = rank[encoded.indices.to_numpy()]
    turn = np.lexsort((row[places], rank, instant))
    for values in (row, bits, order) if len(order) else (row, bits):
        values[places] = values[places[turn]]
    again = (instant[1:] == instant[:-1]) & (rank[turn][1:] == rank[turn][:-1])
    if not again.any():
        return found, 0
    keep = np.ones(len(at), dtype=np.bool_)
    keep[places[1:][again]] = False
    found = Sorted(
        starts=np.append(0, np.cumsum(keep))[starts],
        received=received[keep],
        at=at[keep],
        row=row[keep],
        bits=bits[keep],
        order=order[keep] if len(order) else order,
        tied=found.tied[keep],
    )
    return found, int(again.sum())


@compiled
def _local_codes(starts: Ints, ranks: Ints, n_ranks: int, local: Ints, counts: Ints) -> None:
    """Renumber key values within each customer, from 0 in the order of their texts (R11, R17)."""
    owner = np.full(n_ranks, -1, dtype=np.int64)
    number = np.zeros(n_ranks, dtype=np.int64)
    met = np.empty(n_ranks, dtype=np.int64)
    for c in range(len(starts) - 1):
        count = 0
        for k in range(starts[c], starts[c + 1]):
            rank = ranks[k]
            if rank >= 0 and owner[rank] != c:
                owner[rank] = c
                met[count] = rank
                count += 1
        met[:count].sort()
        for place in range(count):
            number[met[place]] = place
        for k in range(starts[c], starts[c + 1]):
            if ranks[k] >= 0:
                local[k] = number[ranks[k]]
        counts[c] = count
