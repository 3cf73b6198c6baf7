"""One verb for all pictures: `figure(result)`."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Literal

import plotly.graph_objects as go

from toolkit.charts.lift import forest
from toolkit.charts.own import own_chart
from toolkit.charts.purchases import OwnPurchases, own_purchases
from toolkit.charts.sends import Clock, not_sent, sends_by_day, sends_by_hour
from toolkit.charts.sweeps import sweep_heatmap, sweep_lines
from toolkit.charts.traces import timeline
from toolkit.engine import Run, Sweep, Trace
from toolkit.errors import InputError, NotSupportedError, nearest
from toolkit.stats import Result

__all__ = ["figure"]

Show = Literal["hours", "days", "not_sent", "own"]
_SHOWS = ("hours", "days", "not_sent", "own")


@singledispatch
def figure(result: Any, **options: Any) -> go.Figure:
    """The picture of a result.

    Args:
        result: a `Run` (options `show`: hours, days, not_sent or own; `scenario`, `clock`), a `Sweep` (`value`,
            `scenario`), a `Trace`, an experiment's `Result` (`metric`), or `OwnPurchases`.
        **options: what the drawing of this kind takes.

    Returns:
        A plotly figure in the house style; its subtitle says whether it is exact, observed or modelled.

    Raises:
        NotSupportedError: no drawing is known for this kind of result.
        InputError: an option that is not there; names the nearest.
    """
    raise NotSupportedError(
        f"there is no drawing for a {type(result).__name__}; there is one for Run, Sweep, Trace, Result, OwnPurchases"
    )


@figure.register
def _run(result: Run, *, show: Show = "hours", scenario: str | None = None, clock: Clock = "local") -> go.Figure:
    if show not in _SHOWS:
        near = nearest(str(show), _SHOWS)
        raise InputError(
            f"show must be one of {', '.join(_SHOWS)}; found {show!r}" + (f"; did you mean {near!r}?" if near else "")
        )
    if show == "own":
        return own_chart(own_purchases(result, scenario=scenario))
    if show == "not_sent":
        return not_sent(result, scenario=scenario)
    return (sends_by_hour if show == "hours" else sends_by_day)(result, scenario=scenario, clock=clock)


@figure.register
def _sweep(result: Sweep, *, value: str | None = None, scenario: str | None = None) -> go.Figure:
    if len(result.over) == 1:
        return sweep_lines(result, value=value, scenario=scenario)
    return sweep_heatmap(result, value=value or "sent", scenario=scenario)


@figure.register
def _trace(result: Trace) -> go.Figure:
    return timeline(result)


@figure.register
def _result(result: Result, *, metric: str | None = None) -> go.Figure:
    return forest(result, metric=metric)


@figure.register
def _own(result: OwnPurchases, *, highest: float | None = None) -> go.Figure:
    return own_chart(result, highest=highest)
