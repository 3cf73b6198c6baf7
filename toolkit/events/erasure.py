"""One customer taken out of event logs: stored ones, and the CSV or Parquet files that logs are read from.

Every file is written anew beside the old one and then takes its place, so that nothing is half erased.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toolkit.errors import EventLogError, shown
from toolkit.events.assembly import QUARANTINE
from toolkit.events.csv_files import decoded, long_values, packed, separator_told, unpacked
from toolkit.events.database import fetch, fetch_row, run, utc
from toolkit.events.log import EventLog
from toolkit.events.people import People
from toolkit.events.quoting import literal
from toolkit.events.sources import PathOrPaths, find_files
from toolkit.events.storage import Stored, write_stored
from toolkit.whole import whole_file

__all__ = ["Person", "addresses_in_files", "addresses_in_log", "erase_from_files", "erase_from_log", "text_names"]

_WHOLE = re.compile(r"[0-9]+[.]0+")
_CSV = (".csv", ".tsv", ".txt")


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to look for: the customer_id, and addresses in small letters."""

    customer_id: str
    addresses: frozenset[str] = frozenset()

    @property
    def texts(self) -> frozenset[str]:
        """All that names them, in small letters."""
        return self.addresses | {self.customer_id.casefold()}

    def is_addressed_in(self, content: bytes) -> bool:
        """Whether bytes hold one of their addresses; `ana@example.org` is not in `diana@example.org`.

        >>> ana = Person("c1", frozenset({"ana@example.org"}))
        >>> texts = b"to <Ana@example.org>", b"diana@example.org", b"ana@example.org.example"
        >>> [ana.is_addressed_in(one) for one in texts]
        [True, False, False]
        """
        return bool(self.addresses) and _addressed(self.addresses).search(content.lower()) is not None

    def is_named_in(self, content: bytes) -> bool:
        """Whether bytes hold one of their addresses, or the customer_id as a word of its own.

        A customer_id of digits or of letters alone counts in quotes only: dates, prices and words are such, too.

        >>> [Person(one).is_named_in(b'on 5 May 2025, of "2025", with c17') for one in ("c17", "2025", "may", "5")]
        [True, True, False, False]
        """
        return self.is_addressed_in(content) or _called(self.customer_id).search(content.lower()) is not None


# What stands beside an address is no part of it; a sign that a mail or a web address spells out may stand before it.
_BEFORE = rb"(?:(?<![a-z0-9_.+%@-])|(?<=[=%][0-9a-f]{2}))"
_AFTER = rb"(?![a-z0-9_@-]|\.[a-z0-9])"


@lru_cache
def _addressed(addresses: frozenset[str]) -> re.Pattern[bytes]:
    any_of = b"|".join(re.escape(address.encode()) for address in sorted(addresses))
    return re.compile(_BEFORE + b"(?:" + any_of + b")" + _AFTER)


@lru_cache
def _called(customer_id: str) -> re.Pattern[bytes]:
    word = re.escape(customer_id.casefold().encode())
    if re.search(r"[^\W\d_]", customer_id) and re.search(r"\d", customer_id):
        return re.compile(rb"(?<![\w.@-])" + word + rb"(?![\w.@-])")
    return re.compile(b'"' + word + b'"')


def addresses_in_log(folder: str | os.PathLike[str], customer_id: str) -> frozenset[str]:
    """The addresses that a stored log knows of a customer."""
    log = EventLog.open(folder)
    found = set()
    if "email" in log.attributes:
        rows = _of(log.customer_table, "customer_id", customer_id)
        found |= {
            str(value).casefold() for value in log.customer_table.filter(rows).column("email").to_pylist() if value
        }
    if log.properties.get("email") == "text":
        query = f"SELECT DISTINCT email FROM {log.relation} WHERE customer_id = {literal(customer_id)}"
        found |= {value.casefold() for value in fetch(log.cursor(), query).column("email").to_pylist() if value}
    return frozenset(found)


def erase_from_log(folder: str | os.PathLike[str], person: Person, *, yes: bool) -> dict[str, int]:
    """Rows of a customer in a stored log, taken out when `yes`.

    Returns:
        What was found: `events`, `quarantined events`, `customers`.

    Raises:
        EventLogError: no stored log, or it cannot be written.
    """
    log = EventLog.open(folder)
    is_theirs = f"customer_id = {literal(person.customer_id)}"
    (events,) = fetch_row(log.cursor(), f"SELECT count(*) FROM {log.relation} WHERE {is_theirs}")
    quarantined = 0
    if log.has_event_ids:
        (quarantined,) = fetch_row(log.cursor(), f"SELECT count(*) FROM {QUARANTINE} WHERE {is_theirs}")
    rows = _of(log.customer_table, "customer_id", person.customer_id)
    found = {"events": int(events), "quarantined events": int(quarantined), "customers": int(pc.sum(rows).as_py() or 0)}
    if yes and any(found.values()):
        _store_without(log, folder, person.customer_id, rows)
    return found


