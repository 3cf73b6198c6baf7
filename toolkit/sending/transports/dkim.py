"""DKIM (RFC 6376): a domain's signature on each mail, its List-Unsubscribe headers under it (RFC 8058).

The signature is added as the mail leaves. The same mail and key give the same signature, since its time is the mail's
own Date.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import idna
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from toolkit.errors import InputError, shown
from toolkit.sending.protocol import Outgoing, Receipt, Start, Transport, Witness
from toolkit.sending.transports.credentials import secret

__all__ = ["Dkim", "Signing", "signing"]

_SIGNED = (
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-id",
    "feedback-id",
)
_TWICE = ("from", "to", "subject", "date")  # named once more than they are there, so that none can be added
_SELECTOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


class Dkim:
    """A domain's key for signing mails.

    Args:
        domain: for example `example.com`; its DNS holds the public key at `SELECTOR._domainkey.DOMAIN`.
        selector: which of the domain's keys.
        key: an RSA private key of 2,048 bits or more, in PEM. Never shown.

    Raises:
        InputError: not such a key, or not a selector.
    """

    def __init__(self, domain: str, selector: str, key: bytes) -> None:
        if not _SELECTOR.fullmatch(selector):
            raise InputError(f"dkim: selector: expected letters, digits and hyphens; found {shown(selector)}")
        try:
            self.domain = idna.encode(domain, uts46=True).decode("ascii")
            loaded = load_pem_private_key(key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
            raise InputError(f"dkim: {domain}: expected a private key in PEM without a passphrase; {fault}") from None
        if not isinstance(loaded, RSAPrivateKey):  # few receivers know another kind
            raise InputError(f"dkim: {domain}: expected an RSA key; found {type(loaded).__name__}")
        if loaded.key_size < 2048:
            raise InputError(f"dkim: {domain}: the key has {loaded.key_size} bits; receivers want 2,048 or more")
        self.selector = selector
        self._key = loaded

    def __repr__(self) -> str:
        return f"Dkim({self.domain!r}, {self.selector!r})"

    def signed(self, message: bytes) -> bytes:
        """The mail with its DKIM-Signature in front.

        Args:
            message: with CRLF line ends.
        """
        head, _, body = message.partition(b"\r\n\r\n")
        fields = _fields(head + b"\r\n")
        names = [name for name in _SIGNED if any(there == name for there, _ in fields)]
        listed = [name for name in names for _ in range(sum(there == name for there, _ in fields))]
        listed += [name for name in _TWICE if name in names]
        tags = [
            "v=1",
            "a=rsa-sha256",
            "c=relaxed/relaxed",
            f"d={self.domain}",
            f"s={self.selector}",
            *_time(fields),
            f"h={':'.join(listed)}",
            f"bh={base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode()}",
            "b=",
        ]
        own = "DKIM-Signature: " + "; ".join(tags[:3]) + "".join(f";\r\n {tag}" for tag in _folded(tags[3:]))
        left = {name: [field for there, field in fields if there == name] for name in names}
        chosen = b"".join(_relaxed(name, left[name].pop()) for name in listed if left[name])
        value = own.encode()[len("DKIM-Signature:") :]
        data = chosen + _relaxed("dkim-signature", value).removesuffix(b"\r\n")
        signature = self._key.sign(data, PKCS1v15(), hashes.SHA256())
        text = base64.b64encode(signature).decode()
        lines = "\r\n ".join(text[start : start + 72] for start in range(0, len(text), 72))
        return f"{own}{lines}\r\n".encode() + message


class Signing:
    """A way out that signs each mail first.

    Args:
        way: the way out.
        dkim: the domain's key.
    """

    def __init__(self, way: Transport, dkim: Dkim) -> None:
        self.way = way
        self.dkim = dkim

    def __repr__(self) -> str:
        return f"Signing({self.way!r}, {self.dkim!r})"

    @property
    def name(self) -> str:
        """Names the way out in the ledger."""
        return self.way.name

    @property
    def at_once(self) -> int:
        """As the way out."""
        return self.way.at_once

    @property
    def rehearsal(self) -> bool:
        """As the way out."""
        return self.way.rehearsal

    @property
    def ledger(self) -> str | None:
        """As the way out."""
        return self.way.ledger

    def deliver(self, mails: Iterator[Outgoing | None], start: Start) -> Iterator[Receipt | None]:
        """One receipt per mail started, each signed before it goes."""
        return self.way.deliver(
            (None if mail is None else replace(mail, message=self.dkim.signed(mail.message)) for mail in mails), start
        )


class WitnessSigning(Signing):
    """The same for a way out that can tell afterwards what arrived."""

    def find(self, decision_ids: Sequence[str]) -> dict[str, Receipt]:
        """A receipt for each of these mails that arrived."""
        return self.way.find(decision_ids) if isinstance(self.way, Witness) else {}


def signing(way: Transport, selector: str, domain: str) -> Signing:
    """The way out, signing with the key that `TOOLKIT_DKIM_KEY` holds or names the file of.

    Raises:
        InputError: there is no such key, or it is not one.
    """
    said = secret("TOOLKIT_DKIM_KEY")
    if said is None:
        raise InputError("dkim: set TOOLKIT_DKIM_KEY to the private key's file, or to the key itself (PEM)")
    try:
        key = said.encode() if said.lstrip().startswith("-----BEGIN") else Path(said).expanduser().read_bytes()
    except OSError as fault:
        raise InputError(f"dkim: the key file cannot be read: {fault.strerror}") from None
    kind = WitnessSigning if isinstance(way, Witness) else Signing
    return kind(way, Dkim(domain, selector, key))


def _fields(head: bytes) -> list[tuple[str, bytes]]:
    """Name in small letters and raw value of each header, in order."""
    found = []
    for raw in re.split(rb"\r\n(?![ \t])", head.removesuffix(b"\r\n")):
        name, _, value = raw.partition(b":")
        found.append((name.decode("ascii", errors="replace").strip().lower(), value))
    return found


def _relaxed(name: str, value: bytes) -> bytes:
    """A header in the relaxed canonical form (RFC 6376, 3.4.2)."""
    unfolded = value.replace(b"\r\n", b"")
    return name.encode() + b":" + re.sub(rb"[ \t]+", b" ", unfolded).strip() + b"\r\n"


def _relaxed_body(body: bytes) -> bytes:
    """A body in the relaxed canonical form (RFC 6376, 3.4.4)."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _time(fields: Sequence[tuple[str, bytes]]) -> list[str]:
    said = next((value for name, value in fields if name == "date"), None)
    return [] if said is None else [f"t={int(parsedate_to_datetime(said.decode().strip()).timestamp())}"]


def _folded(tags: Sequence[str]) -> Iterator[str]:
    """The tags, the list of headers over several lines."""
    for tag in tags:
        yield re.sub(r"((?:[^:]+:){5})(?=.)", r"\1\r\n  ", tag) if tag.startswith("h=") else tag
