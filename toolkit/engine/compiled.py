"""One decorator for the functions that are compiled to machine code, and where the machine code is kept.

Numba's own cache notices a change in the file of a function, but not in the files of the functions it calls. A kernel
that decides who is mailed must never run stale, so the cache folder is named by the content of every file that holds
compiled functions.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba as nb

from toolkit.engine.kernel_compiler import CalledCompiler, KernelCompiler, config

__all__ = ["compiled", "config", "is_first_compilation", "kernel", "kernel_call", "kernel_door", "note_compilation"]

_COMPILING = ("compiled.py", "kernel_compiler.py", "layout.py")
_INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

Function = TypeVar("Function", bound=Callable[..., Any])


@lru_cache(maxsize=1)
def _cache_folder() -> Path | None:
    content = hashlib.sha256(nb.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source = file.read_bytes()
        if file.name in _COMPILING or b"toolkit.engine.compiled import" in source:
            content.update(source)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "trigger-toolkit" / f"kernel-{content.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def compiled(function: Function) -> Function:
    """The function compiled on its first call, without holding Python's lock, and kept on disk for the next session."""
    return _compiled(function)


def kernel(function: Function) -> Function:
    """Like `compiled`, for the functions of the kernel, which make no array of their own.

    The kernel hands some fifty arrays from function to function. Counting who holds them and copying their addresses
    at each call would cost fifty times the work itself, so references are not counted and calls are inlined. Python
    cannot call these but through a `kernel_door`, which alone is kept on disk: it holds all of them.
    """
    return _compiled(function, keep=False, _nrt=False, pipeline_class=KernelCompiler, forceinline=True, **_INNER)


def kernel_call(function: Function) -> Function:
    """Like `kernel`, but called: for a large function with several callers, which would make the machine code long.

    It is given whole tables, never a row beside the table that the row is of.
    """
    return _compiled(function, keep=False, _nrt=False, pipeline_class=CalledCompiler, **_INNER)


def kernel_door(function: Function) -> Function:
    """Like `kernel`, for the functions through which Python enters it."""
    return _compiled(function, _nrt=False, pipeline_class=CalledCompiler, forceinline=True)


def _compiled(function: Function, *, keep: bool = True, **options: Any) -> Function:
    folder = _cache_folder()
    usual = config.CACHE_DIR
    config.CACHE_DIR = str(folder) if folder else usual
    try:
        machine: Any = nb.njit(cache=keep and folder is not None, nogil=True, **options)(function)
        return cast("Function", machine)
    finally:
        config.CACHE_DIR = usual


def is_first_compilation(*, answers: bool = False) -> bool:
    """True when the kernel was never compiled on this machine in this version, so that the first call takes longer.

    Args:
        answers: of the kernel with answers, which a simulation runs and a replay does not.
    """
    folder = _cache_folder()
    return not config.DISABLE_JIT and (folder is None or not (folder / _mark(answers)).exists())


def note_compilation(*, answers: bool = False) -> None:
    """The kernel has run: from now on it is on the disk."""
    folder = _cache_folder()
    if not config.DISABLE_JIT and folder is not None:
        with suppress(OSError):
            (folder / _mark(answers)).touch()


def _mark(answers: bool) -> str:
    return "compiled-with-answers" if answers else "compiled"
