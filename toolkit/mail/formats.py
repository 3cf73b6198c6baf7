"""Money, numbers, dates and links as a mail shows them, by locale."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from urllib.parse import quote, urlencode, urlsplit

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision, list_currencies

from toolkit.errors import nearest

__all__ = ["ShownError", "as_date", "as_link", "as_money", "as_number", "as_percent", "as_time", "locale_of"]

_DATE_STYLES = ("short", "medium", "long", "full")
_PATTERN = re.compile(r"[\w\s.,:;/'’()-]{1,40}")
_QUOTED = re.compile("'[^']*'")
_NOT_OF_A_DAY = re.compile("[A-Za-z](?<![GyMLdEec])")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")
_NOT_IN_A_LINK = re.compile(r"[\s\x00-\x1f\x7f<>\"\\^`{|}\u2028\u2029]")
_LONGEST_LINK = 900  # so that an unfolded List-Unsubscribe stays under 998 bytes


class ShownError(ValueError):
    """A value that cannot be shown as a template asks; the value stands apart, since it differs from mail to mail."""

    def __init__(self, message: str, found: object, near: str | None = None) -> None:
        shown = found if len(repr(found)) <= 120 else str(found)[:119] + "…"
        super().__init__(f"{message}; found {shown!r}" + (f"; did you mean {near!r}?" if near else ""))
        self.message = message
        self.found = shown
        self.near = near


@lru_cache(maxsize=512)
def locale_of(name: str) -> Locale:
    """The Babel locale of a name such as `fr`, `fr_FR` or `fr-FR`; of a browser's list the first.

    Raises:
        ValueError: there is no such locale.

    >>> str(locale_of("fr-FR")), str(locale_of("de-AT,de;q=0.9,en;q=0.8"))
    ('fr_FR', 'de_AT')
    """
    try:
        return Locale.parse(re.split("[,;]", name)[0].strip().replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError) as fault:
        raise ShownError("expected a locale such as en, fr or fr_FR", name) from fault


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ShownError("expected a number", value)
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite() or abs(number) >= Decimal(10) ** 18:
        raise ShownError("expected a number under 10^18", value)
    return number


@lru_cache(maxsize=1 << 16)
def as_money(value: float | Decimal, currency: str, locale: Locale) -> str:
    """An amount with its currency, rounded half up to the currency's places.

    >>> as_money(1234.5, "EUR", locale_of("en"))
    '€1,234.50'
    """
    if not isinstance(currency, str) or currency not in list_currencies():
        near = nearest(str(currency), list_currencies())
        raise ShownError("expected a currency such as EUR", currency, near)
    places = Decimal(1).scaleb(-get_currency_precision(currency))
    amount = _number(value).quantize(places, rounding=ROUND_HALF_UP)
    return str(format_currency(amount, currency, locale=locale))


@lru_cache(maxsize=1 << 16)
def as_number(value: float | Decimal, decimals: int | None, locale: Locale) -> str:
    """A number with the locale's separators; with `decimals` exactly so many places, 0 to 6."""
    number = _number(value)
    if decimals is None:
        return str(format_decimal(number, locale=locale))
    if not isinstance(decimals, int) or not 0 <= decimals <= 6:
        raise ShownError("expected 0 to 6 decimals", decimals)
    number = number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(format_decimal(number, format=pattern, locale=locale))


@lru_cache(maxsize=4096)
def as_percent(value: float | Decimal, locale: Locale) -> str:
    """A percentage as an offer names it (10 is ten percent), with the locale's sign and space.

    >>> as_percent(10, locale_of("en"))
    '10%'
    """
    share = _number(value) / 100
    return str(format_percent(share, locale=locale, decimal_quantization=False))


def _moment(value: object, zone: tzinfo) -> date:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        except ValueError as fault:
            raise ShownError("expected a date, or text such as 2026-03-14", value) from fault
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(zone)
    if isinstance(value, date):
        return value
    raise ShownError("expected a date", value)


