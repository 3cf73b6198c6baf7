"""What a CSV file says of itself: its encoding, its header, and what keeps it from being read, with the line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from toolkit.errors import EventLogError
from toolkit.readable import counted

__all__ = [
    "CsvFile",
    "csv_file",
    "decoded",
    "encoding_of",
    "header_of",
    "long_values",
    "packed",
    "separator_told",
    "unpacked",
    "why_not_csv",
]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF_8 = "utf-8-sig"  # with a byte order mark or without
_HEAD = 1024
_SHOWN = 3
_PIECE = 1 << 20
_MOST_LEFT = 1 << 16
_BUFFER = 1 << 13
_UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_LONGEST = 2_000_000  # characters of a value; the database reads lines of 2 MiB
_OTHERS = (
    (b"\x1f\x8b", ".gz", "is packed with gzip; give it a name that ends in .csv.gz"),
    (b"\x28\xb5\x2f\xfd", ".zst", "is packed with zstd; give it a name that ends in .csv.zst"),
    (b"BZh", None, "is packed with bzip2; unpack it, or pack it with gzip (.csv.gz) or zstd (.csv.zst)"),
    (b"\xfd7zXZ\x00", None, "is packed with xz; unpack it, or pack it with gzip (.csv.gz) or zstd (.csv.zst)"),
    (b"PK\x03\x04", None, "is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV UTF-8"),
    (b"PAR1", None, "is a Parquet file; read it with from_parquet"),
    (b"SQLite format 3\x00", None, "is an SQLite database; read a table of it with from_sql"),
)
_EMPTY = "the file is empty; expected a header line with the names of the columns"
_ALLOWED = "allowed: UTF-8 and UTF-16; or say which it is, for example encoding='cp1252'"


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file as it can be read.

    Attributes:
        name: its path, as it was given.
        path: where the same text lies in UTF-8.
        separator: one character.
        above: how many lines stand above the header: empty ones, and what a spreadsheet wrote, `sep=;`.
        is_cut: a last line that does not end yet is left out.
    """

    name: str
    path: str
    separator: str
    above: int
    is_cut: bool = False


def csv_file(file: str, *, encoding: str | None, folder: Path, growing: bool = False) -> CsvFile:
    """A file and how it is to be read.

    Args:
        file: its path, also of a packed one that ends in `.gz` or `.zst`.
        encoding: of a file without a byte order mark; None where it is UTF-8, or UTF-16 by its zeros.
        folder: where a copy in UTF-8 may be laid.
        growing: another program appends to it, so a last line without an end is left out. Of UTF-8 alone, and of
            encodings of one byte a sign.

    Raises:
        EventLogError: it cannot be opened, is empty or no CSV file at all, or is not in that encoding.
    """
    try:
        with open(file, "rb") as opened:
            _check_csv(file, opened.read(_HEAD))
        with _opened(file, "rb") as opened:
            found = encoding_of(opened.read(_HEAD)) or encoding or _UTF_8
        is_cut, path = False, file
        if growing and not _is_packed(file) and not found.startswith(("utf-16", "utf-32")):
            path, is_cut = _whole_lines(file, folder)
        path = path if found == _UTF_8 else _in_utf_8(path, found, folder, name=file)
        with _opened(path) as lines:
            above, told, header = _until_header(lines)
    except _UNREADABLE as fault:
        raise EventLogError(f"{file}: cannot be read: {fault}") from fault
    if header is None:
        raise EventLogError(f"{file}: {_EMPTY}")
    return CsvFile(file, path, told or _most_frequent(header), above=above, is_cut=is_cut)


def _check_csv(file: str, head: bytes) -> None:
    """Nothing where a file may be a CSV file.

    Raises:
        EventLogError: it is empty, or begins as files of another kind do.
    """
    if not head:
        raise EventLogError(f"{file}: {_EMPTY}")
    for begin, ending, said in _OTHERS:
        if head.startswith(begin) and (ending is None or not file.lower().endswith(ending)):
            raise EventLogError(f"{file}: cannot be read as CSV: it {said}")


