"""Lift by day: each day is what `experiment` says of the windows closed by then, and watching misleads nobody."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import toolkit as tk
from toolkit.bars import Bar
from toolkit.errors import MetricError
from toolkit.events import OutcomeTable
from toolkit.stats import LiftByDay, Looks, Mean, Quantile, Rate, Ratio, Result, Spending, TimeTo, lift_by_day, plan

ROOT = Path(__file__).parents[2]
WINDOW = pd.Timedelta(days=3)


def outcomes(n: int = 2_400, *, days: float = 9.0, seed: int = 3, effect: float = 0.06) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    arm = rng.choice(["control", "mail", "gift"], n)
    converted = rng.random(n) < 0.15 + effect * (arm != "control")
    before = rng.gamma(2, 15, n)
    entered = pd.Timestamp("2025-03-01T05:00Z") + pd.to_timedelta(rng.random(n) * days, unit="D")
    frame = pd.DataFrame(
        {
            "unit": np.arange(n),
            "arm": arm,
            "entered_at": entered,
            "converted": converted,
            "revenue": converted * (before + rng.gamma(2, 10, n)),
            "pre_revenue": np.where(rng.random(n) < 0.1, np.nan, before),
            "mails": rng.integers(1, 4, n),
        }
    )
    frame["opens"] = rng.binomial(frame["mails"], 0.4)
    frame["open_verdict"] = rng.choice(["human", "machine", "unsure", None], n)
    frame["group"] = rng.choice(["new", "old"], n)
    return frame


METRICS = [
    Rate("converted"),
    Mean("revenue", currency="EUR"),
    Mean("revenue", name="adjusted", covariate="pre_revenue"),
    Mean("revenue", name="stratified", strata="group"),
    Ratio("opens", "mails"),
    Rate("opened", verdict="open_verdict"),
    Quantile("revenue", q=0.9),
]


def same(one: object, other: object) -> bool:
    """Whether two comparisons say the same, the last digits of sums aside."""
    for field in dataclasses.fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name.startswith("pvalue_"):  # of all comparisons together
            continue
        if isinstance(a, float) and isinstance(b, float):
            if not (math.isclose(a, b, rel_tol=1e-7, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))):
                return False
        elif a != b:
            return False
    return True


def from_scratch(frame: pd.DataFrame, until: pd.Timestamp, looks: Looks) -> Result:
    return tk.experiment(frame[frame["entered_at"] + WINDOW < until], METRICS, looks=looks)


@pytest.mark.parametrize("planned", [None, 900.0])
def test_every_day_is_what_the_experiment_says_of_the_windows_closed_by_its_end(planned: float | None) -> None:
    frame = outcomes()
    found = lift_by_day(frame, tk.experiment(frame, METRICS), window="3d", planned=planned)
    assert found.days[0].day == pd.Timestamp("2025-03-04", tz="UTC")
    assert found.days[-1].day == (frame["entered_at"].max() + WINDOW).normalize()
    assert [one.day for one in found.days] == list(pd.date_range(found.days[0].day, found.days[-1].day))
    for one in found.days:
        sequence = Looks(planned or 5_000, spending="always")
        expected = from_scratch(frame, one.day + pd.Timedelta(days=1), sequence)
        assert one.units == pytest.approx(expected.look.time * (planned or 5_000))
        wrong = [(a, b) for a, b in zip(one.comparisons, expected.comparisons, strict=True) if not same(a, b)]
        assert not wrong


def test_a_customer_counts_on_the_day_his_window_is_closed_and_not_before() -> None:
    frame = outcomes()
    result = tk.experiment(frame, [Rate("converted")])
    closed = (frame["entered_at"] + WINDOW).dt.floor("D")
    table = lift_by_day(frame, result, window="3d").table.drop_duplicates("day").set_index("day")
    for day, units in table["units"].items():
        assert units == (closed <= day).sum()
    known = lift_by_day(frame.assign(entered_at=frame["entered_at"] + WINDOW), result, window="0s")
    pd.testing.assert_frame_equal(known.table, lift_by_day(frame, result, window="3d").table)


def test_what_happens_later_does_not_change_an_earlier_day() -> None:
    frame = outcomes()
    early = frame[frame["entered_at"] < pd.Timestamp("2025-03-06T00:00Z")]
    metrics = [Rate("converted"), *METRICS[2:5]]
    made = [lift_by_day(part, tk.experiment(part, metrics), window="3d").table for part in (early, frame)]
    shared = made[1][made[1]["day"] <= made[0]["day"].max()]
    pd.testing.assert_frame_equal(made[0], shared, check_exact=False, rtol=1e-7)


def test_the_looks_of_a_plan_stand_where_they_were_taken_with_their_own_intervals() -> None:
    frame = outcomes().sort_values("entered_at", ignore_index=True)
    metrics = [Rate("converted")]
    past = [800, 1600]
    result = tk.experiment(frame, metrics, looks=Looks(2_400, past=past))
    found = lift_by_day(frame, result, window="3d")
    assert [(mark.units, mark.time) for mark in found.marks] == [(800, 1 / 3), (1600, 2 / 3), (2400, 1.0)]
    for place, mark in enumerate(found.marks):
        then = tk.experiment(frame[: mark.units], metrics, looks=Looks(2_400, past=past[:place]))
        assert mark.at == (frame["entered_at"][mark.units - 1] + WINDOW).floor("us")
        assert all(same(a, b) for a, b in zip(mark.comparisons, then.comparisons, strict=True))
    assert list(found.looks["units"].unique()) == [800, 1600, 2400]


def test_an_interval_for_one_look_stands_at_the_planned_end_alone() -> None:
    frame = outcomes(4_000).sort_values("entered_at", ignore_index=True)
    metric = Rate("converted")
    design = plan(metric, baseline=0.15, diff=0.06, arms={"control": 1, "mail": 1, "gift": 1}).freeze()
    assert design.units < 4_000
    end = frame[: design.units]
    early = frame[: design.units // 2]
    for part in (end, frame):  # going on beyond the end does not move it
        (mark,) = lift_by_day(part, tk.experiment(part, [metric], design=design), window="3d").marks
        assert (mark.units, mark.time) == (design.units, 1.0)
        expected = tk.experiment(end, [metric], design=design)
        assert all(same(a, b) for a, b in zip(mark.comparisons, expected.comparisons, strict=True))
    found = lift_by_day(early, tk.experiment(early, [metric], design=design), window="3d")
    assert not found.marks
    assert found.notes == (f"the plan decides at {design.units:,} customers; {len(early):,} are known so far",)
    assert found.planned == design.units


def test_without_a_plan_no_day_is_the_end_and_a_word_says_so() -> None:
    frame = outcomes()
    found = lift_by_day(frame, tk.experiment(frame, [Rate("converted")]), window="3d")
    assert not found.marks
    assert found.looks.empty
    assert "no plan says when the experiment ends" in found.notes[0]


def test_a_result_that_is_looked_at_always_ends_where_its_band_ends() -> None:
    frame = outcomes()
    result = tk.experiment(frame, METRICS, looks=Looks(3_000, spending="always"))
    found = lift_by_day(frame, result, window="3d")
    assert all(same(a, b) for a, b in zip(found.days[-1].comparisons, result.comparisons, strict=True))
    assert not found.marks
    assert not found.notes


def test_looking_always_needs_no_end_and_no_word_about_one() -> None:
    frame = outcomes(600)
    result = tk.experiment(frame, [Rate("converted")], looks=Looks(3_000, spending="always"))
    assert lift_by_day(frame, result, window="3d").notes == ()


def test_a_day_on_which_an_arm_is_empty_has_no_number_and_says_why() -> None:
    frame = outcomes().sort_values("entered_at", ignore_index=True)
    frame.loc[:300, "arm"] = "mail"
    table = lift_by_day(frame, tk.experiment(frame, [Rate("converted")]), window="3d").table
    first = table[(table["day"] == table["day"].min()) & (table["arm"] == "mail")].iloc[0]
    assert math.isnan(first["diff"])
    assert first["note"] == "no units in arm 'control'"


def test_days_may_be_weeks_counted_back_from_the_last() -> None:
    frame = outcomes()
    result = tk.experiment(frame, [Rate("converted")])
    daily, weekly = (lift_by_day(frame, result, window="3d", every=every).table for every in (1, 7))
    kept = daily[daily["day"].isin(weekly["day"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, weekly)
    assert weekly["day"].iloc[-1] == daily["day"].iloc[-1]


def test_watching_every_day_misleads_one_in_twenty_at_most_and_an_interval_for_one_look_many_more() -> None:
    """A/A: no effect, 28 evenings; how often an interval excludes 0 on any of them."""
    shops, wrong = 60, {"band": 0, "one look": 0}
    for seed in range(shops):
        frame = outcomes(8_400, days=28, seed=seed, effect=0.0)
        frame = frame[frame["arm"] != "gift"]
        found = lift_by_day(frame, tk.experiment(frame, [Rate("converted")]), window="3d", planned=5_600)
        table = found.table
        wrong["band"] += bool(((table["diff_lower"] > 0) | (table["diff_upper"] < 0)).any())
        one_look = [
            one.diff / one.error for day in found.days for one in day.comparisons if one.error > 0 and one.n > 100
        ]
        wrong["one look"] += max(map(abs, one_look)) > 1.96
    assert wrong["band"] / shops <= 0.05
    assert wrong["one look"] / shops > 0.15


@pytest.mark.parametrize("progress", [True, False])
def test_days_that_take_long_show_how_far_they_are(capsys, monkeypatch, progress: bool) -> None:
    def at_once(days, **options):
        return Bar(days, **{**options, "delay": 0})

    monkeypatch.setattr("toolkit.stats.by_day.Bar", at_once)  # however quick the machine is
    frame = outcomes(300)
    lift_by_day(frame, tk.experiment(frame, [Rate("converted")]), window="3d", progress=progress)
    assert ("lift by day: " in capsys.readouterr().err) == progress


def test_outcomes_of_measure_know_their_window() -> None:
    run = tk.replay(tk.load(ROOT / "templates" / "abandoned_cart"), tk.EventLog.open(ROOT / "data" / "shop"))
    found = tk.measure(run)
    by_day = lift_by_day(found, tk.experiment(found, [Rate("converted")]))
    assert by_day.window == "7d"
    assert by_day.days[0].day == (run.journeys["entered_at"].min() + pd.Timedelta(days=7)).floor("D")
    assert by_day.days[-1].day <= run.until
    assert str(by_day).startswith("Lift by day, 2025-01-1")


TIMED = (*METRICS, TimeTo("came", within="28d"))


@pytest.fixture(scope="module")
def timed() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes with the time to a purchase, and their days."""
    frame = outcomes().assign(came=lambda rows: rows["revenue"].where(rows["converted"] & (rows["revenue"] < 28)))
    return frame, lift_by_day(frame, tk.experiment(frame, TIMED), window="3d").table


