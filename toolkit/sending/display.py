"""How results of this room look as text and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import pandas as pd

__all__ = ["frame_text", "page", "some_of"]


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


def some_of(names: Sequence[str]) -> str:
    """The first few names, in words.

    >>> some_of(["c1", "c2", "c3", "c4", "c5"])
    'c1, c2, c3 and 2 more'
    """
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


_NAMED = 3


def page(title: str, facts: Mapping[str, object]) -> str:
    """A title and a list of facts as html."""
    rows = "".join(
        f"<tr><td style='text-align:left;opacity:.7'>{html.escape(name)}</td>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<p><b>{html.escape(title)}</b></p><table>{rows}</table>"
