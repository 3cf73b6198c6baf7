"""From the files of a folder to compiled mails: pairs found, checked, compiled and hashed."""

from __future__ import annotations

import hashlib
import marshal
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from babel import Locale
from jinja2 import Template
from jinja2.exceptions import TemplateSyntaxError

from toolkit.errors import Fault, nearest
from toolkit.mail.formats import locale_of
from toolkit.mail.markup import compile_mjml
from toolkit.mail.sandbox import Sandbox, check_tree
from toolkit.mail.source import Piece, Reader, fault_at, split_headers, to_jinja
from toolkit.mail.words import Line, Words, language_of, read_words, sections_in, words_in
from toolkit.scenario.models import Policies

__all__ = ["Part", "Variant", "compile_mail", "hash_of", "mails_in", "words_astray"]

# What jinja says of the usual slips, and what is right.
_SYNTAX = (
    ("unexpected char '“'", 'straight quotes: "you"'),
    ("unexpected char '”'", 'straight quotes: "you"'),
    ("unexpected char '’'", "straight quotes: 'you'"),
    ("unexpected char '‘'", "straight quotes: 'you'"),
    ("unexpected char '«'", 'straight quotes: "you"'),
    ("unexpected char '„'", 'straight quotes: "you"'),
    ("unexpected char '&'", 'the signs themselves in a tag, no html: " < >'),
    ("got '='", "two signs to compare: {% if event.value == 3 %}"),
    ("block', got 'if'", "{% elif ... %}"),
    ("unknown tag 'elseif'", "{% elif ... %}"),
    ("unknown tag 'end'", "one word: {% endif %}, {% endfor %}"),
    ("unknown tag 'endif'", "an {% if ... %} before each {% endif %}"),
    ("unknown tag 'endfor'", "a {% for ... %} before each {% endfor %}"),
    ("expected token 'in'", "{% for one in event.items %}"),
    ("looking for the following tags", "an {% endif %} for each {% if %}, an {% endfor %} for each {% for %}"),
    ("unexpected '}'", "{{ value }}, {% if value %}"),
)
_NAMES = ("customer", "event", "offer", "brand", "sender", "locale", "now", "unsubscribe")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_VALUE = re.compile(r"(?<![.\w])(?:customer|event)\.[A-Za-z]\w*")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_LOCALE = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2})?")
_HTML = Sandbox(html=True)
_TEXT = Sandbox(html=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A compiled subject, preheader, html or text."""

    file: str
    source: str
    code: CodeType
    template: Template
    places: tuple[tuple[str, int], ...]
    html: bool

    def __reduce__(self) -> tuple[Callable[..., Part], tuple[Any, ...]]:
        # What jinja compiles cannot be pickled; its code can be handed on to a process of the same Python.
        return _part, (self.file, self.source, marshal.dumps(self.code), self.places, self.html)

    def place(self, line: int) -> tuple[str, int]:
        """The author's file and line of a line of the compiled source."""
        if len(self.places) < 2:
            return self.file, 1
        return self.places[min(max(line, 1), len(self.places) - 1)]


@dataclass(frozen=True, slots=True)
class Variant:
    """A mail in one locale (None: the one without a locale in its file name), with the files it was made of.

    `untranslated` names the words it has only in the program's language and the files that lack them, `values` the
    values of a customer and of an event that it asks for: `customer.first_name`.
    """

    locale: str | None
    subject: Part
    preheader: Part
    html: Part
    text: Part
    files: Mapping[str, str]
    untranslated: tuple[tuple[str, str], ...] = ()
    values: tuple[str, ...] = ()


def mails_in(root: Path, only: str | None, faults: list[Fault]) -> dict[str, list[tuple[str | None, Path, Path]]]:
    """Mail name to its (locale, MJML file, text file), one per locale; what does not pair up becomes a fault."""
    mails: dict[str, list[tuple[str | None, Path, Path]]] = {}
    start = root / only if only else root
    for mjml in sorted(start.rglob("*.mjml")):
        parts = mjml.relative_to(root).with_suffix("").parts
        if any(part.startswith((".", "_")) for part in parts):
            continue
        stem, dot, locale = parts[-1].partition(".")
        name = "/".join([*parts[:-1], stem])
        file = mjml.relative_to(root).as_posix()
        if not all(_NAME.fullmatch(part) for part in [*parts[:-1], stem]):
            faults.append(Fault("a template's name has letters, digits and _ only", file=file))
        elif dot and not _LOCALE.fullmatch(locale):
            faults.append(Fault("expected a locale before .mjml", file=file, found=locale, allowed="fr or fr_CA"))
        elif not mjml.with_suffix(".txt").is_file():
            faults.append(
                Fault("a mail needs its subject and text part", file=file, allowed=f"{mjml.stem}.txt beside it")
            )
        else:
            mails.setdefault(name, []).append((locale or None, mjml, mjml.with_suffix(".txt")))
    return mails


def words_astray(root: Path, only: str | None, mails: Iterable[str]) -> list[Fault]:
    """Files of words that no language has, and sections in them for mails that are not there: nobody reads them."""
    faults: list[Fault] = []
    by_folder: dict[Path, set[str]] = {}
    for name in mails:
        place, _, mail = name.rpartition("/")
        by_folder.setdefault(root / place, set()).add(mail)
        by_folder.setdefault(root / "brand", set()).add(mail)  # what the brand says of a mail is for all of its name
    for folder, names in by_folder.items():
        known = words_in(folder)
        for path in sorted(folder.glob("words*.txt")):
            file = path.relative_to(root).as_posix()
            if path in known.values():
                if only and folder == root / "brand":
                    continue  # its sections may be for mails of other scenarios
                text = path.read_bytes().decode("utf-8-sig", "replace")
                faults += [
                    Fault(
                        "words for a mail that is not there",
                        file=file,
                        line=line,
                        found=f"[{section}]",
                        allowed=", ".join(f"[{name}]" for name in sorted(names)),
                        nearest=nearest(section, names),
                    )
                    for section, line in sections_in(text)
                    if section not in names
                ]
            elif not path.with_suffix(".mjml").is_file():
                allowed = "a language in the name: words.fr.txt or words.fr_CA.txt"
                faults.append(Fault("words in no language", file=file, allowed=allowed, nearest=_named_well(path.name)))
    return faults


def _named_well(name: str) -> str | None:
    """The name that a file of words seems to mean: `words.fr_CA.txt` for `words.fr-ca.txt`."""
    match = re.fullmatch(r"words[._-]([A-Za-z]{2,3})(?:[_-]([A-Za-z]{2}))?\.txt", name)
    if match is None:
        return None
    return f"words.{match[1].lower()}{'_' + match[2].upper() if match[2] else ''}.txt"


def compile_mail(
    reader: Reader,
    name: str,
    pairs: Iterable[tuple[str | None, Path, Path]],
    policies: Policies,
    brand: Mapping[str, Any],
) -> tuple[Variant, ...]:
    """A mail in every language it is written in: by files of its own, or by words; faults go to the reader.

    Args:
        reader: of the folder.
        name: of the mail.
        pairs: its layouts, as `mails_in` gives them.
        policies: whose locale is the one to fall back on.
        brand: values that are known now.
    """
    layouts = {locale: (mjml, text) for locale, mjml, text in pairs}
    if None not in layouts:
        if not reader.faults:
            reader.faults.append(Fault("a translation without the mail it translates", file=f"{name}.mjml"))
        return ()
    folder = layouts[None][0].parent
    written = words_in(folder)
    home = locale_of(policies.locale)
    if not written:
        found = [compile_variant(reader, locale, *pair, brand, home) for locale, pair in layouts.items()]
        return tuple(one for one in found if one is not None)
    own = next((one for one in (str(home), home.language) if one in written), None)
    if own is None:
        file = f"{reader.name(folder)}/words.{home.language}.txt"
        reader.faults.append(Fault("no words in the program's own language", file=file, found=", ".join(written)))
        return ()
    sources = (folder, reader.root / "brand")
    locales = dict.fromkeys((own, *sorted({*written, *(one for one in layouts if one)})))
    said = {locale: _said(reader, sources, locale, name) for locale in locales}
    shared = _shared(sources[1])
    file = f"{reader.name(folder)}/words.{own}.txt"
    variants = []
    for locale, lines in said.items():
        spare = said[own] if locale != own else {}
        reader.words = Words(locale, lines, spare, file, name.rpartition("/")[2], shared)
        near = next((one for one in (locale, language_of(locale)) if one in layouts), None)
        variants.append(compile_variant(reader, locale, *layouts[near], brand, home))
    reader.words = None
    return tuple(one for one in variants if one is not None)


def _shared(brand: Path) -> set[str]:
    """What the brand's words name in any language: what all mails say."""
    texts = (file.read_bytes().decode("utf-8-sig", "replace") for file in words_in(brand).values())
    return {word for text in texts for word in read_words(text, "")[0][""]}


def _said(reader: Reader, sources: Iterable[Path], locale: str, name: str) -> dict[str, Line]:
    """The words of a mail in a locale: of the mail, of its scenario, of the brand; a region after its language."""
    lines: dict[str, Line] = {}
    for source in sources:
        files = words_in(source)
        for one in dict.fromkeys((locale, language_of(locale))):
            if one not in files:
                continue
            file = reader.name(files[one])
            sections, faults = read_words(reader.text(files[one]) or "", file)
            reader.faults += [fault for fault in faults if fault not in reader.faults]
            for section in (name.rpartition("/")[2], ""):
                lines = {**sections.get(section, {}), **lines}
    return lines


def compile_variant(
    reader: Reader, locale: str | None, mjml: Path, text: Path, brand: Mapping[str, Any], home: Locale
) -> Variant | None:
    """The mail of one pair of files, or None and faults in the reader; without a locale it is in that of `home`."""
    before = len(reader.faults)
    file = reader.name(text)
    headers, body, line, faults = split_headers(reader.text(text) or "", file)
    if file in reader.read:
        reader.faults += faults
    layout = reader.pieces(mjml)
    if not layout and len(reader.faults) == before:
        allowed = "<mjml><mj-body> ... </mj-body></mjml>, as in the layouts of the library"
        reader.faults.append(Fault("nothing is in this layout", file=reader.name(mjml), allowed=allowed))
    pieces, more = compile_mjml(layout, brand, _known(locale) if locale else home)
    reader.faults += more
    body_pieces = reader.split(body, file, line)
    head = {name: reader.split(value, file, at) for name, (value, at) in headers.items()}
    if len(reader.faults) > before:
        return None
    inside = (*_NAMES, "subject", "preheader")
    subject = _compile(_TEXT, head["subject"], file, _NAMES, reader.faults)
    preheader = _compile(_TEXT, head["preheader"], file, _NAMES, reader.faults)
    html = _compile(_HTML, pieces, reader.name(mjml), inside, reader.faults)
    plain_text = _compile(_TEXT, body_pieces, file, inside, reader.faults)
    if subject is None or preheader is None or html is None or plain_text is None:
        return None
    tags = [*layout, *body_pieces, *head["subject"], *head["preheader"]]
    used = dict.fromkeys([reader.name(mjml), file, *(piece.file for piece in tags)])
    files = {name: reader.read[name].decode("utf-8-sig") for name in used}
    untranslated = tuple(reader.words.untranslated.items()) if reader.words else ()
    values = _values_in([*tags, *head["preheader"]])
    return Variant(locale, subject, preheader, html, plain_text, files, untranslated, values)


def _known(locale: str) -> Locale | None:
    try:
        return locale_of(locale)
    except ValueError:
        return None  # a language whose dates and numbers nobody knows


def _values_in(tags: Iterable[Piece]) -> tuple[str, ...]:
    said = (_QUOTED.sub("", tag.text) for tag in tags if tag.kind != "text")
    return tuple(sorted({match[0] for text in said for match in _VALUE.finditer(text)}))


def _compile(
    environment: Sandbox, pieces: Iterable[Piece], file: str, names: Iterable[str], faults: list[Fault]
) -> Part | None:
    source, places = to_jinja(pieces)
    try:
        tree = environment.parse(source)
        found = check_tree(tree, names)
        if found:
            faults += [fault_at(fault, line, places) for line, fault in found]
            return None
        code = _code(environment.compile(tree, name=file, filename=file))
    except TemplateSyntaxError as fault:
        said = fault.message or ""
        usual = "{{ value | filter }}, {% if value %} ... {% endif %}, {% for one in values %} ... {% endfor %}"
        right = next((right for words, right in _SYNTAX if words in said), usual)
        reason = said.partition(". ")[0].rstrip(".")  # what follows says again what is allowed
        faults.append(fault_at(Fault(f"not well-formed jinja: {reason}", allowed=right), fault.lineno, places))
        return None
    except (RecursionError, MemoryError, SyntaxError) as fault:
        faults.append(Fault(f"too deeply nested to compile: {type(fault).__name__}", file=file))
        return None
    return _part(file, source, code, tuple(places), environment is _HTML)


def _part(file: str, source: str, code: CodeType | bytes, places: tuple[tuple[str, int], ...], html: bool) -> Part:
    environment = _HTML if html else _TEXT
    compiled = _code(marshal.loads(code) if isinstance(code, bytes) else code)  # noqa: S302 from a process of our own
    template = environment.template_class.from_code(environment, compiled, environment.globals)
    return Part(file, source, compiled, template, places, html)


def _code(code: object) -> CodeType:
    if not isinstance(code, CodeType):
        raise TypeError("jinja gave source instead of code")
    return code


def hash_of(reader: Reader, variants: Iterable[Variant]) -> str:
    """SHA-256 over every file read for a mail and over what it compiles to."""
    digest = hashlib.sha256()
    for name, content in sorted(reader.read.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    for variant in variants:
        for part in (variant.subject, variant.preheader, variant.html, variant.text):
            compiled = part.source.encode("utf-8")
            digest.update(f"{variant.locale}\0{len(compiled)}\0".encode())
            digest.update(compiled)
    return digest.hexdigest()
