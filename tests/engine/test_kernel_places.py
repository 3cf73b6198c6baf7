"""The kernel reads places in its arrays as unsigned numbers, and takes each array for memory of its own; that no place
is negative and no array lies over another is seen in its plain Python form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba as nb
import numpy as np
import pandas as pd
import pytest

from tests.engine.plain_kernel import NoEnd, lie_apart
from toolkit.engine import replay
from toolkit.engine.kernel_compiler import CalledCompiler, KernelCompiler, config
from toolkit.engine.runners import local
from toolkit.engine.walk import walk
from toolkit.events import EventLog
from toolkit.scenario import loads

MAY = pd.Timestamp("2026-05-04 10:00", tz="UTC")
HERE = Path(__file__).parents[2]
CASES = "tests/engine/test_cases.py"
ANSWERED = "tests/simulation/test_answered.py"
WORLDS = "tests/engine/test_reference.py"
compiled = pytest.mark.skipif(config.DISABLE_JIT, reason="plain Python compiles nothing")


def _last_but(table, row, column):
    table[row, column] += 1
    return table[row][column] + table[:, 1][row]


@compiled
def test_a_negative_place_lies_outside_and_all_others_are_where_they_were():
    table = np.arange(12).reshape(4, 3)
    usual = nb.njit(boundscheck=True)(_last_but)
    ours = nb.njit(boundscheck=True, pipeline_class=KernelCompiler)(_last_but)
    assert usual(table.copy(), 2, 1) == ours(table.copy(), 2, 1) == 16
    assert usual(table.copy(), -1, 2) == 12 + 10
    for place in ((-1, 2), (0, -1)):
        with pytest.raises(IndexError):
            ours(table.copy(), *place)
    assert config.LOOP_VECTORIZE == 1  # for everybody else


def test_arrays_without_an_end_refuse_to_count_from_it():
    table = np.arange(12).reshape(4, 3).view(NoEnd)
    assert table[1:][0, 2] == 5
    for place in (-1, (0, -1), (-1, slice(None)), np.int64(-1)):
        with pytest.raises(AssertionError, match="a place in the kernel is"):
            table[place]
    with pytest.raises(AssertionError, match="a place in the kernel is"):
        table[2][-1] = 1


def _first_twice(table, other):
    before = other[0]
    table[0] = 7
    return before + other[0]


@compiled
def test_what_is_called_takes_each_array_for_memory_of_its_own_and_what_is_inlined_does_not():
    given = nb.types.int64[::1]
    said = {}
    for compiler in (KernelCompiler, CalledCompiler):
        ours = nb.njit((given, given), pipeline_class=compiler, _nrt=False)(_first_twice)
        assert ours(np.zeros(1, dtype=np.int64), np.array([5])) == 10
        said[compiler] = next(iter(ours.inspect_llvm().values())).count("noalias")
    assert said[CalledCompiler] > said[KernelCompiler]


def test_an_array_that_lies_over_one_that_is_written_is_told(monkeypatch):
    given = []
    monkeypatch.setattr(local, "walk", lambda *tables: given.append(tables) or walk(*tables))
    program = loads("{scenario: s, trigger: {event: cart_add}, reentry: once, steps: [{send: s/hello}]}")
    replay(program, EventLog.from_pandas(pd.DataFrame({"customer_id": ["a"], "event": ["cart_add"], "at": [MAY]})))
    plan, past, work, out, answers = given[0][:5]
    lie_apart(plan, past, work, out, answers)
    for over in (past._replace(bits=work.n[:1]), past._replace(at=out.decisions[1:].ravel()[:3])):
        with pytest.raises(AssertionError, match="lies over another"):
            lie_apart(plan, over, work, out, answers)


def test_no_place_is_negative_and_no_array_over_another_in_any_golden_case_or_simulation():
    _in_plain_python(CASES, ANSWERED, "-k", "by_engine or of_a_log_that_holds_them")


@pytest.mark.soak
def test_no_place_is_negative_and_no_array_over_another_in_thousands_of_random_worlds():
    _in_plain_python(WORLDS, "-m", "soak or not soak", "-k", "are_replayed_as_the_rules_say")


def _in_plain_python(*what: str) -> None:
    plugins = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.engine.plain_kernel")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *what],
        cwd=HERE,
        check=False,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]
