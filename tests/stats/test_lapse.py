"""Who is lapsed: the BG/NBD model against its paper, another optimiser and simulated customers."""

from __future__ import annotations

import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import beta, gamma
from scipy.stats import beta as beta_law

from toolkit.errors import MetricError
from toolkit.stats.lapse import BuyingModel, buying_histories, fit_buying

PAPER = BuyingModel(0.24259, 4.41353, 0.79289, 2.42576)


def test_the_chance_to_be_alive_is_that_of_fader_hardie_and_lee_2005() -> None:
    assert round(float(PAPER.alive(2, 30.43, 38.86)), 5) == 0.72661


def test_expected_purchases_are_those_of_fader_hardie_and_lee_2005() -> None:
    assert round(float(PAPER.expected_purchases(39, 2, 30.43, 38.86)), 3) == 1.226


@pytest.mark.parametrize(
    ("repeats", "age", "within"), [(0, 10, 5), (2, 38.86, 39), (50, 60, 500), (300, 500, 5_000), (1_000, 500, 50_000)]
)
@pytest.mark.parametrize("a", [0.79, 0.99995, 1.0, 2.5])
def test_expected_purchases_are_the_mean_over_all_chances_to_stop(
    repeats: int, age: float, within: float, a: float
) -> None:
    """Whoever buys at a rate L and stops with chance p after each purchase buys (1 - exp(-L p t)) / p times; L is gamma
    distributed, p a beta: integrated by scipy. The closed form of the paper is beyond any double for the last two."""
    r, alpha, b = 0.24, 4.4, 2.43
    reach = alpha + age

    def bought(p: float) -> float:
        return float(beta_law.pdf(p, a, b + repeats) * (1 - (1 + p * within / reach) ** -(r + repeats)) / p)

    cuts = [0, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.3, 0.6, 1]
    wanted = sum(quad(bought, low, high, limit=200)[0] for low, high in itertools.pairwise(cuts))
    model = BuyingModel(r, alpha, a, b)
    last = 0.99 * age if repeats else 0.0
    found = model.expected_purchases(within, repeats, last, age)
    assert found == pytest.approx(wanted * model.alive(repeats, last, age), rel=1e-6)
    assert model.expected_purchases(within, [2, repeats], [1, last], [age, age]).tolist() == [
        model.expected_purchases(within, 2, 1, age), found
    ]  # fmt: skip


def cdnow_sample(shared_data: Path) -> Path:
    """The sample of 2,357 customers, beside the shared data or inside the package lifetimes (never imported here).

    It is a random tenth of the cohort: nothing in the master file tells who is in it.
    """
    folders = [shared_data / "cdnow"]
    package = importlib.util.find_spec("lifetimes")
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent)
    found = [path for folder in folders if folder.exists() for path in folder.rglob("CDNOW_sample.txt")]
    if not found:
        pytest.skip("needs CDNOW_sample.txt, of the shared CDNOW data or of the package lifetimes")
    return found[0]


def test_the_fit_of_cdnows_sample_is_that_of_fader_hardie_and_lee_2005(shared_data: Path) -> None:
    rows = pd.read_csv(cdnow_sample(shared_data), sep=r"\s+", header=None, usecols=[1, 2], names=["id", "at"])
    rows["at"] = pd.to_datetime(rows["at"].astype(str))
    histories = buying_histories(rows, "1997-09-30", customer="id").round(2)  # weeks as the paper's sheet has them
    model = fit_buying(histories["repeats"], histories["recency"], histories["age"])
    assert model.customers == 2357
    assert model.log_likelihood == pytest.approx(-9582.4256, abs=1e-4)
    assert (model.r, model.alpha) == pytest.approx((0.24259, 4.41353), abs=1e-5)
    assert (model.a, model.b) == pytest.approx((0.79289, 2.42576), abs=1e-5)
    assert round(float(model.alive(2, 30.43, 38.86)), 5) == 0.72661


def likelihood(parameters: np.ndarray, histories: pd.DataFrame) -> float:
    """Equation 6 of the paper, written as it stands there."""
    r, alpha, a, b = np.exp(parameters)
    x, last, total = (histories[name].to_numpy() for name in ("repeats", "recency", "age"))
    first = beta(a, b + x) / beta(a, b) * gamma(r + x) * alpha**r / (gamma(r) * (alpha + total) ** (r + x))
    second = (
        beta(a + 1, b + np.maximum(x, 1) - 1) / beta(a, b) * gamma(r + x) * alpha**r
        / (gamma(r) * (alpha + last) ** (r + x))
    )  # fmt: skip
    return -float(np.log(first + (x > 0) * second).sum())


