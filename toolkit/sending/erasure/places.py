"""Where a customer is erased besides the ledger: logs and files, answers to mails, outboxes and spools."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import default as mail_policy
from pathlib import Path

from toolkit.errors import InputError
from toolkit.events.erasure import (
    Person,
    addresses_in_files,
    addresses_in_log,
    erase_from_files,
    erase_from_log,
    text_names,
)
from toolkit.events.replacing import copies_beside
from toolkit.readable import counted
from toolkit.sending.copy_header import COPY_OF, copied_customer
from toolkit.sending.ledger.ledger import Ledger
from toolkit.tracking import Answers
from toolkit.whole import parts_beside

__all__ = ["Place", "in_answers", "in_files", "in_log", "in_outbox", "in_spool"]

_MOST_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """One place: how to find addresses in it, how to erase, and how to look whether anything is left."""

    name: str
    addresses: Callable[[str], frozenset[str]]
    erase: Callable[[Person, bool], Mapping[str, tuple[int, str]]]
    left: Callable[[Person], Sequence[str]]


def _told(counts: Mapping[str, int], *, yes: bool) -> dict[str, tuple[int, str]]:
    return {what: (count, "removed" if yes else "to be removed") for what, count in counts.items()}


def _nobody(customer_id: str) -> frozenset[str]:
    return frozenset()


# --- logs and files ---------------------------------------------------------------------------------------------------


def in_log(folder: str | os.PathLike[str]) -> Place:
    """A stored log."""

    def parts() -> list[str]:
        return [str(path) for path in sorted(Path(folder).glob("*.parquet"))]

    def left(person: Person) -> list[str]:
        named = text_names(parts(), person)
        manifest = Path(folder) / "manifest.json"
        said = [f"{counted(count, 'row')} of {Path(file).name}" for file, count in named.items() if count]
        said += ["manifest.json"] if person.is_named_in(manifest.read_bytes()) else []
        return said + _unfinished(copies_beside(Path(folder).resolve()))

    return Place(
        f"log {folder}",
        lambda customer_id: addresses_in_log(folder, customer_id),
        lambda person, yes: _told(erase_from_log(folder, person, yes=yes), yes=yes),
        left,
    )


def in_files(where: str | os.PathLike[str], columns: Mapping[str, str]) -> Place:
    """CSV or Parquet files that logs are read from."""

    def left(person: Person) -> list[str]:
        named = text_names(where, person)
        said = [f"{counted(count, 'row')} of {Path(file).name}" for file, count in named.items() if count]
        return said + _unfinished([copy for file in named for copy in parts_beside(file)])

    return Place(
        f"files {where}",
        lambda customer_id: addresses_in_files(where, customer_id, columns),
        lambda person, yes: _told(
            {
                f"rows of {Path(file).name}": n
                for file, n in erase_from_files(where, person, columns=columns, yes=yes).items()
            },
            yes=yes,
        ),
        left,
    )


def _unfinished(copies: Sequence[Path]) -> list[str]:
    """What a killed program left beside a place holds what stood there, whoever was erased from it since."""
    return [f"{copy}, a copy that a program which was stopped may have left: delete it" for copy in copies]


# --- answers ----------------------------------------------------------------------------------------------------------


def in_answers(where: str | os.PathLike[str]) -> Place:
    """What `toolkit track` took.

    Raises:
        InputError: there is nothing at that place.
    """
    if not Ledger.exists(where):
        raise InputError(f"answers {where}: there are none")

    def erased(person: Person, yes: bool) -> dict[str, tuple[int, str]]:
        with Answers.open(where) as opened:
            return _told(opened.erase(person.customer_id, person.addresses, yes=yes), yes=yes)

    def left(person: Person) -> list[str]:
        with Answers.open(where) as opened:
            found = opened.erase(person.customer_id, person.addresses, yes=False)
        return [f"{count:,} {what}" for what, count in found.items() if count]

    return Place(f"answers {str(where).rpartition('@')[2]}", _nobody, erased, left)


# --- outboxes and spools ----------------------------------------------------------------------------------------------


def in_outbox(folder: Path) -> Place:
    """A folder that mails were written to.

    Raises:
        InputError: there is no such folder.
    """
    _is_there(folder, "outbox")

    def theirs(person: Person) -> list[Path]:
        return [path for path in _mails_in(folder) if _is_mail_to(path, person)]

    def erased(person: Person, yes: bool) -> dict[str, tuple[int, str]]:
        found = theirs(person)
        if yes:
            for path in found:
                path.unlink()
        return _told({"mails": len(found)}, yes=yes)

    return Place(f"outbox {folder}", _nobody, erased, lambda person: [path.name for path in theirs(person)])


def _is_there(folder: Path, what: str) -> None:
    if not folder.is_dir():  # else a mistyped one would hold nothing of anybody
        raise InputError(f"erase: {what} {folder}: no such folder")


def _mails_in(folder: Path) -> Iterator[Path]:
    """Mails of an outbox or a Maildir, half-written ones included."""
    for inside in (folder, folder / "new", folder / "cur", folder / "tmp"):
        if inside.is_dir():
            whole = inside != folder
            yield from (path for path in sorted(inside.iterdir()) if path.is_file() and (whole or ".eml" in path.name))


def _is_mail_to(path: Path, person: Person) -> bool:
    content = path.read_bytes()
    if person.is_named_in(content):
        return True
    headers = BytesHeaderParser(policy=mail_policy).parsebytes(content)
    to, copied = headers["To"], copied_customer(headers.get(COPY_OF, ""))
    if copied is not None and copied == person.customer_id:
        return True
    return to is not None and any(one.addr_spec.casefold() in person.addresses for one in to.addresses)


def in_spool(folder: Path) -> Place:
    """A folder that `toolkit sender` takes batches from.

    Raises:
        InputError: there is no such folder.
    """
    _is_there(folder, "spool")

    def bundles() -> Iterator[Path]:
        for inside in (folder, folder / "done", folder / "refused"):
            if inside.is_dir():
                yield from (one for one in sorted(inside.iterdir()) if one.is_dir() and _is_bundle(one))

    def theirs(person: Person) -> list[Path]:
        return [one for one in bundles() if any(_names_in(path, person) for path in sorted(one.iterdir()))]

    def erased(person: Person, yes: bool) -> dict[str, tuple[int, str]]:
        found = theirs(person)
        waiting = [one for one in found if one.parent == folder]
        over = [one for one in found if one.parent != folder]
        if yes:
            for one in waiting:
                shutil.rmtree(one)
            for one in over:
                for path in sorted(one.iterdir()):
                    if path.name != "outcome.json" or _names_in(path, person):
                        path.unlink()
        return {
            "batches waiting": (len(waiting), "withdrawn: prepare and approve again" if yes else "to be withdrawn"),
            "batches that are over": (len(over), "removed but for their outcome" if yes else "to be removed"),
        }

    def left(person: Person) -> list[str]:
        return [f"batch {one.name}" for one in theirs(person)]

    return Place(f"spool {folder}", _nobody, erased, left)


def _is_bundle(folder: Path) -> bool:
    return folder.name not in ("done", "refused") and not folder.is_symlink()


def _names_in(path: Path, person: Person) -> bool:
    """Whether a file names a person; read piece by piece, for messages of a batch may be large."""
    overlap = max(len(text.encode()) for text in person.texts) + 8
    with open(path, "rb") as file:
        tail = b""
        while piece := file.read(_MOST_READ):
            if person.is_named_in(tail + piece):
                return True
            tail = piece[-overlap:]
    return False
