"""Errors in callbacks: JupyterLab drops them without a word, so they are kept and shown."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from toolkit.errors import ToolkitError

__all__ = ["INTERRUPTED", "Guarded", "told"]

INTERRUPTED = "The kernel was interrupted before this was done. What stands here is how it was; do it once more."


def told(error: BaseException) -> str:
    """An error in words: the message of one of ours, else its kind, its message and the line it came from.

    >>> told(ToolkitError("no such step"))
    'no such step'
    """
    if isinstance(error, ToolkitError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


class Guarded(anywidget.AnyWidget):
    """A widget that shows what went wrong, in the kernel or in the browser.

    Attributes:
        error: what went wrong, or ""; shown in a red box.
    """

    error = traitlets.Unicode().tag(sync=True)
    browser_error = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._lock = threading.RLock()
        self.observe(self._told_by_browser, "browser_error")

    def guarded(self, work: Callable[..., object], *values: Any) -> bool:
        """Do the work, show any error of it, and say whether it went well; what went well clears the one shown."""
        with self._lock:
            try:
                work(*values)
            except Exception as fault:  # JupyterLab drops errors of callbacks without a word
                self.error = told(fault)
                return False
            except KeyboardInterrupt:
                self.error = INTERRUPTED
                raise
            self.error = ""
            return True

    def _told_by_browser(self, change: Any) -> None:
        if change["new"]:
            self.error = change["new"]
