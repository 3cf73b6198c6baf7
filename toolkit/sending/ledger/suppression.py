"""Addresses that get no mail, and why: kept in the ledger, asked again at the very moment a mail would go."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from email_validator import EmailNotValidError, validate_email
from sqlalchemy import Connection, delete, func, select

from toolkit.database import chunks, insert_new
from toolkit.errors import InputError, did_you_mean, shown
from toolkit.sending.clock import Clock, micros
from toolkit.sending.domains import in_ascii
from toolkit.sending.ledger import audit
from toolkit.sending.ledger.schema import suppressions
from toolkit.sending.ledger.statements import found
from toolkit.sending.people import person
from toolkit.whole import whole_file

__all__ = ["REASONS", "SCOPES", "Imported", "Suppressions", "address_hash", "normal_address", "suppressed"]

SCOPES = ("all", "marketing")
REASONS = ("unsubscribed", "complaint", "hard_bounce", "manual", "imported")
_BY_CHOICE = ("unsubscribed", "complaint")  # they still get what they ordered
_MOST_WRONG = 20
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_AROUND = " \t\r\n\"'<>,;\u200b\ufeff"  # what lists and mail programs leave around an address
_SEPARATORS = ",;\t"
_ADDRESS_COLUMNS = ("email", "address", "email address", "email_address", "recipient", "destination", "sha256", "hash")
_CLASSES = ("marketing", "transactional")
_REASON_WORDS = {
    "bounce": "hard_bounce",
    "complain": "complaint",
    "spam": "complaint",
    "unsub": "unsubscribed",
    "opt": "unsubscribed",
    "manual": "manual",
}


def normal_address(address: str) -> str:
    """The address as suppression compares it: no blanks around it, small letters, the domain in its ASCII form.

    >>> normal_address("  Ana@BÜCHER.example ")
    'ana@xn--bcher-kva.example'
    """
    local, _, domain = address.strip().casefold().rpartition("@")
    return f"{local}@{in_ascii(domain)}"


def address_hash(address: str) -> str:
    """SHA-256 of the normal form of an address, 64 hex digits: how lists are exchanged without their addresses.

    >>> address_hash("Ana@example.org") == address_hash(" ana@EXAMPLE.org")
    True
    """
    return hashlib.sha256(normal_address(address).encode()).hexdigest()


_ANY = select(suppressions.c.id).limit(1)


def suppressed(connection: Connection, mails: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Which of these mails may not go: for (address, class), the reason `suppressed` or `unsubscribed`.

    An address suppressed for `all` gets nothing, one suppressed for `marketing` still gets transactional mail.
    """
    if not mails or not found(connection, _ANY, {}):
        return {}
    hashes = {address: address_hash(address) for address, _ in mails}
    listed: dict[str, dict[str, str]] = {}
    for some in chunks(sorted(set(hashes.values()))):
        query = select(suppressions.c.address_sha256, suppressions.c.scope, suppressions.c.reason)
        for row in connection.execute(query.where(suppressions.c.address_sha256.in_(some))):
            listed.setdefault(row.address_sha256, {})[row.scope] = row.reason
    stopped = {}
    for address, class_ in mails:
        scopes = listed.get(hashes[address], {})
        said = scopes.get("all") or (scopes.get("marketing") if class_ == "marketing" else None)
        if said:
            stopped[address, class_] = "unsubscribed" if said in _BY_CHOICE else "suppressed"
    return stopped


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        added: addresses new to the list.
        known: addresses that were on it already.
        wrong: lines that hold neither an address nor a hash.
        examples: some of those, with their line.
    """

    added: int
    known: int
    wrong: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        line = f"added {self.added:,}, already there {self.known:,}, not an address {self.wrong:,}"
        return line + (f" (for example {'; '.join(self.examples[:3])})" if self.examples else "")


class Suppressions(audit.Audited):
    """The suppression list of a ledger; `ledger.suppressions`.

    What is added holds for every batch from that moment on, those approved before included.
    """

    def __init__(
        self,
        writing: Callable[[], AbstractContextManager[Connection]],
        reading: Callable[[], AbstractContextManager[Connection]],
        clock: Clock,
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._clock = clock

    def __len__(self) -> int:
        with self._reading() as connection:
            return connection.execute(select(func.count()).select_from(suppressions)).scalar_one()

    def __repr__(self) -> str:
        return f"Suppressions({len(self):,})"

    @property
    def table(self) -> pd.DataFrame:
        """One row per address and scope, in the order added: address (missing where only its hash is known),
        address_sha256, scope, reason, source, at."""
        names = ["address", "address_sha256", "scope", "reason", "source", "at"]
        with self._reading() as connection:
            query = select(*(suppressions.c[name] for name in names)).order_by(suppressions.c.id)
            rows = [tuple(row) for row in connection.execute(query)]
        frame = pd.DataFrame(rows, columns=names)
        frame["at"] = pd.to_datetime(frame["at"], unit="us", utc=True)
        return frame

    def reason(self, address: str, *, class_: str = "marketing") -> str | None:
        """Why a mail of that class to the address would not go: `suppressed` or `unsubscribed`; None when it would.

        Raises:
            InputError: not an address, or neither marketing nor transactional.
        """
        _one_of("class", class_, _CLASSES)
        bare = _bare(address) if isinstance(address, str) else ""
        if "@" not in bare:
            raise InputError(f"suppressions: expected an address; found {shown(address)}")
        with self._reading() as connection:
            return suppressed(connection, [(bare, class_)]).get((bare, class_))

    def add(self, address: str, *, by: str, reason: str = "manual", scope: str | None = None) -> bool:
        """Put an address on the list.

        Args:
            address: an address, or the SHA-256 of its normal form.
            by: who does it; written to the audit.
            reason: unsubscribed, complaint, hard_bounce, manual or imported.
            scope: `all`, or `marketing` (transactional mail still goes); by the reason unless given.

        Returns:
            Whether it was new to the list.

        Raises:
            InputError: not an address, or an unknown reason or scope.
        """
        by = person(by, where="suppressions: by")
        row = self._row(address, reason=reason, scope=scope, source=by) if isinstance(address, str) else None
        if row is None:
            raise InputError(f"suppressions: expected an address or its SHA-256; found {shown(address)}")
        with self._writing() as connection:
            same = suppressions.c.address_sha256 == row["address_sha256"], suppressions.c.scope == row["scope"]
            added = connection.execute(select(suppressions.c.id).where(*same)).first() is None
            connection.execute(insert_new(connection, suppressions), row)
            if added:
                detail = {"reason": reason, "scope": row["scope"]}
                self._audited(connection, by, "suppressed", row["address_sha256"], detail)
        return added

    def remove(self, address: str, *, by: str, why: str) -> bool:
        """Take an address off the list, whatever its scope.

        Args:
            address: an address, or the SHA-256 of its normal form.
            by: who does it; written to the audit.
            why: for example `asked us to on the phone`; written to the audit.

        Returns:
            Whether it was on the list.

        Raises:
            InputError: not an address, or nobody who does it.
        """
        by = person(by, where="suppressions: by")
        bare = _bare(address) if isinstance(address, str) else ""
        is_hash = _SHA256.fullmatch(bare)
        if not is_hash and "@" not in bare:  # what a provider reported may be on the list and still be no good address
            raise InputError(f"suppressions: expected an address or its SHA-256; found {shown(address)}")
        digest = bare.casefold() if is_hash else address_hash(bare)
        with self._writing() as connection:
            gone = connection.execute(delete(suppressions).where(suppressions.c.address_sha256 == digest)).rowcount
            if gone:
                self._audited(connection, by, "unsuppressed", digest, {"why": why})
        return bool(gone)

    def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        by: str,
        reason: str | None = None,
        scope: str | None = None,
        column: str | None = None,
    ) -> Imported:
        """Put the addresses of a file on the list, all of them or, when something fails, none.

        Args:
            path: one address (or SHA-256 of one) a line, or a CSV file with a header, as mail services export them.
            by: who does it; written to the audit.
            reason: of all of them; unless given, read from a column `reason`, else `imported`.
            scope: of all of them, `all` or `marketing`; unless given, read from a column `scope`, else by the reason.
            column: the column with the addresses; found by its name unless given.

        Returns:
            How many were added, were there already, or are no addresses.

        Raises:
            InputError: no such file, no such column, a quote that is not closed, an unknown reason or scope, or nobody
                who does it.
        """
        by = person(by, where="suppressions: by")
        rows: list[dict[str, Any]] = []
        wrong, examples = 0, list[str]()
        for line, address, said, of in _lines(Path(path), column):
            own = reason or _reason_of(said)
            row = self._row(address, reason=own, scope=scope or of, source=Path(path).name)
            if row is not None:
                rows.append(row)
            elif address.strip():
                wrong += 1
                if len(examples) < _MOST_WRONG:
                    examples.append(f"line {line}: {address.strip()[:60]!r}")
        with self._writing() as connection:
            before = connection.execute(select(func.count()).select_from(suppressions)).scalar_one()
            for some in chunks(rows, 4_000):
                connection.execute(insert_new(connection, suppressions), some)
            added = connection.execute(select(func.count()).select_from(suppressions)).scalar_one() - before
            detail = {"added": added, "known": len(rows) - added, "wrong": wrong}
            self._audited(connection, by, "suppressions imported", Path(path).name, detail)
        return Imported(added, len(rows) - added, wrong, tuple(examples))

    def export_file(self, path: str | os.PathLike[str], *, hashed: bool = False) -> int:
        """Write the list to a CSV file that `import_file` reads.

        Args:
            path: the file; written over.
            hashed: leave the addresses out, so that the list can be given away.

        Returns:
            How many lines were written.

        Raises:
            InputError: the file cannot be written.
        """
        frame = self.table
        frame["at"] = frame["at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        frame.insert(
            0, "email", frame["address_sha256"] if hashed else frame["address"].fillna(frame["address_sha256"])
        )
        try:
            with whole_file(path) as part:
                frame[["email", "scope", "reason", "source", "at"]].to_csv(part, index=False)
        except OSError as fault:
            raise InputError(f"suppressions: {path}: cannot be written: {fault.strerror or fault}") from fault
        return len(frame)

    def _row(self, address: str, *, reason: str, scope: str | None, source: str) -> dict[str, Any] | None:
        _one_of("reason", reason, REASONS)
        scope = scope or ("marketing" if reason in _BY_CHOICE else "all")
        _one_of("scope", scope, SCOPES)
        bare = _bare(address)
        plain = None if _SHA256.fullmatch(bare) else bare
        if plain is None:
            hashed = bare.casefold()
        elif _is_address(plain):
            hashed = address_hash(plain)
        else:
            return None
        now = micros(self._clock())
        return {
            "address_sha256": hashed,
            "address": plain,
            "scope": scope,
            "reason": reason,
            "source": source,
            "at": now,
        }


def _bare(text: str) -> str:
    """An address without what stands around it: a name, `mailto:`, quotes, a comma or a semicolon.

    >>> _bare("Ana <mailto:ana@example.org>;")
    'ana@example.org'
    """
    bare = text.strip(_AROUND)
    if "<" in bare and "@" in bare.rpartition("<")[2]:
        bare = bare.rpartition("<")[2].strip(_AROUND)
    return bare[7:] if bare[:7].casefold() == "mailto:" else bare


def _is_address(text: str) -> bool:
    """Whether mail could go to it: what could not would stand on the list and never hold anything back."""
    if _PLAIN.fullmatch(text):
        return True
    try:
        return bool(validate_email(text, check_deliverability=False))
    except EmailNotValidError:
        return False


def _lines(path: Path, column: str | None) -> Iterator[tuple[int, str, str, str | None]]:
    """Line number, address, reason and scope of each line of a list."""
    text = _text(path)
    head = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip().casefold() for name in next(reader, [])]
        place = _address_column(names, column, path) if any(names) else None
        if place is None:  # no header: every line is an address
            for number, line in enumerate(text.splitlines(), 1):
                yield number, re.split(f"[{_SEPARATORS}]", line, maxsplit=1)[0], "", None
            return
        said, of = (names.index(name) if name in names else None for name in ("reason", "scope"))
        before = reader.line_num
        for row in reader:
            if "\n" in _cell(row, place) or any("\n" in cell and "@" in cell for cell in row):
                raise InputError(f"suppressions: {path}: line {before + 1}: a quote is not closed; nothing was added")
            if row:
                scope = _cell(row, of).strip().casefold()
                yield reader.line_num, _cell(row, place), _cell(row, said), scope if scope in SCOPES else None
            before = reader.line_num
    except csv.Error as fault:
        raise InputError(f"suppressions: {path}: line {reader.line_num}: {fault}; nothing was added") from fault


def _cell(row: Sequence[str], place: int | None) -> str:
    return row[place] if place is not None and place < len(row) else ""


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise InputError(f"suppressions: {path}: cannot be read: {fault.strerror}") from fault
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _address_column(names: Sequence[str], column: str | None, path: Path) -> int | None:
    if column is not None:
        if column.casefold() not in names:
            hint = did_you_mean(column.casefold(), names)
            raise InputError(f"suppressions: {path}: no column {shown(column)}; it has {', '.join(names)}{hint}")
        return names.index(column.casefold())
    written = [name.replace("e-mail", "email") for name in names]
    known = [written.index(name) for name in _ADDRESS_COLUMNS if name in written]
    if known:
        return known[0]
    if _ADDRESS.fullmatch(_bare(names[0])) or _SHA256.fullmatch(names[0]) or len(names) == 1:
        return None
    allowed = ", ".join(_ADDRESS_COLUMNS)
    raise InputError(
        f"suppressions: {path}: which column holds the addresses? It has {', '.join(names)}; known: {allowed}"
    )


def _reason_of(said: str) -> str:
    words = said.casefold()
    if words in REASONS:
        return words
    return next((reason for part, reason in _REASON_WORDS.items() if part in words), "imported")


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        hint = did_you_mean(value, allowed)
        raise InputError(f"suppressions: {name}: expected one of {', '.join(allowed)}; found {shown(value)}{hint}")
