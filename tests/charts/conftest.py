"""One replay of the shipped shop, for all pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import toolkit as tk
from toolkit.engine import Run
from toolkit.events import EventLog
from toolkit.scenario import Program, load, loads

ROOT = Path(__file__).parents[2]

CART = """
scenario: cart
trigger: {event: cart_add}
reentry: every
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
steps:
  - {id: pause, wait: 1h}
  - {id: reminder, send: cart/reminder}
  - {id: longer, wait: 1d}
  - {id: gift, send: cart/gift, offer: {percent: 10, valid: 2d}}
"""


@pytest.fixture(scope="session")
def shop_log() -> EventLog:
    return tk.EventLog.open(ROOT / "data" / "shop")


@pytest.fixture(scope="session")
def shop_program() -> Program:
    return load(ROOT / "templates")


@pytest.fixture(scope="session")
def shop_run(shop_program: Program, shop_log: EventLog) -> Run:
    return tk.replay(shop_program, shop_log)


@pytest.fixture
def cart_log() -> EventLog:
    """Five carts at 10:00 on 3 March: bought after 30 minutes, 5 hours, 30 hours, 12 days, never."""
    rows = [(name, "cart_add", "2025-03-03T10:00Z", None) for name in ("ana", "bo", "cy", "di", "eve")]
    rows += [
        ("ana", "purchase", "2025-03-03T10:30Z", 10.0),
        ("bo", "purchase", "2025-03-03T15:00Z", 20.0),
        ("cy", "purchase", "2025-03-04T16:00Z", 40.0),
        ("di", "purchase", "2025-03-15T10:00Z", 80.0),
        ("zoe", "view", "2025-04-20T10:00Z", None),
    ]
    return EventLog.from_pandas(pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"]))


@pytest.fixture
def cart_program() -> Program:
    return loads(CART)
