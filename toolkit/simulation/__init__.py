"""Customers who answer: synthetic shops with known truth, at any size."""

from toolkit.simulation.habits import Habits
from toolkit.simulation.large import generate_events
from toolkit.simulation.shop import Shop, ShopTruth, shop

__all__ = ["Habits", "Shop", "ShopTruth", "generate_events", "shop"]
