"""A plugin of pytest (-p tests.engine.plain_kernel, with NUMBA_DISABLE_JIT=1): the kernel as plain Python, over arrays
that have no negative places."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.engine.compiled import config
from toolkit.engine.runners import local
from toolkit.engine.walk import walk

__all__ = ["NoEnd"]


class NoEnd(np.ndarray):
    """An array of which nothing is counted from its end."""

    def __getitem__(self, place: Any) -> Any:
        return super().__getitem__(_there(place))

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(_there(place), value)


def _there(place: Any) -> Any:
    for one in place if isinstance(place, tuple) else (place,):
        assert isinstance(one, slice) or one >= 0, f"a place in the kernel is {place}"
    return place


def _guarded(tables: Any) -> Any:
    if isinstance(tables, np.ndarray):
        return tables.view(NoEnd)
    return type(tables)(*map(_guarded, tables)) if isinstance(tables, tuple) else tables


def _walk(*tables: Any) -> int:
    return walk(*map(_guarded, tables))


def pytest_configure() -> None:
    """Let every walk of this session go over such arrays."""
    assert config.DISABLE_JIT, "only plain Python asks for each place"
    local.walk = _walk
