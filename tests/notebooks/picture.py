"""Take the pictures of the screens that README and docs/notebooks.md show, in a real JupyterLab and Chromium.

python -m tests.notebooks.picture [FOLDER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.notebooks.lab import ROOT, Desk, browser, desk, jupyter

_MOST_BYTES = 250_000
_EXACT = ".ttk-tuner[data-state='exact']"


def take(folder: Path) -> None:
    """All pictures, in light and one in dark."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CONFIG_HOME"] = f"{place}/config"
        with jupyter(desk(Path(place))) as address, browser(address, width=1240, height=1500) as seen:
            _tuner(seen, folder / "tuner_light.png")
            _screen(seen, "01_backtest_a_scenario", "view", folder / "scenario_view.png", press="[data-value=offer]")
            _screen(seen, "04_read_an_experiment", "board", folder / "experiment_board.png")
            _screen(seen, "06_approve_and_send", "desk", folder / "approve.png", press="button:has-text('Samples')")
    with (
        tempfile.TemporaryDirectory() as place,
        jupyter(desk(Path(place)), theme="dark") as address,
        browser(address, theme="dark", width=1240, height=1000) as seen,
    ):
        _tuner(seen, folder / "tuner_dark.png")


def _tuner(seen: Desk, path: Path) -> None:
    seen.open("notebooks/02_tune_delays_and_offers.ipynb")
    seen.run_all()
    seen.page.wait_for_selector(_EXACT)
    seen.page.get_by_role("button", name="Pin this setting").click()
    seen.page.locator("input[aria-label='Wait before the mail']").focus()
    for _ in range(7):
        seen.page.keyboard.press("ArrowRight")
    seen.page.wait_for_selector(_EXACT)
    # On a machine that compiles for the first time a forecast takes minutes.
    seen.page.wait_for_function(
        "() => !document.querySelector('.ttk-tuner').innerText.includes('forecasting…')", timeout=400_000
    )
    _shoot(seen, seen.page.locator(".ttk-tuner").first, path)


def _screen(seen: Desk, notebook: str, cell: str, path: Path, *, press: str | None = None) -> None:
    seen.close()
    seen.open(f"notebooks/{notebook}.ipynb")
    seen.run_all()
    place = seen.page.evaluate(
        "(id) => window.jupyterapp.shell.currentWidget.content.widgets.findIndex((cell) => cell.model.id === id)", cell
    )
    screen = seen.page.locator(".jp-Notebook .jp-Cell").nth(place).locator("section.ttk").first
    if press is not None:
        screen.locator(press).first.click()
    _shoot(seen, screen, path)


def _shoot(seen: Desk, screen: Any, path: Path) -> None:
    seen.page.evaluate("document.activeElement?.blur()")
    screen.scroll_into_view_if_needed()
    seen.page.wait_for_timeout(1500)
    screen.screenshot(path=str(path))
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes", flush=True)
    if size > _MOST_BYTES:
        raise SystemExit(f"more than {_MOST_BYTES:,} bytes: take it smaller")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "images")
    take(parser.parse_args().folder)
