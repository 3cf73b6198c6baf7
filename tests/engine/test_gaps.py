"""The usual time between two purchases, as it was known at each (rule R11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from toolkit.engine.gaps import NO_GAP, median_gaps
from toolkit.engine.marked import Marked, mark
from toolkit.events import EventLog
from toolkit.events.marks import Mark, Marking

START = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = 3_600_000_000
PURCHASES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["tea", "jam", None]), st.integers(0, 40), st.integers(0, 30)),
    max_size=40,
)


def marked(rows: list[tuple[str, str | None, int, int]]) -> Marked:
    frame = pd.DataFrame(rows, columns=["customer_id", "product", "at", "received_at"])
    frame["received_at"] = [
        START + timedelta(hours=int(at + late)) for at, late in zip(frame["at"], frame["received_at"], strict=True)
    ]
    frame["at"] = [START + timedelta(hours=int(at)) for at in frame["at"]]
    frame["product"] = frame["product"].astype("str")
    frame = frame.assign(event="purchase", event_id=[f"e{row}" for row in range(len(frame))])
    for name in ("at", "received_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return mark(EventLog.from_pandas(frame), Marking(marks=(Mark("purchase"),), groups=("product",)))


def known_gap(log: Marked, event: int, *, by_product: bool) -> int:
    """The definition, word for word: sort what is known by then, take the times between, take their median."""
    customers = np.searchsorted(log.starts, np.arange(len(log)), side="right") - 1
    known = log.received <= log.received[event]
    known &= log.groups[0] == log.groups[0, event] if by_product else customers == customers[event]
    if by_product and log.groups[0, event] < 0:
        return NO_GAP
    gaps = [np.diff(np.unique(log.at[known & (customers == customer)])) for customer in np.unique(customers)]
    every = np.sort(np.concatenate(gaps))
    return int(every[(len(every) - 1) // 2] + every[len(every) // 2]) // 2 if len(every) else NO_GAP


@given(PURCHASES)
def test_the_median_gap_is_that_of_the_purchases_known_by_then(rows: list[tuple[str, str | None, int, int]]) -> None:
    if not rows:
        return
    log = marked(rows)
    for group, by_product in ((-1, False), (0, True)):
        expected = [known_gap(log, event, by_product=by_product) for event in range(len(log))]
        assert median_gaps(log, 0, group).tolist() == expected


def test_the_median_gap_of_many_purchases_is_pandas_expanding_median() -> None:
    chance = np.random.default_rng(1)
    hours = np.cumsum(chance.integers(1, 100, 3_000))
    log = marked([("a", "tea", int(hour), 0) for hour in hours])
    expected = pd.Series(np.diff(hours)).expanding().median() * HOUR
    assert median_gaps(log, 0, 0)[1:].tolist() == expected.astype("int64").tolist()
    assert median_gaps(log, 0, 0)[0] == NO_GAP
