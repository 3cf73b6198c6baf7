"""How long, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.scenario.duration import Duration, TimeOfDay, as_meant

DAY = 86_400_000_000
HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("4h", Duration(0, 4 * HOUR)),
        ("1d", Duration(1)),
        ("2w", Duration(14)),
        ("1d12h", Duration(1, 12 * HOUR)),
        ("1w 1d 90m", Duration(8, 90 * 60_000_000)),
        ("0.5s", Duration(0, 500_000)),
        ("1.5h", Duration(0, 90 * 60_000_000)),
        (" - 7d ", Duration(-7)),
        ("+1h", Duration(0, HOUR)),
        ("-1d6h", Duration(-1, -6 * HOUR)),
        ("0s", Duration()),
    ],
)
def test_a_text_is_days_and_elapsed_time(text: str, meant: Duration) -> None:
    assert Duration.parse(text) == meant


@pytest.mark.parametrize("text", ["", "4", "h", "4 hours", "1.5d", "0.5w", "4h!", "--1d", "1d-1h", "36501d", "1e3h"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Duration.parse(text)


@given(st.integers(0, 36_000), st.integers(0, 30_000 * DAY), st.sampled_from([1, -1]))
def test_a_duration_written_down_is_read_again(days: int, micros: int, sign: int) -> None:
    duration = Duration(sign * days, sign * micros)
    assert Duration.parse(str(duration)) == duration


@given(st.timedeltas(timedelta(0), timedelta(30_000)))
def test_a_timedelta_is_elapsed_time(span: timedelta) -> None:
    duration = Duration.parse(span)
    assert (duration.days, timedelta(microseconds=duration.microseconds)) == (0, span)
    assert Duration.parse(duration) is duration


def test_a_day_counts_as_24_hours_only_where_a_window_looks_back() -> None:
    assert Duration.parse("1d") != Duration.parse("24h")
    assert Duration.parse("1d").elapsed == Duration.parse("24h").elapsed == DAY


@pytest.mark.parametrize(("days", "micros"), [(1, -1), (-1, 1)])
def test_days_and_hours_point_one_way(days: int, micros: int) -> None:
    with pytest.raises(ValueError, match="of one sign"):
        Duration(days, micros)


@pytest.mark.parametrize("text", ["00:00", "9:05", "23:59"])
def test_a_time_of_day_written_down_is_read_again(text: str) -> None:
    time = TimeOfDay.parse(text)
    assert TimeOfDay.parse(str(time)) == time
    assert TimeOfDay.parse(time) is time
    assert str(time).endswith(text)


@pytest.mark.parametrize("text", ["24:00", "9", "09:60", "9:5", "09:00:00", "", "noon"])
def test_what_is_not_a_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time of day"):
        TimeOfDay.parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("4 hours", "4h"),
        ("4hrs", "4h"),
        ("1 day", "1d"),
        ("30 minutes", "30m"),
        ("2 Weeks", "2w"),
        ("90 sec.", "90s"),
        ("9am", "09:00"),
        ("12pm", "12:00"),
        ("12am", "00:00"),
        ("9:30pm", "21:30"),
        ("9h30", "09:30"),
        ("25:00", None),
        ("10:75", None),
        ("2 Stunden", "2h"),
        ("2 semaines", "2w"),
        ("3 Tage vorher", "-3d"),
        ("-2 days", "-2d"),
        ("1 day and 4 hours", "1d4h"),
        ("1.5 days", "36h"),
        ("2,5 h", "2.5h"),
        ("week", "1w"),
        ("P1DT12H", "1d12h"),
        ("9 Uhr", "09:00"),
        ("99999999 days", None),
        ("days days", None),
        ("2 months", None),
        ("5 ms", None),
        ("soon", None),
        ("4", None),
    ],
)
def test_what_people_write_is_understood_well_enough_to_say_it_right(text: str, meant: str | None) -> None:
    assert as_meant(text) == meant
