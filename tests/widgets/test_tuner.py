"""The tuning screen: what it holds, what it computes, and how it fails."""

from __future__ import annotations

import json
import threading

import pandas as pd
import pytest

import toolkit as tk
from toolkit.engine import own_purchases, sends_table
from toolkit.errors import InputError, NotSupportedError, ScenarioError, ToolkitError
from toolkit.events import EventLog
from toolkit.scenario import Duration, Scenario, get_parameter, loads, set_parameters
from toolkit.widgets import ExperimentDesigner, Tuner
from toolkit.widgets.jobs import Job
from toolkit.widgets.surface import Field

WAIT, OFFER = "abandoned_cart.pause.wait", "abandoned_cart.offer.offer.percent"
CART = """
scenario: cart
trigger: {event: cart_add}
reentry: every
exit_on: [{event: purchase}]
goal: {event: purchase, within: 7d, value: revenue}
steps:
  - {id: pause, wait: 90m}
  - {id: gift, send: cart/gift, offer: {percent: 45, valid: 2d}}
"""


@pytest.fixture
def cart_log() -> EventLog:
    rows = [(name, "cart_add", "2025-03-03T10:00Z", None) for name in ("ana", "bo", "cy")]
    rows += [("ana", "purchase", "2025-03-03T10:30Z", 10.0), ("bo", "purchase", "2025-03-03T15:00Z", 20.0)]
    rows.append(("zoe", "view", "2025-04-20T10:00Z", None))
    return EventLog.from_pandas(pd.DataFrame(rows, columns=["customer_id", "event", "at", "revenue"]))


def test_a_new_tuner_holds_the_program_as_it_is(tuner, program):
    assert tuner.value == program
    assert (tuner.wait, tuner.percent) == ("4h", 10)


def test_moving_the_sliders_gives_another_frozen_program_and_leaves_the_first(tuner, program):
    tuner.wait, tuner.percent = "1d", 15
    assert get_parameter(tuner.value, WAIT) == Duration.parse("1d")
    assert get_parameter(tuner.value, OFFER) == 15
    assert get_parameter(program, WAIT) == Duration.parse("4h")
    assert "wait: 1d" in tuner.yaml
    assert "percent: 15" in tuner.yaml
    assert loads(tuner.yaml)["abandoned_cart"] == tuner.value["abandoned_cart"]


def test_the_slider_is_called_after_the_mail_that_its_wait_comes_before(program, log):
    assert (
        Field(program, log, wait=WAIT, offer=None, until=None, effect=0.03).facts["wait_name"] == "Wait before the mail"
    )
    second = Field(program, log, wait="abandoned_cart.second_pause.wait", offer=None, until=None, effect=0.03)
    assert second.facts["wait_name"] == "Wait before offer"


def test_no_discount_is_no_offer(tuner):
    tuner.percent = 0
    offer = next(step for step in tuner.value["abandoned_cart"].steps if step.id == "offer")
    assert offer.offer is None
    assert tuner.setting["given"] == 0


def test_a_scenario_in_gives_a_scenario_out(program, log):
    tuner = Tuner(program["abandoned_cart"], log, offer=None)
    tuner.wait = "8h"
    assert isinstance(tuner.value, Scenario)
    assert tuner.value.steps[0].wait == Duration.parse("8h")


@pytest.mark.parametrize("wait", ["0s", "30m", "4h", "1d", "4d"])
def test_every_wait_shows_what_a_replay_of_it_finds(tuner, program, log, wait):
    tuner.wait = wait
    run = tk.replay(set_parameters(program, {WAIT: wait}), log)
    own = own_purchases(run, scenario="abandoned_cart", offer="offer")
    shown = tuner.setting
    assert shown["sent"] == (run.decisions["status"] == "send").sum()
    assert (shown["before"], shown["after"], shown["mails"]) == (own.before, own.after, own.mails)
    assert shown["given"] == pytest.approx(own.given_away(10))
    drawn = next(one for one in tuner.surface["settings"] if one["wait"] == wait)
    table = sends_table(run, scenario="abandoned_cart")
    hours = [sum(column) for column in zip(*drawn["hours"], strict=True)]
    assert hours == table["hour"].value_counts().reindex(range(24), fill_value=0).tolist()
    assert sum(map(sum, drawn["own"])) == own.before + own.after


