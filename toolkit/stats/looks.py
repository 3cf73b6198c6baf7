"""How often a result is looked at, and what that asks of today's look."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtr

from toolkit.errors import MetricError, shown
from toolkit.stats.arguments import check_alpha, check_number
from toolkit.stats.sequential import Family, Spending, sequence_threshold, solve_falling, spending_boundaries

__all__ = ["ENOUGH", "Look", "Looks"]

ENOUGH = 0.98
"""Of the planned units: a plan is then taken as complete."""


@dataclass(frozen=True, slots=True)
class Look:
    """Today's look.

    Attributes:
        time: units so far as a share of those planned.
        bound: the |z| that an effect needs today.
        alpha: the same as a two-sided p-value; intervals of confidence 1 - alpha are repeated intervals.
        times, bounds: every look so far with its boundary, today's last.
        method: what the boundary comes from.
    """

    time: float
    bound: float
    alpha: float
    times: tuple[float, ...]
    bounds: tuple[float, ...]
    method: str


@dataclass(frozen=True)
class Looks:
    """Looking more than once: how many units are planned, and the looks taken before today's.

    Looks may be taken at any time, planned or not, as long as their times do not depend on the results seen.

    Attributes:
        planned: units of all arms together at the planned end.
        past: units at each earlier look, rising.
        spending: how the chance of a false alarm is spent: `obrien_fleming` (default), `pocock`, a `Spending`, or
            `always`: an asymptotic confidence sequence, valid at every moment and without end.

    >>> today = Looks(planned=20_000, past=[5_000]).at(10_000)
    >>> f"{today.bound:.3f} {today.alpha:.5f}"
    '2.963 0.00305'
    """

    planned: float
    past: Sequence[float] = ()
    spending: Spending | Family | Literal["always"] = "obrien_fleming"

    def __post_init__(self) -> None:
        least, most = math.ulp(0.0), sys.float_info.max
        where = "looks: planned units"
        check_number(self.planned, where=where, allowed="a positive number", least=least, most=most)
        past: object = self.past
        if not isinstance(past, Iterable) or isinstance(past, str):
            raise MetricError(f"looks: past: found {shown(past)}; allowed: units at each earlier look, in a list")
        object.__setattr__(self, "past", tuple(past))
        for units in self.past:
            check_number(units, where="looks: past", allowed="units at each earlier look", least=least, most=most)
        object.__setattr__(self, "past", tuple(float(units) for units in self.past))
        if not isinstance(self.spending, str | Spending):
            raise MetricError(
                f"looks: spending: found {shown(self.spending)}; allowed: a family, a Spending, or 'always'"
            )
        if isinstance(self.spending, str) and self.spending != "always":
            object.__setattr__(self, "spending", Spending(self.spending))
        rising = [0.0, *self.past]
        if any(b <= a for a, b in itertools.pairwise(rising)):
            raise MetricError(f"looks: past units must rise and be above 0; found {shown(list(self.past))}")

    def at(self, units: float, *, alpha: float = 0.05) -> Look:
        """What a look at so many units asks.

        Args:
            units: units of all arms together so far.
            alpha: two-sided total over all looks.

        Returns:
            The boundary of |z| today and the p-value that goes with it.

        Raises:
            MetricError: fewer units than at an earlier look, or a look after all was spent; a number of units or an
                alpha that is none.
        """
        allowed, most = "a positive number of units", sys.float_info.max
        check_number(units, where="looks: units", allowed=allowed, least=math.ulp(0.0), most=most)
        check_alpha(alpha, where="looks")
        return self._at(units, alpha)

    def _at(self, units: float, alpha: float) -> Look:
        past = [taken for taken in self.past if taken != units]
        if past and past[-1] > units:
            raise MetricError(
                f"looks: today's {units:,.0f} units are fewer than the {past[-1]:,.0f} of an earlier look"
            )
        times = tuple(taken / self.planned for taken in (*past, units))
        if isinstance(self.spending, Spending):
            bounds = tuple(float(bound) for bound in spending_boundaries(times, self.spending, alpha=alpha))
            method = f"{self.spending.family} spending, look {len(times)} at {times[-1]:.0%} of the plan"
        else:
            bounds = tuple(sequence_threshold(time, alpha=alpha) for time in times)
            method = f"confidence sequence at {times[-1]:.0%} of the plan"
        return Look(times[-1], bounds[-1], float(2 * ndtr(-bounds[-1])), times, bounds, method)

    def repeated_pvalue(self, pvalue: float, units: float) -> float:
        """The smallest total alpha at which today's look would reject: a p-value that holds for all looks.

        Args:
            pvalue: two-sided p-value of today's data alone.
            units: units of all arms together so far.

        Returns:
            A p-value that may be compared with alpha; at most 1; NaN for NaN.

        Raises:
            MetricError: what is no p-value; as `at`.

        Reference: Jennison & Turnbull (2000), Group Sequential Methods, section 9.5.

        >>> f"{Looks(planned=1000, past=[500]).repeated_pvalue(0.01, 1000):.4f}"
        '0.0101'
        """
        if isinstance(pvalue, float) and math.isnan(pvalue):
            return math.nan
        check_number(pvalue, where="looks: pvalue", allowed="a p-value, 0 to 1, or NaN", least=0.0, most=1.0)
        highest = 0.999
        today = self.at(units, alpha=highest).alpha
        if pvalue <= 0 or today <= pvalue:
            return 0.0 if pvalue <= 0 else 1.0

        def asked(surprise: float) -> float:  # falls as the total alpha, exp(-surprise), falls
            return self._at(units, math.exp(-surprise)).alpha

        start = -math.log(highest)
        return min(1.0, math.exp(-solve_falling(asked, pvalue, start=start)))
