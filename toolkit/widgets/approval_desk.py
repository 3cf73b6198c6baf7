"""What is about to be sent, checked and shown, and the place to sign for it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.errors import InputError
from toolkit.mail import Letter
from toolkit.readable import counted, day_text, offer_words, reason_text
from toolkit.sending import Approval, Batch, BatchSummary, Copies, Transport, approve, send_test
from toolkit.sending import transport as transport_of
from toolkit.sending.batch.manifest import changes, outline
from toolkit.widgets.guard import told
from toolkit.widgets.jobs import Jobs
from toolkit.widgets.markup import Html, button, card, chip, field, note, page_tabs, table, tag, together
from toolkit.widgets.masking import hidden_letter
from toolkit.widgets.panel import Panel

__all__ = ["ApprovalDesk", "folder_of", "into", "nothing_due"]

_SAMPLES = 3


class ApprovalDesk(Panel):
    """A batch on one screen, with what the preflight found, samples, what changed since the last approval, a place to
    send test copies to oneself, and a place to sign.

    The signature covers every byte of the batch: a changed template, address or offer voids it.

    Args:
        batch: from `tk.prepare`.
        author: who wrote the scenario and its mails; somebody else has to sign then.
        expires: how long the signature holds.
        transport: the way out that test copies take, for example `smtp:mail.example.org`.

    Attributes:
        value: the `Approval`, frozen; None until somebody has signed.
        batch: what it is about.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        author: str | None = None,
        expires: str = "72h",
        transport: str | Transport = "outbox:./outbox",
    ) -> None:
        if not isinstance(batch, Batch):
            raise InputError(f"batch: expected what tk.prepare gives; found {type(batch).__name__}")
        self.batch = batch
        self._facts = _facts_of(batch)
        self._author, self._expires = author, expires
        self._approval: Approval | None = None
        self._name = ""
        self._has_read = False
        self._page = "counts"
        self._way = transport_of(transport)
        self._address = ""
        self._copies: Copies | None = None
        self._jobs = Jobs()
        super().__init__(title="Approval desk")
        self.redraw()

    @property
    def value(self) -> Approval | None:
        """The approval."""
        return self._approval

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def act_page(self, value: Any) -> None:
        """Counts, findings, samples or changes."""
        self._page = str(value)

    def act_address(self, value: Any) -> None:
        """Where test copies go was typed."""
        self._address = str(value).strip()

    def act_test(self, value: Any) -> None:
        """Send test copies; a server may take its time, so beside the notebook."""
        if self._jobs.running:
            return
        if not self._address:
            raise InputError("where to? Type your own address first")
        self._copies = None
        self._jobs.start(
            lambda job: send_test(self.batch, self._address, transport=self._way, progress=False),
            done=self._tested,
            failed=self._not_tested,
        )

    def _tested(self, copies: Copies) -> None:
        self._copies = copies
        self._jobs.now = None
        self.guarded_draw()

    def _not_tested(self, fault: BaseException) -> None:
        self._jobs.now = None
        with self._lock:  # until then what was pressed is still being answered, and clears the error at its end
            self.error = told(fault)
            self.guarded_draw()

    def act_name(self, value: Any) -> None:
        """The name of who signs was typed."""
        self._name = str(value).strip()

    def act_read(self, value: Any) -> None:
        """The box that says that the samples were looked at."""
        self._has_read = bool(value)

    def act_sign(self, value: Any) -> None:
        """Sign for exactly these mails."""
        if not self._name:
            raise InputError("who signs? Type your name first")
        if not self._has_read:
            raise InputError("look at the samples first, and tick the box that says so")
        self._approval = approve(self.batch, by=self._name, author=self._author, expires=self._expires)
        self.changed()

    def act_withdraw(self, value: Any) -> None:
        """Take the signature back; what was sent already stays sent."""
        self._approval = None
        self.changed()

    # --- how it shows -------------------------------------------------------------------------------------------------

    def body(self) -> Html:
        """The batch on one page, and the place to sign."""
        batch = self.batch
        count = len(batch)
        head = tag(
            "header",
            tag("h3", "Approve"),
            tag("span", f"mails due at {day_text(batch.now, '%b %Y, %H:%M')} UTC ", chip("exact"), class_="ttk-soft"),
        )
        if not count:
            return together([head, note(nothing_due(batch), tone="good")])
        errors, warnings = batch.errors, batch.preflight.warnings
        facts = self._facts
        cards = tag(
            "div",
            card("Mails", f"{count:,}", f"to {facts.addresses:,} addresses"),
            card("Left out", f"{sum(batch.skipped.values()):,}", _reasons(batch)),
            card(
                "With an offer",
                f"{sum(facts.offers.values()):,}",
                ", ".join(map(offer_words, sorted(facts.offers)[:2])) or "none",
            ),
            card(
                "Findings",
                f"{len(errors)}",
                f"that block; {counted(len(warnings), 'warning')}",
                tone="bad" if errors else "",
            ),
            class_="ttk-cards",
        )
        verdict = (
            note(f"{_blocking(len(errors))} this batch; mend what is found and prepare it again.", tone="bad")
            if errors
            else note(f"All {count:,} mails were rendered and checked; nothing blocks them.", tone="good")
        )
        aside = [line for line in facts.summary.lines if line.startswith("left out")]
        pages = [
            ("counts", "Who and what"),
            ("findings", f"Findings ({len(errors) + len(warnings)})"),
            ("samples", "Samples"),
            ("changes", "Since last time"),
        ]
        tabs = page_tabs(pages, self._page)
        shown = {
            "counts": lambda: self._counts(facts.summary),
            "findings": self._findings,
            "samples": self._samples,
            "changes": self._changes,
        }[self._page]()
        return together(
            [
                head,
                cards,
                tag(
                    "div",
                    verdict,
                    *(note(line[:1].upper() + line[1:], tone="careful") for line in aside),
                    class_="ttk-gap",
                ),
                tag("div", tabs, class_="ttk-row ttk-gap"),
                tag("div", shown, class_="ttk-gap", data_key=self._page),
                self._test(),
                self._sign(bool(errors)),
            ]
        )

    def _counts(self, summary: BatchSummary) -> Html:
        tables = [
            tag("div", tag("h4", title[:1].upper() + title[1:]), table(_told(frame)))
            for title, frame in summary.tables.items()
            if len(frame) and "sample" not in title.lower()  # their subjects hold names
        ]
        lines = [
            line for line in summary.lines[1:] if not line.startswith(("digest", "preflight", "blocked", "left out"))
        ]
        return together(
            [
                together(note(line.removeprefix("note: ")) for line in lines),
                tag("div", *tables, class_="ttk-tables ttk-gap"),
            ]
        )

    def _findings(self) -> Html:
        found = [*self.batch.preflight.errors, *self.batch.preflight.warnings]
        parts = [note(problem, tone="bad") for problem in self.batch.problems]
        parts += [note(str(one), tone="bad" if one.severity == "error" else "careful") for one in found]
        return together(parts) if parts else note("The preflight of every mail found nothing.", tone="good")

    def _samples(self) -> Html:
        tiles = []
        for name, letter in list(self._facts.samples.items())[:_SAMPLES]:
            shown = self.batch.templates.preview_of(hidden_letter(letter))
            tiles.append(
                tag(
                    "figure",
                    tag("div", Html(shown.frame("phone", scale=0.72, height=760)), class_="ttk-device"),
                    tag(
                        "figcaption",
                        tag("b", _spaced(name)),
                        tag("br"),
                        shown.mail.subject,
                    ),
                    class_="ttk-tile",
                    data_key=name,
                )
            )
        return tag("div", *tiles, class_="ttk-tiles")

    def _changes(self) -> Html:
        if self.batch.previous is None:
            return note("This ledger holds no approval yet, so there is nothing to hold it against.")
        before, now = dict(self.batch.previous["outline"]), outline(self.batch.manifest)
        lines = changes(before, now)
        who = f"the approval by {self.batch.previous['by']} of {str(self.batch.previous['signed_at'])[:10]}"
        if not lines:
            return note(f"Nothing changed since {who}.", tone="good")
        return together([tag("p", f"Since {who}:"), *(note(line, tone="careful") for line in lines)])

    def _test(self) -> Html:
        """The place to send test copies to oneself."""
        is_busy, copies = self._jobs.running, self._copies
        result = None
        if copies is not None:
            first, *more = copies.lines
            shown = [note(first, tone="good" if copies.sent == len(copies) else "careful")]
            shown += [tag("p", line, class_="ttk-detail") for line in more]
            result = tag("div", *shown, class_="ttk-gap")
        return tag(
            "div",
            tag("h4", "See them in your own inbox"),
            tag(
                "div",
                field(
                    "Your address",
                    "address",
                    self._address,
                    size=26,
                    placeholder="where you read mail",
                    disabled=is_busy,
                ),
                button("Sending…" if is_busy else "Send test copies", "test", off=is_busy),
                class_="ttk-row ttk-end",
            ),
            tag(
                "p",
                f"One mail of each kind, marked [Test], {into(self._way.name)}. A copy counts for nothing: no customer "
                "gets one, no code is used, and unsubscribing in it unsubscribes nobody.",
                class_="ttk-detail",
            ),
            result,
            class_="ttk-sheet ttk-gap",
        )

    def _sign(self, is_blocked: bool) -> Html:
        approval = self._approval
        if approval is not None:
            facts = tag(
                "dl",
                together(
                    together([tag("dt", name), tag("dd", value)])
                    for name, value in (
                        ("signed by", approval.by),
                        ("for", f"{approval.mails:,} mails"),
                        ("holds until", f"{day_text(approval.expires_at, '%b %Y, %H:%M')} UTC"),
                        ("digest", f"{approval.digest[:16]}…"),
                    )
                ),
                class_="ttk-facts",
            )
            return tag(
                "div",
                note(f"Signed by {approval.by}. Any changed byte voids it.", tone="good"),
                tag("div", facts, class_="ttk-gap"),
                tag("div", button("Take the signature back", "withdraw", kind="danger"), class_="ttk-row ttk-gap"),
                class_="ttk-sheet ttk-gap",
            )
        return tag(
            "div",
            tag("h4", "Sign for exactly these mails"),
            tag(
                "div",
                field("Your name", "name", self._name, size=18, placeholder="who signs", disabled=is_blocked),
                tag(
                    "label",
                    tag("input", type="checkbox", data_act="read", checked=self._has_read, disabled=is_blocked),
                    "I have looked at the samples",
                    class_="ttk-check ttk-tall",
                ),
                button(f"Sign for {len(self.batch):,} mails", "sign", kind="main", off=is_blocked),
                class_="ttk-row ttk-end",
            ),
            tag(
                "p",
                "A signature guards against mistakes: nothing leaves without one, and it fits this batch alone.",
                class_="ttk-detail",
            ),
            class_="ttk-sheet ttk-gap",
        )


