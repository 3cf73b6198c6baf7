"""Ctrl-C, or the stop button of a notebook, in what takes minutes: it is heard for certain, and says how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Step", "interruptible", "look", "untold"]

Step = Callable[[str, int], None]
"""Is told now and then what is done and how many mails it has come to; raises where the sending was stopped."""


def untold(words: str, count: int) -> None:
    """A `Step` where nobody asks how far it is."""


_asked: list[bool] = []  # whether it was asked for in each of the calls that are under way, the innermost last


@contextmanager
def interruptible(said: str) -> Iterator[None]:
    """Meanwhile Ctrl-C ends the work at once, with a KeyboardInterrupt to which a sentence is added.

    Python drops what a signal raises while it cleans up behind an object: the message is printed and the work goes on.
    So it is remembered, too, and raised anew by the next `look`, at the latest when the work is over.

    In another thread than the main one, and where whoever called has a handler of their own, nothing is changed but the
    sentence.

    Args:
        said: what is as it was, and how to go on.
    """
    usual = threading.current_thread() is threading.main_thread()
    if not usual or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        with _noted(said):
            yield
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        _asked[-1] = True
        raise KeyboardInterrupt

    with _noted(said):
        _asked.append(False)
        try:
            signal.signal(signal.SIGINT, interrupted)
            yield
            look()
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _asked.pop()


def look() -> None:
    """Raise KeyboardInterrupt where one was asked for and got lost; costs next to nothing.

    >>> look()
    """
    if _asked and _asked[-1] and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


@contextmanager
def _noted(said: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stopped:
        if said not in getattr(stopped, "__notes__", ()):
            stopped.add_note(said)
        raise
