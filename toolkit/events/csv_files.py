"""What a CSV file says of itself: its encoding, its header, and what keeps it from being read, with the line."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from toolkit.errors import EventLogError
from toolkit.readable import counted

__all__ = ["check_encoding", "header_of", "separator_of", "why_not_csv"]

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_SHOWN = 3
_UNREADABLE = (OSError, EOFError, zlib.error)


def check_encoding(file: str) -> None:
    """Nothing where a file can be UTF-8.

    Raises:
        EventLogError: it is in UTF-16 or UTF-32, or cannot be opened.
    """
    try:
        with _opened(file, "rb") as opened:
            head = opened.read(1024)
    except _UNREADABLE as fault:
        raise EventLogError(f"{file}: cannot be read: {fault}") from fault
    found = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if found is None and head.count(0) * 3 >= len(head) > 0:  # every second byte of UTF-16 is 0, as a rule
        found = "UTF-16"
    if found is not None:
        raise EventLogError(
            f"{file}: cannot be read as CSV: its encoding is {found}; allowed: UTF-8 (in a spreadsheet, save it as "
            "CSV UTF-8)"
        )


def separator_of(file: str) -> str:
    """The separator that stands most often in the header line, outside quotes."""
    with _opened(file) as lines:
        header = "".join(lines.readline().split('"')[::2])
    return max(",;\t|", key=header.count)


def header_of(file: str, separator: str) -> list[str]:
    """The names in the first line that is not empty."""
    with _opened(file) as lines:
        names = next((row for row in csv.reader(lines, delimiter=separator) if row), [])
    return [name.strip() for name in names]


def why_not_csv(files: list[str], separator: str) -> str | None:
    """What keeps the first of these files that has a fault from being read, as a message; None where it is not found.

    Every line is looked at, so this is for files that could not be read.
    """
    for file in files:
        try:
            why = _why_not(file, separator)
        except _UNREADABLE as fault:
            why = str(fault)
        if why is not None:
            return f"{file}: cannot be read as CSV: {why}"
    return None


class _NotUtf8Error(Exception):
    """A line that is not UTF-8; its number."""


def _why_not(file: str, separator: str) -> str | None:
    ends: dict[str, int] = {}
    width, begin = 0, 1
    ragged: list[tuple[int, int]] = []
    open_ended: list[tuple[int, int]] = []
    with _opened(file, errors="surrogateescape") as lines:
        rows = csv.reader(_checked(lines, ends), delimiter=separator, strict=True)
        try:
            for row in rows:
                if row and not width:
                    width = len(row)
                elif row and len(row) != width:
                    is_open = len(row) == width + 1 and not row[-1]
                    (open_ended if is_open else ragged).append((begin, len(row)))
                begin = rows.line_num + 1
        except _NotUtf8Error as fault:
            return f"line {fault} is not in UTF-8; save the file in this encoding"
        except csv.Error as fault:
            if not ragged:
                return _quoted_wrongly(begin, rows.line_num, str(fault))
    # A separator at the end of every line is allowed; at the end of some it may be the fault.
    wrong = ragged or open_ended
    if wrong:
        return _ragged(wrong, width, separator)
    if len(ends) > 1:
        kinds = " and ".join(f"line {line} in {end!r}" for end, line in ends.items())
        return f"its lines end in more than one way: {kinds}"
    return None


def _checked(lines: IO[str], ends: dict[str, int]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError:
                raise _NotUtf8Error(number) from None
        end = line[len(line.rstrip("\r\n")) :]
        if end:
            ends.setdefault(end, number)
        yield line


def _ragged(wrong: list[tuple[int, int]], width: int, separator: str) -> str:
    (line, fields), *others = wrong
    said = f"line {line} has {counted(fields, 'field')}"
    said += "".join(f", line {line} has {fields}" for line, fields in others[: _SHOWN - 1])
    if len(wrong) > _SHOWN:
        said += f", and {counted(len(wrong) - _SHOWN, 'more line')} like that"
    hint = f"; a value with {separator!r} in it needs quotes" if any(fields > width for _, fields in wrong) else ""
    return f"{said}; the header has {width}{hint}"


def _quoted_wrongly(begin: int, line: int, fault: str) -> str:
    if "end of data" in fault:
        return f"a quote in line {begin} is not closed"
    if "limit" in fault:
        return f"line {begin} begins a value of more than {csv.field_size_limit():,} characters; is a quote not closed?"
    lines = f"line {line}" if begin == line else f"lines {begin} to {line}"
    return f'{lines}: a quote is not closed, or stands within a value; allowed within a quoted value: two of them, ""'


@contextmanager
def _opened(file: str, mode: str = "rt", errors: str = "replace") -> Iterator[IO[Any]]:
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8-sig", "errors": errors, "newline": ""}
    opening: Any = gzip.open if file.endswith(".gz") else open
    with opening(file, mode, **text) as opened:
        yield opened
