"""Addresses that get no mail, and why."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence

import idna
from sqlalchemy import Connection, select

from toolkit.sending.schema import suppressions

__all__ = ["SCOPES", "address_hash", "normal_address", "suppressed"]

SCOPES = ("all", "marketing")
_CHUNK = 400


def normal_address(address: str) -> str:
    """The address as suppression compares it: no blanks around it, small letters, the domain in its ASCII form.

    >>> normal_address("  Ana@BÜCHER.example ")
    'ana@xn--bcher-kva.example'
    """
    local, _, domain = address.strip().casefold().rpartition("@")
    with contextlib.suppress(idna.IDNAError):  # what the DNS does not know is compared as it stands
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local}@{domain}"


def address_hash(address: str) -> str:
    """SHA-256 of the normal form of an address, 64 hex digits: how lists are exchanged without their addresses.

    >>> address_hash("Ana@example.org") == address_hash(" ana@EXAMPLE.org")
    True
    """
    return hashlib.sha256(normal_address(address).encode()).hexdigest()


def suppressed(connection: Connection, mails: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Which of these mails may not go: for (address, class), the reason `suppressed` or `unsubscribed`.

    An address suppressed for `all` gets nothing, one suppressed for `marketing` still gets transactional mail.
    """
    hashes = {address: address_hash(address) for address, _ in mails}
    found: dict[str, dict[str, str]] = {}
    for some in _chunks(sorted(set(hashes.values()))):
        query = select(suppressions.c.address_sha256, suppressions.c.scope, suppressions.c.reason)
        for row in connection.execute(query.where(suppressions.c.address_sha256.in_(some))):
            found.setdefault(row.address_sha256, {})[row.scope] = row.reason
    stopped = {}
    for address, class_ in mails:
        scopes = found.get(hashes[address], {})
        said = scopes.get("all") or (scopes.get("marketing") if class_ == "marketing" else None)
        if said:
            stopped[address, class_] = "unsubscribed" if said == "unsubscribed" else "suppressed"
    return stopped


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
