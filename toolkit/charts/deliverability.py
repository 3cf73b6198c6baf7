"""The picture of a deliverability board: per recipient domain or mail, what became of it, in shares."""

from __future__ import annotations

import plotly.graph_objects as go

from toolkit.charts.given import check_given
from toolkit.charts.sends import days_text
from toolkit.charts.style import BLUE, INK, ORANGE, SKY, VERMILLION, add_units, drawn, label_lines
from toolkit.readable import counted
from toolkit.tracking.board import COMPLAINTS_LIMIT, Board

__all__ = ["deliverability_chart"]

_MOST = 12
_LINE_HIGH = 15  # pixels
_PARTS = (
    ("opened_by_people", "opened by people", BLUE),
    ("perhaps_opened", "opened, perhaps by a machine", SKY),
    ("not_opened", "arrived, not known to be read", "rgba(128,136,150,.45)"),
    ("bounced_soft", "could not arrive, for now", ORANGE),
    ("bounced_hard", "nobody there", VERMILLION),
)


def deliverability_chart(board: Board) -> go.Figure:
    """The mails to each recipient domain, or each mail, as one bar, and the alarms.

    Args:
        board: from `deliverability`.

    Returns:
        A figure, observed. Rows beyond the twelve with the most mails are left out; the table has them.
    """
    check_given(board, Board, name="board", giver="deliverability")
    rows = board.table[board.table["sent"] > 0].head(_MOST).iloc[::-1].copy()
    lost = rows["bounced_hard"] + rows["bounced_soft"]
    rows["not_opened"] = (rows["sent"] - lost - rows["opened_by_people"]).clip(lower=0)
    # Of a mail that a person opened, another open may be unsure; where people's opens are told, they are what is shown.
    told = rows["opened_by_people"] > 0
    rows["perhaps_opened"] = rows["opened_unsure"].where(~told, 0).clip(upper=rows["not_opened"])
    rows["not_opened"] -= rows["perhaps_opened"]
    rates = [
        "complained_rate",
        "alarm",
        *(["clicked_by_people_rate", "clicked_unsure_rate", "unsubscribed_rate"] if board.by == "mail" else []),
    ]
    names = [_named(*row) for row in rows[[board.by, *rates]].to_numpy()]
    bars = [
        go.Bar(
            y=names,
            x=rows[part] / rows["sent"],
            name=name,
            orientation="h",
            marker={"color": colour, "cornerradius": 3},
            customdata=rows[[part, "sent", "complained_rate", "alarm"]].to_numpy(),
            hovertemplate=(
                "<b>%{y}</b><br>%{customdata[0]:,} of %{customdata[1]:,} mails (%{x:.1%})"
                "<br>called spam: %{customdata[2]:.2%}<br>%{customdata[3]}<extra>%{fullData.name}</extra>"
            ),
        )
        for part, name, colour in _PARTS
        if rows[part].any()
    ]
    total = int(board.table["sent"].sum())
    over = len(board.alarms)
    title = (
        "No mails yet"
        if not total
        else f"{over} of {counted(len(board.table), board.by)} {'needs' if over == 1 else 'need'} a look"
        if over
        else f"No {board.by} is near a limit"
    )
    grain = "recipient domain" if board.by == "domain" else "scenario and step"
    span = f"sent {days_text(*board.span)}" if board.span else ""
    subtitle = " · ".join(
        filter(None, (f"{total:,} mails by {grain}", span, f"spam complaints must stay under {COMPLAINTS_LIMIT:.1%}"))
    )
    figure = drawn(
        bars,
        title=title,
        subtitle=subtitle,
        label="observed",
        height=200 + sum(max(46, 16 + _LINE_HIGH * (1 + name.count("<br>"))) for name in names),
        legend=bool(bars),
        barmode="stack",
    )
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(tickfont={"color": INK, "size": 13}, automargin=True)
    return add_units(figure, x="share of the mails sent", y="")


def _named(
    name: str, complained_rate: float, alarm: str, clicked: float = 0, unsure: float = 0, unsubscribed: float = 0
) -> str:
    """The domain or mail, marked where it needs a look, and below it how its readers answered, an answer a line."""
    most = clicked + unsure
    least = f"{clicked:.1%}–" if clicked > 0 else "at most "
    answers = (
        (f"{least if unsure > 0 else ''}{most:.1%} clicked", most),
        (f"{unsubscribed:.2%} unsubscribed", unsubscribed),
        (f"{complained_rate:.2%} called spam", complained_rate),
    )
    said = "".join(f"<br><span style='font-size:11px'>{words}</span>" for words, rate in answers if rate > 0)
    return f"{'⚠ ' if alarm else ''}{label_lines(name)}{said}"
