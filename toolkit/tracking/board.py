"""The deliverability board: what became of the mails at each recipient domain, and where a limit is near. Observed."""

from __future__ import annotations

import html
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from toolkit.drawable import Drawable
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.events.mail_counts import mails_by_domain, mails_by_domain_and_day
from toolkit.readable import table_html
from toolkit.tracking.store import Answers

__all__ = ["BULK_FROM", "COMPLAINTS_LIMIT", "COMPLAINTS_NEAR", "HARD_BOUNCES_LIMIT", "Board", "deliverability"]

COMPLAINTS_LIMIT = 0.003
"""Share of delivered mails called spam from which Gmail and Yahoo hold mails back."""
COMPLAINTS_NEAR = 0.001
"""Share that the same two ask to stay below."""
HARD_BOUNCES_LIMIT = 0.02
"""Share of sent mails to addresses that do not exist from which senders commonly lose their standing."""
BULK_FROM = 5_000
"""Mails a day to one provider from which the rules for bulk senders hold."""

_COUNTS = (
    "sent",
    "delivered",
    "deferred",
    "bounced_hard",
    "bounced_soft",
    "rejected",
    "complained",
    "unsubscribed",
    "opened_by_people",
    "opened_unsure",
    "opened_by_machines",
    "clicked_by_people",
    "clicked_by_machines",
)

_SHOWN = (
    "domain",
    "sent",
    "delivered_rate",
    "bounced_hard",
    "bounced_soft",
    "complained",
    "unsubscribed",
    "opened_by_people",
    "opened_unsure",
    "opened_by_machines",
    "clicked_by_people",
    "busiest_day",
)
_JUDGED = {"bounced_hard", "complained"}
"""Counts that are told with their share, by which a provider judges."""


@dataclass(frozen=True, eq=False)
class Board(Drawable):
    """What became of the mails at each recipient domain.

    Attributes:
        table: one row per domain, the most mails first: the counts of mails (each mail once in a column), the rates
            (shares 0 to 1; missing where nothing was delivered), busiest_day (mails) and alarm (in words, or empty).
        alarms: what is over a limit or near it, in words.
        notes: what a reader must know.
        label: what kind of numbers these are.
    """

    table: pd.DataFrame
    alarms: tuple[str, ...]
    notes: tuple[str, ...]
    label: str = field(default="observed")

    def __str__(self) -> str:
        if self.table.empty:
            return "\n".join([f"Deliverability ({self.label})", "", *self.notes])
        shown = self.table[["domain", "sent", "delivered", "bounced_hard", "complained", "opened_by_people", "alarm"]]
        lines = [*(f"Alarm: {one}" for one in self.alarms), *self.notes]
        return "\n".join([f"Deliverability ({self.label})", "", shown.to_string(index=False), "", *lines]).rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = "".join(f"<p><b>Alarm:</b> {html.escape(one)}</p>" for one in self.alarms)
        notes = "".join(f"<p>{html.escape(one)}</p>" for one in self.notes)
        if self.table.empty:
            return notes
        columns = [
            column for column in _SHOWN if column not in _COUNTS or column in _JUDGED or self.table[column].any()
        ]
        shown = self.table[columns].copy()
        for column in columns:
            if column.endswith("_rate"):
                shown[column] = shown[column].map(_percent)
            elif column in _COUNTS:
                shown[column] = shown[column].map("{:,}".format)
            if column in _JUDGED:
                shown[column] += self.table[f"{column}_rate"].map(lambda rate: f" ({_percent(rate)})")
        shown.columns = [column.removesuffix("_rate").replace("_", " ") for column in columns]
        return f"{said}{table_html(shown, numbers=set(shown.columns) - {'domain', 'busiest day'})}{notes}"


def _percent(rate: float) -> str:
    return "–" if pd.isna(rate) else f"{rate:.2%}"


