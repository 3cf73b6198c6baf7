"""Customers who answer: response models, forecasts, and synthetic shops with known truth."""

from toolkit.simulation.answers import Answers
from toolkit.simulation.fitting import fit
from toolkit.simulation.forecast import Forecast
from toolkit.simulation.habits import Habits
from toolkit.simulation.large import generate_events
from toolkit.simulation.logged import logged_sends
from toolkit.simulation.mailed import MailedShop, mailed
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.policies import PolicyValue, off_policy
from toolkit.simulation.shop import Shop, ShopTruth, shop
from toolkit.simulation.simulate import simulate
from toolkit.simulation.simulation import Simulation
from toolkit.simulation.tune import Tuning, tune
from toolkit.simulation.winback import WinBack, win_back
from toolkit.simulation.worlds import World, world

__all__ = [
    "Answers",
    "Forecast",
    "Habits",
    "MailedShop",
    "PolicyValue",
    "ResponseModel",
    "Shop",
    "ShopTruth",
    "Simulation",
    "Tuning",
    "WinBack",
    "World",
    "fit",
    "generate_events",
    "logged_sends",
    "mailed",
    "off_policy",
    "shop",
    "simulate",
    "tune",
    "win_back",
    "world",
]
