"""MJML to html, once and before jinja: the jinja tags wait as opaque tokens, and must come out in their places."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import css_inline
import mjml
from babel import Locale
from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError

from toolkit.errors import Fault, nearest
from toolkit.mail.foreign import instead_of
from toolkit.mail.semantics import with_headings, with_language, with_layout_tables
from toolkit.mail.source import Piece

__all__ = ["compile_mjml"]

MJML_TAGS = frozenset(
    """
    mjml mj-head mj-body mj-attributes mj-all mj-class mj-breakpoint mj-font mj-html-attributes mj-selector
    mj-html-attribute mj-preview mj-style mj-title mj-accordion mj-accordion-element mj-accordion-title
    mj-accordion-text mj-button mj-carousel mj-carousel-image mj-column mj-divider mj-group mj-hero mj-image
    mj-navbar mj-navbar-link mj-raw mj-section mj-social mj-social-element mj-spacer mj-table mj-text mj-wrapper
    """.split()  # noqa: SIM905 a column of names reads best without quotes
)
_REFUSED_TAGS = frozenset(
    ("script", "iframe", "object", "embed", "form", "input", "button", "base", "link", "svg", "math")
)
_VOID = frozenset(("area", "br", "col", "hr", "img", "meta", "wbr"))
_MEANT = {
    "colour": "color",
    "background-colour": "background-color",
    "bgcolor": "background-color",
    "class": "css-class",
}
_VALUE_ATTRIBUTES = frozenset(["alt", "title", "lang", "aria-label", "href", "src"])
_LINK_ATTRIBUTES = frozenset(["href", "src", "background", "background-url", "action"])
_MARKUP = re.compile(r"<!--.*?-->|<(/?)([A-Za-z][\w:-]*)((?:\"[^\"]*\"|'[^']*'|[^<>\"'])*)>", re.DOTALL)
_ATTRIBUTE = re.compile(r"([^\s=\"'<>/]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_TOKEN = re.compile(r"<!--jtk(\d+)z-->|jtk(\d+)z")
_INLINE_STYLE = re.compile(r"<mj-style\b[^>]*\binline=[\"']inline[\"'][^>]*>(.*?)</mj-style>", re.DOTALL)
_STYLE = re.compile(r"<(mj-style|style)\b[^>]*>(.*?)</\1>", re.DOTALL)
_BAD_SCHEME = re.compile(r"[\s\x00-\x1f]*(?:javascript|data|vbscript|file|blob)\s*:", re.IGNORECASE)
_BRAND = re.compile(r"brand((?:\.[A-Za-z_]\w*)+)")
_LITERAL_HOST = re.compile(r"https://[A-Za-z0-9.-]+(?::\d+)?/")


@dataclass(slots=True)
class _Work:
    """One source on its way: its text with tokens, the tags they stand for, and where each stretch came from."""

    tags: list[Piece] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    anchors: list[tuple[int, Piece]] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)
    conditionals: list[str] = field(default_factory=list)
    checked_at: list[tuple[int, int]] = field(default_factory=list)

    def place(self, text: str, offset: int) -> tuple[str, int]:
        """File and line of an offset in the text."""
        start, piece = next((one for one in reversed(self.anchors) if one[0] <= offset), self.anchors[0])
        return piece.file, piece.line + (text.count("\n", start, offset) if piece.kind == "text" else 0)

    def offset_of(self, checked: int) -> int:
        """Offset in the text with tokens of an offset in the checked text."""
        start, before = next((one for one in reversed(self.checked_at) if one[0] <= checked), (0, 0))
        return before + checked - start

    def fault(self, text: str, offset: int, message: str, **more: Any) -> None:
        file, line = self.place(text, offset)
        self.faults.append(Fault(message, file=file, line=line, **more))


def compile_mjml(
    pieces: Sequence[Piece], brand: Mapping[str, Any], locale: Locale | None = None
) -> tuple[list[Piece], list[Fault]]:
    """Html pieces from MJML pieces, css inlined; every jinja tag in the place its author gave it.

    Args:
        pieces: of the MJML file and its includes.
        brand: values that stand for `{{ brand.name }}` at once, so that colours and sizes can be attributes.
        locale: of the words; in one that is read from right to left, a layout that names no `dir` is mirrored.

    Returns:
        The pieces of the html, and the faults; with faults there are no pieces.
    """
    work = _Work()
    text = _with_tokens(pieces, brand, work)
    if not work.anchors or work.faults:
        return [], work.faults
    checked = _checked(text, work)
    if work.faults:
        return [], work.faults
    inline_css = "\n".join(_INLINE_STYLE.findall(checked))
    try:
        compiled = mjml.mjml2html(_INLINE_STYLE.sub(lambda style: " " * len(style[0]), checked), fonts={})
        if inline_css.strip():
            inliner = css_inline.CSSInliner(
                inline_style_tags=False, keep_style_tags=True, load_remote_stylesheets=False, extra_css=inline_css
            )
            compiled = inliner.inline(compiled)
    except (ValueError, css_inline.InlineError) as fault:
        if not re.search(r"<mjml\b", text):
            begins = " ".join(text.split())[:40]
            allowed = "<mjml><mj-body> ... </mj-body></mjml>, as in the layouts of the library"
            work.fault(text, 0, "not MJML", found=begins, allowed=allowed)
            return [], work.faults
        if _tell_unclosed(checked, text, work):
            return [], work.faults
        if "<mj-body" not in text:
            work.fault(text, 0, "a layout without <mj-body>", allowed="<mjml><mj-body> ... </mj-body></mjml>")
            return [], work.faults
        position = re.search(r"position (\d+):", str(fault))
        offset = work.offset_of(int(position[1])) if position else 0
        reason = re.sub(r" in root template.*", "", str(fault))
        work.fault(text, offset, f"not well-formed MJML: {reason}", allowed="every tag closed, attributes in quotes")
        return [], work.faults
    compiled = with_headings(with_layout_tables(compiled))
    compiled = re.sub(r"<!--jtc(\d+)z-->", lambda one: work.conditionals[int(one[1])], compiled)
    compiled = with_language(compiled, locale, directed=re.search(r"<mjml\b[^>]*\sdir\s*=", text) is not None)
    return _without_tokens(compiled, work)


def _with_tokens(pieces: Sequence[Piece], brand: Mapping[str, Any], work: _Work) -> str:
    parts = []
    length = 0
    for piece in pieces:
        part = piece.text
        if piece.kind != "text":
            constant = _BRAND.fullmatch(piece.text.strip()) if piece.kind == "value" else None
            if constant:
                part = _brand_value(constant[1], brand, piece, work)
            else:
                part = f"jtk{len(work.tags)}z"
                work.tags.append(piece)
        elif re.search(r"jtk\d+z", part):
            work.faults.append(Fault("this text is reserved", file=piece.file, line=piece.line, found="jtk...z"))
        work.anchors.append((length, piece))
        parts.append(part)
        length += len(part)
    return "".join(parts)


def _brand_value(path: str, brand: Mapping[str, Any], piece: Piece, work: _Work) -> str:
    if not brand:
        missing = "there is no brand: policies.yaml is missing beside the scenarios, or has none"
        work.faults.append(Fault(missing, file=piece.file, line=piece.line, allowed="brand: {name: …, colours: {…}}"))
        return ""
    value: Any = brand
    for name in path.lstrip(".").split("."):
        if not isinstance(value, Mapping) or name not in value:
            choices = [f"brand.{one}" for one in _paths(brand)]
            word = f"brand{path}"
            work.faults.append(
                Fault(
                    "no such value in the brand of policies.yaml",
                    file=piece.file,
                    line=piece.line,
                    found=word,
                    nearest=nearest(word, choices),
                )
            )
            return ""
        value = value[name]
    return html.escape(str(value), quote=True)


def _paths(values: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found += _paths(value, f"{before}{name}.") if isinstance(value, Mapping) else [f"{before}{name}"]
    return found


# --- checks on the way in ---------------------------------------------------------------------------------------------


def _checked(text: str, work: _Work) -> str:
    styles = [match.span(2) for match in _STYLE.finditer(text)]
    for start, end in styles:
        token = _TOKEN.search(text, start, end)
        if token:
            work.fault(text, token.start(), "no jinja inside a style sheet", allowed="{{ brand... }} only")
    parts: list[str] = []
    length = 0
    at = 0
    bodies: list[bool] = []
    opened: list[tuple[str, int]] = []

    def add(part: str, offset: int) -> None:
        nonlocal length
        work.checked_at.append((length, offset))
        parts.append(part)
        length += len(part)

    for match in _MARKUP.finditer(text):
        if any(start <= match.start() < end for start, end in styles):
            continue
        _check_stretch(text, at, match.start(), styles, work)
        add(_statements_hidden(text[at : match.start()], work, styles, at), at)
        at = match.end()
        if match[2] is None:
            add(_comment(match[0], work), match.start())
            continue
        name = match[2].lower()
        _check_tag(text, match, name, work)
        _check_closed(text, match, name, opened, work)
        add(_table_bodies(text, match, name, bodies), match.start())
    _check_stretch(text, at, len(text), styles, work)
    add(_statements_hidden(text[at:], work, styles, at), at)
    for name, offset in opened:
        work.fault(text, offset, "this tag is not closed", found=f"<{name}>")
    return "".join(parts)


def _comment(comment: str, work: _Work) -> str:
    if not comment.startswith(("<!--[if", "<!--<![endif")):
        # A note of the author's; the jinja in it is left out with it.
        work.dropped.update(int(token[1] or token[2]) for token in _TOKEN.finditer(comment))
        return ""
    # MJML's reader stumbles over `<!--[if !mso]><!-->`, so what is meant for Outlook waits as a token too.
    work.conditionals.append(comment)
    return f"<!--jtc{len(work.conditionals) - 1}z-->"


def _check_closed(text: str, match: re.Match[str], name: str, opened: list[tuple[str, int]], work: _Work) -> None:
    if not name.startswith("mj"):
        return
    if not match[1]:
        if not match[3].rstrip().endswith("/"):
            opened.append((name, match.start()))
    elif opened and opened[-1][0] == name:
        opened.pop()
    elif any(one == name for one, _ in opened):
        while opened[-1][0] != name:
            unclosed, offset = opened.pop()
            work.fault(text, offset, "this tag is not closed", found=f"<{unclosed}>")
        opened.pop()
    else:
        work.fault(text, match.start(), "this tag closes nothing", found=f"</{name}>")


def _tell_unclosed(checked: str, text: str, work: _Work) -> bool:
    """Where MJML's reader gave up: a tag of html that is not closed, or closes nothing; whether there is one."""
    opened: list[tuple[str, int]] = []
    styles = [match.span(2) for match in _STYLE.finditer(checked)]
    for match in _MARKUP.finditer(checked):
        name = (match[2] or "").lower()
        styled = any(start <= match.start() < end for start, end in styles)
        if not name or name in _VOID or styled or (not match[1] and match[3].rstrip().endswith("/")):
            continue
        if not match[1]:
            opened.append((name, match.start()))
        elif opened and opened[-1][0] == name:
            opened.pop()
        else:
            inner = any(one == name for one, _ in opened)
            wrong, offset = opened[-1] if inner else (name, match.start())
            message, tag = (
                ("this tag is not closed", f"<{wrong}>") if inner else ("this tag closes nothing", f"</{wrong}>")
            )
            work.fault(text, work.offset_of(offset), message, found=tag)
            return True
    for name, offset in opened[-1:]:
        work.fault(text, work.offset_of(offset), "this tag is not closed", found=f"<{name}>")
    return bool(opened)


