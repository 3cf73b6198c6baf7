"""Pictures: what they count, how they are named, and what kind of number they say they show."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit.charts import figure, forest, not_sent, sends_by_day, sends_by_hour, timeline
from toolkit.charts.own_purchases import own_chart
from toolkit.charts.style import DAYS
from toolkit.engine import Trace, own_purchases, sends_table
from toolkit.errors import InputError, NotSupportedError
from toolkit.events import EventLog
from toolkit.stats import experiment

WAITS = {"abandoned_cart.pause.wait": ["1h", "4h", "1d"]}


@pytest.fixture(scope="module")
def shop_sweep(shop_program, shop_log):
    return tk.sweep(shop_program, shop_log, WAITS, progress=False)


@pytest.fixture(scope="module")
def shop_result(shop_run):
    outcomes = tk.measure(shop_run, scenario="abandoned_cart")
    return experiment(outcomes, [tk.Rate("converted"), tk.Mean("revenue", covariate="pre_revenue", currency="EUR")])


def _bars(drawing):
    return sum(sum(trace.y) for trace in drawing.data if trace.type == "bar")


@pytest.mark.parametrize("clock", ["local", "utc"])
def test_mails_by_hour_and_by_day_add_up_to_the_mails_of_the_run(shop_run, clock):
    sent = int((shop_run.decisions["status"] == "send").sum())
    assert _bars(sends_by_hour(shop_run, clock=clock)) == sent
    assert _bars(sends_by_day(shop_run, clock=clock)) == sent


def test_hours_are_those_of_each_customers_own_clock(shop_run):
    sent = shop_run.decisions.query("status == 'send'")
    zones = shop_run.log.customers.set_index("customer_id")["timezone"].fillna("Europe/Paris")
    walls = [at.tz_convert(zone).hour for at, zone in zip(sent["at"], sent["customer_id"].map(zones), strict=True)]
    ours = sends_table(shop_run)["hour"].value_counts().sort_index()
    pd.testing.assert_series_equal(
        ours, pd.Series(walls).value_counts().sort_index(), check_names=False, check_dtype=False
    )


def test_no_marketing_mail_leaves_in_the_quiet_hours_that_the_picture_shades(shop_run):
    drawing = sends_by_hour(shop_run, scenario="abandoned_cart")
    shaded = [(shape.x0, shape.x1) for shape in drawing.layout.shapes]
    assert shaded == [(21, 24), (0, 8)]
    for trace in drawing.data:
        assert sum(count for hour, count in enumerate(trace.y) if hour >= 21 or hour < 8) == 0
    assert "when quiet hours end" in drawing.layout.title.text


def test_reasons_add_up_to_the_mails_not_sent(shop_run):
    drawing = not_sent(shop_run, scenario="abandoned_cart")
    mine = shop_run.decisions.query("scenario == 'abandoned_cart' and status != 'send'")
    assert sum(drawing.data[0].x) == len(mine)
    assert "in the control group" in drawing.data[0].y


def test_the_mails_moment_parts_those_who_buy_before_it_from_those_after(shop_run):
    own = own_purchases(shop_run, scenario="abandoned_cart")
    drawing = own_chart(own)
    assert _bars(drawing) == own.before + own.after
    assert [shape.x0 for shape in drawing.layout.shapes] == [5, pytest.approx(8 + 4 / 24)]  # 4 h, and 1 d 4 h
    assert drawing.layout.annotations[0].text == "<b>mail</b> 4 h"


@pytest.mark.parametrize("show", ["hours", "days", "not_sent"])
def test_pictures_of_mails_say_that_they_are_exact_and_name_their_axes(shop_run, show):
    drawing = shop_run.plot(show=show)
    assert "<b>exact</b>" in drawing.layout.title.text
    assert "mails" in drawing.layout.yaxis.title.text + drawing.layout.xaxis.title.text


def test_pictures_of_purchases_say_that_they_are_observed(shop_run, shop_sweep, shop_result):
    for drawing in (
        shop_run.plot(show="own", scenario="abandoned_cart"),
        shop_sweep.heatmap(value="own_after_rate"),
        shop_result.plot(),
    ):
        assert "<b>observed" in drawing.layout.title.text


def test_every_picture_has_a_title_inside_its_margin_and_a_clear_page(shop_run, shop_sweep, shop_result):
    drawings = [
        *(shop_run.plot(show=show, scenario="abandoned_cart") for show in ("hours", "days", "not_sent", "own")),
        shop_sweep.plot(),
        shop_sweep.heatmap(value="sent"),
        shop_result.plot(),
        shop_run.trace(shop_run.decisions["customer_id"].iloc[0]).plot(),
    ]
    for drawing in drawings:
        lines = drawing.layout.title.text.split("<br>")
        assert drawing.layout.margin.t >= 22 * len(lines)
        assert max(len(re.sub("<[^>]*>", "", line)) for line in lines) < 120
        assert drawing.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_a_sweep_shows_mails_and_those_who_would_have_bought_anyway_with_their_interval(shop_sweep):
    mails, anyway = shop_sweep.plot().data
    mine = shop_sweep.table.query("scenario == 'abandoned_cart'")
    assert list(mails.x) == ["1h", "4h", "1d"]
    assert list(mails.y) == mine["sent"].tolist()
    assert list(anyway.y) == mine["own_after_rate"].tolist()
    assert min(anyway.error_y.array) > 0
    assert "now: 4h" in [note.text for note in shop_sweep.plot().layout.annotations]


def test_what_is_now_is_marked_however_it_was_written_and_a_discount_is_in_percent(shop_program, shop_log):
    offers = {"abandoned_cart.offer.offer.percent": [5, 10]}
    line = tk.sweep(shop_program, shop_log, offers, progress=False).plot()
    assert "now: 10%" in [note.text for note in line.layout.annotations]
    assert line.data[0].x == ("5%", "10%")
    grid = tk.sweep(
        shop_program, shop_log, {"abandoned_cart.pause.wait": ["60m", "240m"], **offers}, progress=False
    ).plot()
    (box,) = grid.layout.shapes
    assert (box.x0, box.y0) == (0.5, 0.5)
    assert grid.data[0].y == ("5%", "10%")


def test_two_parameters_make_a_heatmap_that_marks_what_is_now(shop_program, shop_log):
    over = {**WAITS, "policies.caps[0].limit": [1, 3]}
    sweep = tk.sweep(shop_program, shop_log, over, progress=False)
    drawing = sweep.heatmap(value="sent")
    mine = sweep.table.query("scenario == 'abandoned_cart'")
    assert drawing.data[0].z.tolist() == [
        mine[mine["policies.caps[0].limit"] == limit]["sent"].tolist() for limit in (1, 3)
    ]
    (now,) = drawing.layout.shapes
    assert (now.x0, now.y0) == (0.5, 0.5)


def test_a_sweep_over_three_parameters_is_not_drawn(shop_program, shop_log):
    over = {"abandoned_cart.pause.wait": ["1h"], "policies.caps[0].limit": [1], "abandoned_cart.priority": [60]}
    with pytest.raises(NotSupportedError, match="has 3"):
        tk.sweep(shop_program, shop_log, over, progress=False).plot()


def test_the_forest_shows_every_arm_on_every_metric_with_its_interval(shop_result):
    drawing = forest(shop_result)
    assert len(drawing.data) == len(shop_result.comparisons)
    first, shown = shop_result.comparisons[0], drawing.data[0]
    assert shown.x[0] == pytest.approx(100 * first.diff)
    assert shown.error_x.array[0] == pytest.approx(100 * (first.diff_upper - first.diff))
    assert {
        axis.title.text.replace("<br>", " ").split(", ")[-1] for axis in (drawing.layout.xaxis, drawing.layout.xaxis2)
    } == {
        "percentage points",
        "EUR per customer",
    }


@pytest.mark.parametrize("apart", ["1min", "0s"])
def test_a_robots_timeline_has_a_mark_for_each_stretch_that_says_how_many_lie_there(apart):
    moments = pd.Timestamp("2025-03-03T10:00Z") + pd.Timedelta(apart) * np.arange(9_000)
    names = ["view", "view", "search"] * 3_000
    table = pd.DataFrame({"at": moments, "local": moments, "kind": "event", "scenario": "", "what": names})
    marks = timeline(Trace("robot", "UTC", table)).data[-1]
    told = [int(text.split()[0].replace(",", "")) if "events" in text else 1 for text in marks.text]
    assert len(marks.x) <= 2_002
    assert sum(told) == 9_000
    assert set(marks.y) == {"view", "search"}


def test_a_timeline_has_a_mark_for_every_row_of_the_trace(shop_run):
    trace = shop_run.trace(shop_run.decisions.query("step == 'offer'")["customer_id"].iloc[0])
    drawing = timeline(trace)
    marked = sum(moment is not None for mark in drawing.data for moment in mark.x)
    assert marked == len(trace.table)
    assert trace.timezone in drawing.layout.xaxis.title.text


def test_a_timeline_writes_days_as_all_pictures_do(shop_run):
    layout = shop_run.trace("c01919").plot().layout
    assert [stop.value for stop in layout.xaxis.tickformatstops] == ["%H:%M\n%-d %b %Y", DAYS]
    assert not layout.template.layout.xaxis.tickformatstops  # plotly takes none from a template


def test_what_has_no_picture_is_named(shop_run):
    with pytest.raises(NotSupportedError, match=r"no drawing for a dict; there is one for Run, Sweep, .*Board.* and "):
        figure({})
    with pytest.raises(InputError, match="did you mean 'hours'"):
        shop_run.plot(show="hour")
    with pytest.raises(InputError, match=r"no option 'shows' in the drawing of a Run; .*did you mean 'show'"):
        shop_run.plot(shows="hours")
    with pytest.raises(InputError, match="did you mean 'welcome'"):
        shop_run.plot(scenario="welcom")
    with pytest.raises(InputError, match="'local' or 'utc'"):
        shop_run.plot(clock="paris")


def test_columns_and_metrics_that_are_not_there_are_named_with_the_nearest(shop_sweep, shop_result):
    with pytest.raises(InputError, match="did you mean 'own_after_rate'"):
        shop_sweep.heatmap(value="own_after_rates")
    with pytest.raises(InputError, match="did you mean 'converted'"):
        shop_result.plot(metric="convert")


def test_a_log_in_which_nothing_happens_is_drawn_and_says_so(cart_program):
    events = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"], "revenue": [1.0]})
    run = tk.replay(cart_program, EventLog.from_pandas(events))
    for show in ("hours", "days"):
        assert "No mail was sent" in run.plot(show=show).layout.title.text
    assert "Every mail" in run.plot(show="not_sent").layout.title.text
    assert "Nobody came" in run.plot(show="own").layout.title.text


def test_a_picture_of_nothing_has_no_scale_that_could_mislead(cart_program):
    events = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"], "revenue": [1.0]})
    run = tk.replay(cart_program, EventLog.from_pandas(events))
    for show in ("hours", "days", "not_sent", "own"):
        drawing = run.plot(show=show)
        assert drawing.layout.xaxis.visible is False
        assert drawing.layout.yaxis.visible is False
    assert figure(run.diff(run)).layout.xaxis.visible is False
    assert " 3 Mar 2025" in run.plot().layout.title.text.replace("· 3", " 3").replace("  ", " ")
    assert "–" not in run.plot().layout.title.text
    week = run.load().plot().data[1]
    assert (week.zmin, week.zmax) == (0, 1)  # an hour without mails is pale
    assert run.overlap().plot().data[0].zmin == 0


def test_an_axis_of_a_few_counts_has_whole_ticks_only(cart_program, cart_log):
    run = tk.replay(cart_program, cart_log)
    assert run.plot().layout.yaxis.dtick == 1
    assert run.plot(show="own").layout.yaxis.dtick == 1
    assert run.load().plot().layout.yaxis.dtick == 1


def test_a_story_of_one_moment_is_shown_among_hours_not_microseconds(cart_program):
    events = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"], "revenue": [1.0]})
    drawing = tk.replay(cart_program, EventLog.from_pandas(events)).trace("ana").plot()
    first, last = (pd.Timestamp(end) for end in drawing.layout.xaxis.range)
    assert last - first == pd.Timedelta(hours=2)
