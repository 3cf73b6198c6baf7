"""A small extension of the Jupyter server: answers of the kernel leave at once, and notebooks that are opened without a
kernel show snapshots.

* The server waits for more to send before it sends small messages (Nagle's algorithm), which costs a moving slider some
  ten milliseconds each time. Its websockets are told not to.
* A widget without the kernel that made it shows nothing. A notebook is therefore given out without widgets that were
  shown by a kernel that is gone, so that the snapshot beside each of them is shown. The file stays as it is.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["MADE", "WIDGET_VIEW", "without_widgets"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MADE = "toolkit"
"""Where the metadata of an output say when its widget was shown."""


def without_widgets(notebook: dict[str, Any], *, before: float = math.inf) -> dict[str, Any]:
    """The notebook with every widget that has a snapshot beside it replaced by that; changed in place.

    Args:
        notebook: in nbformat 4.
        before: seconds since 1970; widgets shown later stay.
    """
    for cell in notebook.get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            made = output.get("metadata", {}).get(MADE, {}).get("at")
            is_gone = math.isinf(before) or (made is not None and made < before)
            if is_gone and WIDGET_VIEW in data and "text/html" in data:
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
    """Give out notebooks without the widgets of kernels that are gone."""
    contents, sessions = server.contents_manager, server.session_manager
    began = _beginnings(server.kernel_manager)
    read: Callable[..., Any] = contents.get

    async def get(path: str, *values: Any, **named: Any) -> Any:
        model = read(path, *values, **named)
        if isinstance(model, Awaitable):
            model = await model
        if model.get("type") == "notebook" and isinstance(model.get("content"), dict):
            here = [one["kernel"] for one in await sessions.list_sessions() if one["path"] == path.strip("/")]
            moments = [began.get(kernel["id"], 0.0) for kernel in here if kernel is not None]
            without_widgets(model["content"], before=max(moments, default=math.inf))
        return model

    contents.get = get


def _beginnings(kernels: Any) -> dict[str, float]:
    """When each kernel began, or began anew: kept up to date."""
    began: dict[str, float] = {}
    start, restart = kernels.start_kernel, kernels.restart_kernel

    async def start_noted(*values: Any, **named: Any) -> Any:
        moment = time.time()
        kernel = await start(*values, **named)
        began[kernel] = moment
        kernels.add_restart_callback(kernel, lambda: began.update({kernel: time.time()}))  # one that died by itself
        return kernel

    async def restart_noted(kernel: str, *values: Any, **named: Any) -> Any:
        began[kernel] = time.time()
        return await restart(kernel, *values, **named)

    kernels.start_kernel, kernels.restart_kernel = start_noted, restart_noted
    return began


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "toolkit.widgets.server"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from jupyter_server.services.kernels.websocket import KernelWebsocketHandler  # noqa: PLC0415 - the server has it

    _at_once(KernelWebsocketHandler)
    _with_snapshots(server)
