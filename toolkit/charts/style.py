"""The house style: colours that colour-blind readers can tell apart, titles that say what is seen, and a subtitle that
says what kind of number it is: exact, observed or modelled."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from toolkit.charts.themed import INK, Themed, title_room
from toolkit.charts.vector import cut_in_the_middle
from toolkit.readable import priced
from toolkit.stats.wording import level_text

__all__ = [
    "AFTER_MAIL",
    "AFTER_OFFER",
    "BEFORE",
    "BLUE",
    "CONFIG",
    "DAYS",
    "FONT",
    "GREEN",
    "GRID",
    "INK",
    "MAILS",
    "MOMENTS",
    "ORANGE",
    "OTHERS",
    "QUIET",
    "SEQUENCE",
    "SKY",
    "VERMILLION",
    "add_units",
    "drawn",
    "emptied",
    "fitting",
    "hours_text",
    "interval_bar",
    "label_lines",
    "level_text",
    "money",
    "say",
    "share_text",
    "unit_of",
    "whole",
    "words_on",
]

# Okabe and Ito's palette, without its yellow and black, which vanish on a white or a black page.
BLUE, SKY, GREEN, ORANGE, VERMILLION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"

OTHERS = "#5E6673"
"""Colour of all the rest, and of what is beside the point."""
MAILS = (BLUE, PURPLE, SKY, OTHERS, GREEN, ORANGE, VERMILLION)
"""Colours of mails or scenarios, in order."""
BEFORE, AFTER_MAIL, AFTER_OFFER = GREEN, ORANGE, VERMILLION
"""Colours of people who buy on their own before a mail, after it, and after an offer."""
_TITLE_INK, _SUBTITLE_INK = (f"var(--jp-content-font-color{place},{INK})" for place in (1, 2))
SEQUENCE = ["#EAF2F9", "#B5D4EA", "#6FAED8", "#2F86C0", "#0072B2", "#00507D"]
"""From few to many in a heatmap."""
GRID = "rgba(128,136,150,.22)"
QUIET = "rgba(128,136,150,.13)"
"""Shade of what is out of bounds, such as quiet hours."""
FONT = "Inter, 'Segoe UI', system-ui, -apple-system, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "displayModeBar": "hover",
    "modeBarButtonsToRemove": ["lasso2d", "select2d"],
}
"""How a figure behaves on a page."""

DAYS = "%-d %b\n%Y"
"""How an axis of days tells them: `6 Jan`, and the year where it begins."""
_DAY_MS = 86_400_000
MOMENTS = [
    {"dtickrange": [None, _DAY_MS - 1], "value": "%H:%M\n%-d %b %Y"},
    {"dtickrange": [_DAY_MS, None], "value": DAYS},
]
"""The same of any stretch of time: hours, with their day below. A template cannot have them: plotly would ask them of
axes of numbers, too."""
_WHITE, _DARK = "#FFFFFF", "#1F2733"
_FEW = 8  # as many whole ticks as an axis has
_TITLE_WIDTH, _SUBTITLE_WIDTH = 68, 98  # letters: a figure of 590 pixels, as beside an open side bar, shows them whole


def _template() -> go.layout.Template:
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": "rgba(128,136,150,.55)",
        "zerolinewidth": 1,
        "tickfont": {"size": 12, "color": INK},
        "title": {"font": {"size": 12.5, "color": INK}, "standoff": 10},
        "automargin": True,
        "ticks": "",
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": INK},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(MAILS),
            "xaxis": {**axis, "showgrid": False, "showline": True},
            "yaxis": {**axis, "rangemode": "tozero", "ticklabelstandoff": 6},
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "font": {"size": 12.5, "color": INK},
                "bgcolor": "rgba(0,0,0,0)",
                "itemsizing": "constant",
                "traceorder": "normal",
            },
            "hoverlabel": {"font": {"family": FONT, "size": 12.5}, "align": "left"},
            "modebar": {"color": "rgba(128,136,150,.7)", "activecolor": INK, "bgcolor": "rgba(0,0,0,0)"},
            "bargap": 0.12,
            "separators": ".,",
        }
    )


HOUSE = _template()


def drawn(
    traces: Iterable[Any],
    *,
    title: str,
    subtitle: str,
    label: str,
    height: int = 380,
    legend: bool = True,
    **layout: Any,
) -> go.Figure:
    """A figure in the house style.

    Args:
        traces: what is drawn.
        title: what is seen, as a sentence.
        subtitle: whose numbers these are: scenario, clock, span.
        label: exact, observed, modelled or planned; it leads the subtitle.
        height: pixels.
        legend: leave room for a legend above the plot.
        **layout: further plotly layout.

    Returns:
        The figure, on a transparent page.
    """
    figure = Themed(list(traces))
    titles, room = say(title, subtitle, label)
    figure.update_layout(
        template=HOUSE,
        height=height,
        title=titles,
        margin={"l": 12, "r": 16, "t": room + (26 if legend else 8), "b": 12},
        # Below the title, however many rows it takes: what it needs is taken from the plot, never from the title.
        legend={"xref": "container", "x": 0.006, "yref": "container", "y": 1 - (room - 6) / height, "yanchor": "top"},
        showlegend=legend,
    )
    figure.update_layout(**layout)
    return figure


def say(title: str, subtitle: str, label: str) -> tuple[dict[str, Any], int]:
    """A title with its subtitle as plotly layout, and the pixels they need, so that nothing is clipped."""
    above = _lines(title, _TITLE_WIDTH)
    below = _lines(f"{label} · {subtitle}" if subtitle else label, _SUBTITLE_WIDTH)
    below[0] = below[0].replace(label, f"<b>{label}</b>", 1)
    # In JupyterLab they take the theme's own colours, which plotly accepts in a title's words alone.
    lines = [f"<b><span style='color:{_TITLE_INK}'>{line}</span></b>" for line in above]
    lines += [f"<span style='font-size:12.5px;color:{_SUBTITLE_INK}'>{line}</span>" for line in below]
    made = {
        "text": "<br>".join(lines),
        "font": {"size": 17, "color": INK},
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 24, "l": 12},
    }
    return made, title_room(lines)


def _lines(text: str, width: int) -> list[str]:
    """Lines of about the same length."""
    lines = textwrap.wrap(text, width) or [""]
    for narrower in range(width - 1, width // 2, -1):
        tried = textwrap.wrap(text, narrower)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines


def label_lines(name: str, *, width: int = 28, most: int = 2) -> str:
    """A name as it stands beside a plot: broken after a blank or an underscore, and cut where it is too long.

    Args:
        name: of an arm, a scenario, a mail.
        width: letters in a line.
        most: lines; what is too long for the last is cut in its middle.

    >>> label_lines("reminder")
    'reminder'
    >>> label_lines("the_first_reminder_about_everything_in_the_cart")
    'the_first_reminder_about_<br>everything_in_the_cart'
    >>> label_lines("a sentence that was made the name of an arm, with all its reasons", width=20)
    'a sentence that was<br>made the nam…reasons'
    """
    lines = [""]
    for word in re.findall(r"[^_ ]*[_ ]?", name):
        for piece in (word[at : at + width] for at in range(0, len(word), width)):
            if len(lines[-1] + piece.rstrip()) <= width:
                lines[-1] += piece
            else:
                lines.append(piece)
    if len(lines) > most:
        lines = [*lines[: most - 1], cut_in_the_middle("".join(lines[most - 1 :]), width)]
    return "<br>".join(line.rstrip() for line in lines)


def fitting(values: Iterable[float], *, least: float = 1.0) -> list[float]:
    """A tight range from 0 with a little air above the highest value."""
    highest = max((value for value in values if not math.isnan(value)), default=0.0)
    return [0.0, max(least, highest) * 1.08]


def whole(highest: float) -> dict[str, Any]:
    """Ticks of an axis of counts, as plotly layout: whole numbers, each once, however few there are.

    Args:
        highest: the largest count.

    >>> whole(2), whole(5000)
    ({'tickformat': ',~d', 'dtick': 1}, {'tickformat': ',~d'})
    """
    return {"tickformat": ",~d"} | ({"dtick": 1} if highest <= _FEW else {})


def interval_bar(
    values: Iterable[float], lower: Iterable[float], upper: Iterable[float], *, color: str, thickness: float, width: int
) -> dict[str, Any]:
    """The bars of intervals around values, as plotly has them.

    >>> bar = interval_bar([2.0], [1.0], [5.0], color="#000", thickness=2, width=0)
    >>> bar["array"], bar["arrayminus"]
    ([3.0], [1.0])
    """
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, high in zip(values, upper, strict=True)],
        "arrayminus": [value - low for value, low in zip(values, lower, strict=True)],
        "color": color,
        "thickness": thickness,
        "width": width,
    }


def emptied(figure: go.Figure, said: str = "nothing to draw") -> go.Figure:
    """A figure of nothing: no scale, which could only mislead, and a word in its place."""
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=150, legend_y=0)
    figure.add_annotation(
        x=0.5, y=0.5, xref="paper", yref="paper", text=said, showarrow=False, font={"size": 13, "color": INK}
    )
    return figure


def unit_of(kind: str, currency: str | None, counted: str) -> str:
    """What a difference of a metric is given in, to stand behind its name; nothing where it has no unit.

    >>> unit_of("mean", "EUR", "customer"), unit_of("mean", None, "journey"), unit_of("ratio", None, "customer")
    (', EUR per customer', ', per journey', '')
    """
    if kind in ("rate", "time"):
        return ", percentage points" if kind == "rate" else ", days"
    each = f"per {counted}" if kind == "mean" else ""
    return f", {' '.join(filter(None, (currency, each)))}" if currency or each else ""


def add_units(figure: go.Figure, *, x: str, y: str) -> go.Figure:
    """The same figure with its axes named."""
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def money(value: float, currency: str) -> str:
    """An amount as people write it.

    >>> money(1234.6, "EUR"), money(3.2, "SEK"), money(-349, "EUR")
    ('€1,235', '3.20 SEK', '−€349')
    """
    return priced(f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}", currency)


def words_on(color: str) -> str:
    """The colour of words within a bar: white, or ink where that is easier to read.

    >>> words_on(BLUE), words_on(SKY)
    ('#FFFFFF', '#1F2733')
    """
    return max((_WHITE, _DARK), key=lambda words: _contrast(words, color))


def _contrast(one: str, other: str) -> float:
    """How well one colour stands out from another, 1 to 21, as WCAG 2 says it."""
    low, high = sorted(_luminance(color) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def share_text(rate: float) -> str:
    """A share in percent, or a dash where there is none.

    >>> share_text(0.1234), share_text(float("nan"))
    ('12.3%', '–')
    """
    return f"{100 * rate:.1f}%" if not math.isnan(rate) else "–"


def hours_text(hours: float) -> str:
    """A length of time in the shortest words.

    >>> [hours_text(value) for value in (0, 0.25, 4, 28, 48)]
    ['0', '15 min', '4 h', '1 d 4 h', '2 d']
    """
    minutes = round(hours * 60)
    days, minutes = divmod(minutes, 1440)
    whole, minutes = divmod(minutes, 60)
    parts: Sequence[str] = [
        f"{number} {unit}" for number, unit in ((days, "d"), (whole, "h"), (minutes, "min")) if number
    ]
    return " ".join(parts[:2]) or "0"
