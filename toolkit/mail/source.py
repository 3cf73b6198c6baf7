"""Template files as pieces: plain text and jinja tags, each with its file and line.

The pieces are what lets MJML and css work on the text while the jinja tags stay apart, and what lets a fault in the
compiled mail be named by the line its author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from toolkit.errors import Fault, nearest
from toolkit.mail.foreign import instead_of, tool_of
from toolkit.mail.words import Line, Words, language_in, marked_up, no_link_in, plainly

__all__ = ["Piece", "Reader", "fault_at", "split_headers", "to_jinja"]

MOST_SOURCE = 256_000
MOST_TAGS = 2_000
_DEEPEST_INCLUDE = 5
_STRINGS = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_TAG = re.compile(
    rf"(?P<comment>\{{\#.*?\#\}})"
    rf"|\{{%(?P<statement_open>[-+]?)(?P<statement>(?:{_STRINGS}|(?!%\}})[^\"'])*?)(?P<statement_close>[-+]?)%\}}"
    rf"|\{{\{{(?P<value_open>[-+]?)(?P<value>(?:{_STRINGS}|(?!\}}\}})[^\"'])*?)(?P<value_close>[-+]?)\}}\}}",
    re.DOTALL,
)
_INCLUDE = re.compile(r"include\s+(?:\"([^\"]+)\"|'([^']+)')\s*")
_WORDS = re.compile(r"words\.([A-Za-z][A-Za-z0-9_]*)")
_STRAY = re.compile(r"\{\{|\{%|\{#|%\}|#\}")
_FOREIGN = re.compile(r"\s*(?:[#/>^!{&]|else\s*$|this\b|\.\.)")
_HEADER = re.compile(r"([A-Za-z_-]+)\s*:[ \t]*(.*)")
HEADERS = ("subject", "preheader")


@dataclass(frozen=True, slots=True)
class Piece:
    """Plain text, or what stands inside `{{ }}` (a value) or `{% %}` (a statement)."""

    kind: Literal["text", "value", "statement"]
    text: str
    file: str
    line: int
    trim_before: str = ""
    trim_after: str = ""

    @property
    def jinja(self) -> str:
        """The piece as jinja source; a tag's words begin on a line of their own, so that a line names one tag."""
        if self.kind == "text":
            return self.text
        opened, closed = ("{{", "}}") if self.kind == "value" else ("{%", "%}")
        return f"{opened}{self.trim_before}\n{self.text}{self.trim_after}{closed}"


