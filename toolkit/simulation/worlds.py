"""Worlds: synthetic shops whose people answer in ways that are known, to hold forecasts against the truth.

Each person puts one thing in the cart, buys it on their own or not, and answers a mail sent a while later, with or
without an offer. The answers are worked out here, person by person, and not by the engine: the truth is another road.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from toolkit.errors import InputError, did_you_mean, shown
from toolkit.events import EventLog
from toolkit.simulation.doors import check_between, check_count, check_seed, numbers_between
from toolkit.simulation.people import customer_ids

__all__ = ["KINDS", "Kind", "World", "world"]

Floats = npt.NDArray[np.float64]
_HOUR = 3_600_000_000
_START = 1_735_689_600_000_000  # 2025-01-01
_DAYS = 60
_LONGEST = 24.0 * 365  # of a delay, hours
_MOST_PEOPLE = 50_000_000
WINDOW_HOURS = 168.0
MARGIN = 0.4
MAIL_COST = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the people of a world are like.

    Attributes:
        own: share who buy on their own within a week of the cart. own_hours: how long they usually take.
        effect: share of those who would not, whom a mail without an offer an hour after the cart makes buy.
        half_life: hours in which the effect halves. best_hours: when it is largest; 0 is at once.
        offer: by how much ten percent off enlarge the effect, as a share of `effect_offer`.
        effect_offer: the base that an offer adds to.
        uses: share of own buyers who use a valid offer.
        leaves: share of mails after which a person unsubscribes. tired: how much each earlier mail takes off.
        night: what is left of the effect of mails between midnight and eight.
        season: by how much own buying and the effect swing over the week. spread: of the logarithm of prices.
    """

    own: float = 0.15
    own_hours: float = 30.0
    effect: float = 0.06
    half_life: float = 200.0
    best_hours: float = 0.0
    effect_offer: float = 0.05
    offer: float = 0.4
    uses: float = 0.5
    leaves: float = 0.002
    tired: float = 0.0
    night: float = 1.0
    season: float = 0.0
    spread: float = 0.5


KINDS = MappingProxyType(
    {
        "impatient": Kind(own=0.2, own_hours=8, effect=0.10, half_life=8),
        "patient": Kind(own=0.1, own_hours=60, effect=0.08, best_hours=48),
        "discount_hunters": Kind(effect=0.01, effect_offer=0.1, offer=0.9, uses=0.95),
        "loyal": Kind(own=0.4, own_hours=40, effect=0.04, offer=0.2, uses=0.8),
        "seasonal": Kind(season=0.5),
        "fatigue_prone": Kind(effect=0.09, tired=0.35, leaves=0.02),
        "null": Kind(effect=0.0, effect_offer=0.0, leaves=0.001),
        "night_owls": Kind(effect=0.09, night=0.3),
        "early_buyers": Kind(own=0.35, own_hours=80, effect=0.02),
        "big_spenders": Kind(own=0.1, effect=0.05, spread=1.1),
    }
)
"""Ten kinds of worlds."""


def world(kind: str | Kind, *, customers: int = 20_000, seed: int = 1) -> World:
    """A world of one kind.

    Args:
        kind: a name of `KINDS`, or what its people are like.
        customers: how many people.
        seed: where chance comes from.

    Returns:
        The world: `.log()`, `.pilot()`, `.roll_out()`, `.truth()`.

    Raises:
        InputError: no such kind (names the nearest), a number of customers or a seed that is none.

    >>> world("null", customers=1000, seed=1).truth(delays=[4], offers=[0])["caused"].tolist()
    [0.0]
    """
    if isinstance(kind, str):
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            raise InputError(f"no kind of world {shown(kind)}; there are {', '.join(KINDS)}{hint}")
        kind = KINDS[kind]
    if not isinstance(kind, Kind):
        raise InputError(f"kind: found {shown(kind)}; allowed: a Kind, or one of {', '.join(KINDS)}")
    check_count("customers", customers, most=_MOST_PEOPLE)
    check_seed(seed)
    if seed < 0:
        raise InputError(f"seed: found {shown(seed)}; allowed: a whole number from 0")
    return World(kind, customers, seed)


