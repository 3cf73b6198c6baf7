"""The picture of a load: mails by day with the peak, and at which hour of which weekday they leave."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.charts.style import AFTER_MAIL, BLUE, DAYS, HOUSE, INK, SEQUENCE, fitting, say, whole
from toolkit.charts.themed import Themed
from toolkit.engine import Load

__all__ = ["load_chart"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def load_chart(load: Load) -> go.Figure:
    """Mails by day above, and below by weekday and hour; the busiest hour is named.

    Args:
        load: what `Run.load` gave.

    Returns:
        A figure, exact, in UTC: what a mail server has to carry.
    """
    days, hours = load.by_day, load.by_hour
    figure = make_subplots(figure=Themed(), rows=2, cols=1, vertical_spacing=0.2, row_heights=[0.5, 0.5])
    figure.add_trace(
        go.Bar(
            x=days["day"],
            y=days["mails"],
            marker={"color": BLUE},
            hovertemplate="%{x|%a %-d %b %Y}<br><b>%{y:,} mails</b><extra></extra>",
        ),
        row=1,
        col=1,
    )
    week = np.zeros((7, 24))
    if len(hours):
        np.add.at(week, (hours["hour"].dt.day_of_week.to_numpy(), hours["hour"].dt.hour.to_numpy()), hours["mails"])
    weeks = max(1.0, load.days / 7)
    figure.add_trace(
        go.Heatmap(
            x=[f"{hour:02d}" for hour in range(24)],
            y=list(_DAYS),
            z=week / weeks,
            colorscale=SEQUENCE,
            zmin=0,
            zmax=max(1.0, (week / weeks).max()),
            xgap=1.5,
            ygap=1.5,
            colorbar={
                "title": {"text": "mails", "font": {"size": 12.5}},
                "thickness": 12,
                "outlinewidth": 0,
                "len": 0.42,
                "y": 0.19,
            },
            hovertemplate="%{y} %{x}:00 UTC<br><b>%{z:,.1f} mails</b> in a usual week<extra></extra>",
        ),
        row=2,
        col=1,
    )
    hour, most = load.peak
    title = "No mail was sent"
    if hour is not None:
        usual = days["mails"].sum() / load.days / 24
        title = f"At most {most:,} mails in one hour, {most / usual:,.0f} times the usual hour"
        _mark_peak(figure, days, hour, most)
    sentences = load.sentences()[1:]
    titles, room = say(title, "UTC · " + ("; ".join(sentences).removesuffix(": see note") or "no offers"), "exact")
    figure.update_layout(
        template=HOUSE,
        height=560,
        title=titles,
        margin={"l": 12, "r": 16, "t": room + 26, "b": 12},
        showlegend=False,
        bargap=0.06,
    )
    if len(days):
        half = pd.Timedelta(hours=12)
        figure.update_xaxes(
            range=[days["day"].iloc[0] - half, days["day"].iloc[-1] + half], tickformat=DAYS, row=1, col=1
        )
    figure.update_yaxes(
        title_text="mails a day", range=fitting(days["mails"]), **whole(days["mails"].max()), row=1, col=1
    )
    figure.update_xaxes(title_text="hour of the day, UTC (a usual week)", type="category", showline=False, row=2, col=1)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, rangemode="normal", row=2, col=1)
    return figure


def _mark_peak(figure: go.Figure, days: pd.DataFrame, hour: pd.Timestamp, most: int) -> None:
    figure.add_annotation(
        x=hour.floor("D"),
        y=1.02,
        yref="y domain",
        xanchor="center" if len(days) < 8 else "right" if hour > days["day"].iloc[len(days) // 2] else "left",
        text=f"peak {hour:%a} {hour.day} {hour:%b, %H:%M}: {most:,} an hour",
        showarrow=False,
        yanchor="bottom",
        font={"size": 12, "color": INK},
        row=1,
        col=1,
    )
    figure.add_vline(x=hour, line={"color": AFTER_MAIL, "width": 2}, row=1, col=1)
