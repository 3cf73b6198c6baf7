"""What all metrics share: a name, a role, a direction, the terms they need, and a comparison with control."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from toolkit.errors import MetricError, did_you_mean, shown
from toolkit.stats.arguments import LARGEST, check_column, check_number
from toolkit.stats.comparison import Comparison
from toolkit.stats.moments import Term
from toolkit.stats.outcomes import Outcomes

__all__ = ["Metric", "Role", "Setting", "fault_of", "join"]

Role = Literal["primary", "secondary", "guardrail"]
_ROLES = ("primary", "secondary", "guardrail")
_NEEDED = ("column", "numerator", "denominator")
_COLUMNS = (*_NEEDED, "verdict", "strata", "since")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What holds for every metric of one analysis.

    Attributes:
        alpha: two-sided chance of a false alarm, for one comparison.
        seed: where permutations and bootstraps start.
    """

    alpha: float = 0.05
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """What all metrics share.

    Attributes:
        name: what to call it; the column unless given.
        role: `primary` decides, `secondary` explains, `guardrail` must not get worse. The first metric of an
            experiment is primary unless roles are given.
        better: `higher` or `lower`.
        margin: for a guardrail, the largest harm to accept, in the metric's own unit (0.002 is 0.2 points).
        margin_relative: the same as a share of control (0.05 is 5%).
    """

    name: str | None = None
    role: Role | None = None
    better: Literal["higher", "lower"] = "higher"
    margin: float | None = None
    margin_relative: float | None = None

    kind: ClassVar[str] = "mean"

    def __post_init__(self) -> None:
        for field in _COLUMNS:
            if getattr(self, field, None) is not None or (field in _NEEDED and hasattr(self, field)):
                check_column(getattr(self, field), where=f"{type(self).__name__}: {field}")
        for field in ("name", "currency"):
            found = getattr(self, field, None)
            if found is not None and not (isinstance(found, str) and found):
                raise MetricError(f"{type(self).__name__}: {field}: found {shown(found)}; allowed: a text")
        for field, allowed in (("role", _ROLES), ("better", ("higher", "lower"))):
            found = getattr(self, field)
            if found is not None and not (isinstance(found, str) and found in allowed):
                raise MetricError(
                    f"{self.label}: {field}: found {shown(found)}; allowed: {', '.join(allowed)}"
                    + did_you_mean(str(found), allowed)
                )
        if self.margin is not None and self.margin_relative is not None:
            raise MetricError(f"{self.label}: give margin or margin_relative, not both")
        for margin in (self.margin, self.margin_relative):
            if margin is not None:
                where, most = f"{self.label}: a margin", sys.float_info.max
                check_number(margin, where=where, allowed="a positive number", least=math.ulp(0.0), most=most)
        if self.role == "guardrail" and self.margin is None and self.margin_relative is None:
            raise MetricError(
                f"{self.label}: a guardrail needs the largest harm to accept: margin (in its own unit) or"
                " margin_relative (a share of control)"
            )

    @property
    @abstractmethod
    def label(self) -> str:
        """What the metric is called in tables."""

    @abstractmethod
    def terms(self) -> tuple[Term, ...]:
        """The aggregates it needs."""

    @abstractmethod
    def compare(self, outcomes: Outcomes, arm: str, setting: Setting) -> tuple[Comparison, ...]:
        """One arm against control: one comparison, or two where the metric has bounds."""

    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(dict.fromkeys(term.column for term in self.terms()))

    def start(self, outcomes: Outcomes, arm: str) -> Comparison:
        """A comparison with nothing but who is compared."""
        return Comparison(
            metric=self.label,
            arm=arm,
            n_control=outcomes.control.n,
            n=outcomes.moments[arm].n,
            kind=self.kind,
            role=self.role or "secondary",
            better=self.better,
            currency=getattr(self, "currency", None),
        )

    def guarded(self, found: Comparison) -> Comparison:
        """The comparison with the verdict of non-inferiority, where a margin is given.

        Reference: Piaggio et al. (2012), CONSORT extension to non-inferiority trials, JAMA 308, 2594-2604.
        """
        if self.margin is None and self.margin_relative is None:
            return found
        if self.margin is not None:
            margin, harm_lower, harm_upper = self.margin, found.diff_lower, found.diff_upper
        else:
            margin, harm_lower, harm_upper = self.margin_relative or 0.0, found.rel_lower, found.rel_upper
        worst = -harm_lower if self.better == "higher" else harm_upper
        absolute = self.margin if self.margin is not None else margin * abs(found.control)
        return replace(found, margin=absolute, not_worse=None if math.isnan(worst) else bool(worst < margin))


def fault_of(outcomes: Outcomes, arm: str, terms: tuple[Term, ...]) -> str:
    """Why no number can be given for these terms, or an empty text."""
    for side in (outcomes.arms.control, arm):
        moments = outcomes.moments[side]
        if not moments.n:
            return f"no units in arm {side!r}"
        for term in terms:
            at = moments.index(term)
            if moments.missing[at]:
                return (
                    f"{moments.missing[at]:,} of {moments.n:,} units in arm {side!r} have no value of {term.column}:"
                    " follow-up is missing (if missing means none, fill in 0)"
                )
            if moments.infinite[at]:
                return f"{moments.infinite[at]:,} of {moments.n:,} values of {term.column} in arm {side!r} are infinite"
            farthest = max(abs(float(moments.minima[at])), abs(float(moments.maxima[at])))
            if LARGEST < farthest < math.inf:
                return f"values of {term.column} reach {farthest:.3g}: too large to be compared"
    return ""


def join(*notes: str) -> str:
    """Notes in one text, empty ones left out."""
    return "; ".join(note for note in notes if note)