def _is_packed(file: str) -> bool:
    return file.lower().endswith((".gz", ".zst"))


def _until_header(lines: IO[str]) -> tuple[int, str | None, str | None]:
    """How many lines stand above the header, the separator that one of them tells, and the header; None of each where
    there is none."""
    told = None
    for above, line in enumerate(lines):
        if line.strip() and (told is not None or (told := separator_told(line)) is None):
            return above, told, line
    return 0, told, None


def encoding_of(head: bytes) -> str | None:
    """The encoding that the first bytes of a file tell: by a byte order mark, or by the zeros of UTF-16.

    >>> encoding_of("é".encode("utf-16")), encoding_of("id,at".encode("utf-16-le")), encoding_of(b"id,at")
    ('utf-16', 'utf-16-le', None)
    """
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if marked is not None or head.count(0) * 3 < len(head) or not head:
        return marked
    return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"


def decoded(content: bytes) -> tuple[str, str]:
    """The text of a whole file, its mark included, and the encoding that makes the very same bytes of it again.

    What is neither marked nor UTF-8 is taken for cp1252, or for Latin-1, which has a sign for every byte.

    >>> decoded("é".encode()), decoded("é".encode("cp1252"))
    (('é', 'utf-8'), ('é', 'cp1252'))
    """
    encoding = (encoding_of(content[:_HEAD]) or "utf-8").removesuffix("-sig")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if content[:1] == b"\xff" else "-be"
    for possible in (encoding, "cp1252"):
        with suppress(UnicodeDecodeError):
            return content.decode(possible), possible
    return content.decode("latin-1"), "latin-1"


def unpacked(file: str | PathLike[str]) -> bytes:
    """What is in a file, unpacked where its name says that it is packed.

    Raises:
        EventLogError: it cannot be unpacked.
    """
    try:
        with _opened(fspath(file), "rb") as opened:
            content: bytes = opened.read()
            return content
    except _UNREADABLE as fault:
        raise EventLogError(f"{file}: cannot be read: {fault}") from fault


def packed(content: bytes, file: str | PathLike[str]) -> bytes:
    """What such a file holds of this content.

    >>> packed(b"id", "log.csv"), gzip.decompress(packed(b"id", "log.csv.gz"))
    (b'id', b'id')
    """
    name = fspath(file).lower()
    if name.endswith(".gz"):
        return gzip.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True) if name.endswith(".zst") else content


@contextmanager
def long_values() -> Iterator[None]:
    """Let Python's reader of CSV take values as long as the database does."""
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def separator_told(line: str) -> str | None:
    """The separator that a spreadsheet's first line tells; None where the line is another.

    >>> separator_told("sep=;"), separator_told("customer_id;event;at")
    (';', None)
    """
    found = _SEPARATOR_LINE.fullmatch(line)
    return found[1] if found else None


def _new(folder: Path) -> Path:
    return folder / f"{len(list(folder.iterdir()))}.csv"


def _whole_lines(file: str, folder: Path) -> tuple[str, bool]:
    """The path of a copy that ends with a whole line, and whether anything is left out of it.

    What is appended while it is copied is left out, too. A line break within quotes ends no line; where the open quote
    lies further back than a writer's buffer, it is rather a fault, and nothing is left out.
    """
    copy = _new(folder)
    with open(file, "rb") as source, copy.open("w+b") as to:
        size = left = os.fstat(source.fileno()).st_size
        quotes = 0
        while left and (piece := source.read(min(_PIECE, left))):
            quotes += piece.count(b'"')
            left -= to.write(piece)
        to.seek(max(0, size - _MOST_LEFT))
        tail = to.read()
        end = tail.rfind(b"\n") + 1
        quotes -= tail[end:].count(b'"')
        while end and quotes % 2:
            begin = tail.rfind(b"\n", 0, end - 1) + 1
            quotes -= tail[begin:end].count(b'"')
            end = begin if len(tail) - begin <= _BUFFER else 0
        if not end or end == len(tail):
            return str(copy), False
        to.truncate(max(0, size - _MOST_LEFT) + end)
    return str(copy), True


