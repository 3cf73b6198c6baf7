"""The numbers that make a shop: how often people come, what they put in a cart, when they buy, when they stay away."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from toolkit.errors import InputError, shown

__all__ = ["Habits"]

_ABOVE_ZERO = ("sessions_per_day", "sessions_shape", "dropout_a", "dropout_b", "items_per_cart", "views_per_session")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the people of a synthetic shop behave: the known truth behind its log.

    Visits follow a Poisson process with a rate of each person's own, drawn from a gamma distribution; after each
    purchase a person stays away for good with a chance of their own, drawn from a beta distribution. That is the
    BG/NBD model of Fader, Hardie and Lee (2005), "Counting your customers the easy way", Marketing Science 24(2),
    with a rate of `sessions_per_day * cart_share * (buys_soon + buys_later + buys_days_later)` purchases a day.

    Args:
        existing_share: share of customers who signed up before the log begins, 0..1.
        growth: how much busier sign-ups are on the last day than on the first, as a share.
        sessions_per_day: mean visits a day of a person who has not lapsed, above 0.
        sessions_shape: shape of the gamma distribution of that rate, above 0; the smaller, the more unlike people are.
        views_per_session: mean product pages seen in a visit, at least 1.
        cart_share: share of visits in which something is put in the cart, 0..1.
        items_per_cart: mean different products in a cart, at least 1.
        buys_soon: share of carts bought within minutes, 0..1.
        buys_later: share of carts bought some hours later, without any mail, 0..1.
        buys_days_later: share of carts bought on a later day, without any mail, 0..1; the rest is never bought.
        dropout_a: first parameter of the beta distribution of the chance to stay away after a purchase, above 0.
        dropout_b: second parameter, above 0.
        consent_share: share of customers who agreed to marketing mail, 0..1.

    Raises:
        InputError: a number out of its range; names all of them.

    >>> Habits(buys_soon=0.2).buy_share
    0.31
    """

    existing_share: float = 0.55
    growth: float = 0.6
    sessions_per_day: float = 0.05
    sessions_shape: float = 0.8
    views_per_session: float = 2.4
    cart_share: float = 0.28
    items_per_cart: float = 1.5
    buys_soon: float = 0.14
    buys_later: float = 0.05
    buys_days_later: float = 0.06
    dropout_a: float = 0.8
    dropout_b: float = 3.2
    consent_share: float = 0.85

    def __post_init__(self) -> None:
        wrong = []
        for field in fields(self):
            number = getattr(self, field.name)
            if not _is_number(number):
                wrong.append(f"{field.name}: found {shown(number)}; allowed: a number")
            elif field.name in _ABOVE_ZERO:
                least = 1 if field.name in ("items_per_cart", "views_per_session") else 0
                if not number > 0 or number < least:
                    wrong.append(f"{field.name}: found {shown(number)}; allowed: {'1 or more' if least else 'above 0'}")
            elif field.name == "growth":
                if not -1 < number < 100:
                    wrong.append(f"growth: found {shown(number)}; allowed: above -1, below 100")
            elif not 0 <= number <= 1:
                wrong.append(f"{field.name}: found {shown(number)}; allowed: 0 to 1")
        if not wrong and self.buy_share > 1:
            wrong.append(f"buys_soon + buys_later + buys_days_later: found {self.buy_share:g}; allowed: at most 1")
        if wrong:
            raise InputError("habits: " + "; ".join(wrong))

    @property
    def buy_share(self) -> float:
        """The share of carts that are bought without any mail, sooner or later."""
        return self.buys_soon + self.buys_later + self.buys_days_later


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
