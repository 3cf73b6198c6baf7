"""What comes in at the doors of simulate, tune and fit: numbers in their range, a program, a log, a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real

from toolkit.errors import InputError, shown
from toolkit.scenario.duration import Duration
from toolkit.simulation.model import ResponseModel

__all__ = [
    "check_between",
    "check_count",
    "check_level",
    "check_money",
    "check_numbers",
    "check_partitions",
    "check_response",
    "check_seed",
    "check_share",
    "check_text",
    "checked_window",
    "numbers_between",
]

MOST_DRAWS = 100_000
MOST_PARTITIONS = 10_000


def check_numbers(draws: int, level: float, seed: int) -> None:
    """Refuse a number of draws, a level or a seed out of its range."""
    if not (_is_whole(draws) and 1 <= draws <= MOST_DRAWS):
        raise InputError(f"draws: found {shown(draws)}; allowed: a whole number, 1 to {MOST_DRAWS:,}")
    check_level(level)
    check_seed(seed)


def check_level(level: object) -> None:
    """Refuse a share of intervals that is none."""
    if not (_is_number(level) and 0 < level < 1):  # type: ignore[operator]
        raise InputError(f"level: found {shown(level)}; allowed: between 0 and 1, for example 0.9")


def check_partitions(partitions: object) -> None:
    """Refuse a number of partitions out of its range; None stands for one that is not given."""
    if partitions is not None and not (_is_whole(partitions) and 1 <= partitions <= MOST_PARTITIONS):  # type: ignore[operator]
        raise InputError(f"partitions: found {shown(partitions)}; allowed: a whole number, 1 to {MOST_PARTITIONS:,}")


def check_seed(seed: int) -> None:
    """Refuse a seed that is no whole number."""
    if not _is_whole(seed):
        raise InputError(f"seed: found {shown(seed)}; allowed: a whole number, for example 1")


def check_response(response: object, *, name: str = "response") -> None:
    """Refuse what is no response model, such as the path or the text of one."""
    if isinstance(response, ResponseModel):
        return
    hint = "; read a file with ResponseModel.load, a text with ResponseModel.parse" if isinstance(response, str) else ""
    raise InputError(f"{name}: found {shown(response)}; allowed: a ResponseModel{hint}")


def check_count(name: str, value: object, *, most: int) -> None:
    """Refuse what is no whole number from 1 to so many."""
    if not (_is_whole(value) and 1 <= value <= most):  # type: ignore[operator]
        raise InputError(f"{name}: found {shown(value)}; allowed: a whole number, 1 to {most:,}")


def check_text(name: str, value: object) -> None:
    """Refuse what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{name}: found {shown(value)}; allowed: a text")


def numbers_between(name: str, values: object, most: float) -> list[float]:
    """Numbers from 0 to so much, at least one; what is no list of them is refused."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise InputError(f"{name}: found {shown(values)}; allowed: a list of numbers, as [1, 4]")
    listed = list(values)
    if not listed:
        raise InputError(f"{name}: found none; allowed: a list of numbers, as [1, 4]")
    for value in listed:
        check_between(name, value, most)
    return [float(value) for value in listed]


def check_share(name: str, share: object, *, of: str) -> None:
    """Refuse a share that is none; None stands for one that is not given."""
    if share is not None and not (_is_number(share) and 0 <= share <= 1):  # type: ignore[operator]
        raise InputError(f"{name}: found {shown(share)}; allowed: a share of {of}, 0 to 1")


def check_between(name: str, value: object, most: float) -> None:
    """Refuse what is no number from 0 to so much."""
    if not (_is_number(value) and 0 <= value <= most):  # type: ignore[operator]
        raise InputError(f"{name}: found {shown(value)}; allowed: 0 to {most:g}")


def check_money(name: str, amount: object) -> None:
    """Refuse an amount that is none; None stands for one that is not given."""
    if amount is not None and not (_is_number(amount) and 0 <= amount < math.inf):  # type: ignore[operator]
        raise InputError(f"{name}: found {shown(amount)}; allowed: 0 or more, in the log's currency")


def checked_window(window: object, *, name: str = "window") -> Duration:
    """A window as a duration; one that is none, or no longer than nothing, is refused."""
    try:
        found = Duration.parse(window)  # type: ignore[arg-type]
    except ValueError as fault:
        raise InputError(f"{name}: {fault}") from None
    if not found.elapsed > 0:
        raise InputError(f"{name}: found {shown(window)}; allowed: longer than nothing, for example 7d")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
