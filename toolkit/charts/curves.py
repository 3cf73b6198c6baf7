"""Curves: what a plan shows with more people, how soon something happens, and what a score finds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from toolkit.charts.given import check_given
from toolkit.charts.style import BLUE, INK, MAILS, OTHERS, add_units, drawn, label_lines, money, share_text, unit_of
from toolkit.charts.thinning import seen
from toolkit.errors import InputError
from toolkit.stats import Plan, Qini, Result, Survival

__all__ = ["plan_curve", "qini_curve", "result_survival", "survival_plot"]

_DASHES = ("solid", "dash", "dot", "dashdot")
_MOST_NAMED = 4  # arms that a title can name
_WORTH_TELLING = 0.9  # of all people: mailing so many of them is no choice any more


def plan_curve(planned: Plan) -> go.Figure:
    """The smallest effect that more or fewer people, or days, would show.

    Args:
        planned: from `plan`.

    Returns:
        A figure, modelled: it follows from the baseline and spread that were given.
    """
    check_given(planned, Plan, name="planned", giver="tk.plan")
    table = planned.curve()
    rate = planned.metric.kind == "rate"
    scale = 100.0 if rate else 1.0
    days = not math.isnan(planned.days)
    x = table["days"] if days else table["units"]
    here = planned.days if days else planned.units
    figure = drawn(
        [
            go.Scatter(
                x=x,
                y=table["diff"].abs() * scale,
                mode="lines",
                line={"color": BLUE, "width": 2.5, "shape": "spline"},
                customdata=np.column_stack([table["units"], table["rel"].abs() * 100, table["power"] * 100]),
                hovertemplate=(
                    "%{customdata[0]:,} people"
                    + ("<br>%{x:.1f} days" if days else "")
                    + "<br><b>smallest effect %{y:.3~g}</b> (%{customdata[1]:.1f}%)"
                    "<br>power for the planned effect %{customdata[2]:.0f}%<extra></extra>"
                ),
            ),
            go.Scatter(
                x=[here],
                y=[abs(planned.diff) * scale],
                mode="markers",
                marker={"size": 12, "color": BLUE},
                hoverinfo="skip",
            ),
        ],
        title=_plan_said(planned, rate=rate),
        subtitle=f"{planned.metric.label} · power {planned.power:.0%} at alpha {planned.alpha:g}"
        + (f" · {planned.window} window included in the days" if planned.window and days else ""),
        label="planned",
        legend=False,
    )
    figure.add_annotation(
        x=here,
        y=abs(planned.diff) * scale,
        text=f"<b>{planned.units:,} people</b>" + (f", {planned.days:,.0f} days" if days else ""),
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
        xshift=10,
        yshift=4,
        font={"size": 13, "color": INK},
    )
    figure.update_xaxes(tickformat=",~s" if not days else ",~r")
    figure.update_yaxes(rangemode="tozero")
    unit = unit_of(planned.metric.kind, getattr(planned.metric, "currency", None), "person")
    return add_units(
        figure,
        x="days until the last window has closed" if days else "people, all arms together",
        y=f"smallest effect found{unit}",
    )


def _plan_said(planned: Plan, *, rate: bool) -> str:
    currency = getattr(planned.metric, "currency", None)
    plain = money(abs(planned.diff), currency) if currency else _digits(abs(planned.diff))
    size = f"{_digits(abs(planned.diff) * 100)} points" if rate else plain
    base = share_text(planned.baseline) if rate else _digits(planned.baseline)
    relative = f" ({100 * abs(planned.rel):.0f}% of {base})" if not math.isnan(planned.rel) else ""
    days = f", {planned.days:,.0f} days" if not math.isnan(planned.days) else ""
    return f"{planned.units:,} people{days} show an effect of {size}{relative}"


def _digits(value: float) -> str:
    """Two digits that say something.

    >>> _digits(1.0), _digits(0.0345), _digits(210.4)
    ('1.0', '0.035', '210')
    """
    if not value > 0:
        return "0"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(value)))}f}"


def survival_plot(
    curves: Survival | Mapping[str, Survival], *, horizon: float | None = None, of: str = "it", alpha: float = 0.05
) -> go.Figure:
    """The share to whom it has happened by each day, with a band for each arm (Kaplan-Meier).

    Args:
        curves: one curve, or one for each arm, control first, from `survival_curves`.
        horizon: where to end, in days; the longest follow-up unless given.
        of: what happens, in words.
        alpha: 1 - confidence of the bands.

    Returns:
        A figure, observed.

    Raises:
        InputError: no curve.
    """
    check_given(curves, (Survival, Mapping), name="curves", giver="toolkit.stats.survival_curves")
    named = {"everyone": curves} if isinstance(curves, Survival) else dict(curves)
    for curve in named.values():
        check_given(curve, Survival, name="curves", giver="toolkit.stats.survival_curves")
    if not named:
        raise InputError("survival: found no curve to draw")
    end = horizon or max(curve.last for curve in named.values())
    traces: list[go.Scatter] = []
    for (name, curve), (color, dash) in zip(named.items(), _looks(len(named)), strict=True):
        shown = np.flatnonzero(curve.times <= end)
        shown = shown[seen(curve.times[shown], curve.survival[shown])]
        last = min(end, curve.last)
        lower, upper = (band[shown] for band in curve.band(alpha=alpha))
        times = np.concatenate([[0.0], curve.times[shown], [last]])
        happened = _steps(1 - curve.survival[shown])
        low, high = _steps(1 - upper), _steps(1 - lower)
        traces += [
            go.Scatter(
                x=np.concatenate([times, times[::-1]]),
                y=np.concatenate([low, high[::-1]]),
                fill="toself",
                fillcolor=_faint(color),
                line={"width": 0, "shape": "hv"},
                mode="lines",
                hoverinfo="skip",
                showlegend=False,
            ),
            go.Scatter(
                x=times,
                y=happened,
                mode="lines",
                line={"color": color, "width": 2.5, "shape": "hv", "dash": dash},
                name=label_lines(name, width=36, most=1),
                hovertemplate="by day %{x:.3~g}<br><b>%{y:.1%}</b><extra>%{fullData.name}</extra>",
            ),
        ]
    figure = drawn(
        traces,
        title=_soon_said(named, end, of),
        subtitle=f"share to whom it has happened (Kaplan-Meier) · {100 * (1 - alpha):g}% bands, day by day",
        label="observed",
        height=400,
        legend=len(named) > 1,
    )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(range=[0, end])
    return add_units(figure, x="days", y=f"{of}, share")


def _steps(share: np.ndarray) -> np.ndarray:
    """From 0 on, and level to the end."""
    return np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])


def _faint(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},.15)"


def _looks(count: int) -> list[tuple[str, str]]:
    """Colour and dash of each curve, control first; where the colours are used up, the next dash begins."""
    if count == 1:
        return [(MAILS[0], "solid")]
    able = [color for color in MAILS if color != OTHERS]
    arms = [(able[place % len(able)], _DASHES[place // len(able) % len(_DASHES)]) for place in range(count - 1)]
    return [(INK, "solid"), *arms]


def _soon_said(named: Mapping[str, Survival], end: float, of: str) -> str:
    if len(named) > _MOST_NAMED:
        (first, curve), *arms = named.items()
        shares = [1 - arm.at(end) for _, arm in arms if not math.isnan(arm.at(end))]
        if shares and not math.isnan(curve.at(end)):
            told = f"{share_text(min(shares))} to {share_text(max(shares))} of {len(arms)} arms"
            return f"{of} within {end:g} days: {share_text(1 - curve.at(end))} of {first}, {told}"
    parts = [f"{share_text(1 - curve.at(end))} of {name}" for name, curve in named.items()]
    known = [part for part in parts if "–" not in part]
    if not known:
        return f"{of}: nobody has been followed for {end:g} days"
    return f"{of} within {end:g} days: {', '.join(known)}"


def result_survival(result: Result, *, metric: str | None = None) -> go.Figure:
    """How soon it happened in each arm of an experiment.

    Args:
        result: from `experiment` with a `TimeTo`.
        metric: which `TimeTo`; the first unless given.

    Returns:
        A figure, observed.

    Raises:
        InputError: the experiment has no such metric.
    """
    names = list(result.curves)
    if not names or (metric is not None and metric not in names):
        raise InputError(
            f"survival: found {metric or 'no TimeTo'}; this result has curves of {', '.join(names) or 'no metric'}"
        )
    name = metric or names[0]
    horizon, curves = result.curves[name]
    return survival_plot(curves, horizon=horizon, of=name.replace("_", " "), alpha=result.alpha)


def qini_curve(found: Qini) -> go.Figure:
    """What is gained when the mail goes to the best scores only, beside a random order.

    Args:
        found: from `qini`.

    Returns:
        A figure, observed; the formula stands below it.
    """
    check_given(found, Qini, name="found", giver="toolkit.stats.qini")
    table = found.table
    final = float(table["gain"].iloc[-1])
    best = int(table["gain"].to_numpy().argmax())
    shown = table.iloc[seen(table["share"].to_numpy(), table["gain"].to_numpy())]
    figure = drawn(
        [
            go.Scatter(
                x=shown["share"],
                y=shown["random"],
                mode="lines",
                line={"color": INK, "width": 1.5, "dash": "dot"},
                name="in random order",
                hoverinfo="skip",
            ),
            go.Scatter(
                x=shown["share"],
                y=shown["gain"],
                mode="lines",
                line={"color": BLUE, "width": 2.5},
                fill="tonexty",
                fillcolor=_faint(BLUE),
                name="best scores first",
                hovertemplate="best %{x:.0%} mailed<br><b>gain %{y:.4~g}</b> a mailed unit<extra></extra>",
            ),
        ],
        title=_qini_said(found, float(table["share"].iloc[best]), float(table["gain"].iloc[best]), final),
        subtitle=f"{str(found).split(';', maxsplit=1)[0]}",
        label="observed",
        height=420,
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(rangemode="normal", zeroline=True)
    return add_units(figure, x="share of people mailed, best scores first", y="gain, per treated unit")


def _qini_said(found: Qini, share: float, gain: float, final: float) -> str:
    if not math.isnan(found.qini_lower):
        if found.qini_lower > 0:
            said = "The score finds the people whom the mail moves"
        elif found.qini_upper < 0:
            said = "The score finds the wrong people: the mail moves the others"
        else:
            return "The score cannot be told apart from a random order"
    else:
        said = "The score ranks people by what the mail does to them" if found.qini > 0 else "The score does not help"
    if share <= _WORTH_TELLING and gain > final > 0:
        return f"{said}: mailing the best {share:.0%} gains {gain / final:.0%} of what mailing all gains"
    return said
