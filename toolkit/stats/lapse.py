"""Who is lapsed: the BG/NBD model of customers who buy at their own pace and at some moment stop for good."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, betaln, gammaln, hyp2f1, psi

from toolkit.arrow import TableLike
from toolkit.errors import MetricError, listed, shown
from toolkit.stats.arguments import check_column, check_number, holds_numbers
from toolkit.stats.doors import frame_at
from toolkit.stats.windows import days_of

__all__ = ["BuyingModel", "buying_histories", "fit_buying"]

Floats = NDArray[np.float64]
_MOST = sys.float_info.max
_FARTHEST = 9.0  # of the logarithm of a parameter: beyond it there is no maximum, only a slope
_HOLE = 1e-4
_NODES = 50
_SHARES = (0, 1e-9, 1e-6, 1e-4, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1e-4, 1 - 1e-6, 1)  # of chances to stop
_STARTS = ((0.25, 0.1, 0.8, 2.5), (1.0, 0.5, 1.0, 1.0), (2.0, 0.2, 0.2, 0.8))  # alpha as a share of the longest age


@dataclass(frozen=True, slots=True)
class BuyingModel:
    """A fitted BG/NBD model.

    Attributes:
        r, alpha: shape and rate of the gamma distribution of buying rates over customers.
        a, b: parameters of the beta distribution of the chance to stop after a purchase.
        log_likelihood: of the histories it was fitted to.
        customers: how many those were.

    Raises:
        MetricError: a parameter that is no positive number.
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = math.nan
    customers: int = 0

    def __post_init__(self) -> None:
        for name in ("r", "alpha", "a", "b"):
            where = f"buying model: {name}"
            check_number(getattr(self, name), where=where, allowed="a positive number", least=math.ulp(0.0), most=_MOST)

    def alive(self, repeats: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Any:
        """The chance that a customer has not stopped buying.

        Args:
            repeats: purchases after the first.
            recency: time from the first to the last purchase; 0 without repeats.
            age: time from the first purchase to now, in the same unit as the fit.

        Returns:
            One probability per customer; 1 without repeats (the model lets nobody stop before a second purchase).

        Raises:
            MetricError: a history that cannot be.

        Reference: Fader, Hardie & Lee (2005), Marketing Science 24, 275-284; Fader & Hardie (2008), note 021.

        >>> model = BuyingModel(0.24259, 4.41353, 0.79289, 2.42576)
        >>> f"{model.alive(2, 30.43, 38.86):.5f}"
        '0.72661'
        """
        x, last, total = _histories(repeats, recency, age)
        with np.errstate(over="ignore"):  # of someone who has stopped for sure
            odds = np.where(
                x > 0,
                np.exp(
                    math.log(self.a)
                    - np.log(self.b + np.maximum(x, 1) - 1)
                    + (self.r + x) * (np.log(self.alpha + total) - np.log(self.alpha + last))
                ),
                0.0,
            )
        return (1 / (1 + odds))[()]

    def expected_purchases(self, within: float, repeats: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Any:
        """How many purchases to expect of a customer from now on.

        Args:
            within: length of time ahead, in the same unit as the fit.
            repeats, recency, age: as in `alive`.

        Returns:
            One expectation per customer.

        Raises:
            MetricError: a history that cannot be, or a negative length.

        Reference: Fader, Hardie & Lee (2005), equation 10.

        >>> model = BuyingModel(0.24259, 4.41353, 0.79289, 2.42576)
        >>> f"{model.expected_purchases(39, 2, 30.43, 38.86):.3f}"
        '1.226'
        """
        check_number(within, where="expected purchases: within", allowed="0 or more", least=0.0, most=1e9)
        x, _, total = _histories(repeats, recency, age)
        if abs(self.a - 1) < _HOLE:  # the closed form has a removable hole at a = 1
            share = (self.a - 1 + _HOLE) / (2 * _HOLE)
            low, high = (replace(self, a=1 + side)._of_the_living(within, x, total) for side in (-_HOLE, _HOLE))
            still = low + share * (high - low)
        else:
            still = self._of_the_living(within, x, total)
        return np.asarray(still * self.alive(repeats, recency, age) + 0.0)[()]  # no minus before nothing

    def _of_the_living(self, within: float, x: Floats, total: Floats) -> Floats:
        """Purchases to expect of those who have not stopped."""
        reach, together = self.alpha + total, self.a + self.b + x - 1
        series = hyp2f1(self.r + x, self.b + x, together, within / (reach + within))
        with np.errstate(invalid="ignore"):
            still = np.array(together / (self.a - 1) * (1 - (reach / (reach + within)) ** (self.r + x) * series))
        lost = ~np.isfinite(still)  # the series of hundreds of purchases, far ahead, is beyond any double
        if lost.any():
            pairs = zip(x[lost].tolist(), reach[lost].tolist(), strict=True)
            still[lost] = [self._integrated(within, *pair) for pair in pairs]
        return still

    def _integrated(self, within: float, repeats: float, reach: float) -> float:
        """Purchases to expect of one who is alive: the mean over the chance to stop, by Gauss-Legendre quadrature."""
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        total = 0.0
        for low, high in itertools.pairwise(_SHARES):
            stop = betaincinv(self.a, self.b + repeats, (low + high) / 2 + (high - low) / 2 * nodes)
            stop = np.maximum(stop, 1e-300)
            bought = -np.expm1(-(self.r + repeats) * np.log1p(stop * (within / reach))) / stop
            total += float(weights @ bought) * (high - low) / 2
        return total


def buying_histories(
    purchases: TableLike,
    until: pd.Timestamp | str,
    *,
    customer: str = "customer_id",
    at: str = "at",
    period: str = "7d",
) -> pd.DataFrame:
    """Each customer's buying history up to a moment, as the model needs it.

    Args:
        purchases: one row per purchase; several on one day count once.
        until: the moment up to which is looked; later purchases are left out.
        customer: column that names the customer.
        at: column of the time.
        period: the unit of time, for example `7d` for weeks.

    Returns:
        One row per customer, indexed by customer: `repeats` (days with a purchase after the first), `recency` and
        `age` (first to last purchase, first purchase to `until`) in periods.

    Raises:
        MetricError: a column is missing, not a time, or nobody bought before `until`.

    >>> bought = pd.DataFrame({"customer_id": ["a", "a"], "at": pd.to_datetime(["2024-01-01", "2024-01-15"])})
    >>> buying_histories(bought, "2024-01-29").to_dict("index")
    {'a': {'repeats': 1, 'recency': 2.0, 'age': 4.0}}
    """
    purchases = frame_at(purchases, "purchases", where="buying_histories")
    for column in (customer, at):
        check_column(column, where="buying_histories: customer and at")
        if column not in purchases.columns:
            raise MetricError(
                f"purchases: column {shown(column)} is missing; columns found: {listed(purchases.columns, near=column)}"
            )
    times = purchases[at]
    if not pd.api.types.is_datetime64_any_dtype(times):
        raise MetricError(f"purchases: column {at!r} should be time; found {times.dtype}")
    try:
        moment = pd.Timestamp(until)
        unit = days_of(period) * 86_400
    except (TypeError, ValueError, OverflowError) as fault:
        raise MetricError(f"buying_histories: {fault}") from None
    if pd.isna(moment) or not unit > 0:
        raise MetricError(
            f"buying_histories: found until {shown(until)}, period {shown(period)}; allowed: a moment, and a length of"
            " time"
        )
    if times.dt.tz is not None and moment.tzinfo is None:
        moment = moment.tz_localize(times.dt.tz, nonexistent="shift_forward", ambiguous=True)
    if times.dt.tz is None and moment.tzinfo is not None:
        raise MetricError(f"buying_histories: of column {at!r} and until={until!r} only one has a time zone")
    kept = (times <= moment) & purchases[customer].notna()
    if not kept.any():
        raise MetricError(f"purchases: found none up to {moment}")
    first = np.ones(
        int(kept.sum()), dtype=bool
    )  # of a midnight that comes twice; one that is left out is the hour after
    day = times[kept].dt.floor("D", nonexistent="shift_forward", ambiguous=first)
    days = pd.DataFrame({"customer": purchases.loc[kept, customer], "day": day}).drop_duplicates()
    grouped = days.groupby("customer", sort=True)["day"].agg(["min", "max", "size"])
    histories = pd.DataFrame(
        {
            "repeats": grouped["size"] - 1,
            "recency": (grouped["max"] - grouped["min"]).dt.total_seconds() / unit,
            "age": (moment - grouped["min"]).dt.total_seconds() / unit,
        }
    )
    histories.index.name = customer
    return histories


def fit_buying(repeats: ArrayLike, recency: ArrayLike, age: ArrayLike) -> BuyingModel:
    """The BG/NBD model of greatest likelihood.

    Args:
        repeats: purchases after the first, one number per customer.
        recency: time from the first to the last purchase; 0 without repeats.
        age: time from the first purchase to now.

    Returns:
        The model, in the unit of the times given.

    Raises:
        MetricError: a history that cannot be, nobody who bought again, or a likelihood without a maximum.

    Reference: Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24, 275-284.
    """
    x, last, total = _histories(repeats, recency, age)
    if not (x > 0).any():
        raise MetricError("buying model: nobody bought a second time; there is nothing to fit")
    rows, counts = np.unique(np.column_stack([x.ravel(), last.ravel(), total.ravel()]), axis=0, return_counts=True)
    scale = float(rows[:, 2].max())
    x, last, total = rows[:, 0], rows[:, 1] / scale, rows[:, 2] / scale

    def loss(logs: Floats) -> tuple[float, Floats]:
        value, slope = _log_likelihood(np.exp(logs), x, last, total, counts)
        return -value / counts.sum(), -slope / counts.sum()

    bounds = [(-_FARTHEST, _FARTHEST)] * 4
    optimize: Any = importlib.import_module("scipy.optimize")  # slow to load, and nothing else here needs it
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000}
    for start in _STARTS:
        best = optimize.minimize(loss, np.log(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        inside = bool((np.abs(best.x) < _FARTHEST - 0.1).all())
        if inside and np.isfinite(best.fun):
            break
    else:
        raise MetricError(
            "buying model: the likelihood has no maximum for these histories;"
            " there are too few customers, or nobody who seems to have stopped"
        )
    r, alpha, a, b = (float(value) for value in np.exp(best.x))
    # each repeat purchase is a density in time, so the unit of time enters the likelihood
    value = -float(best.fun) * float(counts.sum()) - math.log(scale) * float((x * counts).sum())
    return BuyingModel(r, alpha * scale, a, b, value, int(counts.sum()))


def _log_likelihood(
    parameters: Floats, x: Floats, last: Floats, total: Floats, counts: NDArray[np.int64]
) -> tuple[float, Floats]:
    """Log-likelihood and its slope in the logarithms of the parameters."""
    r, alpha, a, b = parameters
    again = x > 0
    bought = np.maximum(x, 1)
    active = -(r + x) * np.log(alpha + total)
    stopped = np.where(again, np.log(a) - np.log(b + bought - 1) - (r + x) * np.log(alpha + last), -np.inf)
    both = np.logaddexp(active, stopped)
    alive, gone = np.exp(active - both), np.exp(stopped - both)
    value = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b) + both
    slope_r = psi(r + x) - psi(r) + np.log(alpha) - alive * np.log(alpha + total) - gone * np.log(alpha + last)
    slope_alpha = r / alpha - (r + x) * (alive / (alpha + total) + gone / (alpha + last))
    slope_a = psi(a + b) - psi(a + b + x) + gone / a
    slope_b = psi(b + x) - psi(b) + psi(a + b) - psi(a + b + x) - gone / (b + bought - 1)
    slopes = np.array([slope_r, slope_alpha, slope_a, slope_b]) @ counts
    return float(value @ counts), slopes * parameters


def _histories(repeats: ArrayLike, recency: ArrayLike, age: ArrayLike) -> tuple[Floats, Floats, Floats]:
    for name, part in (("repeats", repeats), ("recency", recency), ("age", age)):
        if not holds_numbers(np.asarray(part)):
            raise MetricError(f"buying histories: {name}: found {shown(part)}; allowed: numbers, one for each customer")
    try:
        x, last, total = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (repeats, recency, age)))
    except (TypeError, ValueError) as fault:
        raise MetricError(
            f"buying histories: repeats, recency and age: numbers, one each a customer; {fault}"
        ) from None
    wrong = ~(np.isfinite(x) & np.isfinite(last) & np.isfinite(total) & (x >= 0) & (last >= 0) & (last <= total))
    wrong |= x != np.floor(x)
    wrong |= (x == 0) & (last > 0)
    if wrong.any():
        at = np.flatnonzero(wrong.ravel())[0]
        raise MetricError(
            f"buying histories: {int(wrong.sum()):,} cannot be, the first with repeats {x.ravel()[at]:g}, recency"
            f" {last.ravel()[at]:g}, age {total.ravel()[at]:g}; allowed: whole repeats of 0 or more,"
            " 0 <= recency <= age, recency 0 without repeats"
        )
    return x, last, total
