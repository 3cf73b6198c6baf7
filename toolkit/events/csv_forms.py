"""How a CSV file spells dates, times and numbers where it is not as ISO 8601 and with a decimal point."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

from toolkit.errors import EventLogError, did_you_mean, is_one_of, shown
from toolkit.events.quoting import literal

__all__ = ["DATE", "FORMATS", "ISO", "CsvForm", "is_decimal", "with_point"]

_ORDERS = ("day first", "month first")
DATE = r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})"
_TIME = r"(?:,? +|T)(\d{1,2}:\d{2}(?::\d{2}(?:[.]\d+)?)?)"
_TWELVE = r" *([AaPp])[.]?[Mm][.]?"
_TWO_DIGITS = r"\d{2}[./-]\d{2}[./-]\d{4}( \d{2}:\d{2}(:\d{2})?)?"
_PARTS = ("one", "other", "year", "clock", "half", "zone")
_THOUSANDS = ".'’ \u00a0\u202f"
_NUMBER = rf"[+-]?(0|[1-9]\d*|[1-9]\d{{0,2}}([{_THOUSANDS}]\d{{3}})+)(,\d+)?"
FORMATS = (
    "allowed: 'day first' (27.11.2026, 27/11/2026 14:05), 'month first' (11/27/2026, 11/27/2026 2:05 PM), or a format "
    "of strptime with year, month and day, such as '%d.%m.%y %H:%M'"
)


@dataclass(frozen=True, slots=True)
class CsvForm:
    """What is said of CSV files: the format of dates and times, the sign before decimals, the encoding.

    Raises:
        EventLogError: none that can be; says which are allowed.
    """

    date_format: str | None = None
    decimal: str = "."
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.date_format is not None and not is_one_of(self.date_format, _ORDERS):
            _check_format(self.date_format)
        if not is_one_of(self.decimal, (".", ",")):
            raise EventLogError(f"decimal={shown(self.decimal)}; allowed: '.' (19.90) or ',' (19,90)")
        if self.encoding is not None:
            try:
                "a".encode(self.encoding)
            except (LookupError, TypeError, ValueError):
                raise EventLogError(
                    f"encoding={shown(self.encoding)}; allowed: one that Python knows, such as 'cp1252' (Excel in "
                    "western Europe), 'latin-1', 'utf-8' or 'utf-16'"
                ) from None

    @property
    def words(self) -> str:
        """How its dates are, for a message."""
        if self.date_format in _ORDERS:
            return f"with the {self.date_format}"
        return f"in the form {self.date_format!r}"

    def iso(self, x: str) -> str:
        """SQL of a text of this form as ISO 8601; NULL where it is none."""
        if self.date_format in _ORDERS:
            return _iso_by_order(x, day_first=self.date_format == "day first")
        form = str(self.date_format)
        moment = f"try_strptime(trim({x}), {literal(form)})"
        if re.search(r"%[zZ]", form):
            return f"strftime(({moment})::TIMESTAMP, '%Y-%m-%d %H:%M:%S.%f') || 'Z'"
        return f"strftime({moment}, '{'%Y-%m-%d %H:%M:%S.%f' if _has_time(form) else '%Y-%m-%d'}')"


ISO = CsvForm()
"""What holds where nothing is said."""


def _has_time(form: str) -> bool:
    return re.search(r"%-?[HIMSfgnspTXc]", form) is not None


def _check_format(form: object) -> None:
    if not isinstance(form, str):
        raise EventLogError(f"date_format={shown(form)}; {FORMATS}")
    hint = did_you_mean(form, _ORDERS)
    year, month, day = (re.search(f"%-?[{signs}]", form) for signs in ("Yy", "mbB", "d"))
    if not (year and month and day):
        raise EventLogError(f"date_format={shown(form)}{hint}; {FORMATS}")
    try:
        duckdb.execute(f"SELECT try_strptime('', {literal(form)})")
    except duckdb.Error as fault:
        said = str(fault).splitlines()[0].rpartition("Error: ")[2]
        raise EventLogError(f"date_format={shown(form)}: {said}; {FORMATS}") from fault


def _iso_by_order(x: str, *, day_first: bool) -> str:
    day, month = ("one", "other") if day_first else ("other", "one")
    any_form = f"^{DATE}(?:{_TIME}(?:{_TWELVE}|( *(?:Z|[+-].*| [A-Za-z].*)?))?)?$"
    parts = f"regexp_extract(trim({x}), {literal(any_form)}, {list(_PARTS)})"
    date = f"m.year || '-' || lpad(m.{month}, 2, '0') || '-' || lpad(m.{day}, 2, '0')"
    clock = (
        "CASE WHEN m.half = '' THEN m.clock || m.zone ELSE strftime(try_strptime(m.clock || upper(m.half) || 'M', "
        "['%I:%M%p', '%I:%M:%S%p', '%I:%M:%S.%f%p']), '%H:%M:%S.%f') END"
    )
    iso = f"CASE WHEN m.clock = '' THEN {date} ELSE {date} || ' ' || {clock} END"
    is_moment = "isfinite(TRY_CAST(iso AS TIMESTAMPTZ))"
    # A lambda gives what is computed once a name: the parts of the pattern are what takes the time. The most frequent
    # form needs none of them.
    spelled = f"list_transform([{parts}], lambda m: {iso})[1]"
    first, second = f"{x}[1:2]", f"{x}[4:5]"
    month, day = (second, first) if day_first else (first, second)
    quick = f"{x}[7:10] || '-' || {month} || '-' || {day} || {x}[11:]"
    either = f"CASE WHEN regexp_full_match({x}, {literal(_TWO_DIGITS)}) THEN {quick} ELSE {spelled} END"
    return f"list_transform([{either}], lambda iso: CASE WHEN {is_moment} THEN iso END)[1]"


def is_decimal(x: str) -> str:
    """SQL flag: the text is a number whose decimals stand after a comma, or a whole one.

    >>> duckdb.execute(f"SELECT {is_decimal('x')} FROM (VALUES ('1.234,5'), ('1.5'), ('007')) t(x)").fetchall()
    [(True,), (False,), (False,)]
    """
    return f"regexp_full_match(trim({x}), {literal(_NUMBER)})"


def with_point(x: str) -> str:
    """SQL of such a number with a decimal point, and nothing between thousands."""
    return f"replace(regexp_replace(trim({x}), {literal(f'[{_THOUSANDS}]')}, '', 'g'), ',', '.')"
