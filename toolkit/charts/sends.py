"""When mails leave, by hour and by day, and why others do not. Exact."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from toolkit.charts.given import check_given
from toolkit.charts.style import (
    BLUE,
    DAYS,
    INK,
    MAILS,
    OTHERS,
    QUIET,
    add_units,
    drawn,
    emptied,
    fitting,
    label_lines,
    whole,
)
from toolkit.engine import Run
from toolkit.engine.doors import scenario_in
from toolkit.engine.sends import Clock, sends_table
from toolkit.events import EventLog
from toolkit.readable import day_text, reason_text
from toolkit.scenario import Program

__all__ = ["not_sent", "quiet_hours", "sends_by_day", "sends_by_hour", "span_text", "span_words"]

_MOST_BARS = 190


def sends_by_hour(run: Run, *, scenario: str | None = None, clock: Clock = "local") -> go.Figure:
    """At which hour of the day mails leave, with quiet hours shaded.

    Args:
        run: a replay.
        scenario: one scenario, drawn by mail; all, drawn by scenario, unless given.
        clock: `local`, each customer's own, or `utc`.

    Returns:
        A figure, exact.

    Raises:
        InputError: no such scenario, or another clock.
    """
    table = sends_table(run, scenario=scenario, clock=clock)
    hours = np.arange(24)
    counts = {mail: np.bincount(table.loc[table["mail"] == mail, "hour"], minlength=24) for mail in _order(run, table)}
    total = np.sum([np.zeros(24), *counts.values()], axis=0)
    counts = _fewer(counts, "scenarios" if scenario is None else "mails")
    quiet = quiet_hours(run.program, scenario) if clock == "local" else []
    figure = drawn(
        [
            go.Bar(
                x=hours + 0.5,
                y=count,
                name=label_lines(_words(mail), width=36, most=1),
                marker={"color": color, "cornerradius": 2},
                customdata=np.column_stack([hours, hours + 1]),
                hovertemplate=(
                    "%{customdata[0]:02d}:00 to %{customdata[1]:02d}:00<br><b>%{y:,} mails</b>"
                    "<extra>%{fullData.name}</extra>"
                ),
            )
            for (mail, count), color in zip(counts.items(), _colors(len(counts)), strict=True)
        ],
        title=_busiest(total, quiet),
        subtitle=f"{_whose(run, scenario)} · {_clock_words(clock)} · {span_text(run)}",
        label="exact",
        barmode="stack",
        legend=len(counts) > 1,
    )
    if not total.any():
        return emptied(figure)
    figure.update_xaxes(
        range=[0, 24], tickvals=list(range(0, 25, 3)), ticktext=[f"{hour:02d}:00" for hour in range(0, 25, 3)]
    )
    figure.update_yaxes(range=fitting(total), **whole(max(total, default=0)))
    _shade_quiet(figure, quiet)
    return add_units(figure, x=_clock_axis(clock), y="mails sent")


def sends_by_day(run: Run, *, scenario: str | None = None, clock: Clock = "local") -> go.Figure:
    """How many mails leave each day (each week where there are very many days).

    Args:
        run: a replay.
        scenario: one scenario, drawn by mail; all, drawn by scenario, unless given.
        clock: `local`, each customer's own, or `utc`.

    Returns:
        A figure, exact.

    Raises:
        InputError: no such scenario, or another clock.
    """
    table = sends_table(run, scenario=scenario, clock=clock)
    days = pd.date_range(table["day"].min(), table["day"].max()) if len(table) else pd.DatetimeIndex([])
    by_week = len(days) > _MOST_BARS
    if by_week:
        table["day"] -= pd.to_timedelta(table["day"].dt.dayofweek, unit="D")
        days = pd.DatetimeIndex(sorted(pd.date_range(table["day"].min(), table["day"].max(), freq="7D")))
    counts = {
        mail: table.loc[table["mail"] == mail, "day"].value_counts().reindex(days, fill_value=0)
        for mail in _order(run, table)
    }
    counts = _fewer(counts, "scenarios" if scenario is None else "mails")
    total = table["day"].value_counts().reindex(days, fill_value=0)
    unit = "week" if by_week else "day"
    title = "No mail was sent"
    if len(total):
        busiest = days[int(total.to_numpy().argmax())]
        title = (
            f"About {total.mean():,.0f} mails a {unit}; the most, {total.max():,}, "
            f"{'in the week of' if by_week else 'on'} {busiest:%a} {busiest.day} {busiest:%B %Y}"
        )
    figure = drawn(
        [
            go.Bar(
                x=count.index,
                y=count.to_numpy(),
                name=label_lines(_words(mail), width=36, most=1),
                marker={"color": color},
                hovertemplate="%{x|%a %-d %b %Y}<br><b>%{y:,} mails</b><extra>%{fullData.name}</extra>",
            )
            for (mail, count), color in zip(counts.items(), _colors(len(counts)), strict=True)
        ],
        title=title,
        subtitle=f"{_whose(run, scenario)} · {_clock_words(clock).replace('hours', 'days')} · {span_text(run)}",
        label="exact",
        barmode="stack",
        bargap=0.06,
        legend=len(counts) > 1,
    )
    if not len(total):
        return emptied(figure)
    figure.update_xaxes(tickformat=DAYS)
    figure.update_yaxes(range=fitting(total), **whole(max(total, default=0)))
    return add_units(figure, x="local day" if clock == "local" else "UTC day", y=f"mails sent a {unit}")


def not_sent(run: Run, *, scenario: str | None = None) -> go.Figure:
    """Why mails were not sent: one bar for each reason.

    Args:
        run: a replay.
        scenario: one scenario; all unless given.

    Returns:
        A figure, exact.

    Raises:
        InputError: no such scenario.
    """
    check_given(run, Run, name="run", giver="tk.replay")
    table, reasons = run.summary().table, run.summary().reasons
    if scenario is not None:
        scenario_in(run.compiled.scenarios, scenario)
        table, reasons = (one[one["scenario"] == scenario] for one in (table, reasons))
    reached = int(table[["sent", "withheld", "skipped"]].to_numpy().sum())
    counts = reasons.groupby("reason")["mails"].sum().sort_values(kind="stable")
    labels = [reason_text(str(reason)) for reason in counts.index]
    title = "Every mail that came to its moment was sent"
    if len(counts):
        title = f"{int(counts.sum()):,} of {reached:,} mails were not sent; most often: {labels[-1]}"
    figure = drawn(
        [
            go.Bar(
                x=counts.to_numpy(),
                y=labels,
                orientation="h",
                marker={
                    "color": [OTHERS if reason == "holdout" else BLUE for reason in counts.index],
                    "cornerradius": 2,
                },
                text=[f"{count:,}" for count in counts],
                textposition="outside",
                textfont={"color": INK},
                cliponaxis=False,
                hovertemplate="%{y}<br><b>%{x:,} mails</b><extra></extra>",
            )
        ],
        title=title,
        subtitle=f"{_whose(run, scenario)} · one reason each · {span_text(run)}",
        label="exact",
        height=170 + 34 * max(1, len(counts)),
        legend=False,
        bargap=0.35,
    )
    if not len(counts):
        return emptied(figure, "no mail was held back")
    # Room for the number beside the longest bar, however narrow the picture is.
    figure.update_layout(margin_r=16 + 8 * len(f"{counts.max():,}"))
    figure.update_xaxes(range=[0, counts.max() * 1.1], showgrid=True, **whole(counts.max()))
    told = [label_lines(label, width=30) for label in labels]
    return add_units(figure, x="mails not sent", y="").update_yaxes(tickvals=labels, ticktext=told, showgrid=False)


# Shared by drawings of mails ..........................................................................................


def quiet_hours(program: Program, scenario: str | None) -> list[tuple[float, float]]:
    """The quiet hours of a scenario (of the program unless given) as stretches of the day in hours."""
    quiet = program.policies.quiet if scenario is None else program.quiet_of(program[scenario])
    if quiet is None:
        return []
    start, end = quiet.from_.minutes / 60, quiet.to.minutes / 60
    return [(start, end)] if start < end else [(start, 24.0), (0.0, end)]


def _shade_quiet(figure: go.Figure, hours: list[tuple[float, float]]) -> None:
    """Quiet hours as a shade behind the bars."""
    for start, end in hours:
        figure.add_vrect(x0=start, x1=end, fillcolor=QUIET, line_width=0, layer="below")
    if hours:
        start, end = max(hours, key=lambda stretch: stretch[1] - stretch[0])
        figure.add_annotation(
            x=(start + end) / 2,
            y=1,
            yref="y domain",
            text="quiet hours",
            showarrow=False,
            font={"size": 11.5, "color": INK},
            yanchor="top",
        )


def span_text(run: Run) -> str:
    """First and last day of a run's log, or of its period.

    Returns:
        For example `6 Jan – 5 May 2025`.
    """
    first, last = run.span
    return "an empty log" if first is None else days_text(first, last)


def span_words(log: EventLog, until: pd.Timestamp) -> str:
    """The first day of a log, and the last that was decided.

    Returns:
        For example `6 Jan – 5 May 2025`.
    """
    if log.span is None:
        return "an empty log"
    return days_text(log.span[0], until)


def days_text(first: dt.date, last: dt.date) -> str:
    """From a day to another.

    >>> days_text(pd.Timestamp("2025-01-06"), pd.Timestamp("2025-05-05"))
    '6 Jan – 5 May 2025'
    """
    if (first.year, first.month, first.day) == (last.year, last.month, last.day):
        return day_text(last)
    if first.year == last.year:
        return f"{day_text(first, '%b')} – {day_text(last)}"
    return f"{day_text(first)} – {day_text(last)}"


def _order(run: Run, table: pd.DataFrame) -> list[str]:
    """Scenarios or steps with mails, in the order of the program."""
    written = [one.scenario for one in run.program.scenarios] + [send.step for send in run.compiled.sends]
    there = set(table["mail"].unique())
    return [mail for mail in dict.fromkeys(written) if mail in there]


def _fewer(counts: dict[str, Any], what: str) -> dict[str, Any]:
    """Counts of as many mails as there are colours that tell apart: the largest, and all others as one."""
    if len(counts) <= len(MAILS):
        return counts
    large = sorted(counts, key=lambda mail: -int(counts[mail].sum()))[: len(MAILS) - 1]
    rest = [count for mail, count in counts.items() if mail not in large]
    return {mail: counts[mail] for mail in counts if mail in large} | {f"{len(rest)} other {what}": sum(rest)}


def _colors(count: int) -> list[str]:
    return list(MAILS[:count]) if count < len(MAILS) else [*(color for color in MAILS if color != OTHERS), OTHERS]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _whose(run: Run, scenario: str | None) -> str:
    names = [one.scenario for one in run.program.scenarios] if scenario is None else [scenario]
    return _words(", ".join(names)) if len(names) <= 3 else f"{len(names)} scenarios"


def _clock_words(clock: Clock) -> str:
    return "hours of each customer's own clock" if clock == "local" else "hours in UTC"


def _clock_axis(clock: Clock) -> str:
    return "hour of the day, customer's local time" if clock == "local" else "hour of the day, UTC"


def _busiest(total: np.ndarray[Any, Any], quiet: list[tuple[float, float]]) -> str:
    """Where most mails are, in a sentence."""
    everything = int(total.sum())
    if not everything:
        return "No mail was sent"
    hour = int(np.argmax(total))
    share = round(100 * total[hour] / everything)
    when = ", when quiet hours end" if any(int(end) % 24 == hour for _, end in quiet) else ""
    return f"{everything:,} mails, {share}% of them between {hour:02d}:00 and {(hour + 1) % 24:02d}:00{when}"
