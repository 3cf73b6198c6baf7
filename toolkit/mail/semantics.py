"""What html of MJML leaves unsaid to a screen reader and to right-to-left languages.

MJML writes a headline as a `<div>`, leaves the direction of a mail to its first letter, and lays everything out from
the left. Here the html says it: layout tables are no tables of data, a text of class `h1`, `h2` or `h3` is that
heading, and in Arabic, Hebrew or Persian left and right change places.
"""

from __future__ import annotations

import re

from babel import Locale

__all__ = ["with_headings", "with_language", "with_layout_tables"]

_HEADING = re.compile(
    r"""<td\b[^>]*\bclass="(?:[^"]*\s)?(h[123])(?=[\s"])[^>]*>\s*(<div\s(?:[^>]*?\s)?style=")([^"]*)("[^>]*>)"""
)
_DIV = re.compile(r"<(/?)div\b[^>]*>")
_WHOLE = r'(<html\b[^>]*?|<div\b[^>]*?\srole="article"[^>]*?)'
_NO_LANGUAGE = re.compile(_WHOLE + r'\slang="und"')
_NO_DIRECTION = re.compile(_WHOLE + r'\sdir="auto"')
_STYLE = re.compile(r"""(\sstyle=")([^"]*)|(<style\b[^>]*>)(.*?)(?=</style>)""", re.DOTALL)
_RULE = re.compile(r"\{([^{}]*)\}")
_ALIGN = re.compile(r"""(<(?!img\b)[A-Za-z][^<>]*?\salign=")(left|right)(?=")""")
_SIDE = re.compile(r"(?<=[-:\s])(left|right)(?=\s*(?:[-:;!}]|$))|(?<=direction:)\s*(ltr|rtl)")
_FOUR = re.compile(r"(?<![\w-])(padding|margin|mso-padding-alt|border-radius)(\s*:\s*)([^;{}!]*)")
_OTHER = {"left": "right", "right": "left", "ltr": "rtl", "rtl": "ltr"}


def with_layout_tables(html: str) -> str:
    """Tables without a heading are layout: a screen reader is to read what stands in them, not their rows and columns.

    MJML says so of its own tables, and mrml leaves it out of mj-table.
    """

    def told(table: re.Match[str]) -> str:
        inside = html[table.end() : html.find("</table>", table.end())]
        return table[0] if "<th" in inside.replace("<thead", "") else f'<table role="presentation"{table[1]}>'

    return re.sub(r"<table(?![^>]*\srole=)(\s[^>]*|)>", told, html)


def with_headings(html: str) -> str:
    """A text whose css-class has h1, h2 or h3 becomes that heading, and looks as it did.

    >>> with_headings('<td class="big h1"><div style="color:red;">Hello</div></td>')
    '<td class="big h1"><h1 style="margin:0;font-weight:400;color:red;">Hello</h1></td>'
    """
    parts = []
    at = 0
    for match in _HEADING.finditer(html):
        level, opened, style, rest = match.groups()
        end = _end_of_div(html, match.end())
        if match.start() < at or end is None:
            continue
        looks = "margin:0;" + ("" if "font-weight:" in style else "font-weight:400;") + style
        parts += [html[at : match.start(2)], opened.replace("<div", f"<{level}"), looks, rest]
        parts += [html[match.end() : end], f"</{level}>"]
        at = end + len("</div>")
    return "".join([*parts, html[at:]])


def _end_of_div(html: str, start: int) -> int | None:
    """Where the tag begins that closes a div whose words begin at a place."""
    depth = 1
    for tag in _DIV.finditer(html, start):
        depth += -1 if tag[1] else 1
        if not depth:
            return tag.start()
    return None


def with_language(html: str, locale: Locale | None, *, directed: bool = False) -> str:
    """The mail with its language, and with the direction of that language where its layout names none.

    Args:
        html: as MJML compiles a layout that is written from left to right.
        locale: of the language; None for one that nobody knows.
        directed: the layout says which direction it has.
    """
    if locale is not None:
        html = _NO_LANGUAGE.sub(rf'\1 lang="{str(locale).replace("_", "-")}"', html)
    if directed:
        return html
    leftwards = locale is not None and locale.text_direction == "rtl"
    html = _NO_DIRECTION.sub(rf'\1 dir="{"rtl" if leftwards else "ltr"}"', html)
    if not leftwards:
        return html
    html = _STYLE.sub(lambda one: one[1] + _mirrored(one[2]) if one[1] else one[3] + _sheet_mirrored(one[4]), html)
    return _ALIGN.sub(lambda one: one[1] + _OTHER[one[2]], html)


def _sheet_mirrored(sheet: str) -> str:
    return _RULE.sub(lambda rule: "{" + _mirrored(rule[1]) + "}", sheet)


def _mirrored(css: str) -> str:
    css = _SIDE.sub(lambda side: _OTHER[side[1] or side[2]], css)
    return _FOUR.sub(lambda one: one[1] + one[2] + _four(one[1], one[3]), css)


def _four(name: str, values: str) -> str:
    four = values.split()
    if len(four) != 4:
        return values
    first, second, third, fourth = four
    order = (second, first, fourth, third) if name == "border-radius" else (first, fourth, third, second)
    return " ".join(order) + values[len(values.rstrip()) :]
