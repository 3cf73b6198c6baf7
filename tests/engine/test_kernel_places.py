"""The kernel reads places in its arrays as unsigned numbers; that none is negative is seen in its plain Python form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba as nb
import numpy as np
import pytest

from tests.engine.plain_kernel import NoEnd
from toolkit.engine.kernel_compiler import KernelCompiler, config

HERE = Path(__file__).parents[2]
CASES = "tests/engine/test_cases.py"
ANSWERED = "tests/simulation/test_answered.py"
WORLDS = "tests/engine/test_reference.py"


def _last_but(table, row, column):
    table[row, column] += 1
    return table[row][column] + table[:, 1][row]


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


def test_no_place_in_the_kernel_is_negative_in_any_golden_case_or_simulation():
    _in_plain_python(CASES, ANSWERED, "-k", "by_engine or of_a_log_that_holds_them")


@pytest.mark.soak
def test_no_place_in_the_kernel_is_negative_in_thousands_of_random_worlds():
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
