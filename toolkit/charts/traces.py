"""The picture of one customer: what they did, the journeys they were in, and every mail that went or did not."""

from __future__ import annotations

import html
import textwrap

import pandas as pd
import plotly.graph_objects as go

from toolkit.charts.given import check_given
from toolkit.charts.style import AFTER_OFFER, BLUE, GRID, MOMENTS, add_units, drawn, label_lines
from toolkit.engine import Trace
from toolkit.readable import counted

__all__ = ["timeline"]

_EVENT = "#8A93A5"
_MOST_LANES = 14
_MOST_MARKS = 5_000
_SHORTEST = pd.Timedelta(hours=2)  # that the axis shows


def timeline(trace: Trace) -> go.Figure:
    """One customer's time line, in local time: a lane for each kind of event, one for each scenario.

    Args:
        trace: from `Run.trace`.

    Returns:
        A figure, exact.
    """
    check_given(trace, Trace, name="trace", giver="run.trace")
    table = trace.table.assign(local=trace.table["local"].dt.tz_localize(None))
    events = table[table["kind"] == "event"].copy()
    events["lane"] = events["what"].str.extract(r"^([^:( ]+)", expand=False).str.replace("_", " ")
    scenarios = list(dict.fromkeys(table.loc[table["kind"] != "event", "scenario"]))
    names = list(dict.fromkeys(events["lane"]))
    if len(names) > _MOST_LANES:
        events["lane"] = "events"
        names = ["events"]
    lanes = [_lane(scenario) for scenario in scenarios] + names
    traces: list[go.Scatter] = [_journeys(table, scenario, lanes) for scenario in scenarios]
    for kind, name, color, symbol in (
        ("mail", "mail sent", BLUE, "square"),
        ("no mail", "mail not sent", AFTER_OFFER, "x"),
    ):
        rows = table[table["kind"] == kind]
        if len(rows):
            traces.append(_marks(rows, rows["scenario"].map(_lane), name, color, symbol, size=12))
    marked = _fewer(events)
    traces.append(_marks(marked, marked["lane"], "event", _EVENT, "circle", size=8))
    mails = int((table["kind"] == "mail").sum())
    days = (table["local"].max() - table["local"].min()).days + 1 if len(table) else 0
    said = f"{counted(len(events), 'event')}, {counted(mails, 'mail')}"
    near = _near(table)
    figure = drawn(
        traces,
        title=f"{html.escape(label_lines(trace.customer_id, width=40, most=1))}: {said} in {counted(days, 'day')}",
        subtitle=f"local time, {trace.timezone}"
        + (" · zoomed to the journeys, double-click shows all" if near else ""),
        label="exact",
        height=210 + 34 * max(2, len(lanes)),
    )
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=lanes[::-1],
        tickvals=lanes,
        ticktext=[label_lines(lane, most=1) for lane in lanes],
        range=[-0.6, len(lanes) - 0.4],
        showgrid=True,
        gridcolor=GRID,
        zeroline=False,
    )
    figure.update_xaxes(tickformatstops=MOMENTS)
    if scenarios and names:
        figure.add_hline(y=len(names) - 0.5, line={"color": GRID, "width": 2})
    if len(table) and (near or table["local"].max() - table["local"].min() < _SHORTEST):
        half = _SHORTEST / 2
        figure.update_xaxes(range=near or [table["local"].min() - half, table["local"].max() + half])
    return add_units(figure, x=f"local time ({trace.timezone})", y="")


def _near(table: pd.DataFrame) -> list[pd.Timestamp] | None:
    """The stretch around the journeys, where it is a small part of the whole."""
    mine = table.loc[table["kind"] != "event", "local"]
    if not len(mine):
        return None
    whole = table["local"].max() - table["local"].min()
    part = mine.max() - mine.min()
    air = max(part * 0.08, pd.Timedelta(hours=6))
    return [mine.min() - air, mine.max() + air] if part + 2 * air < whole * 0.6 else None


def _lane(scenario: str) -> str:
    return scenario.replace("_", " ") + " ▸"


def _journeys(table: pd.DataFrame, scenario: str, lanes: list[str]) -> go.Scatter:
    """A bar from the beginning of each journey to its end."""
    rows = table[(table["kind"] == "journey") & (table["scenario"] == scenario)]
    x: list[pd.Timestamp | None] = []
    said: list[str | None] = []
    for moment, what in zip(rows["local"].tolist(), rows["what"].astype(str), strict=True):
        x.append(pd.Timestamp(moment))
        said.append(_text(what))
        if not what.startswith(f"{scenario} begins"):
            x.append(None)
            said.append(None)
    return go.Scatter(
        x=x,
        y=[None if moment is None else _lane(scenario) for moment in x],
        mode="lines+markers",
        name="journey",
        legendgroup="journey",
        showlegend=lanes.index(_lane(scenario)) == 0,
        line={"color": "rgba(86,180,233,.55)", "width": 7},
        marker={"size": 7, "color": "#56B4E9"},
        text=said,
        hovertemplate="%{x|%a %-d %b %Y %H:%M}<br>%{text}<extra></extra>",
        connectgaps=False,
    )


def _fewer(events: pd.DataFrame) -> pd.DataFrame:
    """Of very many events one mark for all that a lane has in each thousandth of the time: they lie on one another."""
    if len(events) <= _MOST_MARKS:
        return events
    since = events["local"] - events["local"].min()
    whole = max(since.max(), pd.Timedelta(1, unit="us"))
    together = events.groupby(["lane", (since / whole * 1000).astype(int)], sort=False)
    marks = together.head(1).copy()
    counts = together["what"].transform("size").loc[marks.index]
    several = counts > 1
    marks.loc[several, "what"] = [
        f"{count:,} events, the first: {what}"
        for count, what in zip(counts[several], marks.loc[several, "what"], strict=True)
    ]
    return marks


def _marks(rows: pd.DataFrame, lanes: pd.Series, name: str, color: str, symbol: str, *, size: int) -> go.Scatter:
    return go.Scatter(
        x=rows["local"],
        y=lanes,
        mode="markers",
        name=name,
        marker={"color": color, "symbol": symbol, "size": size, "line": {"width": 1, "color": "rgba(255,255,255,.7)"}},
        text=[_text(str(what)) for what in rows["what"]],
        hovertemplate="%{x|%a %-d %b %Y %H:%M}<br>%{text}<extra></extra>",
    )


def _text(what: str) -> str:
    return "<br>".join(textwrap.wrap(html.escape(what), 70))
