"""Results that can be drawn. The drawings live in `toolkit.charts`, which is loaded when the first one is asked for,
so that the rooms that compute know nothing of plotly."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Drawable"]


class Drawable:
    """A result with a picture."""

    __slots__ = ()

    def plot(self, **options: Any) -> Any:
        """The picture of this result.

        Args:
            **options: what the drawing of this kind of result takes; see `toolkit.charts`.

        Returns:
            A plotly figure.

        Raises:
            NotSupportedError: no drawing is known for this kind of result.
        """
        return importlib.import_module("toolkit.charts").figure(self, **options)
