"""Addresses and names hidden, unless somebody asks to see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.mail import Letter
from toolkit.sending.display import masked

__all__ = ["hidden_in", "hidden_letter", "hidden_word"]

PERSONAL = frozenset(
    ("email", "name", "first_name", "last_name", "full_name", "phone", "birthday", "address", "street")
)
"""Attributes that say who somebody is."""


def hidden_word(value: object) -> str:
    """A name as a reviewer sees it.

    >>> hidden_word("Ana"), hidden_word("ana.lopez@example.org")
    ('A•••', 'a***@example.org')
    """
    text = str(value)
    if "@" in text:
        return masked(text)
    return f"{text[:1]}•••" if text else ""


def hidden_letter(letter: Letter) -> Letter:
    """The same letter with who it is for hidden; everything else is as it will be."""
    return replace(letter, customer=_hidden(letter.customer))


def hidden_in(text: str, letter: Letter) -> str:
    """A text about a letter, its address hidden."""
    return text.replace(letter.to, masked(letter.to))


def _hidden(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: hidden_word(value) if name in PERSONAL and isinstance(value, str) and name != "birthday" else value
        for name, value in values.items()
    }