@pytest.mark.parametrize("kind", ["path", "table", "arrow"])
def test_outcomes_in_a_file_have_the_days_of_the_frame(
    kind: str, timed: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    frame, days = timed
    frame.to_parquet(tmp_path / "outcomes.parquet")
    given = {
        "path": tmp_path / "outcomes.parquet",
        "table": OutcomeTable.from_parquet(str(tmp_path / "outcomes.parquet")),
        "arrow": pa.Table.from_pandas(frame),
    }[kind]
    found = lift_by_day(given, tk.experiment(given, TIMED), window="3d")  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(found.table, days, check_exact=False, rtol=1e-7)


def test_outcomes_that_a_log_tells_of_itself_know_their_window_and_their_days() -> None:
    frame = outcomes(900)
    assigned = pd.DataFrame({"customer_id": frame["unit"], "event": "assigned", "at": frame["entered_at"]})
    bought = assigned[frame["converted"]].assign(event="purchase", at=lambda rows: rows["at"] + pd.Timedelta(hours=5))
    events = pd.concat([assigned.assign(arm=frame["arm"]), bought], ignore_index=True)
    log = tk.EventLog.from_pandas(events.assign(customer_id=events["customer_id"].astype(str)))
    table = OutcomeTable.from_log(log, entry="assigned", within="3d", flags={"converted": "purchase"})
    result = tk.experiment(table, [Rate("converted")])
    found = lift_by_day(table, result)
    assert found.window == "3d"
    closed = frame[frame["entered_at"] + WINDOW <= events["at"].max()]
    pd.testing.assert_frame_equal(
        found.table, lift_by_day(closed, tk.experiment(closed, [Rate("converted")]), window="3d").table
    )


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "America/Sao_Paulo", "Europe/Paris"])
def test_days_are_those_of_the_zone_that_is_asked_for(zone: str) -> None:
    frame = outcomes(days=27.5).assign(entered_at=lambda rows: rows["entered_at"] + pd.Timedelta(days=2))
    for begin in ("2025-03-01", "2018-10-20"):  # clocks change: in New York and Paris, at midnight in Sao Paulo
        moved = frame.assign(entered_at=frame["entered_at"] + (pd.Timestamp(begin) - pd.Timestamp("2025-03-01")))
        found = lift_by_day(moved, tk.experiment(moved, [Rate("converted")]), window="3d", zone=zone)
        clock = (moved["entered_at"] + WINDOW).dt.tz_convert(ZoneInfo(zone)).dt.date
        told = found.table.drop_duplicates("day").set_index("day")["units"]
        assert [day.date() for day in told.index] == list(pd.date_range(clock.min(), clock.max()).date)
        assert told.tolist() == [int((clock <= day.date()).sum()) for day in told.index]
        assert str(told.index.tz) == found.zone == zone


