"""Results in a notebook: words and numbers that people read, and no internal name, exponent or dump of an object."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit.readable import table_html
from toolkit.stats import qini

ROOT = Path(__file__).parents[1]
EXPONENT = re.compile(r"\d(?:\.\d+)?e[+-]?\d")


@pytest.fixture(scope="module")
def log() -> tk.EventLog:
    return tk.EventLog.open(ROOT / "data" / "shop")


@pytest.fixture(scope="module")
def program():
    return tk.load(ROOT / "templates" / "abandoned_cart")


def cells(html: str) -> list[list[str]]:
    """The texts of a table, row by row, headings first."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]


def test_a_table_has_words_on_the_left_numbers_on_the_right_and_names_that_break():
    html = table_html(pd.DataFrame({"scenario": ["<b>x" * 30], "mails": [12_345], "open_rate": [0.1234]}))
    assert cells(html)[0] == ["scenario", "mails", "open rate"]
    assert cells(html)[1][1:] == ["12,345", "12.3%"]
    assert "<b>" not in html
    words, number, _ = re.findall(r'<td style="([^"]*)"', html)
    assert "text-align:left" in words
    assert "overflow-wrap:anywhere" in words
    assert "text-align:right" in number
    assert "nowrap" in number
    assert "nowrap" not in html.partition("<tbody>")[0]  # a heading takes the lines it needs
    assert html.startswith('<div class="tk-table"><style>')  # which fades it towards columns that are not seen


def test_a_short_name_does_not_break_and_a_path_keeps_its_underscores():
    html = table_html(pd.DataFrame({"abandoned_cart.pause.wait": ["4h"], "step": ["reminder"]}))
    assert cells(html)[0] == ["abandoned_cart.pause.wait", "step"]
    assert re.findall(r'<td style="[^"]*min-width:calc\((\d+)ch', html) == ["24", "8"]


def test_reasons_are_told_in_words_and_stay_codes_in_the_data(log, program):
    summary = tk.replay(program, log, progress=False).summary()
    assert "holdout" in set(summary.reasons["reason"])
    told = {row[0] for row in cells(summary._repr_html_()) if len(row) == 2}
    assert {"in the control group", "journey ended while the mail was held"} <= told
    assert "holdout" not in told


def test_what_is_missing_is_a_dash_among_numbers_and_nothing_among_words():
    html = table_html(pd.DataFrame({"arm": [None, "a"], "value": [float("nan"), 2.0]}))
    assert cells(html)[1:] == [["", "–"], ["a", "2"]]


def test_an_experiment_gives_its_advice_first_and_its_numbers_with_their_units(log, program):
    metrics = [
        tk.Rate("converted"),
        tk.Mean("revenue", currency="EUR"),
        tk.Rate("unsubscribed", role="guardrail", better="lower", margin=0.02),
    ]
    html = tk.experiment(tk.measure(tk.replay(program, log)), metrics, control="control")._repr_html_()
    assert re.search(r"<p[^>]*><b>Roll out discount\.</b></p>", html)
    head, first = cells(html)[:2]
    assert head[:4] == ["metric", "arm", "people in control", "people in the arm"]
    assert first[4:7] == ["25.4%", "37.0%", "+11.6 points [6.0, 16.9]"]
    assert "€" in html
    assert "inf" not in re.sub("<[^>]*>", " ", html).split()
    assert not EXPONENT.search(html)
    for internal in ("n_control", "diff_lower", "rel_upper"):
        assert internal not in html


def test_a_replay_of_one_scenario_names_it_once_and_one_of_several_in_each_row(log, program):
    html = tk.replay(program, log).summary()._repr_html_()
    assert html.startswith("<p><b>Replay of abandoned_cart</b>")
    assert cells(html)[0][:3] == ["arm", "journeys", "customers"]
    assert html.count("abandoned_cart") == 1
    again = program["abandoned_cart"].model_copy(update={"scenario": "again"})
    both = tk.replay(program.model_copy(update={"scenarios": (*program.scenarios, again)}), log).summary()._repr_html_()
    assert both.startswith("<p><b>Replay</b>")
    assert cells(both)[0][:2] == ["scenario", "arm"]


def test_a_plan_tells_effects_in_points_and_power_in_percent():
    html = tk.plan(tk.Rate("converted"), baseline=0.1, rel=0.1, per_day=500)._repr_html_()
    planned = next(row for row in cells(html) if row[:1] == ["29,502"])
    assert planned == ["29,502", "59", "1.00 points", "10.0%", "80.0%"]


def test_a_forecast_has_one_row_a_metric_and_an_interval_for_each_arm(log, program):
    model = tk.ResponseModel.parse("response: guess\nbuys: {rate: [0.01, 0.03, 0.06]}\norder: {margin: 0.3}")
    told = tk.simulate(program, log, response=model, draws=6, seed=1, partitions=1, progress=False)
    rows = cells(told._repr_html_())
    assert rows[0] == ["metric", "control", "reminder", "discount", "kind"]
    assert len({row[0] for row in rows}) == len(rows)
    revenue = next(row for row in rows if row[0] == "revenue")
    assert all(re.fullmatch(r"[\d,]+ \[[\d,]+, [\d,]+\]", cell) for cell in revenue[1:4])
    assert not EXPONENT.search(told._repr_html_())


def test_a_program_and_a_scenario_say_what_they_do(program):
    for one in (program, program["abandoned_cart"]):
        html = one._repr_html_()
        assert "Wait 4 hours." in html
        assert "Duration(" not in html


def test_a_score_is_told_in_a_line():
    rng = np.random.default_rng(2)
    treated = rng.random(400) < 0.5
    found = qini(rng.random(400) < 0.2, treated, rng.random(400))
    assert repr(found) == str(found)
