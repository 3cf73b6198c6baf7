"""What a tuner leaves in a notebook that is opened without a kernel: its numbers and pictures, standing still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

from toolkit.charts.style import AFTER_MAIL, AFTER_OFFER, BEFORE, GRID, INK, MAILS, QUIET, money, share_text
from toolkit.widgets.picture import wait_text

__all__ = ["snapshot"]

_WIDE, _HIGH, _FLOOR = 430, 190, 150
_WORDS, _COUNT = 80, 44  # pixels that the words beside a mark take, and the count at the top


def snapshot(surface: Mapping[str, Any], *, wait: str, percent: float) -> str:
    """The tuning screen as HTML without a script.

    Args:
        surface: from `toolkit.widgets.surface`.
        wait, percent: the setting.
    """
    here = next(one for one in surface["settings"] if one["wait"] == wait)
    given = here["given"]
    cards = [
        (f"{here['week']:,.0f}", "mails a week", "exact"),
        (_share(here["before_rate"]), "bought before the mail", "observed"),
        (_share(here["after_rate"]), "bought anyway after it", "observed"),
    ]
    setting = wait_text(here)
    if surface["offer"]:
        setting += f", discount {percent:g}%"
        away = "–" if given is None else money(given * percent, surface["currency"])
        cards.append((away, f"given away by 100 offers of {percent:g}%", "observed"))
    shown = "".join(
        f'<td style="padding:6px 22px 6px 0;text-align:left;vertical-align:top;border:0">'
        f'<b style="font-size:1.5em">{escape(number)}</b><br>{escape(what)}<br><i>{kind}</i></td>'
        for number, what, kind in cards
    )
    colors = (BEFORE, AFTER_MAIL, AFTER_OFFER)
    names = ["before the mail", "after the mail"] + ["after the offer"] * (surface["offer"] and not surface["first"])
    own = _bars(
        f"Bought on their own, by journey (observed, {surface['whose']})",
        here["own"],
        list(zip(colors, names, strict=False)),
        [(place, edge) for place, edge in enumerate(surface["edges"])],
        marks=[(mark["place"], mark["text"]) for mark in here["marks"]],
    )
    hours = _bars(
        "Mails by hour of the day, customer's local time (exact)",
        here["hours"],
        list(zip(cycle(MAILS), surface["mails"], strict=False)),
        [(hour, str(hour)) for hour in range(0, 25, 3)],
        shades=surface["quiet"],
    )
    return (
        f"<div><p><b>Tune {escape(surface['scenario'])}</b>: {escape(setting)} "
        "<i>(a snapshot; run the cell to move the sliders)</i></p>"
        f'<table style="border:0"><tr style="background:none">{shown}</tr></table>{own}{hours}</div>'
    )


def _share(rate: float | None) -> str:
    return share_text(float("nan") if rate is None else rate)


def _bars(
    title: str,
    layers: Sequence[Sequence[int]],
    keys: Sequence[tuple[str, str]],
    ticks: Sequence[tuple[int, str]],
    *,
    marks: Sequence[tuple[float, str]] = (),
    shades: Sequence[Sequence[float]] = (),
) -> str:
    """Stacked bars as SVG, each layer with its colour and name, and upright lines for marks with their words."""
    places = len(layers[0])
    step = _WIDE / places
    top = max([1, *(sum(column) for column in zip(*layers, strict=True))])
    parts = [
        f'<rect x="{start * step:.1f}" y="20" width="{(end - start) * step:.1f}" '
        f'height="{_FLOOR - 20}" fill="{QUIET}"/>'
        for start, end in shades
    ]
    for place in range(places):
        floor = float(_FLOOR)
        for layer, (color, _) in zip(layers, keys, strict=False):
            height = layer[place] / top * (_FLOOR - 24)
            floor -= height
            if height:
                parts.append(
                    f'<rect x="{place * step + 1:.1f}" y="{floor:.1f}" width="{step - 2:.1f}" '
                    f'height="{height:.1f}" fill="{color}"/>'
                )
    parts += [
        f'<line x1="{mark * step:.1f}" x2="{mark * step:.1f}" y1="4" y2="{_FLOOR}" stroke="{INK}"/>'
        for mark, _ in marks
    ]
    # The first to the left of its line and the second to the right, so that close lines keep their words apart.
    for number, (mark, said) in enumerate(marks):
        x, anchor = (
            (mark * step - 4, "end")
            if number == 0 and mark * step > _WORDS
            else (max(mark * step + 4, _COUNT), "start")
        )
        if x > _WIDE - _WORDS:
            x, anchor = mark * step - 4, "end"
        parts.append(
            f'<text x="{x:.1f}" y="12" font-size="10" fill="{INK}" text-anchor="{anchor}">{escape(said)}</text>'
        )
    parts.append(f'<line x1="0" x2="{_WIDE}" y1="{_FLOOR}" y2="{_FLOOR}" stroke="{GRID}"/>')
    parts += [
        f'<text x="{place * step:.1f}" y="{_FLOOR + 15}" font-size="10" fill="{INK}" text-anchor="middle">'
        f"{escape(text)}</text>"
        for place, text in ticks
    ]
    parts.append(f'<text x="0" y="12" font-size="10" fill="{INK}">{top:,}</text>')
    legend = "".join(
        f'<span style="margin-right:14px;white-space:nowrap"><span style="display:inline-block;width:10px;height:10px;'
        f'border-radius:2px;margin-right:5px;background:{color}"></span>{escape(name)}</span>'
        for color, name in keys
    )
    return (
        f'<div style="display:inline-block;margin:0 24px 8px 0"><div>{escape(title)}</div>'
        f'<div style="font-size:.85em">{legend}</div>'
        f'<svg width="{_WIDE + 16}" height="{_HIGH}" viewBox="-8 0 {_WIDE + 16} {_HIGH}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )
