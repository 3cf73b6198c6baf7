"""How results of this room look as text and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

import pandas as pd

from toolkit.readable import table_html

__all__ = ["counted", "frame_html", "frame_text", "lines_html", "page"]


def frame_text(frame: pd.DataFrame) -> str:
    """A small table as text, without its index: words to the left, numbers to the right, thousands apart."""
    counts = {name for name in frame.columns if pd.api.types.is_integer_dtype(frame[name])}
    columns = []
    for name in frame.columns:
        shown = ["" if pd.isna(value) else f"{value:,}" if name in counts else str(value) for value in frame[name]]
        width = max(map(len, [str(name), *shown]))
        put = str.rjust if name in counts else str.ljust
        columns.append([put(text, width) for text in [str(name), *shown]])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def frame_html(frame: pd.DataFrame) -> str:
    """A small table as html, without its index, thousands apart."""
    return table_html(frame)


def lines_html(lines: Iterable[str]) -> str:
    """Lines of text as paragraphs."""
    return "".join(f"<p style='margin:.2em 0'>{html.escape(line)}</p>" for line in lines)


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "mail"), counted(1200, "mail"), counted(2, "address", "addresses")
    ('1 mail', '1,200 mails', '2 addresses')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def page(title: str, facts: Mapping[str, object]) -> str:
    """A title and a list of facts as html."""
    rows = "".join(
        f"<tr><td style='text-align:left;opacity:.7'>{html.escape(name)}</td>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<p><b>{html.escape(title)}</b></p><table>{rows}</table>"
