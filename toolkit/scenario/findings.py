"""Something wrong or odd, at a place in a scenario; where the place has no line yet."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import Fault
from toolkit.scenario.document import Place

__all__ = ["Finding"]


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
