"""Pictures of what is modelled: a forecast's profit by arm, what its interval is made of, and a tuned surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from toolkit.charts.style import (
    AFTER_MAIL,
    BLUE,
    INK,
    MAILS,
    add_units,
    drawn,
    interval_bar,
    label_lines,
    money,
    words_on,
)
from toolkit.charts.sweeps import setting_name, setting_text
from toolkit.errors import InputError, NotSupportedError, did_you_mean, is_one_of, shown
from toolkit.readable import minus
from toolkit.simulation import Forecast, Tuning

__all__ = ["forecast_arms", "forecast_parts", "tuning_chart"]

_DIVERGING = ["#B2431B", "#E8A27C", "#F4F1EC", "#8FC1DF", "#0072B2"]
_MONEY = ("profit", "margin", "revenue", "own_revenue", "caused_revenue", "mail_cost", "discount", "discount_own")
_ON_TOP = ("caused", "caused_revenue", "margin", "profit")
_MAY_FALL_BELOW_ZERO = ("margin", "profit")
_MOST_PARTS = 6
_REST = "rgba(128,136,150,.30)"
_SMALLEST_SHOWN, _SMALLEST_TOLD = 0.03, 0.06
_MOST_TEXTS = 8


def forecast_arms(forecast: Forecast, *, metric: str | None = None) -> go.Figure:
    """One metric by scenario and arm, each with its interval.

    Args:
        forecast: a simulation's result.
        metric: a metric of its table, for example profit, caused or discount_own. Unless given the profit; where the
            response model states no margin, and so none is known, the purchases brought about (caused).

    Returns:
        A figure; its label is that of the metric, modelled or observed.

    Raises:
        InputError: no such metric; names the nearest.
        NotSupportedError: the response model does not say what the metric needs.
    """
    table = forecast.table
    known = list(dict.fromkeys(table["metric"]))
    if metric is None:
        metric = "profit" if table.loc[table["metric"] == "profit", "value"].notna().any() else "caused"
    if not is_one_of(metric, known):
        hint = did_you_mean(str(metric), known)
        raise InputError(f"metric must be one of {', '.join(known)}; found {shown(metric)}{hint}")
    rows = table[table["metric"] == metric]
    keep = [
        not forecast.groups.is_holdout(scenario, None if pd.isna(arm) else arm)
        for scenario, arm in zip(rows["scenario"], rows["arm"], strict=True)
    ]
    rows = rows[keep].iloc[::-1]
    word = metric.replace("_", " ").capitalize()
    if rows["value"].isna().all():
        raise NotSupportedError(
            f"{word} is not known: the response model {forecast.response.name!r} states no order.margin;"
            " metric='caused' counts the purchases brought about"
        )
    names = _arms(rows)
    people = [f"{forecast.value(scenario, 'people', None if pd.isna(arm) else arm):,.0f} people"
              for scenario, arm in zip(rows["scenario"], rows["arm"], strict=True)]  # fmt: skip
    is_money = metric in _MONEY

    def said(value: float) -> str:
        return money(value, forecast.currency) if is_money else minus(f"{value:,.0f}")

    ends = rows[["value", "lower", "upper"]].to_numpy(float)
    texts = [f"<b>{said(value)}</b>   {said(lower)} to {said(upper)}" for value, lower, upper in ends]
    whose = [f"{name}<br>{_small(count)}" for name, count in zip(names, people, strict=True)]
    dots = go.Scatter(
        x=rows["value"],
        y=whose,
        mode="markers+text",
        marker={"size": 12, "color": BLUE},
        text=texts,
        textposition="top center",
        textfont={"size": 12.5, "color": INK},
        cliponaxis=False,
        error_x=_bars(rows, color=BLUE, thickness=3),
        hovertemplate="%{y}<br>%{text}<extra></extra>",
    )
    place = int(np.nanargmax(ends[:, 0]))
    value, lower, upper = (said(one) for one in ends[place])
    title = f"{word}: {names[place]} {'would bring ' if metric in _ON_TOP else ''}{value}, {lower} to {upper}"
    if metric in _MAY_FALL_BELOW_ZERO and ends[place, 1] < 0 < ends[place, 2]:
        title += "; a loss cannot be ruled out"
    labels = list(dict.fromkeys(rows["label"]))
    told = "" if metric not in _ON_TOP else "; on top of own purchases"
    figure = drawn(
        [dots],
        title=title,
        subtitle=f"{forecast.level:.0%} intervals of {forecast.draws:,} draws, response model "
        f"“{forecast.response.name}”{told}",
        label="modelled" if "modelled" in labels else " and ".join(labels),
        height=160 + 66 * len(rows),
        legend=False,
    )
    figure.add_vline(x=0, line={"color": INK, "width": 1.2, "dash": "dot"}, layer="below")
    figure.update_xaxes(range=_span(ends, air=0.1), showgrid=True, zeroline=False, tickformat=",")
    labels = [f"{label_lines(name)}<br>{_small(count)}" for name, count in zip(names, people, strict=True)]
    figure.update_yaxes(
        showgrid=False, range=[-0.6, len(rows) - 0.3], ticklabelstandoff=8, tickvals=whose, ticktext=labels
    )
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
    parts = parts.assign(name=_arms(parts))
    arms = list(dict.fromkeys(parts["name"]))
    wide = parts.pivot(index="name", columns="assumption", values="share").reindex(arms).fillna(0.0)
    mean = wide.mean().sort_values(ascending=False, kind="stable")
    shown = [name for name in mean.index if wide[name].max() >= _SMALLEST_SHOWN][:_MOST_PARTS]
    words = {name: {"chance": "chance of answers", "people": "other people"}.get(name, name) for name in mean.index}
    bars = [(words[name], wide[name], MAILS[place % len(MAILS)]) for place, name in enumerate(shown)]
    rest = 1 - wide[shown].sum(axis=1)
    if rest.max() > 1e-6:
        bars.append(("all else", rest, _REST))
    traces = [
        go.Bar(
            x=share,
            y=arms,
            orientation="h",
            name=word,
            marker={"color": colour, "line": {"width": 0}},
            width=0.56,
            text=[f"{one:.0%}" if one >= _SMALLEST_TOLD else "" for one in share],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": INK if colour == _REST else words_on(colour), "size": 12.5},
            hovertemplate=f"%{{y}}<br>{word}: <b>%{{x:.0%}}</b><extra></extra>",
        )
        for word, share, colour in bars
    ]
    first = mean.index[0]
    title = f"What is not known comes {'mostly' if mean.iloc[0] > 0.5 else 'first of all'} from {_source(first)}"
    metric = parts["metric"].iloc[0].replace("caused", "caused purchases")
    below = 22 * -(-len(bars) // 4)  # rows of the legend, with room for long names
    figure = drawn(
        traces,
        title=title,
        subtitle=f"shares of the variance of {metric}, {forecast.draws:,} draws of “{forecast.response.name}”; "
        "measure the longest first",
        label="modelled",
        height=130 + below + 62 * len(arms),
        legend=False,
    )
    figure.update_layout(
        barmode="stack",
        showlegend=True,
        legend={"itemclick": False, "itemdoubleclick": False, "yref": "container", "y": 0, "yanchor": "bottom"},
        margin={"b": 34 + below, "r": 26},
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1.0], showline=False, automargin=False)
    figure.update_yaxes(showgrid=False, autorange="reversed", ticklabelstandoff=8)
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
    what = "purchases brought about" if tuning.objective == "caused" else f"{tuning.objective} in {tuning.currency}"
    subtitle = f"{what} per person who enters, {tuning.level:.0%} intervals"
    if len(tuning.over) == 1:
        return _tuning_line(tuning, title, f"{subtitle}; orange: cannot be told from the best")
    subtitle += "; framed: cannot be told from the best"
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
    farthest = float(np.nanmax(np.abs(numbers[0]))) or 1.0
    figure = drawn(
        [
            go.Heatmap(
                x=_settings(tuning, across, grid.columns),
                y=_settings(tuning, up, grid.index),
                z=grid.to_numpy(float),
                text=text,
                texttemplate="%{text}",
                colorscale=_DIVERGING,
                # Light cells keep the words readable; the sign is told by the colour, the size by the number.
                zmin=-1.6 * farthest,
                zmax=1.6 * farthest,
                textfont={"color": "#1F2733", "size": 12.5},
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
    return add_units(figure, x=setting_name(across), y=setting_name(up))


def _tuning_line(tuning: Tuning, title: str, subtitle: str) -> go.Figure:
    (path,) = tuning.over
    table = tuning.table
    ends = table[["value", "lower", "upper"]].to_numpy(float)
    texts = [
        f"<b>{_said(tuning, value)}</b><br>{_said(tuning, lower)} to {_said(tuning, upper)}"
        for value, lower, upper in ends
    ]
    dots = go.Scatter(
        x=_settings(tuning, path, table[path]),
        y=table["value"],
        mode="markers+text" if len(table) <= _MOST_TEXTS else "markers",
        marker={"size": 13, "color": [AFTER_MAIL if kept else BLUE for kept in table["in_region"]]},
        text=texts,
        textposition="middle right",
        textfont={"size": 12.5, "color": INK},
        cliponaxis=False,
        error_y=_bars(table, color=INK, thickness=2),
        hovertemplate="%{x}<br>%{text}<extra></extra>",
    )
    figure = drawn([dots], title=title, subtitle=subtitle, label="modelled", height=380, legend=False)
    figure.add_hline(y=0, line={"color": INK, "width": 1.2, "dash": "dot"}, layer="below")
    figure.update_xaxes(type="category", range=[-0.5, len(table) - 0.35])
    figure.update_yaxes(range=_span(ends, air=0.07), zeroline=False, tickformat=",")
    unit = "" if tuning.objective == "caused" else f" ({tuning.currency})"
    return add_units(figure, x=setting_name(path), y=f"{tuning.objective} per person{unit}")


def _bars(rows: pd.DataFrame, *, color: str, thickness: float) -> dict[str, Any]:
    """The bar of each value's interval."""
    return interval_bar(rows["value"], rows["lower"], rows["upper"], color=color, thickness=thickness, width=0)


