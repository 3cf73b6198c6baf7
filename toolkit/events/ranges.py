"""Ranges of customers: how a log that is larger than memory is read, one range after another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.errors import InputError, shown
from toolkit.events.database import fetch_rows
from toolkit.events.quoting import literal

__all__ = ["Range", "ranges_of"]


@dataclass(frozen=True, slots=True)
class Range:
    """Customers from `lower` on and before `upper`, in the order of the bytes of customer_id; None is no end."""

    lower: str = ""
    upper: str | None = None

    @classmethod
    def of(cls, customer_id: str) -> Range:
        """The range of one customer alone."""
        return cls(customer_id, customer_id + "\0")

    def __contains__(self, customer_id: str) -> bool:
        return self.lower <= customer_id and (self.upper is None or customer_id < self.upper)

    @property
    def condition(self) -> str:
        """As SQL on the column customer_id."""
        if self.upper == self.lower + "\0":
            return f"customer_id = {literal(self.lower)}"
        parts = [f"customer_id >= {literal(self.lower)}"] if self.lower else []
        parts += [] if self.upper is None else [f"customer_id < {literal(self.upper)}"]
        return " AND ".join(parts) or "TRUE"

    def mask(self, customers: pa.Table) -> pa.Array:
        """Which rows of a customers table are of this range."""
        ids = customers.column("customer_id").cast(pa.large_string())
        chosen = pc.greater_equal(ids, pa.scalar(self.lower, pa.large_string()))
        return chosen if self.upper is None else pc.and_(chosen, pc.less(ids, pa.scalar(self.upper, pa.large_string())))


def ranges_of(cursor: duckdb.DuckDBPyConnection, relation: str, file: Path | None, *, events: int) -> list[Range]:
    """Ranges of about so many events each, in order; together they hold every customer there can be.

    Args:
        cursor: on the log's database.
        relation: the events, each once.
        file: the sorted Parquet file that holds them, if there is one: its footer says where its parts begin.
        events: at least 1.

    Raises:
        InputError: fewer than one event a range.
    """
    if not isinstance(events, int | np.integer) or isinstance(events, bool) or events < 1:
        raise InputError(f"a range of customers holds at least 1 event; found {shown(events)}")
    found = _row_groups(cursor, file) if file is not None else None
    if found is None or max((count for _, count in found), default=0) > events:
        query = f"SELECT customer_id, count(*) FROM {relation} GROUP BY customer_id ORDER BY customer_id"
        found = [(str(customer), int(count)) for customer, count in fetch_rows(cursor, query)]
    counts: npt.NDArray[np.int64] = np.array([count for _, count in found], dtype=np.int64)
    cuts, held = [""], 0
    for (first, _), count in zip(found, counts.tolist(), strict=True):
        if held and held + count > events and first > cuts[-1]:
            cuts.append(first)
            held = 0
        held += count
    return [Range(lower, upper) for lower, upper in zip(cuts, [*cuts[1:], None], strict=True)]


def _row_groups(cursor: duckdb.DuckDBPyConnection, file: Path) -> list[tuple[str, int]] | None:
    """First customer and size of each part of a sorted file, by customer; None where the file does not say.

    A writer may shorten the text, and each section of a file begins with the first customers again: any text parts
    customers in two, so ranges stay right, only their size is off.
    """
    rows = fetch_rows(
        cursor,
        "SELECT stats_min_value, row_group_num_rows FROM "
        f"parquet_metadata({literal(str(file))}) WHERE path_in_schema = 'customer_id' ORDER BY stats_min_value",
    )
    if any(first is None for first, _ in rows):
        return None
    return [(str(first), int(count)) for first, count in rows]
