"""Values that may enter a template: plain dicts, lists, strings, numbers, flags, dates; nothing with behaviour."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import Fault, TemplateError
from toolkit.mail.formats import ShownError

__all__ = ["LONGEST_TEXT", "Listed", "Named", "given", "plain"]

LONGEST_TEXT = 64_000
_LONGEST_LIST = 1_000
_DEEPEST = 6
_LARGEST_WHOLE = 2**53  # what a float holds to the last digit
_MISSING = object()
_BREAK = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
# Control characters, what turns the reading of all that follows it around, and halves of letters.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Listed(list[Any]):
    """A list for a template to loop over; Python's own way to write it is none for a reader."""

    def __str__(self) -> str:
        message = "a list cannot be shown as it is: {% for one in ... %} shows each, | join(', ') all"
        raise ShownError(message, repr(self)[:60])


class Named(dict[str, Any]):
    """Values by name for a template to pick from, likewise."""

    def __str__(self) -> str:
        raise ShownError("values by name cannot be shown as they are: name one, behind a dot", repr(self)[:60])


def given(values: object, path: str) -> dict[str, Any]:
    """The values somebody gives for a preview: a dict, or a row of a table, which pandas gives as a Series.

    Raises:
        TemplateError: something that has no values by name.
    """
    if isinstance(values, Mapping | pd.Series):
        return {str(name): value for name, value in values.items()}
    if values is None:
        return {}
    found = type(values).__name__
    raise TemplateError(
        [Fault("expected values by name", path=path, found=found, allowed="a dict, or a row of a table")]
    )


def plain(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The values as plain Python objects; missing ones (None, NaN, NaT, NA) are left out, so that they are undefined.

    10023.0 is 10023: a column of whole numbers holds floats as soon as one of them is missing, and nobody has ordered
    number 10023.0. Of a text, every kind of line break is a newline, and what nobody sees but a mail cannot hold is
    left out: control characters, halves of letters, and signs that turn the reading of what follows them around.

    Args:
        values: keys are strings; numpy and pandas scalars are welcome.
        path: name of the whole, for messages.

    Returns:
        A new dict that shares nothing that can change.

    Raises:
        TemplateError: a value of another type, a text over 64,000 characters, a list over 1,000 entries.

    >>> plain({"first_name": "Ana", "birthday": None, "orders": np.int64(3), "points": 120.0}, "customer")
    {'first_name': 'Ana', 'orders': 3, 'points': 120}
    >>> plain({"first_name": "Ana\\x00", "address": "12 rue de l'Exemple\\r\\nParis"}, "customer")
    {'first_name': 'Ana', 'address': "12 rue de l'Exemple\\nParis"}
    """
    result = Named()
    for key, value in values.items():
        kind = type(value)
        if (kind is str and len(value) <= LONGEST_TEXT and value.isprintable()) or kind is int or kind is bool:
            result[key] = value
        elif value is not None:
            converted = _one(value, path, key, 0)
            if converted is not _MISSING:
                result[key] = converted
    return result


def _one(value: Any, path: str, key: object, depth: int) -> Any:
    where = f"{path}.{key}"
    if value is None or value is pd.NA or value is pd.NaT:
        return _MISSING
    if isinstance(value, np.datetime64 | np.timedelta64):
        value = pd.Timestamp(value) if isinstance(value, np.datetime64) else str(value)
        if value is pd.NaT:
            return _MISSING
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, pd.Timestamp):
        return value.floor("us").to_pydatetime()
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise _refused(where, f"a text of {len(value):,} characters", f"at most {LONGEST_TEXT:,}")
        return _UNSEEN.sub("", _BREAK.sub("\n", value))
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE:
        return int(value)
    if isinstance(value, float | Decimal):
        return _MISSING if value != value else value  # noqa: PLR0124 NaN is the one number that differs from itself
    if isinstance(value, bool | int | datetime | date):
        return value
    if isinstance(value, Mapping):
        _check_size(value, where, depth)
        inner = {str(name): _one(one, where, name, depth + 1) for name, one in value.items()}
        return Named((name, one) for name, one in inner.items() if one is not _MISSING)
    if isinstance(value, list | tuple | np.ndarray):
        _check_size(value, where, depth)
        entries = (_one(one, where, index, depth + 1) for index, one in enumerate(value))
        return Listed(one for one in entries if one is not _MISSING)
    raise _refused(where, type(value).__name__, "text, number, flag, date, time, list or dict of these")


def _check_size(value: Any, where: str, depth: int) -> None:
    if len(value) > _LONGEST_LIST:
        raise _refused(where, f"{len(value):,} entries", f"at most {_LONGEST_LIST:,}")
    if depth >= _DEEPEST:
        raise _refused(where, "a deeply nested value", f"at most {_DEEPEST} levels")


def _refused(where: str, found: str, allowed: str) -> TemplateError:
    return TemplateError([Fault("a value that cannot enter a mail", path=where, found=found, allowed=allowed)])
