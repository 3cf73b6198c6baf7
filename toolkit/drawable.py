"""Results that can be drawn. The drawings live in `toolkit.charts`, which is loaded when the first one is asked for,
so that the rooms that compute know nothing of plotly."""

from __future__ import annotations

import importlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Drawable", "Reportable"]


class Drawable:
    """A result with a picture."""

    __slots__ = ()

    def plot(self, **options: Any) -> Figure:
        """The picture of this result.

        Args:
            **options: what the drawing of this kind of result takes; see `toolkit.charts`.

        Returns:
            A plotly figure.

        Raises:
            NotSupportedError: no drawing is known for this kind of result.
        """
        return importlib.import_module("toolkit.charts").figure(self, **options)


class Reportable(Drawable):
    """A result with a page of its own."""

    __slots__ = ()

    def report(self, path: str | PathLike[str], *, title: str | None = None, by_day: Drawable | None = None) -> Path:
        """Write one HTML file with this result: in words, pictures and tables; it opens without a network.

        Args:
            path: where to write; an older file there is replaced at once, or not at all.
            title: the heading; taken from the result unless given.
            by_day: how the result developed, from `toolkit.stats.lift_by_day`.

        Returns:
            The path of the file.

        Raises:
            InputError: the folder to write to is not there.
        """
        charts = importlib.import_module("toolkit.charts")
        written: Path = charts.experiment_report(self, path=path, title=title, by_day=by_day)
        return written
