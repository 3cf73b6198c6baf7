"""Keys in files that only their owner can read: one signs approvals, one names mails.

A key is made on first use. The signing key is an Ed25519 private key (PEM; a key of `ssh-keygen -t ed25519` serves as
well). The mail key is 32 random bytes from which one key per purpose is derived. Further lines of its file are newer
secrets: the last one signs the links of mails, every one is accepted; Message-IDs stay with the first. A line that
begins with `retired` names mails and signs nothing any more.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import idna
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from toolkit.errors import InputError
from toolkit.sending.files import publish, write_whole
from toolkit.tracking.tokens import Tokens, own_key

__all__ = ["MailKey", "config_folder", "key_file", "mail_key", "new_key", "public_line", "rotate", "signing_key"]

_NAME = 16  # characters of the Message-ID: enough to find the mail


def config_folder() -> Path:
    """Where this user's keys live: `$XDG_CONFIG_HOME/trigger-toolkit`, else `~/.config/trigger-toolkit`."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "trigger-toolkit"


def signing_key(where: str | os.PathLike[str] | None) -> tuple[Ed25519PrivateKey, Path]:
    """The key that signs approvals, and the file it is in.

    Args:
        where: path of a private key; None for this user's own, made on first use.

    Returns:
        The key and its file.

    Raises:
        InputError: no such file, or not an Ed25519 private key without a passphrase.
    """
    path = Path(where).expanduser() if where is not None else config_folder() / "approval.pem"
    if where is None:
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        data = _made_once(path, pem)
    else:
        data = _read(path, "signing key")
    wrong = f"signing key {path}: expected an Ed25519 private key without a passphrase (PEM or ssh-keygen)"
    try:
        load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
        key = load(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise InputError(f"{wrong}; {fault}") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{wrong}; found {type(key).__name__}")
    return key, path


def new_key(where: str | os.PathLike[str] | None = None) -> Path:
    """A new Ed25519 key for approvals in a file that its owner alone can read; never over one that is there.

    Args:
        where: the file; this user's own key unless given.

    Returns:
        The file.

    Raises:
        InputError: there is a file already, or it cannot be written.
    """
    path = Path(where).expanduser() if where is not None else config_folder() / "approval.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if _published(path, pem):
        raise InputError(f"key {path}: is there already; move it away first if you want a new one")
    return path


def public_line(key: Ed25519PrivateKey) -> str:
    """The public half of a key on one line, as `approvers.yaml` takes it."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


@dataclass(frozen=True, slots=True)
class MailKey:
    """Names mails so that a name can be recognised, not guessed, and shows no address.

    >>> key = MailKey(bytes(32))
    >>> key.message_id("d1", domain="example.com")
    '3nal3iqg2vqw7zegwgje74l7rpjvg6xe@example.com'
    >>> token = key.token("d1", purpose="unsubscribe")
    >>> len(token), key.tokens.read(token, purpose="unsubscribe").mail, key.tokens.read(token, purpose="open")
    (34, '3nal3iqg2vqw7zeg', None)
    """

    secret: bytes = field(repr=False)
    signing: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def tokens(self) -> Tokens:
        """Makes and reads the tokens in the links of mails."""
        return Tokens(self.signing or (self.secret,))

    def message_id(self, decision_id: str, *, domain: str) -> str:
        """The Message-ID of a decision's mail, without angle brackets: the same every time it is asked for."""
        return f"{_base32(self._name(decision_id))}@{_ascii(domain)}"

    def mail_name(self, decision_id: str) -> str:
        """How the Message-ID of a decision's mail begins: 16 characters, its name in links and answers."""
        return _base32(self._name(decision_id))[:_NAME]

    def address_hash(self, address: str) -> str:
        """A keyed hash of an address, 64 hex digits: equal for equal addresses, and no way back."""
        return self._hmac("address", address.encode()).hex()

    def token(self, decision_id: str, *, purpose: str) -> str:
        """34 characters for a link in a decision's mail, for one purpose such as `unsubscribe`; no address inside."""
        return self.tokens.mint(self.mail_name(decision_id), purpose=purpose)

    def _name(self, decision_id: str) -> bytes:
        return self._hmac("message-id", decision_id.encode())[:20]

    def _hmac(self, purpose: str, value: bytes) -> bytes:
        return hmac.digest(own_key(self.secret, purpose), value, "sha256")


def name_of(message_id: str) -> str:
    """A mail's name in links and answers, by its Message-ID."""
    return message_id[:_NAME]


def mail_key(ledger: str) -> MailKey:
    """The key that names the mails of a ledger, made on first use beside it (or, for a database, in the user's folder).

    Args:
        ledger: path or URL of the ledger.

    Raises:
        InputError: the key's file holds something else, or cannot be written.
    """
    path = key_file(ledger)
    text = _made_once(path, f"{secrets.token_hex(32)}\n".encode())
    known: list[bytes] = []
    signing: list[bytes] = []
    for line in text.decode("ascii", "replace").split("\n"):
        retired, digits = line.startswith("retired "), line.removeprefix("retired ").strip()
        if not digits:
            continue
        try:
            known.append(bytes.fromhex(digits))
        except ValueError as fault:
            raise InputError(f"mail key {path}: expected 64 hex digits") from fault
        if len(known[-1]) != 32:
            raise InputError(f"mail key {path}: expected 64 hex digits; found {2 * len(known[-1])}")
        if not retired:
            signing.append(known[-1])
    if not signing:
        raise InputError(f"mail key {path}: expected 64 hex digits, in a line that is not retired")
    return MailKey(known[0], () if signing == known[:1] else tuple(signing))


def rotate(ledger: str, *, retire: bool = False) -> Path:
    """Give the links of mails a new secret; links of mails sent before stay good, unless they are retired.

    Args:
        ledger: path or URL of the ledger.
        retire: links of all mails sent before are dead from now on; their unsubscribe links, too.

    Returns:
        The key's file.

    Raises:
        InputError: there is none, the file holds something else, or it cannot be written.
    """
    path = key_file(ledger)
    if not path.exists():  # of a mistyped ledger; the links that were to be given another secret would keep theirs
        raise InputError(f"key {path}: there is none; no mail of ledger {ledger} was ever prepared")
    mail_key(ledger)
    lines = [line for line in path.read_text("ascii").split("\n") if line.strip()]
    if retire:
        lines = [line if line.startswith("retired ") else f"retired {line}" for line in lines]
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        write_whole(part, "".join(f"{line}\n" for line in [*lines, secrets.token_hex(32)]).encode())
        part.replace(path)
    except OSError as fault:
        raise InputError(f"key {path}: cannot be written: {fault.strerror}") from fault
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def key_file(ledger: str) -> Path:
    """Where the key that names the mails of a ledger lies."""
    if "://" in ledger and not ledger.startswith("sqlite:///"):
        host = hashlib.sha256(ledger.rpartition("@")[2].encode()).hexdigest()[:16]
        return config_folder() / f"mail-{host}.key"
    return Path(ledger.removeprefix("sqlite:///")).expanduser().with_suffix(".key")


def _made_once(path: Path, fresh: bytes) -> bytes:
    """What the file holds; the fresh bytes, if there was none. Two processes that begin at once agree on one."""
    if not path.exists():
        _published(path, fresh)
    return _read(path, "key")


def _published(path: Path, fresh: bytes) -> bool:
    """Write a key whole to a new file; True when there was one already, which stays."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(part, fresh)
        return publish(part, path)
    except OSError as fault:
        raise InputError(f"key {path}: cannot be written: {fault.strerror}") from fault
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise InputError(f"{what} {path}: cannot be read: {fault.strerror}") from fault


@lru_cache(maxsize=64)
def _ascii(domain: str) -> str:
    return idna.encode(domain, uts46=True).decode("ascii")


def _base32(value: bytes) -> str:
    return base64.b32encode(value).decode().lower()
