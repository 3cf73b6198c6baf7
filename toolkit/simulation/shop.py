"""A shop of our own: a seeded, realistic event log whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.errors import InputError, shown
from toolkit.events import EventLog
from toolkit.simulation.accounts import account_rows
from toolkit.simulation.calendar import DAY, HOUR, first_moment, whole_milliseconds
from toolkit.simulation.catalogue import PRODUCTS
from toolkit.simulation.habits import Habits
from toolkit.simulation.orders import order_rows
from toolkit.simulation.people import People, customer_ids, customers_table, draw_people
from toolkit.simulation.rows import Rows, chosen, code, event_ids, events_table, rows, stack
from toolkit.simulation.visits import Carts, draw_visits

__all__ = ["Shop", "ShopTruth", "check_size", "happenings", "received_at", "shop"]

_LATE_SHARE, _TWICE_SHARE = 0.01, 0.002
_PURPOSES = ("people", "table", "visits", "orders", "accounts", "receipt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopTruth:
    """What only a synthetic shop can know of itself.

    Attributes:
        habits: the numbers that everything was drawn from.
        customers: one row per customer: customer_id, visits_per_day, purchases_per_day (while not lapsed),
            dropout (chance to stay away after a purchase), purchases_before (the log begins), purchases_left,
            lapsed (no visit can come any more at the end of the log).
        carts: one row per filled cart: customer_id, at, value (EUR), product_id (its dearest), items, bought_at
            (without any mail; missing: never).
    """

    habits: Habits
    customers: pd.DataFrame = field(repr=False)
    carts: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A synthetic shop: its events, its customers, and the truth behind them.

    Attributes:
        events: one row per event received, in order of receipt; a few appear twice, as in real feeds.
        customers: one row per customer.
        truth: what a real shop would not know.
        seed: the seed that gives exactly these.
    """

    events: pd.DataFrame = field(repr=False)
    customers: pd.DataFrame = field(repr=False)
    truth: ShopTruth = field(repr=False)
    seed: int

    def log(self) -> EventLog:
        """The events and customers as an event log.

        Returns:
            An `EventLog`; duplicate rows count once in it.
        """
        return EventLog.from_pandas(self.events, customers=self.customers)


def shop(
    customers: int = 3000,
    days: int = 120,
    *,
    seed: int,
    start: str = "2025-01-06",
    habits: Habits | None = None,
) -> Shop:
    """A shop's log and customers table from a seed.

    The shop sells linen, lamps and tableware in euros. People sign up, look, fill carts and buy within minutes, hours
    or days or never; orders are paid, shipped and delivered; people lapse. Busy hours follow each person's own clock.
    About one event in a hundred is received late, two in a thousand twice.

    Args:
        customers: how many people, 1 or more.
        days: length of the log, 1 to 3650.
        seed: any whole number from 0; the same seed gives the same shop.
        start: first day, UTC.
        habits: how people behave; the defaults are those of `Habits()`.

    Returns:
        A `Shop` with events (columns event_id, customer_id, event, at, received_at, product_id, product_name,
        category, quantity, value, order_id, items, revenue, bounce_type), customers and the truth.

    Raises:
        InputError: a number out of its range, `start` is not a date, habits that are none.

    >>> small = shop(customers=50, days=30, seed=7)
    >>> len(small.customers), small.events.event.isin(["view", "cart_add", "purchase"]).any().item()
    (50, True)
    """
    habits = checked_habits(habits)
    check_size(customers=customers, days=days, seed=seed)
    first = first_moment(start)
    chance = {purpose: np.random.default_rng([seed, number]) for number, purpose in enumerate(_PURPOSES)}
    width = max(5, len(str(customers)))
    people = draw_people(customers, chance["people"], first=first, days=days, habits=habits)
    block, carts = happenings(people, chance, first=first, days=days, habits=habits)
    table = events_table(block, width=width)
    received = received_at(block, chance["receipt"], until=first + days * DAY)
    table = table.append_column("received_at", pa.array(received).cast(pa.timestamp("us", tz="UTC")))
    table = table.append_column("event_id", event_ids(np.arange(1, len(table) + 1, dtype=np.uint64)))
    twice = np.sort(chance["receipt"].choice(len(table), int(len(table) * _TWICE_SHARE), replace=False))
    index = np.concatenate([np.arange(len(table)), twice])
    table = table.take(pa.array(index[np.argsort(received[index], kind="stable")]))
    return Shop(
        events=table.select(_order_of_columns(table)).to_pandas(),
        customers=customers_table(people, chance["table"], habits=habits, width=width),
        truth=ShopTruth(
            habits=habits,
            customers=_true_customers(people, carts, habits, until=first + days * DAY, width=width),
            carts=_true_carts(carts, width=width),
        ),
        seed=seed,
    )


