"""Customers who answer: response models, forecasts, and synthetic shops with known truth."""

from toolkit.simulation.answers import Answers
from toolkit.simulation.forecast import Forecast
from toolkit.simulation.habits import Habits
from toolkit.simulation.large import generate_events
from toolkit.simulation.mailed import MailedShop, mailed
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.shop import Shop, ShopTruth, shop
from toolkit.simulation.simulate import Simulation, simulate
from toolkit.simulation.tune import Tuning, tune

__all__ = [
    "Answers",
    "Forecast",
    "Habits",
    "MailedShop",
    "ResponseModel",
    "Shop",
    "ShopTruth",
    "Simulation",
    "Tuning",
    "generate_events",
    "mailed",
    "shop",
    "simulate",
    "tune",
]
