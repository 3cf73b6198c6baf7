"""Counts in words, for notes and messages, and what is text at all."""

from __future__ import annotations

__all__ = ["counted", "is_unicode"]


def counted(number: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "row"), counted(12_000, "row")
    ('1 row', '12,000 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; half of a surrogate pair cannot.

    >>> is_unicode("é"), is_unicode(chr(0xD800))
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
