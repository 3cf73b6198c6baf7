"""Long work beside the notebook: in a thread, with progress, and with a way to stop it. A newer job ends the older."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from IPython import get_ipython

__all__ = ["Cancelled", "Job", "Jobs", "go_on"]


class Cancelled(BaseException):
    """The job was asked to stop; raised inside its work so that it ends at the next step."""


class Job:
    """One piece of work in a thread.

    Args:
        work: takes the job; calls `step` as it goes on; what it returns goes to `done`.
        done: called in the thread with the result, unless the job was cancelled.
        failed: called in the thread with the error.
        moved: called in the thread after each step.

    Attributes:
        at, total, words: how far it is.
    """

    def __init__(
        self,
        work: Callable[[Job], Any],
        *,
        done: Callable[[Any], object],
        failed: Callable[[BaseException], object],
        moved: Callable[[Job], object] | None = None,
    ) -> None:
        self.at, self.total, self.words = 0, 0, ""
        self._work, self._done, self._failed, self._moved = work, done, failed, moved
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="toolkit job")

    def start(self) -> Job:
        """Begin; returns at once."""
        self._thread.start()
        return self

    def step(self, at: int, total: int, words: str = "") -> None:
        """Say how far the work is.

        Raises:
            Cancelled: the job was asked to stop.
        """
        # A program that ends does not wait for the rest of the work.
        if self._stop.is_set() or not threading.main_thread().is_alive():
            raise Cancelled
        self.at, self.total, self.words = at, total, words
        if self._moved is not None:
            self._moved(self)

    def cancel(self) -> None:
        """Ask the work to stop at its next step; its result is dropped."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def running(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the work has ended; whether it has."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            result = self._work(self)
            if not self._stop.is_set():
                self._done(result)
        except Cancelled:
            return
        except BaseException as fault:
            if not self._stop.is_set():
                self._failed(fault)


class Jobs:
    """One job at a time: a new one cancels the one before, whose result is dropped."""

    def __init__(self) -> None:
        self.now: Job | None = None
        self._lock = threading.Lock()

    def in_place_of_earlier(self) -> Jobs:
        """The same, in place of those that earlier runs of the cell that runs now asked this of: what they do stops.

        Nothing else ends it: ipywidgets keeps every screen that was ever made. Those of the same run go on side by
        side, and an earlier screen that is still shown elsewhere begins anew at its next move.
        """
        shell = get_ipython()
        parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
        cell, run = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
        if cell is None:
            return self
        earlier, there = _OF_CELLS.get(cell, (run, WeakSet()))
        if earlier != run:
            for one in tuple(there):
                one.cancel()
            there = WeakSet()
        there.add(self)
        _OF_CELLS[cell] = run, there
        return self

    def start(self, work: Callable[[Job], Any], **called: Any) -> Job:
        """Cancel what runs, and begin something else; see `Job`."""
        with self._lock:
            if self.now is not None:
                self.now.cancel()
            self.now = Job(work, **called)
            return self.now.start()

    def cancel(self) -> None:
        """Stop what runs."""
        with self._lock:
            if self.now is not None:
                self.now.cancel()

    def wait(self, seconds: float) -> None:
        """Wait until what runs has ended, so long at the most."""
        if self.now is not None:
            self.now.wait(seconds)

    def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait while a job is at work until something is so; whether it is."""
        end = time.monotonic() + seconds
        while not is_so() and self.running and time.monotonic() < end:
            time.sleep(0.02)
        return is_so()

    @property
    def running(self) -> bool:
        """Whether a job is at work that nobody has cancelled."""
        now = self.now
        return now is not None and now.running and not now.cancelled


_OF_CELLS: dict[str, tuple[str | None, WeakSet[Jobs]]] = {}
"""By cell of a notebook: its last run, and the jobs of what that run made."""


def go_on(job: Job | None) -> None:
    """Between two parts of a work, which may be done by a job or by the notebook itself.

    Raises:
        Cancelled: the job was asked to stop.
    """
    if job is not None:
        job.step(job.at, job.total)
