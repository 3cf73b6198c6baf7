"""Tables of results as people read them in a notebook: words to the left, numbers to the right and apart by thousands,
shares in percent, a dash for what is not known, and names that break rather than push the page."""

from __future__ import annotations

import datetime as dt
import html
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

__all__ = [
    "counted",
    "day_text",
    "lines_html",
    "minus",
    "number_text",
    "offer_words",
    "priced",
    "reason_text",
    "short_text",
    "table_html",
    "text_html",
    "words_width",
]

_DIGITS = 3
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}
_AMOUNT = re.compile(rf"(\d[\d.]*) ({'|'.join(_SIGNS)})\b")
_REASONS = {
    "no_address": "no address",
    "suppressed": "address suppressed after a hard bounce",
    "unsubscribed": "no consent, or unsubscribed",
    "exited": "journey ended while the mail was held",
    "quiet_expired": "held too long by quiet hours",
    "cap": "limit of mails a person reached",
    "holdout": "in the control group",
    "superseded": "journey began again while the mail was held",
    "coupon_empty": "no coupon left",
    "render_error": "the mail could not be made",
    "too_late": "too late to be sent",
    "paused": "sending was paused",
    "unknown_delivery": "an earlier sending may have arrived",
}
_CODE = re.compile("`([^`]+)`")
_BEFORE_SIGN = re.compile("−(?=[€$£])")
_NOTHING = 1e-9
_WORDS = "text-align:left;overflow-wrap:anywhere;min-width:calc({}ch + 1.2em)"
_WIDEST = 24  # letters of a column of words, before its names break
_UNBROKEN = "white-space:nowrap;"
# A table wider than its pane fades towards an edge behind which there is more; where all of it is seen nothing does.
_FADE = "rgba(0,0,0,.15)"
_MORE = (
    "<style>.tk-table{overflow-x:auto}@supports(animation-timeline:scroll()){"
    ".tk-table{animation:tk-more linear both;animation-timeline:scroll(self inline)}}@keyframes tk-more{"
    f"0%{{mask-image:linear-gradient(90deg,#000 calc(100% - 3em),{_FADE})}}"
    f"1%,99%{{mask-image:linear-gradient(90deg,{_FADE},#000 3em,#000 calc(100% - 3em),{_FADE})}}"
    f"100%{{mask-image:linear-gradient(90deg,{_FADE},#000 3em)}}}}"
    "@media print{.tk-table{overflow:visible;animation:none}"  # paper does not scroll: a wide table is set smaller
    ".tk-table:has(th:nth-child(6)) table{font-size:8px!important}"
    ".tk-table:has(th:nth-child(6)) :is(th,td){padding:3px 5px!important;min-width:0!important}}</style>"
)
_NUMBER = f"text-align:right;{_UNBROKEN}font-variant-numeric:tabular-nums"


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun, whose plural ends in s unless it is given.

    >>> counted(1, "mail"), counted(12_000, "mail"), counted(2, "copy", "copies")
    ('1 mail', '12,000 mails', '2 copies')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def day_text(moment: dt.date, rest: str = "%b %Y") -> str:
    """A day as screens and pictures write it.

    Args:
        moment: in the zone it is told in.
        rest: what follows the number of the day, as for `strftime`.

    >>> day_text(dt.datetime(2025, 5, 5)), day_text(dt.datetime(2025, 5, 5, 6, 1), "%b %H:%M")
    ('5 May 2025', '5 May 06:01')
    """
    return f"{moment.day} {moment:{rest}}"


def minus(number: str) -> str:
    """A number in words with the minus sign that print and pictures have, and none before nothing.

    >>> minus("-3.02"), minus("3.02"), minus("-0.0")
    ('−3.02', '3.02', '0.0')
    """
    if not number.startswith("-"):
        return number
    return f"−{number[1:]}" if number.strip("-0.,% ") else number[1:]


def priced(number: str, currency: str) -> str:
    """A number in words as an amount of money: its sign first, then the currency's.

    >>> priced("-3.02", "EUR"), priced("+1,235", "USD"), priced("-12.50", "CHF")
    ('−€3.02', '+$1,235', '−12.50 CHF')
    """
    number, symbol = minus(number), _SIGNS.get(currency)
    if symbol is None:
        return f"{number} {currency}"
    sign = number[:1] if number[:1] in "+−" else ""
    return f"{sign}{symbol}{number.removeprefix(sign)}"


def short_text(value: object) -> str:
    """A value as text, a number without digits that tell nothing.

    >>> short_text(10.0), short_text(0.25), short_text("4h"), short_text(True)
    ('10', '0.25', '4h', 'True')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def reason_text(reason: str) -> str:
    """Why a mail was not sent, in plain words.

    Args:
        reason: one of `tables.REASONS`; what is none is told without its underscores.

    >>> reason_text("quiet_expired"), reason_text("sent_before")
    ('held too long by quiet hours', 'sent before')
    """
    return _REASONS.get(reason, reason.replace("_", " "))


def offer_words(offer: str) -> str:
    """An offer as tables of data have it, for people: amounts with the sign of their currency.

    >>> offer_words("5 EUR off, from 20 EUR, valid 3d"), offer_words("50 SEK off"), offer_words("10% off")
    ('€5 off, from €20, valid 3d', '50 SEK off', '10% off')
    """
    return _AMOUNT.sub(lambda found: priced(found[1], found[2]), offer)


def number_text(value: object, *, share: bool = False) -> str:
    """A value of a table in words: three digits that tell, never an exponent.

    Args:
        value: a number, a moment, a text.
        share: it is a share between 0 and 1, told in percent.

    >>> [number_text(one) for one in (12_345, 11_473.26, 0.0004321, 3.0, 1.5e13, float("nan"), True, "4h")]
    ['12,345', '11,473', '0.000432', '3', '15,000,000,000,000', '–', 'yes', '4h']
    >>> number_text(0.12345, share=True), number_text(1e-12), number_text(float("-inf")), number_text(-1200)
    ('12.3%', '0', '−∞', '−1,200')
    """
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return minus(f"{value:,}")
    if not isinstance(value, float):
        return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, pd.Timestamp) else str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if share:
        return minus(f"{100 * value:.1f}%")
    size = abs(value)
    if size < _NOTHING:
        return "0"
    places = max(0, _DIGITS - 1 - math.floor(math.log10(size)))
    text = minus(f"{value:,.{places}f}")
    return text.rstrip("0").rstrip(".") if places else text


def table_html(table: pd.DataFrame, *, names: Mapping[str, str] | None = None, numbers: Iterable[str] = ()) -> str:
    """A small table for a notebook.

    Args:
        table: a row for each line; its index is left out. Columns that end in `_rate` or `_share`, and `probability`
            columns, are shares.
        names: headings by column; underscores become spaces unless given.
        numbers: columns of numbers that are words already.
    """
    names = names or {}
    able = {name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])} | set(numbers)
    able -= {name for name in table.columns if pd.api.types.is_bool_dtype(table[name])}
    styles = {name: _NUMBER if name in able else _WORDS.format(words_width(table[name], str(name))) for name in table}
    told = {name: html.escape(names.get(str(name)) or _heading(str(name))) for name in table}
    head = "".join(f'<th style="{styles[name].replace(_UNBROKEN, "")}">{told[name]}</th>' for name in table)
    rows = "".join(
        "<tr>"
        + "".join(f'<td style="{styles[name]}">{_cell(name, value, able)}</td>' for name, value in row.items())
        + "</tr>"
        for row in table.to_dict("records")
    )
    whole = f'<table border="0" class="dataframe"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="tk-table">{_MORE}{whole}</div>'


def text_html(text: str) -> str:
    """Text as HTML, in which no line ends between the minus of an amount and its currency, and `code` looks like code.

    >>> text_html("[−€3.02, €17.21] & more")
    '[−&#8288;€3.02, €17.21] &amp; more'
    >>> text_html("Send `welcome/hello`.")
    'Send <code>welcome/hello</code>.'
    """
    return _CODE.sub(r"<code>\1</code>", _BEFORE_SIGN.sub("−&#8288;", html.escape(text)))


def lines_html(lines: Iterable[str], *, first: bool = False) -> str:
    """Lines of text, close together; the first one bold where asked."""
    told = [text_html(line) for line in lines]
    if first and told:
        told[0] = f"<b>{told[0]}</b>"
    return "".join(f'<p style="margin:.2em 0;overflow-wrap:anywhere">{line}</p>' for line in told)


def words_width(column: pd.Series, heading: str = "") -> int:
    """How many letters wide a column of words is at least, so that a short name never breaks."""
    return min(_WIDEST, max([len(heading), *(len(str(value)) for value in column)]))


def _heading(name: str) -> str:
    return name if "." in name else name.replace("_", " ")  # a path is copied as it is


def _cell(name: Any, value: object, numbers: set[Any]) -> str:
    text = number_text(value, share=str(name).endswith(("_rate", "_share")) or str(name).startswith("probability"))
    return "" if text == "–" and name not in numbers else html.escape(text)
