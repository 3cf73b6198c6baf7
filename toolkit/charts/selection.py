"""The picture of a choice among settings: each on the part of the log it was chosen on, and on the part it was not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from toolkit.charts.style import AFTER_MAIL, BLUE, GRID, INK, add_units, drawn, share_text
from toolkit.charts.sweeps import setting_name, setting_text
from toolkit.engine import Selection, column_words
from toolkit.readable import day_text

__all__ = ["selection_chart"]


def selection_chart(selection: Selection) -> go.Figure:
    """One point per setting: across, the number by which it could be chosen; up, the number out of time.

    Args:
        selection: what `Sweep.best` gave.

    Returns:
        A figure, labelled exact or observed as the number is.
    """
    table = selection.table
    share = selection.value.endswith("_rate")
    rows = table.to_dict("records")
    words = [", ".join(_setting(row, path, alone=len(selection.now) == 1) for path in selection.now) for row in rows]
    chosen = selection.place
    what = column_words(selection.value)
    shown = [_number(value, share) for value in (selection.first, selection.second)]
    figure = drawn(
        [
            go.Scatter(
                x=table["first"],
                y=table["second"],
                mode="markers",
                marker={"size": 10, "color": BLUE, "opacity": 0.75},
                text=words,
                hovertemplate=_hover(share),
                name="settings",
            ),
            go.Scatter(
                x=table.loc[selection.is_now, "first"],
                y=table.loc[selection.is_now, "second"],
                mode="markers",
                marker={"size": 17, "symbol": "circle-open", "color": INK, "line": {"width": 2}},
                hoverinfo="skip",
                name="as it is now",
            ),
            go.Scatter(
                x=table["first"].iloc[[chosen]],
                y=table["second"].iloc[[chosen]],
                mode="markers",
                marker={"size": 14, "color": AFTER_MAIL},
                text=[words[chosen]],
                hovertemplate=_hover(share),
                name=f"chosen: {words[chosen]}",
            ),
        ],
        title=f"{what.capitalize()} of the chosen setting: {shown[0]}, and out of time {shown[1]}",
        subtitle=(
            f"{selection.scenario.replace('_', ' ')} · {'lowest' if selection.lowest else 'highest'} of {len(table):,} "
            f"settings up to {day_text(selection.span[1])}; the number it was chosen by flatters it"
        ),
        label=selection.kind,
        height=420,
    )
    low, high = _range(table["first"].tolist() + table["second"].tolist())
    if share:  # counts of two parts of unequal length do not compare, shares do
        figure.add_shape(
            type="line",
            x0=low,
            y0=low,
            x1=high,
            y1=high,
            line={"color": GRID, "dash": "dot", "width": 1.5},
            layer="below",
        )
        figure.add_annotation(
            x=high,
            y=high,
            text="the same in both",
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
            font={"size": 12},
        )
        figure.update_xaxes(range=[low, high])
        figure.update_yaxes(range=[low, high])
    tick = ".1%" if share else ",~d"
    figure.update_xaxes(tickformat=tick, showgrid=True)
    figure.update_yaxes(tickformat=tick, rangemode="normal")
    return add_units(figure, x="first part of the log (chosen on)", y="second part (shown)")


def _setting(row: Mapping[Any, Any], path: str, *, alone: bool) -> str:
    """A value that was tried; of several with the name of its parameter."""
    text = setting_text(row[path], path=path)
    return text if alone else f"{setting_name(path)} {text}"


def _hover(share: bool) -> str:
    shown = ":.1%" if share else ":,"
    return f"<b>%{{text}}</b><br>first part %{{x{shown}}}<br>second part %{{y{shown}}}<extra></extra>"


def _number(value: float, share: bool) -> str:
    if math.isnan(value):
        return "not defined"
    return share_text(value) if share else f"{value:,.0f}"


def _range(values: list[float]) -> tuple[float, float]:
    known = [value for value in values if not math.isnan(value)] or [0.0, 1.0]
    air = 0.08 * (max(known) - min(known) or 0.1)
    return min(known) - air, max(known) + air
