"""The picture of an overlap: scenarios by scenarios, whose mails stop whose, and mails a person a week."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.charts.style import BLUE, HOUSE, INK, SEQUENCE, fitting, label_lines, say, whole
from toolkit.charts.themed import Themed
from toolkit.engine import Overlap

__all__ = ["overlap_chart"]

_NAMED = 8  # columns that have room for their names


def overlap_chart(overlap: Overlap) -> go.Figure:
    """People who got mails of both, limits that collide, and how many mails a person gets in a week.

    Args:
        overlap: what `Run.overlap` gave.

    Returns:
        A figure, exact.
    """
    collided = overlap.collided
    rows = [("customers who got mails of both", 70 + _row_height(overlap.people) * max(2, len(overlap.people)))]
    if len(collided):
        told = "mails stopped by a limit (rows),<br>by whose mails had filled it (columns)"
        rows.append((told, 70 + _row_height(collided) * len(collided)))
    rows.append(("mails a person a week", 190))
    height = sum(each for _, each in rows)
    figure = make_subplots(
        figure=Themed(),
        rows=len(rows),
        cols=1,
        vertical_spacing=110 / (height + 110 * len(rows)),
        row_heights=[each / height for _, each in rows],
        subplot_titles=[title for title, _ in rows],
    )
    for place, (grid, what) in enumerate(((overlap.people, "people"), (collided, "mails stopped")), start=1):
        if place < len(rows):
            _draw(figure, grid, what, place)
    weekly = overlap.weekly
    figure.add_trace(
        go.Bar(
            x=weekly["mails"].astype(str),
            y=weekly["customer_weeks"],
            marker={"color": BLUE, "cornerradius": 2},
            text=[f"{count:,}" for count in weekly["customer_weeks"]],
            textposition="outside",
            textfont={"color": INK},
            cliponaxis=False,
            hovertemplate="%{x} mails in a week<br><b>%{y:,}</b> weeks of a person<extra></extra>",
        ),
        row=len(rows),
        col=1,
    )
    titles, room = say(_title(overlap), "weeks from Monday, UTC; only weeks with a mail", "exact")
    figure.update_layout(
        template=HOUSE,
        height=height + 110 * len(rows),
        title=titles,
        margin={"l": 12, "r": 16, "t": room + 44, "b": 12},
        showlegend=False,
        bargap=0.35,
    )
    figure.update_xaxes(type="category", title_text="mails in a week", row=len(rows), col=1)
    figure.update_yaxes(
        title_text="weeks of a person",
        range=fitting(weekly["customer_weeks"] * 1.08),
        **whole(weekly["customer_weeks"].max() if len(weekly) else 0),
        row=len(rows),
        col=1,
    )
    figure.update_annotations(font={"size": 13, "color": INK})
    return figure


def _draw(figure: go.Figure, table: pd.DataFrame, what: str, row: int) -> None:
    """A table of scenarios by scenarios; of many the columns are called by the number that stands beside each row."""
    across, down = _names(table.columns), _names(table.index)
    figure.add_trace(_grid(table, what), row=row, col=1)
    figure.update_xaxes(
        type="category",
        showline=False,
        tickvals=across,
        ticktext=[label_lines(name, width=22) for name in across],
        row=row,
        col=1,
    )
    figure.update_yaxes(
        type="category",
        autorange="reversed",
        showgrid=False,
        rangemode="normal",
        tickvals=down,
        ticktext=[label_lines(name) for name in down],
        row=row,
        col=1,
    )
    if len(across) > _NAMED:
        number = {name: place for place, name in enumerate(across, start=1)}
        told = {name: str(place) for name, place in number.items() if place == 1 or place % 5 == 0}
        figure.update_xaxes(
            tickvals=list(told),
            ticktext=list(told.values()),
            tickangle=0,
            title_text="scenarios by their numbers",
            row=row,
            col=1,
        )
        figure.update_yaxes(
            ticktext=[f"{label_lines(name, most=1)} · {number[name]}" if name in number else name for name in down],
            row=row,
            col=1,
        )


def _row_height(table: pd.DataFrame) -> int:
    """Pixels of a row, whose name may need two lines."""
    two = len(table.columns) <= _NAMED and any("<br>" in label_lines(name) for name in _names(table.index))
    return 34 if two else 26


def _grid(table: pd.DataFrame, what: str) -> go.Heatmap:
    shown = table.map(lambda count: f"{count:,}" if count else "·")
    return go.Heatmap(
        x=_names(table.columns),
        y=_names(table.index),
        z=table.to_numpy(),
        text=shown.to_numpy(),
        texttemplate="%{text}",
        colorscale=SEQUENCE,
        zmin=0,
        zmax=max(1, table.to_numpy().max(initial=0)),
        xgap=2,
        ygap=2,
        showscale=False,
        hovertemplate=f"%{{y}}, %{{x}}<br><b>%{{text}}</b> {what}<extra></extra>",
    )


def _names(scenarios: pd.Index) -> list[str]:
    return [str(name).replace("_", " ") for name in scenarios]


def _title(overlap: Overlap) -> str:
    stopped = int(overlap.caps["mails"].sum())
    most: Any = overlap.weekly["mails"].max() if len(overlap.weekly) else 0
    said = f"Nobody gets more than {most:,} mails a week" if most else "No mail was sent"
    return f"{said}; limits stopped {stopped:,} mails" if stopped else f"{said}; no limit was reached"
