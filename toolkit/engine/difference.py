"""Two replays side by side: who gains, loses or moves a mail. Exact."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd

__all__ = ["Difference", "difference_of"]

_CHANGES = ("gained", "lost", "moved", "changed")
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Difference:
    """What a second version of a program would have sent otherwise.

    table: one row per scenario, step and change: gained, lost, moved (the same mail at another time), changed (another
        template or offer), with mails and customers.
    mails: one row per mail that differs: change, scenario, step, customer_id, at_before, at_after, reason_before and
        reason_after (why it was not sent), later (how much later it goes).
    same: mails that are the same in both.
    """

    table: pd.DataFrame
    mails: pd.DataFrame
    same: int

    def __str__(self) -> str:
        counts = self.mails["change"].value_counts()
        told = ", ".join(f"{int(counts.get(change, 0)):,} {change}" for change in _CHANGES)
        parts = [f"{told}; {self.same:,} mails are the same in both (exact)"]
        if len(self.table):
            parts += ["", self.table.to_string(index=False)]
            parts += ["", "For example", self._examples().to_string(index=False, na_rep="")]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = html.escape(str(self).split("\n", 1)[0])
        if not len(self.table):
            return f"<p>{head}</p>"
        tables = (self.table.to_html(index=False, border=0), self._examples().to_html(index=False, border=0, na_rep=""))
        return f"<p>{head}</p>{tables[0]}<p>For example</p>{tables[1]}"

    def _examples(self) -> pd.DataFrame:
        chosen = self.mails.groupby("change", sort=False).head(_SHOWN)
        shown = chosen[["change", "scenario", "step", "customer_id", "at_before", "at_after", "reason_after"]].copy()
        for name in ("at_before", "at_after"):
            shown[name] = shown[name].dt.strftime("%Y-%m-%d %H:%M")
        return shown


def difference_of(before: pd.DataFrame, after: pd.DataFrame) -> Difference:
    """Compare two decision tables, mail by mail.

    Args:
        before, after: decisions (`tables.DECISIONS`) of two replays over the same log.

    Returns:
        The difference; a mail is the same mail when it has the same decision_id: scenario, customer, key, trigger and
        step.
    """
    columns = ["decision_id", "scenario", "step", "customer_id", "template", "offer", "at", "status", "reason"]
    both = before[columns].merge(after[columns], on="decision_id", how="outer", suffixes=("_before", "_after"))
    for name in ("scenario", "step", "customer_id"):
        both[name] = both[f"{name}_before"].where(both[f"{name}_before"].notna(), both[f"{name}_after"])
    was, will = both["status_before"] == "send", both["status_after"] == "send"
    moved = was & will & (both["at_before"] != both["at_after"])
    other = pd.Series(False, index=both.index)
    for name in ("template", "offer"):
        other |= both[f"{name}_before"].fillna("") != both[f"{name}_after"].fillna("")
    other &= was & will & ~moved
    both["change"] = pd.Series(pd.NA, index=both.index, dtype="str")
    for change, rows in zip(_CHANGES, (~was & will, was & ~will, moved, other), strict=True):
        both.loc[rows, "change"] = change
    mails = both[both["change"].notna()].copy()
    mails["later"] = mails["at_after"] - mails["at_before"]
    keep = [
        "change",
        "scenario",
        "step",
        "customer_id",
        "at_before",
        "at_after",
        "reason_before",
        "reason_after",
        "later",
    ]
    mails["order"] = mails["change"].map({change: place for place, change in enumerate(_CHANGES)})
    first = mails["at_after"].where(mails["at_after"].notna(), mails["at_before"])
    mails = mails.assign(first=first).sort_values(["order", "first", "customer_id", "step"], kind="stable")
    table = (
        mails.groupby(["scenario", "step", "order", "change"], sort=True)
        .agg(mails=("customer_id", "size"), customers=("customer_id", "nunique"))
        .reset_index()
        .drop(columns="order")
    )
    return Difference(table, mails[keep].reset_index(drop=True), int((was & will).sum() - moved.sum() - other.sum()))
