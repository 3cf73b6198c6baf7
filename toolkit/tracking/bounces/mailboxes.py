"""Bounces out of a mailbox: a Maildir, or a folder of an IMAP server; each message is read once."""

from __future__ import annotations

import hashlib
import imaplib
import mailbox
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from toolkit.errors import AnswersError, InputError, shown
from toolkit.tracking.bounces.reader import read_bounce
from toolkit.tracking.incoming import Incoming, storable
from toolkit.tracking.store import Answers, now_micros

__all__ = ["BouncesRead", "incoming_bounces", "messages_of", "take_bounces"]

_LARGEST = 10 * 2**20
_GROUP = 100


@dataclass(frozen=True, slots=True)
class BouncesRead:
    """What was found in a mailbox.

    Attributes:
        messages: looked at.
        hard, soft: recipients, new ones only.
        again: recipients told of before.
        no_bounce: messages that are none.
        unknown: recipients of mails that are not known here; kept apart.
    """

    messages: int
    hard: int
    soft: int
    again: int
    no_bounce: int
    unknown: int

    def __str__(self) -> str:
        return (
            f"messages {self.messages:,}: hard bounces {self.hard:,}, soft {self.soft:,}, known already "
            f"{self.again:,}, no bounce {self.no_bounce:,}; of mails not sent from here {self.unknown:,}"
        )


def messages_of(where: str | os.PathLike[str]) -> Iterator[bytes]:
    """The messages of a mailbox, none of them changed or marked.

    Args:
        where: a Maildir, a folder of .eml files, or `imaps://user:password@host/FOLDER`.

    Raises:
        InputError: no such folder, or not such a URL.
        AnswersError: the server refuses.
    """
    text = os.fspath(where)
    if text.startswith(("imap://", "imaps://")):
        yield from _imap(text)
        return
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise InputError(f"bounces: {text} is no folder; give a Maildir, a folder of .eml files, or imaps://…")
    if (folder / "cur").is_dir() and (folder / "new").is_dir():
        box = mailbox.Maildir(str(folder), create=False)
        readers: Iterable[Callable[[], bytes]] = (partial(box.get_bytes, key) for key in sorted(box.keys()))
    else:
        readers = (partial(_read, path) for path in sorted(folder.rglob("*.eml")))
    for read in readers:
        try:
            message = read()
        except (KeyError, FileNotFoundError):  # somebody took it away meanwhile
            continue
        if len(message) <= _LARGEST:
            yield message


def _read(path: Path) -> bytes:
    """A message, or just more of it than is looked at."""
    with path.open("rb") as file:
        return file.read(_LARGEST + 1)


def incoming_bounces(raw: bytes, *, now: int) -> list[Incoming]:
    """What a message says, as answers without addresses; the same message gives the same names."""
    found = []
    for one in read_bounce(raw):
        if one.kind not in ("bounced", "deferred", "delivered"):
            continue
        said = one.said.replace(one.recipient, "…")
        mail = one.mail or one.message_id or hashlib.sha256(raw).hexdigest()
        name = hashlib.sha256(f"{mail}/{one.recipient.lower()}/{one.kind}".encode("utf-8", "replace")).hexdigest()
        found.append(
            storable(
                Incoming(
                    one.kind,
                    one.at or now,
                    "bounce",
                    one.mail,
                    event_id=f"bounce:{name[:40]}",
                    bounce_type=one.bounce_type,
                    domain=one.recipient.rpartition("@")[2].lower() or None,
                    provider_mail=(one.message_id or "").strip("<> ") or None,
                    detail={"cause": one.cause, "status": one.status, "said": said},
                )
            )
        )
    return found


def take_bounces(messages: Iterable[bytes], answers: Answers) -> BouncesRead:
    """Every bounce among some messages into the store, each once.

    Args:
        messages: as they lie in a mailbox.
        answers: the store.

    Returns:
        What was found.
    """
    counts = dict.fromkeys(("messages", "hard", "soft", "again", "no_bounce", "unknown"), 0)
    group: list[Incoming] = []

    def write() -> None:
        for one, kept in zip(group, answers.record(group), strict=True):
            counts["unknown"] += kept.known is False
            if not kept.fresh:
                counts["again"] += 1
            elif one.bounce_type is not None:
                counts[one.bounce_type] += 1
        group.clear()

    for raw in messages:
        counts["messages"] += 1
        found = incoming_bounces(raw, now=now_micros())
        counts["no_bounce"] += not found
        group += found
        if len(group) >= _GROUP:
            write()
    write()
    return BouncesRead(**counts)


def _imap(url: str) -> Iterator[bytes]:
    with _signed_in(url) as (server, folder):
        status, _ = server.select(f'"{folder}"', readonly=True)
        if status != "OK":
            raise AnswersError(f"bounces: the server has no folder {shown(folder)}")
        _, found = server.search(None, "ALL")
        for number in (found[0] or b"").split():
            _, parts = server.fetch(number.decode(), "(BODY.PEEK[])")
            for part in parts:
                if isinstance(part, tuple) and len(part[1]) <= _LARGEST:
                    yield part[1]


@contextmanager
def _signed_in(url: str) -> Iterator[tuple[imaplib.IMAP4, str]]:
    parts = urlsplit(url)
    if not parts.hostname or not parts.username:
        raise InputError("bounces: expected imaps://user:password@host/FOLDER")
    kind = imaplib.IMAP4_SSL if parts.scheme == "imaps" else imaplib.IMAP4
    try:
        server = kind(parts.hostname, parts.port or (993 if parts.scheme == "imaps" else 143), timeout=30)
        try:
            server.login(unquote(parts.username), unquote(parts.password or ""))
            yield server, unquote(parts.path.lstrip("/")) or "INBOX"
        finally:
            server.logout()
    except (imaplib.IMAP4.error, OSError) as fault:
        raise AnswersError(f"bounces: {parts.hostname}: {fault}") from fault