def _span(ends: npt.NDArray[np.float64], *, air: float) -> list[float]:
    """The range of an axis that shows 0 and every interval (value, lower, upper), with some air."""
    low, high = min(0.0, float(np.nanmin(ends[:, 1]))), max(0.0, float(np.nanmax(ends[:, 2])))
    air *= (high - low) or 1.0
    return [low - air, high + air]


def _arms(rows: pd.DataFrame) -> list[str]:
    """Names of scenarios and arms."""
    return [
        f"{scenario.replace('_', ' ')}{'' if pd.isna(arm) else f' · {arm}'}"
        for scenario, arm in zip(rows["scenario"], rows["arm"], strict=True)
    ]


def _small(text: str) -> str:
    return f"<span style='font-size:11px'>{text}</span>"


def _source(name: str) -> str:
    return {"chance": "the chance of answers", "people": "who the people are"}.get(name, name)


def _settings(tuning: Tuning, path: str, tried: Any) -> list[str]:
    """Values that were tried, in words; that of the program itself is marked."""
    now, words = setting_text(tuning.base[path], path=path), [setting_text(one, path=path) for one in tried]
    return [word + (" (now)" if word == now else "") for word in words]


def _tuning_title(tuning: Tuning) -> str:
    if len(tuning.table) > 1 and bool(tuning.table["in_region"].all()):
        return "The data cannot tell these settings apart"
    best = " and ".join(setting_text(value, path=path) for path, value in tuning.best.items())
    ends = f"{_said(tuning, tuning.best_lower)} to {_said(tuning, tuning.best_upper)}"
    return f"Best: {best}; {ends} a person, allowing for the choice"


def _said(tuning: Tuning, value: float) -> str:
    return minus(f"{value:.3f}") if tuning.objective == "caused" else money(float(value), tuning.currency)
