"""What comes in at the door of plan: a metric, numbers that are numbers, frames that are frames, a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import pandas as pd

from toolkit.arrow import A_FRAME, of_frame
from toolkit.errors import MetricError, shown
from toolkit.readable import counted
from toolkit.stats.metric import Metric
from toolkit.stats.moments import one_column
from toolkit.stats.windows import days_of

__all__ = ["check_metric", "check_numbers", "check_once", "check_window", "frame_at", "frames_at"]


def check_metric(metric: object, *, where: str) -> None:
    """Refuse what is no metric."""
    if not isinstance(metric, Metric):
        hint = f"; did you mean Rate({metric!r})?" if isinstance(metric, str) else ""
        raise MetricError(f"{where}: metric: found {shown(metric)}; allowed: a Rate, Mean or Ratio of a column{hint}")


def check_numbers(values: Mapping[str, object], *, where: str, needed: Sequence[str] = ()) -> None:
    """Refuse a value that is no number; None stands for one that is not given, where it is not needed."""
    for name, value in values.items():
        if (value is not None or name in needed) and (isinstance(value, bool) or not isinstance(value, Real)):
            if isinstance(value, pd.DataFrame):
                # The rows say nothing here, and would fill the screen.
                raise MetricError(
                    f"{where}: {name}: found a DataFrame; allowed: a number; frames are outcomes= and journeys="
                )
            raise MetricError(f"{where}: {name}: found {shown(value)}; allowed: a number{_as_share(value)}")


def frame_at(value: object, name: str, *, where: str) -> pd.DataFrame:
    """The frame that was handed over, made of the table of another library where it is one.

    Args:
        value: what came.
        name: what it is called there.
        where: in which call.

    Raises:
        MetricError: it is none.

    >>> frame_at(3, "outcomes", where="plan")
    Traceback (most recent call last):
        ...
    toolkit.errors.MetricError: plan: outcomes: found int; allowed: a DataFrame of pandas or polars, or an Arrow table
    """
    frame = of_frame(value, f"{where}: {name}", error=MetricError)
    if not isinstance(frame, pd.DataFrame):
        raise MetricError(f"{where}: {name}: found {type(value).__name__}; allowed: {A_FRAME}")
    return frame


def check_once(outcomes: pd.DataFrame, *, where: str) -> None:
    """Refuse outcomes in which a unit has several rows: they are not independent, and each would count as a unit."""
    if "unit" not in outcomes.columns:
        return
    again = one_column(outcomes, "unit").duplicated()
    if again.any():
        example = str(outcomes.loc[again.to_numpy(), "unit"].iloc[0])
        raise MetricError(
            f"{where}: outcomes: {counted(int(again.sum()), 'row')} of units that are there already, for example "
            f"{example!r}; give one row per unit: add up the rows of each"
        )


def frames_at(where: str, **values: object) -> list[pd.DataFrame | None]:
    """The frames that were handed over by name, as `frame_at`; None stays for one that is not given."""
    return [None if value is None else frame_at(value, name, where=where) for name, value in values.items()]


def check_window(window: object, *, where: str) -> None:
    """Refuse a window that is no length of time, or none at all; None stands for one that is not given."""
    if window is None:
        return
    try:
        days = days_of(window)
    except ValueError as fault:
        raise MetricError(f"{where}: window: {fault}") from None
    if not days > 0:
        raise MetricError(f"{where}: window: found {shown(window)}; allowed: longer than nothing, for example 7d")


def _as_share(value: object) -> str:
    """The share that a text such as `20%` seems to mean, as a question."""
    text = value.strip() if isinstance(value, str) else ""
    if not text.endswith("%"):
        return ""
    try:
        return f"; did you mean {float(text[:-1]) / 100:g}?"
    except ValueError:
        return ""