def into(name: str) -> str:
    """A way out in words."""
    return f"into the folder {folder_of(name)}" if name.startswith("outbox:") else f"through {name}"


def folder_of(name: str) -> str:
    """The folder of an outbox, in short where it is below this one."""
    return name.removeprefix("outbox:").replace(f"{Path.cwd()}{os.sep}", "")


def nothing_due(batch: Batch) -> str:
    """Why a batch of no mails is empty."""
    already = batch.skipped.get("already sent", 0)
    if already:
        return f"Every mail due at this moment has been sent already ({already:,}): nobody is mailed twice."
    if len(batch.aside):
        return f"Each mail due at this moment is unfit for what is in its own customer's data ({len(batch.aside):,})."
    return "No mail is due at this moment."


def _reasons(batch: Batch) -> str:
    told = [f"{count:,} {_reason(name)}" for name, count in batch.skipped.items()]
    return ", ".join(told[:3]) + (" and more" if len(told) > 3 else "") or "nobody"


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of the summary in words: names without their underscores, reasons as people say them."""
    shown = frame.assign(reason=frame["reason"].map(_reason)) if "reason" in frame else frame
    names = {name: shown[name].map(_spaced) for name in ("scenario", "step", "arm", "template") if name in shown}
    return shown.assign(**names)


def _spaced(name: object) -> object:
    return name.replace("_", " ").replace("/", " › ") if isinstance(name, str) else name


def _reason(name: str) -> str:
    return {"exited": "left before the mail"}.get(name) or reason_text(name)


def _blocking(number: int) -> str:
    return f"{counted(number, 'finding')} {'blocks' if number == 1 else 'block'}"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one walk over a batch tells, kept: its mails lie on the disk, and each press draws the screen anew."""

    summary: BatchSummary
    addresses: int
    offers: Mapping[str, int]
    samples: Mapping[str, Letter]


def _facts_of(batch: Batch) -> _Facts:
    addresses, offers, samples = set[str](), Counter[str](), dict[str, Letter]()
    for mail in batch.mails:
        addresses.add(mail.letter.to)
        samples.setdefault(mail.letter.template, mail.letter)
        if mail.offer is not None:
            offers[mail.offer] += 1
    return _Facts(batch.summary(), len(addresses), offers, samples)
