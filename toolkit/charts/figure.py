"""One verb for all pictures: `figure(result)`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from inspect import signature
from typing import Any, Literal

import plotly.graph_objects as go

from toolkit.charts.by_day import lift_days
from toolkit.charts.curves import plan_curve, qini_curve, result_survival, survival_plot
from toolkit.charts.deliverability import deliverability_chart
from toolkit.charts.differences import difference_chart
from toolkit.charts.forecasts import forecast_arms, forecast_parts, tuning_chart
from toolkit.charts.lift import forest
from toolkit.charts.loads import load_chart
from toolkit.charts.looks import boundary
from toolkit.charts.overlaps import overlap_chart
from toolkit.charts.own_purchases import own_chart
from toolkit.charts.selection import selection_chart
from toolkit.charts.sends import not_sent, sends_by_day, sends_by_hour
from toolkit.charts.sweeps import sweep_heatmap, sweep_lines
from toolkit.charts.traces import timeline
from toolkit.engine import Difference, Load, Overlap, Run, Selection, Sweep, Trace
from toolkit.engine.own_purchases import OwnPurchases, own_purchases
from toolkit.engine.sends import Clock
from toolkit.errors import InputError, NotSupportedError, did_you_mean, is_one_of, shown
from toolkit.simulation import Forecast, Tuning
from toolkit.stats import LiftByDay, Plan, Qini, Result, Survival, lift_by_day
from toolkit.stats.reading import OutcomesLike
from toolkit.tracking import Board

__all__ = ["figure"]

Show = Literal["hours", "days", "not_sent", "own"]
_SHOWS = ("hours", "days", "not_sent", "own")
_RESULT_SHOWS = ("lift", "looks", "days", "survival")


def figure(result: Any, **options: Any) -> go.Figure:
    """The picture of a result.

    Args:
        result: a `Run` (options `show`: hours, days, not_sent or own; `scenario`, `clock`), a `Sweep` (`value`,
            `scenario`), a `Selection`, a `Load`, an `Overlap`, a `Difference`, a `Trace`, an experiment's `Result`
            (`show`: lift, looks, days or survival; `metric`, `earlier`, `outcomes`, `zone`), a `LiftByDay` (`metric`),
            a `Plan`, a `Survival` curve, a `Qini` curve, `OwnPurchases`, a `Forecast` (`show`: arms or parts;
            `metric`), the `Board` of `deliverability`, or a `Tuning`.
        **options: what the drawing of this kind takes.

    Returns:
        A plotly figure in the house style; its subtitle says whether it is exact, observed or modelled.

    Raises:
        NotSupportedError: no drawing is known for this kind of result.
        InputError: an option that is not there; names the nearest.
    """
    draw = _drawing.dispatch(type(result))
    allowed = list(signature(draw).parameters)[1:]
    for name in options if draw is not _drawing.dispatch(object) else ():
        if name not in allowed:
            said = f"allowed: {', '.join(allowed)}" if allowed else "it has none"
            raise InputError(
                f"plot: no option {shown(name)} in the drawing of a {type(result).__name__}; {said}"
                + did_you_mean(name, allowed)
            )
    drawn: go.Figure = draw(result, **options)
    return drawn


@singledispatch
def _drawing(result: Any, **_: Any) -> go.Figure:
    *kinds, last = (kind.__name__ for kind in _drawing.registry if kind is not object)
    raise NotSupportedError(
        f"there is no drawing for a {type(result).__name__}; there is one for {', '.join(kinds)} and {last}"
    )


@_drawing.register
def _run(result: Run, *, show: Show = "hours", scenario: str | None = None, clock: Clock = "local") -> go.Figure:
    if not is_one_of(show, _SHOWS):
        raise InputError(
            f"show must be one of {', '.join(_SHOWS)}; found {shown(show)}" + did_you_mean(str(show), _SHOWS)
        )
    if show == "own":
        return own_chart(own_purchases(result, scenario=scenario))
    if show == "not_sent":
        return not_sent(result, scenario=scenario)
    return (sends_by_hour if show == "hours" else sends_by_day)(result, scenario=scenario, clock=clock)


@_drawing.register
def _sweep(result: Sweep, *, value: str | None = None, scenario: str | None = None) -> go.Figure:
    if len(result.over) == 1:
        return sweep_lines(result, value=value, scenario=scenario)
    return sweep_heatmap(result, value=value or "sent", scenario=scenario)


@_drawing.register
def _result(
    result: Result,
    *,
    show: str = "lift",
    metric: str | None = None,
    earlier: Sequence[Result] = (),
    outcomes: OutcomesLike | None = None,
    zone: str = "UTC",
) -> go.Figure:
    if not is_one_of(show, _RESULT_SHOWS):
        raise InputError(
            f"show must be one of {', '.join(_RESULT_SHOWS)}; found {shown(show)}"
            + did_you_mean(str(show), _RESULT_SHOWS)
        )
    if show == "looks":
        return boundary(result, earlier=earlier)
    if show == "days":
        if outcomes is None:
            raise InputError("show='days' needs outcomes=, those that the result came from")
        return lift_days(lift_by_day(outcomes, result, zone=zone), metric=metric)
    return result_survival(result, metric=metric) if show == "survival" else forest(result, metric=metric)


@_drawing.register
def _forecast(result: Forecast, *, show: Literal["arms", "parts"] = "arms", metric: str | None = None) -> go.Figure:
    if not is_one_of(show, ("arms", "parts")):
        raise InputError(f"show must be arms or parts; found {shown(show)}")
    return forecast_parts(result) if show == "parts" else forecast_arms(result, metric=metric)


for _kind, _draw in (
    (Selection, selection_chart),
    (Load, load_chart),
    (Overlap, overlap_chart),
    (Difference, difference_chart),
    (Trace, timeline),
    (LiftByDay, lift_days),
    (Plan, plan_curve),
    (Survival, survival_plot),
    (Qini, qini_curve),
    (OwnPurchases, own_chart),
    (Board, deliverability_chart),
    (Tuning, tuning_chart),
):
    _drawing.register(_kind, _draw)
