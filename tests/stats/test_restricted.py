"""Mean times of few people: the permutation test against every split there is, and against what it promises."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from toolkit.stats import TimeTo, experiment, kaplan_meier
from toolkit.stats.restricted import restricted_means_test, shuffles_wanted
from toolkit.stats.survival import Followed


def people(rng: np.random.Generator, size: int, *, share: float = 1.0, mean: float = 10.0) -> Followed:
    """So many people, of whom a share comes back after exponential times, followed for 14 to 56 days."""
    back = np.where(rng.random(size) < share, rng.exponential(mean, size), np.inf)
    followed = rng.uniform(14, 56, size)
    return np.minimum(back, followed), back <= followed


def means_of(one: Followed, other: Followed, horizon: float) -> tuple[float, float]:
    (mean, error), (base, error_base) = (kaplan_meier(*side).restricted_mean(horizon) for side in (one, other))
    return mean - base, math.hypot(error, error_base)


@pytest.mark.parametrize("flipped", [False, True], ids=["as it is", "arms flipped"])
@pytest.mark.parametrize(
    ("days", "happened"),
    [
        ([1, 2, 2, 3, 5, 7, 7, 7, 9], [1, 1, 0, 1, 1, 0, 1, 0, 0]),
        ([1, 1, 1, 1, 2, 2, 2, 2, 9], [1, 1, 1, 1, 1, 1, 1, 0, 0]),
        ([1, 4, 2, 4, 4, 2, 4, 4, 4], [1, 1, 0, 1, 1, 0, 0, 1, 1]),
    ],
    ids=["some ties", "hardly any but ties", "many who are not followed"],
)
def test_the_pvalue_is_that_of_every_split_there_is(days: list[int], happened: list[int], flipped: bool) -> None:
    """Nine people with ties, some not followed to the end: 126 splits, 99,999 shuffles (strays by 0.002)."""
    lengths, flags = np.array(days, dtype=np.float64), np.array(happened, dtype=bool)
    chosen = [0, 1, 3, 6]
    statistics = {}
    for split in itertools.combinations(range(9), 4):
        inside = np.isin(np.arange(9), split)
        statistics[split] = _statistic(*((lengths[side], flags[side]) for side in (inside, ~inside)), 7.5)
    own = statistics[tuple(chosen)]
    all_of_them = np.array(list(statistics.values()))
    exact = 2 * min((all_of_them >= own - 1e-9).mean(), (all_of_them <= own + 1e-9).mean())
    inside = np.isin(np.arange(9), chosen)
    one, other = (lengths[inside], flags[inside]), (lengths[~inside], flags[~inside])
    found = restricted_means_test(*((other, one) if flipped else (one, other)), 7.5, seed=1, draws=99_999)
    assert found.pvalue == pytest.approx(min(1.0, exact), abs=0.01)


def _statistic(one: Followed, other: Followed, horizon: float) -> float:
    """By the textbook's sums; a curve that ends before the horizon stays where it is."""
    means = []
    for lengths, flags in (one, other):
        times = np.unique(lengths[flags & (lengths < horizon)])
        risk = np.array([(lengths >= time).sum() for time in times])
        events = np.array([(flags & (lengths == time)).sum() for time in times])
        heights = np.concatenate([[1.0], np.cumprod(1 - events / risk)])
        areas = heights * np.diff(np.concatenate([[0.0], times, [horizon]]))
        after = np.array([areas[at + 1 :].sum() for at in range(len(times))])
        parts = [a * a * d / (y * (y - d)) for a, d, y in zip(after, events, risk, strict=True) if y > d]
        means.append((areas.sum(), sum(parts)))
    (mean, variance), (base, variance_base) = means
    return (mean - base) / math.sqrt(variance + variance_base)


def test_of_many_people_the_interval_is_the_normal_one() -> None:
    rng = np.random.default_rng(2)
    one, other = people(rng, 1_000, mean=8), people(rng, 1_000)
    found = restricted_means_test(one, other, 28.0, seed=1)
    diff, error = means_of(one, other, 28.0)
    assert found.lower == pytest.approx(diff - 1.959964 * error, abs=0.1 * error)
    assert found.upper == pytest.approx(diff + 1.959964 * error, abs=0.1 * error)


@pytest.mark.parametrize(("size", "held_out", "share"), [(90, 10, 0.1), (20, 20, 1.0)], ids=["holdout", "few people"])
def test_alarms_are_as_rare_as_alpha_says(size: int, held_out: int, share: float) -> None:
    """250 experiments without effect; strays by 0.014. The normal approximation errs in 38 and 6.6 of 100."""
    rng = np.random.default_rng(3)
    alarms = 0
    for run in range(250):
        one, other = people(rng, size, share=share), people(rng, held_out, share=share)
        alarms += restricted_means_test(one, other, 14.0, seed=run, draws=999).pvalue < 0.05
    assert alarms / 250 < 0.085


def test_intervals_of_few_people_hold_the_truth_as_promised() -> None:
    """250 experiments of 25 and 25 people with an effect: 95% intervals hold 92% or more (strays by 1.4 points)."""
    rng = np.random.default_rng(4)
    truth = 7 * (1 - math.exp(-14 / 7)) - 12 * (1 - math.exp(-14 / 12))
    hits = 0
    for run in range(250):
        found = restricted_means_test(people(rng, 25, mean=7), people(rng, 25, mean=12), 14.0, seed=run, draws=999)
        hits += found.lower <= truth <= found.upper
    assert hits / 250 > 0.92


