"""A folder of mail templates, compiled once: a letter in, a mail or its bytes out."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from babel import Locale

from toolkit.errors import Fault, TemplateError, listed, nearest, path_text
from toolkit.mail.formats import locale_of
from toolkit.mail.kept import compiled
from toolkit.mail.letter import Letter, Mail
from toolkit.mail.preview import Preview, Previews
from toolkit.mail.rendering import rendered
from toolkit.mail.samples import sample_values
from toolkit.mail.sandbox import RenderState
from toolkit.mail.source import Reader
from toolkit.mail.values import given, plain
from toolkit.mail.variants import Variant, hash_of, mails_in, words_astray
from toolkit.mail.writer import Address, compose
from toolkit.scenario.models import Policies, without_round

__all__ = ["PREVIEW_UNSUBSCRIBE", "MailTemplate", "Templates"]

PREVIEW_UNSUBSCRIBE = "https://example.org/unsubscribe/preview"
_BLANK_LINES = re.compile(r"\n{3,}")
_SPACES_AT_END = re.compile(r"[ \t]+(?=\n)")
_SPACES = re.compile(r"[ \t\n]+")


@dataclass(frozen=True, slots=True)
class _Choice:
    variant: Variant
    locale: Locale
    fell_back: bool


class Templates:
    """The mails of a folder, compiled once.

    A mail is a pair `scenario/name.mjml` and `scenario/name.txt`; the text begins with the lines `subject:` and
    `preheader:` and a line `---`. Its words stand beside it, `words.en.txt` and `words.fr.txt` (or `words.fr_CA.txt`),
    and in the layout as `{{ words.name }}`. Where a language needs a layout of its own, it is a pair `name.fr.mjml`,
    `name.fr.txt`. A reader gets the mail of their locale, else of its language, else of the program's own locale, with
    dates and money in that language.
    Files whose names begin with `_` are parts, for `{% include "brand/_head.mjml" %}`.

    A template sees `customer`, `event`, `offer`, `brand`, `sender`, `locale`, `now`, `unsubscribe`, the html also
    `subject` and `preheader`; the filters `money`, `number`, `percent`, `date`, `time` and jinja's plain ones; and
    `link(url, name=value)`.
    """

    def __init__(
        self, variants: Mapping[str, tuple[Variant, ...]], hashes: Mapping[str, str], policies: Policies, root: Path
    ) -> None:
        self._variants = dict(variants)
        self._hashes = dict(hashes)
        self._policies = policies
        self._root = root
        self._choices: dict[tuple[str, str], _Choice] = {}
        self._brand = _brand_values(policies)
        self._sender = policies.sender.model_dump(exclude_none=True) if policies.sender else {}

    @classmethod
    def load(cls, folder: str | Path, policies: Policies | None = None) -> Templates:
        """The templates of a folder.

        Args:
            folder: of the program (`templates/`), or of one scenario in it.
            policies: sender, brand, locale, currency and time zone that the mails share.

        Returns:
            The templates, compiled.

        Raises:
            TemplateError: no such folder, or faults in the templates; all of them, each with file and line.

        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp(), "hello"); folder.mkdir()
        >>> _ = (folder / "hi.txt").write_text("subject: Hello {{ customer.first_name }}\\npreheader: Hi\\n---\\nHi!")
        >>> _ = (folder / "hi.mjml").write_text("<mjml><mj-body><mj-section><mj-column><mj-text>Hi!</mj-text>"
        ...                                     "</mj-column></mj-section></mj-body></mjml>")
        >>> Templates.load(folder.parent).names
        ('hello/hi',)
        """
        policies = Policies() if policies is None else policies
        _check_policies(policies)
        root = Path(path_text(folder, name="templates", allowed="the path of a folder", error=TemplateError))
        if not root.is_dir():
            raise TemplateError([Fault("no such folder of templates", found=str(folder))])
        root = root.resolve()
        only = None
        if any((root / f"scenario.{ending}").is_file() for ending in ("yaml", "yml")):
            only, root = root.name, root.parent
        brand = _brand_values(policies)
        faults: list[Fault] = []
        variants: dict[str, tuple[Variant, ...]] = {}
        hashes = {}
        mails = mails_in(root, only, faults)
        faults += words_astray(root, only, mails)
        for name, pairs in mails.items():
            reader = Reader(root)
            found = compiled(reader, name, pairs, policies, brand)
            faults += [fault for fault in dict.fromkeys(reader.faults) if fault not in faults]
            variants[name] = tuple(sorted(found, key=lambda one: one.locale or ""))
            hashes[name] = hash_of(reader, variants[name])
        if faults:
            raise TemplateError(faults)
        return cls(variants, hashes, policies, root)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all mails, sorted, as `send:` writes them."""
        return tuple(sorted(self._variants))

    @property
    def hashes(self) -> dict[str, str]:
        """Template name to SHA-256 over its files, what they include and what they compile to."""
        return dict(self._hashes)

    @property
    def policies(self) -> Policies:
        """The sender, brand, locale, currency and zone the mails are made with."""
        return self._policies

    def __repr__(self) -> str:
        return f"Templates({', '.join(self.names) or 'none'})"

    def __getitem__(self, template: str) -> MailTemplate:
        self._of(template)
        return MailTemplate(self, template)

    def __contains__(self, template: object) -> bool:
        return template in self._variants

    def preview(self, scenario: str | None = None, *, locales: Sequence[str] | str | None = None) -> Previews:
        """Every mail of a scenario, with its sample data, side by side.

        Args:
            scenario: its name; all mails of the folder unless given.
            locales: the readers' languages, for example `["en", "fr"]`, or one; unless given the sample's own, or the
                program's where the mail is not written in it.

        Returns:
            The previews, which show themselves in a notebook; one mail is `templates[name].preview()`.

        Raises:
            TemplateError: no such scenario, or no sample data beside a mail.
        """
        names = [name for name in self.names if scenario is None or name.partition("/")[0] == scenario]
        if not names:
            known = sorted({name.partition("/")[0] for name in self.names})
            if not known:
                files = "a mail is two files in the folder of its scenario, NAME.mjml and NAME.txt"
                raise TemplateError([Fault("the folder has no mails", allowed=files)])
            allowed, near = listed(known, near=scenario), nearest(str(scenario), known)
            raise TemplateError([Fault("no mails of this scenario", found=scenario, allowed=allowed, nearest=near)])
        wanted = (locales,) if isinstance(locales, str) else locales or (None,)
        asked: list[tuple[str, str | None]] = [(name, locale) for name in names for locale in wanted]
        return Previews(
            tuple(self[name].preview(locale=locale) for name, locale in asked),
            tuple(name if locale is None else f"{name}, {locale}" for name, locale in asked),
        )

    def locales(self, template: str) -> tuple[str | None, ...]:
        """The locales a mail is written in; None is the one without a locale in its file name."""
        return tuple(variant.locale for variant in self._of(template))

    def only(self, names: Container[str]) -> Templates:
        """The same templates without the mails that are not named."""
        kept = {name: variants for name, variants in self._variants.items() if name in names}
        return Templates(kept, {name: self._hashes[name] for name in kept}, self._policies, self._root)

    def variants(self, template: str) -> tuple[Variant, ...]:
        """A mail as it was compiled, once for each locale it is written in."""
        return self._of(template)

    def variant(self, template: str, locale: str) -> Variant:
        """The one of a mail's variants that a reader of the locale gets."""
        return self._choose(template, locale).variant

    def locate(self, template: str, locale: str, words: str, *, part: str = "html") -> tuple[str, int | None]:
        """Where an author wrote something: file, and line or None where no file of the mail says it.

        Args:
            template: its name.
            locale: whose variant to look at.
            words: text as the author wrote it.
            part: `html` (the MJML and its includes) or `text` (the text, subject and preheader).
        """
        variant = self._choose(template, locale).variant
        own = (variant.html if part == "html" else variant.text).file
        for file, content in variant.files.items():
            layout = file.endswith(".mjml") == (part == "html")
            at = content.find(words) if layout or "/words." in file else -1
            if at >= 0:
                return file, content.count("\n", 0, at) + 1
        return own, None

    def untranslated(self, template: str, locale: str) -> tuple[tuple[str, str], ...]:
        """The words that a reader of the locale gets in the program's language: name, and the file that lacks them."""
        return self._choose(template, locale).variant.untranslated

    def fell_back(self, template: str, locale: str) -> bool:
        """True where the mail is not written in the locale's language and goes out in the program's."""
        return self._choose(template, locale).fell_back

    def render(self, letter: Letter, *, unsubscribe_url: str | None = None) -> Mail:
        """What the recipient of a letter sees.

        Args:
            letter: the decision and its values.
            unsubscribe_url: the value of `unsubscribe` in a marketing mail; a preview link unless given.

        Returns:
            Subject, preheader, html and text.

        Raises:
            TemplateError: no such template, a value that is missing or cannot be shown, or a template over its
                budget; names file, line, the value and the nearest one that is there.
        """
        choice = self._choose(letter.template, letter.locale)
        customer = plain(letter.customer, "customer")
        policies = self._policies
        zone = _zone(str(customer.get("timezone") or ""), policies.timezone)
        state = RenderState(choice.locale, zone, policies.currency)
        values: dict[str, Any] = {
            "customer": customer,
            "event": plain(letter.event, "event"),
            "brand": self._brand,
            "sender": self._sender,
            "locale": str(choice.locale).replace("_", "-"),
            "now": letter.at,
        }
        if letter.offer is not None:
            values["offer"] = plain(letter.offer, "offer")
            state.currency = values["offer"].get("currency", state.currency)
        if letter.class_ == "marketing":
            values["unsubscribe"] = unsubscribe_url or PREVIEW_UNSUBSCRIBE
        variant = choice.variant
        values["subject"] = subject = _one_line("".join(rendered(variant.subject, values, state, letter)))
        values["preheader"] = preheader = _one_line("".join(rendered(variant.preheader, values, state, letter)))
        pieces = rendered(variant.html, values, state, letter)
        text = "".join(rendered(variant.text, values, state, letter))
        text = _BLANK_LINES.sub("\n\n", _SPACES_AT_END.sub("", text)).strip() + "\n"
        return Mail(subject, preheader, "".join(pieces), text, tuple(pieces))

    def message(
        self, letter: Letter, *, message_id: str, unsubscribe_url: str | None = None, smtputf8: bool = False
    ) -> bytes:
        """The bytes of a letter's mail: the same letter, the same bytes.

        Args:
            letter: the decision and its values; its `at` becomes the Date.
            message_id: `id@domain`, of the sender's making.
            unsubscribe_url: an https link that takes a one-click POST; a marketing mail needs it, a transactional
                one has none.
            smtputf8: allow letters beyond ASCII before the @ of the address.

        Returns:
            A complete message with CRLF line ends.

        Raises:
            TemplateError: as `render`; no sender in the policies; an address that is not exactly one; a missing
                or superfluous unsubscribe_url.
        """
        if letter.class_ == "marketing" and unsubscribe_url is None:
            raise TemplateError(f"{letter.template}: a marketing mail needs unsubscribe_url")
        if letter.class_ == "transactional" and unsubscribe_url is not None:
            raise TemplateError(f"{letter.template}: a transactional mail has no unsubscribe_url")
        mail = self.render(letter, unsubscribe_url=unsubscribe_url)
        return self.write(mail, letter, message_id=message_id, unsubscribe_url=unsubscribe_url, smtputf8=smtputf8)

    def write(
        self,
        mail: Mail,
        letter: Letter,
        *,
        message_id: str,
        unsubscribe_url: str | None = None,
        smtputf8: bool = False,
    ) -> bytes:
        """The bytes of a mail that was rendered already; the same as `message` for the same letter."""
        sender = self._policies.sender
        if sender is None:
            raise TemplateError("policies.yaml has no sender; add sender: {name: ..., email: ...}")
        return compose(
            sender=Address(sender.email, sender.name),
            reply_to=sender.reply_to,
            to=letter.to,
            subject=mail.subject,
            at=letter.at,
            message_id=message_id,
            html=mail.html,
            html_pieces=mail.pieces,
            text=mail.text,
            unsubscribe_url=unsubscribe_url,
            feedback_id=_feedback_id(letter, self._policies),
            smtputf8=smtputf8,
        )

    def preview_of(self, letter: Letter) -> Preview:
        """What the reader of a letter would see, shown safely.

        Raises:
            TemplateError: as `render`.
        """
        url = PREVIEW_UNSUBSCRIBE if letter.class_ == "marketing" else None
        mail = self.render(letter, unsubscribe_url=url)
        message = None
        if self._policies.sender is not None:
            name = f"preview@{self._policies.sender.email.rpartition('@')[2]}"
            message = self.write(mail, letter, message_id=name, unsubscribe_url=url)
        note = ""
        lacking = self.untranslated(letter.template, letter.locale)
        if self.fell_back(letter.template, letter.locale):
            note = f"Not written in {letter.locale}: shown as readers of {letter.locale} would get it."
        elif lacking:
            files = {file: ", ".join(name for name, of in lacking if of == file) for _, file in lacking}
            told = "; and since ".join(f"{file} lacks them: {names}" for file, names in files.items())
            note = f"Taken from the program's own language, since {told}."
        return Preview(letter, mail, message, note)

    def sample(self, template: str, *, locale: str | None = None) -> Letter:
        """A letter with the sample data beside a template (`sample.yaml`), for previews and tests.

        Args:
            template: its name.
            locale: of the sample's customer, unless given; the program's own where the mail is not written in that.

        Returns:
            A letter to `ana@example.org` or whoever the sample names.

        Raises:
            TemplateError: no such template, or no readable sample.yaml beside it.
        """
        self._of(template)
        values = sample_values(self._root, template, locale, self._policies)
        if locale is None and self.fell_back(template, values["locale"]):
            values = sample_values(self._root, template, self._policies.locale, self._policies)
        return Letter(template=template, **values)

    def _of(self, template: str) -> tuple[Variant, ...]:
        try:
            return self._variants[template]
        except KeyError:
            raise TemplateError(
                [
                    Fault(
                        "no such template",
                        found=template,
                        allowed=", ".join(self.names) or "none: the folder has no mails",
                        nearest=nearest(str(template), self.names),
                    )
                ]
            ) from None

    def _choose(self, template: str, locale: str) -> _Choice:
        try:
            return self._choices[template, locale]
        except KeyError:
            choice = self._choices[template, locale] = _best(self._of(template), locale, self._policies.locale)
            return choice


