"""Pictures as plain SVG: for screens that are redrawn often, and for notebooks opened without a kernel.

Colours are CSS variables with a fallback, so that one picture fits a light page, a dark page, and a page of no theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = [
    "Axes",
    "cut_in_the_middle",
    "fit_name",
    "fit_text",
    "nice_steps",
    "path_of",
    "shape",
    "svg",
    "text_width",
    "words",
]


def shape(name: str, *inside: str, **attributes: Any) -> str:
    """An SVG element; an underscore in a name stands for a dash.

    >>> shape("line", x1=0, y1=1.25, class_="ttk-grid")
    '<line x1="0" y1="1.2" class="ttk-grid"/>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{shown}>{''.join(inside)}</{name}>" if inside else f"<{name}{shown}/>"


def words(x: float, y: float, text: object, *, anchor: str = "start", class_: str | None = None, **more: Any) -> str:
    """Text at a place."""
    where = None if anchor == "start" else anchor
    return shape("text", escape(str(text)), x=x, y=y, text_anchor=where, class_=class_, **more)


def svg(width: float, height: float, *parts: str, label: str, fluid: bool = True, role: str = "img") -> str:
    """A whole picture.

    Args:
        width, height: pixels.
        *parts: elements.
        label: what a screen reader says.
        fluid: shrink with the page.
        role: `group` where something in it can be pressed.
    """
    size = {"width": "100%", "style": f"max-width:{width:.0f}px"} if fluid else {"width": width, "height": height}
    return shape(
        "svg", *parts, viewBox=f"0 0 {width:.0f} {height:.0f}", role=role, aria_label=label, class_="ttk-plot", **size
    )


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a line through points."""
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def text_width(text: str, size: float = 12.0) -> float:
    """About how wide a text is, in pixels."""
    wide = sum(1 for char in text if char in "mwMW%@—")
    thin = sum(1 for char in text if char in "iljtf.,:;'|! ()")
    return size * (0.56 * (len(text) - wide - thin) + 0.86 * wide + 0.32 * thin)


def fit_text(text: str, room: float, size: float = 12.0) -> str:
    """The text, cut with an ellipsis where it is wider than the room.

    >>> fit_text("abandoned cart", 60)
    'abandon…'
    """
    if text_width(text, size) <= room:
        return text
    while text and text_width(text + "…", size) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def fit_name(name: str, room: float, size: float = 12.0) -> str:
    """A name, cut in its middle where it is wider than the room: names of one series differ at their ends.

    >>> fit_name("reminder_with_offer_10", 100), fit_name("reminder_with_offer_11", 100)
    ('reminder…er_10', 'reminder…er_11')
    """
    shown, kept = name, len(name)
    while kept > 1 and text_width(shown, size) > room:
        kept -= 1
        shown = cut_in_the_middle(name, kept)
    return shown


def cut_in_the_middle(name: str, letters: int) -> str:
    """A name of so many letters at most, its beginning and its end.

    >>> cut_in_the_middle("a_reminder_of_the_cart_10", 12), cut_in_the_middle("offer", 12)
    ('a_remin…t_10', 'offer')
    """
    if len(name) <= letters:
        return name
    end = (letters - 1) * 2 // 5
    return f"{name[: letters - 1 - end].rstrip()}…{name[len(name) - end :].lstrip()}"


def nice_steps(low: float, high: float, most: int = 5, *, whole: bool = False) -> list[float]:
    """Round numbers between two ends; with `whole`, for counts, whole ones only.

    >>> nice_steps(0, 23)
    [0, 5, 10, 15, 20]
    >>> nice_steps(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_steps(0, 1, whole=True)
    [0.0, 1.0]
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    size = 10 ** math.floor(math.log10(span / most))
    step = next(times * size for times in (1, 2, 2.5, 5, 10, 20) if span / (times * size) <= most)
    step = max(1.0, step) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Axes:
    """A plot's area and scales.

    Attributes:
        width, height: of the whole picture, pixels.
        x, y: the ends of the scales.
        left, right, top, bottom: room around the area.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 48
    right: float = 14
    top: float = 16
    bottom: float = 38

    def at_x(self, value: float) -> float:
        """Pixels from the left."""
        low, high = self.x
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def at_y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.y
        return self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)

    def frame(
        self,
        *,
        x_ticks: Sequence[tuple[float, str]] = (),
        y_ticks: Sequence[tuple[float, str]] = (),
        x_title: str = "",
        y_title: str = "",
    ) -> list[str]:
        """Grid lines, ticks and titles."""
        floor = self.height - self.bottom
        parts = []
        for value, text in y_ticks:
            y = self.at_y(value)
            parts.append(shape("line", x1=self.left, x2=self.width - self.right, y1=y, y2=y, class_="ttk-grid"))
            parts.append(words(self.left - 7, y + 4, text, anchor="end"))
        parts += [words(self.at_x(value), floor + 16, text, anchor="middle") for value, text in x_ticks]
        parts.append(shape("line", x1=self.left, x2=self.width - self.right, y1=floor, y2=floor, class_="ttk-grid"))
        if x_title:
            parts.append(words((self.left + self.width - self.right) / 2, self.height - 4, x_title, anchor="middle"))
        if y_title:
            parts.append(words(2, self.top - 13, y_title))
        return parts

    def line(self, points: Sequence[tuple[float, float]], *, class_: str = "ttk-line") -> str:
        """A line through values; those that are not finite are left out."""
        kept = [(self.at_x(x), self.at_y(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        return shape("path", d=path_of(kept), class_=class_) if kept else ""

    def band(self, points: Sequence[tuple[float, float, float]]) -> str:
        """A band between a low and a high value."""
        kept = [point for point in points if all(map(math.isfinite, point))]
        ways = [(self.at_x(x), self.at_y(low)) for x, low, _ in kept]
        ways += [(self.at_x(x), self.at_y(high)) for x, _, high in reversed(kept)]
        return shape("path", d=path_of(ways) + "Z", class_="ttk-band") if kept else ""


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
