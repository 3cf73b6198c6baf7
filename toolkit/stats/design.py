"""What was decided before anyone looked: the design that a result is held against."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import MetricError, path_text, shown
from toolkit.stats.arguments import check_alpha, check_count, check_number, check_text
from toolkit.stats.doors import check_window
from toolkit.stats.looks import Looks
from toolkit.stats.sequential import Spending
from toolkit.whole import write_text

__all__ = ["Design"]

_VERSION = 1
_KINDS = ("rate", "mean", "ratio")
_BETTER = ("higher", "lower")
_MOST = sys.float_info.max
_MOST_UNITS = 10**15


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

    Raises:
        MetricError: a value that can be none of a design.
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

    def __post_init__(self) -> None:
        for name in ("metric", "control", "unit"):
            check_text(getattr(self, name), where=f"design: {name}")
        for name, words in (("kind", _KINDS), ("better", _BETTER)):
            if (found := getattr(self, name)) not in words:
                raise MetricError(f"design: {name}: found {shown(found)}; allowed: {', '.join(words)}")
        check_count(self.units, where="design: units", least=2, most=_MOST_UNITS)
        check_number(self.effect, where="design: effect", allowed="a number", least=-_MOST, most=_MOST)
        check_alpha(self.alpha, where="design")
        allowed = "a number between 0 and 1, for example 0.8"
        check_number(self.power, where="design: power", allowed=allowed, least=math.ulp(0.0), most=1 - 2**-53)
        if not isinstance(self.arms, Mapping) or self.control not in self.arms or len(self.arms) < 2:
            allowed = f"the share of each arm, {self.control!r} and at least one other"
            raise MetricError(f"design: arms: found {shown(self.arms)}; allowed: {allowed}")
        for arm, share in self.arms.items():
            check_text(arm, where="design: arms")
            check_number(share, where=f"design: arms: {arm}", allowed="a share", least=math.ulp(0.0), most=1.0)
        check_window(self.window, where="design")
        self._check_looks()

    def _check_looks(self) -> None:
        allowed = "information times, rising to 1; none for a confidence sequence"
        looks: object = self.looks
        if not isinstance(looks, tuple | list) or not all(isinstance(time, int | float) for time in looks):
            raise MetricError(f"design: looks: found {shown(looks)}; allowed: {allowed}")
        rising = [0.0, *looks]
        if any(not before < after for before, after in itertools.pairwise(rising)) or (looks and looks[-1] != 1):
            raise MetricError(f"design: looks: found {shown(looks)}; allowed: {allowed}")
        object.__setattr__(self, "looks", tuple(looks))
        if self.spending == "always":
            return
        Spending(self.spending, self.parameter)  # type: ignore[arg-type]
        if not looks:
            raise MetricError(f"design: looks: found none; with {self.spending} spending {allowed}")

    def looking(self, past: Sequence[float] = ()) -> Looks:
        """The looks of this design, with the units at the looks already taken.

        Raises:
            MetricError: units at earlier looks that are no such numbers, or do not rise.
        """
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
        target = _path(path)
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
        source = _path(path)
        try:
            found = json.loads(source.read_text(encoding="utf-8"))
            if found.pop("design") != _VERSION:
                raise MetricError(f"{source}: a design of another version; allowed: {_VERSION}")
            return cls(**found)
        except FileNotFoundError:
            raise MetricError(f"{source}: no such file; plan(...).freeze(path) writes a design") from None
        except OSError as fault:
            raise MetricError(f"{source}: cannot be read: {fault.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise MetricError(f"{source}: not a design: {fault}") from None


def _path(path: object) -> Path:
    """A path, of a text or a path; what is none is refused."""
    return Path(path_text(path, name="design: path", allowed="a path, for example 'design.json'", error=MetricError))
