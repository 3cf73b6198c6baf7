"""Names of journeys and decisions: hashes of what they are about, so that a second run gives the same ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.hashing import digests
from toolkit.engine.layout import Ints
from toolkit.engine.marked import Marked
from toolkit.events import EventLog
from toolkit.events.marks import rows_of

__all__ = ["decision_ids", "journey_ids", "key_texts"]

_SEPARATOR = m.SEPARATOR


def key_texts(log: EventLog, marked: Marked, compiled: Compiled, scenarios: Ints, events: Ints) -> pa.Array:
    """The key value of each journey as text, null where its scenario has no key."""
    texts = np.full(len(events), None, dtype=object)
    for place, scenario in enumerate(compiled.scenarios):
        if scenario.key is None:
            continue
        chosen = np.flatnonzero((scenarios == place) & (events >= 0))
        frame = rows_of(log, marked.row[events[chosen]], [scenario.key], as_text=True)
        texts[chosen] = frame[scenario.key].to_numpy(dtype=object)
    return pa.array(texts, pa.large_string(), from_pandas=True)


def journey_ids(
    log: EventLog,
    marked: Marked,
    compiled: Compiled,
    scenarios: Ints,
    customers: Ints,
    events: Ints,
    trigger_at: Ints | None,
) -> pa.Array:
    """Hash of scenario, customer, key and trigger event of each journey.

    A journey that no event of the log began (a date, a schedule, silence, a cycle, an answer that a response model
    drew) is named by the kind of its trigger and the moment, in UTC microseconds, instead of the event.
    """
    names = pa.array([scenario.scenario for scenario in compiled.scenarios], pa.large_string())
    kinds = compiled.plan.scenarios[:, m.S_TRIGGER]
    by_event = (kinds[scenarios] == m.TRIGGER_EVENT) & (events >= 0)
    told = np.full(len(events), None, dtype=object)
    chosen = np.flatnonzero(by_event)
    told[chosen] = log.event_ids(marked.row[events[chosen]])
    if trigger_at is not None:
        for i in np.flatnonzero(~by_event):
            told[i] = f"{m.KINDS[int(kinds[scenarios[i]])]}@{trigger_at[i]}"
    return digests(
        pc.binary_join_element_wise(
            names.take(pa.array(scenarios)),
            marked.customers.take(pa.array(customers)),
            pc.fill_null(key_texts(log, marked, compiled, scenarios, events), ""),
            pa.array(told, pa.large_string()),
            pa.scalar(_SEPARATOR, pa.large_string()),
        )
    )


def decision_ids(journeys: pa.Array, steps: pa.Array) -> pa.Array:
    """Hash of the journey and the step of each decision."""
    return digests(
        pc.binary_join_element_wise(journeys, steps.cast(pa.large_string()), pa.scalar(_SEPARATOR, pa.large_string()))
    )