class Reader:
    """Reads template files below one folder, with their includes; gathers faults and the files it read.

    Where it has `words`, they stand in the place of `{{ words.name }}`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.faults: list[Fault] = []
        self.read: dict[str, bytes] = {}
        self.words: Words | None = None

    def text(self, path: Path) -> str | None:
        """The text of a file with plain newlines, or None (and a fault) where it cannot be used."""
        name = self.name(path)
        try:
            content = path.read_bytes()
            text = content.decode("utf-8-sig")
        except OSError as fault:
            self.faults.append(Fault(f"the file cannot be read: {fault.strerror}", file=name))
            return None
        except UnicodeDecodeError as fault:
            line = content[: fault.start].count(b"\n") + 1
            self.faults.append(Fault("the file is not UTF-8; save it as UTF-8", file=name, line=line))
            return None
        if len(content) > MOST_SOURCE:
            self.faults.append(
                Fault("the file is too large", file=name, found=f"{len(content):,} bytes", allowed=f"{MOST_SOURCE:,}")
            )
            return None
        self.read[name] = content
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def name(self, path: Path) -> str:
        """The path below the root, with forward slashes: the same on every machine."""
        return path.relative_to(self.root).as_posix()

    def pieces(self, path: Path) -> list[Piece]:
        """The pieces of an MJML file and of all it includes."""
        text = self.text(path)
        return [] if text is None else self.split(text, self.name(path), 1, markup=True)

    def split(self, text: str, file: str, line: int, depth: int = 0, *, markup: bool = False) -> list[Piece]:
        """The pieces of a text that begins at a line of a file; includes are read and put in their place."""
        found: list[Piece] = []
        if self._too_many(text, file):
            return found
        at = 0
        for match in _TAG.finditer(text):
            self._add_text(found, text[at : match.start()], file, line + text.count("\n", 0, at))
            at = match.end()
            here = line + text.count("\n", 0, match.start())
            if match["comment"] is not None:
                continue
            kind: Literal["value", "statement"] = "value" if match["value"] is not None else "statement"
            # One line each, whatever the author's layout: a line of the compiled template names one tag.
            words = re.sub(r"\s*\n\s*", " ", match[kind]).strip()
            include = _INCLUDE.fullmatch(words) if kind == "statement" else None
            named = _WORDS.fullmatch(words) if kind == "value" else None
            if include:
                found.extend(self._included(include[1] or include[2], file, here, depth, markup))
            elif named and self.words is not None:
                found.extend(self._worded(self.words.find(named[1]), file, here, depth, markup))
            elif kind == "statement" and words in ("raw", "endraw"):
                self.faults.append(Fault("not allowed in a mail", file=file, line=here, found=f"{{% {words} %}}"))
            elif kind == "value" and _FOREIGN.match(words):
                self.faults.append(_foreign("{{" + words + "}}", "handlebars", file, here))
            elif (tool := tool_of(match[0])) is not None:
                self.faults.append(_foreign(match[0], tool, file, here))
            else:
                found.append(Piece(kind, f" {words} ", file, here, match[f"{kind}_open"], match[f"{kind}_close"]))
        self._add_text(found, text[at:], file, line + text.count("\n", 0, at))
        if depth == 0 and sum(piece.kind != "text" for piece in found) > MOST_TAGS:
            self.faults.append(Fault("too many jinja tags", file=file, allowed=f"at most {MOST_TAGS:,}"))
            return []
        return found

    def _too_many(self, text: str, file: str) -> bool:
        # Counted before they are looked for: one that is not closed is looked for to the end, each of them.
        too_many = text.count("{{") + text.count("{%") > MOST_TAGS
        if too_many:
            self.faults.append(Fault("too many jinja tags", file=file, allowed=f"at most {MOST_TAGS:,}"))
        return too_many

    def _add_text(self, found: list[Piece], text: str, file: str, line: int) -> None:
        for stray in _STRAY.finditer(text):
            # `%}` and `#}` alone occur in css; the opening ones never do outside of jinja.
            if stray[0] in ("{{", "{%", "{#") or "{%" in text[: stray.start()]:
                here = line + text.count("\n", 0, stray.start())
                self.faults.append(
                    Fault(
                        "a jinja tag that is not closed",
                        file=file,
                        line=here,
                        found=text[stray.start() :].partition("\n")[0][:40],
                    )
                )
                break
        if text:
            found.append(Piece("text", text, file, line))

    def _worded(self, words: Line | Fault, file: str, line: int, depth: int, markup: bool) -> list[Piece]:
        if isinstance(words, Fault):
            self.faults.append(replace(words, file=file, line=line))
            return []
        text, place, begins = words
        if self._too_many(text, place):
            return []
        if depth > _DEEPEST_INCLUDE:
            self.faults.append(Fault("words that name themselves", file=place, line=begins, found=text[:40]))
            return []
        broken = no_link_in(text, _TAG.finditer(text))
        if broken is not None:
            allowed = "[words](https://...), without a space between or inside"
            fault = Fault("this is no link, and would stand in the mail as it is", file=place, line=begins)
            self.faults.append(replace(fault, found=broken[:80], allowed=allowed))
            return []
        shown = (marked_up if markup else plainly)(text, _TAG.finditer(text), language_in(place))
        return self.split(shown, place, begins, depth + 1, markup=markup)

    def _included(self, name: str, file: str, line: int, depth: int, markup: bool) -> list[Piece]:
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root) or depth >= _DEEPEST_INCLUDE:
            why = "includes nested too deeply" if depth >= _DEEPEST_INCLUDE else "an include outside of the folder"
            self.faults.append(Fault(why, file=file, line=line, found=name))
            return []
        if not path.is_file():
            near = nearest(name, (self.name(one) for one in self.root.rglob("_*.*")))
            self.faults.append(Fault("no such file to include", file=file, line=line, found=name, nearest=near))
            return []
        text = self.text(path)
        # Editors end a file with a newline; inside a sentence it would be a space before the comma.
        return [] if text is None else self.split(text.removesuffix("\n"), self.name(path), 1, depth + 1, markup=markup)


def _foreign(found: str, tool: str, file: str, line: int) -> Fault:
    message = f"a placeholder of another tool ({tool})"
    return Fault(message, file=file, line=line, found=found, allowed=f"jinja: {instead_of(found)}")


def split_headers(text: str, file: str) -> tuple[dict[str, tuple[str, int]], str, int, list[Fault]]:
    """The `subject:` and `preheader:` lines a `.txt` begins with, and the text below the line `---`.

    Returns:
        Header to (text, line); the body; the line it begins at; faults.
    """
    headers: dict[str, tuple[str, int]] = {}
    faults = []
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip() == "---":
            faults += [
                Fault(f"{name}: is missing above the line ---", file=file, line=1)
                for name in HEADERS
                if name not in headers
            ]
            return headers, "\n".join(lines[number:]), number + 1, faults
        match = _HEADER.fullmatch(line)
        if match and match[1] in HEADERS:
            headers[match[1]] = (match[2].strip(), number)
        elif line.strip():
            faults.append(
                Fault(
                    "expected subject: and preheader:, then a line ---",
                    file=file,
                    line=number,
                    found=line[:40],
                    nearest=nearest(match[1], HEADERS) if match else None,
                )
            )
            break
    else:
        faults.append(Fault("expected subject: and preheader:, then a line ---", file=file, line=1))
    return headers, "", len(lines), faults


def to_jinja(pieces: Iterable[Piece]) -> tuple[str, list[tuple[str, int]]]:
    """jinja source of the pieces, and for each of its lines (from 1) the file and line it comes from."""
    source = []
    places: list[tuple[str, int]] = [("", 0)]
    for piece in pieces:
        if len(places) == 1:
            places.append((piece.file, piece.line))
        text = piece.jinja
        source.append(text)
        breaks = text.count("\n")
        if piece.kind == "text":
            places.extend((piece.file, piece.line + step + 1) for step in range(breaks))
        else:
            places.append((piece.file, piece.line))
    return "".join(source), places


def fault_at(fault: Fault, line: int, places: Sequence[tuple[str, int]]) -> Fault:
    """The fault, placed where the author wrote the line of the compiled template."""
    file, real = places[min(max(line, 1), len(places) - 1)] if len(places) > 1 else ("", 0)
    return replace(fault, file=file or None, line=real or None)
