"""Pictures of what is modelled: they show the forecast's own numbers, say that they are modelled, and where zero is."""

from __future__ import annotations

import re

import pytest

import toolkit as tk
from toolkit.charts import figure
from toolkit.charts.style import money
from toolkit.errors import InputError, NotSupportedError
from toolkit.scenario import Program

MODEL = """
response: guess
opens: {rate: [0.30, 0.40, 0.50]}
buys: {rate: [0.01, 0.03, 0.06], by_offer: {0: 1, 10: [1.0, 1.3, 1.7]}}
offers: {used_anyway: [0.4, 0.6, 0.8]}
order: {margin: [0.30, 0.35, 0.40]}
costs: {mail: 0.002}
"""
WAITS = {"abandoned_cart.pause.wait": ["1h", "4h"]}


@pytest.fixture(scope="module")
def cart(shop_program):
    return Program(scenarios=(shop_program["abandoned_cart"],), policies=shop_program.policies)


@pytest.fixture(scope="module")
def model():
    return tk.ResponseModel.parse(MODEL)


@pytest.fixture(scope="module")
def forecast(cart, shop_log, model):
    return tk.simulate(cart, shop_log, response=model, draws=30, seed=1, partitions=1, progress=False)


@pytest.fixture(scope="module")
def tuning(cart, shop_log, model):
    return tk.tune(cart, shop_log, model, over=WAITS, draws=20, check_out_of_time=False, progress=False)


def zero_lines(drawing, axis):
    return [shape for shape in drawing.layout.shapes if shape[f"{axis}0"] == shape[f"{axis}1"] == 0]


def test_without_a_margin_the_purchases_brought_about_are_shown_unless_another_metric_is_asked_for(cart, shop_log):
    model = tk.ResponseModel.parse("{response: bare, buys: {rate: [0.01, 0.03, 0.06]}}")
    bare = tk.simulate(cart, shop_log, response=model, draws=5, seed=1, partitions=1, progress=False)
    assert bare.plot() == bare.plot(metric="caused")


def test_profit_is_shown_by_arm_with_its_interval_its_money_and_zero(forecast):
    drawing = forecast.plot()
    (dots,) = drawing.data
    assert [name.split("<br>")[0] for name in dots.y] == ["abandoned cart · discount", "abandoned cart · reminder"]
    for place, arm in enumerate(("discount", "reminder")):
        lower, upper = forecast.interval("abandoned_cart", "profit", arm)
        assert dots.x[place] == pytest.approx(forecast.value("abandoned_cart", "profit", arm))
        assert dots.x[place] + dots.error_x.array[place] == pytest.approx(upper)
        assert dots.x[place] - dots.error_x.arrayminus[place] == pytest.approx(lower)
        assert money(upper, "EUR") in dots.text[place]
        low, high = drawing.layout.xaxis.range
        assert low < min(lower, 0) < max(upper, 0) < high
        assert f"{forecast.value('abandoned_cart', 'people', arm):,.0f} people" in dots.y[place]
    assert "<b>modelled</b> · 90% intervals of 30 draws" in drawing.layout.title.text
    assert "EUR" in drawing.layout.xaxis.title.text
    assert len(zero_lines(drawing, "x")) == 1


def test_a_profit_that_may_be_a_loss_is_called_so(forecast):
    arms = {arm: forecast.interval("abandoned_cart", "profit", arm) for arm in ("reminder", "discount")}
    best = max(arms, key=lambda arm: forecast.value("abandoned_cart", "profit", arm))
    words = re.sub("<[^>]*>", " ", forecast.plot().layout.title.text)
    said = "a loss cannot be ruled out" in " ".join(words.split())
    assert said == (arms[best][0] < 0)
    assert "loss" not in forecast.plot(metric="caused").layout.title.text


def test_what_people_did_on_their_own_is_observed(forecast):
    assert "<b>observed</b>" in forecast.plot(metric="own_conversions").layout.title.text


def test_the_parts_of_an_interval_add_up_to_all_of_it(forecast):
    drawing = forecast.plot(show="parts")
    for place in range(2):
        assert sum(bar.x[place] for bar in drawing.data) == pytest.approx(1)
    assert drawing.data[0].name == "buys.rate"
    assert "mostly from buys.rate" in drawing.layout.title.text
    assert "<b>modelled</b>" in drawing.layout.title.text
    # No bar so small that nobody can see it has a word in the legend.
    assert all(max(bar.x) >= 0.03 for bar in drawing.data if bar.name != "all else")


def test_a_tuning_over_one_setting_shows_intervals_and_what_is_now(tuning):
    drawing = tuning.plot()
    (dots,) = drawing.data
    assert list(dots.x) == ["1h", "4h (now)"]
    assert list(dots.y) == tuning.table["value"].tolist()
    for place, upper in enumerate(tuning.table["upper"]):
        assert dots.y[place] + dots.error_y.array[place] == pytest.approx(upper)
        assert money(upper, "EUR") in dots.text[place]
    said = re.sub(r"<br>(<span[^>]*>)?|</span>", " ", drawing.layout.title.text)
    assert "<b>modelled</b> · profit in EUR per person who enters, 90% intervals" in re.sub(" +", " ", said)
    assert len(zero_lines(drawing, "y")) == 1


def test_a_tuning_over_two_settings_frames_what_cannot_be_told_from_the_best(cart, shop_log, model):
    over = {**WAITS, "abandoned_cart.offer.offer.percent": [5, 10]}
    found = tk.tune(cart, shop_log, model, over=over, draws=10, check_out_of_time=False, progress=False)
    drawing = found.plot()
    assert len(drawing.layout.shapes) == found.table["in_region"].sum() > 0
    assert drawing.data[0].z.tolist() == found.surface().to_numpy().tolist()
    assert list(drawing.data[0].x) == ["5%", "10% (now)"]
    assert drawing.layout.xaxis.title.text == "discount"


def test_pictures_that_cannot_be_drawn_say_why(forecast, cart, shop_log):
    with pytest.raises(InputError, match="did you mean 'profit'"):
        forecast.plot(metric="profits")
    with pytest.raises(InputError, match="show must be arms or parts"):
        figure(forecast, show="part")
    bare = tk.ResponseModel.parse("response: bare\nbuys: {rate: 0.03}")
    told = tk.simulate(cart, shop_log, response=bare, draws=4, seed=1, partitions=1, progress=False)
    with pytest.raises(NotSupportedError, match=r"states no order\.margin; metric='caused'"):
        told.plot(metric="profit")
    assert "<b>modelled</b>" in told.plot(metric="caused").layout.title.text
    with pytest.raises(NotSupportedError, match="has 3"):
        figure(_three(cart, shop_log, bare))


def _three(cart, log, model):
    over = {**WAITS, "abandoned_cart.offer.offer.percent": [5], "abandoned_cart.priority": [60]}
    return tk.tune(cart, log, model, over=over, objective="caused", draws=2, check_out_of_time=False, progress=False)
