"""The deliverability board: what became of the mails by recipient domain or by mail, with alarms. Observed."""

from __future__ import annotations

import html
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from toolkit.drawable import Drawable
from toolkit.errors import InputError, did_you_mean, is_one_of, shown
from toolkit.events import EventLog
from toolkit.events.mail_counts import mails_by_day, mails_by_group
from toolkit.events.times import moment_of
from toolkit.readable import counted, table_html
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
    "clicked_unsure",
    "clicked_by_machines",
)

_GRAINS = ("domain", "mail")
_SHOWN = (
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
    "clicked_unsure",
    "busiest_day",
)
_NAMES = {f"{kind}_unsure": f"{kind}, perhaps by a machine" for kind in ("opened", "clicked")}
_JUDGED = {"bounced_hard", "complained"}
"""Counts that are told with their share, by which a provider judges."""
_ANSWERED = {"opened_by_people", "opened_unsure", "clicked_by_people", "clicked_unsure", "unsubscribed"}
"""Counts that are told with their share where mails are held against each other."""
_RATED = ("bounced_hard", "complained", *sorted(_ANSWERED))
_RATES = tuple(f"{name}_rate" for name in _RATED)
_NO_EFFECT = "These are answers. What a mail brings, only people drawn at random can tell: tk.experiment."


@dataclass(frozen=True, eq=False)
class Board(Drawable):
    """What became of the mails at each recipient domain, or of each mail.

    Attributes:
        table: one row per domain or mail, the most mails first: the counts of mails (each mail once in a column), the
            rates (shares 0 to 1; missing where nothing was delivered), busiest_day (mails) and alarm (in words, or
            empty).
        alarms: what is over a limit or near it, in words.
        notes: what a reader must know.
        by: what a row is, and the name of the first column: `domain`, or `mail`.
        label: what kind of numbers these are.
        span: the first and the last day (UTC) on which these mails were sent; none where none was.
    """

    table: pd.DataFrame
    alarms: tuple[str, ...]
    notes: tuple[str, ...]
    by: str = "domain"
    label: str = field(default="observed")
    span: tuple[date, date] | None = None

    def __str__(self) -> str:
        span = f", mails sent {self._days()}" if self.span else ""
        title = f"Deliverability{span} ({self.label})"
        if self.table.empty:
            return "\n".join([title, "", *self.notes])
        told = (
            ["opened_by_people"]
            if self.by == "domain"
            else ["opened_by_people", "opened_unsure", "clicked_by_people", "clicked_unsure"]
        )
        shown = self.table[[self.by, "sent", "delivered", "bounced_hard", "complained", *told, "alarm"]]
        lines = [*(f"Alarm: {one}" for one in self.alarms), *self.notes]
        return "\n".join([title, "", shown.to_string(index=False), "", *lines]).rstrip()

    __repr__ = __str__

    def _days(self) -> str:
        return " to ".join(f"{day:%Y-%m-%d}" for day in self.span or ())

    def _repr_html_(self) -> str:
        said = "".join(f"<p><b>Alarm:</b> {html.escape(one)}</p>" for one in self.alarms)
        notes = "".join(f"<p>{html.escape(one)}</p>" for one in self.notes)
        if self.table.empty:
            return notes
        is_by_mail = self.by == "mail"
        columns = [self.by] + [
            column
            for column in _SHOWN
            if (column not in _COUNTS or column in _JUDGED or self.table[column].any())
            and not (is_by_mail and column in ("bounced_soft", "busiest_day"))
        ]
        shown = self.table[columns].copy()
        for column in columns:
            if column.endswith("_rate"):
                shown[column] = shown[column].map(_percent)
            elif column in _COUNTS:
                shown[column] = shown[column].map("{:,}".format)
            if column in _JUDGED or (is_by_mail and column in _ANSWERED):
                shown[column] += self.table[f"{column}_rate"].map(lambda rate: f" ({_percent(rate)})")
        shown.columns = [_NAMES.get(column, column.removesuffix("_rate").replace("_", " ")) for column in columns]
        sent = f"{counted(int(self.table['sent'].sum()), 'mail')}{f', sent {self._days()}' if self.span else ''}"
        title = f"<p><b>Deliverability by {self.by}</b>: {sent} · <i>{self.label}</i></p>"
        return f"{title}{said}{table_html(shown, numbers=set(shown.columns) - {self.by, 'busiest day'})}{notes}"


