"""A plugin of pytest (-p tests.engine.plain_kernel, with NUMBA_DISABLE_JIT=1): the kernel as plain Python, over arrays
that have no negative places, and of which none that is written lies over another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit.engine.answers import Answers
from toolkit.engine.compiled import config
from toolkit.engine.layout import Out, Past, Plan, Work
from toolkit.engine.runners import local
from toolkit.engine.walk import walk

__all__ = ["NoEnd", "lie_apart"]

_EVENTS = ("at", "received", "bits", "fact", "keys", "values", "gaps", "key_places", "journey_shares")
_COUNTS = ("origin", "used", "own", "first", "totals", "people")


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


def lie_apart(plan: Plan, past: Past, work: Work, out: Out, answers: Answers | None) -> None:
    """No array that the kernel writes shares memory with another that it is given."""
    written = [*work, *out]
    if answers is not None:
        written += [getattr(past, name) for name in _EVENTS] + [getattr(answers, name) for name in _COUNTS]
    given = list(_arrays((plan, past, work, out, answers)))
    for one in written:
        overlapping = sum(np.may_share_memory(one, other) for other in given)
        assert overlapping == (one.size > 0), "an array that the kernel writes lies over another"


def _arrays(tables: Any) -> Iterator[np.ndarray]:
    if isinstance(tables, np.ndarray):
        yield tables
    elif isinstance(tables, tuple):
        for one in tables:
            yield from _arrays(one)


def _walk(*tables: Any) -> int:
    lie_apart(*tables[:5])
    return walk(*map(_guarded, tables))


def pytest_configure() -> None:
    """Let every walk of this session go over such arrays."""
    assert config.DISABLE_JIT, "only plain Python asks for each place"
    local.walk = _walk
