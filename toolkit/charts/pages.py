"""Pieces of an HTML page: tables, cards and the frame that needs nothing from outside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from toolkit.charts.style import CONFIG
from toolkit.charts.themed import title_html, title_room
from toolkit.errors import InputError, path_text
from toolkit.readable import number_text, words_width
from toolkit.whole import write_text

__all__ = ["card", "chip", "figure_html", "page", "table_html", "write_page"]

# The page may run what is inside it and fetch nothing at all.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_MIDDLE = 0.5
_WIDEST = 14  # letters of a column of words before its names break: eleven columns of numbers stand beside two

# A printed page is narrower than the window that the figures were drawn for.
_PRINT = """
const drawn = () => document.querySelectorAll(".js-plotly-plot");
addEventListener("beforeprint", () => drawn().forEach((one) => Plotly.relayout(one, { width: 670, autosize: false })));
addEventListener("afterprint", () => drawn().forEach((one) => Plotly.relayout(one, { width: null, autosize: true })));
"""


def page(title: str, body: str) -> str:
    """A whole page with its style sheet and plotly inside it.

    Args:
        title: what the browser's tab says.
        body: HTML.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n<script>{get_plotlyjs()}</script>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{_PRINT}</script>\n</body>\n</html>\n"
    )


def write_page(path: str | os.PathLike[str], text: str) -> Path:
    """Write a page beside its place and put it there at once, so that nobody ever sees half of it.

    Args:
        path: where; an older file there is replaced, or not at all.
        text: the page.

    Returns:
        The path.

    Raises:
        InputError: what is no path; the folder to write to is not there, the path is a folder's, or the disk does not
            take it.
    """
    target = Path(path_text(path, name="path", allowed="the path of a file, for example 'report.html'"))
    if target.is_dir():
        raise InputError(f"{target}: is a folder; name a file in it, for example {target / 'report.html'}")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; make it first")
    try:
        return write_text(target, text)
    except OSError as fault:
        raise InputError(f"{target}: cannot be written: {fault.strerror or fault}") from fault


def figure_html(figure: go.Figure, name: str) -> str:
    """A figure as a panel; plotly itself is in the page, and the title is the page's own, so that it wraps."""
    said, bare = _untitled(figure)
    drawn = to_html(
        bare,
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        div_id=name,
        config={**CONFIG, "plotlyServerURL": "", "displayModeBar": False},
    )
    return f'<div class="panel figure">{said}{drawn}</div>'


def _untitled(figure: go.Figure) -> tuple[str, go.Figure]:
    """The title of a figure as HTML, and the figure without it and without its room."""
    text = str(figure.layout.title.text or "")
    if not text:
        return "", figure
    bare = go.Figure(figure)
    room = title_room(text.split("<br>"))
    height = bare.layout.height - room
    bare.update_layout(title=None, height=height, margin_t=bare.layout.margin.t - room + 8)
    if bare.layout.legend.yref == "container" and (bare.layout.legend.y or 0) > _MIDDLE:
        bare.update_layout(legend_y=1.0)
    return f'<div class="said">{title_html(text, "h3", class_="soft")}</div>', bare


def chip(label: str) -> str:
    """The kind of a number: exact, observed or modelled."""
    return f'<span class="chip {escape(label.split(maxsplit=1)[0].strip(","))}">{escape(label)}</span>'


def card(number: str, what: str, label: str) -> str:
    """One number with what it counts and what kind of number it is."""
    return f'<div><strong>{escape(number)}</strong><span class="what">{escape(what)}</span>{chip(label)}</div>'


def _room(words: pd.Series) -> str:
    """How wide a column of words is at the least: the longest with the space beside it; what is too long wraps."""
    width = words_width(words)
    return f"min-width:calc({width}ch + 1.2rem)" if width < _WIDEST else f"min-width:{_WIDEST}ch"


def table_html(table: pd.DataFrame, *, names: Mapping[str, str] | None = None, numbers: Iterable[str] = ()) -> str:
    """A small table as people read it: thousands apart, shares in percent, a dash for what is not known.

    Args:
        table: a row for each line.
        names: headings by column; underscores become spaces unless given.
        numbers: columns of numbers that are already words.
    """
    names = names or {}
    words = {name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])} - set(numbers)
    styles = {name: f' class=words style="{_room(table[name])}"' if name in words else "" for name in table.columns}
    head = "".join(
        f"<th scope=col{_class(name, words)}>{escape(names.get(str(name), str(name).replace('_', ' ')))}</th>"
        for name in table.columns
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{styles[name]}>{escape(_shown(str(name), row[name]))}</td>" for name in table.columns)
        + "</tr>"
        for row in table.to_dict("records")
    )
    return f'<div class="panel"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _class(name: Any, words: set[Any]) -> str:
    return " class=words" if name in words else ""


def _shown(name: str, value: Any) -> str:
    return number_text(value, share=name.endswith("_rate"))
