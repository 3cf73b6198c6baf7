"""The header by which a test copy is told from a mail, and which says whose mail it is a copy of."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

__all__ = ["COPY_OF", "copied_customer", "copy_header"]

COPY_OF = "X-Test-Copy"

_AS_IT_IS = "!#$&'()*+,-./:;=?@[]^_`{|}~"  # besides letters and digits
_LONGEST = 70  # characters of a customer's id, each twelve at most: a line has room for 998


def copy_header(decision_id: str, customer_id: str) -> bytes:
    """The header's line.

    >>> copy_header("4f2a", "c17")
    b'X-Test-Copy: decision=4f2a; customer="c17"\\r\\n'
    """
    whose = quote(customer_id[:_LONGEST], safe=_AS_IT_IS)
    return f'{COPY_OF}: decision={decision_id}; customer="{whose}"\r\n'.encode("ascii")


def copied_customer(value: str) -> str | None:
    """The customer whose mail was copied, by the header's value; None where it names nobody.

    >>> copied_customer('decision=4f2a; customer="Jos%C3%A9"'), copied_customer("")
    ('José', None)
    """
    found = re.search(r'customer="([^"]*)"', value)
    return None if found is None else unquote(found[1])
