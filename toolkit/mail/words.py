"""The words of the mails, apart from their layout: one file a language, `words.en.txt`, a line for each piece of text.

    # what all mails of the scenario say
    button: Back to my basket

    [reminder]
    subject: Your basket is still here
    lead: It is just as you left it. [Write to us]({{ link(brand.help) }}) if something **held you up**.

A layout says `{{ words.lead }}` where they stand. A line that begins with a space goes on with the one before. Nothing
needs quotes or html: `[words](link)` is a link, `**words**` are bold, and jinja's values work as everywhere. `&shy;` is
a place where a long word may part; the text part and the subject go without.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import Fault, nearest

__all__ = [
    "Words",
    "language_in",
    "language_of",
    "marked_up",
    "no_link_in",
    "plainly",
    "read_words",
    "sections_in",
    "words_in",
]

_SECTION = re.compile(r"\[\s*([A-Za-z0-9_]+)\s*\]\s*")
_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_]*)[ \t]*:[ \t]*(.*)")
_FILE = re.compile(r"words\.([a-z]{2,3}(?:_[A-Z]{2})?)\.txt")
_LINK = re.compile(r"\[([^\[\]\n]+)\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
_NO_LINK = re.compile(r"\[[^\[\]\n]*\] ?\([^)\n]*\)?")
_BOLD = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*")
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,6}|#[xX][0-9A-Fa-f]{1,5});")
_SOFT_HYPHEN = "\u00ad"
_BEFORE_SIGN = re.compile(r"(?<=\S) (?=[?!:;»](?:\s|$))|(?<=«) ")
_MARK = "\ue000{}\ue001"
_MARKED = re.compile("\ue000(\\d+)\ue001")

Line = tuple[str, str, int]
"""The words, and the file and line they begin at."""


@dataclass(frozen=True)
class Words:
    """The words of one mail in one language.

    Attributes:
        locale: of the language.
        own: name to words, of the language itself: those of the mail before those of its scenario and the brand.
        spare: likewise in the program's language, for what is not translated.
        file: where one would write what is missing, in the program's language.
        mail: the section of that file for this mail.
        shared: names that the brand's words have, in whatever language.
        untranslated: names that were asked for and have words in the program's language alone, with the file that lacks
            them: the brand's, of the brand's words.
    """

    locale: str
    own: Mapping[str, Line]
    spare: Mapping[str, Line]
    file: str
    mail: str = ""
    shared: Collection[str] = ()
    untranslated: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Line | Fault:
        """The words of a name; where the language has none, those of the program's language."""
        if name in self.own:
            return self.own[name]
        if name in self.spare:
            folder = self.spare[name][1].rpartition("/")[0]
            self.untranslated[name] = f"{folder}/words.{self.locale}.txt"
            return self.spare[name]
        known = [*self.own, *self.spare]
        under = f" under [{self.mail}]" if self.mail else ""
        place = f"brand/{self.file.rpartition('/')[2]}" if name in self.shared else f"{self.file}"
        allowed = f"a line {name}: ...{'' if name in self.shared else under} in {place}"
        near = None if name in self.shared else nearest(name, known)
        return Fault("no such words", found=f"words.{name}", allowed=allowed, nearest=near)


def language_of(locale: str) -> str:
    """The language of a locale: `fr` of `fr_CA`."""
    return re.split("[-_]", locale)[0]


def sections_in(text: str) -> Iterator[tuple[str, int]]:
    """The mails that a file of words has sections for, each with its line."""
    for number, line in enumerate(text.splitlines(), start=1):
        header = _SECTION.fullmatch(line)
        if header:
            yield header[1], number


def words_in(folder: Path) -> dict[str, Path]:
    """Locale to file, of the words that lie in a folder."""
    found = ((_FILE.fullmatch(path.name), path) for path in sorted(folder.glob("words.*.txt")))
    return {match[1]: path for match, path in found if match}


