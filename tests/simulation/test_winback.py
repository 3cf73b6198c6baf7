"""Who has stopped buying: the chance is that of Fader, Hardie and Lee (2005), for the customer whom the paper names."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.shared import shared
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.simulation import win_back
from toolkit.stats.lapse import fit_buying

CALIBRATION_END = pd.Timestamp("1997-09-30", tz="UTC")


def cdnow_sample() -> pd.DataFrame:
    """Purchases of the paper's 2,357 customers, out of the package lifetimes (read as a file, never imported)."""
    package = importlib.util.find_spec("lifetimes")
    if package is None or package.origin is None:
        pytest.skip("needs CDNOW_sample.txt of the package lifetimes")
    path = next(Path(package.origin).parent.rglob("CDNOW_sample.txt"))
    rows = pd.read_csv(path, sep=r"\s+", header=None, usecols=[1, 2, 4], names=["customer_id", "at", "revenue"])
    rows["at"] = pd.to_datetime(rows["at"].astype(str), utc=True)
    return rows.assign(customer_id=rows["customer_id"].astype(str), event="purchase")


def bought(frame: pd.DataFrame) -> pd.DataFrame:
    """Repeats, recency and age in weeks, counted here once more."""
    days = frame[frame["at"] <= CALIBRATION_END].groupby("customer_id")["at"].agg(["min", "max", "nunique"])
    return pd.DataFrame(
        {
            "repeats": days["nunique"] - 1,
            "recency": (days["max"] - days["min"]).dt.days / 7,
            "age": (CALIBRATION_END - days["min"]).dt.days / 7,
        }
    )


def test_who_has_stopped_is_what_the_paper_says_of_its_customer() -> None:
    rows = cdnow_sample()
    histories = bought(rows)
    same = histories[
        (histories["repeats"] == 2) & (histories["recency"].round(2) == 30.43) & (histories["age"].round(2) == 38.86)
    ]
    assert len(same) >= 1
    log = EventLog.from_pandas(rows)

    def lapsed(below: float) -> pd.DataFrame:
        found = win_back(log, alive_below=below, reactivates=(0.02, 0.05, 0.08), margin=0.4, until=CALIBRATION_END)
        assert (found.table["alive"] < below).all()
        return found.table.set_index("customer_id")

    above, beneath = lapsed(0.7276), lapsed(0.7256)  # on both sides of .72661
    for customer in same.index:
        assert above.loc[customer, "alive"] == pytest.approx(0.72661, abs=3e-4)  # the paper rounds its weeks
        assert above.loc[customer, "purchases"] >= 3
        assert customer not in beneath.index
    # Nobody can have stopped before a second purchase: the model has no one without repeats among the lapsed.
    assert (histories.loc[above.index, "repeats"] > 0).all()


def test_the_rule_is_the_papers_formula_for_everyone() -> None:
    rows = pd.read_parquet(shared("cdnow/cdnow_master.parquet"))
    rows = rows[rows["customer_id"] % 10 == 8]
    value = next(name for name in rows.columns if name in ("spend", "revenue", "value", "amount", "dollars"))
    frame = pd.DataFrame(
        {
            "customer_id": rows["customer_id"].astype(str),
            "event": "purchase",
            "at": pd.to_datetime(rows["date"]).dt.tz_localize("UTC"),
            "revenue": rows[value].astype(float),
        }
    )
    found = win_back(
        EventLog.from_pandas(frame), alive_below=0.5, reactivates=(0.02, 0.05, 0.08), margin=0.4, until=CALIBRATION_END
    )
    histories = bought(frame)
    model = fit_buying(histories["repeats"], histories["recency"], histories["age"])
    x, last, age = (histories[name].to_numpy() for name in ("repeats", "recency", "age"))
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = model.a / (model.b + x - 1) * ((model.alpha + age) / (model.alpha + last)) ** (model.r + x)
    alive = pd.Series(np.where(x > 0, 1 / (1 + odds), 1.0), index=histories.index)
    assert set(found.table["customer_id"]) == set(alive.index[alive < 0.5])
    assert len(found.table) > 100
    told = found.table.set_index("customer_id")["alive"]
    pd.testing.assert_series_equal(told.sort_index(), alive[told.index].sort_index(), check_names=False, rtol=1e-6)
    assert "chance to be still a customer below 0.5" in str(found)


def test_without_anyone_who_bought_again_the_model_is_refused() -> None:
    frame = pd.DataFrame(
        {"customer_id": ["ana", "bo"], "event": "purchase", "at": ["2025-03-03T10:00Z"] * 2, "revenue": [10.0, 20.0]}
    )
    log = EventLog.from_pandas(frame)
    with pytest.raises(InputError, match="nobody bought a second time"):
        win_back(log, alive_below=0.5, reactivates=(0, 0, 0), margin=0.4)


def test_a_purchase_heard_of_later_was_not_known_then() -> None:
    at = pd.to_datetime(["2025-01-01", "2025-01-05", "2025-03-01"], utc=True)
    rows = pd.DataFrame(
        {"customer_id": ["ana", "bo", "ana"], "event": "purchase", "at": at, "revenue": 20.0, "received_at": at}
    )
    rows.loc[2, "received_at"] = pd.Timestamp("2025-04-02", tz="UTC")

    def lapsed(until: str) -> list[str]:
        found = win_back(
            EventLog.from_pandas(rows), lapsed="60d", reactivates=(0.02, 0.05, 0.08), margin=0.4, until=until
        )
        return sorted(found.table["customer_id"])

    assert lapsed("2025-04-01T00:00Z") == ["ana", "bo"]
    assert lapsed("2025-04-03T00:00Z") == ["bo"]