def _in_utf_8(file: str, encoding: str, folder: Path, *, name: str) -> str:
    """The path of a copy in UTF-8."""
    copy = _new(folder)
    line = 0
    with _opened(file, encoding=encoding, errors="strict") as lines, copy.open("w", encoding="utf-8", newline="") as to:
        try:
            for line, text in enumerate(lines, start=1):  # noqa: B007
                to.write(text)
        except UnicodeError as fault:
            line += 1
            if isinstance(fault, UnicodeDecodeError):
                line += fault.object[: fault.start].decode(encoding, errors="replace").count("\n")
            raise EventLogError(
                f"{name}: cannot be read as CSV: line {line} is not in {encoding}; {_ALLOWED}"
            ) from fault
    return str(copy)


def _most_frequent(header: str) -> str:
    """The separator that stands most often in a header line, outside quotes."""
    outside = "".join(header.split('"')[::2])
    return max(",;\t|", key=outside.count)


def header_of(file: CsvFile) -> list[str]:
    """The names in the first line that is not empty."""
    with _opened(file.path) as lines:
        for _ in range(file.above):
            lines.readline()
        names = next((row for row in csv.reader(lines, delimiter=file.separator) if row), [])
    return [name.strip() for name in names]


def why_not_csv(files: Sequence[CsvFile]) -> str | None:
    """What keeps the first of these files that has a fault from being read, as a message; None where it is not found.

    Every line is looked at, so this is for files that could not be read.
    """
    for file in files:
        try:
            why = _why_not(file)
        except _UNREADABLE as fault:
            why = str(fault)
        if why is not None:
            return f"{file.name}: cannot be read as CSV: {why}"
    return None


class _NotUtf8Error(Exception):
    """A line that is not UTF-8; its number."""


def _why_not(file: CsvFile) -> str | None:
    ends: dict[str, int] = {}
    width, begin = 0, 1 + file.above
    ragged: list[tuple[int, int]] = []
    open_ended: list[tuple[int, int]] = []
    with _opened(file.path, errors="surrogateescape") as lines, long_values():
        checked = _checked(lines, ends)
        for _ in range(file.above):
            next(checked)
        rows = csv.reader(checked, delimiter=file.separator, strict=True)
        try:
            for row in rows:
                if row and not width:
                    width = len(row)
                elif row and len(row) != width:
                    is_open = len(row) == width + 1 and not row[-1]
                    (open_ended if is_open else ragged).append((begin, len(row)))
                begin = rows.line_num + 1 + file.above
        except _NotUtf8Error as fault:
            return f"line {fault} is not in UTF-8; {_ALLOWED}"
        except csv.Error as fault:
            if not ragged:
                return _quoted_wrongly(begin, rows.line_num + file.above, str(fault))
    # A separator at the end of every line is allowed; at the end of some it may be the fault.
    wrong = ragged or open_ended
    if wrong:
        return _ragged(wrong, width, file.separator)
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
        most = f"{_LONGEST:,} characters"
        return f"line {begin} begins a value of more than {most}, the most that one may have; is a quote not closed?"
    lines = f"line {line}" if begin == line else f"lines {begin} to {line}"
    return f'{lines}: a quote is not closed, or stands within a value; allowed within a quoted value: two of them, ""'


@contextmanager
def _opened(file: str, mode: str = "rt", errors: str = "replace", encoding: str = _UTF_8) -> Iterator[IO[Any]]:
    text: dict[str, Any] = {} if "b" in mode else {"encoding": encoding, "errors": errors, "newline": ""}
    if file.lower().endswith(".zst"):
        with pa.CompressedInputStream(pa.OSFile(file), "zstd") as unpacked:
            yield unpacked if "b" in mode else io.TextIOWrapper(io.BufferedReader(unpacked), **text)
        return
    opening: Any = gzip.open if file.lower().endswith(".gz") else open
    with opening(file, mode, **text) as opened:
        yield opened
