"""Marked events in the order of the kernel: by customer, received_at, at and event_id, each event once."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine.compiled import compiled
from toolkit.engine.layout import MAX_BITS, NONE, Ints
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
)

__all__ = ["Marked", "mark"]

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
    if marking not in kept:
        while len(kept) >= _KEEP:
            del kept[next(iter(kept))]
        kept[marking] = _mark(log, marking)
    return kept[marking]


def _mark(log: EventLog, marking: Marking) -> Marked:
    table = marked_events(log, marking)
    customers, codes = _customers(log, table)
    heard = first_heard(log) if marking.heard else None
    for known in (log.customer_table if marking.everyone else None, heard):
        if known is None:
            continue
        others = one_piece(known, "customer_id").cast(pa.large_string())
        customers = pa.concat_arrays([customers, others.filter(pc.invert(pc.is_in(others, value_set=customers)))])

    received, at, row = (_ints(table, name) for name in ("received_at", "at", "row"))
    order, starts = _order(codes, len(customers), received, at)
    rows, received, at, row = row, received[order], at[order], row[order]
    keep, order = _same_instants(log, marking, starts, received, at, row, order)
    duplicates = 0
    if keep is not None:
        duplicates = int(len(keep) - keep.sum())
        order, received, at = order[keep], received[keep], at[keep]
        row = rows[order]
        starts = np.concatenate([[0], np.cumsum(keep)])[starts].astype(np.int64)

    keys = np.full((len(marking.keys), len(order)), -1, dtype=np.int64)
    key_counts = np.zeros((len(marking.keys), len(customers)), dtype=np.int64)
    for k in range(len(marking.keys)):
        texts = one_piece(table, f"key_{k}").dictionary_encode()
        key_codes = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)[order]
        _local_codes(starts, key_codes, len(texts.dictionary), keys[k], key_counts[k])
    values = np.empty((len(marking.values), len(order)), dtype=np.float64)
    for v in range(len(marking.values)):
        column = table.column(f"value_{v}").to_numpy(zero_copy_only=False)
        values[v] = np.asarray(column, dtype=np.float64)[order]
    groups = np.empty((len(marking.groups), len(order)), dtype=np.int64)
    for g in range(len(marking.groups)):
        texts = one_piece(table, f"group_{g}").dictionary_encode()
        groups[g] = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)[order]

    attribute_bits, zone, zones, dates = people(log, marking, customers)
    bits = _ints(table, "bits")[order]
    if changes_attributes(log, marking):
        fact, fact_bits, told, news = facts_of(log, marking, row)
        dates = np.concatenate([dates, news], axis=1) if marking.dates else dates
        names = dict.fromkeys((*zones, *filter(None, told)))
        codes_of = {name: code for code, name in enumerate(names)}
        fact_zone = np.array([codes_of.get(name or "", -1) for name in told], dtype=np.int64)
        zones = tuple(names)
    else:
        fact, fact_bits = _consents(log, marking, customers, starts, bits, at)
        fact_zone = np.full(len(fact_bits), -1, dtype=np.int64)
    first, last = (0, 0) if log.span is None else tuple(_micros(moment) for moment in log.span)
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


def _customers(log: EventLog, table: pa.Table) -> tuple[pa.Array, Ints]:
    """Who the marked events are of, each once, and for each event the place of its customer."""
    everyone = log.numbered_customers
    if everyone is None:
        encoded = one_piece(table, "customer_id").dictionary_encode()
        places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return encoded.dictionary.cast(pa.large_string()), places
    places = _ints(table, NUMBER)
    if not len(places):
        return pa.array([], pa.large_string()), places
    first = int(places.min())
    places = places - first
    met = np.zeros(int(places.max()) + 1, dtype=np.bool_)
    met[places] = True
    customers = everyone.take(pa.array(np.flatnonzero(met) + first))
    return customers, (np.cumsum(met) - 1)[places]


def _known_from(log: EventLog, customers: pa.Array, heard: pa.Table) -> Ints:
    """Since when each customer is known: always, for people of the customers table; else since their first event."""
    table = one_piece(log.customer_table, "customer_id").cast(pa.large_string())
    place = pc.index_in(customers, value_set=one_piece(heard, "customer_id").cast(pa.large_string()))
    since = pc.fill_null(one_piece(heard, "first").take(place), NONE)
    since = pc.if_else(pc.is_in(customers, value_set=table), NONE, since)
    return np.array(since.to_numpy(zero_copy_only=False), dtype=np.int64)


def _consents(
    log: EventLog, marking: Marking, customers: pa.Array, starts: Ints, bits: Ints, at: Ints
) -> tuple[Ints, Ints]:
    """Attribute bits after each event that gives or takes back the consent, where nothing else changes."""
    fact = np.full(len(bits), -1, dtype=np.int64)
    given = _mask(marking, "email_subscribed")
    events = np.flatnonzero(bits & (given | _mask(marking, "email_unsubscribed") | _mask(marking, "email_complained")))
    if not marking.attributes or not len(events):
        return fact, np.zeros(0, dtype=np.int64)
    owners, owner = np.unique(np.searchsorted(starts, events, side="right") - 1, return_inverse=True)
    changed = customers.take(pa.array(owners))
    word = events[_latest(owner.astype(np.int64), at[events])]
    fact[events] = np.where(bits[word] & given, owner, owner + len(owners))
    told = [bits_by_consent(log, marking, changed, consent=consent) for consent in (True, False)]
    return fact, np.concatenate(told)


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


def _micros(moment: pd.Timestamp) -> int:
    # In microseconds from the start: in pandas' nanoseconds time ends in 2262.
    return int(
        (moment.as_unit("us") - pd.Timestamp("1970-01-01", tz="UTC").as_unit("us")) // pd.Timedelta(1, unit="us")
    )


def _ints(table: pa.Table, name: str) -> Ints:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


@compiled
def _order(codes: Ints, n_customers: int, received: Ints, at: Ints) -> tuple[Ints, Ints]:
    """A stable counting sort by customer, then by received_at and at within each customer."""
    starts = np.zeros(n_customers + 1, dtype=np.int64)
    for code in codes:
        starts[code + 1] += 1
    for c in range(n_customers):
        starts[c + 1] += starts[c]
    fill = starts[:-1].copy()
    order = np.empty(len(codes), dtype=np.int64)
    for i in range(len(codes)):
        order[fill[codes[i]]] = i
        fill[codes[i]] += 1
    for c in range(n_customers):
        low, high = starts[c], starts[c + 1]
        tidy = True
        for k in range(low + 1, high):
            a, b = order[k - 1], order[k]
            if received[a] > received[b] or (received[a] == received[b] and at[a] > at[b]):
                tidy = False
                break
        if tidy:
            continue
        part = order[low:high]
        part = part[np.argsort(at[part], kind="mergesort")]
        order[low:high] = part[np.argsort(received[part], kind="mergesort")]
    return order, starts


@compiled
def _tied(starts: Ints, received: Ints, at: Ints) -> Ints:
    """For each event, 1 when a neighbour of the same customer shares both its times."""
    tied = np.zeros(len(at), dtype=np.int64)
    for c in range(len(starts) - 1):
        for k in range(starts[c] + 1, starts[c + 1]):
            if received[k] == received[k - 1] and at[k] == at[k - 1]:
                tied[k - 1] = 1
                tied[k] = 1
    return tied


def _same_instants(
    log: EventLog, marking: Marking, starts: Ints, received: Ints, at: Ints, row: Ints, order: Ints
) -> tuple[npt.NDArray[np.bool_] | None, Ints]:
    """Order events of one customer and instant by event_id, and drop the second of two that are the same (R3, R24).

    Which to keep is None, and the order is the one given, where no two share an instant.
    """
    places = np.flatnonzero(_tied(starts, received, at))
    if not len(places):
        return None, order
    frame = pd.DataFrame(
        {
            "customer": np.searchsorted(starts, places, side="right"),
            "received": received[places],
            "at": at[places],
            "id": log.event_ids(row[places], events=asked_events(log, marking)),
            "order": order[places],
            "row": row[places],
        }
    )
    frame = frame.sort_values(["customer", "received", "at", "id", "row"], kind="stable")
    order = order.copy()
    order[places] = frame["order"].to_numpy()
    keep = np.ones(len(order), dtype=np.bool_)
    keep[places] = ~frame.duplicated(["customer", "received", "at", "id"]).to_numpy()
    return keep, order


@compiled
def _local_codes(starts: Ints, codes: Ints, n_codes: int, local: Ints, counts: Ints) -> None:
    """Renumber key values within each customer, from 0 in order of appearance."""
    owner = np.full(n_codes, -1, dtype=np.int64)
    number = np.zeros(n_codes, dtype=np.int64)
    for c in range(len(starts) - 1):
        count = 0
        for k in range(starts[c], starts[c + 1]):
            code = codes[k]
            if code < 0:
                continue
            if owner[code] != c:
                owner[code] = c
                number[code] = count
                count += 1
            local[k] = number[code]
        counts[c] = count
