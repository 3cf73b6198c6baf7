"""HTML for screens: elements with their attributes escaped, and the parts that all screens share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from toolkit.readable import number_text

__all__ = [
    "Html",
    "at_widths",
    "button",
    "card",
    "chip",
    "choice",
    "field",
    "legend",
    "note",
    "page_tabs",
    "progress_bar",
    "slider",
    "table",
    "tag",
    "together",
    "word_room",
]

_WIDTHS = (262, 340, 430, 560, 660, 760, 860, 960)  # pixels, as panel.css has them
_LETTER = 1.08  # of a figure's width: as wide as a letter is
_LONG_WORD = 14  # letters; a longer one breaks
_VOID = frozenset(("input", "br", "hr", "img"))


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def tag(name: str, *inside: object, **attributes: Any) -> Html:
    """An element.

    Args:
        name: of the element.
        *inside: `Html` as it is, anything else as text; None is left out.
        **attributes: an underscore stands for a dash, one at the end is dropped (`class_`); None and False are left
            out.

    >>> tag("p", "1 < 2", tag("br"), class_="said", data_act="go", hidden=False)
    '<p class="said" data-act="go">1 &lt; 2<br></p>'
    """
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value), quote=True)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    text = "".join(part if isinstance(part, Html) else escape(str(part)) for part in inside if part is not None)
    return Html(f"<{name}{shown}>" if name in _VOID else f"<{name}{shown}>{text}</{name}>")


def at_widths(draw: Callable[[float], str], wide: int) -> Html:
    """A picture drawn at several widths; a style shows the widest there is room for, so that its words keep their size.

    Args:
        draw: takes the width in pixels, gives SVG.
        wide: the width for a desk.
    """
    widths = (*(width for width in _WIDTHS if width < wide), wide)
    drawn = (
        tag("div", Html(draw(float(width))), class_=f"ttk-at-{width}{' ttk-widest' if width == wide else ''}")
        for width in widths
    )
    return tag("div", together(drawn), class_="ttk-fit")


def together(parts: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts if part is not None))


def page_tabs(pages: Iterable[tuple[str, str]], chosen: str) -> Html:
    """A button for each page of a screen, by key and name, which tells the screen `page`."""
    buttons = (button(name, "page", value=key, aria_pressed=str(key == chosen).lower()) for key, name in pages)
    return tag("div", together(buttons), class_="ttk-tabs", role="group", aria_label="What is shown")


def chip(kind: str) -> Html:
    """What kind of number it is: exact, observed, modelled, planned; each has its own colour and its own border."""
    titles = {
        "exact": "Exact: follows from the log and the rules, nothing assumed",
        "observed": "Observed: what did follow, in the history that really was",
        "modelled": "Modelled: needs a model of how people answer, carries an interval",
        "planned": "Planned: computed from assumptions shown beside it",
    }
    return tag("span", kind, class_=f"ttk-chip ttk-{kind}", title=titles.get(kind))


def card(what: str, number: str, detail: object = "", kind: str = "", *, tone: str = "") -> Html:
    """One number with its name, what it is made of, and its kind."""
    return tag(
        "div",
        tag("span", what, class_="ttk-what"),
        tag("strong", number),
        tag("span", detail, class_="ttk-detail"),
        chip(kind) if kind else None,
        class_=f"ttk-card ttk-card-{kind}{f' ttk-{tone}' if tone else ''}",
    )


def button(words: object, act: str, *, value: object = None, kind: str = "", off: bool = False, **more: Any) -> Html:
    """A button that does something in the kernel."""
    return tag(
        "button",
        words,
        type="button",
        class_=f"ttk-button {f'ttk-{kind}' if kind else ''}".strip(),
        data_act=act,
        data_value=value,
        disabled=off,
        **more,
    )


def field(label: str, act: str, value: object, *, hint: str = "", **more: Any) -> Html:
    """A labelled box to type in; Enter, or leaving the box, tells the kernel."""
    return tag(
        "label",
        tag("span", label, class_="ttk-what"),
        tag(
            "input",
            type="text",
            value=value,
            data_act=act,
            autocomplete="off",
            spellcheck="false",
            aria_label=label,
            aria_description=hint or None,
            **more,
        ),
        tag("span", hint, class_="ttk-detail") if hint else None,
        class_="ttk-field",
    )


def choice(label: str, act: str, options: Sequence[tuple[object, str]], value: object, **more: Any) -> Html:
    """A labelled list of options, one chosen."""
    inner = together(tag("option", words, value=key, selected=str(key) == str(value)) for key, words in options)
    return tag(
        "label", tag("span", label, class_="ttk-what"), tag("select", inner, data_act=act, **more), class_="ttk-field"
    )


def slider(
    label: str,
    act: str,
    *,
    low: float,
    high: float,
    step: float,
    value: float,
    text: str,
    ticks: Sequence[tuple[float, str]] = (),
) -> Html:
    """A labelled slider with its value in words; it tells the kernel while it moves, the latest place only."""
    span = (high - low) or 1.0
    marks = together(tag("span", words, style=f"left:{100 * (place - low) / span:.2f}%") for place, words in ticks)
    return tag(
        "label",
        tag("span", tag("span", label), tag("span", text, class_="ttk-value"), class_="ttk-name"),
        tag(
            "span",
            tag(
                "input",
                type="range",
                min=f"{low:g}",
                max=f"{high:g}",
                step=f"{step:g}",
                value=f"{value:g}",
                data_act=act,
                data_live="true",
                aria_label=label,
                aria_valuetext=text,
            ),
            tag("span", marks, class_="ttk-ticks", aria_hidden="true") if ticks else None,
            class_="ttk-track",
        ),
        class_="ttk-slider",
    )


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """Colours (as classes) and what they stand for."""
    return tag(
        "div", together(tag("span", tag("i", class_=style), words) for style, words in entries), class_="ttk-legend"
    )


def note(words: object, *, tone: str = "plain") -> Html:
    """A sentence that stands out: plain, good, careful or bad; a sign says the same as the colour."""
    signs = {"plain": "i", "good": "✓", "careful": "!", "bad": "✕"}
    return tag(
        "p",
        tag("span", signs[tone], class_="ttk-sign", aria_hidden="true"),
        tag("span", words),
        class_=f"ttk-note ttk-note-{tone}",
        role="status",
    )


def progress_bar(done: int, total: int, words: str) -> Html:
    """How far a job is."""
    share = 100 * done / total if total else 0.0
    return tag(
        "div",
        tag("div", tag("div", style=f"width:{share:.1f}%"), class_="ttk-bar"),
        tag("span", words, class_="ttk-detail"),
        class_="ttk-progress",
        role="progressbar",
        aria_valuemin=0,
        aria_valuemax=total,
        aria_valuenow=done,
        aria_valuetext=words,
    )


def table(frame: pd.DataFrame, *, numbers: Iterable[str] = ()) -> Html:
    """A small table, numbers (those that are words already by name) to the right."""
    numbers = {name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])} | set(numbers)
    rooms = {str(name): word_room(frame[name]) for name in frame.columns if name not in numbers}
    head = together(
        tag("th", str(name), class_="ttk-number" if name in numbers else None, scope="col") for name in frame
    )
    rows = []
    for row in frame.to_dict("records"):
        cells = together(
            tag("td", number_text(value), class_="ttk-number" if name in numbers else None, style=rooms.get(str(name)))
            for name, value in row.items()
        )
        rows.append(tag("tr", cells))
    return tag("div", tag("table", tag("thead", tag("tr", head)), tag("tbody", together(rows))), class_="ttk-table")


def word_room(values: pd.Series) -> str:
    """As much room as the longest word of a column needs, so that short ones never break."""
    longest = max((len(word) for value in values for word in re.split(r"[ /]", str(value))), default=0)
    return f"min-width:calc({_LETTER * min(longest, _LONG_WORD):.1f}ch + 20px)"
