"""What comes in at the door of plan: a metric, numbers that are numbers, frames that are frames, a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import pandas as pd

from toolkit.errors import MetricError
from toolkit.stats.metric import Metric
from toolkit.stats.windows import days_of

__all__ = ["check_frames", "check_metric", "check_numbers", "check_window"]


def check_metric(metric: object, *, where: str) -> None:
    """Refuse what is no metric."""
    if not isinstance(metric, Metric):
        hint = f"; did you mean Rate({metric!r})?" if isinstance(metric, str) else ""
        raise MetricError(f"{where}: metric: found {metric!r}; allowed: a Rate, Mean or Ratio of a column{hint}")


def check_numbers(values: Mapping[str, object], *, where: str, needed: Sequence[str] = ()) -> None:
    """Refuse a value that is no number; None stands for one that is not given, where it is not needed."""
    for name, value in values.items():
        if (value is not None or name in needed) and (isinstance(value, bool) or not isinstance(value, Real)):
            if isinstance(value, pd.DataFrame):
                # The rows say nothing here, and would fill the screen.
                raise MetricError(
                    f"{where}: {name}: found a DataFrame; allowed: a number; frames are outcomes= and journeys="
                )
            raise MetricError(f"{where}: {name}: found {value!r}; allowed: a number{_as_share(value)}")


def check_frames(values: Mapping[str, object], *, where: str, needed: Sequence[str] = ()) -> None:
    """Refuse a value that is no frame; None stands for one that is not given, where it is not needed."""
    for name, value in values.items():
        if (value is not None or name in needed) and not isinstance(value, pd.DataFrame):
            raise MetricError(f"{where}: {name}: found {type(value).__name__}; allowed: a pandas DataFrame")


def check_window(window: object, *, where: str) -> None:
    """Refuse a window that is no length of time, or none at all; None stands for one that is not given."""
    if window is None:
        return
    try:
        days = days_of(window)
    except ValueError as fault:
        raise MetricError(f"{where}: window: {fault}") from None
    if not days > 0:
        raise MetricError(f"{where}: window: found {window!r}; allowed: longer than nothing, for example 7d")


def _as_share(value: object) -> str:
    """The share that a text such as `20%` seems to mean, as a question."""
    text = value.strip() if isinstance(value, str) else ""
    if not text.endswith("%"):
        return ""
    try:
        return f"; did you mean {float(text[:-1]) / 100:g}?"
    except ValueError:
        return ""
