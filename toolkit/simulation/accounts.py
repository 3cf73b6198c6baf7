"""What happens rarely, and not because of the shop window: passwords, balances, unsubscribes, dead mailboxes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.simulation.calendar import DAY, HOUR
from toolkit.simulation.people import People
from toolkit.simulation.rows import Rows, chosen, rows, stack

__all__ = ["account_rows"]

_AMOUNTS = np.array([20.0, 30.0, 50.0, 100.0])
_PASSWORDS, _TOP_UPS, _UNSUBSCRIBES, _BOUNCES = 0.0006, 0.0004, 0.0001, 0.00008  # a person and a day
_COMES_BACK, _HARD = 0.2, 0.35


def account_rows(people: People, rng: np.random.Generator, *, first: int, days: int) -> Rows:
    """Rows of password_changed, balance_topped_up, email_unsubscribed, email_subscribed and email_bounced.

    Args:
        people: who.
        rng: where chance comes from.
        first: start of the log, microseconds since 1970, UTC midnight.
        days: length of the log.

    Returns:
        Rows after each person's sign-up and before the end of the log.
    """
    end = first + days * DAY
    since = np.maximum(people.signed_up, first) + HOUR

    def moments(a_day: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        span = np.maximum(end - since, 0)
        customer = np.repeat(np.arange(len(people)), rng.poisson(span / DAY * a_day))
        return customer, since[customer] + (rng.random(len(customer)) * span[customer]).astype(np.int64)

    password, topped_up, left, bounced = (moments(rate) for rate in (_PASSWORDS, _TOP_UPS, _UNSUBSCRIBES, _BOUNCES))
    back = rng.random(len(left[0])) < _COMES_BACK
    back_at = left[1][back] + (rng.exponential(14, int(back.sum())) * DAY).astype(np.int64) + HOUR
    kind = np.where(rng.random(len(bounced[0])) < _HARD, 0, 1)
    happened = stack(
        [
            rows("password_changed", *password),
            rows("balance_topped_up", *topped_up, value=rng.choice(_AMOUNTS, len(topped_up[0]))),
            rows("email_unsubscribed", *left),
            rows("email_subscribed", left[0][back], back_at),
            rows("email_bounced", *bounced, bounce=kind),
        ]
    )
    return chosen(happened, happened["at"] < end)