def _check_stretch(text: str, start: int, end: int, styles: list[tuple[int, int]], work: _Work) -> None:
    """Between two tags: what looks like one and is none, of which MJML's reader says no place."""
    at = text.find("<", start, end)
    if at < 0 or any(begin <= at < stop for begin, stop in styles):
        return
    found = text[at:end].partition("\n")[0].strip()[:60]
    foreign = re.match("<%=?.*?%>", text[at:end])
    allowed = (
        f"jinja: {instead_of(foreign[0])}" if foreign else "&lt; for the sign; a tag with its attributes in quotes"
    )
    work.fault(text, at, "a < that begins no tag", found=found, allowed=allowed)


def _statements_hidden(text: str, work: _Work, styles: list[tuple[int, int]], offset: int) -> str:
    if any(start <= offset < end for start, end in styles):
        return text

    # A comment stays where it is even between the rows of a table, where text would be moved out.
    def hidden(match: re.Match[str]) -> str:
        piece = work.tags[int(match[2])]
        return f"<!--{match[0]}-->" if piece.kind == "statement" else match[0]

    return re.sub(r"(jtk(\d+)z)", hidden, text)


def _table_bodies(text: str, match: re.Match[str], name: str, bodies: list[bool]) -> str:
    # An html parser puts rows into a tbody of its own making, in the middle of a loop; so it is there from the start.
    tag = re.sub(r"\s*\n\s*", " ", match[0])
    if name not in ("table", "mj-table"):
        return tag
    if match[1]:
        return ("</tbody>" if bodies and bodies.pop() else "") + tag
    following = re.match(r"(?:\s|<!--.*?-->|jtk\d+z)*<([a-z]+)", text[match.end() :], re.DOTALL)
    bodies.append(following is not None and following[1] == "tr")
    return tag + ("<tbody>" if bodies[-1] else "")