def test_a_longer_wait_spares_more_people_who_buy_anyway(tuner):
    rates = []
    for wait in ("0s", "1h", "1d", "4d"):
        tuner.wait = wait
        rates.append(tuner.setting["after_rate"])
    assert rates == sorted(rates, reverse=True)


def test_the_discount_moves_money_alone(tuner):
    before = tuner.setting
    tuner.percent = 20
    after = tuner.setting
    assert after.pop("given") == pytest.approx(2 * before.pop("given"))
    assert {**after, "percent": 10} == before


def test_the_programs_own_wait_and_discount_are_on_the_sliders_whatever_they_are(cart_log):
    tuner = Tuner(loads(CART), cart_log, wait="cart.pause.wait", offer="cart.gift.offer.percent", waits=["1h", "4h"])
    tuner.finish()
    assert [one["wait"] for one in tuner.surface["settings"]] == ["1h", "1h30m", "4h"]
    assert (tuner.wait, tuner.percent, tuner.most) == ("1h30m", 45, 45)
    assert tuner.setting["given"] == pytest.approx(45 * 20 / 2)  # bo paid 20, of two offers


def test_what_the_browser_gets_is_small_and_plain_json(tuner):
    tuner.finish()
    assert tuner.surface["whole"]
    sent = tuner.get_state("surface")["surface"]
    text = json.dumps(sent, allow_nan=False)
    assert len(text) < 20_000  # five sliders, and the mails of every day
    base, cap = tuner.surface["base"]["days"], tuner.surface["lines"]["cap"][0]["days"]
    rows = [row.split(" ") for row in sent["lines"]["cap"][0]["days"].split("|")]
    moved = [[int(count or 0) for count in row] for row in rows]
    assert [[a + b for a, b in zip(*both, strict=True)] for both in zip(base, moved, strict=True)] == cap != base
    assert "days" not in sent["lines"]["valid"][0]  # how long an offer holds moves no mail, so they are not sent again


def test_a_log_of_mails_without_a_control_group_shows_mails_and_says_that_purchases_cannot_be_seen(log, program):
    scenario = program["abandoned_cart"]
    untested = scenario.replace(
        experiment=None, steps=tuple(step.replace(only=()) for step in scenario.steps if step.id != "second_pause")
    )
    tuner = Tuner(program.replace(scenarios=(untested,)), log)
    assert tuner.surface["basis"] == "none"
    assert tuner.setting["sent"] > 0
    assert tuner.setting["after_rate"] is None
    assert tuner.setting["given"] is None


def test_an_error_in_a_callback_shows_and_goes_when_the_next_one_works(tuner):
    told = []

    def picky(value):
        if get_parameter(value, WAIT) == Duration.parse("1d"):
            raise ToolkitError("one day is too long for us")
        told.append(value)

    tuner.on_change(picky)
    tuner.wait = "1d"
    assert tuner.error == "one day is too long for us"
    tuner.wait = "2h"
    assert tuner.error == ""
    assert told == [tuner.value]


def test_an_error_that_is_not_ours_shows_with_its_kind_and_its_line(tuner):
    tuner.on_change(lambda value: 1 / 0)
    tuner.percent = 5
    assert tuner.error.startswith("ZeroDivisionError: division by zero (test_tuner.py, line ")


def test_an_error_in_the_browser_is_known_to_the_kernel(tuner):
    tuner.browser_error = "TypeError: x is undefined"
    assert tuner.error == "TypeError: x is undefined"


def test_a_wait_or_discount_beyond_the_sliders_is_refused(tuner):
    with pytest.raises(InputError, match="made for 0s to 4d"):
        tuner.wait = "5d"
    with pytest.raises(ScenarioError, match="expected a duration"):
        tuner.wait = "soon"
    with pytest.raises(InputError, match="allowed: 0 to 30"):
        tuner.percent = 31
    assert (tuner.wait, tuner.percent) == ("4h", 10)


def test_a_wait_between_two_computed_ones_is_replayed_when_the_slider_is_let_go(tuner, program, log):
    tuner.wait = "5h"
    tuner.finish()
    assert tuner.exact["wait"] == "5h"
    assert tuner.exact["sent"] == len(sends_table(tk.replay(set_parameters(program, {WAIT: "5h"}), log)))


