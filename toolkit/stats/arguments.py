"""Arguments of single values at every door of the statistics: numbers in their range, names, seeds, arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.errors import MetricError, did_you_mean, shown

__all__ = [
    "LARGEST",
    "array_of_numbers",
    "check_alpha",
    "check_column",
    "check_count",
    "check_flag",
    "check_number",
    "check_seed",
    "check_text",
    "check_zone",
    "column_names",
    "holds_numbers",
]

LARGEST = 1e75
"""Of an amount: what is four times multiplied with itself must stay a number."""


def check_number(value: object, *, where: str, allowed: str, least: float = -math.inf, most: float = math.inf) -> None:
    """Refuse what is no number, or one out of its range; NaN is in none."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        raise MetricError(f"{where}: found {shown(value)}; allowed: {allowed}")


def check_alpha(alpha: object, *, where: str) -> None:
    """Refuse an alpha that is no number between 0 and 1."""
    allowed = "a number between 0 and 1, for example 0.05"
    check_number(alpha, where=f"{where}: alpha", allowed=allowed, least=math.ulp(0.0), most=1 - 2**-53)


def check_count(value: object, *, where: str, least: int = 1, most: int) -> None:
    """Refuse what is no whole number, or one out of its range."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        raise MetricError(f"{where}: found {shown(value)}; allowed: a whole number, {least} to {most:,}")


def check_flag(value: object, *, where: str) -> None:
    """Refuse what is neither True nor False: a text such as `no` would count as yes."""
    if not isinstance(value, bool | np.bool_):
        raise MetricError(f"{where}: found {shown(value)}; allowed: True or False")


def check_seed(seed: object, *, where: str) -> None:
    """Refuse a seed that is no whole number from 0."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0:
        raise MetricError(f"{where}: seed: found {shown(seed)}; allowed: a whole number from 0, for example 1")


def check_zone(zone: object, *, where: str) -> None:
    """Refuse what is no time zone."""
    try:
        ZoneInfo(zone)  # type: ignore[arg-type]
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise MetricError(
            f"{where}: zone: found {shown(zone)}; allowed: a time zone, for example 'Europe/Paris'"
            + did_you_mean(str(zone), sorted(available_timezones()))
        ) from None


def check_column(column: object, *, where: str) -> None:
    """Refuse what is no name of a column."""
    if not isinstance(column, str) or not column:
        raise MetricError(f"{where}: found {shown(column)}; allowed: the name of a column, a text")


def check_text(value: object, *, where: str) -> None:
    """Refuse what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise MetricError(f"{where}: found {shown(value)}; allowed: a text")


def column_names(given: object, *, where: str) -> tuple[str, ...]:
    """One name of a column or several, as several.

    >>> column_names("pre_revenue", where="covariate"), column_names(["a", "b"], where="covariate")
    (('pre_revenue',), ('a', 'b'))
    """
    if not isinstance(given, str | Iterable) or isinstance(given, bytes):
        raise MetricError(f"{where}: found {shown(given)}; allowed: the name of a column, or several in a list")
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        check_column(name, where=where)
    return names


def array_of_numbers(values: ArrayLike, *, where: str) -> NDArray[Any]:
    """Numbers, one after the other; texts, times and tables are refused, missing values stay NaN.

    >>> array_of_numbers([1, None, True], where="values").tolist()
    [1.0, nan, 1.0]
    """
    try:
        is_number = holds_numbers(np.asarray(values))
        found = np.asarray(values, dtype=np.float64) if is_number else np.empty((0, 0))
    except (TypeError, ValueError):
        found = np.empty((0, 0))
    if found.ndim != 1:
        raise MetricError(f"{where}: found {shown(values)}; allowed: numbers in a list, an array or a column")
    farthest = np.abs(found[np.isfinite(found)]).max(initial=0.0)
    if farthest > LARGEST:
        raise MetricError(f"{where}: found {farthest:.3g}; allowed: numbers up to {LARGEST:g}")
    return found


def holds_numbers(found: NDArray[Any]) -> bool:
    """Whether numpy need not read texts, or count the microseconds of times, to make numbers of these."""
    if found.dtype == object:
        return not any(isinstance(one, str | bytes | np.datetime64 | np.timedelta64) for one in found.flat)
    return found.dtype.kind in "biuf"
