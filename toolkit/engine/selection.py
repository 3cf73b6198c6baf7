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

__all__ = ["Selection", "as_compared", "chosen_place", "select"]

_NAMED = 5  # settings of a tie


@dataclass(frozen=True, eq=False)
class Selection(Drawable):
    """The best setting by one number, and what became of it out of time.

    value: the column it was chosen by; kind: exact or observed. scenario: whose rows. lowest: the lowest is the best.
    chosen: the setting, by path. now: the program's own values, by path.
    table: one row per setting: its values by path; first and second, the number in the first and in the second part of
        the log; rank_first and rank_second, 1 for the best; settings with one number share the best rank of theirs.
    span: begin, split and end of the log (UTC).
    place: the row of `table` that is chosen. Of settings that share the best number it is the one that changes the
        fewest parameters of the program; of several such the nearest, counted in values that were tried on the way;
        then the first that was tried.
    """

    value: str
    kind: str
    scenario: str
    lowest: bool
    chosen: Mapping[str, Any]
    now: Mapping[str, Any]
    table: pd.DataFrame
    span: tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]
    place: int

    @property
    def tied(self) -> pd.DataFrame:
        """The rows of `table` that share the number by which it was chosen, the chosen one among them."""
        return self.table[self.table["rank_first"] == 1]

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
        return self.table.iloc[self.place]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *rest = self._lines()
        return f"<p><b>{html.escape(head)}</b><br>" + "<br>".join(html.escape(line) for line in rest) + "</p>"

    def _lines(self) -> list[str]:
        begin, split, end = (f"{moment:%Y-%m-%d}" for moment in self.span)
        order = "lowest" if self.lowest else "highest"
        chosen = _setting_text(self.chosen)
        rank = self._row["rank_second"]
        place = f", place {int(rank)} of {len(self.table)} there" if pd.notna(rank) else ""
        alike = int((self.table["rank_second"] == rank).sum())
        place += f", shared by {alike}" if alike > 1 else ""
        what = f"{column_words(self.value)} ({self.kind})"
        lines = [
            f"{self.scenario}, {what}: the {order} of {len(self.table):,} settings is {chosen}",
            *self._tie(),
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

    def _tie(self) -> list[str]:
        """Who else has the number by which it was chosen, and why this one was taken; nothing where it is alone."""
        tied = self.tied
        if len(tied) == 1:
            return []
        if self.is_now.iloc[self.place]:
            taken = "the program as it is was taken"
        else:
            taken = "the nearest to the program as it is was taken, of several as near the first tried"
        if len(tied) == len(self.table):
            alike = f"all {len(tied):,} settings are alike in the first part, which tells none apart"
            return [f"{alike} (chosen_on= moves its end); {taken}"]
        others = tied.drop(index=tied.index[tied.index == self.table.index[self.place]])
        named = [self._otherwise(row) for row in others[list(self.chosen)].head(_NAMED).to_dict("records")]
        if len(others) > _NAMED:
            named.append(f"and {len(others) - _NAMED:,} more")
        return [f"{len(tied):,} settings share it, also with {'; '.join(named)}; {taken}"]

    def _otherwise(self, setting: Mapping[Any, Any]) -> str:
        """What of a setting differs from the chosen one; all of one that was tried twice."""
        differs = {path: value for path, value in setting.items() if value != self.chosen[path]}
        return _setting_text(differs or setting)

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


def _setting_text(setting: Mapping[Any, Any]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in setting.items())


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
        One row per setting in the order tried: paths, first, second, rank_first, rank_second; those of a tie have one
        rank.
    """
    first, second = (parts[parts["part"] == part].reset_index(drop=True) for part in ("first", "second"))
    table = first[paths].copy()
    table["first"], table["second"] = first[value].astype(float), second[value].astype(float)
    for part in ("first", "second"):
        table[f"rank_{part}"] = table[part].rank(method="min", ascending=lowest)
    return table


def chosen_place(table: pd.DataFrame, now: Mapping[str, Any]) -> int:
    """The row of the best setting in the first part; of several as good, by the rule of `Selection.place`.

    Args:
        table: as `select` gives it.
        now: the program's own values, by path.
    """
    tied = np.flatnonzero(table["rank_first"].to_numpy() == 1)
    changed, stops = np.zeros((2, len(tied)))
    for path, value in now.items():
        tried, own = table[path].map(as_compared).tolist(), as_compared(value)
        on_the_way = [] if isinstance(own, str) else sorted({_number(one) for one in (*tried, own)})
        for place, row in enumerate(tied):
            if tried[row] != own:
                changed[place] += 1
                if on_the_way:
                    stops[place] += abs(on_the_way.index(_number(tried[row])) - on_the_way.index(_number(own)))
    return int(tied[np.lexsort((tied, stops, changed))[0]])


def _number(setting: Any) -> float:
    """A number or a length of time as a number; anything else counts as none."""
    return float(setting.elapsed) if isinstance(setting, Duration) else setting if isinstance(setting, float) else 0.0