@dataclass(frozen=True)
class MailTemplate:
    """One mail of the templates: what it looks like, and for whom it is written."""

    templates: Templates
    name: str

    @property
    def locales(self) -> tuple[str | None, ...]:
        """The locales it is written in."""
        return self.templates.locales(self.name)

    def preview(
        self,
        *,
        customer: Mapping[str, Any] | pd.Series | None = None,
        event: Mapping[str, Any] | pd.Series | None = None,
        offer: Mapping[str, Any] | pd.Series | None = None,
        locale: str | None = None,
    ) -> Preview:
        """What a customer would see; in a notebook it shows itself.

        Args:
            customer: attributes that take the place of the sample's, for example a row of the customers table;
                a missing value (None, NaN) takes the sample's away.
            event: properties of the trigger's event, likewise.
            offer: values of the offer, likewise.
            locale: the reader's; else the customer's, else the sample's.

        Returns:
            The preview.

        Raises:
            TemplateError: no sample data beside the mail, or a value that is missing or cannot be shown.
        """
        person = given(customer, "customer")
        wanted = locale or person.get("locale")
        base = self.templates.sample(self.name, locale=wanted if isinstance(wanted, str) else None)
        letter = replace(
            base,
            customer={**base.customer, **person},
            event={**base.event, **given(event, "event")},
            offer=base.offer if offer is None else {**(base.offer or {}), **given(offer, "offer")},
            to=str(plain(person, "customer").get("email") or base.to),
        )
        return self.templates.preview_of(letter)


