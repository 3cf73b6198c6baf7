"""docs/images/at_size.svg, made of results.json: time and memory per event as logs grow, here and in Spark."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.charts.style import BLUE, INK, MAILS, ORANGE
from toolkit.charts.vector import path_of, shape, svg, words

__all__ = ["picture"]

_PANEL, _HEIGHT, _GAP = 330, 300, 96
_LEFT, _TOP = 62, 92
_INSET, _ABOVE = 36, 16
_LINE = "#B9C0CC"
_FONT = "Segoe UI, Helvetica Neue, Arial, sans-serif"
_SIZES = {1e6: "1 million", 1e7: "10 million", 1e8: "100 million"}
_SERIES = (
    ("one machine, from its store", "replay", BLUE, None),
    ("Spark, everything", "spark", ORANGE, None),
    ("Spark, an empty kernel", "empty", MAILS[3], "5 4"),
)


def picture(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The picture of some rows of results.json; None where no row of a log of some size is among them."""
    time: dict[str, list[tuple[float, float]]] = {}
    memory: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found = re.fullmatch(r"(replay|spark)_(\d+)m", str(row["name"]))
        if found is None:
            continue
        kind, events = found[1], int(found[2]) * 1e6
        time.setdefault(kind, []).append((events, row["ours_s"] / events * 1e6))
        memory.setdefault(kind, []).append((events, row["bytes_per_event"]))
        if row["peer_s"]:
            time.setdefault("empty", []).append((events, row["peer_s"] / events * 1e6))
    if not time:
        return None
    width, height = _LEFT + 2 * _PANEL + _GAP + 16, _TOP + _HEIGHT + 56
    title = "Time and memory per event do not grow with the log"
    parts = [
        shape("rect", x=0, y=0, width=width, height=height, fill="#FFFFFF"),
        words(16, 30, title, font_size=17, font_weight=600, fill="#1F2733"),
        *_panel(time, _LEFT, "microseconds per event, on two cores"),
        *_panel(memory, _LEFT + _PANEL + _GAP, "bytes of memory per event, at the peak"),
    ]
    at = 16.0
    for label, kind, colour, dashes in _SERIES:
        if kind in time:
            line = "M0 0 H22"
            parts.append(shape("path", d=line, transform=f"translate({at:.0f} 52)", **_stroke(colour, dashes)))
            parts.append(words(at + 28, 56, label, font_size=13, fill=INK))
            at += 46 + 7.2 * len(label)
    drawn = svg(width, height, *parts, label=title)
    return drawn.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" font-family="{_FONT}" ', 1) + "\n"


def _stroke(colour: str, dashes: str | None) -> dict[str, Any]:
    return {"fill": "none", "stroke": colour, "stroke_width": 2.5, "stroke_dasharray": dashes}


def _panel(series: Mapping[str, Sequence[tuple[float, float]]], left: float, name: str) -> list[str]:
    """One picture with both axes in powers of ten."""
    values = [value for points in series.values() for _, value in points]
    low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))))
    low, high = (low, high) if high > low else (low, low + 1)

    def x(events: float) -> float:
        return left + _INSET + (math.log10(events) - 6) / 2 * (_PANEL - 2 * _INSET)

    def y(value: float) -> float:
        return _TOP + _ABOVE + (high - math.log10(value)) / (high - low) * (_HEIGHT - _ABOVE)

    parts = [words(left, _TOP - 14, name, font_size=13, fill=INK)]
    for power in range(low, high + 1):
        level = y(10.0**power)
        parts.append(shape("line", x1=left, x2=left + _PANEL, y1=level, y2=level, stroke=_LINE, stroke_width=0.7))
        parts.append(words(left - 8, level + 4, f"{10.0**power:,g}", anchor="end", font_size=12, fill=INK))
    for events, label in _SIZES.items():
        parts.append(words(x(events), _TOP + _HEIGHT + 22, label, anchor="middle", font_size=12, fill=INK))
    parts.append(words(left + _PANEL / 2, _TOP + _HEIGHT + 44, "events", anchor="middle", font_size=12, fill=INK))
    for _, kind, colour, dashes in _SERIES:
        points = sorted(series.get(kind, ()))
        if not points:
            continue
        parts.append(
            shape("path", d=path_of([(x(events), y(value)) for events, value in points]), **_stroke(colour, dashes))
        )
        for events, value in points:
            parts.append(shape("circle", cx=x(events), cy=y(value), r=4, fill=colour))
            said = f"{value:.2g}" if value < 10 else f"{value:,.0f}"
            above = 12 if kind != "empty" else -18
            parts.append(words(x(events), y(value) - above, said, anchor="middle", font_size=12, fill=colour))
    return parts