def test_a_second_move_cancels_what_the_first_asked_for(tuner):
    for wait in ("5h", "6h", "7h"):
        tuner.act_setting({"wait": wait})
    tuner.finish()
    assert (tuner.wait, tuner.exact["wait"], tuner.surface["at"]["wait"]) == ("7h", "7h", "7h")
    assert tuner.error == ""


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"cap": 1}, {"policies.caps[0].limit": 1}),
        ({"quiet": "19:00"}, {"policies.quiet.from": "19:00"}),
        ({"quiet": "none"}, {"policies.quiet": None}),
        ({"valid": "7d"}, {"abandoned_cart.offer.offer.valid": "7d"}),
    ],
)
def test_every_slider_shows_what_a_replay_of_its_program_finds(tuner, program, log, change, paths):
    tuner.act_setting(change)
    tuner.finish()
    changed = set_parameters(program, paths)
    assert tuner.value == changed
    own = own_purchases(tk.replay(changed, log))
    assert (tuner.exact["before"], tuner.exact["after"], tuner.exact["mails"]) == (own.before, own.after, own.mails)
    assert tuner.exact["given"] == pytest.approx(own.given_away(1))
    assert tuner.exact["sent"] == len(sends_table(tk.replay(changed, log)))


def test_no_cap_takes_the_first_cap_out_of_the_policies(tuner):
    tuner.act_setting({"cap": 0})
    assert tuner.value.policies.caps == ()


def test_a_pinned_setting_stays_while_the_sliders_move_on(tuner):
    tuner.act_pin(None)
    tuner.act_setting({"wait": "1d"})
    assert tuner.pinned["point"]["wait"] == "4h"
    tuner.act_pin(None)
    assert tuner.pinned == {}


def test_a_pin_holds_the_forecast_too_also_one_that_comes_later(program, log, monkeypatch):
    tuner = Tuner(program, log)
    made = {"lift": 0.02, "profit": 9.0}
    tuner._forecasts[tuner._setting().key, tuner.percent] = made
    tuner.act_pin(None)
    assert tuner.pinned["modelled"] == made
    tuner.act_pin(None)
    tuner._forecasts.clear()
    tuner.act_pin(None)
    assert tuner.pinned["modelled"] is None
    monkeypatch.setattr("toolkit.widgets.tuner.simulate", lambda *_, **__: None)
    monkeypatch.setattr(tuner._field, "shown_forecast", lambda _: made)
    tuner._response = object()
    tuner._forecast(tuner._setting(), Job(lambda _: None, done=lambda _: None, failed=lambda _: None))
    assert tuner.pinned["modelled"] == made


def test_the_tuner_and_the_designer_ask_for_as_many_people(program, log):
    designer = ExperimentDesigner(tk.replay(program, log), effect=0.03)
    told = Tuner(program, log).exact["to_know"]
    assert told["people"] == designer.plan.units
    assert told["days"] == pytest.approx(designer.plan.days)


def test_accounts_older_than_the_first_cart_slow_neither_the_pace_nor_the_mails_a_week(program, log):
    told = Tuner(program, log).exact
    older = pd.DataFrame({"customer_id": ["old"], "event": ["sign_up"], "at": [log.span[0] - pd.Timedelta(days=300)]})
    with_accounts = tk.EventLog.from_pandas(pd.concat([older, log.events]), customers=log.customers)
    found = Tuner(program, with_accounts).exact
    assert (found["to_know"], found["week"]) == (told["to_know"], told["week"])
    assert found["first_day"] >= f"{log.span[0] - pd.Timedelta(days=found['bin_days'] + 1):%Y-%m-%d}"
    assert [sum(layer) for layer in found["days"]] == [sum(layer) for layer in told["days"]]
    designer = ExperimentDesigner(tk.replay(program, with_accounts), effect=0.03)
    assert designer.plan.days == pytest.approx(found["to_know"]["days"])


def test_a_tuner_knows_why_nobody_enters(program, log):
    asked = {"offer": None, "until": None, "effect": 0.03}
    assert Field(program, log, wait=WAIT, **asked).facts["nobody"] == ""
    wanted = "nobody enters cart: the log has no event 'basket'; it has "
    cart = loads(CART.replace("{event: cart_add}", "{event: basket}"))
    assert Field(cart, log, wait="cart.pause.wait", **asked).facts["nobody"].startswith(wanted)


