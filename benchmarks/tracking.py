"""The tracker under load: opens written durably, beside a bare Starlette that says hello, from the same client."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.measuring import Bound, Result
from toolkit.tracking import Answers, Tokens, TrackedMail
from toolkit.tracking.server import tracker

_CONNECTIONS = 64
_REQUESTS = 6_000
_SECRET = bytes(range(32))
_MAILS = 1_000


def _names() -> list[str]:
    letters = "abcdefghijklmnop"
    return ["".join(letters[(n >> shift) & 15] for shift in range(60, -4, -4)) for n in range(_MAILS)]


def _hello(folder: str) -> Starlette:
    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    return Starlette(routes=[Route("/o/{token}", hello)])


def _tracker(folder: str) -> Starlette:
    answers = Answers.open(Path(folder) / "answers.sqlite")
    answers.register(
        TrackedMail(name, name, name, "s", "t", "t/x", None, None, "marketing", "example.org", "en", "m@example.com", 0)
        for name in _names()
    )
    return tracker(answers, Tokens((_SECRET,)))


def _serve(make: Callable[[str], Starlette], folder: str, listening: socket.socket) -> None:
    config = uvicorn.Config(make(folder), log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


async def _reader(port: int, paths: list[bytes], waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for path in paths:
        begun = time.perf_counter()
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mail/1.0 (bench)\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server said {head[:40]!r}")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        waits.append(time.perf_counter() - begun)
    writer.close()


def _load(port: int, paths: list[bytes]) -> tuple[float, list[float]]:
    async def all_at_once() -> tuple[float, list[float]]:
        waits: list[float] = []
        begun = time.perf_counter()
        await asyncio.gather(*(_reader(port, paths[place::_CONNECTIONS], waits) for place in range(_CONNECTIONS)))
        return time.perf_counter() - begun, waits

    return asyncio.run(all_at_once())


def _until_it_listens(port: int) -> None:
    for _ in range(1_200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                with contextlib.suppress(RuntimeError, OSError, asyncio.IncompleteReadError):
                    _load(port, [b"/o/x"])
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not listen")


def tracker_vs_hello() -> Iterator[Result]:
    """Requests a second with durable writes beside a bare hello; how long the slowest of a hundred waits."""
    tokens = Tokens((_SECRET,))
    paths = [f"/o/{tokens.mint(name, purpose='open')}".encode() for name in _names()]
    paths = [paths[n % len(paths)] for n in range(_REQUESTS)]
    best: dict[str, tuple[float, list[float]]] = {}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        servers: list[tuple[str, int, Any]] = []
        for name, make in (("hello", _hello), ("tracker", _tracker)):
            listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
            port = listening.getsockname()[1]
            process = context.Process(target=_serve, args=(make, folder, listening), daemon=True)
            process.start()
            servers.append((name, port, process))
        try:
            for _, port, _process in servers:
                _until_it_listens(port)
            for _ in range(3):
                for name, port, _process in servers:
                    measured = _load(port, paths)
                    best[name] = min(best.get(name, measured), measured, key=lambda one: one[0])
        finally:
            for _, _, process in servers:
                process.kill()
                process.join()
        with Answers.open(Path(folder) / "answers.sqlite") as answers:
            kept = len(answers.table)
        if kept != 3 * _REQUESTS:
            raise RuntimeError(f"{kept:,} of {3 * _REQUESTS:,} answers were kept")
    ours, waits = best["tracker"]
    hello, hello_waits = best["hello"]
    yield Result(
        "tracker_vs_hello",
        f"{_REQUESTS:,} opens over {_CONNECTIONS} connections",
        ours,
        "a bare Starlette that says hello",
        hello,
        {
            "requests_per_s": round(_REQUESTS / ours),
            "hello_per_s": round(_REQUESTS / hello),
            "share_of_hello": round(hello / ours, 3),
            "p99_ms": round(float(np.percentile(waits, 99)) * 1000, 1),
            "hello_p99_ms": round(float(np.percentile(hello_waits, 99)) * 1000, 1),
        },
        (Bound("share_of_hello", at_least=0.4),),
        "Every open is committed to SQLite with fsync before the picture is answered.",
    )
