"""Response models fitted on one half of a real experiment and held against the other; and the page that tells of it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from tests.shared import ROOT, shared
from toolkit.simulation import fit


def halves(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    first = np.random.default_rng(1).random(len(frame)) < 0.5
    return frame[first].assign(propensity=0.5).reset_index(drop=True), frame[~first].reset_index(drop=True)


def lift_and_profit(
    frame: pd.DataFrame, *, price: float, margin: float, cost: float
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Ends of the forecast lift and profit a mail, and the lift measured in the other half."""
    learned, other = halves(frame)
    model = fit(learned, margin=margin, mail_cost=cost)
    (path,) = (path for path in model.samples or {} if path.startswith("buys."))
    lift = (model.samples or {})[path] * (1 - learned.loc[~learned["sent"], "converted"].mean())
    low, high = np.quantile(lift, [0.05, 0.95])
    measured = other.loc[other["sent"], "converted"].mean() - other.loc[~other["sent"], "converted"].mean()
    earns = price * margin
    return (low, high), (low * earns - cost, high * earns - cost), float(measured)


def in_the_table(name: str) -> list[str]:
    """What docs/forecast.md tells of an experiment: lift forecast and measured, profit forecast and measured."""
    page = (ROOT / "docs" / "forecast.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {name} \([^)]*\) \| (.*) \|$", page, re.M)
    return [cell.replace("−", "-") for cell in row.split(" | ")]


def told(
    lift: tuple[float, float], profit: tuple[float, float], measured: float, *, earns: float, cost: float, digits: int
) -> list[str]:
    """The same of what was worked out here."""
    low, high = (f"{100 * end:.2f}" for end in lift)
    least, most = (f"{end:.{digits}f}" for end in profit)
    return [
        f"{low} to {high} points",
        f"{100 * measured:.2f} points",
        f"{least} to {most}",
        f"{measured * earns - cost:.{digits}f}",
    ]


def test_starbucks_lifts_purchases_and_loses_money() -> None:
    raw = pd.read_parquet(shared("starbucks_promo_rct/training.parquet"))
    frame = pd.DataFrame({"sent": raw["Promotion"] == "Yes", "converted": raw["purchase"].astype(int) == 1})
    lift, profit, measured = lift_and_profit(frame, price=10, margin=1.0, cost=0.15)
    assert lift[0] > 0
    assert profit[1] < 0
    assert lift[0] - 0.003 < measured < lift[1] + 0.003
    assert measured * 10 - 0.15 < 0
    assert told(lift, profit, measured, earns=10, cost=0.15, digits=3) == in_the_table("Starbucks")


def test_hillstrom_is_forecast_as_it_came() -> None:
    raw = pd.read_csv(shared("hillstrom/raw/hillstrom_email_data.csv"))
    raw = raw[raw["segment"] != "Womens E-Mail"]
    frame = pd.DataFrame({"sent": raw["segment"] == "Mens E-Mail", "converted": raw["conversion"] == 1})
    price = float(raw.loc[raw["spend"] > 0, "spend"].mean())
    lift, profit, measured = lift_and_profit(frame, price=price, margin=0.3, cost=0.01)
    assert lift[0] < measured < lift[1]
    assert profit[0] > 0
    assert told(lift, profit, measured, earns=price * 0.3, cost=0.01, digits=2) == in_the_table("Hillstrom, men's mail")


def test_the_page_on_forecasts_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "forecast.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for code in blocks:
        exec(
            code.replace('"data/shop"', repr(str(ROOT / "data/shop"))).replace('"templates/', f'"{ROOT}/templates/'),
            names,
        )
    assert "modelled" in str(names["forecast"])
    assert "randomised sends" in capsys.readouterr().out
    for picture in re.findall(r"\]\((images/[\w.]+)\)", page):
        assert (ROOT / "docs" / picture).stat().st_size < 120_000
