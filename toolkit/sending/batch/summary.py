"""A batch on one page: who gets what, what is left out and why, what it costs, and what changed since the last one."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from toolkit.mail import Finding
from toolkit.mail.addresses import masked
from toolkit.readable import counted, lines_html, offer_words, priced, reason_text, table_html
from toolkit.sending.batch.mails import PreparedMail
from toolkit.sending.batch.manifest import changes, outline
from toolkit.sending.display import frame_text

if TYPE_CHECKING:
    from toolkit.sending.batch.batch import Batch

__all__ = ["BatchSummary", "Counts", "summary_of", "told"]

_LASTING = ("program", "templates", "files", "sender", "versions", "author")
_ROWS = 10  # of a table
_FINDINGS = 5  # of a line
_REASONS, _LETTERS = 3, 90  # of the line that says what was left out, and of each reason in it


@dataclass(frozen=True, eq=False)
class BatchSummary:
    """A batch on one page.

    Attributes:
        lines: the facts, one sentence each.
        tables: title to table: counts by scenario and arm, template, domain, locale; skipped by reason; samples.
    """

    lines: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]

    def __str__(self) -> str:
        parts = ["\n".join(self.lines)]
        parts += [f"{title}\n{frame_text(table)}" for title, table in self.tables.items() if len(table)]
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        told = {
            title: table.assign(reason=table["reason"].map(reason_text)) if "reason" in table else table
            for title, table in self.tables.items()
        }
        tables = (f"<p><b>{html.escape(title)}</b></p>{table_html(t)}" for title, t in told.items() if len(t))
        return lines_html(self.lines) + "".join(tables)


@dataclass(slots=True)
class _Offer:
    """The mails of one step that carry an offer."""

    name: str | None
    values: Mapping[str, Any]
    mails: int = 0
    known: int = 0
    worth: float = 0.0


@dataclass(slots=True)
class Counts:
    """What the page says of all mails, counted as they pass."""

    arms: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    locales: Counter[str] = field(default_factory=Counter)
    samples: dict[str, PreparedMail] = field(default_factory=dict)
    offers: dict[tuple[str, str], _Offer] = field(default_factory=dict)

    def add(self, batch: Batch, mail: PreparedMail) -> None:
        """One more mail of the batch."""
        letter = mail.letter
        self.arms[letter.scenario, letter.step, mail.arm or ""] += 1
        self.templates[letter.template] += 1
        self.domains[letter.to.rpartition("@")[2].casefold()] += 1
        self.locales[letter.locale] += 1
        self.samples.setdefault(letter.template, mail)
        if letter.offer is not None:
            place = letter.scenario, letter.step
            offer = self.offers.setdefault(place, _Offer(mail.offer, letter.offer))
            offer.mails += 1
            worth = batch.worth_of(mail)
            if worth is not None:
                offer.known += 1
                offer.worth += worth


def summary_of(batch: Batch, counts: Counts) -> BatchSummary:
    """The batch on one page."""
    count = len(batch)
    title = f"{counted(count, 'mail')} due at {batch.now:%Y-%m-%d %H:%M} UTC"
    lines = [f"{title} (decided within {batch.window} before)"]
    lines += _left_out(batch)
    lines += _cost(batch)
    lines += [_liability(batch, *place, offer) for place, offer in sorted(counts.offers.items())]
    errors, warnings = batch.errors, batch.preflight.warnings
    if errors:
        lines.append(f"blocked by {counted(len(errors), 'finding')}: " + "; ".join(errors[:3]))
    elif count:
        found = counted(len(warnings), "warning") + ", see .preflight" if warnings else "nothing found"
        lines.append(f"preflight of all {count:,}: {found}")
    lines += _since(batch)
    lines += [f"note: {note}" for note in batch.notes]
    lines.append(f"digest {batch.digest}")
    return BatchSummary(tuple(lines), MappingProxyType(_tables(batch, counts)))


def _left_out(batch: Batch) -> list[str]:
    """The mails that were set aside, and the most frequent reasons."""
    if not batch.aside:
        return []
    count, its, it = (1, "its", "it") if len(batch.aside) == 1 else (len(batch.aside), "their", "each")
    most = sorted(batch.preflight.set_aside, key=lambda found: -found.count)
    reasons = [(one.message.removesuffix("; left out for it"), one.count) for one in most[:_REASONS]]
    found = [f"{shorten(words, _LETTERS, placeholder=' …')} ({mails:,})" for words, mails in reasons]
    more = [f"and {counted(len(most) - _REASONS, 'finding')} more"] if len(most) > _REASONS else []
    return [
        f"left out: {counted(count, 'mail')} unfit for what is in {its} own customer's data, the others go: "
        f"{'; '.join([*found, *more])}; .set_aside names {it}; still due until {batch.window} after {its} moment: "
        "mend the data and prepare again"
    ]


def told(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What a line can hold of what the preflight set mails aside for: what most mails have, first."""
    most = sorted(findings, key=lambda one: -one.count)
    others = most[_FINDINGS:]
    more = (f"and {counted(len(others), 'finding')} more",) if others else ()
    return (*map(str, most[:_FINDINGS]), *more)


