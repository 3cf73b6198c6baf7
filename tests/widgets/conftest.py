"""The shipped shop and its abandoned cart, for the screens."""

from __future__ import annotations

from pathlib import Path

import pytest

import toolkit as tk
from toolkit.events import EventLog
from toolkit.scenario import Program, load
from toolkit.widgets import Tuner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def log() -> EventLog:
    return tk.EventLog.open(ROOT / "data" / "shop")


@pytest.fixture(scope="session")
def program() -> Program:
    return load(ROOT / "templates" / "abandoned_cart")


@pytest.fixture
def tuner(program: Program, log: EventLog) -> Tuner:
    return Tuner(program, log)
