"""Addresses and names hidden, unless somebody asks to see them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.mail import Letter
from toolkit.mail.addresses import masked

__all__ = ["hidden_in", "hidden_letter", "hidden_word", "says_who"]

_NAMES = (
    "firstname",
    "lastname",
    "fullname",
    "givenname",
    "familyname",
    "middlename",
    "surname",
    "nickname",
    "username",
)
_OTHERS = ("email", "mail", "phone", "phonenumber", "mobile", "telephone", "address", "street", "login")
_WHOLE = frozenset(
    ("name", "fname", "lname", "tel", "prenom", "nom", "vorname", "nachname", "nombre", "apellido", "cognome")
)


def hidden_word(value: object) -> str:
    """A name as a reviewer sees it.

    >>> hidden_word("Ana"), hidden_word("ana.lopez@example.org")
    ('A•••', 'a***@example.org')
    """
    text = str(value)
    if "@" in text:
        return masked(text)
    return f"{text[:1]}•••" if text else ""


def says_who(attribute: str) -> bool:
    """Whether an attribute says who somebody is, by its name, however it is written.

    >>> [says_who(name) for name in ("first_name", "FirstName", "Prénom", "billing_address", "country", "plan_name")]
    [True, True, True, True, False, False]
    """
    plain = unicodedata.normalize("NFKD", attribute).casefold()
    letters = "".join(letter for letter in plain if letter.isalpha() and letter.isascii())
    return letters in _WHOLE or letters.endswith((*_NAMES, *_OTHERS))


def hidden_letter(letter: Letter) -> Letter:
    """The same letter with who it is for hidden; everything else is as it will be."""
    return replace(letter, customer=_hidden(letter.customer))


def hidden_in(text: str, letter: Letter) -> str:
    """A text about a letter, its address hidden."""
    return text.replace(letter.to, masked(letter.to))


def _hidden(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: hidden_word(value) if isinstance(value, str) and says_who(name) else value
        for name, value in values.items()
    }