def test_many_moments_get_fewer_shuffles_at_a_tiny_alpha() -> None:
    rng = np.random.default_rng(6)
    one, other = people(rng, 3_500), people(rng, 500)
    moments = len(np.unique(np.concatenate([lengths[flags & (lengths < 14)] for lengths, flags in (one, other)])))
    found = restricted_means_test(one, other, 14.0, alpha=0.002)
    assert f"({20_000_000 // moments:,} shuffles)" in found.method  # 99,999 for few moments
    assert "(99,999 shuffles)" in restricted_means_test(people(rng, 30), people(rng, 30), 14.0, alpha=0.002).method


def outcomes(one: Followed, other: Followed) -> pd.DataFrame:
    sides = [
        pd.DataFrame({"arm": arm, "back": np.where(flags, lengths, np.nan), "known": lengths})
        for arm, (lengths, flags) in (("mail", one), ("control", other))
    ]
    return pd.concat(sides, ignore_index=True)


def test_an_experiment_takes_the_shuffles_where_people_are_few_or_the_holdout_is_small() -> None:
    rng = np.random.default_rng(5)
    metric = TimeTo("back", within="14d", until="known")
    few, small = (people(rng, 50), people(rng, 50)), (people(rng, 900), people(rng, 100))
    enough = people(rng, 200), people(rng, 200)
    for arms, wanted in ((few, True), (small, True), (enough, False)):
        *_, soon = experiment(outcomes(*arms), [metric]).comparisons
        assert ("permutation test" in soon.method) == wanted
        assert (soon.diff_lower > 0 or soon.diff_upper < 0) == (soon.pvalue < 0.05)
        assert (soon.rel_lower > 0 or soon.rel_upper < 0) == (soon.pvalue < 0.05)
        diff, error = means_of(*arms, 14.0)
        assert (soon.diff, soon.error) == (pytest.approx(diff), pytest.approx(error))
        assert "log-rank p" in soon.note


@pytest.mark.parametrize(
    ("size", "held_out", "come", "wanted"),
    [
        (199, 199, 199, True),
        (200, 200, 200, False),
        (300, 100, 300, False),
        (301, 100, 300, True),
        (22_000, 2_000, 12_000, True),
        (22_000, 2_000, 12_001, False),
    ],
)
def test_whether_shuffles_are_wanted_follows_from_sizes_and_who_came_back(
    size: int, held_out: int, come: int, wanted: bool
) -> None:
    lengths, flags = np.full(size + held_out, 3.0), np.arange(size + held_out) < come
    for happened in (flags, flags[::-1]):  # in which arm they are makes no difference
        one, other = (lengths[:size], happened[:size]), (lengths[size:], happened[size:])
        assert shuffles_wanted(one, other, 14.0) == wanted


@pytest.mark.parametrize(("few", "told"), [(0, True), (4, True), (5, False)])
def test_an_interval_of_fewer_than_five_in_an_arm_is_told_to_miss_the_truth_more_often(few: int, told: bool) -> None:
    days = np.arange(90) / 8 + 1
    mail, held_out = (days, days < 6), (days[:40], np.arange(40) < few)
    for arms in ((mail, held_out), (held_out, mail)):
        *_, soon = experiment(outcomes(*arms), [TimeTo("back", within="12d")]).comparisons
        assert (f"it happened to {few} only in an arm: with so few the interval may miss" in soon.note) == told


@pytest.mark.parametrize(("size", "held_out", "least"), [(90, 10, 0.86), (225, 25, 0.9)], ids=["two", "five"])
def test_intervals_of_a_true_effect_miss_it_as_often_as_is_told(size: int, held_out: int, least: float) -> None:
    """300 experiments in which half of the mailed and a fifth of control come back: two or five of them in control.
    90 of 100 hold the truth with two (strays by 1.7 points), 94 with five."""
    rng = np.random.default_rng(5)

    def side(count: int, share: float, mean: float) -> Followed:
        back = np.where(rng.random(count) < share, rng.exponential(mean, count), np.inf)
        return np.minimum(back, 28.0), back <= 28

    def mean_of(share: float, mean: float) -> float:
        return share * mean * (1 - math.exp(-28 / mean)) + (1 - share) * 28

    truth, hits = mean_of(0.5, 7) - mean_of(0.2, 10), 0
    for run in range(300):
        found = restricted_means_test(side(size, 0.5, 7), side(held_out, 0.2, 10), 28.0, seed=run, draws=999)
        hits += found.lower <= truth <= found.upper
    assert hits / 300 > least


def test_what_happened_to_nobody_has_no_test_and_says_so() -> None:
    frame = pd.DataFrame({"arm": ["control", "mail"] * 20, "back": np.nan})
    *_, soon = experiment(frame, [TimeTo("back", within="14d")]).comparisons
    assert (soon.value, soon.diff) == (14.0, 0.0)
    assert math.isnan(soon.pvalue)
    assert "it happened to nobody" in soon.note


@pytest.mark.parametrize("until", ["2025-02-01", pd.Timestamp("2025-02-01")], ids=["text", "moment"])
def test_times_without_a_zone_are_counted_to_a_moment_without_one(until: str | pd.Timestamp) -> None:
    entered = pd.to_datetime(["2025-01-01", "2025-01-11"] * 20)
    frame = pd.DataFrame({"arm": ["control"] * 20 + ["mail"] * 20, "entered_at": entered, "back": pd.NaT})
    frame.loc[0, "back"] = pd.Timestamp("2025-01-06")
    metric = TimeTo("back", within="28d", since="entered_at", until=until)
    lengths, flags = metric.followed(frame)
    assert lengths.tolist() == [5.0, 21.0, *([31.0, 21.0] * 19)]
    assert flags.tolist() == [True] + [False] * 39
