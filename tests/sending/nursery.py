"""Senders as processes of their own, none of them a fork of the process that runs the tests.

A fork takes along what other tests left behind: threads that do not run in it, and objects whose end waits for them or
reaches into their memory. So a fresh interpreter prepares the batch once, and forks from there.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

__all__ = ["Child", "Nursery"]


class Nursery:
    """An interpreter that makes something once, and starts children that have it.

    What is made, what works on it, and the arguments of both travel by pickle: functions of modules, plain values.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments))
        self._process.start()
        there.close()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *reason: object) -> None:
        self._here.close()
        self._process.join()

    def start(self, work: Callable[..., Any], *arguments: Any) -> Child:
        """A child that does `work(what was made, *arguments)`; it ends with 1 and a traceback where that raises."""
        return Child(self, self._ask("start", work, arguments))

    def ended(self, pid: int) -> int | None:
        """How a child ended, minus the signal's number where one killed it; None while it lives."""
        return self._ask("ended", pid)

    def _ask(self, *question: Any) -> Any:
        self._here.send(question)
        return self._here.recv()


@dataclass
class Child:
    """One of a nursery's children."""

    nursery: Nursery
    pid: int
    exitcode: int | None = None

    def is_alive(self) -> bool:
        if self.exitcode is None:
            self.exitcode = self.nursery.ended(self.pid)
        return self.exitcode is None

    def join(self, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < end:
            time.sleep(0.002)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.pid, how)


def _serve(asked: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    tqdm.monitor_interval = 0  # or its watching thread starts
    made = make(*arguments)
    gc.collect()
    gc.freeze()  # no child takes apart what only this process may
    if threading.active_count() > 1:
        raise RuntimeError(f"a nursery forks, so it may have one thread: {threading.enumerate()}")
    with contextlib.suppress(EOFError):
        while True:
            question, *details = asked.recv()
            asked.send(_fork(asked, made, *details) if question == "start" else _ended(*details))


def _fork(asked: Connection, made: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on; only threads of libraries, which know of it
        pid = os.fork()
    if pid == 0:
        asked.close()
        try:
            work(made, *arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def _ended(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None
