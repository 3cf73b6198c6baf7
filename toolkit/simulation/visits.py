"""Visits to the shop: pages seen, carts filled, and who of their own accord buys what they put in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.simulation.calendar import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    day_weights,
    local_moment,
    time_of_day,
    to_utc,
    whole_milliseconds,
)
from toolkit.simulation.catalogue import PRICES, chances
from toolkit.simulation.habits import Habits
from toolkit.simulation.names import ZONES
from toolkit.simulation.people import People
from toolkit.simulation.rows import Rows, chosen, rows, stack

__all__ = ["Carts", "Visits", "draw_visits"]

_FIRST_VISIT = 0.8  # of those who sign up look around at once
_QUANTITIES, _QUANTITY_SHARES = np.array([1, 2, 4]), [0.8, 0.14, 0.06]
_USUAL_CART = 80.0  # euros; dearer carts are left somewhat more often


@dataclass(frozen=True, slots=True)
class Carts:
    """One entry per filled cart: who, when last added to, what is in it, and when its owner buys it unasked.

    `bought_at` is -1 where that never happens.
    """

    customer: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    product: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    bought_at: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Visits:
    """The rows of views and carts, and the carts themselves."""

    seen: Rows
    carts: Carts


def draw_visits(people: People, rng: np.random.Generator, *, first: int, days: int, habits: Habits) -> Visits:
    """The visits of these people.

    Args:
        people: who.
        rng: where chance comes from.
        first: start of the log, microseconds since 1970, UTC midnight.
        days: length of the log.
        habits: the truth.

    Returns:
        Events `view` and `cart_add` (those of people who have not lapsed), and one cart per visit that filled one.
    """
    end = first + days * DAY
    customer, start = _visit_starts(people, rng, first=first, days=days)
    fills = rng.random(len(start)) < habits.cart_share
    lines = np.where(fills, rng.geometric(1 / habits.items_per_cart, len(start)), 0)
    pages = np.maximum(rng.geometric(1 / habits.views_per_session, len(start)), lines)

    line_visit = np.repeat(np.arange(len(start)), lines)
    line_product = _products(rng, len(line_visit))
    quantity = rng.choice(_QUANTITIES, size=len(line_visit), p=_QUANTITY_SHARES)
    line_value = np.round(PRICES[line_product] * quantity, 2)
    value = np.bincount(line_visit, line_value, minlength=len(start))
    draw = rng.random(len(start)) / np.clip((np.maximum(value, 1) / _USUAL_CART) ** -0.15, 0.6, 1.4)
    buys = fills & (draw < habits.buy_share)

    comes = _before_lapse(customer, buys, people.purchases_left)
    stays = comes[line_visit]
    renumber = np.cumsum(comes) - 1
    customer, start, fills, buys = customer[comes], start[comes], fills[comes], buys[comes]
    lines, pages, value, draw = lines[comes], pages[comes], value[comes], draw[comes]
    line_visit, line_product = renumber[line_visit[stays]], line_product[stays]
    quantity, line_value = quantity[stays], line_value[stays]

    page_visit = np.repeat(np.arange(len(start)), pages)
    page_at = _page_times(rng, start, pages, page_visit)
    page_product = _products(rng, len(page_visit))
    # The last pages of a visit are those of the goods that went into the cart.
    rank = np.arange(len(page_visit)) - np.repeat(np.cumsum(pages) - pages, pages)
    carted = rank >= (pages - lines)[page_visit]
    page_product[carted] = line_product
    line_at = page_at[carted] + (rng.random(len(line_visit)) * 32 * SECOND + 8 * SECOND).astype(np.int64)
    last_add = np.zeros(len(start), np.int64)
    np.maximum.at(last_add, line_visit, line_at)

    who = customer[fills]
    bought_at = np.where(buys[fills], _bought_at(rng, last_add[fills], people.zone[who], draw[fills], habits), -1)
    dearest = np.lexsort((line_value, line_visit))
    is_last = np.append(line_visit[dearest][1:] != line_visit[dearest][:-1], True)[: len(dearest)]
    carts = Carts(
        customer=who,
        at=whole_milliseconds(last_add[fills]),
        product=line_product[dearest][is_last],
        items=np.bincount(line_visit, quantity, minlength=len(start)).astype(np.int64)[fills],
        value=np.round(value[fills], 2),
        bought_at=bought_at,
    )
    # Whoever buys on another visit looks at the thing once more.
    returns = (bought_at - carts.at > 30 * MINUTE) & (bought_at > 0)
    back_at = bought_at[returns] - (rng.random(int(returns.sum())) * 6 * MINUTE + 2 * MINUTE).astype(np.int64)
    seen = stack(
        [
            rows("view", customer[page_visit], page_at, product=page_product),
            rows("view", carts.customer[returns], back_at, product=carts.product[returns]),
            rows("cart_add", customer[line_visit], line_at, product=line_product, quantity=quantity, value=line_value),
        ]
    )
    inside = np.asarray(seen["at"] < end)
    return Visits(seen=chosen(seen, inside), carts=carts)


def _visit_starts(
    people: People, rng: np.random.Generator, *, first: int, days: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Who visits when: sorted by customer, then time."""
    end = first + days * DAY
    busy = np.concatenate([[0.0], np.cumsum(day_weights(first // DAY, days))])
    since = np.clip((people.signed_up - first) // DAY, 0, days)
    visits = rng.poisson(people.sessions_per_day * (busy[days] - busy[since]))
    customer = np.repeat(np.arange(len(people)), visits)
    mass = busy[since][customer] + rng.random(len(customer)) * (busy[days] - busy[since])[customer]
    day = first // DAY + np.clip(np.searchsorted(busy, mass, side="right") - 1, 0, days - 1)
    local = day * DAY + time_of_day(rng.random(len(day)), day)
    start = to_utc(local, people.zone[customer], ZONES)

    newcomers = np.flatnonzero((people.signed_up >= first) & (rng.random(len(people)) < _FIRST_VISIT))
    soon = people.signed_up[newcomers] + (rng.random(len(newcomers)) * 60 * SECOND + 20 * SECOND).astype(np.int64)
    customer = np.concatenate([customer, newcomers])
    start = np.concatenate([start, soon])
    fits = (start > people.signed_up[customer] + 10 * SECOND) & (start >= first) & (start < end - HOUR)
    order = np.lexsort((start[fits], customer[fits]))
    return customer[fits][order], start[fits][order]


def _before_lapse(
    customer: npt.NDArray[np.int64], buys: npt.NDArray[np.bool_], purchases_left: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Visits up to the purchase after which a person stays away; rows sorted by customer and time."""
    so_far: npt.NDArray[np.int64] = np.cumsum(buys) - buys
    begins = np.append(True, customer[1:] != customer[:-1])[: len(customer)]
    base = np.maximum.accumulate(np.where(begins, so_far, 0))
    comes: npt.NDArray[np.bool_] = so_far - base < purchases_left[customer]
    return comes


def _products(rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    ends = np.cumsum(chances())
    return np.minimum(np.searchsorted(ends, rng.random(count), side="right"), len(ends) - 1)


def _page_times(
    rng: np.random.Generator,
    start: npt.NDArray[np.int64],
    pages: npt.NDArray[np.int64],
    page_visit: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    gaps = (rng.exponential(55.0, len(page_visit)) * SECOND).astype(np.int64) + 6 * SECOND
    firsts = np.cumsum(pages) - pages
    gaps[firsts] = 0
    along = np.cumsum(gaps)
    moments: npt.NDArray[np.int64] = start[page_visit] + along - along[firsts][page_visit]
    return moments


def _bought_at(
    rng: np.random.Generator,
    cart_at: npt.NDArray[np.int64],
    zone: npt.NDArray[np.integer],
    draw: npt.NDArray[np.float64],
    habits: Habits,
) -> npt.NDArray[np.int64]:
    """When a cart is bought unasked: within minutes, after some hours but not at night, or on a later day."""
    count = len(cart_at)
    soon = cart_at + (rng.lognormal(np.log(5 * 60), 0.8, count).clip(40, 1500) * SECOND).astype(np.int64)
    later = cart_at + (rng.lognormal(np.log(3 * 3600), 0.9, count).clip(2400, 20 * 3600) * SECOND).astype(np.int64)
    hour = local_moment(later, zone, ZONES) % DAY // HOUR
    later = np.where((hour >= 1) & (hour < 7), later + 7 * HOUR, later)
    day = local_moment(cart_at, zone, ZONES) // DAY + rng.geometric(0.35, count)
    days_later = to_utc(day * DAY + time_of_day(rng.random(count), day), zone, ZONES)
    kinds = [draw < habits.buys_soon, draw < habits.buys_soon + habits.buys_later]
    return whole_milliseconds(np.select(kinds, [soon, later], days_later))
