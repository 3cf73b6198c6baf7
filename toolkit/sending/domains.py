"""The part of an address after the @."""

from __future__ import annotations

import contextlib
from functools import lru_cache

import idna

__all__ = ["domain_of", "in_ascii"]


def domain_of(address: str) -> str:
    """The part of an address after the @, in small letters.

    >>> domain_of("Ana@Example.org")
    'example.org'
    """
    return address.rpartition("@")[2].casefold()


@lru_cache(4096)  # a batch has many people and few domains, and the rules of IDNA take longer than the mail's way out
def in_ascii(domain: str) -> str:
    """The domain as the DNS knows it; as it stands where the DNS cannot know it.

    >>> in_ascii("bücher.example"), in_ascii("under_score.example")
    ('xn--bcher-kva.example', 'under_score.example')
    """
    with contextlib.suppress(idna.IDNAError):
        return idna.encode(domain, uts46=True).decode("ascii")
    return domain
