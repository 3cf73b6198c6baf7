"""The forest plot of an experiment: every arm against control, with its interval and the line of no difference."""

from __future__ import annotations

import math
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.charts.given import check_given, check_metric
from toolkit.charts.style import BLUE, GREEN, HOUSE, INK, VERMILLION, interval_bar, label_lines, say, unit_of
from toolkit.charts.themed import Themed
from toolkit.charts.vector import text_width
from toolkit.stats import Result
from toolkit.stats.comparison import Comparison
from toolkit.stats.verdict import amount

__all__ = ["forest"]

_BETWEEN = 78  # pixels between two panels
_AXIS_LINE = 38  # letters of the name of an axis: it fits a phone
_LINE = 62  # letters of a note that stand side by side
_MOST_NAMED = 4  # arms that a title can name


def forest(result: Result, *, metric: str | None = None) -> go.Figure:
    """Lift of every arm, one panel for each metric, since metrics differ in unit.

    Args:
        result: from `experiment`.
        metric: one metric; all unless given.

    Returns:
        A figure, observed: randomised, or plainly not.

    Raises:
        InputError: no such metric.
    """
    check_given(result, Result, name="result", giver="tk.experiment")
    names = list(dict.fromkeys(found.metric for found in result.comparisons))
    check_metric(metric, names)
    panels = [metric] if metric else names
    arms = list(dict.fromkeys(found.arm for found in result.comparisons))
    height_of = 40 * len(arms) + _BETWEEN
    figure = make_subplots(
        figure=Themed(),
        rows=len(panels),
        cols=1,
        vertical_spacing=_BETWEEN / (height_of * len(panels)) if len(panels) > 1 else 0,
    )
    for row, name in enumerate(panels, start=1):
        found = [one for one in result.comparisons if one.metric == name]
        _panel(figure, found, row, arms, result)
    titles, room = say(
        _said(result, panels), _details(result), "observed" if "not" in result.label else "observed, randomised"
    )
    figure.update_layout(
        template=HOUSE,
        title=titles,
        height=room + 30 + height_of * len(panels),
        margin={"l": 12, "r": _beside(result, panels), "t": room + 22, "b": 12},
        showlegend=False,
    )
    return figure


def _beside(result: Result, metrics: list[str]) -> int:
    """Pixels for the numbers beside the plot."""
    told = [_interval(one) for one in result.comparisons if one.defined and one.metric in metrics]
    return max([140, *(round(1.1 * text_width(f"[{words.split(' [')[1]}", 12)) + 20 for words in told)])


def _panel(figure: go.Figure, found: list[Comparison], row: int, arms: list[str], result: Result) -> None:
    """One metric: a mark with its interval for each arm, the numbers beside it."""
    scale = 100.0 if found[0].kind == "rate" else 1.0
    unit = unit_of(found[0].kind, found[0].currency, result.unit)
    axis = row if row > 1 else ""
    for one in found:
        beside: dict[str, Any] = {"y": one.arm, "yref": f"y{axis}", "xanchor": "left", "align": "left"}
        if not one.defined:
            text = "<br>".join(wrap(f"no number: {one.note.split(';')[0]}", _LINE))
            font = {"size": 12, "color": INK}
            figure.add_annotation(x=0, xref=f"x{axis} domain", text=text, showarrow=False, font=font, **beside)
            continue
        figure.add_trace(_mark(one, scale, result), row=row, col=1)
        diff, interval = _interval(one).split(" [")
        text = f"<b>{diff}</b><br><span style='font-size:11.5px'>[{interval}</span>"
        font = {"size": 13, "color": INK}
        figure.add_annotation(x=1.015, xref="paper", text=text, showarrow=False, font=font, **beside)
    any_defined = any(one.defined for one in found)
    ends = [end * scale for one in found if one.defined for end in (one.diff_lower, one.diff, one.diff_upper)]
    ends = [end for end in ends if math.isfinite(end)] or [-1.0, 1.0]
    low, high = min(0.0, *ends), max(0.0, *ends)
    air = 0.06 * (high - low or 1.0)
    figure.update_xaxes(
        range=[low - air, high + air],
        title_text="<br>".join(wrap(f"{found[0].metric}: difference from {result.control}{unit}", _AXIS_LINE)),
        zeroline=any_defined,
        zerolinewidth=1.5,
        zerolinecolor=INK,
        showgrid=any_defined,
        showticklabels=any_defined,
        row=row,
        col=1,
    )
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=arms[::-1],
        tickvals=arms,
        ticktext=[label_lines(arm) for arm in arms],
        range=[-0.6, len(arms) - 0.4],
        showgrid=False,
        zeroline=False,
        tickfont={"size": 13},
        row=row,
        col=1,
    )


def _mark(one: Comparison, scale: float, result: Result) -> go.Scatter:
    """A difference with its interval, filled and in colour where it is established."""
    sure = one.sure(result.alpha)
    color = (GREEN if one.improved else VERMILLION) if sure else BLUE
    value, lower, upper = (end * scale for end in (one.diff, one.diff_lower, one.diff_upper))
    return go.Scatter(
        x=[value],
        y=[one.arm],
        error_x=interval_bar([value], [lower], [upper], color=color, thickness=2.5, width=7),
        mode="markers",
        marker={
            "color": color,
            "size": 13,
            "symbol": "square" if sure else "square-open",
            "line": {"width": 2.5, "color": color},
        },
        hovertemplate=(
            f"{one.arm} against {result.control} on {one.metric}<br><b>{_interval(one)}</b><br>"
            f"p = {one.pvalue:.3g}; {one.n:,} and {one.n_control:,} {result.unit}s<extra></extra>"
        ),
    )


def _interval(one: Comparison) -> str:
    return f"{_amount(one.diff, one)} [{_amount(one.diff_lower, one)} to {_amount(one.diff_upper, one)}]"


def _amount(value: float, one: Comparison) -> str:
    """A difference with the digits that the verdict gives it; the unit of rates and days stands on the axis."""
    if math.isinf(value):
        return "unbounded"
    return amount(value, one, signed=True, bare=True)


def _said(result: Result, metrics: list[str]) -> str:
    """The sentence of the first metric: which arms are surely better or worse."""
    found = [one for one in result.comparisons if one.metric == metrics[0] and one.defined]
    better = [one.arm for one in found if one.improved and one.sure(result.alpha)]
    worse = [one.arm for one in found if not one.improved and one.sure(result.alpha)]
    parts = []
    if better:
        parts.append(f"{_listed(better)} {'beats' if len(better) == 1 else 'beat'} {result.control}")
    if worse:
        parts.append(f"{_listed(worse)} {'is' if len(worse) == 1 else 'are'} worse than {result.control}")
    if not parts:
        return f"No arm can be told apart from {result.control} on {metrics[0]}"
    return f"{' and '.join(parts)} on {metrics[0]}"


def _details(result: Result) -> str:
    window = f"within {result.window} of entry · " if result.window else ""
    told = result.label if "not" in result.label else f"{100 * (1 - result.alpha):g}% intervals"
    return f"{window}{told} · filled: surely different, all comparisons counted"


def _listed(names: list[str]) -> str:
    if len(names) > _MOST_NAMED:
        return f"{len(names)} arms"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
