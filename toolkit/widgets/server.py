"""A small extension of the Jupyter server: answers of the kernel leave at once, and notebooks that are opened without a
kernel show snapshots.

* The server waits for more to send before it sends small messages (Nagle's algorithm), which costs a moving slider some
  ten milliseconds each time. Its websockets are told not to.
* A widget without a kernel shows nothing. A notebook read while no kernel runs for it is therefore given out without
  the widgets, so that the snapshot beside each of them is shown. The file stays as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["WIDGET_VIEW", "without_widgets"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def without_widgets(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with every widget that has a snapshot beside it replaced by that; changed in place.

    Args:
        notebook: in nbformat 4.
    """
    for cell in notebook.get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if WIDGET_VIEW in data and "text/html" in data:
                del data[WIDGET_VIEW]
    return notebook


def _at_once(handler: Any) -> None:
    """Have a kind of websocket send what it is given without waiting for more."""
    opened = handler.open

    async def open_at_once(self: Any, *values: Any, **named: Any) -> None:
        self.set_nodelay(True)
        found = opened(self, *values, **named)
        if inspect.isawaitable(found):
            await found

    handler.open = open_at_once


def _with_snapshots(server: Any) -> None:
    """Give out notebooks without widgets where no kernel runs for them."""
    contents, sessions = server.contents_manager, server.session_manager
    read: Callable[..., Any] = contents.get

    async def get(path: str, *values: Any, **named: Any) -> Any:
        model = read(path, *values, **named)
        if isinstance(model, Awaitable):
            model = await model
        if model.get("type") == "notebook" and isinstance(model.get("content"), dict):
            running = [one["path"] for one in await sessions.list_sessions()]
            if path.strip("/") not in running:
                without_widgets(model["content"])
        return model

    contents.get = get


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "toolkit.widgets.server"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from jupyter_server.services.kernels.websocket import KernelWebsocketHandler  # noqa: PLC0415 - the server has it

    _at_once(KernelWebsocketHandler)
    _with_snapshots(server)
