"""Pictures of what is modelled: a forecast's profit by arm, what its interval is made of, and a tuned surface."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from toolkit.charts.style import AFTER_MAIL, BLUE, INK, MAILS, add_units, drawn, money
from toolkit.charts.sweeps import setting_text
from toolkit.errors import InputError, NotSupportedError, nearest
from toolkit.simulation import Forecast, Tuning

__all__ = ["forecast_arms", "forecast_parts", "tuning_chart"]

_DIVERGING = ["#B2431B", "#E8A27C", "#F4F1EC", "#8FC1DF", "#0072B2"]


def forecast_arms(forecast: Forecast, *, metric: str = "profit") -> go.Figure:
    """One metric by scenario and arm, each with its interval.

    Args:
        forecast: a simulation's result.
        metric: a metric of its table, for example profit, caused or discount_own.

    Returns:
        A figure, modelled.

    Raises:
        InputError: no such metric; names the nearest.
    """
    table = forecast.table
    known = list(dict.fromkeys(table["metric"]))
    if metric not in known:
        near = nearest(metric, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"metric must be one of {', '.join(known)}; found {metric!r}{hint}")
    rows = table[table["metric"] == metric]
    keep = [
        not forecast.groups.is_holdout(scenario, None if pd.isna(arm) else arm)
        for scenario, arm in zip(rows["scenario"], rows["arm"], strict=True)
    ]
    rows = rows[keep].iloc[::-1]
    names = [
        f"{scenario.replace('_', ' ')}{'' if pd.isna(arm) else f' · {arm}'}"
        for scenario, arm in zip(rows["scenario"], rows["arm"], strict=True)
    ]
    is_money = metric in ("profit", "margin", "revenue", "own_revenue", "caused_revenue", "mail_cost") or (
        metric.startswith("discount")
    )

    def said(value: float) -> str:
        return money(value, forecast.currency) if is_money else f"{value:,.0f}"

    ends = rows[["value", "lower", "upper"]].to_numpy(float)
    texts = [f"{said(value)}  [{said(lower)} to {said(upper)}]" for value, lower, upper in ends]
    dots = go.Scatter(
        x=rows["value"],
        y=names,
        mode="markers+text",
        marker={"size": 11, "color": BLUE},
        text=texts,
        textposition="top center",
        textfont={"size": 12, "color": INK},
        cliponaxis=False,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["upper"] - rows["value"],
            "arrayminus": rows["value"] - rows["lower"],
            "color": BLUE,
            "thickness": 2.4,
            "width": 0,
        },
        hovertemplate="%{y}<br><b>%{text}</b><extra></extra>",
    )
    word = metric.replace("_", " ").capitalize()
    title = word
    if len(ends) and not np.isnan(ends[:, 0]).all():
        place = int(np.nanargmax(ends[:, 0]))
        value, lower, upper = (said(one) for one in ends[place])
        title = f"{word}: {names[place]} would bring {value}, {lower} to {upper}"
    figure = drawn(
        [dots],
        title=title,
        subtitle=f"{forecast.level:.0%} intervals of {forecast.draws:,} draws, response model "
        f"“{forecast.response.name}”; what comes on top of what people do on their own",
        label="modelled",
        height=170 + 62 * len(rows),
        legend=False,
    )
    figure.add_vline(x=0, line={"color": INK, "width": 1.2, "dash": "dot"})
    figure.update_yaxes(showgrid=False, range=[-0.6, len(rows) - 0.3])
    return add_units(figure, x=f"{word.lower()}{f' ({forecast.currency})' if is_money else ''}", y="")


def forecast_parts(forecast: Forecast) -> go.Figure:
    """What each interval of the profit is made of: one bar per arm.

    Args:
        forecast: a simulation's result.

    Returns:
        A figure, modelled.

    Raises:
        NotSupportedError: too few draws to say.
    """
    parts = forecast.assumptions
    if not len(parts):
        raise NotSupportedError("too few draws to say what the interval is made of; take more")
    arms = [
        f"{scenario.replace('_', ' ')}{'' if pd.isna(arm) else f' · {arm}'}"
        for scenario, arm in zip(parts["scenario"], parts["arm"], strict=True)
    ]
    parts = parts.assign(name=arms)
    order = parts.groupby("assumption")["share"].sum().sort_values(ascending=False)
    shown = [name for name in order.index if order[name] >= 0.02]
    traces = []
    for place, name in enumerate(shown):
        rows = parts[parts["assumption"] == name]
        words = {"chance": "chance of answers", "people": "other people"}.get(name, name)
        traces.append(
            go.Bar(
                x=rows["share"],
                y=rows["name"],
                orientation="h",
                name=words,
                marker={"color": MAILS[place % len(MAILS)]},
                hovertemplate=f"{words}<br><b>%{{x:.0%}}</b><extra></extra>",
            )
        )
    figure = drawn(
        traces,
        title=f"Most of what is not known comes from {shown[0]}" if shown else "Nothing is uncertain",
        subtitle="share of the interval's variance by assumption; narrow the longest first",
        label="modelled",
        height=210 + 40 * parts["name"].nunique(),
    )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(showgrid=False)
    return figure


def tuning_chart(tuning: Tuning) -> go.Figure:
    """The objective over one or two settings, each with its interval; what cannot be told from the best is framed.

    Args:
        tuning: a tuning over one or two paths.

    Returns:
        A figure, modelled.

    Raises:
        NotSupportedError: more than two paths.
    """
    if len(tuning.over) > 2:
        raise NotSupportedError(f"a picture shows two paths; this tuning has {len(tuning.over)}")
    title = _tuning_title(tuning)
    subtitle = f"per person who enters, {tuning.level:.0%} intervals; framed: cannot be told from the best"
    if len(tuning.over) == 1:
        return _tuning_line(tuning, title, subtitle.replace("framed", "orange"))
    up, across = tuning.over
    grid, low, high, kept = (tuning.surface(name) for name in ("value", "lower", "upper", "in_region"))
    numbers = [one.to_numpy(float) for one in (grid, low, high)]
    text = [
        [
            f"<b>{_said(tuning, value)}</b><br>{_said(tuning, lower)} to {_said(tuning, upper)}"
            for value, lower, upper in zip(*row, strict=True)
        ]
        for row in zip(*numbers, strict=True)
    ]
    figure = drawn(
        [
            go.Heatmap(
                x=[setting_text(one) for one in grid.columns],
                y=[setting_text(one) for one in grid.index],
                z=grid.to_numpy(float),
                text=text,
                texttemplate="%{text}",
                colorscale=_DIVERGING,
                zmid=0,
                xgap=3,
                ygap=3,
                showscale=False,
                hovertemplate="%{y}, %{x}<br>%{text}<extra></extra>",
            )
        ],
        title=title,
        subtitle=subtitle,
        label="modelled",
        height=190 + 64 * len(grid),
        legend=False,
    )
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            if bool(kept.iloc[i, j]):
                figure.add_shape(
                    type="rect", x0=j - 0.47, x1=j + 0.47, y0=i - 0.46, y1=i + 0.46,
                    line={"color": AFTER_MAIL, "width": 2.5},
                )  # fmt: skip
    figure.update_xaxes(type="category", showline=False)
    figure.update_yaxes(type="category", showgrid=False, rangemode="normal")
    return add_units(figure, x=_plain(across), y=_plain(up))


def _tuning_line(tuning: Tuning, title: str, subtitle: str) -> go.Figure:
    (path,) = tuning.over
    table = tuning.table
    labels = [setting_text(one) for one in table[path]]
    colours = [AFTER_MAIL if kept else BLUE for kept in table["in_region"]]
    dots = go.Scatter(
        x=labels,
        y=table["value"],
        mode="markers",
        marker={"size": 12, "color": colours},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": table["upper"] - table["value"],
            "arrayminus": table["value"] - table["lower"],
            "color": INK,
            "thickness": 1.6,
            "width": 4,
        },
        hovertemplate="%{x}<br><b>%{y:.3g}</b><extra></extra>",
    )
    figure = drawn([dots], title=title, subtitle=subtitle, label="modelled", height=380, legend=False)
    figure.add_hline(y=0, line={"color": INK, "width": 1.2, "dash": "dot"})
    figure.update_xaxes(type="category")
    return add_units(figure, x=_plain(path), y=f"{tuning.objective} per person")


def _tuning_title(tuning: Tuning) -> str:
    if len(tuning.table) > 1 and bool(tuning.table["in_region"].all()):
        return "The data cannot tell these settings apart"
    best = " and ".join(setting_text(value) + _unit(path) for path, value in tuning.best.items())
    ends = f"{_said(tuning, tuning.best_lower)} to {_said(tuning, tuning.best_upper)}"
    return f"Best in the forecast: {best}, {ends} a person after the selection"


def _unit(path: str) -> str:
    return " %" if path.endswith(".percent") else ""


def _said(tuning: Tuning, value: float) -> str:
    return f"{value:.3f}" if tuning.objective == "caused" else money(float(value), tuning.currency)


def _plain(path: str) -> str:
    words = path.split(".")
    return f"{'.'.join(words[1:-1]).replace('_', ' ')} ({words[-1]}{_unit(path)})" if len(words) > 2 else path
