"""What comes in at the doors of simulate and tune: numbers in their range, and a response model that is one."""

from __future__ import annotations

import reprlib
from numbers import Integral, Real

from toolkit.errors import InputError
from toolkit.simulation.model import ResponseModel

__all__ = ["check_numbers", "check_response", "check_seed"]

MOST_DRAWS = 100_000


def check_numbers(draws: int, level: float, seed: int) -> None:
    """Refuse a number of draws, a level or a seed out of its range."""
    if not (_is_whole(draws) and 1 <= draws <= MOST_DRAWS):
        raise InputError(f"draws: found {draws!r}; allowed: a whole number, 1 to {MOST_DRAWS:,}")
    if not (_is_number(level) and 0 < level < 1):
        raise InputError(f"level: found {level!r}; allowed: between 0 and 1, for example 0.9")
    check_seed(seed)


def check_seed(seed: int) -> None:
    """Refuse a seed that is no whole number."""
    if not _is_whole(seed):
        raise InputError(f"seed: found {seed!r}; allowed: a whole number, for example 1")


def check_response(response: object) -> None:
    """Refuse what is no response model, such as the path or the text of one."""
    if isinstance(response, ResponseModel):
        return
    hint = "; read a file with ResponseModel.load, a text with ResponseModel.parse" if isinstance(response, str) else ""
    raise InputError(f"response: found {reprlib.repr(response)}; allowed: a ResponseModel{hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
