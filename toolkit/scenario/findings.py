"""Something wrong or odd, at a place in a scenario; where the place has no line yet."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import Fault, ScenarioError
from toolkit.scenario.document import Place

__all__ = ["Finding", "check_is"]


def check_is(value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """What was handed over is of a kind.

    Raises:
        ScenarioError: it is not.
    """
    if not isinstance(value, kinds):
        raise ScenarioError([Fault(f"expected {wanted}", found=type(value).__name__)])


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