# --- rendering --------------------------------------------------------------------------------------------------------


def _best(variants: tuple[Variant, ...], locale: str, own: str) -> _Choice:
    home = wanted = locale_of(own)
    unknown = False
    try:
        wanted = locale_of(locale) if locale.strip() else home
    except ValueError:
        unknown = True  # "German" is no language of a file, and need not be the program's own
    by_locale = {variant.locale: variant for variant in variants}
    for name in (str(wanted), wanted.language):
        if name in by_locale:
            return _Choice(by_locale[name], wanted, unknown)
    same = wanted.language == home.language
    fallback = next(by_locale[name] for name in (None, str(home), home.language) if name in by_locale)
    # Words in one language with dates in another read like a mistake; so the program's locale formats them too.
    return _Choice(fallback, wanted if same else home, unknown or not same)


def _check_policies(policies: object) -> None:
    if not isinstance(policies, Policies):
        found, allowed = type(policies).__name__, "the policies of a program: program.policies"
        raise TemplateError([Fault("expected policies", path="policies", found=found, allowed=allowed)])
    try:
        locale_of(policies.locale)
    except ValueError:
        message, allowed = "no such locale", "a locale such as en, fr or fr_FR"
        fault = Fault(message, file="policies.yaml", path="locale", found=policies.locale, allowed=allowed)
        raise TemplateError([fault]) from None


def _one_line(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


@lru_cache(maxsize=1024)
def _zone(own: str, shared: str) -> tzinfo:
    for name in (own, shared):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # no such zone, or not the name of one (rule R8)
            continue
    return ZoneInfo("UTC")


def _brand_values(policies: Policies) -> dict[str, Any]:
    return plain(policies.brand.model_dump(exclude_none=True), "brand") if policies.brand else {}


@lru_cache(maxsize=4096)
def _identifier(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def _feedback_id(letter: Letter, policies: Policies) -> str:
    # Gmail groups complaints by each field; the last is the sender, 5 to 15 characters, the same in every mail.
    brand = policies.brand.name if policies.brand else policies.sender.name if policies.sender else ""
    own = (_identifier(brand) or "sender")[:15].ljust(5, "0")
    return f"{letter.scenario}:{without_round(letter.step)}:{letter.class_}:{own}"
