"""Screens for notebooks, over the public functions."""

from toolkit.widgets.tuner import Tuner

__all__ = ["Tuner"]
