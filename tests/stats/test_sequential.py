"""Boundaries against published tables and rpact; false alarms and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from toolkit.errors import MetricError
from toolkit.stats import Mean, Rate, TimeTo, experiment
from toolkit.stats.looks import Looks
from toolkit.stats.sequential import (
    Spending,
    crossing_probabilities,
    obrien_fleming_constant,
    pocock_constant,
    sample_inflation,
    sequence_rho,
    sequence_threshold,
    spending_boundaries,
)


def equal(looks: int) -> list[float]:
    return [(at + 1) / looks for at in range(looks)]


def test_pocock_constants_are_those_of_jennison_and_turnbull_table_2_1() -> None:
    known = [2.1783, 2.2895, 2.3613, 2.4132, 2.4532, 2.4855, 2.5123, 2.5352, 2.5550]
    assert [round(pocock_constant(looks), 4) for looks in range(2, 11)] == known


def test_a_single_look_is_that_of_no_looks_at_all() -> None:
    assert pocock_constant(1) == pytest.approx(1.959964, abs=1e-6)
    assert spending_boundaries([1.0]).tolist() == pytest.approx([1.959964], abs=1e-6)


def test_obrien_fleming_constants_are_those_of_jennison_and_turnbull_table_2_3() -> None:
    known = [1.9774, 2.0040, 2.0243, 2.0401, 2.0528, 2.0633, 2.0722, 2.0798, 2.0865]
    assert [round(obrien_fleming_constant(looks), 4) for looks in range(2, 11)] == known


@pytest.mark.parametrize(
    ("times", "spending", "known"),
    [
        (equal(2), Spending(), [2.9626, 1.9686]),
        (equal(3), Spending(), [3.7103, 2.5114, 1.9930]),
        (equal(5), Spending(), [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
        ([0.2, 0.5, 0.8, 1.0], Spending(), [4.8769, 2.9626, 2.2662, 2.0278]),
        (equal(2), Spending("pocock"), [2.1570, 2.2010]),
        (equal(3), Spending("pocock"), [2.2794, 2.2949, 2.2959]),
        (equal(4), Spending("pocock"), [2.3683, 2.3675, 2.3582, 2.3500]),
        (equal(3), Spending("hwang_shih_decani", -4), [3.0107, 2.5465, 1.9992]),
        (equal(4), Spending("kim_demets", 2), [2.9552, 2.5594, 2.3009, 2.0920]),
    ],
)
def test_spending_boundaries_are_those_of_rpact_3_3_4(
    times: list[float], spending: Spending, known: list[float]
) -> None:
    assert spending_boundaries(times, spending).round(4).tolist() == known


def test_the_largest_sample_grows_as_in_jennison_and_turnbull_tables_2_2_and_2_4() -> None:
    pocock, late = [], []
    for looks in range(2, 6):
        times = equal(looks)
        c, d = pocock_constant(looks), obrien_fleming_constant(looks)
        pocock.append(round(sample_inflation(times, [c] * looks), 4))
        late.append(round(sample_inflation(times, [d / math.sqrt(time) for time in times]), 4))
    assert pocock == [1.1104, 1.1664, 1.2025, 1.2286]
    assert late == [1.0078, 1.0174, 1.0238, 1.0284]


def test_naive_looks_raise_the_false_alarms_as_armitage_mcpherson_and_rowe_1969_tell() -> None:
    found = [crossing_probabilities(equal(looks), [1.959964] * looks).sum() for looks in (1, 2, 5, 10)]
    assert [round(float(share), 4) for share in found] == [0.05, 0.0831, 0.1417, 0.1934]


def test_twenty_eight_daily_looks_keep_alpha_by_spending_and_lose_it_without() -> None:
    times = equal(28)
    assert crossing_probabilities(times, spending_boundaries(times)).sum() == pytest.approx(0.05, abs=1e-6)
    assert crossing_probabilities(times, [1.959964] * 28).sum() == pytest.approx(0.275, abs=0.001)


def test_unplanned_looks_keep_alpha() -> None:
    times = [0.07, 0.11, 0.5, 0.52, 0.97, 1.2]
    for spending in (Spending(), Spending("pocock"), Spending("kim_demets", 3)):
        assert crossing_probabilities(times, spending_boundaries(times, spending)).sum() == pytest.approx(
            0.05, abs=1e-6
        )


def test_the_boundary_of_a_look_does_not_depend_on_later_looks() -> None:
    assert spending_boundaries([0.3, 0.6])[1] == spending_boundaries([0.3, 0.6, 0.9])[1]


def test_false_alarms_and_power_of_28_daily_looks_are_as_computed_by_simulation() -> None:
    """20,000 experiments: the Monte-Carlo error of a share is at most 0.0036 (one standard error)."""
    rng = np.random.default_rng(28)
    times = np.array(equal(28))
    bounds = spending_boundaries(times)
    walks = np.cumsum(rng.normal(size=(20_000, 28)) * math.sqrt(1 / 28), axis=1)
    size = (np.abs(walks) / np.sqrt(times) > bounds).any(axis=1).mean()
    drift = 1.959964 + 0.8416212  # one look has power 0.80
    power = (np.abs(walks + drift * times) / np.sqrt(times) > bounds).any(axis=1).mean()
    naive = (np.abs(walks) / np.sqrt(times) > 1.959964).any(axis=1).mean()
    assert size == pytest.approx(0.050, abs=0.005)
    assert power == pytest.approx(0.78, abs=0.012)
    assert naive == pytest.approx(0.275, abs=0.012)


def test_the_confidence_sequence_is_that_of_waudby_smith_and_others_2024() -> None:
    assert f"{sequence_rho(5000):.10f}" == "0.0398400668"
    known = [3.8551, 3.2643, 3.0836, 3.0352, 3.0615, 3.1530]
    assert [round(sequence_threshold(time), 4) for time in (0.1, 0.25, 0.5, 1, 2, 5)] == known


def test_the_confidence_sequence_keeps_alpha_at_every_moment_and_has_the_power_told() -> None:
    """Brownian motion at 400 moments up to the planned end; 4,000 paths, Monte-Carlo error at most 0.008."""
    rng = np.random.default_rng(3)
    times = np.linspace(0.0025, 1, 400)
    walks = np.cumsum(rng.normal(size=(4_000, 400)) * 0.05, axis=1)
    thresholds = np.array([sequence_threshold(time) for time in times])
    assert (np.abs(walks) / np.sqrt(times) > thresholds).any(axis=1).mean() < 0.05
    drift = 1.959964 + 0.8416212
    power = (np.abs(walks + drift * times) / np.sqrt(times) > thresholds).any(axis=1).mean()
    assert 0.33 < power < 0.55


def test_todays_look_knows_the_looks_before() -> None:
    look = Looks(planned=1000, past=[200, 500, 800]).at(1000)
    assert [round(bound, 4) for bound in look.bounds] == [4.8769, 2.9626, 2.2662, 2.0278]
    assert look.alpha == pytest.approx(0.0426, abs=1e-4)
    assert "look 4 at 100% of the plan" in look.method


def test_looking_again_at_the_same_units_is_the_same_look() -> None:
    assert Looks(planned=1000, past=[200, 500]).at(500) == Looks(planned=1000, past=[200]).at(500)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Looks(planned=0), "planned units"),
        (lambda: Looks(planned=10, past=[5, 5]), "must rise"),
        (lambda: Looks(planned=10, past=[5]).at(4), "fewer than"),
        (lambda: Looks(planned=10, past=[5, 10]).at(12), "nothing is left"),
        (lambda: Looks(planned=10, spending="pococ"), "did you mean 'pocock'"),
        (lambda: Spending("kim_demets"), "rho"),
        (lambda: Spending("hwang_shih_decani", 0), "gamma"),
        (lambda: Spending("pocock", 2), "takes no parameter"),
        (lambda: spending_boundaries([0.5, 0.4]), "must rise"),
        (lambda: spending_boundaries([]), "must rise"),
        (lambda: crossing_probabilities([0.5, 1], [2]), "1 boundaries for 2 looks"),
        (lambda: sequence_threshold(0), "positive"),
        (lambda: sample_inflation([1.0], [1.96], power=0.01), "power"),
        (lambda: pocock_constant(0), "1 or more"),
    ],
)
def test_looks_that_cannot_be_are_errors(make, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        make()


def test_a_look_too_early_for_any_effect_gives_endless_intervals_and_says_so() -> None:
    rows = [(arm, at < bought, float(at)) for arm, bought in (("control", 30), ("mail", 60)) for at in range(300)]
    outcomes = pd.DataFrame(rows, columns=["arm", "converted", "revenue"])
    outcomes["came"] = np.where(outcomes["converted"], 3.0, np.nan)
    metrics = [
        Rate("converted"),
        Mean("revenue"),
        Mean("revenue", method="permutation", name="shuffled"),
        Mean("revenue", method="bootstrap", name="resampled"),
        TimeTo("came", within="7d"),
    ]
    found = experiment(outcomes, metrics, looks=Looks(planned=600_000_000))
    assert math.isinf(found.look.bound)
    assert found.lift["diff_lower"].lt(0).all()
    assert found.lift["diff_upper"].gt(0).all()
    assert found.lift["rel_upper"].eq(math.inf).all()
    assert "0.00% of the planned units are too few for a look" in found.notes[0]
    assert found.verdict().action == "keep testing"


@pytest.mark.parametrize("drift", [-2.0, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("times", [(0.25,), (0.3, 1.0), (0.5, 0.7)])
def test_the_chance_to_cross_under_an_effect_is_that_of_jointly_normal_values(
    times: tuple[float, ...], drift: float
) -> None:
    """At information t, z is normal around drift * sqrt(t); two of them correlate by sqrt(t1 / t2)."""
    bounds = [2.3, 2.0][: len(times)]
    means = [drift * math.sqrt(time) for time in times]
    found = crossing_probabilities(times, bounds, drift=drift)
    first = norm.cdf(means[0] - bounds[0]) + norm.cdf(-means[0] - bounds[0])
    assert found[0] == pytest.approx(first)
    if len(times) > 1:
        one = math.sqrt(times[0] / times[1])
        both = multivariate_normal(means, [[1, one], [one, 1]])
        assert 1 - found.sum() == pytest.approx(both.cdf(bounds, lower_limit=[-bound for bound in bounds]), abs=1e-5)


def test_data_that_cannot_be_by_chance_have_a_repeated_pvalue_of_nothing() -> None:
    looks = Looks(planned=1_000, past=[500])
    assert looks.repeated_pvalue(0.0, 800) == 0.0
    assert looks.repeated_pvalue(1.0, 800) == 1.0
    assert math.isnan(looks.repeated_pvalue(math.nan, 800))
