"""The picture of people who buy on their own, beside the moment of the mail."""

from __future__ import annotations

import math
from itertools import pairwise

import plotly.graph_objects as go

from toolkit.charts.given import check_given
from toolkit.charts.style import (
    AFTER_MAIL,
    AFTER_OFFER,
    BEFORE,
    INK,
    add_units,
    drawn,
    emptied,
    fitting,
    hours_text,
    share_text,
    whole,
)
from toolkit.engine.own_purchases import EDGES, OwnPurchases

__all__ = ["PHASES", "own_chart", "place_of", "whose"]

PHASES = {
    "before": ("before the mail", BEFORE),
    "after_mail": ("after the mail, anyway", AFTER_MAIL),
    "after_offer": ("after the offer, anyway", AFTER_OFFER),
}


def own_chart(own: OwnPurchases) -> go.Figure:
    """When people who buy on their own do so, in stretches of time since the trigger.

    Args:
        own: from `own_purchases`.

    Returns:
        A figure, observed.
    """
    check_given(own, OwnPurchases, name="own", giver="own_purchases")
    counts = own.counts()
    stretches = [f"{hours_text(low)} to {hours_text(high)}" for low, high in pairwise(EDGES)]
    phases = {key: value for key, value in PHASES.items() if own.offer is not None or key != "after_offer"}
    total = counts[list(PHASES)].sum(axis=1)
    figure = drawn(
        [
            go.Bar(
                x=[place + 0.5 for place in range(len(counts))],
                y=counts[phase],
                name=name,
                marker={"color": color, "cornerradius": 2},
                width=0.9,
                customdata=stretches,
                hovertemplate="%{customdata} after<br><b>%{y:,} bought</b><extra>%{fullData.name}</extra>",
            )
            for phase, (name, color) in phases.items()
        ],
        title=_said(own),
        subtitle=f"{own.scenario.replace('_', ' ')} · {whose(own.basis)}",
        label="observed",
        barmode="stack",
    )
    if not total.any():
        return emptied(figure)
    figure.update_xaxes(
        range=[0, len(counts)],
        tickvals=list(range(len(EDGES))),
        ticktext=["0", *(hours_text(edge).replace(" min", "m").replace(" ", "") for edge in EDGES[1:])],
        autotickangles=[0, 45, 90],
    )
    figure.update_yaxes(range=fitting(total), **whole(max(total, default=0)))
    for lag, name in zip(own.lags, ("mail", "offer"), strict=True):
        if math.isnan(lag) or (name == "offer" and lag <= own.lags[0]):
            continue
        figure.add_vline(
            x=place_of(lag), line={"color": INK, "width": 1.5, "dash": "solid" if name == "mail" else "dot"}
        )
        figure.add_annotation(
            x=place_of(lag),
            y=1,
            yref="paper",
            yanchor="top",
            xanchor="left" if place_of(lag) < len(counts) - 3 else "right",
            xshift=4 if place_of(lag) < len(counts) - 3 else -4,
            text=f"<b>{name}</b> {hours_text(lag) if lag else 'at once'}",
            showarrow=False,
            font={"size": 12, "color": INK},
        )
    return add_units(figure, x="time since the trigger (uneven steps)", y="journeys with a purchase")


def place_of(hours: float) -> float:
    """Where a time since the trigger stands on the uneven axis.

    >>> place_of(0), place_of(4), place_of(6)
    (0.0, 5.0, 5.5)
    """
    for place, (low, high) in enumerate(pairwise(EDGES)):
        if hours <= high:
            return place + (hours - low) / (high - low)
    return float(len(EDGES) - 1)


def whose(basis: str) -> str:
    """Whose purchases these are, in words; the basis is that of `OwnPurchases`."""
    if basis == "control":
        return "the control group, who got no mail"
    if basis == "all":
        return "everyone, in a log without these mails"
    return "cannot be seen in this log"


def _said(own: OwnPurchases) -> str:
    if own.basis == "none":
        return "The log holds these mails and no control group: what people do on their own cannot be seen"
    if not own.mails and not own.before:
        return "Nobody came to the mail early enough in this log to see what followed"
    before, after = share_text(own.before_rate), share_text(own.after_rate)
    return f"{before} buy before the mail; after it, {after} would have bought anyway"
