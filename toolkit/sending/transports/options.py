"""The options in a way out's short text, such as `?connections=20&timeout=30`."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from toolkit.errors import InputError, did_you_mean, shown

__all__ = ["options_of"]


def options_of(query: str, allowed: Sequence[str], *, what: str) -> dict[str, str]:
    """Options by name.

    Args:
        query: what stands behind the question mark.
        allowed: the names there are.
        what: names the way out in errors.

    Raises:
        InputError: a name that is not allowed; names the nearest one.

    >>> options_of("connections=20", ["connections", "timeout"], what="smtp")
    {'connections': '20'}
    """
    options = dict(parse_qsl(query))
    for name in options:
        if name not in allowed:
            hint = did_you_mean(name, allowed)
            raise InputError(f"{what}: unknown option {shown(name)}; allowed: {', '.join(allowed)}{hint}")
    return options
