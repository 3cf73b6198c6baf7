"""What all screens share: one look, one banner for errors, and one place where their state is: the kernel.

A screen draws itself as HTML from its state and sends that; the browser shows it and tells the kernel what was pressed.
So what is shown is what is held, after a reload, too. Screens that must follow a hand without asking the kernel (the
tuner) bring a script of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from toolkit.errors import ToolkitError, shown
from toolkit.widgets.guard import INTERRUPTED, Guarded, told
from toolkit.widgets.jobs import Jobs
from toolkit.widgets.markup import Html, tag
from toolkit.widgets.server import MADE

__all__ = ["Panel", "script", "sheet"]

_HERE = Path(__file__).parent


def script(*names: str) -> str:
    """Scripts of this folder, one after the other, as one module."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


def sheet(*names: str) -> str:
    """Style sheets of this folder, the shared one first, without what only their authors need."""
    whole = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("panel.css", *names))
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", whole, flags=re.DOTALL))


class Panel(Guarded):
    """A screen. Those who inherit give `body` and, for each thing that can be pressed, a method `act_<name>`.

    Attributes:
        view: the screen as HTML, as it is shown now.
    """

    _esm = script("panel.js", "screen.js")
    _css = sheet()

    view = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._callbacks: list[Callable[[Any], object]] = []
        self.on_msg(self._heard)

    # --- what a screen gives ------------------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """What the screen holds: a frozen object, or None where there is none yet."""
        return None

    def body(self) -> Html:
        """The screen, from its state."""
        raise NotImplementedError

    def close(self) -> None:
        """Take the screen away; what it does beside the notebook ends at its next step."""
        self._end()
        super().close()

    def _end(self) -> None:
        jobs: Jobs | None = getattr(self, "_jobs", None)  # a screen that could not be made has none, and closes, too
        if jobs is not None:
            jobs.cancel()

    def on_change(self, callback: Callable[[Any], object]) -> None:
        """Call back with `value` whenever it changes; an error in it is shown on the screen.

        Args:
            callback: takes `value`.
        """
        self._callbacks.append(callback)

    # --- how it works -------------------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Draw the screen from its state; safe from any thread."""
        with self._lock:
            self.view = str(self.body())

    def changed(self) -> None:
        """Tell everyone who asked that `value` is another."""
        for callback in list(self._callbacks):
            callback(self.value)

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, dict) or "act" not in content:
            return
        try:
            self.guarded(self._act, str(content["act"]), content.get("value"))
            # What was pressed may have failed halfway; what is shown is what is held all the same.
            self.guarded_draw()
        except KeyboardInterrupt:
            self.error = INTERRUPTED  # it was this press that was interrupted, and no cell
        finally:
            self.send({"seen": content.get("number")})

    def guarded_draw(self) -> None:
        """Draw; an error while drawing stands in the banner."""
        try:
            self.redraw()
        except Exception as fault:
            self.error = told(fault)

    def _act(self, name: str, value: Any) -> None:
        method = getattr(self, f"act_{name}", None)
        if method is None:
            raise ToolkitError(f"this screen knows no {shown(name)}")
        method(value)

    # --- a notebook without a kernel ----------------------------------------------------------------------------------

    def snapshot(self) -> str:
        """The screen as HTML that does nothing, for a notebook opened without a kernel; it says that it is one."""
        return self.still(Html(self.view), "A snapshot from when the cell ran. Run the cell to use it.")

    def still(self, inside: Html, said: str) -> str:
        """A screen of HTML that does nothing, below a sentence that says so."""
        words = tag("p", said, class_="ttk-snapshot")
        still = tag("section", words, inside, class_="ttk ttk-still", inert=True, aria_label=self.title)
        return f"<style>{sheet()}</style>{still}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        shown = super()._repr_mimebundle_(**options)
        bundle, about = shown if isinstance(shown, tuple) else (shown, {})
        if bundle is None:
            return shown
        bundle["text/plain"] = repr(self)
        bundle["text/html"] = self.snapshot()
        # When it was shown, so that the server knows whether the kernel it was shown by is still the one that runs.
        return bundle, {**about, MADE: {"at": time.time()}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title})"
