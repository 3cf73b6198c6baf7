"""The screens beside the tuner: what they hold, what pressing does, and how they fail."""

from __future__ import annotations

import html
import math
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit.charts.experiments import _apart, _below
from toolkit.engine import Run, Sweep
from toolkit.errors import InputError, NotSupportedError, ScenarioError
from toolkit.events import EventLog
from toolkit.mail import Templates
from toolkit.scenario import Duration, dump, loads, set_parameters
from toolkit.sending import Batch, Outbox
from toolkit.sending.protocol import Receipt
from toolkit.sending.sender.progress import Phase
from toolkit.sending.spool import Store
from toolkit.sending.states import State
from toolkit.stats import Looks
from toolkit.stats.targeting import uplift_by_segment
from toolkit.widgets import (
    ApprovalDesk,
    ExperimentBoard,
    ExperimentDesigner,
    LogProfile,
    MailPreview,
    ScenarioView,
    SendConsole,
    SweepMap,
    TraceView,
    Tuner,
    trace_view,
)
from toolkit.widgets.jobs import Cancelled, Job, Jobs
from toolkit.widgets.masking import hidden_letter
from toolkit.widgets.panel import Panel
from toolkit.widgets.server import MADE, WIDGET_VIEW, without_widgets

ROOT = Path(__file__).parents[2]
CARD = re.compile(r'ttk-what">([^<]+)</span><strong>([^<]+)<')
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


@pytest.fixture(scope="module")
def run(program, log) -> Run:
    return tk.replay(program, log)


@pytest.fixture
def batch(program, log, run, tmp_path, monkeypatch) -> Batch:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tk.prepare(
        program,
        log,
        now=run.until,
        templates=ROOT / "templates",
        ledger=str(tmp_path / "outbox" / "ledger.sqlite"),
        progress=False,
    )


def press(screen: Panel, act: str, value: object = None) -> None:
    screen._heard(screen, {"act": act, "value": value, "number": 1}, None)


# --- the diagram ------------------------------------------------------------------------------------------------------


def test_the_diagram_shows_the_counts_of_the_replay(program, log, run):
    view = ScenarioView(program, log)
    sent = run.decisions[run.decisions["status"] == "send"]["step"].value_counts()
    for step, count in sent.items():
        assert f"mail {step}, {count:,} sent" in view.view
    counted = run.journeys[run.journeys["ended_by"] != "superseded"]
    assert f"{len(counted):,} journeys" in view.view


def test_a_step_is_changed_undone_and_done_again_and_the_counts_follow(program, log):
    view = ScenarioView(program, log)
    before = view.view
    press(view, "step", "pause")
    press(view, "wait", "2d")
    view.wait()
    assert view.value.steps[0].wait == Duration.parse("2d")
    assert view.run.program == view.program
    assert "wait: 2d" in view.diff()
    press(view, "undo")
    view.wait()
    press(view, "close")
    assert view.view.replace('" disabled', "").count("mail reminder") == before.count("mail reminder")
    assert view.value == program["abandoned_cart"]
    press(view, "redo")
    assert view.value.steps[0].wait == Duration.parse("2d")


def test_an_unfinished_edit_changes_nothing_and_says_what_is_allowed(program):
    view = ScenarioView(program)
    press(view, "step", "offer")
    press(view, "percent", "150")
    assert view.value == program["abandoned_cart"]
    assert "not taken" in view.view
    assert "at most 100" in view.view
    assert 'value="150"' in view.view
    press(view, "percent", "15")
    assert "not taken" not in view.view
    assert view.value.steps[3].offer.percent == 15


def test_a_discount_of_nothing_takes_the_offer_out_and_arms_are_chosen(program):
    view = ScenarioView(program)
    press(view, "step", "offer")
    press(view, "arm", "reminder")
    assert view.value.steps[3].only == ("reminder", "discount")
    press(view, "percent", "")
    assert view.value.steps[3].offer is None


