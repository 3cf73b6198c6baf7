"""What comes in at the doors of fit, off_policy, simulate and tune: wrong arguments and wrong data are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit.errors import InputError, MetricError, ScenarioError, ToolkitError
from toolkit.simulation import fit, logged_sends, off_policy, simulate, tune, win_back

SURE = tk.ResponseModel.parse("{response: sure, buys: {rate: 0.1}, order: {margin: 0.5}}")


@pytest.fixture(scope="module")
def sends() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    sent = rng.random(3_000) < 0.7
    found = pd.DataFrame({"sent": sent, "converted": rng.random(3_000) < np.where(sent, 0.15, 0.1)})
    found["offer"] = np.where(sent, rng.choice([0.0, 10.0], 3_000), np.nan)
    found["propensity"] = np.where(sent, 0.35, 0.3)
    found["opened"] = pd.Series(rng.random(3_000) < 0.4).where(sent)
    found["used_offer"] = found["converted"] & (found["offer"] > 0)
    return found


def with_value(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(sends: pd.DataFrame) -> pd.DataFrame:
        kept = sends.astype({column: object})
        kept.loc[kept.index[sends["sent"]][:7], column] = value
        return kept

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_value("converted", np.nan), "'converted': 7 of 3,000 values are missing or infinite"),
        (with_value("converted", 2), "'converted' should be True and False, or 0 and 1; found 2 in 7 rows"),
        (with_value("sent", None), "'sent': 7 of 3,000 values are missing"),
        (with_value("opened", None), "'opened': 7 of .* values are missing"),
        (with_value("offer", np.inf), "'offer': 7 of .* allowed: percent off, known for everybody"),
        (with_value("offer", -5.0), "offer: found -5% off; allowed: 0 to 100"),
        (
            lambda s: s.assign(opened=np.where(s["converted"], "yes", "no")),
            "'opened' should be True and False, .* (str|object)",
        ),
        (lambda s: s.assign(delay=-1.0), "delay: found -1 hours; allowed: 0 or more"),
        (lambda s: s.assign(delay=np.nan), "'delay': 3,000 of 3,000 values are missing"),
        (lambda s: pd.concat([s, s[["sent"]]], axis=1), "found 2 columns 'sent'; allowed: one of each name"),
        (lambda s: s.rename(columns={"converted": "convertd"}), "no column converted; .* did you mean 'convertd'"),
        (lambda s: s.iloc[:0], "found no rows"),
        (lambda s: s.to_dict(), "found dict; allowed: a DataFrame"),
    ],
)
def test_sends_that_cannot_be_counted_are_refused(
    sends: pd.DataFrame, change: Callable[[pd.DataFrame], Any], said: str
) -> None:
    with pytest.raises((InputError, MetricError), match=said):
        fit(change(sends), margin=0.3)


def test_flags_count_the_same_in_every_kind_of_column(sends: pd.DataFrame) -> None:
    expected = fit(sends, margin=0.3).table
    for kind in (sends.convert_dtypes(), sends.convert_dtypes(dtype_backend="pyarrow"), sends.astype({"sent": int})):
        pd.testing.assert_frame_equal(fit(kind, margin=0.3).table, expected)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"window": "0d"}, "window: found '0d'; allowed: longer than nothing"),
        ({"window": 7}, "window: expected a duration; found 7"),
        ({"margin": "30%"}, "margin: found '30%'; allowed: a share of the price, 0 to 1"),
        ({"mail_cost": -1}, "mail_cost: found -1; allowed: 0 or more"),
        ({"prior": "model.yaml"}, "prior: found 'model.yaml'; allowed: a ResponseModel; read a file with"),
    ],
)
def test_wrong_arguments_of_a_fit_are_told(sends: pd.DataFrame, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fit(sends, **asked)


def test_what_a_policy_cannot_be_valued_by_is_told(sends: pd.DataFrame) -> None:
    with pytest.raises(MetricError, match="'converted': 7 of 3,000 values are missing"):
        off_policy(with_value("converted", None)(sends), {"sent": True})
    with pytest.raises(MetricError, match=r"'offer': .* missing or infinite"):
        off_policy(sends, {"sent": True}, context="offer")
    with pytest.raises(MetricError, match=r"policy: found None; allowed: an action such as \{'sent': True\}"):
        off_policy(sends, None)  # type: ignore[arg-type]
    with pytest.raises(MetricError, match="expected one chance per row"):
        off_policy(sends, lambda frame: frame["sent"].map({True: "a", False: "b"}))
    with pytest.raises(InputError, match=r"level: found 1\.5"):
        off_policy(sends, {"sent": True}, level=1.5)
    nullable = sends.assign(sent=sends["sent"].astype("boolean"))
    assert off_policy(nullable, {"sent": True}).matched == int(sends["sent"].sum())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"lapsed": "soon"}, "lapsed: expected a duration; found 'soon'"),
        ({"lapsed": None, "alive_below": 30}, "alive_below: found 30; allowed: a share of certainty, 0 to 1"),
        ({"reactivates": 0.05}, "reactivates: found 0.05; allowed: three shares"),
        ({"margin": None}, "margin: found None; allowed: 0 to 1"),
        ({"within": None}, "within: expected a duration; found None"),
        ({"until": "some day"}, "until: found 'some day'; allowed: a moment"),
        ({"until": pd.NaT}, "until: found NaT; allowed: a moment"),
        ({"until": "2025-01-20"}, "until needs a time zone; found '2025-01-20'; for example '2025-01-20T00:00Z'"),
        ({"draws": 0}, "draws: found 0"),
    ],
)
def test_wrong_arguments_of_a_win_back_are_told(asked: dict[str, Any], said: str) -> None:
    log = tk.shop(customers=20, days=10, seed=1).log()
    with pytest.raises(InputError, match=said):
        win_back(log, **({"lapsed": "3d", "reactivates": (0.01, 0.02, 0.03), "margin": 0.4} | asked))
    with pytest.raises(InputError, match="log: found DataFrame"):
        win_back(pd.DataFrame(), lapsed="3d", reactivates=(0.01, 0.02, 0.03), margin=0.4)  # type: ignore[arg-type]


def test_what_is_no_program_no_log_and_no_list_of_values_is_told() -> None:
    log = tk.shop(customers=20, days=10, seed=1).log()
    program = tk.load("templates/abandoned_cart")
    with pytest.raises(InputError, match=r"program: found 'templates/cart'; .* read files with tk.load"):
        simulate("templates/cart", log, response=SURE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="log: found DataFrame; allowed: an EventLog"):
        simulate(program, pd.DataFrame(), response=SURE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"partitions: found 2\.5; allowed: a whole number"):
        simulate(program, log, response=SURE, partitions=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="log: found NoneType"):
        logged_sends(program, None)  # type: ignore[arg-type]
    wait = "abandoned_cart.pause.wait"
    for over, said in ((None, "over: found None"), ({wait: "4h"}, r"wait: found '4h'; allowed: a list of values")):
        with pytest.raises(InputError, match=said):
            tune(program, log, SURE, over=over)  # type: ignore[arg-type]


def test_a_file_of_a_model_that_is_no_text_or_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    good, foreign = tmp_path / "model.yaml", tmp_path / "latin1.yaml"
    good.write_text(SURE.dump(), encoding="utf-8-sig")  # as some editors write it
    foreign.write_bytes("{response: été}".encode("latin-1"))
    assert dict(tk.ResponseModel.load(good).numbers) == dict(SURE.numbers)
    with pytest.raises(ScenarioError, match=r"latin1\.yaml: cannot be read as text in UTF-8"):
        tk.ResponseModel.load(foreign)
    with pytest.raises(ScenarioError, match=r"none\.yaml: no such file"):
        tk.ResponseModel.load(tmp_path / "none.yaml")


def test_a_stated_loss_with_a_source_of_blanks_is_refused_as_any_other() -> None:
    with pytest.raises(ScenarioError, match=r"buys\.rate: out of range"):
        tk.ResponseModel.parse('{response: x, buys: {rate: {likely: -0.1, source: " "}}}')


# --- two models -------------------------------------------------------------------------------------------------------


def test_models_that_say_the_same_are_equal_and_others_are_not():
    text = "{response: sure, buys: {rate: 0.1}, order: {margin: 0.5}}"
    assert tk.ResponseModel.parse(text) == SURE
    assert len({tk.ResponseModel.parse(text), SURE}) == 1
    assert tk.ResponseModel.parse(SURE.dump()) == SURE
    assert SURE.with_numbers({"order.margin": 0.4}) != SURE
    assert text != SURE
    assert tk.ResponseModel.parse(text.replace("sure", "other")) != SURE


def test_fitted_models_are_equal_where_their_draws_are(sends):
    one, same = (fit(sends, seed=1) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    path, draws = next(iter(one.samples.items()))
    assert dataclasses.replace(one, samples={**one.samples, path: draws + 1e-9}) != one


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"buys.speed": 1.0, "order.color": 2.0}, r"buys\.speed: no such number[\s\S]*order\.color: no such number"),
        ({"order.margin": 2.0}, r"order\.margin: out of range; found 2\.0"),
        ({"order.margin": "much"}, "numbers: found .*; allowed: numbers by path"),
        ([0.3], r"numbers: found \[0\.3\]; allowed: numbers by path"),
    ],
    ids=["unknown", "out of range", "no number", "no mapping"],
)
def test_other_numbers_of_a_model_are_numbers_that_there_are(numbers, said):
    with pytest.raises(ToolkitError, match=said):
        SURE.with_numbers(numbers)
