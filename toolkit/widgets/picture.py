"""The tuner's pictures as one plotly figure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, pairwise
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.charts.own_purchases import PHASES
from toolkit.charts.style import AFTER_OFFER, HOUSE, INK, MAILS, QUIET, fitting, money, say, share_text
from toolkit.charts.themed import Themed

__all__ = ["PERCENT", "picture", "wait_text"]

PERCENT = "{percent}"
"""Stands for the discount in a figure that is finished in the browser."""


def picture(surface: Mapping[str, Any], *, wait: str, percent: float | None = None) -> go.Figure:
    """Mails by hour, own purchases beside the mail, and below, money given away at every wait.

    Args:
        surface: from `toolkit.widgets.surface`.
        wait: the setting to draw.
        percent: the discount; left open unless given: money then stands for 1%, marked by `meta`, and words hold
            `{percent}` where the discount belongs.

    Returns:
        A figure; axes are the same at every setting, so that pictures can be held against each other.
    """
    settings = surface["settings"]
    here = next(one for one in settings if one["wait"] == wait)
    has_money = surface["offer"] and any(one["given"] is not None for one in settings)
    figure = make_subplots(
        figure=Themed(),
        rows=2 if has_money else 1,
        cols=2,
        specs=[[{}, {}], [{"colspan": 2}, None]] if has_money else [[{}, {}]],
        row_heights=[0.64, 0.36] if has_money else None,
        vertical_spacing=0.19,
        horizontal_spacing=0.09,
    )
    _hours(figure, surface, here)
    _own(figure, surface, here)
    if has_money:
        _money(figure, surface, wait, percent)
    said = PERCENT if percent is None else f"{percent:g}"
    titles, room = say(
        wait_text(here).capitalize() + (f", discount {said}%" if surface["offer"] else ""),
        f"{here['week']:,.0f} mails a week · {share_text(_number(here['before_rate']))} buy before the mail, "
        f"{share_text(_number(here['after_rate']))} would have bought anyway after it",
        surface["scenario"],
    )
    height = room + (500 if has_money else 310)
    figure.update_layout(
        template=HOUSE,
        title=titles,
        barmode="stack",
        height=height,
        margin={"l": 12, "r": 16, "t": room + 34, "b": 12},
        legend={"xref": "container", "x": 0.006, "yref": "container", "y": 1 - (room - 6) / height, "yanchor": "top"},
    )
    return figure


def _hours(figure: go.Figure, surface: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    for name, counts, color in zip(surface["mails"], here["hours"], cycle(MAILS), strict=False):
        figure.add_trace(
            go.Bar(
                x=[hour + 0.5 for hour in range(24)],
                y=counts,
                name=name,
                marker={"color": color},
                customdata=[f"{hour:02d}:00 to {hour + 1:02d}:00" for hour in range(24)],
                hovertemplate="%{customdata}<br><b>%{y:,} mails</b><extra>" + name + "</extra>",
            ),
            row=1,
            col=1,
        )
    for start, end in surface["quiet"]:
        figure.add_vrect(x0=start, x1=end, fillcolor=QUIET, line_width=0, layer="below", row=1, col=1)
    figure.update_xaxes(
        range=[0, 24], tickvals=list(range(0, 25, 3)), title_text="hour, customer's local time (exact)", row=1, col=1
    )
    top = _highest(surface, "hours")
    figure.update_yaxes(range=fitting([top]), title_text="mails sent", tickformat=",~d", row=1, col=1)


def _own(figure: go.Figure, surface: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    edges = surface["edges"]
    stretches = [f"{low} to {high}" for low, high in pairwise(edges)]
    for (phase, (name, color)), counts in zip(PHASES.items(), here["own"], strict=True):
        if phase == "after_offer" and (not surface["offer"] or surface["first"]):
            continue
        figure.add_trace(
            go.Bar(
                x=[place + 0.5 for place in range(len(counts))],
                y=counts,
                name=name,
                marker={"color": color},
                customdata=stretches,
                hovertemplate="%{customdata} after<br><b>%{y:,} bought</b><extra>" + name + "</extra>",
            ),
            row=1,
            col=2,
        )
    for number, mark in enumerate(here["marks"]):
        figure.add_vline(
            x=mark["place"], line={"color": INK, "width": 1.5, "dash": "dot" if number else "solid"}, row=1, col=2
        )
    figure.update_xaxes(
        range=[0, len(edges) - 1],
        tickvals=list(range(len(edges))),
        ticktext=edges,
        tickangle=0,
        tickfont={"size": 10.5},
        title_text="time since the trigger (observed)",
        row=1,
        col=2,
    )
    top = _highest(surface, "own")
    figure.update_yaxes(range=fitting([top]), title_text="journeys with a purchase", tickformat=",~d", row=1, col=2)


def _money(figure: go.Figure, surface: Mapping[str, Any], wait: str, percent: float | None) -> None:
    settings = surface["settings"]
    times = 1.0 if percent is None else percent
    given = [None if one["given"] is None else one["given"] * times for one in settings]
    most = max((one["given"] for one in settings if one["given"] is not None), default=1.0)
    figure.add_trace(
        go.Bar(
            x=[one["tick"] for one in settings],
            y=given,
            name="given away",
            showlegend=False,
            meta={"times_percent": True},
            marker={"color": AFTER_OFFER, "opacity": [1.0 if one["wait"] == wait else 0.4 for one in settings]},
            hovertemplate="wait %{x}<br><b>%{y:,.2f} "
            + surface["currency"]
            + "</b> by 100 offers<extra>given away</extra>",
        ),
        row=2,
        col=1,
    )
    figure.update_xaxes(type="category", title_text="wait", row=2, col=1)
    sign = money(0, surface["currency"]).removesuffix("0.00").strip() or surface["currency"]
    figure.update_yaxes(
        range=fitting([most * 30], least=0.01),
        title_text=f"{sign} given away by<br>100 offers (observed)",
        tickformat=",~f",
        row=2,
        col=1,
    )


def _highest(surface: Mapping[str, Any], key: str) -> float:
    return float(
        max((sum(column) for one in surface["settings"] for column in zip(*one[key], strict=True)), default=1.0)
    )


def wait_text(setting: Mapping[str, Any]) -> str:
    """A wait in words: `wait 4 h`, or `no wait`."""
    text = str(setting["text"])
    return text if text == "no wait" else f"wait {text}"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