def _check_tag(text: str, match: re.Match[str], name: str, work: _Work) -> None:
    at = match.start()
    if name.startswith("mj") and name not in MJML_TAGS:
        if name == "mj-include":
            work.fault(text, at, "mj-include is not supported", allowed='{% include "brand/_footer.mjml" %}')
        else:
            work.fault(text, at, "no such MJML tag", found=f"<{match[2]}>", nearest=nearest(name, MJML_TAGS))
    if name in _REFUSED_TAGS:
        work.fault(text, at, "mail programs drop or distrust this tag", found=f"<{match[2]}>")
    rest = match[3]
    outside = _ATTRIBUTE.sub("", rest)
    if "=" in outside and not match[1] and not _TOKEN.search(outside):
        found = " ".join(match[0].split())[:60]
        work.fault(text, at, "an attribute without quotes", found=found, allowed='name="value"')
        return
    if _TOKEN.search(outside):
        work.fault(
            text,
            at,
            "jinja inside a tag stands in a quoted attribute",
            found=f"<{name} ...>",
            allowed='href="{{ ... }}"',
        )
    for attribute in _ATTRIBUTE.finditer(rest):
        if name.startswith("mj-") and attribute[1].lower() in _MEANT:
            meant = _MEANT[attribute[1].lower()]
            work.fault(text, at, "MJML passes this attribute over", found=f"{attribute[1]}=", nearest=f"{meant}=")
        _check_attribute(text, at, name, attribute[1].lower(), attribute[2] or attribute[3] or "", work)


