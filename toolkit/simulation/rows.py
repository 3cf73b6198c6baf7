"""Rows of a synthetic log as plain arrays, until they become a frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.simulation.catalogue import CATEGORIES, CATEGORY_OF, NAMES, PRODUCTS
from toolkit.simulation.people import customer_ids, numbered

__all__ = ["BOUNCES", "EVENT_NAMES", "Rows", "chosen", "code", "event_ids", "events_table", "rows", "stack"]

Rows = dict[str, npt.NDArray[Any]]

EVENT_NAMES = (
    "sign_up",
    "view",
    "cart_add",
    "purchase",
    "order_placed",
    "order_paid",
    "order_shipped",
    "order_delivered",
    "order_cancelled",
    "refund",
    "password_changed",
    "balance_topped_up",
    "email_unsubscribed",
    "email_subscribed",
    "email_bounced",
)
BOUNCES = ("hard", "soft")
_ODD, _BELOW = np.uint64(0x9E3779B97F4A7C15), np.uint64(2**56 - 1)
_CODES = {name: number for number, name in enumerate(EVENT_NAMES)}
_COLUMNS: dict[str, tuple[type[np.generic], float]] = {
    "customer": (np.int64, 0),
    "at": (np.int64, 0),
    "event": (np.int8, 0),
    "product": (np.int16, -1),
    "quantity": (np.int16, 0),
    "value": (np.float64, np.nan),
    "order": (np.int64, -1),
    "items": (np.int16, 0),
    "revenue": (np.float64, np.nan),
    "bounce": (np.int8, -1),
}


def code(event: str) -> int:
    """The number of an event name in these arrays."""
    return _CODES[event]


def rows(event: str, customer: npt.NDArray[np.integer], at: npt.NDArray[np.int64], **columns: npt.ArrayLike) -> Rows:
    """Rows of one event; columns not given are missing."""
    filled: Rows = {"customer": customer, "at": at, "event": np.full(len(at), code(event), np.int8)}
    for name, values in columns.items():
        filled[name] = np.asarray(values, dtype=_COLUMNS[name][0])
    return filled


def chosen(block: Rows, keep: npt.NDArray[Any]) -> Rows:
    """The rows that a mask or an index names, in its order."""
    return {name: values[keep] for name, values in block.items()}


def stack(blocks: Iterable[Rows]) -> Rows:
    """One block out of many, with every column in each."""
    blocks = list(blocks)
    stacked: Rows = {}
    for name, (kind, missing) in _COLUMNS.items():
        parts = [
            block[name].astype(kind, copy=False) if name in block else np.full(len(block["at"]), missing, kind)
            for block in blocks
        ]
        stacked[name] = np.concatenate(parts) if parts else np.empty(0, kind)
    return stacked


def events_table(block: Rows, *, width: int = 5) -> pa.Table:
    """The columns of an event log, without ids and receipt times.

    Args:
        block: rows with every column, as `stack` gives them.
        width: digits of a customer id.

    Returns:
        One row per event: customer_id, event, at, product_id, product_name, category, quantity, value, order_id,
        items, revenue, bounce_type. What an event does not have is missing.
    """
    product = block["product"]
    sold = product >= 0
    return pa.table(
        {
            "customer_id": customer_ids(block["customer"], width=width),
            "event": _words(EVENT_NAMES, block["event"]),
            "at": pa.array(block["at"]).cast(pa.timestamp("us", tz="UTC")),
            "product_id": _words(PRODUCTS, product),
            "product_name": _words(NAMES, product),
            "category": _words(CATEGORIES, np.where(sold, CATEGORY_OF[product], -1)),
            "quantity": _present(block["quantity"], block["quantity"] > 0),
            "value": pa.array(block["value"], from_pandas=True),
            "order_id": _order_ids(block["order"]),
            "items": _present(block["items"], block["items"] > 0),
            "revenue": pa.array(block["revenue"], from_pandas=True),
            "bounce_type": _words(BOUNCES, block["bounce"]),
        }
    )


def _words(words: tuple[str, ...], index: npt.NDArray[Any]) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(index, mask=index.astype(np.int64) < 0))


def _present(values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=~present)


def _order_ids(orders: npt.NDArray[Any]) -> pa.Array:
    number = orders.astype(np.int64)
    index = pa.array(number, mask=number < 0)
    texts = numbered("A", np.arange(number.max(initial=-1) + 1) + 100_001, width=6)
    return texts.take(index)


def event_ids(number: npt.NDArray[np.unsignedinteger[Any]]) -> pa.Array:
    """Ids that say nothing: a different 14 hexadecimal digits for each number below 2**56.

    >>> event_ids(np.arange(2, dtype=np.uint64)).to_pylist()
    ['00000000000000', '3779b97c3de782']
    """
    mixed = (number.astype(np.uint64) * _ODD) & _BELOW
    mixed ^= mixed >> np.uint64(28)  # undone by doing it again: no two numbers meet
    octets = mixed.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 1:]
    digits = np.stack([octets >> 4, octets & 15], axis=2).reshape(-1)
    text = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    ends = np.arange(len(mixed) + 1, dtype=np.int64) * 14
    return pa.LargeStringArray.from_buffers(len(mixed), pa.py_buffer(ends.tobytes()), pa.py_buffer(text.tobytes()))
