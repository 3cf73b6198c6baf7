"""The points of a surface on their way to the browser: tables of counts as short texts, and no point told twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["packed", "table_text"]

_TABLES = ("hours", "days", "own")


def table_text(rows: list[list[int]], base: list[list[int]] | None = None) -> str:
    """A table of counts, or how far each is from a base, as a text: a bar between rows, nothing for a zero.

    >>> table_text([[12, 0, 7], [0, 0, 1]])
    '12  7|  1'
    >>> table_text([[12, 0, 7]], [[10, 0, 8]])
    '2  -1'
    """
    if base is not None:
        rows = [[a - b for a, b in zip(*both, strict=True)] for both in zip(rows, base, strict=True)]
    return "|".join(" ".join(str(count) if count else "" for count in row) for row in rows)


def packed(surface: Mapping[str, Any], _: object = None) -> dict[str, Any]:
    """A surface (`Tuner.surface`) as it crosses to the browser, which `unpacked` in tuner.js takes apart again.

    Args:
        surface: with its points; empty before there is one.
        _: the widget, which ipywidgets hands over.

    Returns:
        The same in a third of the room; `today_point` is None where it is the base.
    """
    if not surface:
        return {}
    base, today = surface["base"], surface["today_point"]
    return {
        **surface,
        "base": {key: table_text(value) if key in _TABLES else _short(value) for key, value in base.items()},
        "today_point": None if today == base else _beside(today, base),
        "settings": [_beside(one, base) for one in surface["settings"]],
        "lines": {
            name: [None if one is None else _beside(one, base) for one in line]
            for name, line in surface["lines"].items()
        },
    }


def _beside(point: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """What of a point is not as at the base."""
    return {
        key: table_text(value, base[key]) if key in _TABLES else _short(value)
        for key, value in point.items()
        if value != base[key]
    }


def _short(value: Any) -> Any:
    """A fraction to the digits that a screen shows, and some."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