def _cost(batch: Batch) -> list[str]:
    """What the sending itself costs, where the price is known."""
    if batch.price_per_thousand is None or not len(batch):
        return []
    cost = len(batch) * batch.price_per_thousand / 1000
    currency = batch.program.policies.currency
    about, each = (priced(f"{amount:,.2f}", currency) for amount in (cost, batch.price_per_thousand))
    return [f"sending costs about {about}, at {each} a thousand"]


def _liability(batch: Batch, scenario: str, step: str, offer: _Offer) -> str:
    """What the offer of a step may cost."""
    said = f"offer {offer_words(str(offer.name))} in {counted(offer.mails, 'mail')} of {scenario}.{step}"
    amount, percent = offer.values.get("amount"), offer.values.get("percent")
    currency = offer.values.get("currency", batch.program.policies.currency)
    if amount is not None:
        most = priced(f"{float(amount) * offer.mails:,.2f}", currency)
        return f"{said}: at most {most} if everyone uses it once"
    if percent is None:
        return said
    open_ended = "no upper bound, since people choose what they buy"
    if not offer.known:
        return f"{said}: {open_ended}"
    own = batch.program.policies.currency
    worth, share = (priced(f"{offer.worth * part:,.2f}", own) for part in (1, float(percent) / 100))
    on = f"what set off {offer.known:,} of them is worth {worth}"
    return f"{said}: {on}, {float(percent):g}% of that is {share}; {open_ended}"


def _since(batch: Batch) -> list[str]:
    """What differs from the approval before, besides who is mailed."""
    if batch.previous is None:
        return []
    now, before = outline(batch.manifest), dict(batch.previous["outline"])
    both = set(now["templates"]) & set(before["templates"])  # a mail that is not due today has not changed
    for one in (now, before):
        one["templates"] = {name: one["templates"][name] for name in both}
    compared = [{name: one.get(name) for name in _LASTING} for one in (before, now)]
    lines = changes(*compared) or ["nothing changed but the audience"]
    by, day = batch.previous["by"], batch.previous["signed_at"][:10]
    return [f"since the approval by {by} of {day}: {'; '.join(lines)}"]


def _tables(batch: Batch, counts: Counts) -> dict[str, pd.DataFrame]:
    def tallied(counted: Counter[str], name: str) -> pd.DataFrame:
        ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        shown = ordered[:_ROWS]
        if len(ordered) > len(shown):
            shown.append((f"{len(ordered) - _ROWS:,} others", sum(n for _, n in ordered[_ROWS:])))
        return pd.DataFrame(shown, columns=[name, "mails"])

    arms = [(*names, n) for names, n in sorted(counts.arms.items())]
    samples = [
        (template, masked(mail.letter.to), mail.subject, batch.spool.size(mail.number))
        for template, mail in sorted(counts.samples.items())
    ]
    return {
        "By scenario and arm": pd.DataFrame(arms, columns=["scenario", "step", "arm", "mails"]),
        "By template": tallied(counts.templates, "template"),
        "By domain": tallied(counts.domains, "domain"),
        "By locale": tallied(counts.locales, "locale"),
        "Not mailed": pd.DataFrame(sorted(batch.skipped.items()), columns=["reason", "mails"]),
        "One sample of each": pd.DataFrame(samples, columns=["template", "to", "subject", "bytes"]),
    }
