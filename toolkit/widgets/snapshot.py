"""What a tuner leaves in a notebook that is opened without a kernel: its numbers and pictures, standing still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from toolkit.charts.style import AFTER_MAIL, AFTER_OFFER, BEFORE, MAILS, QUIET, money, share_text
from toolkit.charts.vector import Axes, fit_text, nice_steps, shape, svg, text_width, words
from toolkit.widgets.markup import Html, at_widths, card, chip, tag, together
from toolkit.widgets.picture import wait_text

__all__ = ["snapshot"]

_HIGH = 190.0


def snapshot(surface: Mapping[str, Any], *, wait: str, percent: float) -> Html:
    """The tuning screen as HTML without a script.

    Args:
        surface: from `toolkit.widgets.surface`.
        wait, percent: the setting.
    """
    here = next(one for one in surface["settings"] if one["wait"] == wait)
    given = here["given"]
    cards = [
        card("Mails a week", f"{here['week']:,.0f}", kind="exact"),
        card("Bought before mail", _share(here["before_rate"]), kind="observed"),
        card("Bought anyway after", _share(here["after_rate"]), kind="observed"),
    ]
    setting = wait_text(here)
    if surface["offer"]:
        setting += f", discount {percent:g}%"
        away = "–" if given is None else money(given * percent, surface["currency"])
        cards.append(card("Discount given away", away, f"by 100 offers of {percent:g}%", "observed"))
    names = ["before the mail", "after the mail"] + ["after the offer"] * (surface["offer"] and not surface["first"])
    own = _figure(
        "Bought on their own, by journey",
        "observed",
        surface["whose"],
        here["own"],
        list(zip((BEFORE, AFTER_MAIL, AFTER_OFFER), names, strict=False)),
        [(place, edge) for place, edge in enumerate(surface["edges"])],
        marks=[(mark["place"], mark["text"]) for mark in here["marks"]],
    )
    hours = _figure(
        "Mails by hour of the day",
        "exact",
        "customer's local time",
        here["hours"],
        list(zip(cycle(MAILS), surface["mails"], strict=False)),
        [(hour, str(hour)) for hour in range(0, 25, 3)],
        shades=surface["quiet"],
    )
    return together(
        [
            tag("header", tag("h3", f"Tune {surface['scenario']}"), tag("span", setting, class_="ttk-soft")),
            tag("div", *cards, class_="ttk-cards"),
            tag("div", own, hours, class_="ttk-split ttk-even ttk-gap"),
        ]
    )


def _share(rate: float | None) -> str:
    return share_text(float("nan") if rate is None else rate)


def _figure(
    title: str,
    kind: str,
    said: str,
    layers: Sequence[Sequence[int]],
    keys: Sequence[tuple[str, str]],
    ticks: Sequence[tuple[int, str]],
    *,
    marks: Sequence[tuple[float, str]] = (),
    shades: Sequence[Sequence[float]] = (),
) -> Html:
    """Stacked bars with their title, whose numbers they are, and their colours."""
    legend = together(tag("span", tag("i", style=f"background:{color}"), name) for color, name in keys)
    return tag(
        "figure",
        tag("figcaption", tag("b", title), " ", chip(kind)),
        tag("p", said, class_="ttk-detail"),
        tag("div", legend, class_="ttk-legend"),
        at_widths(lambda width: _bars(title, width, layers, [color for color, _ in keys], ticks, marks, shades), 560),
        class_="ttk-figure",
    )


def _bars(
    title: str,
    width: float,
    layers: Sequence[Sequence[int]],
    colors: Sequence[str],
    ticks: Sequence[tuple[int, str]],
    marks: Sequence[tuple[float, str]],
    shades: Sequence[Sequence[float]],
) -> str:
    """Stacked bars, each layer in its colour, and upright lines for marks with their words."""
    places = len(layers[0])
    top = float(max([1, *(sum(column) for column in zip(*layers, strict=True))]))
    axes = Axes(width, _HIGH, (0, places), (0, top), left=8 + text_width(f"{top:,.0f}"), right=10, top=24, bottom=24)
    every = 1 + int(len(ticks) * 34 > width)
    parts = [
        shape("rect", x=axes.at_x(start), y=axes.top, width=axes.at_x(end) - axes.at_x(start), height=142, fill=QUIET)
        for start, end in shades
    ]
    parts += axes.frame(
        x_ticks=ticks[::every], y_ticks=[(step, f"{step:,.0f}") for step in nice_steps(0, top, 3, whole=True)]
    )
    floors = [0] * places
    for layer, color in zip(layers, colors, strict=False):
        drawn = ""
        for place, count in enumerate(layer):
            if count:
                low, high = axes.at_y(floors[place]), axes.at_y(floors[place] + count)
                drawn += f"M{axes.at_x(place) + 1:.1f} {low:.1f}V{high:.1f}H{axes.at_x(place + 1) - 1:.1f}V{low:.1f}"
                floors[place] += count
        parts.append(shape("path", d=drawn, fill=color))
    marked = "".join(_mark(axes, number, at, said) for number, (at, said) in enumerate(marks))
    return svg(width, _HIGH, *parts, f'<g class="ttk-marks">{marked}</g>', label=title)


def _mark(axes: Axes, number: int, at: float, said: str) -> str:
    """A line with its words: of the first to the left and of the second to the right, so that close ones keep apart."""
    x, room = axes.at_x(at), text_width(said) + 6
    is_left = (number == 0 and x - room > axes.left) or x + room > axes.width
    line = shape("line", x1=x, x2=x, y1=8, y2=axes.at_y(0))
    place, anchor = (x - 5, "end") if is_left else (x + 5, "start")
    return line + words(place, 16, fit_text(said, axes.width), anchor=anchor)