def checked_habits(habits: object) -> Habits:
    """The habits of people; those of `Habits()` unless given."""
    if habits is None:
        return Habits()
    if not isinstance(habits, Habits):
        raise InputError(f"habits: found {shown(habits)}; allowed: Habits(...) of toolkit.simulation")
    return habits


def check_size(**sizes: int) -> None:
    """Refuse sizes that make no shop.

    Raises:
        InputError: names every size that is out of its range.
    """
    allowed = {"customers": (1, 50_000_000), "days": (1, 3650), "seed": (0, 2**63), "n_events": (1, 10**10)}
    wrong = []
    for name, size in sizes.items():
        least, most = allowed[name]
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or not least <= size <= most:
            wrong.append(f"{name}: found {shown(size)}; allowed: a whole number from {least} to {most}")
    if wrong:
        raise InputError("; ".join(wrong))


def happenings(
    people: People, chance: dict[str, np.random.Generator], *, first: int, days: int, habits: Habits
) -> tuple[Rows, Carts]:
    """All that happens to these people, in order of time, and their carts.

    Args:
        people: who.
        chance: one generator for each of visits, orders and accounts.
        first: start of the log, microseconds since 1970, UTC midnight.
        days: length of the log.
        habits: the truth.

    Returns:
        Rows with every column, sorted by time; and the carts.
    """
    end = first + days * DAY
    visits = draw_visits(people, chance["visits"], first=first, days=days, habits=habits)
    purchases = own_purchases(visits.carts, until=end)
    newcomers = np.flatnonzero(people.signed_up >= first)
    block = stack(
        [
            rows("sign_up", newcomers, people.signed_up[newcomers]),
            visits.seen,
            purchases,
            order_rows(purchases, chance["orders"], until=end),
            account_rows(people, chance["accounts"], first=first, days=days),
        ]
    )
    block["at"] = whole_milliseconds(block["at"])
    return chosen(block, np.argsort(block["at"], kind="stable")), visits.carts


def own_purchases(carts: Carts, *, until: int) -> Rows:
    """Rows of `purchase` that people make without any mail, in order of time, with order numbers from 0."""
    bought = np.flatnonzero((carts.bought_at >= 0) & (carts.bought_at < until))
    bought = bought[np.argsort(carts.bought_at[bought], kind="stable")]
    return rows(
        "purchase",
        carts.customer[bought],
        carts.bought_at[bought],
        product=carts.product[bought],
        items=carts.items[bought],
        revenue=carts.value[bought],
        order=np.arange(len(bought)),
    )


def received_at(block: Rows, rng: np.random.Generator, *, until: int) -> npt.NDArray[np.int64]:
    """When each row is received: at once, but for a few visits with no network, hours or days later, in the log."""
    at = block["at"].astype(np.int64)
    from_phone = np.isin(block["event"], [code("view"), code("cart_add"), code("purchase"), code("sign_up")])
    late = from_phone & (rng.random(len(at)) < _LATE_SHARE)
    delay = (rng.lognormal(np.log(3), 1.3, len(at)).clip(0.05, 120) * HOUR).astype(np.int64)
    left = ((until - at) * rng.random(len(at))).astype(np.int64)
    return np.where(late, at + whole_milliseconds(np.minimum(delay, left)), at)


def _order_of_columns(table: pa.Table) -> list[str]:
    leading = ["event_id", "customer_id", "event", "at", "received_at"]
    return leading + [name for name in table.column_names if name not in leading]


def _true_customers(people: People, carts: Carts, habits: Habits, *, until: int, width: int) -> pd.DataFrame:
    bought = carts.customer[(carts.bought_at >= 0) & (carts.bought_at < until)]
    purchases = np.bincount(bought, minlength=len(people))
    frame: pd.DataFrame = pa.table(
        {
            "customer_id": customer_ids(np.arange(len(people)), width=width),
            "visits_per_day": people.sessions_per_day,
            "purchases_per_day": people.sessions_per_day * habits.cart_share * habits.buy_share,
            "dropout": people.dropout,
            "purchases_before": people.purchases_before,
            "purchases_left": people.purchases_left,
            "lapsed": purchases >= people.purchases_left,
        }
    ).to_pandas()
    return frame


def _true_carts(carts: Carts, *, width: int) -> pd.DataFrame:
    never = carts.bought_at < 0
    moment = pa.timestamp("us", tz="UTC")
    frame: pd.DataFrame = pa.table(
        {
            "customer_id": customer_ids(carts.customer, width=width),
            "at": pa.array(carts.at).cast(moment),
            "value": carts.value,
            "product_id": pa.array(PRODUCTS).take(pa.array(carts.product)),
            "items": carts.items,
            "bought_at": pc.cast(pa.array(carts.bought_at, mask=never), moment),
        }
    ).to_pandas()
    return frame
