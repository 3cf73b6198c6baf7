"""What the shop sells: linen, lamps and what goes on a table, with prices in euros."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["CATEGORIES", "CATEGORY_OF", "NAMES", "PRICES", "PRODUCTS", "chances"]

_GOODS: dict[str, tuple[tuple[str, float], ...]] = {
    "bed linen": (
        ("Linen duvet cover", 129.0),
        ("Linen fitted sheet", 79.0),
        ("Pair of pillowcases", 39.9),
        ("Washed cotton duvet cover", 89.0),
        ("Linen bolster", 34.9),
        ("Baby bed linen", 54.9),
        ("Quilted bedspread", 149.0),
    ),
    "lamps": (
        ("Paper moon lamp", 49.9),
        ("Brass reading lamp", 119.0),
        ("Ceramic table lamp", 84.9),
        ("Rattan pendant", 99.0),
        ("Clip lamp", 29.9),
        ("Night light", 19.9),
        ("Floor lamp in oak", 189.0),
    ),
    "candles": (
        ("Fig candle", 24.9),
        ("Beeswax tapers, six", 14.9),
        ("Lavender candle", 24.9),
        ("Tea lights, twenty", 8.9),
        ("Candle snuffer", 12.9),
        ("Cedar candle, large", 38.0),
    ),
    "throws": (
        ("Wool throw", 99.0),
        ("Mohair blanket", 159.0),
        ("Cotton waffle throw", 59.9),
        ("Linen cushion cover", 29.9),
        ("Feather cushion", 22.9),
        ("Floor cushion", 69.0),
    ),
    "tableware": (
        ("Stoneware plate", 16.9),
        ("Stoneware bowl", 14.9),
        ("Café au lait mug", 12.5),
        ("Carafe", 27.9),
        ("Water glass", 7.9),
        ("Linen napkins, four", 36.0),
        ("Tablecloth", 64.9),
        ("Serving board", 42.0),
    ),
    "bath": (
        ("Bath towel", 27.9),
        ("Hand towel", 13.9),
        ("Bath robe", 74.9),
        ("Bath mat", 32.9),
        ("Olive soap", 6.9),
        ("Laundry basket", 58.0),
    ),
}

CATEGORIES = tuple(_GOODS)
NAMES = tuple(name for goods in _GOODS.values() for name, _ in goods)
PRODUCTS = tuple(f"P{number:03d}" for number in range(1, len(NAMES) + 1))
PRICES: npt.NDArray[np.float64] = np.array([price for goods in _GOODS.values() for _, price in goods])
CATEGORY_OF: npt.NDArray[np.int64] = np.repeat(np.arange(len(_GOODS)), [len(goods) for goods in _GOODS.values()])
# A few goods are looked at much more than the rest; the order of fame is fixed, and mixes the categories.
_FAME = 1 + (np.arange(len(NAMES)) * 17) % len(NAMES)


def chances() -> npt.NDArray[np.float64]:
    """The chance of each product to be the one looked at; sums to 1.

    >>> bool(abs(chances().sum() - 1) < 1e-12)
    True
    """
    weight = 1 / _FAME**0.7
    share: npt.NDArray[np.float64] = weight / weight.sum()
    return share