def as_date(value: object, style: str, locale: Locale, zone: tzinfo) -> str:
    """A date in the customer's zone and language: short, medium, long, full, or a pattern such as `EEEE d MMMM`.

    >>> as_date("2026-03-14", "long", locale_of("fr"), UTC)
    '14 mars 2026'
    """
    moment = _moment(value, zone)
    day = moment.date() if isinstance(moment, datetime) else moment
    return _day(day, style, locale)


@lru_cache(maxsize=1 << 14)
def _day(day: date, style: str, locale: Locale) -> str:
    if style not in _DATE_STYLES and not _PATTERN.fullmatch(style):
        message = f"expected {', '.join(_DATE_STYLES)} or a pattern such as 'EEEE d MMMM'"
        raise ShownError(message, style, _pattern_meant(style))
    odd = None if style in _DATE_STYLES else _NOT_OF_A_DAY.search(_QUOTED.sub("", style))
    if odd is not None:
        # D is the day of the year and Y the year of the week: 11 March would read 70/03.
        message = f"{odd[0]!r} in a pattern: a date has d, M, y and E, a time of day its own filter, time"
        raise ShownError(message, style, _pattern_meant(style))
    return str(format_date(day, format=style, locale=locale))


def _pattern_meant(style: str) -> str | None:
    """The pattern of one in Python's letters, in German or French ones, or in large ones."""
    by_letter = {"%d": "dd", "%-d": "d", "%m": "MM", "%-m": "M", "%B": "MMMM", "%Y": "yyyy", "%y": "yy", "%A": "EEEE"}
    meant = re.sub("%-?[A-Za-z]", lambda sign: by_letter.get(sign[0], sign[0]), style)
    if meant == style:
        meant = style.translate(str.maketrans("DTjJYAam", "dddyyyyM"))
    right = meant != style and _PATTERN.fullmatch(meant) and not _NOT_OF_A_DAY.search(_QUOTED.sub("", meant))
    return meant if right else None


def as_time(value: object, locale: Locale, zone: tzinfo) -> str:
    """The time of day of a moment, in the customer's zone and language, to the minute."""
    moment = _moment(value, zone)
    if not isinstance(moment, datetime):
        raise ShownError("expected a moment with a time of day", value)
    return str(format_time(moment.time().replace(second=0, microsecond=0), format="short", locale=locale))


def as_link(url: object, **query: object) -> str:
    """A link that is safe to put into a mail: https, a plain host, no spaces, quotes or control characters.

    Args:
        url: starts with `https://`; other letters than ASCII are percent-encoded.
        **query: added to the query string, percent-encoded.

    Returns:
        The link.

    Raises:
        ValueError: not such a link (`javascript:`, `http:`, user names in front of the host ...), or too long.

    >>> as_link("https://shop.example.com/cart", item="a b&c")
    'https://shop.example.com/cart?item=a%20b%26c'
    """
    if not isinstance(url, str):
        raise ShownError("expected a link that starts with https://", url)
    checked = _checked_link(url)
    if query:
        for name, value in query.items():
            if not isinstance(value, str | int | float):
                raise ShownError(f"expected text or a number for {name!r} of a link", value)
        path, hash_sign, fragment = checked.partition("#")
        path += ("&" if "?" in path else "?") + urlencode(query, quote_via=quote)
        checked = path + hash_sign + fragment
    if len(checked) > _LONGEST_LINK:
        raise ShownError(f"expected a link of at most {_LONGEST_LINK} characters", len(checked))
    return checked


@lru_cache(maxsize=1 << 14)
def _checked_link(url: str) -> str:
    if not url[:8].lower() == "https://" or _NOT_IN_A_LINK.search(url):
        raise ShownError("expected a link that starts with https://, without spaces or quotes", url)
    try:
        host = urlsplit(url).netloc
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as fault:
        raise ShownError("expected a link with a host", url) from fault
    if not _HOST.fullmatch(ascii_host) or ".." in ascii_host:
        raise ShownError("expected a link with a plain host", url)
    return "https://" + ascii_host + quote(url[8 + len(host) :], safe="%/?:@!$&'()*+,;=~#[]")