def _store_without(log: EventLog, folder: str | os.PathLike[str], customer_id: str, rows: pa.Array) -> None:
    """Write a stored log over itself, one customer left out."""
    cursor = log.cursor()
    view = f"remaining_{uuid4().hex[:12]}"
    is_theirs = f"customer_id = {literal(customer_id)}"
    run(cursor, f"CREATE VIEW {view} AS SELECT * FROM {log.relation} WHERE NOT ({is_theirs})")
    if log.has_event_ids:
        run(cursor, f"DELETE FROM {QUARANTINE} WHERE {is_theirs}")
    counts = fetch(cursor, f"SELECT event, count(*) AS n FROM {view} GROUP BY event ORDER BY n DESC, event")
    ends = fetch_row(cursor, f"SELECT min(received_at), max(received_at) FROM {view}")
    kept = People(log.customer_table.filter(pc.invert(rows)), log.attributes, ())
    stored = Stored(
        log._rows,
        kept,
        dict(zip(counts.column("event").to_pylist(), counts.column("n").to_pylist(), strict=True)),
        None if ends[0] is None else (utc(ends[0]), utc(ends[1])),
        log.notes,
    )
    write_stored(cursor, view, folder, stored, check=log.check_in_place)


def _of(table: pa.Table, column: str, customer_id: str) -> pa.ChunkedArray:
    """Which rows of a table are a customer's."""
    return pc.fill_null(pc.equal(table.column(column).cast(pa.string()), customer_id), False)


# --- files that logs are read from ------------------------------------------------------------------------------------


def addresses_in_files(where: PathOrPaths, customer_id: str, columns: Mapping[str, str]) -> frozenset[str]:
    """The addresses that CSV or Parquet files know of a customer, in a column `email`."""
    emails = {columns.get("email", "email"), columns.get("customers.email", "email")}
    found = set()
    for path in map(Path, find_files(where, folder_pattern="**/*")):
        for table in _tables(path, columns):
            theirs = _theirs(columns, table.column_names)
            for email in emails & set(table.column_names) if theirs in table.column_names else ():
                rows = table.filter(_of(table, theirs, customer_id))
                found |= {str(value).casefold() for value in rows.column(email).to_pylist() if value}
    return frozenset(found)


def erase_from_files(
    where: PathOrPaths, person: Person, *, columns: Mapping[str, str] | None = None, yes: bool
) -> dict[str, int]:
    """Rows of a customer in CSV or Parquet files, taken out when `yes`; the other rows keep every byte of a CSV line.

    Args:
        where: a path, a list of paths, a folder or a pattern.
        person: whom.
        columns: our name to theirs, as for `EventLog.from_csv`.
        yes: write the files anew; else only count.

    Returns:
        File to number of rows.

    Raises:
        EventLogError: no such file, or no column for the customer.
    """
    found = {}
    for path in map(Path, find_files(where, folder_pattern="**/*")):
        erase = _erase_lines if _is_csv(path) else _erase_parquet
        found[str(path)] = erase(path, person.customer_id, _theirs(columns or {}, _names(path)), yes=yes)
    return found


def text_names(where: PathOrPaths, person: Person) -> dict[str, int]:
    """File to number of rows in which any column still names a person, whoever's row it is."""
    found = {}
    for path in map(Path, find_files(where, folder_pattern="**/*")):
        found[str(path)] = sum(_naming(table, person) for table in _tables(path, {}))
    return found


def _naming(table: pa.Table, person: Person) -> int:
    named, at = pa.array([False] * table.num_rows, pa.bool_()), set[int]()
    for column in table.columns:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        small = pc.utf8_lower(column)
        named = pc.or_(named, pc.fill_null(pc.is_in(small, pa.array(sorted(person.texts), column.type)), False))
        for address in person.addresses:
            likely = pc.indices_nonzero(pc.fill_null(pc.match_substring(small, address), False)).to_pylist()
            at.update(one for one in likely if person.is_addressed_in(small[one].as_py().encode("utf-8", "replace")))
    if at:
        named = pc.or_(named, pa.array([number in at for number in range(table.num_rows)], pa.bool_()))
    return int(pc.sum(named).as_py() or 0)