def _check_attribute(text: str, at: int, tag: str, name: str, value: str, work: _Work) -> None:
    if name.startswith("on") and not tag.startswith("mj"):
        work.fault(text, at, "mail programs refuse scripts", found=f"{name}=")
    if name in _LINK_ATTRIBUTES and _BAD_SCHEME.match(html.unescape(value)):
        work.fault(text, at, "a link that runs code or hides its goal", found=value[:60], allowed="https://")
    tokens = [work.tags[int(match[1] or match[2])] for match in _TOKEN.finditer(value)]
    if not tokens:
        return
    if (name not in _VALUE_ATTRIBUTES and name not in _LINK_ATTRIBUTES) and not (tag == "mjml" and name == "dir"):
        work.fault(
            text,
            at,
            "no jinja in this attribute but {{ brand... }}",
            found=f"{name}=",
            allowed="values in href, src, alt, title",
        )
    elif name in _LINK_ATTRIBUTES:
        _check_link(text, at, name, value, tokens, work)


def _check_link(text: str, at: int, name: str, value: str, tokens: list[Piece], work: _Work) -> None:
    begins = _TOKEN.match(value)
    first = _TOKEN.search(value)
    literal = _LITERAL_HOST.match(value, 0, first.start() if first else len(value))
    if begins and _is_checked_link(tokens[0]):
        rest = tokens[1:]
    elif literal:
        rest = tokens
    else:
        found = "{{" + tokens[0].text + "}}"
        near = nearest(tokens[0].text.strip(), ("unsubscribe",))
        allowed = "{{ link(value) }}"
        work.fault(
            text, at, "a link from a value is not checked", found=f"{name}={found}", allowed=allowed, nearest=near
        )
        return
    for piece in rest:
        if piece.kind == "value" and not piece.text.rstrip().endswith("| urlencode"):
            work.fault(
                text,
                at,
                "a value inside a link is not encoded",
                found="{{" + piece.text + "}}",
                allowed="{{ value | urlencode }}, or link(url, name=value)",
            )


