"""One letter rendered, checked and written: the work that a preflight does for each mail, wherever it does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from toolkit.errors import Fault, TemplateError, did_you_mean, shown
from toolkit.mail.letter import Letter
from toolkit.mail.rules import Found, check_mail, check_size
from toolkit.mail.templates import Templates
from toolkit.mail.tracked import Links, tracked

__all__ = ["Checked", "Checker", "Job", "Noted"]

Noted = tuple[str, str, str | None, int | None, str]
"""Rule, message, file, line, and what was found in this one mail: mails with the same message are told together."""


@dataclass(frozen=True, slots=True)
class Job:
    """A letter, its unsubscribe link, the Message-ID under which it is to be written (empty to check it only), and what
    counts its links (None to leave them alone)."""

    letter: Letter
    link: str
    message_id: str = ""
    links: Links | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was noted about a letter; its subject and bytes where it was to be written and could be, and where its
    counted links lead."""

    notes: tuple[Noted, ...]
    fallback: str = ""
    subject: str = ""
    message: bytes | None = None
    targets: tuple[str, ...] = ()


@dataclass
class Checker:
    """Checks one letter after the other with the same templates."""

    templates: Templates
    places: dict[tuple[str, ...], tuple[str | None, int | None]] = field(default_factory=dict)

    def check_all(self, jobs: Sequence[Job]) -> list[Checked]:
        """One for each job, in their order."""
        return [self.check(job) for job in jobs]

    def check(self, job: Job) -> Checked:
        """Render, check, and write where a Message-ID is given."""
        letter = job.letter
        templates = self.templates
        try:
            mail = templates.render(letter, unsubscribe_url=job.link)
        except TemplateError as error:
            return Checked(tuple(self._fault(letter, fault) for fault in error.faults))
        fell_back = templates.fell_back(letter.template, letter.locale)
        fallback = re.split("[-_]", letter.locale)[0] if fell_back else ""
        notes: list[Noted] = []
        tracker = templates.policies.tracking
        on_trial = tracker is not None and tracker.is_trial and job.link.startswith(tracker.url)
        notes += [self._noted(letter, found) for found in check_mail(mail, letter, job.link, on_trial=on_trial)]
        for name, file in templates.untranslated(letter.template, letter.locale):
            notes.append(("words_untranslated", f"words.{name} in the program's language", file, None, ""))
        if not job.message_id:
            return Checked(tuple(notes), fallback)
        if "\0" in (customer_id := str(letter.customer.get("customer_id", ""))):
            why = "customer_id: an id with a NUL, which no database of what was sent can hold"
            notes.append(("not_writable", why, None, None, f"found {shown(customer_id)}"))
        url = job.link if letter.class_ == "marketing" else None
        if job.links is not None:
            mail = tracked(mail, job.links, leave=(job.link,))
            notes += [one for one in (self._noted(letter, found) for found in check_size(mail)) if one not in notes]
        try:
            message = templates.write(mail, letter, message_id=job.message_id, unsubscribe_url=url)
        except TemplateError as error:
            for fault in error.faults:
                said = replace(fault, file=None, line=None, found=None)
                notes.append(("not_writable", str(said), fault.file, fault.line, _found(fault)))
            return Checked(tuple(notes), fallback)
        targets = () if job.links is None else job.links.targets
        return Checked(tuple(notes), fallback, mail.subject, message, targets)

    def _noted(self, letter: Letter, found: Found) -> Noted:
        key = (letter.template, letter.locale, found.rule, found.words, found.part)
        if key not in self.places:
            place = self.templates.locate(letter.template, letter.locale, found.words or "\0", part=found.part)
            self.places[key] = place
        return found.rule, found.message, *self.places[key], found.found

    def _fault(self, letter: Letter, fault: Fault) -> Noted:
        if fault.message == "no such template":
            message = f"no template {shown(letter.template)}" + did_you_mean(letter.template, self.templates.names)
            return "missing_template", message, None, None, ""
        undefined = fault.message == "undefined variable"
        message = f"{fault.message} {fault.found}" if undefined else fault.message
        if fault.nearest:
            message += f"; did you mean {fault.nearest}?"
        rule = "undefined_variable" if undefined else "render_failed"
        return rule, message, fault.file, fault.line, "" if undefined else _found(fault)


def _found(fault: Fault) -> str:
    return "" if fault.found is None else f"found {shown(fault.found)}"
