"""The picture of a difference: mails gained, lost, moved and changed, by mail."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from toolkit.charts.style import BLUE, GREEN, MAILS, VERMILLION, add_units, drawn, emptied, label_lines, whole, words_on
from toolkit.engine import CHANGES, Difference
from toolkit.readable import counted

__all__ = ["difference_chart"]

_COLORS = {"gained": GREEN, "lost": VERMILLION, "moved": BLUE, "changed": MAILS[1]}


def difference_chart(difference: Difference) -> go.Figure:
    """One bar per mail of the program: what it gains to the right, what it loses to the left.

    Args:
        difference: what `Run.diff` gave.

    Returns:
        A figure, exact.
    """
    table = difference.table
    single = table["scenario"].nunique() == 1
    mails = (table["step"] if single else table["scenario"] + " · " + table["step"]).str.replace("_", " ")
    order = list(dict.fromkeys(mails))[::-1]
    traces = []
    for change in CHANGES:
        counts = table.loc[table["change"] == change, "mails"].groupby(mails).sum().reindex(order).dropna()
        people = table.loc[table["change"] == change, "customers"].groupby(mails).sum().reindex(counts.index)
        if len(counts):
            sign = -1 if change == "lost" else 1
            traces.append(
                go.Bar(
                    x=sign * counts.to_numpy(),
                    y=counts.index,
                    orientation="h",
                    name=change,
                    marker={"color": _COLORS[change], "cornerradius": 2},
                    text=[f"{count:,.0f}" for count in counts],
                    textposition="inside",
                    textangle=0,
                    insidetextanchor="middle",
                    textfont={"color": words_on(_COLORS[change])},
                    customdata=people.to_numpy(),
                    hovertemplate=(
                        f"%{{y}}<br><b>%{{text}} mails {change}</b> of %{{customdata:,}} people<extra></extra>"
                    ),
                )
            )
    sums = {change: int(table.loc[table["change"] == change, "mails"].sum()) for change in CHANGES}
    told = [f"{count:,} {change}" for change, count in sums.items() if count]
    first, *rest = told or [""]
    alone, rows = _alone(difference.settings)
    settings = [f"{str(row['path']).replace('_', ' ')} {row['before']} → {row['after']}" for row in rows[:3]]
    more = len(rows) - len(settings)
    figure = drawn(
        traces,
        title=", ".join([first.replace(" ", f" mail{'s' if not first.startswith('1 ') else ''} "), *rest])
        if told
        else "Not one mail differs",
        subtitle="; ".join(
            [*alone, *settings, *([f"{more} more"] if more > 0 else []), f"{difference.same:,} mails the same"]
        ),
        label="exact",
        height=170 + 46 * max(1, len(order)),
        legend=len(traces) > 0,
        barmode="relative",
        bargap=0.35,
    )
    if not traces:
        return emptied(figure, "both send the same mails")
    highest = max((abs(float(count)) for trace in traces for count in trace.x), default=0.0)
    figure.update_xaxes(showgrid=True, zeroline=True, **whole(highest))
    return add_units(figure, x="lost ← mails → gained, moved or changed", y="").update_yaxes(
        tickvals=order,
        ticktext=[label_lines(name) for name in order],
        showgrid=False,
        rangemode="normal",
    )


def _alone(settings: pd.DataFrame) -> tuple[list[str], list[dict[Any, Any]]]:
    """How many scenarios only one of the two programs has, in words; and the settings that differ of all others."""
    of = settings["path"].astype(str).str.split(".").str[0]
    only: dict[str, set[str]] = {}
    for side, other in (("before", "after"), ("after", "before")):
        has_none = settings[other].isna() & settings["path"].astype(str).str.endswith(".priority")  # which each has
        only[side] = set(of[has_none])
    said = [f"{counted(len(names), 'scenario')} only {side}" for side, names in only.items() if names]
    return said, settings[~of.isin(set.union(*only.values()))].to_dict("records")
