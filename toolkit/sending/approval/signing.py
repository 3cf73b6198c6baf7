"""Ed25519 signatures over plain values in canonical JSON: of approvals, with the public keys of people."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from toolkit.errors import ApprovalError, InputError
from toolkit.sending.batch.manifest import digest_of, plain
from toolkit.sending.clock import Clock, utc
from toolkit.sending.files import saved

__all__ = ["Signature", "is_genuine", "public_hex", "public_key", "signed"]

_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A person's yes to something, for a time.

    Attributes:
        by: who approved.
        author: who wrote what is approved, where that was said.
        signed_at: when, UTC.
        expires_at: until when it holds, UTC.
        public_key: of the signing key, 64 hex digits.
        signature: Ed25519, base64, over all of the other values.
    """

    kind: ClassVar[str]
    called: ClassVar[str]
    not_signed: ClassVar[tuple[str, ...]] = ("signature",)

    by: str
    author: str | None
    signed_at: datetime
    expires_at: datetime
    public_key: str
    signature: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """Names the approval, for example in `Ledger.revoke`."""
        return digest_of(self.signature)

    @property
    def lasts(self) -> timedelta:
        """From the signature to the end."""
        return self.expires_at - self.signed_at

    def document(self) -> dict[str, Any]:
        """The approval as plain values, signature included."""
        return {**self._signed_values(), "signature": self.signature}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the approval to a JSON file.

        Returns:
            The file.

        Raises:
            InputError: the file cannot be written.
        """
        return saved(self.document(), path)

    @classmethod
    def from_document(cls, found: Mapping[str, Any], *, where: str) -> Self:
        """An approval from its plain values. Whether it holds is found out when it is used.

        Raises:
            ApprovalError: the values are no approval of this kind.
        """
        values = dict(found)
        try:
            if values.pop("kind") != cls.kind:
                raise ApprovalError(f"approval {where}: expected kind {cls.kind!r}")
            for name in ("signed_at", "expires_at"):
                values[name] = utc(datetime.fromisoformat(values[name]), name=name)
            approval = cls(**values)
            if not approval._is_typed():
                raise TypeError("a value of the wrong kind")
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise ApprovalError(f"approval {where}: is not {cls.called}: {fault}") from fault
        return approval

    def signed_by(self, key: Ed25519PrivateKey) -> Self:
        """The same, signed."""
        return replace(self, signature=signed(self._signed_values(), key))

    def check_signature(self, *, clock: Clock) -> None:
        """Whether the signature is of these values, and holds now.

        Raises:
            ApprovalError: it is not, is over, or was signed by a clock that is minutes ahead of this one: it would hold
                for longer than was said.
        """
        if not is_genuine(self._signed_values(), self.signature, self.public_key):
            raise ApprovalError("approval: its signature does not fit its content: it was changed after signing")
        now = clock()
        if now >= self.expires_at:
            raise ApprovalError(
                f"approval: over since {self.expires_at:%Y-%m-%d %H:%M} UTC (now {now:%Y-%m-%d %H:%M}); approve again"
            )
        if self.signed_at - now > _CLOCKS_DIFFER:
            minutes = _CLOCKS_DIFFER // timedelta(minutes=1)
            raise ApprovalError(
                f"approval: signed {self.signed_at:%Y-%m-%d %H:%M} UTC, which is still to come (now "
                f"{now:%Y-%m-%d %H:%M}); clocks may differ by {minutes} minutes: set the wrong one right and, where it "
                "was the signer's, approve again"
            )

    def _signed_values(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in self.not_signed}
        return {"kind": self.kind, **plain(values)}

    def _is_typed(self) -> bool:
        """Whether each value is of the kind it should be."""
        return all(isinstance(value, str) for value in (self.by, self.public_key, self.signature))


def signed(values: Mapping[str, Any], key: Ed25519PrivateKey) -> str:
    """The signature of a key over values, base64."""
    return base64.b64encode(key.sign(rfc8785.dumps(dict(values)))).decode()


def is_genuine(values: Mapping[str, Any], signature: str, public: str) -> bool:
    """Whether the signature is of these very values and this public key (64 hex digits)."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(base64.b64decode(signature, validate=True), rfc8785.dumps(dict(values)))
    except (InvalidSignature, ValueError, TypeError, AttributeError, binascii.Error, rfc8785.CanonicalizationError):
        return False
    return True


def public_hex(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The public key, 64 hex digits."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def public_key(text: str, *, where: str) -> str:
    """The public key that a person wrote down, as 64 hex digits.

    Args:
        text: 64 hex digits, or a line of ssh-keygen (`ssh-ed25519 AAAA… ana@laptop`).
        where: how the place is called in an error.

    Raises:
        InputError: neither of the two.

    >>> public_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ana", where="key")
    '0000000000000000000000000000000000000000000000000000000000000000'
    """
    said = str(text).strip()
    try:
        if said.startswith("ssh-"):
            key = load_ssh_public_key(said.encode())
            if not isinstance(key, Ed25519PublicKey):
                raise InputError(f"{where}: expected an Ed25519 key; found {said.split()[0]}")
            return public_hex(key)
        if len(said) == 64:
            return bytes.fromhex(said).hex()
    except (ValueError, UnsupportedAlgorithm) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(f"{where}: not a public key: {fault}") from fault
    raise InputError(f"{where}: expected 64 hex digits or a line 'ssh-ed25519 …'; found {said[:40]!r}")
