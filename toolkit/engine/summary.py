"""A replay in numbers: journeys, mails, why not, and how journeys ended, by scenario and arm."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.layout import Ints
from toolkit.engine.ordered import distinct
from toolkit.engine.runners.local import Walked
from toolkit.readable import reason_text, table_html
from toolkit.tables import ENDINGS, REASONS, STATUSES

__all__ = ["JourneyCounts", "Summary", "journey_counts", "summarise"]


@dataclass(frozen=True, eq=False)
class Summary:
    """Counts of a replay, all exact.

    table: one row per scenario and arm: journeys, customers, sent, withheld, skipped, one column per ending.
    reasons: one row per scenario and reason of a mail not sent, with its count.
    span: first and last moment of the log, and the last moment decided.
    notes: what a reader must know.
    nobody: what a reader must know first: which scenarios wait for an event that the log has not, or has not repeated.
    """

    table: pd.DataFrame
    reasons: pd.DataFrame
    span: tuple[pd.Timestamp | None, pd.Timestamp]
    notes: tuple[str, ...]
    nobody: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"Replay{self._when()} (exact)", ""]
        parts += [*self.nobody, ""] if self.nobody else []
        parts.append(_text(self.table))
        if len(self.reasons):
            parts += ["", "Mails not sent, by reason", _text(self.reasons)]
        if self.notes:
            parts += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(parts)

    __repr__ = __str__

    def _when(self) -> str:
        first, last = self.span
        if first is None or last is None:
            return ""
        if last < first:
            return f" until {last:%Y-%m-%d}, before the log begins on {first:%Y-%m-%d}"
        return f", {first:%Y-%m-%d} to {last:%Y-%m-%d}"

    def _repr_html_(self) -> str:
        names = self.table["scenario"].unique()
        is_one = len(names) == 1  # told once, so that the rest of the table finds room on the page
        of = f" of {html.escape(str(names[0]))}" if is_one else ""
        table, reasons = (one.drop(columns="scenario") if is_one else one for one in (self.table, self.reasons))
        body = f"<p><b>Replay{of}</b>{html.escape(self._when())} · <i>exact</i></p>"
        body += "".join(f"<p><b>{html.escape(sentence)}</b></p>" for sentence in self.nobody)
        body += table_html(table)
        if len(reasons):
            told = reasons.assign(reason=reasons["reason"].map(reason_text))
            body += f"<p>Mails not sent, by reason</p>{table_html(told)}"
        return body + "".join(f"<p style='opacity:.75'>{html.escape(note)}</p>" for note in self.notes)


def _text(table: pd.DataFrame) -> str:
    return table.to_string(index=False, na_rep="", formatters=dict.fromkeys(_counts(table), "{:,}".format))


def _counts(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if pd.api.types.is_integer_dtype(table[name])]


@dataclass(frozen=True, slots=True)
class JourneyCounts:
    """Counts of some customers by scenario and arm (place of the scenario times `widest`, plus the arm's place + 1)."""

    widest: int
    journeys: Ints
    customers: Ints
    endings: Ints
    statuses: Ints
    reasons: Ints

    @property
    def by_scenario(self) -> Ints:
        """Journeys of each scenario, of all arms together."""
        found: Ints = self.journeys.reshape(-1, self.widest).sum(axis=1)
        return found


def journey_counts(compiled: Compiled, walked: Walked) -> JourneyCounts:
    """Count journeys and mails, so that the counts of several ranges of customers can be added up."""
    journeys, decisions = walked.journeys, walked.decisions
    widest = 1 + max((len(arms) for arms in compiled.arms), default=0)
    group = journeys[:, m.J_SCENARIO] * widest + journeys[:, m.J_ARM] + 1
    size = len(compiled.scenarios) * widest
    of_decision = group[decisions[:, m.D_JOURNEY]]
    people = distinct(journeys[:, m.J_CUSTOMER] * size + group) % max(1, size)
    not_sent = decisions[:, m.D_STATUS] != m.STATUS_SEND
    of_scenario = journeys[decisions[not_sent, m.D_JOURNEY], m.J_SCENARIO]
    return JourneyCounts(
        widest,
        np.bincount(group, minlength=size),
        np.bincount(people, minlength=size),
        np.bincount(group * len(ENDINGS) + journeys[:, m.J_ENDED_BY], minlength=size * len(ENDINGS)),
        np.bincount(of_decision * len(STATUSES) + decisions[:, m.D_STATUS], minlength=size * len(STATUSES)),
        np.bincount(
            of_scenario * len(REASONS) + decisions[not_sent, m.D_REASON],
            minlength=len(compiled.scenarios) * len(REASONS),
        ),
    )


def summarise(
    counts: Iterable[JourneyCounts],
    compiled: Compiled,
    *,
    span: tuple[pd.Timestamp | None, pd.Timestamp],
    notes: tuple[str, ...],
    nobody: tuple[str, ...] = (),
) -> Summary:
    """A replay in numbers.

    Args:
        counts: of each range of customers.
        compiled: what was replayed.
        span: first and last moment.
        notes: what a reader must know.
        nobody: what a reader must know first.

    Returns:
        Counts by scenario and arm, and reasons.
    """
    each = list(counts)
    widest = each[0].widest
    counted, customers, endings, statuses, reached = (
        np.sum([getattr(one, name) for one in each], axis=0)
        for name in ("journeys", "customers", "endings", "statuses", "reasons")
    )
    rows = []
    for place, scenario in enumerate(compiled.scenarios):
        arms = compiled.arms[place]
        for arm in range(len(arms)) if arms else (-1,):
            g = place * widest + arm + 1
            status = dict(zip(STATUSES, statuses[g * 3 : g * 3 + 3].tolist(), strict=True))
            ended = dict(zip(ENDINGS, endings[g * 5 : g * 5 + 5].tolist(), strict=True))
            rows.append(
                {
                    "scenario": scenario.scenario,
                    "arm": arms[arm] if arm >= 0 else "",
                    "journeys": int(counted[g]),
                    "customers": int(customers[g]),
                    "sent": status["send"],
                    "withheld": status["withheld"],
                    "skipped": status["skipped"],
                    **ended,
                }
            )
    reasons = [
        {
            "scenario": compiled.scenarios[place // len(REASONS)].scenario,
            "reason": REASONS[place % len(REASONS)],
            "mails": int(reached[place]),
        }
        for place in np.flatnonzero(reached)
    ]
    columns = ["scenario", "arm", "journeys", "customers", "sent", "withheld", "skipped", *ENDINGS]
    return Summary(
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(reasons, columns=["scenario", "reason", "mails"]),
        span,
        notes,
        nobody,
    )
