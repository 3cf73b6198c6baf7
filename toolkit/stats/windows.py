"""Lengths of time as the language writes them, in days of 24 hours."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

__all__ = ["days_of", "window_text"]

_DAY = 86_400_000_000


def days_of(window: str | timedelta | Any) -> float:
    """How many days of 24 hours a window lasts.

    Args:
        window: a text such as `28d`, a timedelta or a `toolkit.scenario.Duration`.

    Returns:
        Days, possibly a fraction.

    Raises:
        ValueError: not a length of time.

    >>> days_of("4w"), days_of(timedelta(hours=12))
    (28.0, 0.5)
    """
    return float(_parsed(window).elapsed / _DAY)


def window_text(window: str | timedelta | Any) -> str:
    """A window in the language's own form.

    >>> window_text("4w"), window_text(timedelta(days=14)), window_text(timedelta(hours=12))
    ('28d', '14d', '12h')
    """
    if isinstance(window, timedelta) and window % timedelta(days=1) == timedelta(0):
        return f"{window.days}d"
    return str(_parsed(window))


def _parsed(window: Any) -> Any:
    # The language is loaded with the first window: it takes as long as pandas, and most analyses name no window.
    return importlib.import_module("toolkit.scenario.duration").Duration.parse(window)
