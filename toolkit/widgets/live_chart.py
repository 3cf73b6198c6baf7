"""A plotly chart that follows a tuner, drawn in the browser by the plotly.js of the installed plotly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import plotly.graph_objects as go
import traitlets
from plotly.offline import get_plotlyjs

from toolkit.charts.style import CONFIG
from toolkit.widgets.guard import Guarded

if TYPE_CHECKING:
    from toolkit.widgets.tuner import Tuner

__all__ = ["LiveChart"]


class LiveChart(Guarded):
    """A plotly chart with one figure for every wait of a tuner; made by `Tuner.chart`.

    The browser holds all figures and swaps them as the sliders move. plotly.js comes from the kernel, once for each
    page, and is not kept in the notebook.

    Attributes:
        figures: the figures by wait.
    """

    _esm = Path(__file__).with_name("live_chart.js")
    _css = Path(__file__).with_name("live_chart.css")

    frames = traitlets.Dict(read_only=True).tag(sync=True)
    settings = traitlets.Dict(read_only=True).tag(sync=True)
    wait = traitlets.Unicode().tag(sync=True)
    percent = traitlets.Float().tag(sync=True)

    def __init__(self, tuner: Tuner, figures: Mapping[str, go.Figure], *, currency: str) -> None:
        super().__init__(wait=tuner.wait, percent=tuner.percent)
        self.figures = dict(figures)
        self._tuner = tuner
        self.set_trait("settings", {"config": CONFIG, "currency": currency})
        self.set_trait("frames", {wait: json.loads(figure.to_json()) for wait, figure in figures.items()})
        # In the browser, so that a drag needs no kernel.
        self._links = [ipywidgets.jsdlink((tuner, name), (self, name)) for name in ("wait", "percent")]
        self.on_msg(lambda *heard: self.guarded(self._asked, *heard))

    def _asked(self, widget: Any, content: Mapping[str, Any], buffers: Any) -> None:
        if content.get("want") == "plotly":
            self.send({"have": "plotly"}, buffers=[get_plotlyjs().encode()])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        shown = super()._repr_mimebundle_(**options)
        bundle = shown[0] if isinstance(shown, tuple) else shown
        if bundle is not None:
            bundle["text/plain"] = repr(self)
            bundle["application/vnd.plotly.v1+json"] = json.loads(self._tuner.figure().to_json())
        return shown

    def __repr__(self) -> str:
        return f"LiveChart({self._tuner!r})"
