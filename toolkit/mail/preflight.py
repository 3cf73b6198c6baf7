"""Render a whole batch before it is sent, and say everything that is wrong with it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

import pandas as pd

from toolkit.bars import Bar
from toolkit.cores import cores
from toolkit.errors import InputError, TemplateError, did_you_mean, nearest, shown
from toolkit.mail.addresses import masked, wrong_address
from toolkit.mail.agreement import offer_differs, sends, step_of
from toolkit.mail.checking import Checked
from toolkit.mail.jobs import Jobs, Repeated
from toolkit.mail.letter import Letter
from toolkit.mail.rules import RULES, links_of
from toolkit.mail.templates import PREVIEW_UNSUBSCRIBE, Templates
from toolkit.mail.tracked import Links
from toolkit.mail.workers import MOST_WORKERS, check_in_parallel
from toolkit.readable import counted
from toolkit.scenario.models import Program, Send, Sender

__all__ = ["Finding", "Preflight", "preflight"]

_FREEMAIL = re.compile(
    r"(?:gmail|googlemail|hotmail|outlook|live|msn|aol|icloud|me|mac|gmx|web|mail|yandex|proton|protonmail)\.(?:com|de|fr|net|ru|me)"
    r"|(?:yahoo|ymail)\.[a-z.]{2,6}|(?:orange|wanadoo|free|laposte|sfr)\.(?:fr|net)|t-online\.de|libero\.it"
)
_BAR_FROM = 2_000
_PARALLEL_FROM = 4_000
_BULK_FROM = 5_000
_SHOWN = 12  # values of a mail, where one is missing
_MOST_ADDRESSES = 1 << 14  # remembered at once
_OF_ALL = ("missing_template", "too_large")  # no matter of one customer, or none that keeps a mail from being read
_FEW = 10  # mails of a template that single customers may make unfit, however few it has
_LANGUAGES = "not written in the language of some"
_COLUMNS = ("severity", "rule", "template", "count", "message", "file", "line", "example", "mend")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong in one template: how often, where, one masked recipient, and how to mend it."""

    severity: Literal["error", "warning"]
    rule: str
    template: str
    count: int
    message: str
    file: str | None
    line: int | None
    example: str | None
    mend: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file or self.template
        mails = f" [{counted(self.count, 'mail')}, e.g. {self.example}]" if self.example else ""
        return f"{self.severity}: {where}: {self.message} ({self.rule}){mails}; {self.mend}"


@dataclass(frozen=True)
class Preflight:
    """What the preflight of a batch found. Errors block it, warnings inform.

    >>> str(Preflight((), 2))
    'preflight of 2 mails: nothing found'
    """

    findings: tuple[Finding, ...]
    count: int
    left_out: Mapping[int, str] = field(default_factory=dict, repr=False, hash=False)
    """The letters that were set aside, by number: what makes each of them unfit."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that block the batch."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that inform."""
        return tuple(one for one in self.findings if one.severity == "warning")

    @property
    def set_aside(self) -> tuple[Finding, ...]:
        """The warnings for which mails were set aside: they would have blocked the batch."""
        return tuple(one for one in self.warnings if RULES[one.rule].severity == "error")

    @property
    def ok(self) -> bool:
        """True where nothing blocks the batch."""
        return not self.errors

    @property
    def table(self) -> pd.DataFrame:
        """One row per finding: severity, rule, template, count, message, file, line, example, mend."""
        rows = [[getattr(one, name) for name in _COLUMNS] for one in self.findings]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"line": "Int64", "count": "int64"})

    def __str__(self) -> str:
        head = f"preflight of {counted(self.count, 'mail')}: "
        if not self.findings:
            return head + "nothing found"
        head += f"{counted(len(self.errors), 'error')}, {counted(len(self.warnings), 'warning')}"
        return "\n".join([head, *(f"  {one}" for one in self.findings)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.severity}</td><td>{html.escape(one.message)}</td><td>{one.count:,}</td>"
            f"<td>{html.escape(f'{one.file}:{one.line}' if one.line else one.file or one.template)}</td>"
            f"<td>{html.escape(one.example or '')}</td><td>{html.escape(one.mend)}</td></tr>"
            for one in self.findings
        )
        head = html.escape(str(self).partition("\n")[0])
        if not rows:
            return f"<p>{head}</p>"
        titles = "".join(f"<th>{name}</th>" for name in ("", "found", "mails", "where", "example", "how to mend"))
        return f"<p>{head}</p><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"


