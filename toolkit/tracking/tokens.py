"""Tokens in the links of a mail: they name the mail and what the link is for, and nobody can make one up.

A token is 25 bytes in 34 characters: the name of the mail (10 bytes, as its Message-ID begins), the number of the link
in the mail (1 byte), and an HMAC over both (14 bytes) under a key of one purpose. No address is inside.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from functools import lru_cache

from toolkit.errors import InputError, shown

__all__ = ["LENGTH", "MOST_LINKS", "PURPOSES", "TRAP", "Token", "Tokens", "own_key"]

LENGTH = 34
PURPOSES = ("open", "click", "unsubscribe", "preferences", "test")
MOST_LINKS = 255
TRAP = 255
"""The number of the link that no person can see."""

_NAME_BYTES = 10
_MAC_BYTES = 14


@dataclass(frozen=True, slots=True)
class Token:
    """What a genuine token says: which mail, and which link of it."""

    mail: str
    number: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Makes and reads tokens. The last secret signs; what any of them signed is genuine.

    To change the secret, add a new one at the end; when mails of the old one need no answer any more, leave it out.

    >>> tokens = Tokens((bytes(32),))
    >>> made = tokens.mint("3nal3iqg2vqw7zeg", purpose="click", number=2)
    >>> len(made), tokens.read(made, purpose="click")
    (34, Token(mail='3nal3iqg2vqw7zeg', number=2))
    >>> tokens.read(made, purpose="open") is None
    True
    """

    secrets: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secrets or any(len(secret) < 32 for secret in self.secrets):
            raise InputError("tokens: expected at least one secret, each of at least 32 bytes")

    def mint(self, mail: str, *, purpose: str, number: int = 0) -> str:
        """34 characters that name a link of a mail, for one purpose.

        Args:
            mail: how the Message-ID of the mail begins, 16 characters of base32.
            purpose: open, click, unsubscribe or preferences; test, of a test copy, which is nobody's mail.
            number: of the link in the mail, 0 to 255.

        Raises:
            InputError: not such a name.
        """
        try:
            said = base64.b32decode(mail.upper()) + bytes((number,))
        except (binascii.Error, ValueError) as fault:
            raise InputError(
                f"tokens: expected 16 characters of base32 and a number up to 255; found {shown(mail)}"
            ) from fault
        if len(said) != _NAME_BYTES + 1:
            raise InputError(f"tokens: expected the 16 characters a Message-ID begins with; found {shown(mail)}")
        return _base64(said + _mac(self.secrets[-1], purpose, said))

    def read(self, token: str, *, purpose: str) -> Token | None:
        """What a token says; None for one that none of the secrets made for this purpose."""
        if len(token) != LENGTH:
            return None
        try:
            data = base64.b64decode(token + "==", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        said, mac = data[: _NAME_BYTES + 1], data[_NAME_BYTES + 1 :]
        # Every secret is tried, so that the time taken does not tell which one it was; the last bits must be as minted.
        genuine = [hmac.compare_digest(mac, _mac(secret, purpose, said)) for secret in self.secrets]
        if not any(genuine) or _base64(data) != token:
            return None
        return Token(base64.b32encode(said[:_NAME_BYTES]).decode().lower(), said[_NAME_BYTES])


@lru_cache(maxsize=256)
def own_key(secret: bytes, purpose: str) -> bytes:
    """The key of one purpose."""
    return hmac.digest(secret, purpose.encode(), "sha256")


def _mac(secret: bytes, purpose: str, said: bytes) -> bytes:
    return hmac.digest(own_key(secret, purpose), said, "sha256")[:_MAC_BYTES]


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
