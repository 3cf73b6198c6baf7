"""What is of another kind than a call takes, a table where a name belongs for example, is refused in a sentence."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit import charts
from toolkit.errors import InputError, ToolkitError
from toolkit.mail import Templates
from toolkit.mail.foreign import import_hints
from toolkit.scenario import check, get_parameter, loads, set_parameters
from toolkit.scenario.models import Goal
from toolkit.scenario.schema import write_schema
from toolkit.simulation import generate_events
from toolkit.stats import Design, effect_posterior
from toolkit.tracking import deliverability
from toolkit.widgets import ExperimentDesigner, SweepMap
from toolkit.widgets.versions import File, save_version

EVENTS = pd.DataFrame(
    {
        "customer_id": ["ana", "ana", "bo", "bo"],
        "event": ["cart_add", "purchase", "cart_add", "view"],
        "at": pd.to_datetime(["2025-03-03", "2025-03-04", "2025-03-05", "2025-03-09"], utc=True),
        "value": [30.0, None, 40.0, None],
        "revenue": [None, 20.0, None, None],
    }
)
PROGRAM = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
goal: {event: purchase, within: 3d, value: revenue}
steps: [{id: pause, wait: 1h}, {send: cart/reminder}]
""")
WRONG = [pd.DataFrame({"a": [1, 2]}), pd.Series([1, 2]), np.array([1, 2]), pd.NA, ["hours"], b"x", object(), 3]
LOG = tk.EventLog.from_pandas(EVENTS)


@pytest.fixture(scope="module")
def run():
    return tk.replay(PROGRAM, LOG)


@pytest.fixture(scope="module")
def sweep():
    return tk.sweep(PROGRAM, LOG, {"cart.pause.wait": ["1h", "4h"]})


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
def test_a_name_of_another_kind_is_refused_in_one_line(run, sweep, wrong, tmp_path):
    EVENTS.to_csv(tmp_path / "events.csv", index=False)
    calls = {
        "measure(scenario=)": lambda: tk.measure(run, scenario=wrong),
        "measure(unit=)": lambda: tk.measure(run, unit=wrong),
        "replay(assume=)": lambda: tk.replay(PROGRAM, LOG, assume=wrong),
        "sweep(assume=)": lambda: tk.sweep(PROGRAM, LOG, {"cart.pause.wait": ["1h"]}, assume=wrong),
        "best(value)": lambda: sweep.best(wrong),
        "best(scenario=)": lambda: sweep.best("sent", scenario=wrong),
        "best(lowest=)": lambda: sweep.best("sent", lowest=wrong),
        "heatmap(value)": lambda: sweep.heatmap(value=wrong),
        "plot(show=)": lambda: run.plot(show=wrong),
        "plot(scenario=)": lambda: run.plot(scenario=wrong),
        "plot(clock=)": lambda: run.plot(clock=wrong),
        "sweep.plot(value=)": lambda: sweep.plot(value=wrong),
        "sweep.plot(scenario=)": lambda: sweep.plot(scenario=wrong),
        "trigger_properties": lambda: run.trigger_properties(wrong),
        "from_pandas(anonymous=)": lambda: tk.EventLog.from_pandas(EVENTS, anonymous=wrong),
        "from_csv(date_format=)": lambda: tk.EventLog.from_csv(tmp_path / "events.csv", date_format=wrong),
        "from_csv(decimal=)": lambda: tk.EventLog.from_csv(tmp_path / "events.csv", decimal=wrong),
        "deliverability(by=)": lambda: deliverability(LOG, by=wrong),
        "effect_posterior(better=)": lambda: effect_posterior(1.0, 1.0, better=wrong),
    }
    for name, call in calls.items():
        with pytest.raises(ToolkitError) as told:
            call()
        assert isinstance(told.value, InputError), name
        assert "\n" not in str(told.value), name


@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_path_is_not_the_folder_one_stands_in(nothing):
    for call in (lambda: tk.load(nothing), lambda: tk.load("templates", policies=nothing)):
        with pytest.raises(InputError, match="expected a path"):
            call()
    with pytest.raises(InputError, match="folder of a stored log"):
        tk.EventLog.open(nothing)


TAKING_A_PATH = {
    "load": tk.load,
    "EventLog.open": tk.EventLog.open,
    "from_csv": tk.EventLog.from_csv,
    "from_sql": lambda path: tk.EventLog.from_sql(f"sqlite:///{path}", "events"),
    "with_answers": LOG.with_answers,
    "save": LOG.save,
    "report": lambda path: tk.report(tk.replay(PROGRAM, LOG), path=path),
    "ResponseModel.load": tk.ResponseModel.load,
    "Templates.load": Templates.load,
    "import_hints": import_hints,
    "write_schema": write_schema,
    "generate_events": lambda path: generate_events(10, path, seed=1),
    "save_version": lambda path: save_version(PROGRAM.scenarios[0], path),
    "File": File,
    "Design.load": Design.load,
}


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "a" * 100_000, "a/" * 5_000], ids=["nul", "half", "long", "deep"])
@pytest.mark.parametrize("call", TAKING_A_PATH)
def test_a_path_that_no_file_can_have_is_refused_in_one_short_sentence(call, path):
    with pytest.raises(InputError, match="no path that a file can have") as told:
        TAKING_A_PATH[call](path)
    assert len(str(told.value)) < 250


def test_a_table_of_a_name_that_is_no_unicode_is_refused(tmp_path):
    duckdb.connect(tmp_path / "a.duckdb").close()
    with pytest.raises(InputError, match="valid Unicode"):
        tk.EventLog.from_sql(f"duckdb:///{tmp_path / 'a.duckdb'}", "\ud800")