def read_words(text: str, file: str) -> tuple[dict[str, dict[str, Line]], list[Fault]]:
    """What a file of words says: section ("" before the first) to name to words; and its faults.

    >>> read_words("hello: Hi\\n[first]\\nlead: One\\n  two", "words.en.txt")[0]["first"]
    {'lead': ('One two', 'words.en.txt', 3)}
    """
    sections: dict[str, dict[str, Line]] = {"": {}}
    faults = []
    section = sections[""]
    name = None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            name = None if not line.strip() else name
            continue
        if line[0] in " \t" and name is not None:
            before, _, begins = section[name]
            section[name] = (f"{before} {line.strip()}".strip(), file, begins)
            continue
        header, match = _SECTION.fullmatch(line), _LINE.fullmatch(line)
        if header:
            section = sections.setdefault(header[1], {})
            name = None
        elif match and match[1] in section:
            faults.append(Fault("these words are given twice", file=file, line=number, found=match[1]))
        elif match:
            name = match[1]
            section[name] = (match[2].strip(" \t"), file, number)
        else:
            allowed = "name: words, [mail], # a note, or a line that begins with a space and goes on"
            faults.append(Fault("a line that names no words", file=file, line=number, found=line[:60], allowed=allowed))
    return sections, faults


def marked_up(text: str, tags: Iterable[re.Match[str]], language: str = "") -> str:
    """Words as html: escaped, links and bold made, the jinja tags untouched.

    >>> marked_up("Salt & **pepper**, [here](https://shop.example.com/)", [])
    'Salt &amp; <strong>pepper</strong>, <a href="https://shop.example.com/">here</a>'
    """
    hidden, kept = _without_tags(text, tags)
    hidden = _typeset(hidden, language)
    words = html.escape(hidden, quote=False).replace('"', "&quot;")
    words = _BOLD.sub(r"<strong>\1</strong>", _LINK.sub(r'<a href="\2">\1</a>', words))
    return _with_tags(words, kept)


def no_link_in(text: str, tags: Iterable[re.Match[str]]) -> str | None:
    """What looks like a link and is none, since there is a space in it or a bracket is missing; None for nothing.

    >>> no_link_in("[here] (https://shop.example.com/)", [])
    '[here] (https://shop.example.com/)'
    """
    hidden, kept = _without_tags(text, tags)
    left = _NO_LINK.search(_LINK.sub("", hidden))
    return None if left is None or not re.search(r"\]\(|https?:|www\.", left[0]) else _with_tags(left[0], kept)


def plainly(text: str, tags: Iterable[re.Match[str]], language: str = "") -> str:
    """Words as plain text: a link stands in brackets behind its words.

    >>> plainly("Salt & **pepper**, [here](https://shop.example.com/)", [])
    'Salt & pepper, here (https://shop.example.com/)'
    """
    hidden, kept = _without_tags(text, tags)
    hidden = _typeset(hidden, language).replace(_SOFT_HYPHEN, "")
    return _with_tags(_BOLD.sub(r"\1", _LINK.sub(r"\1 (\2)", hidden)), kept)


def language_in(file: str) -> str:
    """The language of a file of words, by its name."""
    match = _FILE.fullmatch(file.rpartition("/")[2])
    return language_of(match[1]) if match else ""


def _typeset(text: str, language: str) -> str:
    # What is written as in html, such as &shy; and &nbsp;, is the sign it stands for.
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    # A French sign stands apart from its word and must not begin a line.
    return _BEFORE_SIGN.sub("\u00a0", text) if language == "fr" else text


def _without_tags(text: str, tags: Iterable[re.Match[str]]) -> tuple[str, list[str]]:
    parts = []
    kept: list[str] = []
    at = 0
    for tag in tags:
        parts += [text[at : tag.start()], _MARK.format(len(kept))]
        kept.append(tag[0])
        at = tag.end()
    return "".join([*parts, text[at:]]), kept


def _with_tags(text: str, kept: list[str]) -> str:
    return _MARKED.sub(lambda mark: kept[int(mark[1])] if int(mark[1]) < len(kept) else "", text)
