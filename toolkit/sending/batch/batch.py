"""A batch: the mails due at a moment, rendered, checked and counted, as they will be sent."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from toolkit.bars import Bar
from toolkit.errors import InputError
from toolkit.mail import Preflight, Templates
from toolkit.mail.addresses import masked
from toolkit.readable import lines_html
from toolkit.scenario import content_hash
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Program
from toolkit.sending.batch.mails import Aside, PreparedMail
from toolkit.sending.batch.manifest import Rows, digest_of, plain
from toolkit.sending.batch.summary import BatchSummary, Counts, summary_of, told
from toolkit.sending.keys import MailKey
from toolkit.sending.spool import Spool
from toolkit.sending.stopping import look

__all__ = ["Batch", "Each", "Preview", "versions"]

Each = Callable[[PreparedMail, float | None, str], None]
"""Is told a mail as it was read, what its offer may cost, and the SHA-256 of its bytes."""

FORMAT = "trigger-toolkit batch 1"
_PACKAGES = ("trigger-toolkit", "jinja2", "mjml-python", "css-inline", "Babel")
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
class Batch:
    """The mails due at a moment. Frozen: an approval covers its every byte.

    Attributes:
        program: scenarios and policies.
        templates: the mails, compiled.
        folder: where the templates were read, None when they were handed in compiled.
        files: the template files under the folder, with the SHA-256 of each.
        now: the moment, UTC.
        window: how far back a decision may lie.
        mails: one per mail, in the order of the decisions; each is read anew from the disk.
        spool: their bytes.
        skipped: decisions of the window that are not mailed, counted by reason.
        preflight: what the check of every rendered mail found.
        problems: further findings that block the batch.
        notes: what a reader must know.
        ledger: where the ledger is that was asked what is sent already; None for the transport's own.
        previous: the approval before this batch, from the ledger.
        author: who wrote the scenarios and their mails, where that was said.
        left_out: decisions to send that are not mailed: decision to reason.
        lost: decisions that were due at the last run, did not go, and are too late by now: to customer.
        aside: the mails that were left out for what is in their customers' own data; see `set_aside`.
        price_per_thousand: what a thousand mails cost to send, in the program's currency; for the summary.
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
    mails: Sequence[PreparedMail]
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
    price_per_thousand: float | None = None
    aside: Sequence[Aside] = field(default=(), repr=False)
    lost: Mapping[str, str] = field(default_factory=dict, repr=False)
    manifest: Mapping[str, Any] = field(init=False, repr=False)
    digest: str = field(init=False)
    _counts: Counts = field(init=False, repr=False, default_factory=Counts)
    progress: InitVar[bool] = False

    def __post_init__(self, progress: bool) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))
        object.__setattr__(self, "skipped", MappingProxyType(dict(self.skipped)))
        # Counted in the same reading: a batch is shown again and again, and its mails lie on the disk.
        manifest = self.recomputed(lambda mail, _, __: self._counts.add(self, mail), progress=progress)
        object.__setattr__(self, "manifest", manifest)
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

    @property
    def set_aside(self) -> pd.DataFrame:
        """One row per mail that is left out for what is in its own customer's data, while the others go: decision_id,
        customer_id, address (masked), scenario, step, template, why. It stays due until the window is over."""
        names = ["decision_id", "customer_id", "address", "scenario", "step", "template", "why"]
        return pd.DataFrame(list(self.aside), columns=names)

    def discount(self, number: int) -> float | None:
        """The most that a mail's offer is thought to cost, in the program's currency; None where that cannot be told.

        An amount off counts in full, a share off as that share of what set the mail off, no offer as 0.
        """
        return self.discount_of(self.mails[number])

    def discount_of(self, mail: PreparedMail) -> float | None:
        """As `discount`, of a mail that is at hand."""
        offer = mail.letter.offer
        if offer is None:
            return 0.0
        if offer.get("amount") is not None:
            return float(offer["amount"])
        worth = self.worth_of(mail)
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

    def recomputed(self, each: Each | None = None, *, progress: bool = False, words: str = "hashing") -> dict[str, Any]:
        """The manifest made again from what the batch really holds: every mail hashed anew, samples rendered anew.

        Args:
            each: is told every mail as it was read, what its offer may cost, and the hash of its bytes.
            progress: show a progress bar where it takes longer than a moment.
            words: before the bar.
        """
        policies = self.program.policies
        audience, offers, samples = Rows(), Counter[tuple[str, str, str]](), dict[str, PreparedMail]()
        for mail in Bar(self.mails, desc=words, unit=" mails", disable=not progress, delay=0.5):
            look()
            discount = self.discount_of(mail)
            row = self._audience(mail, discount)
            audience.add(row)
            if each is not None:
                each(mail, discount, row["payload"])
            samples.setdefault(mail.letter.template, mail)
            if mail.offer is not None:
                offers[mail.letter.scenario, mail.letter.step, mail.offer] += 1
        hashes = self.templates.hashes
        scenarios = {
            f"scenario {one.scenario}": content_hash(Program(scenarios=(one,))) for one in self.program.scenarios
        }
        shared = content_hash(Program(scenarios=(), policies=policies))
        return {
            "format": FORMAT,
            "program": {"content_hash": content_hash(self.program), "policies": shared, **scenarios},
            "templates": {name: hashes.get(name, "none") for name in sorted(samples)},
            "files": dict(self.files),
            "audience": audience,
            "offers": {
                f"{scenario}.{step}": {"offer": offer, "mails": count}
                for (scenario, step, offer), count in sorted(offers.items())
            },
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
                "left_out": dict(self.skipped),
                "set_aside": list(told(self.preflight.set_aside)),
            },
            "samples": {name: self._sample(mail) for name, mail in sorted(samples.items())},
        }

    def _audience(self, mail: PreparedMail, discount: float | None) -> dict[str, Any]:
        letter = mail.letter
        return {
            "decision": letter.decision_id,
            "customer": mail.customer_id,
            "address": self.key.address_hash(letter.to),
            "class": letter.class_,
            "scenario": letter.scenario,
            "step": letter.step,
            "journey": mail.key,
            "arm": mail.arm,
            "template": letter.template,
            "offer": mail.offer,
            "discount": _money(discount),
            "due_at": mail.due_at.isoformat(),
            "decided_at": letter.at.isoformat(),
            "message_id": mail.message_id,
            "subject": mail.subject,
            "payload": self.spool.sha256(mail.number),
            **({"targets": digest_of(list(mail.targets))} if mail.targets else {}),
            **({} if mail.coupon is None else {"coupon": list(mail.coupon)}),
            **({} if mail.end is None else {"ends": mail.end.isoformat()}),
            **({"timezone": mail.timezone} if mail.timezone else {}),
        }

    def _sample(self, mail: PreparedMail) -> dict[str, Any]:
        shown = self.templates.render(mail.letter)
        return {
            "decision": mail.letter.decision_id,
            "subject": shown.subject,
            "html": digest_of(shown.html),
            "text": digest_of(shown.text),
        }

    # --- the page -----------------------------------------------------------------------------------------------------

    def summary(self) -> BatchSummary:
        """The batch on one page: counts, what is skipped and why, samples, the cost, the offers at stake."""
        return summary_of(self, self._counts)

    def worth_of(self, mail: PreparedMail) -> float | None:
        """What set the mail off is worth, 0 or more, where the event says so in numbers."""
        goal = self.program[mail.letter.scenario].goal
        names = [name for name in ("value", goal.value if goal else None) if name]
        return next((_worth(mail.letter.event[name]) for name in names if name in mail.letter.event), None)


def versions() -> dict[str, str]:
    """Package to version of everything that can change what a mail says."""
    return {name: _version(name) for name in _PACKAGES}


def _money(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def _worth(value: Any) -> float | None:
    try:
        worth = float(value)
    except (TypeError, ValueError):  # words
        return None
    # A return, with its value below zero, must not make room under a limit of discounts.
    return max(0.0, worth) if math.isfinite(worth) else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