def _theirs(columns: Mapping[str, str], names: Sequence[str]) -> str:
    """The column of the customer, in a file of events or of customers."""
    of_events = columns.get("customer_id", "customer_id")
    of_customers = columns.get("customers.customer_id", "customer_id")
    return of_customers if of_events not in names and of_customers in names else of_events


def _names(path: Path) -> Sequence[str]:
    if _is_csv(path):
        return _Lines(path).names
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return ()  # said where its rows are read


def _is_csv(path: Path) -> bool:
    return any(suffix.lower() in _CSV for suffix in path.suffixes[-2:])


def _tables(path: Path, columns: Mapping[str, str]) -> Iterator[pa.Table]:
    """A file piece by piece; of a CSV file all columns as text."""
    if _is_csv(path):
        lines = _Lines(path)
        rows = list(lines)
        width = len(lines.names)
        values = [[fields[at] if at < len(fields) else None for fields, _ in rows] for at in range(width)]
        if (theirs := _theirs(columns, lines.names)) in lines.names:
            place = lines.names.index(theirs)
            values[place] = _ids(values[place])
        yield pa.table([pa.array(column, pa.string()) for column in values], names=lines.names)
        return
    try:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)
    except (OSError, pa.ArrowException) as fault:
        raise EventLogError(f"{path}: cannot be read as Parquet: {fault}") from fault


class _Lines:
    """The rows of a CSV file, each with the very text it stands in."""

    def __init__(self, path: Path) -> None:
        self.text, self.encoding = decoded(unpacked(path))
        first = next((line for line in self.text.split("\n") if line.strip()), "")
        told = separator_told(first)
        self._separator = told or max(",;\t|", key=first.count)
        self._lines = list(StringIO(self.text, newline=""))  # at the ends of lines alone
        above = self._lines.pop(0) if told else ""
        self.head, self.names = next(((text, fields) for fields, text in self._rows() if fields), ("", []))
        if self.names:  # a byte order mark is no part of the first name
            self.names = next(
                csv.reader(StringIO(self.head.strip("\r\n").lstrip("\ufeff")), delimiter=self._separator), []
            )
        self.head = above + self.head

    def __iter__(self) -> Iterator[tuple[list[str], str]]:
        rows = self._rows()
        for fields, _ in rows:
            if fields:
                break
        yield from rows

    def _rows(self) -> Iterator[tuple[list[str], str]]:
        """All rows, that of the names with what stands above it."""
        reader = csv.reader(iter(self._lines), delimiter=self._separator)
        before, has_names = 0, False
        with long_values():
            for fields in reader:
                if not (fields or has_names):
                    continue
                has_names = True
                yield fields, "".join(self._lines[before : reader.line_num])
                before = reader.line_num


def _ids(found: list[str | None]) -> list[str | None]:
    """Ids as a log reads them of a file: where all are such as 17850.0, the number before the point."""
    if all(_WHOLE.fullmatch(one) for one in found if one):
        return [one and one.partition(".")[0] for one in found]
    return found


def _erase_lines(path: Path, customer_id: str, column: str, *, yes: bool) -> int:
    lines = _Lines(path)
    place = _place(path, column, lines.names)
    theirs = [
        one == customer_id for one in _ids([fields[place] if len(fields) > place else None for fields, _ in lines])
    ]
    if yes and any(theirs):
        kept = lines.head + "".join(text for (_, text), gone in zip(lines, theirs, strict=True) if not gone)
        content = kept.encode(lines.encoding)
        with whole_file(path, mode=0o600) as part:
            part.write_bytes(packed(content, path))
    return sum(theirs)


def _erase_parquet(path: Path, customer_id: str, column: str, *, yes: bool) -> int:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as fault:
        raise EventLogError(f"{path}: cannot be read as Parquet: {fault}") from fault
    _place(path, column, file.schema_arrow.names)
    counts = [
        int(pc.sum(_of(file.read_row_group(group, columns=[column]), column, customer_id)).as_py() or 0)
        for group in range(file.num_row_groups)
    ]
    if yes and any(counts):
        codec = file.metadata.row_group(0).column(0).compression.lower() if file.num_row_groups else "zstd"
        with (
            whole_file(path, mode=0o600) as part,
            pq.ParquetWriter(part, file.schema_arrow, compression=codec) as writer,
        ):
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                writer.write_table(rows.filter(pc.invert(_of(rows, column, customer_id))))
    return sum(counts)


def _place(path: Path, column: str, names: Sequence[str]) -> int:
    if column not in names:
        raise EventLogError(
            f"{path}: no column {shown(column)} to find a customer by; it has {', '.join(names) or 'none'}; name it "
            "with --map customer_id=…"
        )
    return list(names).index(column)
