"""Pictures of a sweep: what a setting does to mails sent, and to people who would have bought anyway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from toolkit.charts.given import check_given
from toolkit.charts.style import (
    AFTER_MAIL,
    BLUE,
    HOUSE,
    INK,
    SEQUENCE,
    add_units,
    drawn,
    fitting,
    interval_bar,
    say,
    whole,
)
from toolkit.charts.themed import Themed
from toolkit.engine import OBSERVED, Sweep, column_words
from toolkit.engine.selection import as_compared
from toolkit.errors import InputError, NotSupportedError, did_you_mean, is_one_of, listed, shown
from toolkit.scenario import Duration
from toolkit.stats.proportions import Share, wilson_interval

__all__ = ["setting_name", "setting_text", "sweep_heatmap", "sweep_lines"]


def sweep_lines(sweep: Sweep, *, value: str | None = None, scenario: str | None = None) -> go.Figure:
    """One setting from left to right: mails sent above, and below the share who would have bought anyway.

    Args:
        sweep: a sweep over one parameter.
        value: a numeric column of its table to draw alone.
        scenario: whose rows; the one the parameter belongs to unless given.

    Returns:
        A figure; mails are exact, purchases observed.

    Raises:
        InputError: no such column or scenario.
        NotSupportedError: a sweep over several parameters; see `sweep_heatmap`.
    """
    check_given(sweep, Sweep, name="sweep", giver="tk.sweep")
    if len(sweep.over) != 1:
        raise NotSupportedError(f"lines show one parameter; this sweep has {len(sweep.over)}: draw its heatmap")
    (path,) = sweep.over
    name = _scenario(sweep, scenario)
    rows = _rows(sweep, name)
    if value is not None:
        return _alone(sweep, rows, path, _told(rows, _numeric(sweep, value), name), name)
    shares = rows["own_after_rate"]
    lacking = shares.isna().all()
    where = {"control": "the control group", "all": "a log without these mails"}.get(str(rows["basis"].iloc[0]), "")
    figure = make_subplots(figure=Themed(), rows=1 if lacking else 2, cols=1, shared_xaxes=True, vertical_spacing=0.13)
    labels = [setting_text(setting, path=path) for setting in rows[path]]
    figure.add_trace(_line(labels, rows["sent"], BLUE, "mails sent", "%{y:,}"), row=1, col=1)
    figure.update_yaxes(
        title_text="mails sent<br>(exact)", range=fitting(rows["sent"]), **whole(rows["sent"].max()), row=1, col=1
    )
    ends = f"From {labels[0]} to {labels[-1]}"
    low, high = rows["sent"].iloc[[0, -1]]
    title = f"{ends}, {low:,} mails become {high:,}"
    if not lacking:
        known = shares.dropna()
        title = f"{ends}, those who would have bought anyway go from {known.iloc[0]:.0%} to {known.iloc[-1]:.0%}"
        line = _line(labels, shares, AFTER_MAIL, "would have bought anyway", "%{y:.1%}")
        mailed = rows["mailed"].where(rows["mailed"] > 0)
        lower, upper = wilson_interval(Share(rows["own_after"].to_numpy(), mailed.to_numpy()))
        line.error_y = interval_bar(shares, lower, upper, color=AFTER_MAIL, thickness=1.2, width=3)
        figure.add_trace(line, row=2, col=1)
        figure.update_yaxes(
            title_text="would have bought<br>anyway (observed)",
            range=fitting(upper, least=0.01),
            tickformat=".0%",
            row=2,
            col=1,
        )
    titles, room = say(
        title,
        f"{setting_name(name)}" + ("" if lacking else f" · purchases in {where}, 95% intervals"),
        "exact" if lacking else "mails exact, purchases observed",
    )
    figure.update_layout(
        template=HOUSE,
        height=320 if lacking else 480,
        title=titles,
        margin={"l": 12, "r": 16, "t": room + 18, "b": 12},
        showlegend=False,
    )
    figure.update_xaxes(type="category")
    figure.update_xaxes(title_text=setting_name(path), row=1 if lacking else 2, col=1)
    _mark_now(figure, sweep, path, rows)
    return figure


def sweep_heatmap(sweep: Sweep, *, value: str = "sent", scenario: str | None = None) -> go.Figure:
    """Two settings against each other: one cell for each pair of values.

    Args:
        sweep: a sweep over two parameters (over one: drawn as a line).
        value: a numeric column of its table.
        scenario: whose rows; the one the first parameter belongs to unless given.

    Returns:
        A figure, labelled exact or observed as the column is.

    Raises:
        InputError: no such column or scenario.
        NotSupportedError: a sweep over more than two parameters.
    """
    check_given(sweep, Sweep, name="sweep", giver="tk.sweep")
    if len(sweep.over) == 1:
        return sweep_lines(sweep, value=value, scenario=scenario)
    if len(sweep.over) != 2:
        raise NotSupportedError(
            f"a heatmap shows two parameters; this sweep has {len(sweep.over)}: {', '.join(sweep.over)}"
        )
    across, up = sweep.over
    name = _scenario(sweep, scenario)
    rows = _rows(sweep, name)
    column = _told(rows, _numeric(sweep, value), name)
    grid = rows.pivot(index=up, columns=across, values=column)
    grid = grid.loc[list(dict.fromkeys(rows[up])), list(dict.fromkeys(rows[across]))]
    share = column.endswith("_rate")
    shown = grid.map(lambda cell: "" if pd.isna(cell) else f"{100 * cell:.1f}%" if share else f"{cell:,.0f}")
    low, high = (_extreme(shown, grid, smallest=smallest) for smallest in (True, False))
    figure = drawn(
        [
            go.Heatmap(
                x=[setting_text(setting, path=across) for setting in grid.columns],
                y=[setting_text(setting, path=up) for setting in grid.index],
                z=grid.to_numpy(),
                text=shown.to_numpy(),
                texttemplate="%{text}",
                colorscale=SEQUENCE,
                xgap=2,
                ygap=2,
                colorbar={
                    "title": {"text": column_words(column), "font": {"size": 12.5}},
                    "tickformat": ".0%" if share else ",~d",
                    "thickness": 12,
                    "outlinewidth": 0,
                },
                hovertemplate=(
                    f"{setting_name(across)} %{{x}}<br>{setting_name(up)} %{{y}}<br><b>%{{text}}</b><extra></extra>"
                ),
            )
        ],
        title=f"{column_words(column).capitalize()}: from {low} to {high}",
        subtitle=f"{setting_name(name)} · the best cell of many is a selection: .best({column!r}) shows it out of time",
        label=_kind(column),
        height=180 + 44 * len(grid),
        legend=False,
    )
    figure.update_xaxes(type="category", showline=False)
    figure.update_yaxes(type="category", showgrid=False, rangemode="normal")
    x, y = _place_of(sweep.base[across], grid.columns), _place_of(sweep.base[up], grid.index)
    if x is not None and y is not None:
        figure.add_shape(
            type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line={"color": AFTER_MAIL, "width": 3}
        )
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            text=f"<span style='color:{AFTER_MAIL}'>▢</span> as it is now",
            font={"size": 12, "color": INK},
        )
    return add_units(figure, x=setting_name(across), y=setting_name(up))


def _alone(sweep: Sweep, rows: pd.DataFrame, path: str, column: str, name: str) -> go.Figure:
    share = column.endswith("_rate")
    labels = [setting_text(setting, path=path) for setting in rows[path]]
    values = rows[column]
    ends = [f"{100 * end:.1f}%" if share else f"{end:,.0f}" for end in values.iloc[[0, -1]]]
    figure = drawn(
        [
            _line(
                labels,
                values,
                AFTER_MAIL if column in OBSERVED else BLUE,
                column_words(column),
                "%{y:.1%}" if share else "%{y:,}",
            )
        ],
        title=f"{column_words(column).capitalize()}: {ends[0]} at {labels[0]}, {ends[1]} at {labels[-1]}",
        subtitle=f"{setting_name(name)} · {setting_name(path)}",
        label=_kind(column),
        height=340,
        legend=False,
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=fitting(values, least=0.01 if share else 1), tickformat=".0%" if share else ",~d")
    add_units(figure, x=setting_name(path), y=column_words(column))
    _mark_now(figure, sweep, path, rows)
    return figure


def _line(labels: list[str], values: pd.Series, color: str, name: str, shown: str) -> go.Scatter:
    return go.Scatter(
        x=labels,
        y=values,
        mode="lines+markers",
        name=name,
        line={"color": color, "width": 2.5},
        marker={"size": 8},
        hovertemplate=f"%{{x}}<br><b>{shown}</b> {name}<extra></extra>",
    )


def _mark_now(figure: go.Figure, sweep: Sweep, path: str, rows: pd.DataFrame) -> None:
    """Where the program itself stands today."""
    place = _place_of(sweep.base[path], rows[path])
    if place is None:
        return
    figure.add_vline(x=place, line={"color": INK, "width": 1.2, "dash": "dot"})
    figure.add_annotation(
        x=place,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=f"now: {setting_text(sweep.base[path], path=path)}",
        showarrow=False,
        font={"size": 12, "color": INK},
    )


def _place_of(now: object, settings: Iterable[object]) -> int | None:
    """Where among the settings tried the present one stands, however either is written."""
    return next((place for place, one in enumerate(settings) if as_compared(one) == as_compared(now)), None)


def _scenario(sweep: Sweep, name: str | None) -> str:
    names = list(dict.fromkeys(sweep.table["scenario"]))
    if name is not None:
        if is_one_of(name, names):
            return name
        raise InputError(
            f"no scenario {shown(name)} in this sweep; it has {listed(names, near=name)}" + did_you_mean(name, names)
        )
    owner = next(iter(sweep.over)).partition(".")[0]
    return owner if owner in names else names[0]


def _rows(sweep: Sweep, name: str) -> pd.DataFrame:
    rows = sweep.table[sweep.table["scenario"] == name].reset_index(drop=True)
    # What nothing in the log can tell is missing; plotly and numpy know it as NaN.
    return rows.astype({column: "float64" for column, kind in rows.dtypes.items() if kind == "Int64"})


def _told(rows: pd.DataFrame, column: str, name: str) -> str:
    """A column that can be drawn: one of which nothing is known would be an empty picture."""
    if rows[column].notna().any():
        return column
    why = {
        "none": "the log holds real mails of it and no control group",
        "control": "nobody in the control group came so far within the log",
    }.get(str(rows["basis"].iloc[0]), "the scenario has no goal, or nobody came so far within the log")
    raise InputError(f"{column} of {name} is not known: {why}")


def _numeric(sweep: Sweep, value: str) -> str:
    able = [
        str(name)
        for name in sweep.table.columns
        if name not in sweep.over and pd.api.types.is_numeric_dtype(sweep.table[name])
    ]
    if is_one_of(value, able):
        return value
    raise InputError(f"no number {shown(value)} in this sweep; it has {', '.join(able)}" + did_you_mean(value, able))


def _kind(column: str) -> str:
    return "observed" if column in OBSERVED else "exact"


def setting_name(path: str) -> str:
    """A parameter in words.

    >>> setting_name("cart.pause.wait"), setting_name("cart.offer.offer.percent"), setting_name("cart.priority")
    ('wait (pause)', 'discount', 'priority')
    >>> setting_name("policies.caps[0].limit"), setting_name("abandoned_cart")
    ('cap', 'abandoned cart')
    """
    *before, last = path.split(".")
    named = {"wait": f"wait ({before[-1]})" if before else "wait", "percent": "discount", "limit": "cap"}
    return named.get(last, " ".join([*before[1:], last])).replace("_", " ")


def setting_text(setting: Any, *, path: str = "") -> str:
    """A value that was tried, in words, with the unit of its parameter.

    >>> setting_text("0s"), setting_text("4h"), setting_text(10.0, path="cart.offer.offer.percent")
    ('none', '4h', '10%')
    """
    if isinstance(setting, int | float) and not isinstance(setting, bool):
        return f"{setting:g}" + ("%" if path.endswith(".percent") else "")
    try:
        return "none" if Duration.parse(setting).elapsed == 0 else str(setting)
    except ValueError:
        return str(setting)


def _extreme(shown: pd.DataFrame, grid: pd.DataFrame, *, smallest: bool) -> str:
    flat = grid.stack()
    if not len(flat):
        return "none"
    place: Any = flat.idxmin() if smallest else flat.idxmax()
    return str(shown.loc[place])
