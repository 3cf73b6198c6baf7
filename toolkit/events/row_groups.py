"""Events of a stored log by their names, read column by column from the file: no condition is looked at here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toolkit.cores import cores
from toolkit.errors import EventLogError
from toolkit.events.storage import NUMBER
from toolkit.memory import array_of

__all__ = ["Group", "named_events"]

Ints = npt.NDArray[np.int64]


class Group(NamedTuple):
    """Neighbouring rows of a file: the number of the first; of each its customer, times (UTC microseconds) and bits."""

    first: int
    customer: npt.NDArray[np.int32]
    received: Ints
    at: Ints
    bits: Ints | npt.NDArray[np.uint8]


def named_events(path: Path, bits: Mapping[str, int], kind: npt.DTypeLike) -> list[Group]:
    """The row groups of a stored log in which some events may be, with the bits of each event by its name.

    Args:
        path: events.parquet of a log whose customers have numbers.
        bits: name of an event to its bits.
        kind: type of the bits.

    Returns:
        Groups in the order of the file; other events in them have no bits.

    Raises:
        EventLogError: the file is gone, or damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            footer = file.metadata
        names = [footer.schema.column(place).name for place in range(footer.num_columns)]
        columns = [name for name in (NUMBER, "event", "at", "received_at") if name in names]
        chosen, first, count = [], 0, 0
        for place in range(footer.num_row_groups):
            group = footer.row_group(place)
            if _may_hold(group.column(names.index("event")).statistics, bits):
                chosen.append((place, first, count))
                count += group.num_rows
            first += group.num_rows
        small = np.dtype(kind).itemsize == 1
        # What Arrow reads is copied out at once, so that its memory serves for the next row group.
        rows = Group(
            0,
            array_of((count + 1) // 2).view(np.int32)[:count],
            array_of(count),
            array_of(count),
            array_of((count + 7) // 8).view(np.uint8)[:count] if small else array_of(count),
        )

        def read(some: list[tuple[int, int, int]]) -> list[Group]:
            with pq.ParquetFile(path, metadata=footer, read_dictionary=["event"], memory_map=True) as own:
                return [
                    piece
                    for place, first, before in some
                    for piece in _filled(
                        rows, own.read_row_group(place, columns, use_threads=False), first, before, bits
                    )
                ]

        threads = cores(min(16, len(chosen)))
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(read, [chosen[k::threads] for k in range(threads)])
            return sorted((piece for pieces in found for piece in pieces), key=lambda piece: piece.first)
    except (OSError, pa.ArrowException) as fault:
        raise EventLogError(f"{path}: can no longer be read: {str(fault).splitlines()[0]}") from fault


def _may_hold(statistics: Any, names: Mapping[str, int]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= name <= statistics.max for name in names)


def _filled(rows: Group, table: pa.Table, first: int, before: int, bits: Mapping[str, int]) -> list[Group]:
    """Copy a row group behind the rows before it; each piece of it as read."""
    pieces = []
    for batch in table.to_batches():
        place = slice(before, before + len(batch))
        piece = Group(first, rows.customer[place], rows.received[place], rows.at[place], rows.bits[place])
        at = batch.column("at").cast(pa.timestamp("us")).cast(pa.int64())
        received = at
        if "received_at" in batch.schema.names and batch.column("received_at").null_count < len(batch):
            late = batch.column("received_at").cast(pa.timestamp("us")).cast(pa.int64())
            received = pc.coalesce(late, at)
        piece.customer[:] = batch.column(NUMBER).to_numpy()
        piece.at[:] = at.to_numpy()
        piece.received[:] = received.to_numpy()
        event = batch.column("event")
        of_name = np.array([bits.get(name, 0) for name in event.dictionary.to_pylist()], dtype=piece.bits.dtype)
        np.take(of_name, event.indices.to_numpy(), out=piece.bits, mode="clip")
        pieces.append(piece)
        first += len(batch)
        before += len(batch)
    return pieces
