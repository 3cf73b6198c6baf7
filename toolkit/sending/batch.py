"""A batch: the mails due at a moment, rendered, checked and counted, as they will be sent."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from toolkit.errors import InputError
from toolkit.mail import Letter, Preflight, Templates
from toolkit.scenario import content_hash
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Program
from toolkit.sending.display import counted, frame_html, frame_text, lines_html, masked
from toolkit.sending.keys import MailKey
from toolkit.sending.manifest import changes, digest_of, outline, plain
from toolkit.sending.spool import Spool

__all__ = ["Batch", "BatchSummary", "PreparedMail", "Preview", "versions"]

FORMAT = "trigger-toolkit batch 1"
_PACKAGES = ("trigger-toolkit", "jinja2", "mjml-python", "css-inline", "Babel")
_LASTING = ("program", "templates", "files", "sender", "versions", "author")
_COLUMNS = (
    "decision_id",
    "customer_id",
    "address",
    "scenario",
    "step",
    "arm",
    "template",
    "offer",
    "due_at",
    "subject",
    "size",
)


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """One mail of a batch: the decision, the letter it became, where its bytes are in the spool, and, where clicks are
    counted, the web addresses its links lead to."""

    letter: Letter
    customer_id: str
    arm: str | None
    offer: str | None
    due_at: datetime
    message_id: str
    subject: str
    number: int
    targets: tuple[str, ...] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What one recipient will see, read from the very bytes that go out."""

    to: str
    sender: str
    subject: str
    html: str
    text: str

    def __str__(self) -> str:
        return f"From: {self.sender}\nTo: {self.to}\nSubject: {self.subject}\n\n{self.text}"

    def _repr_html_(self) -> str:
        # No scripts, no remote content: looking at a mail in a notebook must not count as opening it.
        rules = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        shown = f'<meta http-equiv="Content-Security-Policy" content="{rules}">{self.html}'
        head = lines_html([f"From: {self.sender}", f"To: {self.to}", f"Subject: {self.subject}"])
        frame = f'<iframe sandbox srcdoc="{html.escape(shown, quote=True)}" style="width:100%;height:640px"></iframe>'
        return head + frame


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
        tables = (f"<p><b>{html.escape(title)}</b></p>{frame_html(t)}" for title, t in self.tables.items() if len(t))
        return lines_html(self.lines) + "".join(tables)