def test_the_fit_of_a_tenth_of_cdnow_is_the_optimum_of_the_papers_formula(cdnow: pd.DataFrame) -> None:
    tenth = cdnow[cdnow["customer_id"] % 10 == 8]
    histories = buying_histories(tenth, "1997-09-30", at="date")
    assert len(histories) == 2357
    model = fit_buying(histories["repeats"], histories["recency"], histories["age"])
    fitted = np.log([model.r, model.alpha, model.a, model.b])
    assert -likelihood(fitted, histories) == pytest.approx(model.log_likelihood, rel=1e-10)
    oracle = minimize(likelihood, np.zeros(4), args=(histories,), method="Nelder-Mead",
                      options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-6})  # fmt: skip
    assert model.log_likelihood >= -oracle.fun - 1e-6
    assert np.exp(oracle.x) == pytest.approx([model.r, model.alpha, model.a, model.b], rel=1e-3)


def customers(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Customers drawn from the model itself: histories, and who is alive in truth."""
    rng = np.random.default_rng(seed)
    rates, stops = rng.gamma(0.8, 1 / 6, count), rng.beta(1.2, 3, count)
    rows, alive = [], []
    for rate, stop in zip(rates, stops, strict=True):
        age, now, repeats, last, living = 60.0, 0.0, 0, 0.0, True
        while living:
            now += rng.exponential(1 / rate)
            if now > age:
                break
            repeats, last = repeats + 1, now
            living = rng.random() >= stop
        rows.append((repeats, last, age))
        alive.append(living)
    return pd.DataFrame(rows, columns=["repeats", "recency", "age"]), np.array(alive)


def test_customers_drawn_from_the_model_give_its_parameters_back_and_a_calibrated_chance() -> None:
    histories, alive = customers(12_000, seed=1)
    model = fit_buying(histories["repeats"], histories["recency"], histories["age"])
    assert (model.r, model.alpha) == pytest.approx((0.8, 6.0), rel=0.08)
    assert model.a / (model.a + model.b) == pytest.approx(1.2 / 4.2, rel=0.06)
    chance = model.alive(histories["repeats"], histories["recency"], histories["age"])
    for low, high in [(0, 0.3), (0.3, 0.6), (0.6, 0.85), (0.85, 1.01)]:
        group = (chance >= low) & (chance < high)
        error = 4 * math.sqrt(0.25 / group.sum()) + 0.01
        assert chance[group].mean() == pytest.approx(alive[group].mean(), abs=error)


def test_days_with_several_purchases_count_once_and_later_ones_not_at_all() -> None:
    bought = pd.DataFrame(
        {
            "customer_id": ["a", "a", "a", "b", "b"],
            "at": pd.to_datetime(
                ["2024-01-01 08:00", "2024-01-01 20:00", "2024-01-15 09:00", "2024-01-08 10:00", "2025-01-01 00:00"]
            ),
        }
    )
    found = buying_histories(bought, "2024-01-29")
    assert found.index.name == "customer_id"
    assert found.loc["a"].tolist() == [1, 2.0, 4.0]
    assert found.loc["b"].tolist() == [0, 0.0, 3.0]
    assert buying_histories(bought.assign(at=bought["at"].dt.tz_localize("UTC")), "2024-01-29").equals(found)


@pytest.mark.parametrize(
    ("zone", "moments"),
    [
        ("America/Sao_Paulo", ["2017-10-10T12:00", "2017-10-15T03:30", "2017-10-15T20:00"]),  # midnight does not come
        ("America/Havana", ["2017-11-01T12:00", "2017-11-05T04:30", "2017-11-05T05:30"]),  # midnight comes twice
    ],
)
def test_days_of_any_zone_begin_with_its_midnight(zone: str, moments: list[str]) -> None:
    at = pd.to_datetime(moments).tz_localize("UTC").tz_convert(zone)
    histories = buying_histories(pd.DataFrame({"customer_id": ["ana"] * 3, "at": at}), "2017-11-12", period="1d")
    days = at[1].date() - at[0].date()
    assert histories["repeats"].tolist() == [1]
    assert histories["recency"].tolist() == pytest.approx([days.days], abs=1 / 23)


@pytest.mark.parametrize(
    ("repeats", "recency", "age", "message"),
    [
        ([1.5], [1], [2], "whole repeats"),
        ([-1], [0], [2], "whole repeats of 0 or more"),
        ([1], [3], [2], "recency <= age"),
        ([0], [1], [2], "recency 0 without repeats"),
        ([1], [np.nan], [2], "cannot be"),
        ([0, 0], [0, 0], [5, 6], "nobody bought a second time"),
    ],
)
def test_histories_that_cannot_be_are_errors(repeats: list, recency: list, age: list, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        fit_buying(repeats, recency, age)


def test_a_fit_without_maximum_is_an_error() -> None:
    with pytest.raises(MetricError, match="no maximum"):
        fit_buying([3] * 50, [9.0] * 50, [9.0] * 50)
