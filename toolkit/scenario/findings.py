"""Something wrong or odd, at a place in a scenario; where the place has no line yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import Fault, ScenarioError, is_one_of
from toolkit.scenario.document import Place

__all__ = ["Finding", "check_is", "kinds_of"]

_KINDS = ("number", "text", "flag", "time", "empty")


def check_is(value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """What was handed over is of a kind.

    Raises:
        ScenarioError: it is not.
    """
    if not isinstance(value, kinds):
        raise ScenarioError([Fault(f"expected {wanted}", found=type(value).__name__)])


def kinds_of(columns: object) -> tuple[tuple[str, str], ...] | None:
    """The columns that a condition may name, each with its kind, in the order of the alphabet; None where any may be.

    Raises:
        ScenarioError: what is given says no kinds of columns.
    """
    if columns is None:
        return None
    if not isinstance(columns, Mapping):
        wanted = "columns and their kinds, such as {'value': 'number'}"
        raise ScenarioError([Fault(f"expected {wanted}", found=type(columns).__name__)])
    for name, kind in columns.items():
        if not isinstance(name, str):
            raise ScenarioError([Fault("a column is named by text", found=name)])
        if not is_one_of(kind, _KINDS):
            raise ScenarioError([Fault("no kind of column", path=name, found=kind, allowed=", ".join(_KINDS))])
    return tuple(sorted(columns.items()))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, or (a warning) something odd, at a place in a scenario or in policies.

    Where `beside` could not be read, nothing is to be said: what is missing may have been there.
    """

    message: str
    place: Place = ()
    found: object = None
    allowed: str | None = None
    nearest: str | None = None
    warning: bool = False
    beside: Place = ()

    def fault(self, *, file: str | None = None, line: int | None = None, path: str | None = None) -> Fault:
        """The fault for people, where its file, line and path are known."""
        return Fault(self.message, file, line, path or None, self.found, self.allowed, self.nearest)