@dataclass(frozen=True, eq=False)
class Batch:
    """The mails due at a moment. Frozen: an approval covers its every byte.

    Attributes:
        program: scenarios and policies.
        templates: the mails, compiled.
        folder: where the templates were read, None when they were handed in compiled.
        files: the template files under the folder, with the SHA-256 of each.
        now: the moment, UTC.
        window: how far back a decision may lie.
        mails: one per mail, in the order of the decisions.
        spool: their bytes.
        skipped: decisions of the window that are not mailed, counted by reason.
        preflight: what the check of every rendered mail found.
        problems: further findings that block the batch.
        notes: what a reader must know.
        ledger: where the ledger is that was asked what is sent already; None for the transport's own.
        previous: the approval before this batch, from the ledger.
        author: who wrote the scenarios and their mails, where that was said.
        left_out: decisions to send that are not mailed: decision to reason.
        sources: the text of each of `files` as it was read, so that a refusal can show what changed.
        manifest: all that an approval covers, as plain values.
        digest: SHA-256 of the manifest's canonical JSON, 64 hex digits.
    """

    program: Program
    templates: Templates
    folder: Path | None
    files: Mapping[str, str]
    now: datetime
    window: Duration
    mails: tuple[PreparedMail, ...]
    spool: Spool
    skipped: Mapping[str, int]
    preflight: Preflight
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    ledger: str | None
    key: MailKey = field(repr=False)
    previous: Mapping[str, Any] | None = field(repr=False)
    author: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict, repr=False)
    manifest: Mapping[str, Any] = field(init=False, repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))
        object.__setattr__(self, "skipped", MappingProxyType(dict(self.skipped)))
        object.__setattr__(self, "manifest", self.recomputed())
        object.__setattr__(self, "digest", digest_of(self.manifest))

    def __len__(self) -> int:
        return len(self.mails)

    def __bool__(self) -> bool:
        return True  # a batch of no mails is still a batch

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    @property
    def errors(self) -> tuple[str, ...]:
        """The findings that block the batch, in words."""
        return (*(str(finding) for finding in self.preflight.errors), *self.problems)

    @property
    def table(self) -> pd.DataFrame:
        """One row per mail: decision_id, customer_id, address (masked), scenario, step, arm, template, offer, due_at,
        subject, size (bytes)."""
        rows = [
            (
                mail.letter.decision_id,
                mail.customer_id,
                masked(mail.letter.to),
                mail.letter.scenario,
                mail.letter.step,
                mail.arm,
                mail.letter.template,
                mail.offer,
                mail.due_at,
                mail.subject,
                self.spool.size(mail.number),
            )
            for mail in self.mails
        ]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"due_at": "datetime64[us, UTC]", "size": "int64"})

    def discount(self, number: int) -> float | None:
        """The most that a mail's offer is thought to cost, in the program's currency; None where that cannot be told.

        An amount off counts in full, a share off as that share of what set the mail off, no offer as 0.
        """
        mail = self.mails[number]
        offer = mail.letter.offer
        if offer is None:
            return 0.0
        if offer.get("amount") is not None:
            return float(offer["amount"])
        worth = self._worth(mail)
        percent = offer.get("percent")
        return None if worth is None or percent is None else worth * float(percent) / 100

    def preview(self, number: int = 0) -> Preview:
        """What the recipient of one mail will see.

        Args:
            number: row of `table`.

        Raises:
            InputError: there is no such row.
        """
        if not -len(self.mails) <= number < len(self.mails):
            raise InputError(f"preview: there is no mail {number}; the batch has {len(self.mails)}")
        mail = self.mails[number]
        message: EmailMessage = BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(
            self.spool[mail.number]
        )
        parts = {kind: message.get_body((kind,)) for kind in ("html", "plain")}
        shown = {kind: "" if part is None else part.get_content() for kind, part in parts.items()}
        return Preview(
            to=mail.letter.to,
            sender=str(message["From"]),
            subject=str(message["Subject"]),
            html=shown["html"],
            text=shown["plain"],
        )

    # --- what an approval covers --------------------------------------------------------------------------------------

    def recomputed(self) -> dict[str, Any]:
        """The manifest made again from what the batch really holds: every mail hashed anew, samples rendered anew."""
        policies = self.program.policies
        used = sorted({mail.letter.template for mail in self.mails})
        hashes = self.templates.hashes
        scenarios = {
            f"scenario {one.scenario}": content_hash(Program(scenarios=(one,))) for one in self.program.scenarios
        }
        shared = content_hash(Program(scenarios=(), policies=policies))
        return {
            "format": FORMAT,
            "program": {"content_hash": content_hash(self.program), "policies": shared, **scenarios},
            "templates": {name: hashes.get(name, "none") for name in used},
            "files": dict(self.files),
            "audience": [self._audience(number, mail) for number, mail in enumerate(self.mails)],
            "offers": self._offers(),
            "limits": {
                "mails": len(self.mails),
                "as_of": self.now.isoformat(),
                "window": str(self.window),
                "caps": [plain(cap.model_dump(mode="json")) for cap in policies.caps],
                "quiet": plain(policies.quiet.model_dump(mode="json")) if policies.quiet else None,
            },
            "sender": plain(policies.sender.model_dump(mode="json")) if policies.sender else {},
            "versions": versions(),
            "author": self.author,
            "preflight": {
                "findings": [str(finding) for finding in self.preflight.findings],
                "problems": [*self.problems],
            },
            "samples": self._samples(),
        }

    def _audience(self, number: int, mail: PreparedMail) -> dict[str, Any]:
        letter = mail.letter
        return {
            "decision": letter.decision_id,
            "customer": mail.customer_id,
            "address": self.key.address_hash(letter.to),
            "class": letter.class_,
            "scenario": letter.scenario,
            "step": letter.step,
            "arm": mail.arm,
            "template": letter.template,
            "offer": mail.offer,
            "discount": _money(self.discount(number)),
            "due_at": mail.due_at.isoformat(),
            "message_id": mail.message_id,
            "subject": mail.subject,
            "payload": self.spool.sha256(mail.number),
        }

    def _offers(self) -> dict[str, Any]:
        counts = Counter((m.letter.scenario, m.letter.step, m.offer) for m in self.mails if m.offer is not None)
        return {
            f"{scenario}.{step}": {"offer": offer, "mails": count}
            for (scenario, step, offer), count in sorted(counts.items())
        }

    def _samples(self) -> dict[str, Any]:
        samples = {}
        for mail in self._sample_mails():
            shown = self.templates.render(mail.letter)
            samples[mail.letter.template] = {
                "decision": mail.letter.decision_id,
                "subject": shown.subject,
                "html": digest_of(shown.html),
                "text": digest_of(shown.text),
            }
        return samples

    def _sample_mails(self) -> list[PreparedMail]:
        first: dict[str, PreparedMail] = {}
        for mail in self.mails:
            first.setdefault(mail.letter.template, mail)
        return [first[name] for name in sorted(first)]

    # --- the page -----------------------------------------------------------------------------------------------------

    def summary(self) -> BatchSummary:
        """The batch on one page: counts, what is skipped and why, samples, the offers at stake."""
        count = len(self.mails)
        title = f"{counted(count, 'mail')} due at {self.now:%Y-%m-%d %H:%M} UTC"
        lines = [f"{title} (decided within {self.window} before)"]
        lines += self._discounts()
        errors, warnings = self.errors, self.preflight.warnings
        if errors:
            lines.append(f"blocked by {counted(len(errors), 'finding')}: " + "; ".join(errors[:3]))
        elif count:
            found = counted(len(warnings), "warning") + ", see .preflight" if warnings else "nothing found"
            lines.append(f"preflight of all {count:,}: {found}")
        lines += self._since()
        lines += [f"note: {note}" for note in self.notes]
        lines.append(f"digest {self.digest}")
        return BatchSummary(tuple(lines), MappingProxyType(self._tables()))

    def _since(self) -> list[str]:
        """What differs from the approval before, besides who is mailed."""
        if self.previous is None:
            return []
        now, before = outline(self.manifest), dict(self.previous["outline"])
        both = set(now["templates"]) & set(before["templates"])  # a mail that is not due today has not changed
        for one in (now, before):
            one["templates"] = {name: one["templates"][name] for name in both}
        compared = [{name: one.get(name) for name in _LASTING} for one in (before, now)]
        lines = changes(*compared) or ["nothing changed but the audience"]
        return [f"since the approval by {self.previous['by']} of {self.previous['signed_at'][:10]}: {'; '.join(lines)}"]

    def _tables(self) -> dict[str, pd.DataFrame]:
        def tallied(of: Callable[[PreparedMail], str], name: str) -> pd.DataFrame:
            counts = Counter(of(mail) for mail in self.mails)
            ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            shown = ordered[:10]
            if len(ordered) > len(shown):
                shown.append((f"{len(ordered) - 10:,} others", sum(n for _, n in ordered[10:])))
            return pd.DataFrame(shown, columns=[name, "mails"])

        by_arm = Counter((mail.letter.scenario, mail.letter.step, mail.arm or "") for mail in self.mails)
        arms = [(*names, n) for names, n in sorted(by_arm.items())]
        samples = [
            (mail.letter.template, masked(mail.letter.to), mail.subject, self.spool.size(mail.number))
            for mail in self._sample_mails()
        ]
        return {
            "By scenario and arm": pd.DataFrame(arms, columns=["scenario", "step", "arm", "mails"]),
            "By template": tallied(lambda mail: mail.letter.template, "template"),
            "By domain": tallied(lambda mail: mail.letter.to.rpartition("@")[2].casefold(), "domain"),
            "By locale": tallied(lambda mail: mail.letter.locale, "locale"),
            "Not mailed": pd.DataFrame(sorted(self.skipped.items()), columns=["reason", "mails"]),
            "One sample of each": pd.DataFrame(samples, columns=["template", "to", "subject", "bytes"]),
        }

    def _discounts(self) -> list[str]:
        lines = []
        by_step: dict[tuple[str, str], list[PreparedMail]] = {}
        for mail in self.mails:
            if mail.letter.offer is not None:
                by_step.setdefault((mail.letter.scenario, mail.letter.step), []).append(mail)
        for (scenario, step), mails in sorted(by_step.items()):
            offer = mails[0].letter.offer or {}
            said = f"offer {mails[0].offer} in {counted(len(mails), 'mail')} of {scenario}.{step}"
            amount, percent = offer.get("amount"), offer.get("percent")
            currency = offer.get("currency", self.program.policies.currency)
            if amount is not None:
                lines.append(f"{said}: at most {float(amount) * len(mails):,.2f} {currency} if everyone uses it once")
            elif percent is not None:
                lines.append(said + self._of_baskets(float(percent), mails))
            else:
                lines.append(said)
        return lines

    def _worth(self, mail: PreparedMail) -> float | None:
        """What set the mail off is worth, where the event says so."""
        goal = self.program[mail.letter.scenario].goal
        names = [name for name in ("value", goal.value if goal else None) if name]
        return next((float(mail.letter.event[name]) for name in names if name in mail.letter.event), None)

    def _of_baskets(self, percent: float, mails: list[PreparedMail]) -> str:
        known = [value for value in map(self._worth, mails) if value is not None]
        open_ended = "no upper bound, since people choose what they buy"
        if not known:
            return f": {open_ended}"
        on = f"what set off {len(known):,} of them is worth {sum(known):,.2f} {self.program.policies.currency}"
        return f": {on}, {percent:g} % of that is {sum(known) * percent / 100:,.2f}; {open_ended}"


def versions() -> dict[str, str]:
    """Package to version of everything that can change what a mail says."""
    return {name: _version(name) for name in _PACKAGES}


def _money(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
