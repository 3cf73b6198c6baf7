"""Customers who answer: synthetic shops with known truth, at any size, with or without mails."""

from toolkit.simulation.answers import Answers
from toolkit.simulation.habits import Habits
from toolkit.simulation.large import generate_events
from toolkit.simulation.mailed import MailedShop, mailed
from toolkit.simulation.shop import Shop, ShopTruth, shop

__all__ = ["Answers", "Habits", "MailedShop", "Shop", "ShopTruth", "generate_events", "mailed", "shop"]
