"""What was decided before anyone looked: the design that a result is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import MetricError
from toolkit.stats.looks import Looks
from toolkit.stats.sequential import Spending
from toolkit.whole import write_text

__all__ = ["Design"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Design:
    """A frozen design.

    Attributes:
        metric: name of the primary metric.
        kind: rate, mean or ratio.
        better: the direction that is an improvement.
        window: how long outcomes are counted after entry, for example `7d`.
        unit: what is randomised and analysed.
        alpha: two-sided chance of a false alarm.
        power: chance to find the effect.
        arms: share of each arm.
        control: the arm that the others are held against.
        units: units of all arms together at the planned end.
        looks: information times of the looks, the last 1; empty for a confidence sequence.
        spending: how alpha is spent: a family, or `always`.
        parameter: of the family, where it takes one.
        effect: the difference the design was made for.
    """

    metric: str
    kind: str
    units: int
    effect: float
    arms: Mapping[str, float]
    control: str = "control"
    better: str = "higher"
    window: str | None = None
    unit: str = "customer"
    alpha: float = 0.05
    power: float = 0.8
    looks: tuple[float, ...] = (1.0,)
    spending: str = "obrien_fleming"
    parameter: float | None = field(default=None)

    def looking(self, past: tuple[float, ...] = ()) -> Looks:
        """The looks of this design, with the units at the looks already taken."""
        spending: Any = self.spending if self.spending == "always" else Spending(self.spending, self.parameter)  # type: ignore[arg-type]
        return Looks(planned=self.units, past=past, spending=spending)

    def save(self, path: str | Path) -> Path:
        """Write the design as JSON.

        Args:
            path: where; an existing file must hold the same design.

        Returns:
            The path.

        Raises:
            MetricError: the file exists and holds another design: a frozen design does not change.
        """
        try:
            target = Path(path)
        except TypeError:
            raise MetricError(f"design: path: found {path!r}; allowed: a path, for example 'design.json'") from None
        text = json.dumps({"design": _VERSION, **asdict(self)}, indent=2, sort_keys=True) + "\n"
        try:
            if target.exists() and target.read_text(encoding="utf-8") != text:
                raise MetricError(f"{target}: holds another design; a frozen design does not change, choose a new name")
            write_text(target, text)
        except (OSError, UnicodeDecodeError) as fault:
            raise MetricError(f"{target}: a design cannot be written here: {fault}") from None
        return target

    @classmethod
    def load(cls, path: str | Path) -> Design:
        """Read a design written by `save`.

        Raises:
            MetricError: no such file, or it is not a design.
        """
        source = Path(path)
        try:
            found = json.loads(source.read_text(encoding="utf-8"))
            if found.pop("design") != _VERSION:
                raise MetricError(f"{source}: a design of another version; allowed: {_VERSION}")
            found["looks"] = tuple(found["looks"])
            return cls(**found)
        except FileNotFoundError:
            raise MetricError(f"{source}: no such file; plan(...).freeze(path) writes a design") from None
        except OSError as fault:
            raise MetricError(f"{source}: cannot be read: {fault.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise MetricError(f"{source}: not a design: {fault}") from None
