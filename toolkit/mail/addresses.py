"""Addresses: what is wrong with one, and how one is shown."""

from __future__ import annotations

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

__all__ = ["masked", "wrong_address"]

_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")


def wrong_address(address: str) -> str | None:
    """What is wrong with an address, or None."""
    local, _, domain = address.rpartition("@")
    if _PLAIN_LOCAL.fullmatch(local) and len(local) <= 64 and len(address) <= 254 and _is_domain(domain):
        return None
    try:
        # No lookup of the domain: a batch is checked without a network, and example.org must pass.
        validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as fault:
        return f"not a valid address: {fault}"
    return None


@lru_cache(maxsize=1 << 14)
def _is_domain(domain: str) -> bool:
    return wrong_address(f"not.plain'@{domain}") is None


def masked(address: str) -> str:
    """An address of which only the first letter and the domain show.

    >>> masked("ana.lopez@example.org")
    'a***@example.org'
    """
    local, at_sign, domain = address.rpartition("@")
    return f"{local[:1]}***{at_sign}{domain}" if at_sign else f"{address[:1]}***"
