"""Forecasts of real shops held against the months that came afterwards; the page on forecasts shows the numbers."""

from __future__ import annotations

import re

import pandas as pd
import pytest

import toolkit as tk
from tests.shared import ROOT, shared

PAGE = (ROOT / "docs" / "forecast.md").read_text(encoding="utf-8")
NOTHING = tk.ResponseModel.parse("{response: nothing, window: 30d, buys: {rate: 0}, order: {margin: 0.3}}")
METRICS = {"own_conversions": "converted", "own_revenue": "revenue"}


def held_against_later_months(name: str, zone: str, months: list[str]) -> pd.DataFrame:
    """What a forecast from the log up to a month says of people left alone, and what those of that month did.

    One row per month and metric: told, came (both a person) and whether the forecast's interval, made as wide as so
    many people ask for, holds what came.
    """
    events = pd.read_parquet(shared(f"{name}/eventlog.parquet")).rename(columns={"timestamp": "at"})
    events["at"] = pd.to_datetime(events["at"])
    program = tk.load(ROOT / "templates" / "reactivation")
    outcomes = tk.measure(tk.replay(program, tk.EventLog.from_pandas(events, zone=zone)))
    entered = outcomes["entered_at"].dt.strftime("%Y-%m")
    rows = []
    for month in months:
        past = tk.EventLog.from_pandas(events[events["at"] < month], zone=zone)
        forecast = tk.simulate(program, past, response=NOTHING, draws=200, seed=1, progress=False)
        people, later = forecast.value("reactivation", "people"), outcomes[entered == month]
        for metric, column in METRICS.items():
            told = forecast.value("reactivation", metric) / people
            lower, upper = (end / people for end in forecast.interval("reactivation", metric))
            half = (upper - lower) / 2 * ((1 / people + 1 / len(later)) / (2 / people)) ** 0.5
            came = later[column].mean()
            rows.append((month, metric, told, came, abs(came - told) <= half))
    return pd.DataFrame(rows, columns=["month", "metric", "told", "came", "held"])


def shown(held: pd.DataFrame, shop: str) -> None:
    for metric, some in held.groupby("metric"):
        percent = metric == "own_conversions"
        told, came = (
            f"{some[one].min():.0%} to {some[one].max():.0%}"
            if percent
            else f"{some[one].min():.0f} to {some[one].max():.0f}"
            for one in ("told", "came")
        )
        word = "conversions a person" if percent else "revenue a person"
        assert f"| {shop} | {word} | {told} | {came} | {some['held'].sum()} of {len(some)} |" in PAGE


def test_a_forecast_holds_later_months_of_a_shop_that_goes_on_as_it_did() -> None:
    months = [f"2011-{month:02d}" for month in range(5, 11)]
    held = held_against_later_months("online_retail", "Europe/London", months)
    assert held["held"].sum() >= 9
    shown(held, "a wholesaler's shop (online_retail)")


def test_a_forecast_holds_no_later_month_of_a_single_cohort_and_outcomes_by_month_show_it() -> None:
    held = held_against_later_months("cdnow", "America/New_York", ["1997-06", "1997-07", "1997-08"])
    assert not held["held"].any()
    shown(held, "one cohort of new customers (cdnow)")


def test_the_page_shows_how_to_see_it_beforehand(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "groupby" in one)
    log, program = tk.EventLog.open(ROOT / "data" / "shop"), tk.load(ROOT / "templates" / "abandoned_cart")
    exec(code, {"tk": tk, "log": log, "program": program})
    assert "2025-02" in capsys.readouterr().out