def _percent(rate: float) -> str:
    return "–" if pd.isna(rate) else f"{rate:.2%}"


def deliverability(answers: Answers | EventLog, *, since: datetime | str | None = None, by: str = "domain") -> Board:
    """What became of the mails by recipient domain or by mail, with alarms against the limits for bulk senders.

    Args:
        answers: what came home; or a log that holds it, as `email_sent`, `email_delivered`, `email_bounced` and so on,
            with the addresses of its customers.
        since: only what happened from this moment on, with a time zone; everything unless given.
        by: `domain`; or `mail`, the scenario and the step as in `abandoned_cart.reminder`.

    Returns:
        A `Board`: `.table`, `.alarms`, `.plot()`.

    Raises:
        InputError: `since` without a time zone, or another `by`.

    >>> import tempfile, pathlib
    >>> with Answers.open(pathlib.Path(tempfile.mkdtemp(), "answers.sqlite")) as answers:
    ...     len(deliverability(answers).table)
    0
    """
    begin = None if since is None else moment_of(since, name="deliverability: since")
    if not is_one_of(by, _GRAINS):
        raise InputError(f"deliverability: by={shown(by)}; allowed: {', '.join(_GRAINS)}" + did_you_mean(by, _GRAINS))
    start = 0 if begin is None else int(begin.timestamp() * 1_000_000)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTS, 0))
    if isinstance(answers, EventLog):
        found, by_day = mails_by_group(answers, begin, by=by), mails_by_day(answers, begin, by=by)
    else:
        found, by_day = answers.mails_by_group(start, by=by), answers.sent_by_day(start, by=by)
    for group, kind, verdict, bounce, number in found:
        column = _column(kind, verdict, bounce)
        if column is not None:
            counts[group][column] += number
    nameless = sum(counts.pop("", {}).values())
    busiest: dict[str, int] = defaultdict(int)
    for group, _, number in by_day:
        busiest[group] = max(busiest[group], number)
    rows = [{by: group, **_rated(own, busiest[group], by)} for group, own in counts.items()]
    rows.sort(key=lambda row: (-row["sent"], row[by]))
    table = pd.DataFrame(rows, columns=[by, *_COUNTS, "delivered_rate", *_RATES, "busiest_day", "alarm"])
    alarms = tuple(f"{row[by]}: {row['alarm']}" for row in rows if row["alarm"])
    notes = [] if table["delivered"].sum() else ["No provider reports deliveries here: rates are of the mails sent."]
    if not rows:
        notes = ["No mails here yet: once some have left and toolkit track runs, they are counted here."]
    if isinstance(answers, EventLog):
        if "verdict" not in answers.properties and table[["opened_unsure", "clicked_unsure"]].to_numpy().any():
            notes.append("This log does not tell people's opens and clicks from machines': they are counted as unsure.")
    elif answers.unknown_count:
        notes.append(f"Kept apart: {answers.unknown_count:,} answers to mails that are not known here.")
    if by == "mail":
        if nameless and not rows:
            notes = ["Nothing here names its mail; a log does so in the columns scenario and step."]
        elif nameless:
            notes.append(f"Left out, because it names no mail: {counted(nameless, 'answer')}.")
        notes += [_NO_EFFECT] if rows else []
    days = [date(1970, 1, 1) + timedelta(days=day) for _, day, _ in by_day]
    return Board(table, alarms, tuple(notes), by, span=(min(days), max(days)) if days else None)


def _column(kind: str, verdict: str, bounce: str) -> str | None:
    if kind in ("opened", "clicked"):
        whose = {"human": "by_people", "machine": "by_machines"}.get(verdict, "unsure")
        return f"{kind}_{whose}"
    if kind == "bounced":
        return "bounced_soft" if bounce == "soft" else "bounced_hard"
    return kind if kind in _COUNTS else None


def _rated(counts: dict[str, int], busiest: int, by: str) -> dict[str, Any]:
    reached = counts["delivered"] or counts["sent"]

    def rate(name: str, base: int) -> float:
        return counts[name] / base if base else float("nan")

    row: dict[str, Any] = {**counts}
    row["delivered_rate"] = rate("delivered", counts["sent"]) if counts["delivered"] else float("nan")
    row |= {f"{name}_rate": rate(name, counts["sent"] if name == "bounced_hard" else reached) for name in _RATED}
    row["busiest_day"] = busiest
    row["alarm"] = "; ".join(_alarms(counts, reached, busiest if by == "domain" else 0))
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
