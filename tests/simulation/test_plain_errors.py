"""What a single value of simulations may be: each wrong one is told in one sentence, none becomes a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import toolkit as tk
from toolkit.errors import InputError, ToolkitError
from toolkit.simulation import (
    Answers,
    Habits,
    ResponseModel,
    fit,
    generate_events,
    logged_sends,
    mailed,
    off_policy,
    shop,
    simulate,
    tune,
    win_back,
    world,
)

WRONG: Any = "no"
CART = tk.load("templates/abandoned_cart")
MODEL = ResponseModel.parse("{response: sure, buys: {rate: 0.1}, order: {margin: 0.5}}")
LOG = tk.EventLog.open("data/shop")
WORLD = world("null", customers=200)
SENDS = pd.DataFrame({"sent": [True, False] * 300, "converted": [1, 0, 0, 0] * 150, "propensity": 0.5})


@pytest.fixture(scope="module")
def forecast() -> Any:
    return simulate(CART, LOG, response=MODEL, draws=3, progress=False)


@pytest.fixture(scope="module")
def tuning() -> Any:
    over = {"abandoned_cart.pause.wait": ["1h", "4h"]}
    return tune(CART, LOG, MODEL, over=over, draws=3, check_out_of_time=False, progress=False)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f: f.total("profits"), "no metric 'profits' in this forecast; it has people, .*did you mean 'profit'"),
        (lambda f: f.total(None), "no metric None in this forecast"),
        (lambda f: f.metric(0, "mail"), "no metric 'mail' .*did you mean 'mails'"),
        (lambda f: f.metric(-1, "mails"), "group: found -1; allowed: a place in groups.names, 0 to 2"),
        (lambda f: f.entered(3), "group: found 3; allowed"),
        (lambda f: f.entered(1.5), "group: found 1.5"),
    ],
)
def test_a_number_that_a_forecast_has_not_is_told(forecast: Any, call: Callable[[Any], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call(forecast)


def test_every_metric_of_the_table_can_be_added_up(forecast: Any) -> None:
    for metric in forecast.table["metric"].unique():
        assert len(forecast.total(metric)) == 3


@pytest.mark.parametrize("column", ["valeu", [], {}, None])
def test_a_surface_of_no_column_is_told(tuning: Any, column: Any) -> None:
    with pytest.raises(InputError, match=r"no column .* in this table; it has abandoned_cart.pause.wait"):
        tuning.surface(column)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: shop(10, 5, seed=1, habits=WRONG), r"habits: found 'no'; allowed: Habits\(...\)"),
        (lambda: generate_events(WRONG, "x.parquet", seed=1), "n_events: found 'no'; allowed: a whole number"),
        (lambda: generate_events(100, 5, seed=1), "path: found 5"),  # type: ignore[arg-type]
        (lambda: Habits(growth=WRONG, cart_share=math.nan), "growth: found 'no'; .*cart_share: found nan; allowed: a"),
        (lambda: Habits(dropout_a=math.inf), "dropout_a: found inf; allowed: a number"),
        (lambda: Answers(opens=WRONG), "answers: opens: found 'no'; allowed: 0 to 1"),
        (lambda: Answers(buys=WRONG), "answers: buys: found 'no'; allowed: shares by mail"),
        (lambda: Answers(window=WRONG), "answers: window: expected a duration; found 'no'"),
        (lambda: mailed(WRONG, CART), "shop: found 'no'; allowed: a Shop"),
        (lambda: mailed(shop(10, 5, seed=1), WRONG), "program: found 'no'; allowed: a Program"),
        (lambda: mailed(shop(10, 5, seed=1), CART, answers=WRONG), "answers: found 'no'; allowed: Answers"),
        (lambda: logged_sends(CART, LOG, within=WRONG), "within: expected a duration; found 'no'"),
        (lambda: logged_sends(CART, LOG, within="0s"), "within: found '0s'; allowed: longer than nothing"),
        (lambda: off_policy(SENDS, {"sent": True}, actions=None), "actions: found None; allowed: the name of a column"),  # type: ignore[arg-type]
        (lambda: off_policy(SENDS, {"sent": True}, context=5), "context: found 5; allowed"),  # type: ignore[arg-type]
        (lambda: fit(SENDS, insist=WRONG), "insist: found 'no'; allowed: True or False"),
        (lambda: fit(SENDS, name=5), "name: found 5; allowed: a text"),  # type: ignore[arg-type]
        (
            lambda: win_back(LOG, lapsed="60d", reactivates=(0, 0.1, 0.2), margin=0.4, mail_cost=None),  # type: ignore[arg-type]
            "mail_cost: found None; allowed: 0 to",
        ),
        (
            lambda: win_back(LOG, lapsed="60d", reactivates=(0, 0.1, 0.2), margin=0.4, purchase=["x"]),  # type: ignore[arg-type]
            "purchase: found .*; allowed: a text",
        ),
        (lambda: world(WRONG), "no kind of world 'no'"),
        (lambda: world(5), "kind: found 5; allowed: a Kind, or one of impatient"),  # type: ignore[arg-type]
        (lambda: world("null", customers=math.nan), "customers: found nan; allowed: a whole number, 1 to"),  # type: ignore[arg-type]
        (lambda: world("null", seed=WRONG), "seed: found 'no'"),
        (lambda: world("null", seed=-1), "seed: found -1; allowed: a whole number from 0"),
        (lambda: WORLD.pilot(delays=WRONG), "delays: found 'no'; allowed: a list of numbers"),
        (lambda: WORLD.pilot(offers=[]), "offers: found none"),
        (lambda: WORLD.pilot(offers=[-5]), "offers: found -5; allowed: 0 to 100"),
        (lambda: WORLD.pilot(holdout=1.5), "holdout: found 1.5; allowed: 0 to 1"),
        (lambda: WORLD.roll_out(delay=math.nan, offer=0), "delay: found nan"),
        (lambda: WORLD.roll_out(delay=1, offer=WRONG), "offer: found 'no'"),
        (lambda: WORLD.truth(delays=4, offers=[0]), "delays: found 4; allowed: a list"),  # type: ignore[arg-type]
        (lambda: WORLD.truth(delays=[4], offers=[0], people=0), "people: found 0; allowed: a whole number"),
        (lambda: ResponseModel.parse(5), "response model: found 5; allowed: a text in YAML"),  # type: ignore[arg-type]
        (lambda: ResponseModel.load(None), "response model: found None; allowed: the path"),  # type: ignore[arg-type]
        (lambda: MODEL.draws(1.5, 1), "draws: found 1.5"),  # type: ignore[arg-type]
        (lambda: MODEL.draws(3, WRONG), "seed: found 'no'"),
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_told(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ToolkitError, match=said):
        call()