def deliverability(answers: Answers | EventLog, *, since: datetime | None = None) -> Board:
    """What became of the mails at each recipient domain, with alarms against the limits for bulk senders.

    Args:
        answers: what came home; or a log that holds it, as `email_sent`, `email_delivered`, `email_bounced` and so on,
            with the addresses of its customers.
        since: only what happened from this moment on, with a time zone; everything unless given.

    Returns:
        A `Board`: `.table`, `.alarms`, `.plot()`.

    Raises:
        InputError: `since` without a time zone.

    >>> import tempfile, pathlib
    >>> with Answers.open(pathlib.Path(tempfile.mkdtemp(), "answers.sqlite")) as answers:
    ...     len(deliverability(answers).table)
    0
    """
    if since is not None and since.tzinfo is None:
        raise InputError(f"deliverability: since needs a time zone; found {since!r}")
    start = 0 if since is None else int(since.timestamp() * 1_000_000)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTS, 0))
    found = mails_by_domain(answers, since) if isinstance(answers, EventLog) else answers.mails_by_domain(start)
    for domain, kind, verdict, bounce, number in found:
        column = _column(kind, verdict, bounce)
        if column is not None:
            counts[domain][column] += number
    busiest: dict[str, int] = defaultdict(int)
    by_day = mails_by_domain_and_day(answers, since) if isinstance(answers, EventLog) else answers.sent_by_day(start)
    for domain, _, number in by_day:
        busiest[domain] = max(busiest[domain], number)
    rows = [_rated(domain, own, busiest[domain]) for domain, own in counts.items()]
    rows.sort(key=lambda row: (-row["sent"], row["domain"]))
    names = ["domain", *_COUNTS, "delivered_rate", "bounced_hard_rate", "complained_rate", "opened_by_people_rate"]
    table = pd.DataFrame(rows, columns=[*names, "busiest_day", "alarm"])
    alarms = tuple(f"{row['domain']}: {row['alarm']}" for row in rows if row["alarm"])
    notes = [] if table["delivered"].sum() else ["No provider reports deliveries here: rates are of the mails sent."]
    if not rows:
        notes = ["No mails here yet: once some have left and `toolkit track` runs, they are counted here."]
    if isinstance(answers, EventLog):
        if "verdict" not in answers.properties and table["opened_unsure"].sum():
            notes.append("This log does not tell people's opens from machines': they are counted as unsure.")
    elif answers.unknown_count:
        notes.append(f"Kept apart: {answers.unknown_count:,} answers to mails that are not known here.")
    return Board(table, alarms, tuple(notes))


def _column(kind: str, verdict: str, bounce: str) -> str | None:
    if kind in ("opened", "clicked"):
        whose = {"human": "by_people", "machine": "by_machines", "unsure": "unsure"}[verdict or "unsure"]
        name = f"{kind}_{whose}"
        return name if name in _COUNTS else f"{kind}_by_people"
    if kind == "bounced":
        return "bounced_soft" if bounce == "soft" else "bounced_hard"
    return kind if kind in _COUNTS else None


def _rated(domain: str, counts: dict[str, int], busiest: int) -> dict[str, Any]:
    reached = counts["delivered"] or counts["sent"]

    def rate(name: str, base: int) -> float:
        return counts[name] / base if base else float("nan")

    row: dict[str, Any] = {"domain": domain, **counts}
    row["delivered_rate"] = rate("delivered", counts["sent"]) if counts["delivered"] else float("nan")
    row["bounced_hard_rate"] = rate("bounced_hard", counts["sent"])
    row["complained_rate"] = rate("complained", reached)
    row["opened_by_people_rate"] = rate("opened_by_people", reached)
    row["busiest_day"] = busiest
    row["alarm"] = "; ".join(_alarms(counts, reached, busiest))
    return row


def _alarms(counts: dict[str, int], reached: int, busiest: int) -> list[str]:
    found = []
    complaints = counts["complained"]
    if reached and complaints:
        share = complaints / reached
        if share >= COMPLAINTS_LIMIT:
            found.append(f"{complaints:,} of {reached:,} called spam ({share:.2%}); limit {COMPLAINTS_LIMIT:.1%}")
        elif share >= COMPLAINTS_NEAR:
            found.append(f"{complaints:,} of {reached:,} called spam ({share:.2%}); stay below {COMPLAINTS_NEAR:.1%}")
    bounces, sent = counts["bounced_hard"], counts["sent"]
    if sent and bounces / sent >= HARD_BOUNCES_LIMIT:
        found.append(f"{bounces:,} of {sent:,} to nobody ({bounces / sent:.1%}); stay below {HARD_BOUNCES_LIMIT:.0%}")
    if busiest >= BULK_FROM and found:
        found.append(f"{busiest:,} mails on one day: the rules for bulk senders hold")
    return found
