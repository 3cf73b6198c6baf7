"""Take the picture of the notebook that the README shows, in a real Chromium.

python -m tests.notebooks.picture [docs/images/notebook.png]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.notebooks.lab import ROOT, browser, desk, jupyter

_MOST_BYTES = 300_000
_ABOVE = 96  # pixels of the words and the cell above the screen


def take(path: Path) -> None:
    """Run the notebook, move a slider, and keep what is seen."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = f"{folder}/config"
        with jupyter(desk(Path(folder))) as address, browser(address, width=1180, height=900, scale=1.5) as seen:
            seen.open("notebooks/01_abandoned_cart.ipynb")
            seen.run_all()
            page = seen.page
            page.wait_for_selector(".ttk-live-chart .main-svg", timeout=20_000)
            page.locator("input[aria-label='Wait before the mail']").focus()
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            page.evaluate(
                """(above) => {
                  document.activeElement.blur();
                  const screen = document.querySelector(".ttk");
                  const frame = screen.closest(".jp-WindowedPanel-outer");
                  frame.scrollTop += screen.getBoundingClientRect().top - frame.getBoundingClientRect().top - above;
                }""",
                _ABOVE,
            )
            page.wait_for_timeout(1500)
            path.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(path))
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes")
    if size > _MOST_BYTES:
        raise SystemExit(f"more than {_MOST_BYTES:,} bytes: take it smaller")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path, default=ROOT / "docs" / "images" / "notebook.png")
    take(parser.parse_args().path)
