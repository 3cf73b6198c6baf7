"""How the scenarios of a program meet in the same people: mails of both, limits, mails a person a week. Exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.compiled import compiled
from toolkit.engine.layout import Ints
from toolkit.readable import table_html

if TYPE_CHECKING:
    from toolkit.engine.run import Run

__all__ = ["Meetings", "Overlap", "meetings_of", "overlap_of"]

_WEEK = 7 * 86_400_000_000
_MONDAY = 4 * 86_400_000_000
"""1970-01-01 was a Thursday; the first Monday came four days later."""


@dataclass(frozen=True, eq=False)
class Overlap(Drawable):
    """How the scenarios of a program meet in the same people.

    people: scenario by scenario: how many customers got mails of both (on the diagonal: of that one).
    collisions: scenario by scenario: mails of the row that a limit stopped, where mails of the column had filled it. A
        limit filled by two scenarios counts for both, so that a row can add up to more than its mails.
    caps: one row per scenario: mails not sent because a limit was reached, and their share of all decided.
    weekly: one row per number of mails in a week (from Monday, UTC): how many customer-weeks had so many.
    """

    people: pd.DataFrame
    collisions: pd.DataFrame
    caps: pd.DataFrame
    weekly: pd.DataFrame

    def __str__(self) -> str:
        parts = ["Customers who got mails of both (exact)", _counts(self.people).to_string(), ""]
        parts += ["Mails not sent because a limit was reached", self._caps().to_string(index=False), ""]
        if self._collide:
            parts += ["Whose mails had filled the limit (rows were stopped by columns)"]
            parts += [_counts(self.collided).to_string(), ""]
        parts += ["Mails a person a week, where there were any", _counts(self.weekly).to_string(index=False)]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        collisions = (
            f"<p>Whose mails had filled the limit (rows were stopped by columns)</p>{_html(self.collided)}"
            if self._collide
            else ""
        )
        return (
            f"<p>Customers who got mails of both (<i>exact</i>)</p>{_html(self.people)}"
            "<p>Mails not sent because a limit was reached</p>"
            f"{table_html(self._caps(), numbers=('mails', 'share'))}{collisions}"
            "<p>Mails a person a week, where there were any</p>"
            f"{table_html(self.weekly)}"
        )

    @property
    def _collide(self) -> bool:
        return bool(self.collisions.to_numpy().any())

    @property
    def collided(self) -> pd.DataFrame:
        """`collisions` without scenarios that no limit stopped, and without those that filled none."""
        filled = self.collisions > 0
        return self.collisions.loc[list(filled.index[filled.any(axis=1)]), list(filled.columns[filled.any()])]

    def _caps(self) -> pd.DataFrame:
        shown = self.caps.copy()
        shown["mails"] = shown["mails"].map("{:,}".format)
        shown["share"] = shown["share"].map(lambda share: "" if pd.isna(share) else f"{100 * share:.1f}%")
        return shown


def _counts(table: pd.DataFrame) -> pd.DataFrame:
    return table.map("{:,}".format)


def _html(table: pd.DataFrame) -> str:
    return table_html(table.rename_axis("scenario").reset_index())


@dataclass(frozen=True, slots=True)
class Meetings:
    """Counts of some customers, by place of the scenario; `weekly` by number of mails in a week."""

    people: Ints
    collisions: Ints
    decided: Ints
    capped: Ints
    weekly: Ints


def meetings_of(run: Run) -> Meetings:
    """Count how scenarios meet in a run, so that the counts of several ranges of customers can be added up."""
    rows, journeys = run.walked.decisions, run.walked.journeys
    scenarios = len(run.compiled.scenarios)
    scenario = journeys[rows[:, m.D_JOURNEY], m.J_SCENARIO]
    customer = journeys[rows[:, m.D_JOURNEY], m.J_CUSTOMER]
    sent = rows[:, m.D_STATUS] == m.STATUS_SEND
    got = np.zeros((len(run.marked.customers), scenarios), dtype=np.float64)
    got[customer[sent], scenario[sent]] = 1.0
    capped = rows[:, m.D_REASON] == m.WHY_CAP
    collisions = np.zeros((scenarios, scenarios), dtype=np.int64)
    _collide(rows, scenario, customer, run.compiled.plan.scenarios, run.compiled.plan.caps, collisions)
    week = (rows[sent, m.D_AT] - _MONDAY) // _WEEK
    weeks = int(week.max() - week.min()) + 1 if len(week) else 1
    _, mails = np.unique(customer[sent] * weeks + (week - (week.min() if len(week) else 0)), return_counts=True)
    return Meetings(
        np.rint(got.T @ got).astype(np.int64),
        collisions,
        np.bincount(scenario, minlength=scenarios).astype(np.int64),
        np.bincount(scenario[capped], minlength=scenarios).astype(np.int64),
        np.bincount(mails).astype(np.int64),
    )


@compiled
def _collide(rows: Ints, scenario: Ints, customer: Ints, rules: Ints, caps: Ints, collisions: Ints) -> None:
    """For each mail that a limit stopped, the scenarios whose mails had filled the first limit that was hit (R16)."""
    seen = np.zeros(len(collisions), dtype=np.int64)
    for i in range(len(rows)):
        if rows[i, m.D_REASON] != m.WHY_CAP:
            continue
        mine, now = scenario[i], rows[i, m.D_AT]
        for cap in range(rules[mine, m.S_CAPS], rules[mine, m.S_CAPS_END]):
            own = caps[cap, m.CAP_SCENARIO] == 1
            left = caps[cap, m.CAP_LIMIT]
            seen[:] = 0
            # The decisions of one customer stand together, in the order in which they were made.
            k = i - 1
            while k >= 0 and left > 0 and customer[k] == customer[i] and rows[k, m.D_AT] > now - caps[cap, m.CAP_PER]:
                status = rows[k, m.D_STATUS]
                if own:
                    counts = scenario[k] == mine and status != m.STATUS_SKIPPED
                else:
                    counts = status == m.STATUS_SEND and rules[scenario[k], m.S_MARKETING] == 1
                if counts:
                    left -= 1
                    seen[scenario[k]] = 1
                k -= 1
            if left == 0:
                collisions[mine] += seen
                break


def overlap_of(meetings: Iterable[Meetings], scenarios: Sequence[str]) -> Overlap:
    """How scenarios meet.

    Args:
        meetings: counts of each range of customers.
        scenarios: names in the order of the counts.

    Returns:
        Customers by pairs of scenarios, limits reached and by whom they were filled, mails a person a week.
    """
    each = list(meetings)
    decided, capped = (sum(getattr(one, name) for one in each) for name in ("decided", "capped"))
    longest = max(len(one.weekly) for one in each)
    weekly = sum(np.pad(one.weekly, (0, longest - len(one.weekly))) for one in each)
    there = np.flatnonzero(weekly)
    share = np.full(len(scenarios), np.nan)
    np.divide(capped, decided, out=share, where=np.asarray(decided) > 0)
    names = list(scenarios)
    return Overlap(
        people=pd.DataFrame(sum(one.people for one in each), names, names),
        collisions=pd.DataFrame(sum(one.collisions for one in each), names, names),
        caps=pd.DataFrame({"scenario": names, "mails": capped, "share": share}),
        weekly=pd.DataFrame({"mails": there, "customer_weeks": np.asarray(weekly)[there]}),
    )
