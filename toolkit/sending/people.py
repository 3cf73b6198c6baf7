"""Names of people as they are written down, and whether two are of one person."""

from __future__ import annotations

from toolkit.errors import InputError

__all__ = ["is_same", "person"]


def person(name: object, *, where: str, who: str = "a person") -> str:
    """The name of a person as it is written down, without blanks around it.

    Raises:
        InputError: it is no text, or blank.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: expected the name of {who}; found {name!r}")
    return name.strip()


def is_same(one: str, other: str) -> bool:
    """Whether two names are of one person: blanks around and upper and lower case do not matter."""
    return one.strip().casefold() == other.strip().casefold()
