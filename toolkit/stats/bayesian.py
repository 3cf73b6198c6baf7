"""The Bayesian view: how likely an arm is better, and what is lost on average if it is not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaincinv, betaln, ndtr, xlog1py, xlogy

from toolkit.errors import MetricError, is_one_of, shown
from toolkit.stats.arguments import LARGEST, array_of_numbers, check_number
from toolkit.stats.proportions import Share

__all__ = ["Belief", "check_prior", "effect_posterior", "rates_posterior"]

_NODES = 400
_TAIL = 1e-18


@dataclass(frozen=True, slots=True)
class Belief:
    """What to believe of an arm against control, given the data and what was believed before.

    Attributes:
        probability: that the arm is better than control.
        expected_loss: what is lost on average, in the metric's unit, by choosing the arm although control is better.
        expected_loss_control: the same of choosing control although the arm is better.
        mean: expected difference, arm minus control.
    """

    probability: float
    expected_loss: float
    expected_loss_control: float
    mean: float


def rates_posterior(arm: Share, control: Share, *, prior: tuple[float, float] = (1.0, 1.0)) -> Belief:
    """Two rates with a Beta prior each: exact, without drawing random numbers.

    Args:
        arm: successes and trials of the arm.
        control: successes and trials of control.
        prior: the two parameters of the Beta prior of both rates; (1, 1) is uniform.

    Returns:
        Probability that the arm's rate is higher, and the expected losses.

    Raises:
        MetricError: a prior parameter that is not positive, what is no Share, or more successes than trials.

    Reference: Stucchio (2015), Bayesian A/B Testing at VWO; the integrals are computed by Gauss-Legendre quadrature.

    >>> belief = rates_posterior(Share(51, 100), Share(49, 100))
    >>> f"{belief.probability:.8f} {belief.expected_loss:.9f}"
    '0.61077052 0.019116461'
    """
    a, b = check_prior(prior)
    given: dict[str, object] = {"arm": arm, "control": control}
    for name, share in given.items():
        if not isinstance(share, Share):
            allowed = "a Share, for example Share(51, 100)"
            raise MetricError(f"rates posterior: {name}: found {shown(share)}; allowed: {allowed}")
        for count in share:
            check_number(count, where=f"rates posterior: {name}", allowed="two counts", least=0.0, most=1e15)
        if not 0 <= share.successes <= share.trials:
            raise MetricError(f"found {share.successes} successes of {share.trials} trials")
    a1, b1 = a + float(arm.successes), b + float(arm.trials - arm.successes)
    a0, b0 = a + float(control.successes), b + float(control.trials - control.successes)
    mean, base = a1 / (a1 + b1), a0 / (a0 + b0)
    probability = _greater(a1, b1, a0, b0)
    loss = base * _greater(a0 + 1, b0, a1, b1) - mean * (1 - _greater(a1 + 1, b1, a0, b0))
    loss_control = mean * _greater(a1 + 1, b1, a0, b0) - base * (1 - _greater(a0 + 1, b0, a1, b1))
    return Belief(probability, max(loss, 0.0), max(loss_control, 0.0), mean - base)


def check_prior(prior: object) -> tuple[float, float]:
    """The two parameters of a Beta prior; what is none is refused."""
    try:
        a, b = array_of_numbers(prior, where="prior").tolist()  # type: ignore[arg-type]
    except ValueError:
        a, b = 0.0, 0.0
    if not (0 < a < math.inf and 0 < b < math.inf):
        raise MetricError(f"prior: found {shown(prior)}; allowed: two positive numbers, for example (1, 1)")
    return a, b


def _greater(a1: float, b1: float, a0: float, b0: float) -> float:
    """The chance that a Beta(a1, b1) number exceeds a Beta(a0, b0) number."""
    low, high = float(betaincinv(a1, b1, _TAIL)), float(betaincinv(a1, b1, 1 - 1e-16))
    total = 0.0
    cuts = [low, *(float(betaincinv(a1, b1, share)) for share in (1e-6, 0.05, 0.5, 0.95, 1 - 1e-6)), high]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES // 8)
    for left, right in itertools.pairwise(cuts):
        places = (left + right) / 2 + (right - left) / 2 * nodes
        density = np.exp(xlogy(a1 - 1, places) + xlog1py(b1 - 1, -places) - betaln(a1, b1))
        total += float((weights * density * betainc(a0, b0, places)).sum()) * (right - left) / 2
    return min(1.0, max(0.0, total))


def effect_posterior(
    diff: float, error: float, *, prior_mean: float = 0.0, prior_sd: float = math.inf, better: str = "higher"
) -> Belief:
    """An effect with a Gaussian prior and an estimate with a Gaussian error: a Gaussian posterior.

    Args:
        diff: estimated difference, arm minus control.
        error: its standard error, positive.
        prior_mean, prior_sd: what was believed of the difference before; flat when the sd is infinite.
        better: `higher` or `lower`.

    Returns:
        Probability that the arm is better, and the expected losses.

    Raises:
        MetricError: an error or prior sd that is not positive.

    Reference: Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.5.

    >>> belief = effect_posterior(0.77, 0.145)
    >>> f"{belief.probability:.6f}"
    '1.000000'
    """
    for name, value in (("diff", diff), ("prior_mean", prior_mean)):
        allowed = f"a number up to {LARGEST:g}"
        check_number(value, where=f"effect posterior: {name}", allowed=allowed, least=-LARGEST, most=LARGEST)
    for name, value, top in (("error", error, LARGEST), ("prior_sd", prior_sd, math.inf)):
        where, allowed = f"effect posterior: {name}", f"a positive number, {1 / LARGEST:g} to {top:g}"
        check_number(value, where=where, allowed=allowed, least=1 / LARGEST, most=top)
    diff, error, prior_mean, prior_sd = map(float, (diff, error, prior_mean, prior_sd))
    if not is_one_of(better, ("higher", "lower")):
        raise MetricError(f"effect posterior: better: found {shown(better)}; allowed: higher, lower")
    precision = 1 / error**2 + (1 / prior_sd) ** 2
    mean = (diff / error**2 + prior_mean * (1 / prior_sd) ** 2) / precision
    sd = math.sqrt(1 / precision)
    gain = mean if better == "higher" else -mean
    density = math.exp(-((gain / sd) ** 2) / 2) / math.sqrt(2 * math.pi)
    loss = sd * density - gain * float(ndtr(-gain / sd))
    return Belief(float(ndtr(gain / sd)), max(loss, 0.0), max(loss + gain, 0.0), mean)
