"""A replay whose customers were decided in parts: what each part counted and noted, added up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Protocol

from toolkit.engine.reports import Counted, Reports

__all__ = ["Parted"]


class _Part(Protocol):
    """What is kept of a part."""

    @property
    def counted(self) -> Counted: ...
    @property
    def unknown_zones(self) -> dict[str, int]: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def seen(self) -> int: ...


class Parted(Reports):
    """Answers that need no journey and no decision, wherever the parts were decided."""

    _parts: Sequence[_Part]

    @property
    def _counts(self) -> list[Counted]:
        return [part.counted for part in self._parts]

    @property
    def unknown_zones(self) -> dict[str, int]:
        """Customers by time zone that nobody knows."""
        total: dict[str, int] = {}
        for part in self._parts:
            for name, count in part.unknown_zones.items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def duplicates(self) -> int:
        """Exact repetitions of events that counted once."""
        return sum(part.duplicates for part in self._parts)

    @property
    def seen(self) -> int:
        """The bits of all marked events together."""
        return reduce(or_, (part.seen for part in self._parts), 0)
