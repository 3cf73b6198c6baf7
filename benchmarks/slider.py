"""A slider moved to the chart redrawn, in JupyterLab in a real Chromium, for logs of several sizes.

Dragging over what was computed ahead; the exact answer when the slider is let go; and moves by a real key, from the
key's own time stamp to the frame in which the bars are others. Beside them, in the same run on the same page, a
callback that does nothing, a FigureWidget, and an Output that is drawn anew.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Bound, Result
from tests.notebooks.lab import Desk, browser, jupyter
from toolkit.simulation import generate_events

__all__ = ["slider_1m", "slider_10m", "slider_100k"]

SIZES = {"slider_100k": (100_000, 5_000), "slider_1m": (1_000_000, 50_000), "slider_10m": (10_000_000, 500_000)}
BOUNDS_MS = {"slider_100k": 120.0, "slider_1m": 120.0, "slider_10m": 400.0}
DRAG_BOUND_MS = 20.0
MOVES = 30

# A frame is on the screen when a task that was queued in it runs.
MEASURE = """
const painted = () => new Promise((done) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => done(performance.now());
  port2.postMessage(0);
}));
const until = (node, is) => new Promise((done) => {
  if (is()) return done();
  const watch = new MutationObserver(() => { if (is()) { watch.disconnect(); done(); } });
  watch.observe(node, { subtree: true, childList: true, attributes: true, characterData: true });
});
const rest = (ms) => new Promise((done) => setTimeout(done, ms));
"""
DRAG = (
    "async (count) => {"
    + MEASURE
    + """
  const slider = document.querySelector(".ttk-tuner input[type=range]");
  const found = [];
  for (let number = 0; number < count; number++) {
    await rest(7 + number % 13);
    const start = performance.now();
    slider.value = (number * 5) % (Number(slider.max) + 1);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    found.push(await painted() - start);
  }
  return found;
}"""
)
RELEASE = (
    "async (places) => {"
    + MEASURE
    + """
  const root = document.querySelector(".ttk-tuner");
  const slider = root.querySelector("input[type=range]");
  const found = [];
  for (const place of places) {
    slider.value = place;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await painted();
    const start = performance.now();
    slider.dispatchEvent(new Event("change", { bubbles: true }));
    await until(root, () => root.dataset.state === "exact");
    found.push(await painted() - start);
    await rest(150);
  }
  return found;
}"""
)
WATCH = (
    "() => {"
    + MEASURE
    + """
  const root = document.querySelector(".ttk-tuner");
  const bars = () => [...root.querySelectorAll(".ttk-figure:not([hidden]) path")];
  const picture = () => bars().map((one) => one.getAttribute("d")).join();
  window.moves = [];
  window.addEventListener("input", (event) => {
    const before = picture();
    painted().then((seen) => window.moves.push({ isChanged: picture() !== before, took: seen - event.timeStamp }));
  }, true);
}"""
)
BOUNCE = (
    "async ([kind, count]) => {"
    + MEASURE
    + """
  const found = [];
  for (let number = 1; number <= count; number++) {
    const start = performance.now();
    window.bounce(kind, number);
    await until(document.body, () => kind === "empty"
      ? document.querySelector(".bounce").textContent === String(number)
      : kind === "figure" ? document.querySelector(".js-plotly-plot .gtitle")?.textContent === `drawn ${number}`
      : document.querySelector(`svg[data-number="${number}"]`) !== null);
    found.push(await painted() - start);
    await rest(60);
  }
  return found;
}"""
)


def slider_100k() -> Iterator[Result]:
    """A hundred thousand events."""
    yield measure("slider_100k")


def slider_1m() -> Iterator[Result]:
    """A million events."""
    yield measure("slider_1m")


def slider_10m() -> Iterator[Result]:
    """Ten million events."""
    yield measure("slider_10m")


def measure(name: str) -> Result:
    """One size."""
    events, customers = SIZES[name]
    path = Path(tempfile.gettempdir()) / "trigger-toolkit-bench" / f"events-{events}-{customers}.parquet"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        generate_events(events, path, customers=customers, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ.setdefault("XDG_CONFIG_HOME", f"{folder}/config")
        _notebook(place / "slider.ipynb", f"from benchmarks.slider_page import show\ntuner = show({str(path)!r})")
        with jupyter(place) as address, browser(address, height=1600) as page:
            found = _measured(page, name)
    exact, drag, empty, key = found["exact"], found["drag"], found["empty"], found["key"]
    return Result(
        name,
        f"{events:,} events",
        exact["p95"] / 1000,
        "a callback that does nothing, p95",
        empty["p95"] / 1000,
        {
            "p50_ms": exact["p50"],
            "p95_ms": exact["p95"],
            "worst_ms": exact["worst"],
            "empty_ms": empty["p50"],
            "drag_p50_ms": drag["p50"],
            "drag_p95_ms": drag["p95"],
            "key_p50_ms": key["p50"],
            "key_worst_ms": key["worst"],
            "figure_widget_ms": found["figure"]["p50"],
            "output_ms": found["output"]["p50"],
        },
        bounds=(Bound("p95_ms", at_most=BOUNDS_MS[name]), Bound("drag_p95_ms", at_most=DRAG_BOUND_MS)),
        about=(
            "From a slider that is let go to the exact numbers on the screen, in Chromium; drag_ is while it moves, "
            "key_ from a press of an arrow key to another picture, of thirty presses."
        ),
    )


def _measured(page: Desk, name: str) -> dict[str, dict[str, float]]:
    page.page.set_default_timeout(600_000)
    page.open("slider.ipynb")
    page.run_all()
    page.page.wait_for_selector(".js-plotly-plot .main-svg")
    page.ask("tuner.finish(600)")
    stops = int(page.page.locator(".ttk-tuner input[type=range]").first.get_attribute("max") or 0)
    between = [place for place in range(1, stops) if place % 4]  # every fourth was computed ahead
    found: dict[str, Any] = {kind: page.page.evaluate(BOUNCE, [kind, 30]) for kind in ("empty", "figure", "output")}
    page.page.wait_for_timeout(2_000)  # what the others drew is still laid out and painted
    found["drag"] = page.page.evaluate(DRAG, 360)
    found["exact"] = page.page.evaluate(RELEASE, between)
    found["key"] = _by_keys(page)
    if page.banners() or page.errors:
        raise RuntimeError(f"{name}: {page.banners()} {page.errors}")
    return {
        kind: {
            "p50": round(float(np.median(times)), 1),
            "p95": round(float(np.quantile(times, 0.95)), 1),
            "worst": round(float(np.max(times)), 1),
        }
        for kind, times in found.items()
    }


def _by_keys(page: Desk) -> list[float]:
    """How long moves of the wait by the arrow keys take, there and back, one when the one before it is drawn."""
    slider = page.page.locator(".ttk-tuner input[type=range]").first
    slider.focus()
    page.page.keyboard.press("Home")
    page.page.wait_for_timeout(1_000)
    page.page.evaluate(WATCH)
    stops = int(slider.get_attribute("max") or 0)
    keys = (["ArrowRight"] * stops + ["ArrowLeft"] * stops) * (MOVES // stops + 1)
    for number, key in enumerate(keys[:MOVES]):
        page.page.keyboard.press(key)
        page.page.wait_for_function("(count) => window.moves.length > count", arg=number)
        page.page.wait_for_timeout(40 + 7 * (number % 5))
    moves = page.page.evaluate("window.moves")
    if still := sum(not move["isChanged"] for move in moves):
        raise RuntimeError(f"{still} of {MOVES} moves left the picture as it was")
    return [move["took"] for move in moves]


def _notebook(path: Path, code: str) -> None:
    cell = {"cell_type": "code", "id": "page", "metadata": {}, "source": code, "execution_count": None, "outputs": []}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