DRAWINGS = sorted(set(charts.__all__) - {"OwnPurchases", "report", "experiment_report", "figure"})


@pytest.mark.parametrize("drawing", DRAWINGS)
@pytest.mark.parametrize("wrong", [None, *WRONG], ids=lambda wrong: type(wrong).__name__)
def test_a_drawing_of_something_else_is_refused_in_one_line(drawing, wrong):
    with pytest.raises(InputError, match=r"^\w+: found \w+; allowed: what [\w.]+ gives$"):
        getattr(charts, drawing)(wrong)


@pytest.mark.parametrize("wrong", [None, *WRONG], ids=lambda wrong: type(wrong).__name__)
def test_a_flag_that_is_none_is_refused_before_anything_is_done(run, wrong, tmp_path):
    EVENTS.to_csv(tmp_path / "events.csv", index=False)
    calls = (
        lambda: tk.EventLog.from_pandas(EVENTS, progress=wrong),
        lambda: tk.EventLog.from_csv(tmp_path / "events.csv", progress=wrong),
        lambda: tk.EventLog.from_csv(tmp_path / "events.csv", growing=wrong),
        lambda: tk.replay(PROGRAM, LOG, progress=wrong),
        lambda: tk.sweep(PROGRAM, LOG, {"cart.pause.wait": ["1h"]}, progress=wrong),
        lambda: tk.report(run, path=tmp_path / "report.html", progress=wrong),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"^(progress|growing): found .+; allowed: True or False$"):
            call()


@pytest.mark.parametrize("wrong", [None, "cart", *WRONG], ids=lambda wrong: type(wrong).__name__)
def test_customers_of_a_log_are_chosen_by_a_range_alone(wrong):
    with pytest.raises(InputError, match=r"within: found .+; allowed: a range of customers, .+ run\.between"):
        LOG.within(wrong)


@pytest.mark.parametrize("name", ["\ud800", "x" * 100_000], ids=["half a surrogate pair", "too long"])
def test_a_name_that_nothing_can_have_is_refused_in_a_line_that_can_be_printed(run, sweep, name):
    calls = (
        lambda: run.trace(name),
        lambda: run.trigger_properties([name]),
        lambda: tk.load(name),
        lambda: LOG.followed_by(name),
        lambda: tk.replay(PROGRAM, LOG, until=name),
        lambda: tk.measure(run, within=name),
        lambda: SweepMap(sweep, measure=name),
        lambda: ExperimentDesigner(run).act_name(name),
        lambda: Templates.load("templates/abandoned_cart").preview(name),
    )
    for call in calls:
        with pytest.raises(InputError) as told:
            call()
        assert len(str(told.value).encode()) < 1000
    if name == "\ud800":
        with pytest.raises(InputError, match="allowed: a list of names of events"):
            LOG.compacted([name])
        with pytest.raises(InputError, match="allowed: the name of an event"):
            LOG.carried(name)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00Z", "1900-01-01T00:00+01:00", "2300-01-01T00:00Z", "9999-12-31T23:59:59Z"]
)
def test_moments_of_any_year_are_taken(run, moment):
    whole = len(tk.measure(run, within="1d"))
    assert len(tk.measure(run, within="1d", since=moment)) == (whole if moment < "2" else 0)
    assert tk.replay(PROGRAM, LOG, until=moment).until == pd.Timestamp(moment)
    told = LOG.profile(now=pd.Timestamp(moment)).suspicious
    assert any("4 events in the future" in one for one in told) == (moment < "2")
    if moment < "2":
        assert len(run.between(moment).decisions) == len(run.decisions)
        with pytest.raises(InputError, match="nothing was decided then"):
            run.between(None, moment)
    else:
        assert len(run.between(None, moment).decisions) == len(run.decisions)


@pytest.mark.parametrize("wrong", [None, *WRONG], ids=lambda wrong: type(wrong).__name__)
def test_what_a_program_is_asked_for_is_refused_in_one_line(wrong):
    calls = [lambda: get_parameter(PROGRAM, wrong), lambda: set_parameters(PROGRAM, {"cart.pause.wait": wrong})]
    if wrong is not None:
        calls += [lambda: check(PROGRAM, properties=wrong)]
    for call in calls:
        with pytest.raises(InputError):
            call()
    with pytest.raises(KeyError):
        PROGRAM[wrong]


@pytest.mark.parametrize("years", [("1900", "2025"), ("2025", "2300"), ("0001", "9999")], ids="-".join)
def test_a_log_of_any_years_is_replayed_measured_and_drawn(years, tmp_path):
    first, last = (f"{year}-03-03T10:00Z" for year in years)
    log = tk.EventLog.from_pandas(
        pd.DataFrame(
            {"customer_id": ["a", "b", "a"], "event": ["cart_add", "view", "cart_add"], "at": [first, last, last]}
        )
    )
    program = PROGRAM.replace(scenarios=(PROGRAM["cart"].replace(goal=Goal(event="purchase", within="3d")),))
    run = tk.replay(program, log)
    assert len(tk.measure(run)) == 1
    assert str(run.load()).startswith("1 mail ")
    for picture in ("hours", "days", "own", "not_sent"):
        assert run.plot(show=picture).layout.title.text
    assert tk.report(run, path=tmp_path / "report.html").is_file()
    assert run.trace("a").plot().layout.title.text
    assert years[1] in str(run.between(first))
    assert log.profile().table["event"].tolist()