def preflight(
    templates: Templates,
    letters: Sequence[Letter],
    *,
    program: Program,
    progress: bool = True,
    unsubscribe: Callable[[Letter], str] | None = None,
    message_id: Callable[[Letter], str] | None = None,
    receive: Callable[..., None] | None = None,
    links: Callable[[Letter], Links] | None = None,
    workers: int | None = None,
    answer: Callable[[str], str | None] | None = None,
    set_aside: float = 0.0,
) -> Preflight:
    """Every letter of a batch rendered and checked, before any is sent; and, where asked for, written at once.

    Args:
        templates: loaded with the program's policies.
        letters: the whole batch.
        program: whose steps, offers and policies the mails must agree with.
        progress: show a bar, where the batch has 2,000 letters or more.
        unsubscribe: the unsubscribe link of a letter; a preview link unless given.
        message_id: the Message-ID of a letter, `id@domain`; needed with `receive`.
        receive: called with number of the letter, subject and bytes, in the order of the letters, for each that could
            be rendered and written: a batch that is to be sent is rendered once for both. With `links`, also with
            the web addresses that the counted links of the letter lead to.
        links: what counts the links of a letter when it is written; they are left alone unless given.
        workers: processes that render; as many as the machine has cores for 4,000 letters or more, else this one.
        answer: what is wrong with a link, or None; asked once for each link, for example `toolkit.mail.page_answers`.
            Unless given nothing is asked of the network.
        set_aside: the largest share (0 to 1) of a template's letters that may be unfit for what their own customers'
            values make of them: those are warned of and set aside, and the others go. Up to ten always may, as long
            as any letter of the batch is fit. Of a template with more the fault is its own, and blocks, as every one
            does with 0; with 1 none does.

    Returns:
        The findings, errors first, grouped by template and rule, with counts.

    Raises:
        InputError: `receive` without `message_id`; an argument that is something else.

    >>> from toolkit.scenario.models import Policies, Sender
    >>> import tempfile
    >>> policies = Policies(sender=Sender(name="Maison Lune", email="hello@example.com"))
    >>> empty = Program(scenarios=(), policies=policies)
    >>> preflight(Templates.load(tempfile.mkdtemp(), policies), [], program=empty).ok
    True
    """
    _check_is("templates", templates, Templates)
    _check_is("program", program, Program)
    _check_is("letters", letters, Sequence)
    _check_is("workers", 1 if workers is None else workers, int)
    if receive is not None and message_id is None:
        raise InputError("preflight: receive needs message_id, which names the mails")
    batch = _Batch(templates, program, most_aside=set_aside)
    batch.check_program()
    jobs = Jobs(letters, unsubscribe, message_id if receive else None, links)
    number_of = workers if workers is not None else cores(MOST_WORKERS) if len(jobs) >= _PARALLEL_FROM else 1
    bar = Bar(total=len(jobs), desc="preflight", unit=" mails", disable=not progress or len(jobs) < _BAR_FROM)
    with bar, closing(check_in_parallel(templates, jobs, workers=number_of, names=jobs.templates)) as done:
        for number, (job, checked) in enumerate(done):
            letter = job.letter
            batch.take(number, letter, checked)
            if unsubscribe is not None and letter.class_ == "marketing":
                batch.take_link(number, letter, job.link)
            if receive is not None and checked.message is not None:
                receive(number, checked.subject, checked.message, *(() if links is None else (checked.targets,)))
            bar.update()
    batch.check_repeated(letters)
    batch.check_values()
    if answer is not None:
        batch.check_answers(letters, answer)
    batch.check_size()
    return Preflight(batch.findings(), len(letters), batch.left_out())


