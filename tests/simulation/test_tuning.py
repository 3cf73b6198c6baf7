"""The best of many settings flatters itself: its interval, after the selection, holds what the roll-out brings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toolkit.scenario import loads
from toolkit.simulation import fit, tune, world
from toolkit.simulation.worlds import MAIL_COST, MARGIN

CART = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
steps: [{id: pause, wait: 4h}, {id: mail, send: cart/mail, offer: {percent: 10, valid: 7d}}]
""")
OVER = {"cart.pause.wait": ["1h", "4h", "24h"], "cart.mail.offer.percent": [5, 10, 20]}


def told_and_true(kind: str, seed: int, *, customers: int, draws: int) -> tuple[float, float, float, float]:
    """Ends of the interval of the best of nine settings before and after the selection, and what it then brought.

    Returns lower end as if nothing had been chosen, lower and upper end after the selection, profit of the roll-out.
    """
    pilot, history, roll_out = (world(kind, customers=customers, seed=3 * seed + part) for part in (1, 2, 0))
    model = fit(pilot.pilot(offers=(5, 10, 20)), margin=MARGIN, mail_cost=MAIL_COST)
    found = tune(CART, history.log(), model, over=OVER, draws=draws, seed=seed, check_out_of_time=False, progress=False)
    best = found.table.loc[found.table["value"].idxmax()]
    delay, offer = float(str(found.best["cart.pause.wait"]).rstrip("h")), found.best["cart.mail.offer.percent"]
    real = roll_out.roll_out(delay=delay, offer=float(offer))["profit"]
    return best["lower"], found.best_lower, found.best_upper, real


def strays(rate: float, runs: int) -> float:
    """How far a share of so many runs strays from its rate by chance, but for one time in a hundred."""
    return 2.576 * math.sqrt(rate * (1 - rate) / runs)


def assert_promised(kind: str, runs: int, *, customers: int, draws: int) -> None:
    told = np.array([told_and_true(kind, seed, customers=customers, draws=draws) for seed in range(runs)])
    plain, lower, upper, real = told.T
    disappointed, naively = float((real < lower).mean()), float((real < plain).mean())
    held = float(((lower <= real) & (real <= upper)).mean())
    said = f"{kind}: {held:.1%} of {runs} held, {disappointed:.1%} came out below, unadjusted {naively:.1%}"
    print(said)
    assert disappointed <= 0.05 + strays(0.05, runs), said
    assert held >= 0.9 - max(0.05, strays(0.9, runs)), said
    assert (lower <= plain).all()
    if kind == "null":
        promised = float((lower > 0).mean())
        assert promised <= 0.05 + strays(0.05, runs), f"a profit was promised in {promised:.1%} of null worlds"


@pytest.mark.parametrize("kind", ["null", "impatient"])
def test_the_best_setting_of_a_few_worlds_brings_what_its_interval_says(kind: str) -> None:
    assert_promised(kind, 3, customers=2_000, draws=30)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["null", "impatient", "patient", "discount_hunters"])
def test_the_best_setting_of_many_worlds_brings_what_its_interval_says(kind: str) -> None:
    assert_promised(kind, 40, customers=4_000, draws=60)