def _is_checked_link(piece: Piece) -> bool:
    if piece.kind != "value":
        return False
    try:
        output = Environment(autoescape=True).parse("{{" + piece.text + "}}").body[0]
    except TemplateSyntaxError:
        return True  # named with its line when the whole is compiled
    return isinstance(output, nodes.Output) and all(_gives_link(node) for node in output.nodes)


def _gives_link(node: nodes.Node | None) -> bool:
    if isinstance(node, nodes.CondExpr):
        return _gives_link(node.expr1) and _gives_link(node.expr2)
    if isinstance(node, nodes.Call):
        return isinstance(node.node, nodes.Name) and node.node.name == "link"
    return isinstance(node, nodes.Name) and node.name == "unsubscribe"


# --- checks on the way out --------------------------------------------------------------------------------------------


def _without_tokens(compiled: str, work: _Work) -> tuple[list[Piece], list[Fault]]:
    pieces: list[Piece] = []
    at = 0
    statements = []
    seen = set(work.dropped)
    first = work.anchors[0][1]
    for match in _TOKEN.finditer(compiled):
        number = int(match[1] or match[2])
        tag = work.tags[number]
        if match.start() > at:
            pieces.append(Piece("text", compiled[at : match.start()], tag.file, tag.line))
        pieces.append(tag)
        at = match.end()
        seen.add(number)
        if tag.kind == "statement":
            statements.append(number)
    pieces.append(Piece("text", compiled[at:], first.file, first.line))
    for number, tag in enumerate(work.tags):
        if number not in seen:
            work.faults.append(
                Fault("MJML leaves this out where it stands", file=tag.file, line=tag.line, found=tag.text.strip())
            )
    expected = [n for n, tag in enumerate(work.tags) if tag.kind == "statement" and n not in work.dropped]
    if not work.faults and statements != expected:
        moved = next(
            (one for one, other in zip(expected, statements, strict=False) if one != other),
            (expected or statements)[-1],
        )
        tag = work.tags[moved]
        work.faults.append(
            Fault(
                "MJML repeats or moves this jinja tag",
                file=tag.file,
                line=tag.line,
                found=tag.text.strip(),
                allowed="if and for around whole sections, columns, texts, or inside a text",
            )
        )
    return ([], work.faults) if work.faults else (pieces, [])
