"""The people of a synthetic shop: when they signed up, how often they come, and what a customers table says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.simulation.calendar import DAY, MINUTE, day_weights, time_of_day, to_utc, whole_milliseconds
from toolkit.simulation.habits import Habits
from toolkit.simulation.names import DOMAINS, FIRST_NAMES, MARKETS, ZONES, mailbox_name

__all__ = ["People", "customer_ids", "customers_table", "draw_people", "numbered"]

_LONGEST_PAST = 730 * DAY
_NO_BIRTHDAY, _NO_ZONE, _NO_EMAIL = 0.12, 0.01, 0.005
_OLDEST, _YOUNGEST = np.datetime64("1946-01-01", "D"), np.datetime64("2006-12-31", "D")


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """One entry per person, in the order in which they signed up.

    `purchases_left` is how many purchases a person still makes before staying away for good; 0 is lapsed at the start.
    """

    market: npt.NDArray[np.int8]
    zone: npt.NDArray[np.int8]
    signed_up: npt.NDArray[np.int64]
    sessions_per_day: npt.NDArray[np.float64]
    dropout: npt.NDArray[np.float64]
    purchases_before: npt.NDArray[np.int64]
    purchases_left: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.market)


def draw_people(count: int, rng: np.random.Generator, *, first: int, days: int, habits: Habits) -> People:
    """People drawn from the habits of the shop.

    Args:
        count: how many.
        rng: where chance comes from.
        first: start of the log, microseconds since 1970, UTC midnight.
        days: length of the log.
        habits: the truth.

    Returns:
        `count` people, ordered by sign-up.
    """
    market = rng.choice(len(MARKETS), size=count, p=[market.share for market in MARKETS]).astype(np.int8)
    zone = np.array([ZONES.index(market.timezone) for market in MARKETS], dtype=np.int8)[market]
    existing = rng.random(count) < habits.existing_share
    weights = day_weights(first // DAY, days, growth=habits.growth)
    new_day = first // DAY + np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(count), side="right")
    old_day = (first - (_LONGEST_PAST * rng.random(count) ** 1.6).astype(np.int64)) // DAY - 1
    day = np.where(existing, old_day, np.minimum(new_day, first // DAY + days - 1))
    signed_up = to_utc(day * DAY + time_of_day(rng.random(count), day), zone, ZONES)
    # A local day is not a UTC day: whoever would fall just outside the log on a far clock is moved to its edge.
    inside = np.clip(signed_up, first, first + days * DAY - MINUTE)
    signed_up = whole_milliseconds(np.where(existing, np.minimum(signed_up, first - MINUTE), inside))

    order = np.argsort(signed_up, kind="stable")
    market, zone, signed_up = market[order], zone[order], signed_up[order]
    rate = rng.gamma(habits.sessions_shape, habits.sessions_per_day / habits.sessions_shape, count)
    dropout = np.clip(rng.beta(habits.dropout_a, habits.dropout_b, count), 1e-6, 1.0)
    before_start = np.maximum(first - signed_up, 0) / DAY
    opportunities = rng.poisson(rate * habits.cart_share * habits.buy_share * before_start)
    in_all = rng.geometric(dropout)
    return People(
        market=market,
        zone=zone,
        signed_up=signed_up,
        sessions_per_day=rate,
        dropout=dropout,
        purchases_before=np.minimum(opportunities, in_all),
        purchases_left=np.maximum(in_all - opportunities, 0),
    )


def customer_ids(index: npt.NDArray[np.integer], *, width: int = 5) -> pa.Array:
    """The ids of people by their number, `c00001` first."""
    return numbered("c", index + 1, width=width)


def numbered(prefix: str, number: npt.NDArray[np.integer], *, width: int) -> pa.Array:
    """Text such as `c00042`: a prefix and a number of at least so many digits."""
    digits = pc.utf8_lpad(pa.array(number.astype(np.int64)).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def customers_table(people: People, rng: np.random.Generator, *, habits: Habits, width: int = 5) -> pd.DataFrame:
    """The customers table of these people.

    Args:
        people: who.
        rng: where chance comes from.
        habits: the truth.
        width: digits of a customer id.

    Returns:
        One row per person: customer_id, email, first_name, locale, country, timezone, birthday (ISO text), consent,
        signed_up_at (UTC). Some addresses, zones and birthdays are missing.
    """
    count = len(people)
    names = [name for pool in FIRST_NAMES.values() for name in pool]
    pools = {language: len(pool) for language, pool in FIRST_NAMES.items()}
    starts = dict(zip(pools, np.cumsum([0, *pools.values()]), strict=False))
    start = np.array([starts[market.language] for market in MARKETS])[people.market]
    size = np.array([pools[market.language] for market in MARKETS])[people.market]
    name = start + (rng.random(count) * size).astype(np.int64)
    domain = rng.choice(len(DOMAINS), size=count, p=[0.5, 0.35, 0.15])
    email = pc.binary_join_element_wise(
        pa.array([mailbox_name(text) for text in names]).take(pa.array(name)),
        pa.array(np.arange(count) + 1).cast(pa.string()),
        ".",
    )
    email = pc.binary_join_element_wise(email, pa.array(DOMAINS).take(pa.array(domain)), "@")
    birthday = _OLDEST + rng.integers(0, int((_YOUNGEST - _OLDEST).astype(int)) + 1, count)
    markets = pa.array(people.market)
    frame: pd.DataFrame = pa.table(
        {
            "customer_id": customer_ids(np.arange(count), width=width),
            "email": _with_gaps(email, rng.random(count) < _NO_EMAIL),
            "first_name": pa.array(names).take(pa.array(name)),
            "locale": pa.array([market.locale for market in MARKETS]).take(markets),
            "country": pa.array([market.country for market in MARKETS]).take(markets),
            "timezone": _with_gaps(pa.array(ZONES).take(pa.array(people.zone)), rng.random(count) < _NO_ZONE),
            "birthday": _with_gaps(pa.array(birthday).cast(pa.string()), rng.random(count) < _NO_BIRTHDAY),
            "consent": pa.array(rng.random(count) < habits.consent_share),
            "signed_up_at": pa.array(people.signed_up).cast(pa.timestamp("us", tz="UTC")),
        }
    ).to_pandas()
    return frame


def _with_gaps(values: pa.Array, missing: npt.NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(missing), pa.scalar(None, values.type), values)
