"""The Bayesian view against exact reference values and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import norm

from toolkit.errors import MetricError
from toolkit.stats.bayesian import effect_posterior, rates_posterior
from toolkit.stats.proportions import Share


@pytest.mark.parametrize(
    ("arm", "control", "probability", "loss"),
    [((51, 100), (49, 100), 0.61077052, 0.019116461), ((30, 1000), (20, 1000), 0.92229331, 0.00024924459)],
)
def test_probability_and_expected_loss_are_the_reference_values(
    arm: tuple[int, int], control: tuple[int, int], probability: float, loss: float
) -> None:
    """Source: exact Beta integrals under uniform priors (Stucchio 2015), computed with mpmath."""
    found = rates_posterior(Share(*arm), Share(*control))
    assert round(found.probability, 8) == probability
    assert found.expected_loss == pytest.approx(loss, rel=5e-8)


def miller(a: int, b: int, c: int, d: int) -> float:
    """P(Beta(c, d) > Beta(a, b)): the finite sum of Miller (2014), Formulas for Bayesian A/B testing."""
    terms = [math.exp(betaln(a + i, b + d) - math.log(d + i) - betaln(1 + i, d) - betaln(a, b)) for i in range(c)]
    return sum(terms)


@pytest.mark.parametrize(("arm", "control"), [((0, 10), (3, 12)), ((40, 90), (2, 5)), ((900, 10_000), (850, 10_000))])
def test_the_probability_is_the_finite_sum_of_miller(arm: tuple[int, int], control: tuple[int, int]) -> None:
    found = rates_posterior(Share(*arm), Share(*control)).probability
    expected = miller(1 + control[0], 1 + control[1] - control[0], 1 + arm[0], 1 + arm[1] - arm[0])
    assert found == pytest.approx(expected, abs=1e-10)


def test_losses_agree_with_a_million_draws() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.beta(31, 971, 1_000_000), rng.beta(21, 981, 1_000_000)
    found = rates_posterior(Share(30, 1000), Share(20, 1000))
    assert found.expected_loss == pytest.approx(np.maximum(other - one, 0).mean(), rel=0.02)
    assert found.expected_loss_control == pytest.approx(np.maximum(one - other, 0).mean(), rel=0.02)
    assert found.mean == pytest.approx(found.expected_loss_control - found.expected_loss)


def test_the_two_sides_of_the_question_sum_to_one() -> None:
    one = rates_posterior(Share(12, 300), Share(20, 280)).probability
    other = rates_posterior(Share(20, 280), Share(12, 300)).probability
    assert one + other == pytest.approx(1, abs=1e-12)


def test_a_flat_prior_leaves_the_estimate_and_a_tight_one_pulls_it_to_zero() -> None:
    flat = effect_posterior(1.0, 0.5)
    tight = effect_posterior(1.0, 0.5, prior_sd=0.5)
    assert flat.mean == 1.0
    assert flat.probability == pytest.approx(0.9772499, abs=1e-7)
    assert tight.mean == pytest.approx(0.5)
    rng = np.random.default_rng(2)
    draws = rng.normal(1.0, 0.5, 1_000_000)
    assert flat.expected_loss == pytest.approx(np.maximum(-draws, 0).mean(), rel=0.03)


def test_lower_is_better_turns_the_question_round() -> None:
    assert effect_posterior(1.0, 0.5, better="lower").probability == pytest.approx(1 - 0.9772499, abs=1e-7)


def test_priors_that_cannot_be_are_errors() -> None:
    with pytest.raises(MetricError, match="prior"):
        rates_posterior(Share(1, 2), Share(1, 2), prior=(0, 1))
    with pytest.raises(MetricError, match="3 successes of 2"):
        rates_posterior(Share(3, 2), Share(1, 2))
    with pytest.raises(MetricError, match="positive"):
        effect_posterior(1.0, 0.0)


@pytest.mark.parametrize(
    ("diff", "error", "prior_mean", "prior_sd"), [(3.0, 1.0, 1.0, 0.5), (-0.4, 0.3, 2.0, 1.5), (0.0, 0.2, -0.1, 0.1)]
)
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_gaussian_posterior_is_prior_times_likelihood_added_up(
    diff: float, error: float, prior_mean: float, prior_sd: float, better: str
) -> None:
    effects = np.linspace(-12, 12, 400_001)
    weights = norm.pdf(effects, prior_mean, prior_sd) * norm.pdf(diff, effects, error)
    weights /= weights.sum()
    gains = effects if better == "higher" else -effects
    found = effect_posterior(diff, error, prior_mean=prior_mean, prior_sd=prior_sd, better=better)
    assert found.mean == pytest.approx(float(weights @ effects), abs=1e-9)
    assert found.probability == pytest.approx(float(weights @ (gains > 0)), abs=1e-4)
    assert found.expected_loss == pytest.approx(float(weights @ np.maximum(-gains, 0)), abs=1e-8)
    assert found.expected_loss_control == pytest.approx(float(weights @ np.maximum(gains, 0)), abs=1e-8)