@pytest.mark.parametrize(
    ("people", "said"), [(0, "nobody enters"), (1, "one person alone enters"), (2, "2.0 people enter a day")]
)
def test_a_designer_says_where_no_pace_can_be_told(program, people, said):
    names = [f"c{number}" for number in range(people)]
    rows = [("zoe", "view", 0.0), *((name, "cart_add", 50.0) for name in names)]
    frame = pd.DataFrame([(name, event, pd.Timestamp("2025-03-03T10:00Z")) for name, event, _ in rows])
    frame.columns = ["customer_id", "event", "at"]
    log = tk.EventLog.from_pandas(frame.assign(value=[value for *_, value in rows], revenue=1.0))
    designer = ExperimentDesigner(tk.replay(program, log), scenario="abandoned_cart")
    html = str(designer.body())
    assert said in html
    assert ("the time it takes is unknown" in html) == (people < 2)


def test_a_version_is_a_numbered_file_that_loads_and_is_not_written_twice(program, log, tmp_path):
    tuner = Tuner(program, log, versions=tmp_path)
    tuner.act_setting({"wait": "8h"})
    tuner.act_version(None)
    tuner.act_version(None)
    tuner.act_setting({"wait": "1d"})
    tuner.act_version(None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["abandoned_cart_v1.yaml", "abandoned_cart_v2.yaml"]
    loaded = tk.load(tmp_path / "abandoned_cart_v1.yaml", policies="templates/policies.yaml")
    assert get_parameter(loaded, WAIT) == Duration.parse("8h")


def test_an_experiment_gives_today_and_the_tuned_setting_an_arm_each(program, log, tmp_path):
    tuner = Tuner(program, log, versions=tmp_path)
    tuner._heard(tuner, {"act": "experiment", "value": None, "number": 1}, None)
    assert "move a slider first" in tuner.error
    tuner.act_setting({"wait": "1d", "percent": 20})
    tuner.act_experiment(None)
    made = tuner.experiment
    assert list(made.experiment.arms) == ["control", "now", "tuned"]
    assert made.experiment.name == "cart_offer_2"
    run = tk.replay(program.replace(scenarios=(made,)), log)
    sent = run.decisions[run.decisions["status"] == "send"].groupby(["arm", "step"]).size()
    assert sent["now", "offer"] > 0
    assert sent["tuned", "offer_tuned"] > 0
    assert "control" not in sent.index.get_level_values(0)


def test_paths_that_are_not_there_are_named_with_the_nearest(program, log):
    with pytest.raises(ScenarioError, match=r"did you mean 'abandoned_cart\.pause\.wait'"):
        Tuner(program, log, wait="abandoned_cart.pauze.wait")
    with pytest.raises(ScenarioError, match=r"did you mean 'abandoned_cart\.offer\.offer\.percent'"):
        Tuner(program, log, offer="abandoned_cart.offer.offer.percents")
    with pytest.raises(ScenarioError, match="expected a duration"):
        Tuner(program, log, waits=["4 hrs"])


def test_paths_to_something_else_are_refused(program, log):
    with pytest.raises(NotSupportedError, match="moves a wait"):
        Tuner(program, log, wait="abandoned_cart.priority")
    with pytest.raises(NotSupportedError, match="percent of an offer"):
        Tuner(program, log, offer="abandoned_cart.pause.wait")


def test_a_notebook_opened_without_a_kernel_shows_a_snapshot_without_scripts(tuner):
    tuner.wait, tuner.percent = "1d", 20
    bundle, _ = tuner._repr_mimebundle_()
    text = bundle["text/html"]
    assert "wait 1 d, discount 20%" in text
    assert "a snapshot" in text
    assert text.count("<figure") == 2
    for said in ("before the mail", "after the mail", "after the offer", "mail 1 d", "offer 2 d", "reminder"):
        assert f">{said}<" in text
    assert "<script" not in text
    assert len(text) < 40_000
    assert bundle["text/plain"] == "Tuner(abandoned cart: wait 1d, discount 20%)"


def test_the_figure_at_a_setting_holds_its_bars_and_says_what_is_exact_and_observed(tuner):
    tuner.wait = "8h"
    figure = tuner.figure()
    hours = [trace for trace in figure.data if trace.xaxis in (None, "x")]
    assert sum(sum(trace.y) for trace in hours) == tuner.setting["sent"]
    own = [trace for trace in figure.data if trace.xaxis == "x2"]
    assert sum(sum(trace.y) for trace in own) == tuner.setting["before"] + tuner.setting["after"]
    assert figure.layout.xaxis.title.text.endswith("(exact)")
    assert figure.layout.xaxis2.title.text.endswith("(observed)")
    assert "Wait 8 h, discount 10%" in figure.layout.title.text


def test_the_chart_holds_a_figure_for_every_wait_with_the_same_axes(tuner):
    chart = tuner.chart()
    assert list(chart.frames) == [one["wait"] for one in tuner.surface["settings"]]
    ranges = {
        json.dumps([frame["layout"][axis]["range"] for axis in ("yaxis", "yaxis2", "yaxis3")])
        for frame in chart.frames.values()
    }
    assert len(ranges) == 1
    money = [trace for trace in chart.frames["4h"]["data"] if trace.get("meta")]
    assert [trace["name"] for trace in money] == ["given away"]
    assert "{percent}%" in chart.frames["4h"]["layout"]["title"]["text"]


def test_the_widgets_carry_no_library_into_the_saved_notebook(tuner):
    state = json.dumps(tuner.chart().get_state(["frames", "settings", "_esm"]))
    assert len(state) < 250_000
    assert "http" not in str(Tuner._esm).replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("events", [0, 1])
def test_a_log_too_short_to_show_anything_makes_a_screen_that_says_nothing_false(program, events):
    frame = pd.DataFrame(
        {"customer_id": ["ana"], "event": ["cart_add"], "at": ["2025-03-03T10:00Z"], "revenue": [1.0], "value": [30.0]}
    )
    tuner = Tuner(program, EventLog.from_pandas(frame.iloc[:events]))
    assert tuner.setting["sent"] == 0
    assert tuner.setting["after_rate"] is None
    assert tuner.setting["given"] is None
    assert "–" in tuner._repr_mimebundle_()[0]["text/html"]
    assert len(tuner.figure().data) > 0


def test_a_large_log_is_read_beside_the_notebook_and_a_move_meanwhile_counts(program, log, monkeypatch):
    small = Tuner(program, log)
    small.act_setting({"wait": "1d"})
    small.finish()
    monkeypatch.setattr("toolkit.widgets.tuner._LARGE", 0)
    may_read = threading.Event()
    point = Field.point
    monkeypatch.setattr(Field, "point", lambda *values, **named: may_read.wait(60) and point(*values, **named))
    tuner = Tuner(program, log)
    assert tuner.surface == {}
    assert tuner.busy == f"Reading {len(log):,} events"
    assert "was still being read" in tuner._repr_mimebundle_()[0]["text/html"]
    tuner.act_setting({"wait": "1d"})
    may_read.set()
    tuner.finish()
    assert (tuner.exact, tuner.busy, tuner.error) == (small.exact, "", "")
    assert tuner.surface["base"] == small.surface["base"]
    assert tuner.surface["today"] == small.surface["today"]


def test_the_reading_of_a_large_log_can_be_stopped_and_begun_again(program, log, monkeypatch):
    monkeypatch.setattr("toolkit.widgets.tuner._LARGE", 0)
    may_read, asked = threading.Event(), []
    point = Field.point
    monkeypatch.setattr(
        Field, "point", lambda *values, **named: asked.append(1) or (may_read.wait(60) and point(*values, **named))
    )
    tuner = Tuner(program, log)
    reading = tuner._jobs.now
    tuner.act_read(None)  # it is being read
    assert tuner._jobs.now is reading
    tuner.act_stop(None)
    assert (tuner.busy, tuner.error, tuner.surface) == ("", "", {})
    may_read.set()
    reading.wait(60)
    assert len(asked) == 1  # it ended at its next step
    assert tuner.surface == {}
    with pytest.raises(InputError, match="not read yet"):
        tuner.finish(0.1)
    tuner.act_read(None)
    assert tuner.busy == f"Reading {len(log):,} events"
    tuner.finish()
    assert tuner.surface["whole"]


def test_a_large_log_that_cannot_be_read_says_why_on_the_screen(program, log, monkeypatch):
    def lost(*values, **named):
        raise ToolkitError("events.parquet: the disk is gone")

    monkeypatch.setattr("toolkit.widgets.tuner._LARGE", 0)
    monkeypatch.setattr(Field, "point", lost)
    tuner = Tuner(program, log)
    with pytest.raises(InputError, match="the disk is gone"):
        tuner.finish()
    assert tuner.error == "events.parquet: the disk is gone"


def test_a_program_that_does_not_fit_the_log_is_refused_at_once(program, log):
    scenario = program["abandoned_cart"].replace(audience="contry = 'FR'")
    with pytest.raises(ScenarioError, match="country"):
        Tuner(program.replace(scenarios=(scenario,)), log)
