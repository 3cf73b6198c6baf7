"""Local clocks of the synthetic shop, held against zoneinfo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from toolkit.simulation.calendar import DAY, HOUR, day_weights, local_moment, time_of_day, to_utc

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
MICRO = timedelta(microseconds=1)


def _by_zoneinfo(local: int, zone: str) -> int:
    clock = EPOCH + timedelta(microseconds=local)
    instant = clock.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return (instant.replace(tzinfo=None) - EPOCH) // MICRO


@pytest.mark.parametrize(
    "zone", ["Europe/Paris", "Europe/London", "America/New_York", "America/Montreal", "Asia/Tokyo"]
)
def test_local_times_become_utc_as_zoneinfo_says(zone):
    spring, autumn = 20_173 * DAY, 20_384 * DAY  # 2025-03-26 and 2025-10-23
    local = np.concatenate(
        [base + np.arange(0, 14 * DAY, 1789 * 1_000_003) for base in (spring - 20 * DAY, spring, autumn)]
    )
    wall = local_moment(to_utc(local, np.zeros(len(local), int), [zone]), np.zeros(len(local), int), [zone])
    exists = wall == local
    got = to_utc(local[exists], np.zeros(int(exists.sum()), int), [zone])
    assert got.tolist() == [_by_zoneinfo(int(moment), zone) for moment in local[exists]]
    assert exists.mean() > 0.99


def test_a_time_that_the_spring_leaves_out_moves_forward():
    gap = np.array([20_177 * DAY + 2 * HOUR + HOUR // 2])  # 2025-03-30 02:30 in Paris
    assert to_utc(gap, np.array([0]), ["Europe/Paris"]).tolist() == [20_177 * DAY + HOUR]


def test_a_time_that_comes_twice_is_the_first():
    twice = np.array([20_387 * DAY + 2 * HOUR + HOUR // 2])  # 2025-10-26 02:30 in Paris
    assert to_utc(twice, np.array([0]), ["Europe/Paris"]).tolist() == [20_387 * DAY + HOUR // 2]


def test_times_of_day_stay_within_the_day_and_peak_in_the_evening():
    monday = np.full(20_000, 20_094)  # 2025-01-06
    times = time_of_day(np.linspace(0, 1, 20_000, endpoint=False), monday)
    assert times.min() >= 0
    assert times.max() < DAY
    assert np.bincount(times // HOUR).argmax() == 21


def test_a_week_is_busiest_on_sunday_and_grows_where_asked():
    flat = day_weights(20_094, 14)
    assert flat.argmax() in (6, 13)
    assert flat[:7] == pytest.approx(flat[7:])
    assert day_weights(20_094, 14, growth=1.0)[13] > 1.8 * flat[13]
