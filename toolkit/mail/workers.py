"""A large batch checked by several processes: jobs go out in chunks, what was found comes back in their order.

Not `multiprocessing`: its processes run the caller's own main file again, which in a script without a guard would
prepare the batch again in each of them; and a fork of a notebook's process, full of threads, may stand still.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Container, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import IO

from toolkit.mail.checking import Checked, Checker, Job
from toolkit.mail.templates import Templates

__all__ = ["MOST_WORKERS", "check_in_parallel"]

_CHUNK = 200
MOST_WORKERS = 8
_START = "import sys; sys.path[:] = {path!r}; from toolkit.mail.workers import serve; serve()"
_Process = subprocess.Popen[bytes]


def check_in_parallel(
    templates: Templates, jobs: Sequence[Job], *, workers: int, names: Container[str]
) -> Generator[tuple[Job, Checked], None, None]:
    """Each job and what was found of it, in their order, as they become known.

    Args:
        templates: that render them.
        jobs: letters with their links.
        names: of the templates that the jobs need.
        workers: processes; with one, or where none can be started, this process does the work. They end when this is
            closed.
    """
    checker = Checker(templates)
    chunks = (jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK))
    processes = _started(templates.only(names), workers) if workers > 1 else []
    if not processes:
        for chunk in chunks:
            yield from zip(chunk, checker.check_all(chunk), strict=True)
        return
    idle: SimpleQueue[_Process] = SimpleQueue()
    over = threading.Event()
    for process in processes:
        idle.put(process)

    def ask(chunk: Sequence[Job]) -> list[Checked]:
        process = idle.get()
        try:
            return _asked(process, chunk)
        except (OSError, EOFError, pickle.UnpicklingError):
            if over.is_set():
                raise
            # A worker that was killed, for want of memory for example, must not lose the batch.
            return checker.check_all(chunk)
        finally:
            idle.put(process)

    pool = ThreadPoolExecutor(len(processes))
    try:
        waiting: deque[tuple[Sequence[Job], Future[list[Checked]]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, pool.submit(ask, chunk)))
            if len(waiting) > 2 * len(processes):
                yield from _answered(*waiting.popleft())
        while waiting:
            yield from _answered(*waiting.popleft())
    finally:
        over.set()
        for process in processes:
            process.kill()
        pool.shutdown(cancel_futures=True)
        _end(processes)


def _answered(chunk: Sequence[Job], answer: Future[list[Checked]]) -> Iterator[tuple[Job, Checked]]:
    return zip(chunk, answer.result(), strict=True)


def _started(templates: Templates, workers: int) -> list[_Process]:
    command = [sys.executable, "-c", _START.format(path=sys.path)]
    processes: list[_Process] = []
    try:
        for _ in range(workers):
            # In a group of its own, Ctrl-C and the stop button reach this process alone, which ends the workers.
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
            processes.append(process)
            _send(_pipe(process.stdin), templates)
    except OSError:
        _end(processes)
        return []
    except BaseException:
        _end(processes)
        raise
    return processes


def _end(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def _asked(process: _Process, chunk: Sequence[Job]) -> list[Checked]:
    _send(_pipe(process.stdin), chunk)
    answer: list[Checked] = pickle.load(_pipe(process.stdout))  # noqa: S301 from a process of our own
    return answer


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("a worker without a pipe")
    return pipe


def serve() -> None:
    """What a worker does: read the templates, then chunks, until there are no more."""
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not stand between the answers
    with contextlib.suppress(EOFError, BrokenPipeError):
        checker = Checker(pickle.load(source))  # noqa: S301 from the process that started this one
        while True:
            _send(answers, checker.check_all(pickle.load(source)))  # noqa: S301
