"""How long: calendar days apart from elapsed time (rule R5), and times of day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from numbers import Integral
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from toolkit.errors import InputError, shown

__all__ = ["Duration", "NotNegative", "Positive", "TimeOfDay", "as_meant"]

# How people write units, in the languages they think in. A month is none: it has no length.
_WRITTEN = {
    word: unit
    for unit, words in (
        ("s", "s sec secs second seconds sek sekunde sekunden seconde secondes"),
        ("m", "m min mins minute minutes minuten"),
        ("h", "h hr hrs hour hours std stunde stunden heure heures"),
        ("d", "d day days daily tag tage tagen jour jours"),
        ("w", "w wk wks week weeks weekly woche wochen semaine semaines"),
    )
    for word in words.split()
}
_BEFORE = re.compile(r"\s*(?:before|prior|earlier|vorher|davor|zuvor|avant)\s*$")
_AFTER = re.compile(r"\s*(?:after|later|danach|apr[eè]s)\s*$")
_AMOUNT = re.compile(r"(\d+(?:[.,]\d+)?)?[\s-]*([^\W\d_]+)\.?(?:\s*(?:,|and|und|et)?\s*)")
_ISO = re.compile(r"p(?=.)((?:\d+w)?(?:\d+d)?)(?:t((?:\d+h)?(?:\d+m)?(?:\d+s)?))?")
_UNITS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_DAY = 86_400_000_000
MAX_DAYS = 36_500
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_WHOLE = re.compile(r"\s*([+-])?\s*((?:\d+(?:\.\d+)?\s*[smhdw]\s*)+)")
DURATION_PATTERN = r"^\s*[+-]?\s*(\d+(\.\d+)?\s*[smhdw]\s*)+$"
_ALLOWED = "a number and s, m, h (elapsed time) or d, w (local days), for example 30m, 4h, 1d, 2w or 1d12h"


def as_meant(text: str) -> str | None:
    """The duration or time of day a text seems to mean, in the language's own form.

    >>> as_meant("4 hours"), as_meant("9am"), as_meant("9.30"), as_meant("soon")
    ('4h', '09:00', '09:30', None)
    >>> as_meant("2 Tage"), as_meant("3 days before"), as_meant("1.5 days"), as_meant("PT4H")
    ('2d', '-3d', '36h', '4h')
    """
    clock = re.fullmatch(r"\s*(\d{1,2})(?:[:.h](\d{2}))?(?::\d{2})?\s*(am|pm|uhr)?\s*", text, re.IGNORECASE)
    if clock and (clock[2] or clock[3]):
        halves = (clock[3] or "").lower() in ("am", "pm")
        hour = int(clock[1]) % 12 + 12 * (clock[3].lower() == "pm") if halves else int(clock[1])
        return f"{hour:02d}:{clock[2] or '00'}" if hour < 24 and int(clock[2] or 0) < 60 else None
    return _length_meant(text.casefold().strip())


def _length_meant(text: str) -> str | None:
    iso = _ISO.fullmatch(text)
    if iso and (iso[1] or iso[2]):
        return f"{iso[1] or ''}{iso[2] or ''}"
    said, before = _BEFORE.subn("", _AFTER.sub("", text))
    sign = "-" if before or said.startswith("-") else ""
    said = said.lstrip("+- ")
    parts: list[str] = []
    at = 0
    while at < len(said):
        match = _AMOUNT.match(said, at)
        unit = _WRITTEN.get(match[2]) if match else None
        if match is None or unit is None or (match[1] is None and parts):
            return None
        number = float((match[1] or "1").replace(",", "."))
        if unit in "dw" and number % 1:
            number, unit = number * (24 if unit == "d" else 168), "h"
        if number > MAX_DAYS:
            return None
        parts.append(f"{number:.6f}".rstrip("0").rstrip(".") + unit)
        at = match.end()
    return sign + "".join(parts) if parts else None


@dataclass(frozen=True, slots=True, order=False)
class Duration:
    """A length of time: whole local days plus elapsed microseconds.

    `24h` is elapsed time, `1d` is the same wall-clock time tomorrow; the two differ across a change to or
    from summer time. A plain `timedelta` is elapsed time.

    >>> Duration.parse("1d12h")
    Duration('1d12h')
    >>> Duration.parse("90m").microseconds
    5400000000
    >>> Duration.parse("1d") == Duration.parse("24h")
    False
    """

    days: int = 0
    microseconds: int = 0

    def __post_init__(self) -> None:
        lengths: tuple[object, object] = (self.days, self.microseconds)
        for length in lengths:
            if isinstance(length, bool) or not isinstance(length, Integral):
                raise InputError(
                    f"expected whole days and microseconds; found {shown(length)}; or Duration.parse('4h')"
                )
        if self.days * self.microseconds < 0:
            raise InputError(f"expected days and microseconds of one sign; found {self.days} and {self.microseconds}")

    @classmethod
    def parse(cls, value: str | timedelta | Duration) -> Duration:
        """A duration from text such as `4h`, or from a timedelta (elapsed time).

        Raises:
            InputError: the text is not a duration; says what is allowed.
        """
        if isinstance(value, Duration):
            return value
        if isinstance(value, timedelta):
            return cls(0, (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds)
        match = _WHOLE.fullmatch(value) if isinstance(value, str) else None
        if not match:
            raise InputError(f"expected a duration; found {shown(value)}; allowed: {_ALLOWED}")
        days = 0
        micros = 0
        for number, unit in _PART.findall(match[2]):
            if len(number) > 30:
                raise InputError(f"expected at most {MAX_DAYS} days; found {value[:30] + '…'!r}")
            if unit in _UNITS:
                micros += round(float(number) * _UNITS[unit])
            elif "." in number:
                raise InputError(f"expected whole days and weeks; found {shown(value)}; write hours instead")
            else:
                days += int(number) * (7 if unit == "w" else 1)
        if days > MAX_DAYS or micros > MAX_DAYS * _DAY:
            raise InputError(f"expected at most {MAX_DAYS} days; found {shown(value)}")
        sign = -1 if match[1] == "-" else 1
        return cls(sign * days, sign * micros)

    @property
    def elapsed(self) -> int:
        """Microseconds when a day counts as 24 hours: for windows that look back (rule R5)."""
        return self.days * _DAY + self.microseconds

    def __str__(self) -> str:
        sign = "-" if self.elapsed < 0 else ""
        days, micros = abs(self.days), abs(self.microseconds)
        text = f"{days}d" if days else ""
        for unit in ("h", "m"):
            whole, micros = divmod(micros, _UNITS[unit])
            text += f"{whole}{unit}" if whole else ""
        if micros:
            text += f"{micros / 1e6:.6f}".rstrip("0").rstrip(".") + "s"
        return sign + (text or "0s")

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _duration, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="always")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION_PATTERN, "examples": ["30m", "4h", "1d"], "title": "Duration"}


def _duration(value: Any) -> Duration:
    if not isinstance(value, str | timedelta | Duration):
        raise PydanticCustomError("duration", "expected a duration", {"allowed": _ALLOWED})
    try:
        return Duration.parse(value)
    except ValueError as fault:
        allowed = f"at most {MAX_DAYS} days" if isinstance(value, str) and _WHOLE.fullmatch(value) else _ALLOWED
        if isinstance(value, str) and re.search(r"\d\.\d+\s*[dw]", value):
            allowed = "whole days and weeks; hours for parts of a day"
        raise PydanticCustomError("duration", "expected a duration", {"allowed": allowed}) from fault


def _positive(value: Duration) -> Duration:
    if value.elapsed <= 0:
        raise PydanticCustomError("duration_sign", "expected a duration longer than 0", {"allowed": "more than 0s"})
    return value


def _not_negative(value: Duration) -> Duration:
    if value.elapsed < 0:
        raise PydanticCustomError("duration_sign", "expected a duration of 0 or longer", {"allowed": "0s or more"})
    return value


Positive = Annotated[Duration, AfterValidator(_positive)]
NotNegative = Annotated[Duration, AfterValidator(_not_negative)]


@dataclass(frozen=True, slots=True, order=True)
class TimeOfDay:
    """A local time of day, to the minute.

    >>> TimeOfDay.parse("09:30").minutes
    570
    """

    minutes: int

    @classmethod
    def parse(cls, value: str | TimeOfDay) -> TimeOfDay:
        """A time of day from `HH:MM`.

        Raises:
            InputError: the text is not a time between 00:00 and 23:59.
        """
        if isinstance(value, TimeOfDay):
            return value
        match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
        if not match:
            raise InputError(f"expected a time of day; found {shown(value)}; allowed: 00:00 to 23:59, in quotes")
        return cls(int(match[1]) * 60 + int(match[2]))

    def __str__(self) -> str:
        return f"{self.minutes // 60:02d}:{self.minutes % 60:02d}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _time_of_day, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="always")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": r"^([01]?\d|2[0-3]):[0-5]\d$",
            "examples": ["09:00"],
            "title": "Time of day",
        }


def _time_of_day(value: Any) -> TimeOfDay:
    try:
        return TimeOfDay.parse(value)
    except ValueError as fault:
        raise PydanticCustomError(
            "time_of_day", "expected a time of day", {"allowed": '"00:00" to "23:59", in quotes'}
        ) from fault
