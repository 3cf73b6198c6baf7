"""Memory of large arrays is used again, never while somebody holds it, and only so much of it is kept."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from toolkit import memory
from toolkit.memory import array_of

LARGE = 1 << 18


@pytest.fixture(autouse=True)
def nothing_idle(monkeypatch):
    monkeypatch.setattr(memory, "_idle", [])


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_when_the_last_view_is_gone():
    first = array_of(LARGE, 2)
    place, rest = address(first), first[10:20, 1]
    del first
    gc.collect()
    second = array_of(LARGE, 2)
    assert address(second) != place  # a view of the first still holds it
    del rest
    gc.collect()
    third = array_of(2 * LARGE)
    assert address(third) == place
    assert third.flags.writeable
    assert third.flags.c_contiguous


def test_numbers_of_numpy_say_how_large_an_array_is() -> None:
    assert array_of(np.int64(LARGE), 2).shape == (LARGE, 2)


def test_an_array_in_use_is_nobody_elses():
    arrays = [array_of(LARGE) for _ in range(8)]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [int(array.min()) for array in arrays] == [int(array.max()) for array in arrays] == list(range(8))


def test_a_small_array_or_one_that_would_waste_most_takes_its_own():
    large = array_of(4 * LARGE)
    place = address(large)
    del large
    gc.collect()
    assert address(array_of(LARGE)) != place
    assert [len(one) // LARGE for one in memory._idle] == [4, 1]
    assert address(array_of(3 * LARGE)) == place


def test_arrays_of_a_log_that_grows_have_one_memory_after_the_other():
    array, places = array_of(4 * LARGE + 1), set()
    for number in range(50):
        del array
        gc.collect()
        array = array_of(4 * LARGE + 100 * number + 1)
        places.add(address(array))
    assert len(places) == 1
    assert memory._idle == []


def test_no_more_than_the_limit_is_kept(monkeypatch):
    monkeypatch.setattr(memory, "KEPT_AT_MOST", 3 * 8 * LARGE)
    arrays = [array_of(LARGE) for _ in range(6)]
    del arrays
    gc.collect()
    assert len(memory._idle) == 3
    whole = array_of(5 * LARGE)
    del whole
    gc.collect()
    assert sum(one.nbytes for one in memory._idle) <= 3 * 8 * LARGE


def test_memory_that_comes_back_while_another_array_is_made_is_let_go():
    array = array_of(LARGE)
    with memory._lock:
        del array
        gc.collect()
    assert memory._idle == []
    assert len(array_of(LARGE)) == LARGE


def test_threads_get_memory_of_their_own():
    def fill(number: int) -> bool:
        for _ in range(20):
            array = array_of(LARGE)
            array[:] = number
            if not (array == number).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fill, range(4)))
    assert np.all([len(one) == LARGE for one in memory._idle])
