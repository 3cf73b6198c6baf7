"""Sends at the door of fit and off_policy: flags that are flags and numbers that are numbers, every one known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.arrow import A_FRAME, of_frame
from toolkit.errors import MetricError, did_you_mean, listed

__all__ = ["checked_sends", "flags_of", "numbers_of"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def checked_sends(given: object, columns: Sequence[str]) -> pd.DataFrame:
    """Sends as a frame; what is none, a column that is not there or there twice, and no rows at all are refused."""
    sends = of_frame(given, "sends", error=MetricError)
    if not isinstance(sends, pd.DataFrame):
        raise MetricError(f"sends: found {type(given).__name__}; allowed: {A_FRAME}, one row per person")
    names = list(map(str, sends.columns))
    missing = [name for name in columns if name not in names]
    if missing:
        raise MetricError(
            f"sends: no column {', '.join(map(str, missing))}; columns found: {listed(names, near=missing[0])}"
            + did_you_mean(str(missing[0]), names)
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MetricError(f"sends: found {names.count(twice[0])} columns {twice[0]!r}; allowed: one of each name")
    if not len(sends):
        raise MetricError("sends: found no rows; give one row per person at the moment when a mail was due")
    return sends


def numbers_of(sends: pd.DataFrame, column: str, *, among: Flags | None = None, what: str = "numbers") -> Floats:
    """A column of numbers or flags, as numbers, each known and finite.

    Args:
        sends: one row per person.
        column: one of its columns.
        among: the rows in which it has to be known; all unless given.
        what: what the column should hold, in words.

    Raises:
        MetricError: texts, times, or values that are missing or infinite.
    """
    held = sends[column]
    try:
        values = _as_numbers(held)
    except (TypeError, ValueError):
        raise MetricError(f"sends: column {column!r} should be {what}; found {held.dtype}") from None
    asked = np.ones(len(values), dtype=bool) if among is None else among
    wrong = int((asked & ~np.isfinite(values)).sum())
    if wrong:
        raise MetricError(
            f"sends: column {column!r}: {wrong:,} of {int(asked.sum()):,} values are missing or infinite; allowed: "
            f"{what}, known for everybody (leave out people whose follow-up has not ended)"
        )
    return values


def flags_of(sends: pd.DataFrame, column: str, *, among: Flags | None = None) -> Flags:
    """A column of 0 and 1, or of True and False, each known where it is asked for; False elsewhere.

    Raises:
        MetricError: texts, other numbers, or values that are missing.
    """
    what = "True and False, or 0 and 1"
    values = numbers_of(sends, column, among=among, what=what)
    asked = np.ones(len(values), dtype=bool) if among is None else among
    other = asked & (values != 0) & (values != 1)
    if other.any():
        raise MetricError(
            f"sends: column {column!r} should be {what}; found {values[other][0]:g} in {int(other.sum()):,} rows"
        )
    return np.asarray(asked & (values == 1))


def _as_numbers(held: pd.Series) -> Floats:
    if pd.api.types.is_numeric_dtype(held) or pd.api.types.is_bool_dtype(held):
        return np.asarray(held.to_numpy(dtype=np.float64, na_value=np.nan))
    if held.dtype != object or any(isinstance(value, str | bytes) for value in held):
        raise TypeError
    return np.array([np.nan if pd.isna(value) else float(value) for value in held])
