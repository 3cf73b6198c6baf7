"""A figure that is as easy to read on JupyterLab's dark page as on its light one."""

from __future__ import annotations

import importlib

import plotly.graph_objects as go

__all__ = ["INK", "Themed"]

INK = "#717989"
"""Words: 4.3 to 1 on white and on JupyterLab's dark page alike, the most that one colour can be on both."""
_RGB = ", ".join(str(int(INK[at : at + 2], 16)) for at in (1, 3, 5))
_SHEET = (
    f'<style>.jp-OutputArea .js-plotly-plot text[style*="fill: rgb({_RGB})"] '
    "{ fill: var(--jp-content-font-color2) !important; }</style>"
)


class Themed(go.Figure):  # type: ignore[misc]  # plotly is untyped
    """A plotly figure. In a notebook it brings a rule by which its grey words (INK) take the colour of the theme."""

    def _ipython_display_(self) -> None:
        # plotly takes no variable of a style sheet as a colour, and sends no style sheet of its own.
        display = importlib.import_module("IPython.display").display  # loaded where this is called
        display({"text/html": _SHEET}, raw=True)
        super()._ipython_display_()
