"""What becomes of an order: placed, paid, shipped, delivered; now and then cancelled or given back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.simulation.calendar import DAY, HOUR, SECOND, local_moment, to_utc
from toolkit.simulation.rows import Rows, chosen, rows, stack

__all__ = ["order_rows"]

_WAREHOUSE = ("Europe/Paris",)
_TRANSFER, _CANCELLED, _SECOND_PARCEL, _GIVEN_BACK, _WHOLE_REFUND = 0.08, 0.015, 0.03, 0.03, 0.7


def order_rows(purchases: Rows, rng: np.random.Generator, *, until: int) -> Rows:
    """The events that follow purchases.

    Args:
        purchases: rows of `purchase`, with customer, at, order, items and revenue.
        rng: where chance comes from.
        until: end of the log, microseconds since 1970; what would happen later is left out.

    Returns:
        Rows of order_placed, order_paid, order_shipped (twice for a few orders in two parcels), order_delivered,
        order_cancelled and refund (`value` is what is paid back).
    """
    count = len(purchases["at"])
    customer = purchases["customer"].astype(np.int64)
    order, revenue = purchases["order"], purchases["revenue"].astype(np.float64)
    placed = purchases["at"].astype(np.int64) + _seconds(rng, count, 0.4, 2)
    by_transfer = rng.random(count) < _TRANSFER
    paid = np.where(by_transfer, _working_time(rng, placed, 3), placed + _seconds(rng, count, 2, 25))
    cancelled = rng.random(count) < _CANCELLED
    cancelled_at = paid + _seconds(rng, count, 300, 3 * 3600)
    shipped = _working_time(rng, paid + 3 * HOUR, 2)
    delivered = _working_time(rng, shipped, 4)
    second = ~cancelled & (rng.random(count) < _SECOND_PARCEL)
    second_shipped = _working_time(rng, shipped, 2)
    given_back = ~cancelled & (rng.random(count) < _GIVEN_BACK)
    refunded = _working_time(rng, delivered + 2 * DAY, 10)
    share = np.where(rng.random(count) < _WHOLE_REFUND, 1.0, 0.5)
    keeps = ~cancelled

    def part(event: str, at: npt.NDArray[np.int64], which: npt.NDArray[np.bool_], **columns: npt.ArrayLike) -> Rows:
        return chosen(rows(event, customer, at, order=order, **columns), which)

    everything = np.ones(count, bool)
    happened = stack(
        [
            part("order_placed", placed, everything, value=revenue, items=purchases["items"]),
            part("order_paid", paid, everything, value=revenue),
            part("order_cancelled", cancelled_at, cancelled),
            part("order_shipped", shipped, keeps),
            part("order_shipped", second_shipped, second),
            part(
                "order_delivered", np.where(second, np.maximum(delivered, second_shipped + 20 * HOUR), delivered), keeps
            ),
            part("refund", refunded, given_back, value=np.round(revenue * share, 2)),
            part("refund", cancelled_at + _seconds(rng, count, 5, 60), cancelled, value=revenue),
        ]
    )
    return chosen(happened, happened["at"] < until)


def _seconds(rng: np.random.Generator, count: int, least: float, most: float) -> npt.NDArray[np.int64]:
    micros: npt.NDArray[np.int64] = (rng.uniform(least, most, count) * SECOND).astype(np.int64)
    return micros


def _working_time(rng: np.random.Generator, after: npt.NDArray[np.int64], latest: int) -> npt.NDArray[np.int64]:
    """A moment between nine and five at the warehouse, one to so many working days after."""
    zone = np.zeros(len(after), np.int8)
    today = (local_moment(after, zone, _WAREHOUSE) // DAY).astype("datetime64[D]")
    day = np.busday_offset(today, rng.integers(1, latest + 1, len(after)), roll="backward")
    local = day.astype(np.int64) * DAY + (rng.uniform(9, 17, len(after)) * HOUR).astype(np.int64)
    return to_utc(local, zone, _WAREHOUSE)
