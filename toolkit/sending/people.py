"""Names of people as they are written down, and whether two are of one person."""

from __future__ import annotations

import unicodedata

from toolkit.errors import InputError, shown

__all__ = ["as_read", "is_same", "person"]

_BREAKS = ("Cc", "Zl", "Zp")  # control signs, and what begins a line or a paragraph


def person(name: object, *, where: str, who: str = "a person") -> str:
    """The name of a person as it is written down, without blanks around it.

    Raises:
        InputError: it is no text, blank, or more than one line: the audit has a line for each thing done.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: expected the name of {who}; found {shown(name)}")
    name = name.strip()
    if any(unicodedata.category(sign) in _BREAKS for sign in name):
        raise InputError(f"{where}: expected the name of {who} in one line; found {shown(name)}")
    return name


def is_same(one: str, other: str) -> bool:
    """Whether two names are of one person, as they are read: blanks, upper and lower case, how a sign is put together
    and what cannot be seen do not matter.

    >>> is_same("José  Lopez", "jose\\u0301 lopez\\u200b"), is_same("Ana", "Anna")
    (True, False)
    """
    return as_read(one) == as_read(other)


def as_read(name: str) -> str:
    """A name as people read it, so that one person is not two."""
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())
