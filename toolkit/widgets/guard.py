"""Errors in callbacks: JupyterLab drops them without a word, so they are kept and shown."""

from __future__ import annotations

import functools
import html
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from toolkit.errors import ToolkitError

__all__ = ["Screen", "guarded", "told"]


class Screen(Protocol):
    """What shows errors: a widget with a synced text `error`."""

    error: str


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


def guarded(screen: Screen, work: Callable[..., Any]) -> Callable[..., None]:
    """The work, with any error shown on the screen; work that succeeds clears the one shown before.

    Args:
        screen: where errors are shown.
        work: a callback.
    """

    @functools.wraps(work)
    def done(*values: Any, **named: Any) -> None:
        try:
            work(*values, **named)
        except Exception as error:
            screen.error = told(error)
        else:
            screen.error = ""

    return done


def box(message: str) -> str:
    """The message as a box in HTML."""
    return f'<div style="border:1px solid #b3261e;border-radius:8px;padding:8px 12px">{html.escape(message)}</div>'
