"""Event logs of any size, written to Parquet piece by piece: the memory needed does not grow with the log."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import InputError, path_text, shown
from toolkit.simulation.calendar import DAY, first_moment
from toolkit.simulation.habits import Habits
from toolkit.simulation.people import draw_people
from toolkit.simulation.rows import events_table
from toolkit.simulation.shop import check_size, checked_habits, happenings, received_at
from toolkit.whole import whole_file

__all__ = ["generate_events"]

_BLOCK = 20_000
_PILOT_PEOPLE, _PILOT_DAYS = 4_000, 180
_COLUMNS = ["customer_id", "event", "at", "received_at", "product_id", "value", "revenue"]


def generate_events(
    n_events: int,
    path: str | PathLike[str],
    *,
    customers: int | None = None,
    seed: int,
    start: str = "2024-01-01",
    habits: Habits | None = None,
) -> Path:
    """A Parquet file of exactly so many events of a shop, as `shop` draws them, in bounded memory.

    Customers come in blocks of 20,000; within a block the rows are in order of time, so that the file is sorted
    neither by customer nor by time.

    Args:
        n_events: how many rows.
        path: the file to write; what stands there is replaced once the new file is whole.
        customers: about how many people they are spread over; 1 for 20 events unless given. The length of the log in
            days follows from it.
        seed: any whole number from 0; the same seed gives the same file.
        start: first day, UTC.
        habits: how people behave.

    Returns:
        The path. One row per event: customer_id, event, at, received_at (UTC), product_id, value, revenue.

    Raises:
        InputError: a number out of its range, or `start` is not a date.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = generate_events(1_000, Path(folder) / "events.parquet", seed=1)
    ...     pq.ParquetFile(path).metadata.num_rows
    1000
    """
    check_size(n_events=n_events, seed=seed)
    if not isinstance(path, str | PathLike):
        raise InputError(f"path: found {shown(path)}; allowed: the path of a file to write")
    people_wanted = max(1, n_events // 20) if customers is None else customers
    check_size(customers=people_wanted)
    habits = checked_habits(habits)
    first = first_moment(start)
    days = _days_for(n_events / people_wanted, first=first, habits=habits)
    width = max(5, len(str(people_wanted)) + 1)
    target = Path(path_text(path, name="path"))
    written, block = 0, 0
    with whole_file(target) as part, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        while written < n_events:
            table = _block_table(seed, block, min(_BLOCK, people_wanted), first, days, habits, width)
            table = table.slice(0, n_events - written)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(part, table.schema, compression="zstd"))
            writer.write_table(table)
            written += len(table)
            block += 1
    return target


def _block_table(seed: int, block: int, count: int, first: int, days: int, habits: Habits, width: int) -> pa.Table:
    purposes = ("people", "visits", "orders", "accounts", "receipt")
    chance = {purpose: np.random.default_rng([seed, block, number]) for number, purpose in enumerate(purposes)}
    people = draw_people(count, chance["people"], first=first, days=days, habits=habits)
    rows, _ = happenings(people, chance, first=first, days=days, habits=habits)
    received = received_at(rows, chance["receipt"], until=first + days * DAY)
    rows["customer"] = rows["customer"] + block * count
    table = events_table(rows, width=width)
    table = table.append_column("received_at", pa.array(received).cast(pa.timestamp("us", tz="UTC")))
    return table.select(_COLUMNS)


def _days_for(events_each: float, *, first: int, habits: Habits) -> int:
    """How long a log must be for so many events a customer, from a small log of half a year."""
    pilot = _block_table(0, 0, _PILOT_PEOPLE, first, _PILOT_DAYS, habits, 5)
    per_day = max(len(pilot), 1) / _PILOT_PEOPLE / _PILOT_DAYS
    return int(np.clip(round(events_each / per_day), 1, 3650))