@dataclass(slots=True)
class _Group:
    template: str
    rule: str
    message: str
    file: str | None
    line: int | None
    example: str | None
    is_unfit: bool = False
    count: int = 0


@dataclass
class _Batch:
    templates: Templates
    program: Program
    most_aside: float
    groups: dict[tuple[str, str, str], _Group] = field(default_factory=dict)
    decisions: Repeated = field(default_factory=Repeated)
    mailed: Repeated = field(default_factory=Repeated)
    links: Repeated = field(default_factory=Repeated)
    marketing: int = 0
    mails: Counter[str] = field(default_factory=Counter)
    languages: dict[str, Counter[str]] = field(default_factory=dict)
    addresses: dict[str, str | None] = field(default_factory=dict)
    steps: dict[tuple[str, str, str], tuple[Send | None, str | None]] = field(default_factory=dict)
    unfit: dict[int, tuple[str, str]] = field(default_factory=dict)
    firsts: dict[str, Letter] = field(default_factory=dict)
    given: dict[str, tuple[set[str], set[str]]] = field(default_factory=dict)

    def add(
        self,
        template: str,
        rule: str,
        message: str,
        letter: Letter | None = None,
        place: tuple[str | None, int | None] = (None, None),
        found: str = "",
        *,
        is_unfit: bool = False,
    ) -> None:
        group = self.groups.get((template, rule, message))
        if group is None:
            example = masked(letter.to) if letter else None
            said = f"{message}; {found}" if found else message
            group = self.groups[template, rule, message] = _Group(template, rule, said, *place, example, is_unfit)
        group.count += 1

    def blamed(self) -> set[str]:
        """The templates of which more mails are unfit than values of single customers explain."""
        unfit = Counter(template for template, _ in self.unfit.values())
        if not self.most_aside or (self.most_aside < 1 and len(self.unfit) == self.mails.total()):
            return set(unfit)  # where none is fit, to block keeps nothing from anybody
        return {name for name, count in unfit.items() if count > max(_FEW, self.most_aside * self.mails[name])}

    def left_out(self) -> dict[int, str]:
        """The letters that are set aside, and what makes each of them unfit."""
        blamed = self.blamed()
        return {number: why for number, (template, why) in self.unfit.items() if template not in blamed}

    def findings(self) -> tuple[Finding, ...]:
        blamed, total = self.blamed(), self.mails.total()
        for group in self.groups.values():
            # Gmail clips each mail for itself; a few long ones (p99 is below) need not hold up all the others.
            few = group.count * 100 <= self.mails[group.template] or (self.most_aside and group.count <= _FEW < total)
            if group.rule == "too_large" and (few or self.most_aside >= 1):
                group.rule = "large_for_some"
            if group.message == _LANGUAGES:
                most = self.languages[group.template].most_common()
                group.message = "not written in " + ", ".join(
                    f"{name} ({counted(count, 'mail')})" for name, count in most
                )
        found = []
        for one in self.groups.values():
            rule, message, severity = RULES[one.rule], one.message, RULES[one.rule].severity
            mend = rule.mend
            if one.is_unfit and one.template not in blamed:
                severity, message = "warning", f"{message}; left out for it"
            elif one.is_unfit and self.most_aside and len(self.unfit) < total:
                mend += "; set_aside=True leaves out the mails that have it"
            place = one.file, one.line, one.example
            found.append(Finding(severity, one.rule, one.template, one.count, message, *place, mend))
        return tuple(sorted(found, key=lambda one: (one.severity, one.template, one.rule, one.message)))

    # --- once a batch -------------------------------------------------------------------------------------------------

    def check_program(self) -> None:
        policies = self.program.policies
        shared = self.templates.policies
        if (shared.sender, shared.brand) != (policies.sender, policies.brand):
            self.add("", "policies_differ", "the templates were loaded with another sender or brand")
        if policies.sender is None:
            self.add("", "sender_missing", "the program has no sender", place=("policies.yaml", None))
        else:
            wrong = wrong_address(policies.sender.email)
            if wrong:
                self.add("", "sender_invalid", f"{policies.sender.email}: {wrong}", place=("policies.yaml", None))
            self._check_sender(policies.sender)
        known = self.templates.names
        for scenario in self.program.scenarios:
            for send in sends(scenario.steps):
                if send.send not in known:
                    self.add(send.send, "missing_template", _no_template(send.send, known))

    def _check_sender(self, sender: Sender) -> None:
        local, _, domain = sender.email.lower().rpartition("@")
        if _FREEMAIL.fullmatch(domain):
            message = f"{domain} tells all others to refuse mail that it has not sent itself (DMARC)"
            self.add("", "sender_freemail", message, place=("policies.yaml", None))
        if re.sub(r"\W", "", local).startswith(("noreply", "donotreply", "nepasrepondre")) and not sender.reply_to:
            self.add("", "sender_noreply", f"answers to {sender.email} are lost", place=("policies.yaml", None))

    def check_answers(self, letters: Sequence[Letter], answer: Callable[[str], str | None]) -> None:
        """Ask once for each link of the first mail in each language, without what is the reader's own."""
        asked: dict[str, Letter] = {}
        seen = set()
        for letter in letters:
            key = (letter.template, letter.locale)
            if key in seen:
                continue
            seen.add(key)
            try:
                mail = self.templates.render(letter)
            except TemplateError:
                continue  # found and named where every letter is checked
            for link in links_of(mail):
                if link.startswith("https://") and link != PREVIEW_UNSUBSCRIBE:
                    asked.setdefault(link, letter)
        with ThreadPoolExecutor(8) as pool:
            for (link, letter), wrong in zip(asked.items(), pool.map(answer, asked), strict=True):
                if wrong:
                    place = self.templates.locate(letter.template, letter.locale, link.partition("?")[0])
                    self.add(letter.template, "link_without_answer", f"{link}: {wrong}", letter, place)

    def check_repeated(self, letters: Sequence[Letter]) -> None:
        """The same decision, address or unsubscribe link a second time."""
        for first, number in self.decisions.pairs():
            letter = letters[number]
            if letters[first].decision_id == letter.decision_id:
                self.add(letter.template, "duplicate_decision", "the same decision twice", letter)
        for first, number in self.mailed.pairs():
            letter = letters[number]
            if letter.class_ == "marketing" and _mailed(letters[first]) == _mailed(letter):
                self.add(letter.template, "same_address", "the same address gets this mail twice", letter)
        for first, number in self.links.pairs():
            letter = letters[number]
            if letters[first].decision_id != letter.decision_id:
                self._add_token(letter)

    def check_values(self) -> None:
        """Values that no mail of a template has, but under another spelling: behind a default() nobody notices."""
        for name, (customers, events) in self.given.items():
            variants = self.templates.variants(name) if name in self.templates else ()
            for value in dict.fromkeys(value for variant in variants for value in variant.values):
                root, _, word = value.partition(".")
                known = customers if root == "customer" else events
                said = self.groups.get((name, "undefined_variable", f"undefined variable {value}"))
                if said is not None and word not in known and known:
                    said.message += f"; found {', '.join(f'{root}.{one}' for one in sorted(known)[:_SHOWN])}"
                near = None if word in known else nearest(word, known)
                if near is not None and SequenceMatcher(None, word.casefold(), near.casefold()).ratio() > 0.84:
                    self._add_misspelt(name, value, f"{root}.{near}")

    def _add_misspelt(self, name: str, value: str, near: str) -> None:
        letter = self.firsts[name]
        parts: tuple[Literal["html", "text"], ...] = ("html", "text")
        places = [self.templates.locate(name, letter.locale, value, part=part) for part in parts]
        place = next((one for one in places if one[1] is not None), places[0])
        message = f"no mail has {value}; did you mean {near}?"
        if (name, "undefined_variable", f"undefined variable {value}; did you mean {near}?") in self.groups:
            return  # said already
        self.add(name, "value_misspelt", message, letter, place)
        self.groups[name, "value_misspelt", message].count = self.mails[name]

    def _add_token(self, letter: Letter) -> None:
        message = "the unsubscribe link is the same for several recipients"
        self.add(letter.template, "unsubscribe_untokenised", message, letter, ("policies.yaml", None))

    def check_size(self) -> None:
        if self.marketing and (self.program.policies.brand is None or not self.program.policies.brand.address):
            place = ("policies.yaml", None)
            self.add("", "postal_address_missing", "marketing mails without a postal address", place=place)
        if self.marketing >= _BULK_FROM:
            self.add("", "bulk_sender", f"{_BULK_FROM:,} marketing mails or more: the rules for bulk senders hold")

    # --- once a letter ------------------------------------------------------------------------------------------------

    def take(self, number: int, letter: Letter, checked: Checked) -> None:
        """What one letter adds to the findings."""
        self._check_recipient(number, letter)
        self.decisions.add(number, letter.decision_id)
        self.mailed.add(number, _mailed(letter))
        self.marketing += letter.class_ == "marketing"
        self._check_step(letter)
        self.mails[letter.template] += 1
        customers, events = self.given.setdefault(letter.template, (set(), set()))
        customers.update(letter.customer)
        events.update(letter.event)
        self.firsts.setdefault(letter.template, letter)
        if checked.fallback:
            self.languages.setdefault(letter.template, Counter())[checked.fallback] += 1
            self.add(letter.template, "locale_missing", _LANGUAGES, letter)
        told = set()
        for rule, message, file, line, found in checked.notes:
            if (rule, message) not in told:  # twice in one mail is one mail
                told.add((rule, message))
                is_unfit = RULES[rule].severity == "error" and rule not in _OF_ALL
                self.add(letter.template, rule, message, letter, (file, line), found, is_unfit=is_unfit)
                if is_unfit:
                    self.unfit.setdefault(number, (letter.template, f"{message}; {found}" if found else message))

    def _check_recipient(self, number: int, letter: Letter) -> None:
        address = letter.to
        try:
            wrong = self.addresses[address]
        except KeyError:
            if len(self.addresses) >= _MOST_ADDRESSES:
                self.addresses.clear()
            wrong = self.addresses[address] = wrong_address(address)
        if wrong:
            self.add(letter.template, "invalid_address", wrong, letter, is_unfit=True)
            self.unfit[number] = letter.template, wrong

    def take_link(self, number: int, letter: Letter, link: str) -> None:
        """The unsubscribe link of a marketing letter."""
        if "{token}" in link:
            self._add_token(letter)
        else:
            self.links.add(number, link)

    def _check_step(self, letter: Letter) -> None:
        key = (letter.scenario, letter.step, letter.template)
        if key not in self.steps:
            self.steps[key] = step_of(self.program, letter)
        send, wrong = self.steps[key]
        if wrong:
            self.add(letter.template, "unknown_step", wrong, letter)
        if send is not None:
            wrong = offer_differs(send.offer, letter)
            if wrong:
                self.add(letter.template, "offer_differs", wrong, letter)


def _check_is(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, str):
        wanted = {Sequence: "a list of letters", int: "a whole number"}.get(kind, kind.__name__)
        raise InputError(f"preflight: {name}: expected {wanted}; found {type(value).__name__}")


def _mailed(letter: Letter) -> tuple[str, str]:
    return letter.template, letter.to.casefold()


def _no_template(name: str, known: Sequence[str]) -> str:
    return f"no template {shown(name)}" + did_you_mean(name, known)
