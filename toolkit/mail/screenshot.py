"""An html document in, a PNG out: Chromium, where it is present, looks at it without a network."""

from __future__ import annotations

import importlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, NotSupportedError, shown

__all__ = ["chromium", "screenshot"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = ("--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")
_FEWEST, _MOST = 280, 1600


def chromium() -> str | None:
    """Where Chromium or Chrome is on this machine, None where it is not."""
    return next((path for path in map(shutil.which, _NAMES) if path), None)


def screenshot(document: str, path: Path, *, width: int, scale: float = 1.0) -> Path:
    """The whole height of a document, at a window's width.

    Args:
        document: html; what it would load from the network stays out.
        path: of the PNG.
        width: of the window in px, 280 to 1600.
        scale: pixels of the picture for one px of the page, 0.5 to 4.

    Returns:
        The path.

    Raises:
        InputError: a width or scale no window has, or no folder to write to.
        NotSupportedError: no Chromium, or no playwright to drive it.
    """
    numbers = isinstance(width, int) and isinstance(scale, int | float)
    if not numbers or not _FEWEST <= width <= _MOST or not 0.5 <= scale <= 4:
        raise InputError(
            f"png: expected a width of {_FEWEST} to {_MOST} px and a scale of 0.5 to 4; found {shown(width)} and "
            f"{shown(scale)}"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"png: there is no folder {path.parent} to write {path.name} to")
    # Playwright refuses to work in a thread that runs an event loop, as a notebook's does.
    with ThreadPoolExecutor(max_workers=1) as thread:
        path.write_bytes(thread.submit(_taken, document, width, scale).result())
    return path


def _taken(document: str, width: int, scale: float) -> bytes:
    browser_path = chromium()
    try:
        api: Any = importlib.import_module("playwright.sync_api")
    except ModuleNotFoundError:
        api = None
    if browser_path is None or api is None:
        missing = (
            "Chromium (apt-get install chromium)" if browser_path is None else "playwright (pip install playwright)"
        )
        raise NotSupportedError(f"png: a picture needs {missing}; without it, show the preview in a notebook")
    with api.sync_playwright() as playwright:
        # The document is our own, runs no script and has no network; as root, Chromium has no sandbox to offer.
        browser = playwright.chromium.launch(executable_path=browser_path, args=[*_FLAGS, "--no-sandbox"])
        try:
            context = browser.new_context(
                viewport={"width": width, "height": 400},
                device_scale_factor=scale,
                java_script_enabled=False,
                offline=True,
            )
            page = context.new_page()
            page.set_content(document, wait_until="load")
            picture: bytes = page.screenshot(full_page=True)
        finally:
            browser.close()
    return picture