def test_a_look_stands_on_its_day_in_the_zone() -> None:
    frame = outcomes().sort_values("entered_at", ignore_index=True)
    result = tk.experiment(frame, [Rate("converted")], looks=Looks(2_400, [800]))
    plain, tokyo = (lift_by_day(frame, result, window="3d", zone=zone) for zone in ("UTC", "Asia/Tokyo"))
    assert [mark.at for mark in plain.marks] == [mark.at for mark in tokyo.marks]
    assert all(str(mark.at.tz) == "Asia/Tokyo" for mark in tokyo.marks)
    assert plain.looks[["units", "time"]].drop_duplicates().to_numpy().tolist() == [[800, 1 / 3], [2_400, 1]]


def test_who_asks_is_told_how_many_days_are_done() -> None:
    frame = outcomes(300)
    told: list[tuple[int, int]] = []
    result = tk.experiment(frame, [Rate("converted")])
    found = lift_by_day(frame, result, window="3d", progress=lambda at, total: told.append((at, total)))
    assert told == [(at, len(found.days)) for at in range(len(found.days))]


def test_the_unit_is_the_one_of_the_result() -> None:
    frame = outcomes().rename(columns={"unit": "customer"})
    result = tk.experiment(frame, [Rate("converted")], unit="customer")
    assert len(lift_by_day(frame, result, window="3d").days) == 10
    with pytest.raises(MetricError, match="one row per unit"):
        lift_by_day(frame.assign(customer=frame["customer"] // 2), result, window="3d")
    with pytest.raises(MetricError, match="column 'customer' is missing"):
        lift_by_day(frame.drop(columns="customer"), result, window="3d")


def other(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(converted=~frame["converted"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f, {}, "how long after entry an outcome was known is not said"),
        (lambda f: f, {"window": "soon"}, "window"),
        (lambda f: f, {"window": "3d", "at": "entered"}, "column 'entered' is missing"),
        (lambda f: f.assign(entered_at=f["entered_at"].dt.tz_localize(None)), {"window": "3d"}, "with a time zone"),
        (lambda f: f.assign(entered_at=f["entered_at"].where(f["unit"] > 2)), {"window": "3d"}, "3 of 2,400 rows"),
        (lambda f: f.assign(unit=f["unit"] // 2), {"window": "3d"}, "one row per unit"),
        (lambda f: f.head(2_000), {"window": "3d"}, "not those of the result"),
        (other, {"window": "3d"}, "not those of the result"),
        (lambda f: f.to_dict(), {"window": "3d"}, "found dict; allowed"),
        (lambda f: f, {"window": "3d", "zone": "Asia/Tokio"}, "zone: found 'Asia/Tokio'.*did you mean 'Asia/Tokyo'"),
        (lambda f: f, {"window": "3d", "zone": None}, "zone: found None; allowed: a time zone"),
        (lambda f: f, {"window": "3d", "every": 0}, "every: found 0"),
        (lambda f: f, {"window": "3d", "planned": -1}, "planned: found -1"),
        (lambda f: f, {"window": "3d", "unit": "customer"}, "column 'customer' is missing"),
    ],
)
def test_what_cannot_be_told_by_day_is_an_error(change, options: dict, message: str) -> None:
    frame = outcomes()
    result = tk.experiment(frame, [Rate("converted")])
    with pytest.raises(MetricError, match=message):
        lift_by_day(change(frame), result, **options)


def test_looks_by_a_spending_of_ones_own_are_those_of_the_result() -> None:
    frame = outcomes()
    result = tk.experiment(frame, [Rate("converted")], looks=Looks(3_000, [1_000], Spending("pocock")))
    found: LiftByDay = lift_by_day(frame, result, window="3d")
    assert all(same(a, b) for a, b in zip(found.marks[-1].comparisons, result.comparisons, strict=True))
    assert found.planned == 3_000