def test_a_file_that_changed_on_the_disk_is_told_and_never_overwritten(program, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(dump(program["abandoned_cart"]), encoding="utf-8")
    view = ScenarioView(program, path=path, versions=tmp_path / "versions")
    view.set("pause.wait", "2h")
    path.write_text(dump(program["abandoned_cart"]).replace("wait: 4h", "wait: 9h"), encoding="utf-8")
    press(view, "save")
    assert "changed on the disk" in view.error
    assert "wait: 9h" in path.read_text(encoding="utf-8")
    press(view, "reload")
    assert view.value.steps[0].wait == Duration.parse("9h")
    assert view.error == ""
    view.set("pause.wait", "3h")
    press(view, "save")
    assert loads(path.read_text(encoding="utf-8"))["abandoned_cart"] == view.value
    assert "wait: 9h" in (tmp_path / "versions" / "abandoned_cart_v1.yaml").read_text(encoding="utf-8")


def test_what_stood_in_the_file_is_kept_with_its_comments(program, tmp_path):
    path, versions = tmp_path / "scenario.yaml", tmp_path / "versions"
    before = "# why we do it\n" + dump(program["abandoned_cart"]) + "# the end\n"
    path.write_text(before, encoding="utf-8")
    view = ScenarioView(program, path=path, versions=versions)
    view.set("pause.wait", "2h")
    press(view, "save")
    assert view.error == ""
    assert (versions / "abandoned_cart_v1.yaml").read_text(encoding="utf-8") == "# before a change\n" + before
    view.set("pause.wait", "3h")
    press(view, "save")
    assert sorted(one.name for one in versions.iterdir()) == ["abandoned_cart_v1.yaml", "abandoned_cart_v2.yaml"]


@pytest.mark.parametrize("more", ["---\ntimezone: Europe/Paris\n", "---\nscenario: other\n"])
def test_a_file_that_holds_more_than_the_scenario_is_never_overwritten(more, program, tmp_path):
    path = tmp_path / "all.yaml"
    path.write_text(dump(program["abandoned_cart"]) + more, encoding="utf-8")
    before = path.read_bytes()
    view = ScenarioView(program, path=path, versions=tmp_path / "versions")
    view.set("pause.wait", "2h")
    press(view, "save")
    assert "saving would leave only abandoned_cart in it" in view.error
    assert path.read_bytes() == before


def test_the_file_of_another_scenario_is_never_overwritten(program, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(dump(tk.load(ROOT / "templates")["welcome"]), encoding="utf-8")
    view = ScenarioView(program, path=path, versions=tmp_path / "versions")
    view.set("pause.wait", "2h")
    press(view, "save")
    assert "holds welcome" in view.error
    press(view, "reload")
    assert "no scenario 'abandoned_cart'; this program has welcome" in view.error
    assert "KeyError" not in view.error


@pytest.mark.parametrize(("typed", "taken"), [("12,5", 12.5), ("20 %", 20.0), ("ten", None), ("1.5.2", None)])
def test_a_discount_is_typed_as_people_write_it(typed, taken, program):
    view = ScenarioView(program)
    press(view, "step", "offer")
    press(view, "percent", typed)
    assert (view.value.steps[3].offer.percent == taken) or taken is None
    assert ("a number such as 10" in view.view) == (taken is None)
    assert "ValueError" not in view.view


def test_what_is_no_program_and_no_log_is_told(program):
    with pytest.raises(ScenarioError, match=r"found str; tk\.load"):
        ScenarioView("templates/abandoned_cart")
    with pytest.raises(InputError, match=r"found str; tk\.EventLog\.open"):
        ScenarioView(program, "data/shop")


@pytest.mark.parametrize("column", ["FirstName", "Prénom", "first-name", "contact_first_name", "Surname"])
def test_names_are_hidden_however_their_column_is_called(column):
    letter = Templates.load(ROOT / "templates", tk.load(ROOT / "templates").policies).sample("welcome/hello")
    shown = hidden_letter(replace(letter, customer={column: "Zoé", "plan_name": "Gold"}))
    assert shown.customer == {column: "Z•••", "plan_name": "Gold"}


@pytest.mark.parametrize(
    ("hours", "gap", "bars"),
    [
        ([0, 0.005], "18 s", "by day (UTC)<"),
        ([0, 0.25], "15 min", "by day (UTC)<"),
        ([0, 28], "1 d 4 h", "by day (UTC)<"),
        ([0, 24 * 400], "400 d", "by day (UTC), 3 days in a bar<"),
    ],
)
def test_a_profile_names_the_gap_in_a_unit_that_fits_and_how_many_days_a_bar_has(hours, gap, bars):
    at = pd.Timestamp("2025-03-03T10:00Z") + pd.to_timedelta(hours, unit="h")
    said = LogProfile(EventLog.from_pandas(pd.DataFrame({"customer_id": "ana", "event": "view", "at": at}))).view
    assert f">{gap}<" in said
    assert bars in said
    assert "no customers table" in said


def test_which_mail_to_begin_with_is_a_whole_number():
    with pytest.raises(InputError, match="0 for the first mail; found 'x'"):
        MailPreview(ROOT / "templates", number="x")


def test_which_scenario_must_be_told_where_there_are_several():
    with pytest.raises(ScenarioError, match="which scenario"):
        ScenarioView(tk.load(ROOT / "templates"))
    with pytest.raises(ScenarioError, match="did you mean 'welcome'"):
        ScenarioView(tk.load(ROOT / "templates"), scenario="welcom")


def test_a_scenario_that_nobody_can_enter_says_why(log):
    program = tk.load(ROOT / "templates").scenarios
    view = ScenarioView(loads(dump(program[0]).replace("event: ", "event: never_", 1)), log)
    assert f"Nobody enters {program[0].scenario}: the log has no event" in view.view
    assert "Nobody enters" not in ScenarioView(program[0], log).view


@pytest.mark.parametrize("name", [one.scenario for one in tk.load(ROOT / "templates").scenarios])
def test_every_shipped_scenario_has_a_picture(name):
    view = ScenarioView(tk.load(ROOT / "templates"), scenario=name)
    assert view.view.count("<svg") == 1
    assert view.value.scenario == name


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_timeline_shows_every_moment_and_searches(run):
    view = TraceView(run, "c01919")
    assert view.value.customer_id == "c01919"
    assert view.view.count("<li class") == len(run.trace("c01919").table)
    press(view, "kind", "event")
    assert view.view.count("<li class") == (run.trace("c01919").table["kind"] != "event").sum()
    press(view, "find", "c0191")
    assert "no customer 'c0191'" in view.error
    assert view.customer == "c01919"
    press(view, "move", "1")
    assert view.error == ""
    assert view.customer != "c01919"


def test_all_who_came_to_a_mail_are_counted_also_where_some_alone_are_led_through(run, monkeypatch):
    people = run.decisions["customer_id"].nunique()
    assert f"{people:,} people came to a mail<" in TraceView(run).view
    monkeypatch.setattr(trace_view, "_MOST_PEOPLE", 3)
    view = TraceView(run)
    first = view.customer
    assert f"{people:,} people came to a mail; Next leads through the first 3<" in view.view
    for _ in range(3):
        view.act_move(1)
    assert view.customer == first


def test_every_kind_of_moment_has_a_shape_and_not_only_a_colour(run):
    strip = TraceView(run, "c01919").view.partition("<svg")[2].partition("</svg>")[0]
    shapes = {"event": "circle", "journey": "path", "no mail": "path", "mail": "rect"}
    colors = {"event": "ttk-mail-3", "journey": "ttk-before", "no mail": "ttk-gift", "mail": "ttk-mail-0"}
    for kind, shape in shapes.items():
        assert re.search(f'<{shape} [^>]*class="{colors[kind]}"', strip), kind
    ways = {len(d.split("L")) for d in re.findall(r'<path d="([^"]*)"', strip)}
    assert len(ways) == 2  # a triangle and a cross
    assert "8 Feb 2025" in TraceView(run, "c01919").view
    assert "08 Feb" not in TraceView(run, "c01919").view


def test_a_mail_is_shown_with_names_hidden_until_somebody_asks(batch):
    view = MailPreview(batch)
    shown = view.view
    assert batch.mails[0].letter.to not in shown
    assert batch.mails[0].letter.customer["first_name"] not in shown
    press(view, "view", "headers")
    assert batch.mails[0].letter.to not in view.view
    press(view, "reveal")
    assert batch.mails[0].letter.to in view.view
    press(view, "next")
    assert view.letter == batch.mails[1].letter
    press(view, "find", batch.mails[5].customer_id.upper())
    assert view.letter == batch.mails[5].letter
    press(view, "find", "nobody")
    assert "No mail here goes to nobody." in view.view
    assert view.letter == batch.mails[5].letter


def test_a_mail_that_is_not_shown_is_not_read_from_the_disk(batch, monkeypatch):
    view, asked = MailPreview(batch), set()
    read = Store.__getitem__
    monkeypatch.setattr(Store, "__getitem__", lambda self, place: asked.add(place) or read(self, place))
    press(view, "next")
    assert asked == {1}


def test_a_preview_runs_nothing_and_asks_nothing(batch):
    view = MailPreview(batch)
    for name in ("phone", "desktop", "text", "headers"):
        press(view, "view", name)
        assert 'sandbox=""' in view.view or "<iframe" not in view.view
        assert "<script" not in view.view.lower()
        assert "src=&quot;http" not in view.view
    assert "=?utf-8" not in view.view
    assert f"Subject: {view.value.mail.subject[:1]}•••, " in view.view


def test_a_preview_says_which_mail_is_not_written_in_its_readers_language(batch):
    locales = [batch.mails[place].letter.locale for place in range(len(batch))]
    german, english = locales.index("de_DE"), locales.index("en_GB")
    said = "Not written in de_DE: shown as readers of de_DE would get it."
    assert said in MailPreview(batch, number=german).view
    assert "Not written in" not in MailPreview(batch, number=english).view


def test_the_profile_counts_the_log_and_shows_one_kind_by_day(log):
    view = LogProfile(log)
    assert view.value.events == len(log)
    press(view, "event", "purchase")
    assert "purchase by day" in view.view
    # A row stays one for a screen reader; the button in it says whether it is the one shown.
    assert 'role="button"' not in view.view
    assert re.search(r'ttk-pick" style="min-width:calc\(15\.1ch', view.view)  # its name does not break amid a word
    assert view.view.count('aria-pressed="true"') == 1
    assert view.view.count('aria-pressed="') == view.view.count("<tr") - 1


def test_an_empty_log_makes_screens_that_say_so(program):
    columns = {
        "customer_id": ["ana"],
        "event": ["cart_add"],
        "at": ["2025-03-03T10:00Z"],
        "value": [1.0],
        "revenue": [1.0],
    }
    empty = EventLog.from_pandas(pd.DataFrame(columns).iloc[:0])
    assert "The log is empty" in LogProfile(empty).view
    assert "0 journeys" in ScenarioView(program, empty).view
    nobody = tk.replay(program, empty)
    assert "Nobody in this replay came to a mail" in TraceView(nobody).view
    assert "the time it takes is unknown" in ExperimentDesigner(nobody).view


# --- settings ---------------------------------------------------------------------------------------------------------


def test_a_map_of_a_sweep_gives_the_settings_of_the_cell_that_is_pressed(program, log):
    over = {"abandoned_cart.pause.wait": ["1h", "4h"], "policies.caps[0].limit": [1, 3]}
    sweep = tk.sweep(program, log, over, progress=False)
    view = SweepMap(sweep)
    assert view.value == {"abandoned_cart.pause.wait": "4h", "policies.caps[0].limit": 3}
    press(view, "cell", "0,0")
    assert view.value == {"abandoned_cart.pause.wait": "1h", "policies.caps[0].limit": 1}
    assert set_parameters(program, view.value).policies.caps[0].limit == 1
    row = sweep.table[(sweep.table.iloc[:, 0] == "1h") & (sweep.table.iloc[:, 1] == 1)]
    assert f"{int(row['sent'].iloc[0]):,}" in view.view
    with pytest.raises(InputError, match="did you mean 'sent'"):
        SweepMap(sweep, measure="snet")


def test_a_map_and_its_tuner_move_each_other(program, log):
    tuner = Tuner(program, log)
    tuner.finish()
    view = SweepMap(tuner)
    press(view, "cell", "6,4")
    assert (tuner.wait, tuner.percent) == ("12h", 20)
    assert view.value == {"abandoned_cart.pause.wait": "12h", "abandoned_cart.offer.offer.percent": 20}
    tuner.wait = "1h"
    assert view.value["abandoned_cart.pause.wait"] == "1h"
    tuner.wait = "7h"  # between two cells: the mark goes to the nearer one
    assert view.value["abandoned_cart.pause.wait"] == "8h"


def test_a_map_of_a_tuner_that_is_still_preparing_waits_for_its_numbers(program, log, monkeypatch):
    monkeypatch.setattr("toolkit.widgets.tuner._MOMENT", 0.0)  # as on a machine that is slow, or busy
    tuner = Tuner(program, log)
    assert not tuner.surface["whole"]
    assert "–" not in SweepMap(tuner).view.partition("<svg")[2]
    tuner.finish()
    assert Tuner(program, log).prepared(10.0)


def test_ten_thousand_settings_are_drawn_in_few_shapes_and_chosen_from_lists():
    waits = [f"{number}m" for number in range(1, 101)]
    rows = [
        {"a.pause.wait": wait, "policies.caps[0].limit": cap, "scenario": "a", "sent": number * cap}
        for number, wait in enumerate(waits)
        for cap in range(1, 101)
    ]
    over = {"a.pause.wait": tuple(waits), "policies.caps[0].limit": tuple(range(1, 101))}
    sweep = Sweep(
        over, pd.DataFrame(rows), {"a.pause.wait": "4m", "policies.caps[0].limit": 3}, pd.DataFrame(), None, 1
    )
    view = SweepMap(sweep)
    press(view, "across", "50m")
    assert view.value == {"a.pause.wait": "50m", "policies.caps[0].limit": 3}
    assert len(view.view) < 600_000
    assert view.view.count("<path") < 20
    assert '<span class="ttk-scale">0<span class="ttk-shades">' in view.view
    assert "</span>9,900</span>" in view.view


def test_a_map_shows_two_settings_at_most(program, log):
    over = {"abandoned_cart.pause.wait": ["1h"], "policies.caps[0].limit": [1], "abandoned_cart.priority": [1]}
    with pytest.raises(NotSupportedError, match="two parameters"):
        SweepMap(tk.sweep(program, log, over, progress=False))


# --- experiments ------------------------------------------------------------------------------------------------------


def test_a_design_follows_the_sliders_and_gives_an_experiment(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    view = ExperimentDesigner(run, effect=0.05)
    before = view.plan.units
    press(view, "effect", "10")
    assert view.plan.units < before / 2
    press(view, "holdout", "50")
    assert view.value.arms["control"] == 0.5
    assert view.scenario.experiment == view.value
    assert view.value.name == "cart_offer_2"
    press(view, "freeze")
    assert view.frozen.units == view.plan.units
    assert (tmp_path / "cart_offer_2_design.json").exists()
    press(view, "effect", "8")
    press(view, "freeze")
    assert "a frozen design does not change, choose a new name" in view.error
    press(view, "name", "summer sale 3")
    assert "did you mean 'summer_sale_3'?" in view.error
    press(view, "name", "summer_sale_3")
    press(view, "freeze")
    assert view.error == ""
    assert (tmp_path / "summer_sale_3_design.json").exists()
    press(view, "base", "nothing")
    assert "rate in control" in view.error


def test_a_control_group_keeps_its_name_beside_an_arm_called_control(program, log):
    arms = {"none": 0.2, "control": 0.4, "discount": 0.4}
    experiment = program["abandoned_cart"].experiment.model_copy(update={"arms": arms, "holdout": "none"})
    other = tk.replay(set_parameters(program, {"abandoned_cart.experiment": experiment}), log)
    view = ExperimentDesigner(other, holdout=0.3)
    assert view.value.arms == {"none": 0.3, "control": 0.35, "discount": 0.35}
    assert view.value.holdout == view.plan.control == "none"
    with pytest.raises(InputError, match="holdout: found '30%'"):
        ExperimentDesigner(other, holdout="30%")
    with pytest.raises(InputError, match="run: found EventLog"):
        ExperimentDesigner(log)


def test_a_rate_that_was_typed_or_cannot_be_seen_is_not_called_observed(run, program, log):
    view = ExperimentDesigner(run)
    assert "observed: bought within 7 d of entering, in the control group" in view.view
    press(view, "base", "20")
    assert "typed; observed was 25.4%" in view.view
    press(view, "base", "25.4")
    assert "observed: bought within" in view.view
    nobody = tk.replay(program, EventLog.from_pandas(log.events.head(0), customers=log.customers))
    assert "this log cannot tell; type what you know" in ExperimentDesigner(nobody).view


def test_words_of_close_lines_and_dots_do_not_touch():
    assert _apart([100.0, 20.0, 104.0], 15) == [100.0, 20.0, 115.0]
    assert [word.count('text-anchor="middle"') for word in _below(100, [300], 9, 500)] == [1, 1]
    no_difference, harm = _below(100, [130], 9, 500)
    assert 'text-anchor="end"' in no_difference
    assert 'text-anchor="end"' not in harm


def test_a_board_puts_the_verdict_first(run):
    outcomes = tk.measure(run)
    result = tk.experiment(outcomes, metrics=[tk.Rate("converted")], control="control")
    outcomes["new"] = outcomes["pre_purchases"] == 0
    view = ExperimentBoard(result, outcomes=outcomes, segments=["new"])
    assert view.value is result
    assert view.view.index("Roll out discount") < view.view.index("<svg")
    for page, said in (("guards", "&lt; 0.001"), ("segments", " points to +"), ("arms", "no difference")):
        press(view, "page", page)
        assert view.error == ""
        assert said in view.view
    with pytest.raises(InputError, match="did you mean 'new'"):
        ExperimentBoard(result, outcomes=outcomes, segments=["now"])


def test_a_board_shows_how_the_lift_developed_where_the_outcomes_tell(run):
    outcomes = tk.measure(run)
    metrics = [tk.Rate("converted"), tk.Mean("revenue", currency="EUR", covariate="pre_revenue")]
    result = tk.experiment(outcomes, metrics, looks=Looks(2_400, [500, 1_200]))
    view = ExperimentBoard(result, outcomes=outcomes)
    press(view, "page", "days")
    view.wait(120)
    assert view.error == ""
    assert "On converted the band of discount has been above no difference since" in view.view
    drawn = view.view.count('class="ttk-at-')
    assert len(re.findall("at [0-9]+% of the plan", view.view)) == drawn * 2 * 3 > 0  # widths, arms, looks
    press(view, "metric", "revenue")
    assert "in EUR" in view.view
    assert not re.search(r'"-?(inf|nan)"', view.view)
    assert "closed. Band" in view.view
    far = ExperimentBoard(result, outcomes=outcomes, zone="Pacific/Kiritimati")
    press(far, "page", "days")
    far.wait(120)
    assert "closed (Pacific/Kiritimati). Band" in far.view
    with pytest.raises(InputError, match=r"experiment board: zone: found 'Europe/Pari'; .*did you mean 'Europe/Paris'"):
        ExperimentBoard(result, zone="Europe/Pari")
    for without in (ExperimentBoard(result), ExperimentBoard(result, outcomes=outcomes.drop(columns="entered_at"))):
        assert "Day by day" not in without.view
    other = ExperimentBoard(result, outcomes=outcomes.head(900))
    press(other, "page", "days")
    other.wait(120)
    assert "not those of the result" in other.view


def test_a_board_says_how_many_days_are_reckoned_and_the_next_page_waits_for_none(run):
    outcomes = tk.measure(run)
    view = ExperimentBoard(tk.experiment(outcomes, [tk.Rate("converted")]), outcomes=outcomes)
    seen = []
    view.observe(lambda change: seen.append(change["new"]), names="view")
    press(view, "page", "days")
    view.wait(120)
    bars = [re.search(r'aria-valuemax="(\d+)" aria-valuenow="(\d+)" aria-valuetext="([^"]*)"', one) for one in seen]
    told = [one.groups() for one in bars if one is not None]
    days = int(told[-1][0])
    assert [int(at) for _, at, _ in told] == list(range(days))
    assert told[-1][2] == f"Reckoning each day… {days - 1} of {days}"
    assert "Reckoning" not in view.view


def test_segments_are_those_of_the_metric_that_was_compared():
    rows = [
        {"group": arm, "bought": at < bought, "country": ("FR", "BE")[at % 2]}
        for arm, bought in (("none", 30), ("mail", 60))
        for at in range(300)
    ]
    outcomes = pd.DataFrame(rows)
    metrics = [tk.Rate("bought", name="orders"), tk.Rate("bought", name="again")]
    result = tk.experiment(outcomes, metrics, control="none", arm="group", alpha=0.2)
    view = ExperimentBoard(result, outcomes=outcomes, segments="country")
    press(view, "page", "segments")
    assert view.error == ""
    assert "orders, by country" in view.view
    found = uplift_by_segment(outcomes, metrics[0], by="country", control="none", arm="group", alpha=0.2)
    assert f"{100 * found['diff_lower'][0]:+.1f} points to" in view.view
    assert f"differs between segments at all: mail: p = {found['heterogeneity'][0]:.3f}." in view.view
    outcomes["spent"] = outcomes["bought"] * 12.5
    money = tk.experiment(outcomes, tk.Mean("spent", currency="EUR"), control="none", arm="group")
    view = ExperimentBoard(money, outcomes=outcomes, segments="country")
    press(view, "page", "segments")
    found = uplift_by_segment(outcomes, tk.Mean("spent", currency="EUR"), by="country", control="none", arm="group")
    assert f"€{found['control'][0]:.2f}" in view.view
    assert f"+€{found['diff'][0]:.2f}" in view.view
    homes = outcomes.assign(home=outcomes.index // 2 * 2 % 150 + outcomes["group"].eq("mail"), people=1)
    homes["country"] = "FR"
    share = tk.experiment(homes, tk.Ratio("bought", "people"), control="none", arm="group", unit="home")
    view = ExperimentBoard(share, outcomes=homes, segments="country")
    press(view, "page", "segments")
    assert view.error == ""
    row = re.search(r"<td[^>]*>FR</td>.*?</tr>", view.view, re.DOTALL)[0]
    assert re.findall(r">(\d+)</td>", row)[:2] == ["75", "75"]  # homes, not people
    with pytest.raises(InputError, match="result: found DataFrame"):
        ExperimentBoard(outcomes)
    with pytest.raises(InputError, match="outcomes: found str"):
        ExperimentBoard(result, outcomes="outcomes.parquet")


def test_a_look_too_early_for_any_effect_is_drawn():
    rows = [(arm, at < bought) for arm, bought in (("control", 30), ("mail", 60)) for at in range(300)]
    outcomes = pd.DataFrame(rows, columns=["arm", "converted"])
    result = tk.experiment(outcomes, [tk.Rate("converted")], looks=Looks(planned=6_000_000))
    view = ExperimentBoard(result)
    press(view, "page", "looks")
    assert view.error == ""
    assert "too early for any" in view.view
    assert not re.search(r'"-?(inf|nan)"', view.view)


def test_an_interval_without_an_end_is_drawn_to_the_edge():
    outcomes = pd.DataFrame({"arm": ["control", "mail"] * 5, "revenue": np.arange(10.0)})
    result = tk.experiment(outcomes, [tk.Quantile("revenue", q=0.9)])
    assert math.isinf(result.comparisons[0].diff_lower)
    view = ExperimentBoard(result)
    assert not re.search(r'"-?(inf|nan)"', view.view)


# --- sending ----------------------------------------------------------------------------------------------------------


def test_nothing_is_signed_without_a_name_and_a_look(batch):
    desk = ApprovalDesk(batch)
    press(desk, "sign")
    assert "Type your name" in desk.error
    press(desk, "name", "ana")
    press(desk, "sign")
    assert "look at the samples" in desk.error
    press(desk, "read", True)
    press(desk, "sign")
    assert desk.error == ""
    assert desk.value.by == "ana"
    press(desk, "withdraw")
    assert desk.value is None


def wait_for(is_so):
    """Whether something becomes so, beside the notebook."""
    end = time.monotonic() + 60
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    return is_so()


def test_copies_go_to_the_address_that_was_typed_before_anyone_signs(batch, tmp_path):
    desk = ApprovalDesk(batch, transport=f"outbox:{tmp_path / 'copies'}")
    press(desk, "test")
    assert desk.error == "where to? Type your own address first"
    press(desk, "address", batch.mails[0].letter.to)
    press(desk, "test")
    assert wait_for(lambda: "is a customer's" in desk.error)
    press(desk, "address", "ana@shop.example")
    press(desk, "test")
    assert wait_for(lambda: "test copies sent to ana@shop.example" in desk.view)
    assert desk.error == ""
    assert "Sending…" not in desk.view
    mails = [path.read_text() for path in (tmp_path / "copies").glob("*.eml")]
    assert mails
    assert all("\nTo: ana@shop.example\n" in mail for mail in mails)
    assert desk.value is None
    for mail in batch.mails:
        assert mail.letter.to not in desk.view


def test_the_desk_and_the_console_show_no_address_and_no_name(batch):
    desk = ApprovalDesk(batch)
    console = SendConsole(desk)
    for page in ("counts", "findings", "samples", "changes"):
        press(desk, "page", page)
        shown = desk.view + console.view
        for mail in batch.mails:
            assert mail.letter.to not in shown


def test_mails_leave_once_after_the_count_is_typed_and_a_cell_run_again_sends_nothing(
    batch, tmp_path, program, log, run
):
    way = f"outbox:{tmp_path / 'outbox'}"
    desk = ApprovalDesk(batch)
    console = SendConsole(desk, transport=way)
    assert "Waiting for a signature" in console.view
    press(desk, "name", "ana")
    press(desk, "read", True)
    press(desk, "sign")
    press(console, "send")
    assert f"type {len(batch)}" in console.error
    press(console, "count", str(len(batch)))
    press(console, "send")
    assert console.wait(60).sent == len(batch)
    console.guarded_draw()
    assert f"{len(batch)} sent now. They lie in" in console.view
    again = tk.prepare(program, log, now=run.until, templates=ROOT / "templates", ledger=batch.ledger, progress=False)
    assert len(again) == 0
    assert "nobody is mailed twice" in SendConsole(ApprovalDesk(again), transport=way).view
    assert len(list((tmp_path / "outbox").rglob("*.eml"))) == len(batch)


def test_a_console_made_again_says_that_its_batch_has_been_sent_and_offers_no_second_sending(batch, tmp_path):
    signed = batch, tk.approve(batch, by="ana")
    console = SendConsole(*signed, transport=f"outbox:{tmp_path / 'outbox'}")
    press(console, "count", str(len(batch)))
    press(console, "send")
    console.wait(60)
    again = SendConsole(*signed, transport=f"outbox:{tmp_path / 'outbox'}")
    assert f"This batch has been sent: {len(batch)} sent. Nothing of it is left to send." in again.view
    assert 'data-act="send"' not in again.view


class Refusing(Outbox):
    """A server that knows nobody, and says so with the address."""

    def deliver(self, mails, start):
        for mail in filter(None, mails):
            yield Receipt(mail.decision_id, State.FAILED, code=550, reason=f"<{mail.recipient}>: no such user")


def test_a_console_names_who_was_refused_and_what_the_server_said_without_an_address(batch, tmp_path):
    few = replace(batch, mails=list(batch.mails)[:5])
    console = SendConsole(few, tk.approve(few, by="ana"), transport=Refusing(tmp_path / "refusing"))
    press(console, "count", "5")
    press(console, "send")
    console.wait(60)
    console.guarded_draw()
    refused = console.view.partition("Who was refused, and why")[2]
    assert refused.count("&lt;…&gt;: no such user") == 5
    assert few.mails[0].customer_id in refused
    assert few.mails[0].letter.to not in console.view


class Full(Outbox):
    """A disk that is full after the first mail."""

    at_once = 1

    def _write(self, mail):
        if list(self.folder.rglob("*.eml")):
            raise OSError("no space left")
        return super()._write(mail)


def test_the_rest_of_a_broken_sending_is_called_off_and_every_number_says_so(batch, tmp_path):
    console = SendConsole(batch, tk.approve(batch, by="ana"), transport=Full(tmp_path / "full"))
    press(console, "count", str(len(batch)))
    press(console, "send")
    with pytest.raises(OSError, match="no space left"):
        console.wait(60)
    console.guarded_draw()
    assert "Nothing is lost: Go on continues where it stopped." in console.view
    left = len(batch) - 1
    assert dict(CARD.findall(console.view)) | {"Sent": "1", "Waiting": str(left)} == dict(CARD.findall(console.view))
    press(console, "cancel")
    assert "Press again: the rest is never sent" in console.view
    press(console, "cancel")
    assert f"{left} mails will not be sent" in console.view
    assert dict(CARD.findall(console.view)) | {"Waiting": "0", "Not sent": str(left)} == dict(
        CARD.findall(console.view)
    )


def test_a_console_made_again_says_that_a_sending_has_begun_and_goes_on(batch, tmp_path):
    approval = tk.approve(batch, by="ana")
    console = SendConsole(batch, approval, transport=Full(tmp_path / "full"))
    press(console, "count", str(len(batch)))
    press(console, "send")
    with pytest.raises(OSError, match="no space left"):
        console.wait(60)
    again = SendConsole(batch, approval, transport=f"outbox:{tmp_path / 'full'}")
    assert "The sending of this batch has begun and not ended" in again.view
    press(again, "again")
    assert again.wait(60).sent == len(batch) - 1


class Slow(Outbox):
    """An outbox that takes one mail each time it is let."""

    at_once = 1
    gate = threading.Semaphore(0)

    def _write(self, mail):
        self.gate.acquire()
        return super()._write(mail)


def test_a_console_shows_the_sending_of_its_own_batch_and_not_of_another_in_the_same_ledger(batch, tmp_path):
    halves = [replace(batch, mails=list(batch.mails)[place::2]) for place in (0, 1)]
    first, other = ((half, tk.approve(half, by="ana")) for half in halves)
    way = Slow(tmp_path / "slow")
    console = SendConsole(*first, transport=way)
    press(console, "count", str(len(first[0])))
    press(console, "send")
    way.gate.release()
    end = time.monotonic() + 30
    while not list((tmp_path / "slow").glob("*.eml")) and time.monotonic() < end:
        time.sleep(0.01)
    try:
        assert SendConsole(*first, transport=way).job is console.job
        assert SendConsole(batch, transport=way).job is console.job  # as a cell run again would prepare it
        assert SendConsole(*other, transport=way).job is None
    finally:
        way.gate.release(100)
    assert console.wait(60).sent == len(first[0])


def test_two_consoles_of_one_batch_show_one_sending(batch, tmp_path):
    signed = tk.approve(batch, by="ana")
    way = f"outbox:{tmp_path / 'outbox'}"
    first, second, other = (SendConsole(batch, signed, transport=way) for _ in range(3))
    elsewhere = SendConsole(batch, signed, transport=way, ledger=str(tmp_path / "another.sqlite"))
    other.close()
    first.act_count(str(len(batch)))
    first.act_send(None)
    first.wait()
    second.wait()
    assert second.job is first.job
    assert "settled" in second.view
    assert other.job is None
    assert elsewhere.job is None


def test_a_sending_whose_mails_are_in_another_hand_says_so_and_is_not_told_as_done_well(batch, tmp_path):
    way = Slow(tmp_path / "slow")
    way.gate = threading.Semaphore(0)
    first = SendConsole(batch, tk.approve(batch, by="ana"), transport=way)
    press(first, "count", str(len(batch)))
    press(first, "send")
    end = time.monotonic() + 30
    while first.job.progress.phase is not Phase.SENDING and time.monotonic() < end:
        time.sleep(0.01)
    press(first, "pause")
    try:
        second = SendConsole(batch, tk.approve(batch, by="bo"), transport=f"outbox:{tmp_path / 'slow'}")
        press(second, "count", str(len(batch)))
        press(second, "send")
        report = second.wait(60)
        second.redraw()
        assert report.waiting
        assert f"Waiting: {report.waits_for[0]}" in html.unescape(second.view)
        assert first.job.run_id[:12] in second.view
        assert "ttk-note-good" not in second.view
    finally:
        way.gate.release(1000)
        press(first, "stop")
    first.wait(60)


def test_a_screen_that_is_closed_ends_its_work(log):
    begun, ended = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        try:
            while True:
                begun.set()
                job.step(0, 1)
                time.sleep(0.01)
        finally:
            ended.set()

    screen = LogProfile(log)
    screen.wait(600)
    screen._jobs.start(work, done=print, failed=print)
    assert begun.wait(10)
    screen.close()
    assert ended.wait(10)


def test_a_press_that_is_interrupted_stands_on_the_screen(program):
    view = ScenarioView(program)
    view.act_step = interrupted
    view._heard(view, {"act": "step", "value": "pause", "number": 1}, None)
    assert "interrupted" in view.error
    view._heard(view, {"act": "close", "value": None, "number": 2}, None)
    assert view.error == ""
    with pytest.raises(KeyboardInterrupt):  # a cell that moves a screen is interrupted, too
        view.guarded(interrupted)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_timeline_whose_log_was_replaced_says_so_and_proposes_nobody(tmp_path, program, log):
    log.save(tmp_path / "store")
    kept = EventLog.open(tmp_path / "store")
    view = TraceView(tk.replay(program, kept))
    for path in (tmp_path / "store").glob("*.parquet"):
        path.write_bytes(b"another")
    view._heard(view, {"act": "move", "value": "1", "number": 1}, None)
    assert "open it again" in view.error
    assert "did you mean" not in view.error


def test_a_desk_walks_over_the_mails_once_however_often_something_is_pressed(batch, monkeypatch):
    desk, read = ApprovalDesk(batch), []
    monkeypatch.setattr(type(batch.mails), "__iter__", lambda mails: read.append(1) or iter(()))
    for page in ("findings", "samples", "changes", "counts"):
        press(desk, "page", page)
    assert read == []
    assert f">{len(batch)}<" in desk.view


def test_a_console_of_something_else_says_what_it_takes():
    with pytest.raises(InputError, match=r"expected what tk\.prepare gives, or the desk .* found NoneType"):
        SendConsole(None)


# --- all of them ------------------------------------------------------------------------------------------------------


def test_every_screen_leaves_a_snapshot_without_scripts_that_says_so(program, log, run, batch):
    screens = [ScenarioView(program, log), TraceView(run), MailPreview(batch), LogProfile(log), ApprovalDesk(batch)]
    for screen in [*screens, SendConsole(batch), ExperimentDesigner(run)]:
        text = screen._repr_mimebundle_()[0]["text/html"]
        assert "A snapshot" in text
        assert "<script" not in text
        assert not [found for found in ADDRESS.findall(text) if "***" not in found and not found.startswith("hello@")]


def test_every_control_has_a_name(program, log, run, batch):
    screens = [
        ScenarioView(program, log),
        TraceView(run),
        MailPreview(batch),
        ApprovalDesk(batch),
        ExperimentDesigner(run),
    ]
    for screen in screens:
        for kind, attributes, inside in re.findall(r"<(button|input|select)([^>]*)>([^<]*)", screen.view):
            in_label = kind != "button"  # boxes stand inside their label
            assert inside.strip() or "aria-label" in attributes or in_label, (type(screen), attributes)


def test_something_pressed_that_is_not_there_stands_in_the_banner(program):
    view = ScenarioView(program)
    press(view, "nonsense")
    assert "knows no 'nonsense'" in view.error
    press(view, "page", "yaml")
    assert view.error == ""


def test_every_screen_tells_what_went_wrong_in_its_own_banner(program, log, run, batch):
    outcomes = tk.measure(run)
    result = tk.experiment(outcomes, metrics=[tk.Rate("converted")], control="control")
    sweep = tk.sweep(program, log, {"abandoned_cart.pause.wait": ["1h", "4h"]}, progress=False)
    screens: list[Panel] = [ScenarioView(program), TraceView(run), MailPreview(batch), LogProfile(log), SweepMap(sweep)]
    screens += [ApprovalDesk(batch), SendConsole(batch), ExperimentDesigner(run), ExperimentBoard(result)]
    screens.append(Tuner(program, log))
    for screen in screens:
        press(screen, "nonsense")
        assert "knows no 'nonsense'" in screen.error, type(screen)
        screen.guarded(lambda: 1 / 0)
        assert screen.error.startswith("ZeroDivisionError: division by zero (test_screens.py"), type(screen)
        screen.guarded(lambda: None)
        assert screen.error == "", type(screen)


def test_an_error_in_a_callback_is_shown_on_the_screen(program):
    view = ScenarioView(program)
    view.on_change(lambda value: 1 / 0)
    press(view, "step", "pause")
    press(view, "wait", "2h")
    assert "ZeroDivisionError" in view.error
    assert view.value.steps[0].wait == Duration.parse("2h")


def test_a_new_job_cancels_the_one_before():
    jobs, done = Jobs(), []

    def slow(job):
        for _ in range(1000):
            job.step(0, 1)
            time.sleep(0.01)
        return "slow"

    first = jobs.start(slow, done=done.append, failed=done.append)
    second = jobs.start(lambda job: "quick", done=done.append, failed=done.append)
    assert first.wait(20)
    assert second.wait(20)
    assert done == ["quick"]
    assert issubclass(Cancelled, BaseException)


def test_a_notebook_without_a_kernel_is_given_out_with_its_snapshots():
    notebook = {
        "cells": [{"outputs": [{"data": {WIDGET_VIEW: {}, "text/html": "still"}}, {"data": {WIDGET_VIEW: {}}}]}, {}]
    }
    shown = without_widgets(notebook)["cells"][0]["outputs"]
    assert shown == [{"data": {"text/html": "still"}}, {"data": {WIDGET_VIEW: {}}}]


def test_a_widget_of_a_kernel_that_was_restarted_is_given_out_as_its_snapshot(program):
    data, about = ScenarioView(program)._repr_mimebundle_()
    made = about[MADE]["at"]
    output = {"data": {WIDGET_VIEW: {}, "text/html": data["text/html"]}, "metadata": about}
    for began, is_live in ((made - 1, True), (made + 1, False)):
        shown = without_widgets({"cells": [{"outputs": [output]}]}, before=began)["cells"][0]["outputs"][0]
        assert (WIDGET_VIEW in shown["data"]) is is_live
    assert "A snapshot" in output["data"]["text/html"]
