"""Two answers beside each other, and what of them differs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tests.reference.records import plain


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as plain rows, missing values as None."""
    columns = [str(name) for name in frame.columns]
    return [
        {name: plain(value) for name, value in zip(columns, row, strict=True)}
        for row in frame.astype(object).itertuples(index=False, name=None)
    ]


def in_words(row: dict[str, Any]) -> str:
    """One row on one line, without what is missing."""
    return " ".join(f"{name}={value}" for name, value in row.items() if value is not None)


def differences(found: pd.DataFrame, expected: pd.DataFrame) -> list[str]:
    """What stands in one frame and not in the other, and what stands in another order."""
    left, right = rows_of(found), rows_of(expected)
    said = [f"only the engine:      {in_words(row)}" for row in left if row not in right]
    said += [f"only the interpreter: {in_words(row)}" for row in right if row not in left]
    if not said and left != right:
        said = ["the same rows in another order, or not as often"]
    return said
