"""Take the pictures of the screens that README and docs/notebooks.md show, in a real JupyterLab and Chromium; and the
picture of docs/forecast.md, of what that page's own code gives.

python -m tests.notebooks.picture [FOLDER] [--only forecast]

Those of mails are taken by tests.mail.contact_sheet.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.notebooks.lab import ROOT, Desk, browser, chromium, desk, jupyter

_MOST_BYTES = 250_000
SCREENS: dict[str, list[tuple[str, str, str | None]]] = {
    "00_start_here": [("log", "log_profile", None), ("trace", "trace_view", None)],
    "01_backtest_a_scenario": [("view", "scenario_view", "[data-value=offer]"), ("sweep", "sweep_map", None)],
    "03_design_an_experiment": [("designer", "experiment_designer", None)],
    "04_read_an_experiment": [
        ("board", "experiment_board", None),
        ("board", "experiment_days", "button:has-text('Day by day')"),
    ],
    "06_approve_and_send": [
        ("preview", "mail_preview_notebook", None),
        ("desk", "approve", "button:has-text('Samples')"),
    ],
}
"""By notebook: the cell, the name of its picture, and what is pressed before it is taken."""
_EXACT = ".ttk-tuner[data-state='exact']"


def take(folder: Path) -> None:
    """All pictures, in light and one in dark."""
    folder.mkdir(parents=True, exist_ok=True)
    forecast(folder / "forecast.png")
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CONFIG_HOME"] = f"{place}/config"
        with jupyter(desk(Path(place))) as address, browser(address, width=1240, height=1500) as seen:
            _tuner(seen, folder / "tuner_light.png")
            for notebook, screens in SCREENS.items():
                _open(seen, notebook)
                for cell, name, press in screens:
                    screen = _screen(seen, cell)
                    if press is not None:
                        screen.locator(press).first.click()
                        screen.get_by_text("Reckoning").wait_for(state="hidden")
                    _shoot(seen, screen, folder / f"{name}.png")
            _sent(seen, folder / "send_console.png")
    with (
        tempfile.TemporaryDirectory() as place,
        jupyter(desk(Path(place)), theme="dark") as address,
        browser(address, theme="dark", width=1240, height=1000) as seen,
    ):
        _tuner(seen, folder / "tuner_dark.png")


def forecast(path: Path) -> None:
    """The forecast that docs/forecast.md makes, by arm, and what its interval is made of."""
    page = (ROOT / "docs" / "forecast.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    made: dict[str, Any] = {}
    exec(code.replace('"data/', f'"{ROOT}/data/').replace('"templates/', f'"{ROOT}/templates/'), made)
    figures = [made["forecast"].plot(), made["forecast"].plot(show="parts")]
    shown = "".join(one.to_html(full_html=False, include_plotlyjs=place == 0) for place, one in enumerate(figures))
    theme = "--jp-content-font-color1:#1b2130;--jp-content-font-color2:#5a6272"
    with chromium() as opened:
        sheet = opened.new_page(viewport={"width": 700, "height": 620}, device_scale_factor=2)
        sheet.set_content(
            f"<body style='margin:0;background:#fff;{theme}'><div style='width:688px'>{shown}</div></body>"
        )
        sheet.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 2")
        sheet.wait_for_timeout(800)
        sheet.locator("body > div").screenshot(path=str(path))
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    _tell(path)


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


def _open(seen: Desk, notebook: str) -> None:
    seen.close()
    seen.open(f"notebooks/{notebook}.ipynb")
    seen.run_all()


def _sent(seen: Desk, path: Path) -> None:
    """Sign and send what the notebook that is open has prepared."""
    page = seen.page
    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("I have looked at the samples").check()
    page.get_by_role("button", name=re.compile(r"^Sign for \d+ mails$")).click()
    count = re.sub(r"\D", "", page.get_by_role("button", name=re.compile(r"^Send \d+ mails$")).inner_text())
    page.get_by_label("Number of mails").fill(count)
    page.keyboard.press("Enter")
    page.locator("button[data-act='send']:not([disabled])").click()
    page.get_by_text(re.compile("settled · done")).wait_for()
    _shoot(seen, _screen(seen, "console"), path)


def _screen(seen: Desk, cell: str) -> Any:
    place = seen.page.evaluate(
        "(id) => window.jupyterapp.shell.currentWidget.content.widgets.findIndex((cell) => cell.model.id === id)", cell
    )
    return seen.page.locator(".jp-Notebook .jp-Cell").nth(place).locator("section.ttk").first


def _shoot(seen: Desk, screen: Any, path: Path) -> None:
    seen.page.evaluate("document.activeElement?.blur()")
    seen.page.mouse.move(2, 2)  # nothing is pointed at
    screen.scroll_into_view_if_needed()
    seen.page.wait_for_timeout(1500)
    screen.screenshot(path=str(path))
    _tell(path)


def _tell(path: Path) -> None:
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes", flush=True)
    if size > _MOST_BYTES:
        raise SystemExit(f"more than {_MOST_BYTES:,} bytes: take it smaller")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=["forecast"], help="this picture alone")
    given = parser.parse_args()
    if given.only:
        forecast(given.folder / "forecast.png")
    else:
        take(given.folder)
