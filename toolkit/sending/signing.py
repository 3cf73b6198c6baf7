"""Ed25519 signatures over plain values in canonical JSON, and names for public keys as people pass them on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from toolkit.errors import InputError

__all__ = ["is_genuine", "public_hex", "public_key", "signed"]


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
