"""What comes in at the door of a drawing: the result that it draws, and nothing else."""

from __future__ import annotations

from toolkit.errors import InputError

__all__ = ["check_given"]


def check_given(given: object, kinds: type | tuple[type, ...], *, name: str, giver: str) -> None:
    """Refuse what is not the result that a drawing is of.

    Args:
        given: what was handed over.
        kinds: what it has to be.
        name: how the drawing calls it.
        giver: the call that gives such a result.

    >>> check_given(None, int, name="trace", giver="run.trace")
    Traceback (most recent call last):
        ...
    toolkit.errors.InputError: trace: found NoneType; allowed: what run.trace gives
    """
    if not isinstance(given, kinds):
        raise InputError(f"{name}: found {type(given).__name__}; allowed: what {giver} gives")