@dataclass(frozen=True, slots=True)
class World:
    """A shop whose people answer in a known way; the same for the same kind, size and seed."""

    kind: Kind
    customers: int
    seed: int

    def log(self) -> EventLog:
        """What people do without any mail: cart_add and purchase (with revenue), over sixty days and a month after."""
        who = self._people()
        count = self.customers
        bought = np.flatnonzero(who["own_hours"] < np.inf)
        at = np.concatenate([who["at"], who["at"][bought] + (who["own_hours"][bought] * _HOUR).astype(np.int64)])
        people = np.concatenate([np.arange(count), bought])
        price = np.concatenate([np.full(count, np.nan), who["price"][bought]])
        end = _START + (_DAYS + 30) * 24 * _HOUR  # so that every window is closed
        ids = customer_ids(np.append(people, 0), width=8)
        table = pa.table(
            {
                "customer_id": ids,
                "event": pa.array(
                    np.repeat(["cart_add", "purchase", "view"], [count, len(bought), 1]), type=pa.string()
                ),
                "at": pa.array(np.append(at, end)).cast(pa.timestamp("us", tz="UTC")),
                "revenue": pa.array(np.append(price, np.nan), from_pandas=True),
            }
        )
        return EventLog.from_pandas(table.to_pandas())

    def pilot(
        self, *, delays: Sequence[float] = (1, 4, 24), offers: Sequence[float] = (0, 10), holdout: float = 0.3
    ) -> pd.DataFrame:
        """A pilot in which chance decided who was mailed, when, and with which offer.

        Args:
            delays: hours after the cart, all alike.
            offers: percent off, all alike.
            holdout: share of people who get no mail.

        Returns:
            One row per person who had not bought when their mail was due: unit, trigger_at, sent, delay (hours),
            offer (percent), propensity (of what was done, given the past), past_mails, opened, clicked, converted (in
            the week after), revenue, used_offer, discount, unsubscribed.

        Raises:
            InputError: a delay, an offer or a holdout out of its range.
        """
        delays = numbers_between("delays", delays, _LONGEST)
        offers = numbers_between("offers", offers, 100.0)
        check_between("holdout", holdout, 1.0)
        rng = np.random.default_rng([self.seed, 2])
        count = self.customers
        delay = rng.choice(np.asarray(delays, dtype=float), count)
        offer = rng.choice(np.asarray(offers, dtype=float), count)
        sent = rng.random(count) >= holdout
        offer = np.where(sent, offer, 0.0)
        frame = self._answered(delay, offer, sent)
        cells = len(delays) * len(offers)
        frame["propensity"] = np.where(frame["sent"], (1 - holdout) / cells, holdout / len(delays))
        return frame[frame["due"]].drop(columns="due").reset_index(drop=True)

    def roll_out(self, *, delay: float, offer: float) -> dict[str, float]:
        """What really came of mailing everyone so, against the same people unmailed.

        Returns:
            Per person who filled a cart: mails, caused (purchases), revenue (of those), discount, profit; a purchase
            earns `MARGIN` of its price, a mail costs `MAIL_COST`.

        Raises:
            InputError: a delay or an offer out of its range.
        """
        check_between("delay", delay, _LONGEST)
        check_between("offer", offer, 100.0)
        count = self.customers
        frame = self._answered(np.full(count, delay), np.full(count, offer), np.ones(count, dtype=bool))
        mailed = frame[frame["due"]]
        caused = mailed["caused"]
        revenue = float(mailed.loc[caused, "price"].sum())
        profit = MARGIN * revenue - float(mailed["discount"].sum()) - MAIL_COST * len(mailed)
        return {
            "mails": len(mailed) / count,
            "caused": float(caused.sum()) / count,
            "revenue": revenue / count,
            "discount": float(mailed["discount"].sum()) / count,
            "profit": profit / count,
        }

    def truth(self, *, delays: Sequence[float], offers: Sequence[float], people: int = 200_000) -> pd.DataFrame:
        """What mails do in this world: known, because it was made so. Nothing else here tells it.

        Args:
            delays: hours after the cart.
            offers: percent off.
            people: over how many people of this kind the expectation is taken.

        Returns:
            One row per delay and offer, per person who fills a cart: mailed, caused, profit.

        Raises:
            InputError: a delay, an offer or a number of people out of its range.
        """
        delays = numbers_between("delays", delays, _LONGEST)
        offers = numbers_between("offers", offers, 100.0)
        check_count("people", people, most=_MOST_PEOPLE)
        many = replace(self, customers=people, seed=self.seed + 1_000_003)
        who = many._people()
        rows = []
        for delay in delays:
            for offer in offers:
                due = who["own_hours"] > delay
                own = due & (who["own_hours"] <= delay + WINDOW_HOURS)
                effect = np.where(due & ~own, many._effect(who, np.full(people, float(delay)), float(offer)), 0.0)
                off = self.kind.uses * offer / 100 * who["price"] * own
                gain = effect * who["price"] * (MARGIN - offer / 100)
                profit = gain - off - MAIL_COST * due
                rows.append([delay, offer, due.mean(), effect.mean(), profit.mean()])
        return pd.DataFrame(rows, columns=["delay", "offer", "mailed", "caused", "profit"])

    def _people(self) -> dict[str, npt.NDArray[np.float64]]:
        """Carts, own purchases and prices; the same whatever is mailed."""
        kind, count = self.kind, self.customers
        rng = np.random.default_rng([self.seed, 1])
        hours = rng.uniform(0, _DAYS * 24, count)
        swing = 1 + kind.season * np.sin(2 * np.pi * hours / 168)
        taste = rng.beta(4 * kind.own, 4 * (1 - kind.own), count)
        own = rng.random(count) < np.clip(taste * swing, 0, 1)
        own_hours = np.where(own, np.minimum(rng.exponential(kind.own_hours, count), 2 * WINDOW_HOURS), np.inf)
        return {
            "at": _START + (hours * _HOUR).astype(np.int64),
            "hours": hours,
            "swing": swing,
            "own_hours": own_hours,
            "price": rng.lognormal(4.0, kind.spread, count).round(2),
            "past_mails": rng.poisson(1.0, count).astype(float),
            "luck": rng.random((6, count)),
        }

    def _effect(self, who: dict[str, Floats], delay: Floats, offer: Floats | float) -> Floats:
        """The chance that a mail makes each person buy who would not have."""
        kind = self.kind
        fades = 0.5 ** (np.abs(delay - kind.best_hours) / kind.half_life)
        strength = kind.effect + kind.effect_offer * kind.offer * np.asarray(offer) / 10
        clock = (who["hours"] + delay) % 24
        awake = np.where(clock < 8, kind.night, 1.0)
        fresh = np.maximum(0.0, 1 - kind.tired * who["past_mails"])
        return np.clip(strength * fades * awake * fresh * who["swing"], 0, 1)

    def _answered(self, delay: Floats, offer: Floats, sent: npt.NDArray[np.bool_]) -> pd.DataFrame:
        who, kind = self._people(), self.kind
        luck = who["luck"]
        due = who["own_hours"] > delay
        own = due & (who["own_hours"] <= delay + WINDOW_HOURS)
        caused = due & ~own & sent & (luck[0] < self._effect(who, delay, offer))
        used = due & sent & (offer > 0) & (caused | (own & (luck[1] < kind.uses)))
        opened = due & sent & (luck[2] < 0.4)
        return pd.DataFrame(
            {
                "unit": np.arange(self.customers),
                "trigger_at": pd.to_datetime(who["at"], unit="us", utc=True),
                "due": due,
                "sent": sent,
                "delay": delay,
                "offer": offer,
                "past_mails": who["past_mails"],
                "opened": opened,
                "clicked": opened & (luck[3] < 0.2),
                "caused": caused,
                "converted": own | caused,
                "price": who["price"],
                "revenue": np.where(own | caused, who["price"], 0.0),
                "used_offer": used,
                "discount": np.where(used, who["price"] * offer / 100, 0.0),
                "unsubscribed": due & sent & (luck[4] < kind.leaves),
            }
        )
