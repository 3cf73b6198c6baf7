"""The kernel's local time is zoneinfo's, to the microsecond (rules R5, R8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.engine.zones import DAY, add_days, to_local, to_utc, zone_tables

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = (
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",  # summer time moves by half an hour
    "Africa/Casablanca",  # summer time ends for Ramadan
    "America/St_Johns",
    "Pacific/Apia",  # lost a day in 2011
    "Asia/Kathmandu",
    "UTC",
)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


FIRST, LAST = micros(datetime(2010, 1, 1, tzinfo=UTC)), micros(datetime(2037, 12, 31, tzinfo=UTC))
TABLES = zone_tables(NAMES, first=FIRST, last=LAST)
ZONE = st.integers(0, len(NAMES) - 1)


@given(ZONE, st.integers(FIRST, LAST))
def test_a_moment_has_the_local_time_zoneinfo_gives_it(zone: int, moment: int) -> None:
    local = (EPOCH + timedelta(microseconds=moment)).astimezone(ZoneInfo(NAMES[zone]))
    assert to_local(TABLES, zone, moment) == micros(local.replace(tzinfo=UTC))


@given(ZONE, st.integers(FIRST, LAST))
def test_a_local_time_is_the_moment_zoneinfo_gives_it_with_fold_0(zone: int, wall: int) -> None:
    local = (EPOCH + timedelta(microseconds=wall)).replace(tzinfo=ZoneInfo(NAMES[zone]), fold=0)
    assert to_utc(TABLES, zone, wall) == micros(local.astimezone(UTC))


@pytest.mark.parametrize("zone", range(len(NAMES)))
def test_around_every_change_of_the_clock_both_conversions_agree_with_zoneinfo(zone: int) -> None:
    rules = ZoneInfo(NAMES[zone])
    for row in range(TABLES.starts[zone] + 1, TABLES.starts[zone + 1]):
        change = int(TABLES.utc[row])
        if not FIRST < change < LAST:
            continue
        for step in (-7_200_000_000, -1, 0, 1, 600_000_000, 3_599_999_999, 3_600_000_000):
            local = (EPOCH + timedelta(microseconds=change + step)).astimezone(rules)
            assert to_local(TABLES, zone, change + step) == micros(local.replace(tzinfo=UTC))
            wall = int(TABLES.wall[row]) + step
            told = (EPOCH + timedelta(microseconds=wall)).replace(tzinfo=rules, fold=0)
            assert to_utc(TABLES, zone, wall) == micros(told.astimezone(UTC))


def test_a_day_over_the_end_of_summer_time_has_25_hours() -> None:
    before = micros(datetime(2025, 10, 25, 10, tzinfo=UTC))
    assert add_days(TABLES, 0, before, 1, 0) - before == DAY + 3_600_000_000
    assert add_days(TABLES, 0, before, 0, DAY) - before == DAY
