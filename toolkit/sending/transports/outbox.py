"""The outbox: a folder that gets one .eml file per mail, to look at, to keep, or to hand on.

A file appears whole or not at all, and is never written over. Its name is the decision's id, so that the folder itself
says what was sent.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from toolkit.errors import TransportError
from toolkit.sending.files import publish, write_whole
from toolkit.sending.protocol import PAUSE, Outgoing, Receipt, Start
from toolkit.sending.states import State

__all__ = ["Maildir", "Outbox"]

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_STALE_SECONDS = 3600


class Outbox:
    """A folder of .eml files. Nothing leaves the machine.

    Args:
        folder: made on the first mail.
    """

    at_once = 64  # in one commit; what a crash leaves unknown, the folder answers
    rehearsal = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().absolute()

    def __repr__(self) -> str:
        return f"Outbox({str(self.folder)!r})"

    @property
    def name(self) -> str:
        """Names this folder in the ledger."""
        return f"outbox:{self.folder.resolve()}"

    @property
    def ledger(self) -> str:
        """The ledger of this outbox lives in it, so that the two are moved and removed together."""
        return str(self.folder / "ledger.sqlite")

    def deliver(self, mails: Iterator[Outgoing | None], start: Start) -> Iterator[Receipt]:
        """One receipt per mail; its file stands in the folder, safe on the disk, before the receipt is given.

        Raises:
            TransportError: the folder cannot be written, for example because the disk is full.
        """
        self._sweep()
        while drawn := list(islice(_until_rest(mails), self.at_once)):
            some = [mail for mail in drawn if mail is not None]
            if len(some) < len(drawn):
                time.sleep(PAUSE)
            granted = start([mail.decision_id for mail in some])
            receipts = [self._write(mail) for mail in some if mail.decision_id in granted]
            if receipts:
                self._flush()
            yield from receipts

    def find(self, decision_ids: Sequence[str]) -> dict[str, Receipt]:
        """A receipt for each of these mails whose file stands in the folder."""
        return {
            decision_id: Receipt(decision_id, State.ACCEPTED, receipt=path.name, already=True)
            for decision_id in decision_ids
            if (path := self._there(decision_id)) is not None
        }

    def _there(self, decision_id: str) -> Path | None:
        """The file of a mail that arrived."""
        path = self._path(decision_id)
        return path if path.exists() else None

    def _path(self, decision_id: str) -> Path:
        """Where a mail goes."""
        return self.folder / f"{_file_name(decision_id)}.eml"

    def _part(self, path: Path) -> Path:
        """Where it is while half written."""
        return path.with_name(f".{secrets.token_hex(6)}.{path.name}.part")

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def _kept_in(self) -> Path:
        """The folder whose entries must be safe on the disk."""
        return self.folder

    def _write(self, mail: Outgoing) -> Receipt:
        path, there = self._path(mail.decision_id), self._there(mail.decision_id)
        if there is not None:
            return Receipt(mail.decision_id, State.ACCEPTED, receipt=there.name, already=True)
        part = self._part(path)
        try:
            self._make()
            try:
                write_whole(part, mail.message)
                already = publish(part, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()
        except OSError as fault:
            raise TransportError(f"outbox {self.folder}: {path.name} cannot be written: {fault.strerror}") from fault
        return Receipt(mail.decision_id, State.ACCEPTED, receipt=path.name, already=already)

    def _sweep(self) -> None:
        """Remove what writers that were killed left half done."""
        parts = self._part(self._path("x")).parent
        if not parts.is_dir():
            return
        with contextlib.suppress(OSError), os.scandir(parts) as entries:
            for entry in entries:
                if entry.name.endswith(".eml.part") and entry.stat().st_mtime < time.time() - _STALE_SECONDS:
                    os.unlink(entry.path)

    def _flush(self) -> None:
        try:
            folder = os.open(self._kept_in, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as fault:
            raise TransportError(f"outbox {self.folder}: cannot be made safe: {fault.strerror}") from fault


def _until_rest(mails: Iterator[Outgoing | None]) -> Iterator[Outgoing | None]:
    """The mails up to, and with, the next None."""
    for mail in mails:
        yield mail
        if mail is None:
            return


def _file_name(decision_id: str) -> str:
    if not decision_id or decision_id[0] == "." or not _ALPHABET.issuperset(decision_id):
        raise TransportError(f"outbox: {decision_id!r} cannot be the name of a file")
    return decision_id


class Maildir(Outbox):
    """A Maildir, which mail programs open as a folder of mails. Nothing leaves the machine.

    A mail stands in `new/` under its decision's id; a mail program moves it to `cur/` when it was read.

    Args:
        folder: made, with `new`, `cur` and `tmp`, on the first mail.
    """

    def __repr__(self) -> str:
        return f"Maildir({str(self.folder)!r})"

    @property
    def name(self) -> str:
        """Names this folder in the ledger."""
        return f"maildir:{self.folder.resolve()}"

    def _there(self, decision_id: str) -> Path | None:
        name = _file_name(decision_id)
        path = self.folder / "new" / name
        if path.exists():
            return path
        return next((self.folder / "cur").glob(f"{name}:2,*"), None)

    def _path(self, decision_id: str) -> Path:
        return self.folder / "new" / _file_name(decision_id)

    def _part(self, path: Path) -> Path:
        return self.folder / "tmp" / f"{secrets.token_hex(6)}.{path.name}.eml.part"

    def _make(self) -> None:
        for name in ("new", "cur", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def _kept_in(self) -> Path:
        return self.folder / "new"
