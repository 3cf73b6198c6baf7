"""A number that is not known exactly: what is likely, between what and what, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

__all__ = ["Kind", "Quantity"]

Floats = npt.NDArray[np.float64]
Kind = Literal["rate", "effect", "factor", "money"]
_NINETY = 1.6448536269514722  # of a normal distribution, 90% lie within so many standard deviations


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of a response model.

    Attributes:
        likely: what it most likely is: as likely too low as too high.
        low, high: nine times of ten it lies between them; equal to `likely` when it is held to be known.
        kind: `rate` (0..1), `effect` (a rate that a fit may find below zero), `factor` or `money` (0 or more).
        source: where it comes from.
    """

    likely: float
    low: float
    high: float
    kind: Kind
    source: str

    @property
    def known(self) -> bool:
        """Whether it is held to be known exactly."""
        return self.low == self.high

    def drawn(self, z: Floats) -> Floats:
        """The number for each of some standard normal deviates: low at the 5%, likely at the 50%, high at the 95%.

        Rates are spread on the logit scale, factors and money on the logarithm's, and evenly where an end is 0 or 1.

        >>> Quantity(0.04, 0.02, 0.08, "rate", "guess").drawn(np.array([-1.6449, 0.0, 1.6449])).round(3).tolist()
        [0.02, 0.04, 0.08]
        """
        if self.known:
            return np.full(len(z), self.likely)
        ends = np.array([self.low, self.likely, self.high])
        if self.kind == "rate" and (ends > 0).all() and (ends < 1).all():
            return np.asarray(expit(_two_pieces(z, *logit(ends))), dtype=np.float64)
        if self.kind in ("factor", "money") and (ends > 0).all():
            return np.exp(_two_pieces(z, *np.log(ends)))
        straight = _two_pieces(z, *ends)
        top = 1.0 if self.kind in ("rate", "effect") else np.inf
        bottom = -1.0 if self.kind == "effect" else 0.0
        return np.clip(straight, bottom, top)


def _two_pieces(z: Floats, low: float, likely: float, high: float) -> Floats:
    return likely + z / _NINETY * np.where(z < 0, likely - low, high - likely)
