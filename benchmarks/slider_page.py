"""What stands on the page that `benchmarks.slider` measures: the tuner, and beside it three other ways to redraw."""

from __future__ import annotations

from typing import Any

import anywidget
import ipywidgets
import plotly.graph_objects as go
import traitlets
from IPython.display import HTML, display

from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.widgets import Tuner

PROGRAM = """
scenario: abandoned_cart
trigger: {event: cart_add, where: "value >= 20"}
reentry: every
while_active: restart
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: value}
steps:
  - {id: pause, wait: 4h}
  - send: abandoned_cart/reminder
  - {id: second_pause, wait: 1d}
  - {send: abandoned_cart/offer, offer: {percent: 10, valid: 3d}}
"""
BARS = 24


class Bounce(anywidget.AnyWidget):
    """A widget whose callback does nothing, updates a FigureWidget, or draws into an Output anew."""

    _esm = """
    export default { render({ model, el }) {
      el.className = "bounce";
      el.textContent = "0";
      window.bounce = (kind, number) => model.send({ kind, number });
      model.on("change:count", () => { el.textContent = String(model.get("count")); });
    } };
    """
    count = traitlets.Int().tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self.figure = go.FigureWidget([go.Bar(x=list(range(BARS)), y=[1.0] * BARS)])
        self.output = ipywidgets.Output()
        self.on_msg(self._heard)

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        number = int(content["number"])
        heights = [1.0 + (number * 7 + place) % 11 for place in range(BARS)]
        if content["kind"] == "figure":
            with self.figure.batch_update():
                self.figure.data[0].y = heights
                self.figure.layout.title.text = f"drawn {number}"
        elif content["kind"] == "output":
            bars = "".join(
                f'<rect x="{12 * place}" y="{120 - 10 * height}" width="10" height="{10 * height}"/>'
                for place, height in enumerate(heights)
            )
            with self.output:
                self.output.clear_output(wait=True)
                display(HTML(f'<svg width="300" height="120" data-number="{number}">{bars}</svg>'))
        else:
            self.count = number


def show(path: str) -> Tuner:
    """The page, over a log in Parquet."""
    tuner = Tuner(loads(PROGRAM), EventLog.from_parquet(path), offer="abandoned_cart.offer.offer.percent")
    bounce = Bounce()
    display(tuner, bounce, bounce.figure, bounce.output)
    return tuner
