"""The sequential boundary: what an effect needs at each look, and where today's effects stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from toolkit.charts.given import check_given
from toolkit.charts.style import INK, MAILS, add_units, drawn, label_lines
from toolkit.errors import InputError
from toolkit.stats import Result
from toolkit.stats.comparison import Comparison
from toolkit.stats.looks import Looks

__all__ = ["boundary"]

_HIGHEST = 5.5  # of |z| that is drawn
_FAMILIES = {
    "obrien_fleming": "O'Brien-Fleming",
    "pocock": "Pocock",
    "hwang_shih_decani": "Hwang-Shih-DeCani",
    "kim_demets": "Kim-DeMets",
}


def boundary(result: Result, *, earlier: Sequence[Result] = ()) -> go.Figure:
    """Each primary comparison as a z-value against the boundary of the looks.

    Args:
        result: from `experiment` with looks, or with a design that plans several.
        earlier: the results of earlier looks, in order, to draw the path that led here.

    Returns:
        A figure, observed. Above the upper line an arm is surely better, below the lower line surely worse.

    Raises:
        InputError: the result was made without looks, or an earlier one was.
    """
    results = [*earlier, result]
    for each in results:
        check_given(each, Result, name="boundary", giver="tk.experiment")
    for at, made in enumerate(results, start=1):
        if made.look is None or made.looks is None:
            raise InputError(
                f"boundary: result {at} of {len(results)} was made without looks; pass looks=Looks(planned=...) to"
                " experiment, or a design that plans several"
            )
    if result.looks is None or result.look is None:
        raise InputError("boundary: the result was made without looks")
    look = result.look
    line = _line(result.looks, result)
    upper = [min(bound, _HIGHEST) for _, bound in line]
    shares = [time for time, _ in line]
    traces: list[go.Scatter] = [
        go.Scatter(
            x=shares,
            y=[sign * bound for bound in upper],
            mode="lines+markers",
            line={"color": INK, "width": 1.5, "dash": "dot"},
            marker={"size": 5, "color": INK},
            name="surely better above" if sign > 0 else "surely worse below",
            hovertemplate="at %{x:.0%} of the plan<br>|z| needed: %{customdata:.2f}<extra></extra>",
            customdata=[bound for _, bound in line],
            showlegend=False,
        )
        for sign in (1, -1)
    ]
    primary = [one for one in result.comparisons if one.role == "primary" and np.isfinite(one.z)]
    for place, one in enumerate(primary):
        path = [(r.look.time if r.look else 0.0, _same(r, one).z) for r in results]
        sure = one.sure(result.alpha)
        color = MAILS[place % len(MAILS)]
        traces.append(
            go.Scatter(
                x=[time for time, _ in path],
                y=[float(np.clip(z, -_HIGHEST - 0.3, _HIGHEST + 0.3)) for _, z in path],
                mode="lines+markers",
                line={"color": color, "width": 2},
                marker={
                    "size": [7] * (len(path) - 1) + [12],
                    "color": color if sure else "rgba(0,0,0,0)",
                    "line": {"color": color, "width": 2.5},
                },
                name=label_lines(f"{one.arm}, {one.metric}", width=36, most=1),
                customdata=[z for _, z in path],
                hovertemplate="at %{x:.0%} of the plan<br><b>z = %{customdata:.2f}</b><extra>%{fullData.name}</extra>",
            )
        )
    figure = drawn(
        traces,
        title=_said(result, primary),
        subtitle=f"{_method(look.method)} · {100 * (1 - result.alpha):g}% over all looks · filled: established",
        label="observed",
        height=420,
    )
    figure.update_xaxes(tickformat=".0%", range=[0, max(1.0, *shares) * 1.04], showgrid=False)
    figure.update_yaxes(range=[-_HIGHEST - 0.4, _HIGHEST + 0.4], zeroline=True, rangemode="normal")
    figure.add_annotation(
        x=shares[-1],
        y=upper[-1],
        text="surely better",
        showarrow=False,
        yshift=14,
        xanchor="right",
        font={"color": INK},
    )
    figure.add_annotation(
        x=shares[-1],
        y=-upper[-1],
        text="surely worse",
        showarrow=False,
        yshift=-14,
        xanchor="right",
        font={"color": INK},
    )
    return add_units(figure, x="units so far, as a share of the plan", y="effect in standard errors (z)")


def _line(looks: Looks, result: Result) -> list[tuple[float, float]]:
    """Times and bounds of the looks taken, and of those that a plan still holds."""
    look = result.look
    if look is None:
        return []
    ahead = [time for time in (result.design.looks if result.design else (1.0,)) if time > look.time + 1e-9]
    if looks.spending == "always":
        times = sorted({*(step / 40 for step in range(2, 41)), *look.times, 1.0})
        return [(time, Looks(looks.planned, (), looks.spending).at(time * looks.planned, alpha=result.alpha).bound)
                for time in times]  # fmt: skip
    full = Looks(looks.planned, [time * looks.planned for time in (*look.times, *ahead)][:-1], looks.spending)
    last = (*look.times, *ahead)[-1] * looks.planned
    whole = full.at(last, alpha=result.alpha)
    return list(zip(whole.times, whole.bounds, strict=True))


def _method(text: str) -> str:
    for family, called in _FAMILIES.items():
        text = text.replace(family, called)
    return text


def _same(result: Result, asked: Comparison) -> Comparison:
    for one in result.comparisons:
        if (one.metric, one.arm) == (asked.metric, asked.arm):
            return one
    raise InputError(f"boundary: an earlier result has no comparison of {asked.arm} on {asked.metric}")


def _said(result: Result, primary: Sequence[Comparison]) -> str:
    look = result.look
    if not primary or look is None:
        return "No primary effect can be drawn: its numbers are undefined"
    share = f"{look.time:.0%} of the plan"
    sure = [one for one in primary if one.sure(result.alpha)]
    if not sure and any(abs(one.z) >= look.bound for one in primary):
        together = f": the {len(primary)} comparisons count together" if len(primary) > 1 else ""
        return f"At {share} nothing is established yet{together}"
    if not sure:
        return f"At {share} no boundary is crossed: keep looking as planned"
    better = [one for one in sure if one.improved]
    best = better[0] if better else sure[0]
    return f"At {share} {best.arm} is surely {'better' if better else 'worse'} than {result.control} on {best.metric}"
