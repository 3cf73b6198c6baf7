"""The best of many settings: chosen on the first part of a log, shown on the second; a choice flatters itself."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.drawable import Drawable
from toolkit.engine.columns import column_words
from toolkit.readable import number_text
from toolkit.scenario.duration import Duration

__all__ = ["Selection", "as_compared", "select"]


@dataclass(frozen=True, eq=False)
class Selection(Drawable):
    """The best setting by one number, and what became of it out of time.

    value: the column it was chosen by; kind: exact or observed. scenario: whose rows. lowest: the lowest is the best.
    chosen: the setting, by path. now: the program's own values, by path.
    table: one row per setting: its values by path; first and second, the number in the first and in the second part of
        the log; rank_first and rank_second, 1 for the best.
    span: begin, split and end of the log (UTC).
    """

    value: str
    kind: str
    scenario: str
    lowest: bool
    chosen: Mapping[str, Any]
    now: Mapping[str, Any]
    table: pd.DataFrame
    span: tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]

    @property
    def first(self) -> float:
        """The number by which it was chosen; it flatters the choice."""
        return float(self._row["first"])

    @property
    def second(self) -> float:
        """The number of the same setting on the second part, on which it was not chosen."""
        return float(self._row["second"])

    @property
    def _row(self) -> pd.Series:
        return self.table.iloc[int(np.nanargmin(self.table["rank_first"]))]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *rest = self._lines()
        return f"<p><b>{html.escape(head)}</b><br>" + "<br>".join(html.escape(line) for line in rest) + "</p>"

    def _lines(self) -> list[str]:
        begin, split, end = (f"{moment:%Y-%m-%d}" for moment in self.span)
        order = "lowest" if self.lowest else "highest"
        chosen = ", ".join(f"{path} = {setting}" for path, setting in self.chosen.items())
        rank = self._row["rank_second"]
        place = f", place {int(rank)} of {len(self.table)} there" if pd.notna(rank) else ""
        what = f"{column_words(self.value)} ({self.kind})"
        lines = [
            f"{self.scenario}, {what}: the {order} of {len(self.table):,} settings is {chosen}",
            f"chosen on the first part, {begin} to {split}: {self._text(self.first)}",
            f"shown on the second part, {split} to {end}: {self._text(self.second)}{place}",
        ]
        own = self.table[self.is_now]
        if not own.empty:
            then, later = own["first"].to_numpy()[0], own["second"].to_numpy()[0]
            lines.append(f"the program as it is: {self._text(then)}, then {self._text(later)}")
        if self.value.endswith("_rate"):
            lines.append(
                "The best of many is a selection, and the number it was chosen by flatters it: trust the second."
            )
        else:
            lines.append(
                "The best of many is a selection: that it is the best again in the second part would be the evidence; "
                "counts of two parts of unequal traffic do not compare."
            )
        return lines

    def _text(self, number: float) -> str:
        share = self.value.endswith("_rate")
        return "not defined" if math.isnan(number) else number_text(float(number), share=share)

    @property
    def is_now(self) -> pd.Series:
        """Which rows of `table` are the program as it is."""
        same = pd.Series(True, index=self.table.index)
        for path, value in self.now.items():
            same &= self.table[path].map(as_compared) == as_compared(value)
        return same


def as_compared(setting: Any) -> Any:
    """A setting as it is compared, however it is written: 10 is 10.0, and 240m is 4h."""
    if isinstance(setting, int | float) and not isinstance(setting, bool):
        return float(setting)
    try:
        return Duration.parse(setting)
    except (TypeError, ValueError):
        return str(setting)


def select(parts: pd.DataFrame, value: str, *, paths: list[str], lowest: bool) -> pd.DataFrame:
    """Rank settings by a number in both parts of the log.

    Args:
        parts: one row per setting and part ("first", "second"), of one scenario.
        value: a numeric column.
        paths: the columns that make a setting.
        lowest: the lowest is the best.

    Returns:
        One row per setting in the order tried: paths, first, second, rank_first, rank_second; ties go to the earlier.
    """
    first, second = (parts[parts["part"] == part].reset_index(drop=True) for part in ("first", "second"))
    table = first[paths].copy()
    table["first"], table["second"] = first[value].astype(float), second[value].astype(float)
    for part in ("first", "second"):
        table[f"rank_{part}"] = table[part].rank(method="first", ascending=lowest)
    return table
