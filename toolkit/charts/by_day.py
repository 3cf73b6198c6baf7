"""How lift developed: day by day the difference with a band that holds on all days together, and the plan's looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.charts.given import check_given, check_metric
from toolkit.charts.style import BLUE, DAYS, HOUSE, INK, interval_bar, label_lines, say, unit_of
from toolkit.charts.themed import Themed
from toolkit.charts.vector import Axes, fit_name, fit_text, nice_steps, shape, svg, text_width, words
from toolkit.readable import day_text, minus
from toolkit.stats import LiftByDay
from toolkit.stats.by_day import Mark
from toolkit.stats.comparison import Comparison
from toolkit.stats.verdict import amount

__all__ = ["days_said", "days_svg", "lift_days"]

_MOST = 8  # arms that are drawn
_WIDEST = 3.0  # a band is drawn as far as so many times its last width; the first days' leaves the picture
_BAND = "rgba(0,114,178,.26)"
_HIGH = 150.0  # pixels of an arm on a screen
_DAY_WIDE = 62.0  # pixels for the name of a day


@dataclass(frozen=True, slots=True)
class _Course:
    """One arm on one metric."""

    arm: str
    days: Sequence[pd.Timestamp]
    found: Sequence[Comparison]
    marks: Sequence[tuple[Mark, Comparison]]

    @property
    def last(self) -> Comparison:
        return self.found[-1]

    @property
    def scale(self) -> float:
        return 100.0 if self.last.kind == "rate" else 1.0

    def drawn(self) -> list[tuple[pd.Timestamp, Comparison]]:
        return [(day, one) for day, one in zip(self.days, self.found, strict=True) if one.defined]


def _courses(by_day: LiftByDay, metric: str | None) -> list[_Course]:
    check_given(by_day, LiftByDay, name="by_day", giver="toolkit.stats.lift_by_day")
    last = by_day.days[-1].comparisons
    names = list(dict.fromkeys(one.metric for one in last))
    check_metric(metric, names)
    chosen = metric or next((one.metric for one in last if one.role == "primary"), names[0])
    at = [place for place, one in enumerate(last) if one.metric == chosen][:_MOST]
    days = [one.day for one in by_day.days]
    return [
        _Course(
            last[place].arm,
            days,
            [one.comparisons[place] for one in by_day.days],
            [(mark, mark.comparisons[place]) for mark in by_day.marks if mark.comparisons[place].defined],
        )
        for place in at
    ]


def _span(courses: Sequence[_Course]) -> tuple[float, float]:
    """The ends of the scale, the same for all arms: bands of the first days, far wider than the last, are cut."""
    low, high = 0.0, 0.0
    for course in courses:
        drawn = [one for _, one in course.drawn()]
        widths = [one.diff_upper - one.diff_lower for one in drawn if math.isfinite(one.diff_upper - one.diff_lower)]
        least = min(widths, default=0.0)
        told = [one for one in drawn if one.diff_upper - one.diff_lower <= _WIDEST * least]
        told += [one for _, one in course.marks]
        ends = [end for one in told for end in (one.diff_lower, one.diff, one.diff_upper) if math.isfinite(end)]
        scaled = [end * course.scale for end in ends or [one.diff for one in drawn]]
        low, high = min([low, *scaled]), max([high, *scaled])
    air = 0.06 * ((high - low) or 1.0)
    return low - air, high + air


def _excludes(one: Comparison) -> bool:
    return one.defined and (one.diff_lower > 0 or one.diff_upper < 0)


def _since(course: _Course) -> pd.Timestamp | None:
    """The first day of those without a break up to the last on which the band leaves out no difference."""
    found = None
    for day, one in zip(reversed(course.days), reversed(course.found), strict=True):
        if not _excludes(one):
            break
        found = day
    return found


def days_said(by_day: LiftByDay, *, metric: str | None = None) -> str:
    """What is seen, as a sentence.

    Args:
        by_day: from `lift_by_day`.
        metric: one metric; the first primary one unless given.

    Raises:
        InputError: no such metric.
    """
    courses = _courses(by_day, metric)
    name = courses[0].last.metric
    told = []
    for course in courses:
        since = _since(course)
        if since is not None:
            side = "above" if course.last.diff > 0 else "below"
            told.append(f"{course.arm} has been {side} no difference since {day_text(since, '%b')}")
    if not any(course.drawn() for course in courses):
        return f"On {name} no day has a number yet"
    if not told:
        return f"On {name} no band has left the line of no difference"
    return f"On {name} the band of {' and that of '.join(told)}"


def _details(by_day: LiftByDay) -> str:
    many = len({one.arm for one in by_day.days[-1].comparisons})
    kept = f"{_MOST} of {many} arms · " if many > _MOST else ""
    window = f"within {by_day.window} of entry · " if by_day.window != "0s" else ""
    zone = f" ({by_day.zone})" if by_day.zone != "UTC" else ""
    return (
        f"{kept}{window}people count from the day their window closed{zone} · band: {100 * (1 - by_day.alpha):g}% on "
        "all days together, each arm by itself"
    )


def lift_days(by_day: LiftByDay, *, metric: str | None = None) -> go.Figure:
    """The difference of every arm from control, day by day, with the band that holds on all days together.

    Args:
        by_day: from `lift_by_day`.
        metric: one metric; the first primary one unless given.

    Returns:
        A figure, observed. Looks of the plan, or its end, are marks with the interval that decides there.

    Raises:
        InputError: no such metric.
    """
    courses = _courses(by_day, metric)
    low, high = _span(courses)
    reach = (low - (high - low), high + (high - low))
    figure = make_subplots(
        figure=Themed(),
        rows=len(courses),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.16 / len(courses),
        subplot_titles=[label_lines(course.arm, width=48, most=1) for course in courses],
    )
    for row, course in enumerate(courses, start=1):
        for trace in _traces(course, by_day, reach, first=row == 1):
            figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(range=[low, high], zeroline=True, zerolinecolor=INK, zerolinewidth=1.5, row=row, col=1)
    last = courses[0].last
    titles, room = say(
        days_said(by_day, metric=metric),
        _details(by_day),
        "observed" if "not" in by_day.label else "observed, randomised",
    )
    height = room + 60 + 190 * len(courses)
    figure.update_layout(
        template=HOUSE,
        title=titles,
        height=height,
        margin={"l": 12, "r": 16, "t": room + 54, "b": 12},
        hovermode="x",
        legend={"xref": "container", "x": 0.006, "yref": "container", "y": 1 - (room - 6) / height, "yanchor": "top"},
    )
    figure.update_annotations(font={"size": 13, "color": INK}, x=0, xanchor="left")
    figure.update_xaxes(tickformat=DAYS, showgrid=False)
    unit = unit_of(last.kind, last.currency, by_day.unit)
    figure.update_yaxes(title_text=f"difference{unit}", row=(len(courses) + 1) // 2, col=1)
    return figure


def _traces(course: _Course, by_day: LiftByDay, reach: tuple[float, float], *, first: bool) -> list[go.Scatter]:
    drawn, scale = course.drawn(), course.scale
    days = [_date(day) for day, _ in drawn]
    lower = [max(one.diff_lower * scale, reach[0]) for _, one in drawn]
    upper = [min(one.diff_upper * scale, reach[1]) for _, one in drawn]
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": "band"}
    line = go.Scatter(
        x=days,
        y=[one.diff * scale for _, one in drawn],
        mode="lines" if len(days) > 1 else "markers",
        line={"color": BLUE, "width": 2.5},
        marker={"color": BLUE, "size": 8},
        name="difference so far",
        legendgroup="line",
        legendrank=1,
        showlegend=first,
        customdata=[[_told(one), f"{one.n:,}", f"{one.n_control:,}"] for _, one in drawn],
        hovertemplate=(
            f"{course.arm}<br><b>%{{customdata[0]}}</b><br>%{{customdata[1]}} and %{{customdata[2]}} "
            f"{by_day.unit}s<extra></extra>"
        ),
    )
    traces = [
        go.Scatter(x=days, y=lower, showlegend=False, **edge),
        go.Scatter(
            x=days,
            y=upper,
            fill="tonexty",
            fillcolor=_BAND,
            name="band that holds on all days",
            showlegend=first,
            **edge,
        ),
        line,
    ]
    if course.marks:
        found = [one for _, one in course.marks]
        ends = [(max(one.diff_lower * scale, reach[0]), min(one.diff_upper * scale, reach[1])) for one in found]
        values = [one.diff * scale for one in found]
        traces.append(
            go.Scatter(
                x=[_date(mark.at) for mark, _ in course.marks],
                y=values,
                mode="markers",
                marker={"symbol": "square", "size": 9, "color": INK},
                error_y=interval_bar(values, *zip(*ends, strict=True), color=INK, thickness=2, width=6),
                name=_marked(by_day),
                legendgroup="marks",
                showlegend=first,
                customdata=[[f"{mark.time:.0%}", _told(one)] for mark, one in course.marks],
                hovertemplate=(
                    "at %{customdata[0]} of the plan<br><b>%{customdata[1]}</b><extra>what the plan decides by</extra>"
                ),
            )
        )
    return traces


def _marked(by_day: LiftByDay) -> str:
    return "planned end" if by_day.is_one_look else "looks of the plan"


def _told(one: Comparison) -> str:
    if math.isinf(one.diff_lower) and math.isinf(one.diff_upper):
        return f"{amount(one.diff, one, signed=True)} [too early for an interval]"
    ends = ", ".join(amount(end, one, bare=True) for end in (one.diff_lower, one.diff_upper))
    return f"{amount(one.diff, one, signed=True)} [{ends}]"


def days_svg(by_day: LiftByDay, *, metric: str | None = None, width: float = 760.0) -> str:
    """The same as plain SVG, for a screen.

    Args:
        by_day: from `lift_by_day`.
        metric: one metric; the first primary one unless given.
        width: of the picture, pixels.

    Returns:
        SVG.

    Raises:
        InputError: no such metric.
    """
    courses = _courses(by_day, metric)
    low, high = _span(courses)
    unit = {"rate": " points", "time": " days"}.get(courses[0].last.kind, "")
    steps = nice_steps(low, high, 4)
    ticks = [(step, minus(f"{step:+,g}") if step else "0") for step in steps]
    left = max(46.0, 14 + max((text_width(text, 12) for _, text in ticks), default=0.0))
    days = [day for day, _ in _numbered(courses[0].days)]
    parts: list[str] = []
    top = 0.0
    for course in courses:
        axes = Axes(width, _HIGH, (days[0], max(days[-1], days[0] + 1)), (low, high), left=left, top=34, bottom=26)
        inner = axes.frame(x_ticks=_dates(course.days, axes), y_ticks=ticks)
        numbered = _numbered([day for day, _ in course.drawn()])
        found = [(at, one) for (at, _), (_, one) in zip(numbered, course.drawn(), strict=True)]
        scale = course.scale
        inner.append(
            axes.band([(at, max(one.diff_lower * scale, low), min(one.diff_upper * scale, high)) for at, one in found])
        )
        zero = axes.at_y(0)
        inner.append(shape("line", x1=left, x2=width - axes.right, y1=zero, y2=zero, class_="ttk-zero"))
        inner.append(axes.line([(at, min(max(one.diff * scale, low), high)) for at, one in found]))
        for mark, one in course.marks:
            inner += _marked_at(axes, mark, one, scale, (low, high))
        said = _told(course.last) if course.last.defined else course.last.note or "no number"
        room = width - text_width(said, 12.5) - 24
        inner.append(words(2, 16, fit_name(course.arm, max(80.0, room), 13), class_="ttk-strong"))
        inner.append(words(width - 2, 16, fit_text(said, width - 90), anchor="end"))
        parts.append(shape("g", *inner, transform=f"translate(0 {top:.0f})"))
        top += _HIGH + 8
    said = f"{days_said(by_day, metric=metric)}; differences in{unit or ' the unit of the metric'}"
    return svg(width, top, *parts, label=said)


def _date(moment: pd.Timestamp) -> pd.Timestamp:
    """The day of a moment on the clock of its own zone, as a day of UTC: days of a picture are equally long."""
    return moment.tz_localize(None).floor("D").tz_localize("UTC")


def _numbered(days: Sequence[pd.Timestamp]) -> list[tuple[float, pd.Timestamp]]:
    return [(_date(day).timestamp() / 86_400, day) for day in days]


def _dates(days: Sequence[pd.Timestamp], axes: Axes) -> list[tuple[float, str]]:
    """Days that stand below the axis, as many as have room."""
    room = max(2, int((axes.width - axes.left - axes.right) / _DAY_WIDE))
    apart = max(1, math.ceil(len(days) / room))
    return [(at, day_text(day, "%b")) for at, day in _numbered(days)[::apart]]


def _marked_at(axes: Axes, mark: Mark, one: Comparison, scale: float, ends: tuple[float, float]) -> list[str]:
    """A look of the plan: its difference as a square, its interval as a line with an end where it has one."""
    x = axes.at_x(max(_date(mark.at).timestamp() / 86_400, axes.x[0]))
    low, high = max(one.diff_lower * scale, ends[0]), min(one.diff_upper * scale, ends[1])
    ink = "var(--ink,#5a6272)"
    parts = [shape("line", x1=x, x2=x, y1=axes.at_y(low), y2=axes.at_y(high), stroke=ink, stroke_width=2)]
    parts += [
        shape("line", x1=x - 4, x2=x + 4, y1=axes.at_y(end), y2=axes.at_y(end), stroke=ink, stroke_width=2)
        for end, own in ((low, one.diff_lower), (high, one.diff_upper))
        if end == own * scale
    ]
    parts.append(shape("rect", x=x - 4, y=axes.at_y(one.diff * scale) - 4, width=8, height=8, fill=ink))
    title = shape("title", f"at {mark.time:.0%} of the plan: {_told(one)}")
    return [shape("g", title, *parts)]
