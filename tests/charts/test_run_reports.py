"""Pictures of a load, an overlap, a difference and a choice: they count what their tables count."""

from __future__ import annotations

import pandas as pd
import pytest

import toolkit as tk
from toolkit.charts import figure
from toolkit.engine import CHANGES
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import loads, set_parameters

WAIT = "abandoned_cart.pause.wait"


@pytest.fixture(scope="module")
def longer(shop_program, shop_log):
    return tk.replay(set_parameters(shop_program, {WAIT: "1d"}), shop_log)


def test_a_load_draws_every_mail_and_names_its_peak(shop_run):
    load = shop_run.load()
    drawing = load.plot()
    assert sum(drawing.data[0].y) == (shop_run.decisions["status"] == "send").sum()
    hour, most = load.peak
    assert f"At most {most:,} mails in one hour" in drawing.layout.title.text
    assert f"{hour:%H:%M}: {most:,} an hour" in drawing.layout.annotations[0].text
    assert "no ceiling" in str(load)
    assert load.offers["ceiling"].isna().all()
    capped = shop_run.load(largest_order=100.0)
    rows = capped.offers.set_index(["scenario", "step"])
    assert rows.loc[("abandoned_cart", "offer"), "ceiling"] == 10.0 * rows.loc[("abandoned_cart", "offer"), "mails"]
    assert "assumed: no order above €100.00" in capped._repr_html_()


def test_an_overlap_draws_people_collisions_and_weeks(shop_run):
    overlap = shop_run.overlap()
    drawing = overlap.plot()
    people, collisions, weeks = drawing.data
    assert (people.z == overlap.people.to_numpy()).all()
    assert collisions.z.sum() == overlap.collisions.to_numpy().sum() > 0
    assert list(weeks.y) == overlap.weekly["customer_weeks"].tolist()
    stopped = (shop_run.decisions["reason"] == "cap").sum()
    assert f"limits stopped {stopped:,} mails" in drawing.layout.title.text
    assert overlap.caps["mails"].sum() == stopped
    assert (overlap.collisions.sum(axis=1) >= overlap.caps.set_index("scenario")["mails"]).all()


def test_a_difference_draws_gains_right_and_losses_left(shop_run, longer):
    difference = shop_run.diff(longer)
    drawing = figure(difference)
    drawn = {trace.name: sum(trace.x) for trace in drawing.data}
    for change in CHANGES:
        wanted = (difference.mails["change"] == change).sum()
        assert drawn.get(change, 0) == (-wanted if change == "lost" else wanted)
    assert "4h → 1d" in drawing.layout.title.text
    assert difference.versions == (shop_run.version, longer.version)
    assert shop_run.version[:12] in difference._repr_html_()
    assert difference.settings.values.tolist() == [[WAIT, "4h", "1d"]]
    assert "Not one mail differs" in figure(shop_run.diff(shop_run)).layout.title.text


def test_a_difference_counts_scenarios_that_only_one_has_and_names_settings_of_the_others(shop_program, shop_log):
    name = shop_program.scenarios[0].scenario
    other = shop_program.scenarios[0].replace(scenario="other", steps=shop_program.scenarios[0].steps[:2])
    longer = set_parameters(shop_program, {WAIT: "1d"})
    both = shop_program.replace(scenarios=(*shop_program.scenarios, other))
    for before, after, side in ((both, longer, "before"), (longer, both, "after")):
        drawn = tk.replay(before, shop_log).diff(tk.replay(after, shop_log)).plot()
        said = drawn.layout.title.text.replace("<br>", " ")
        assert f"1 scenario only {side}; {name.replace('_', ' ')}.pause.wait " in said
        assert "None" not in said


def test_a_choice_among_several_parameters_names_each(shop_program, shop_log):
    caps = {WAIT: ["1h", "4h"], "abandoned_cart.offer.offer.percent": [10, 15]}
    best = tk.sweep(shop_program, shop_log, caps, progress=False).best("sent")
    assert best.plot().data[0].text[0] == "wait (pause) 1h, discount 10%"


def test_a_choice_draws_each_setting_on_both_parts(shop_program, shop_log):
    waits = ["1h", "4h", "1d"]
    tried = tk.sweep(shop_program, shop_log, {WAIT: waits}, progress=False)
    best = tried.best("own_after_rate", lowest=True)
    points, now, chosen = best.plot().data
    assert list(points.x) == best.table["first"].tolist()
    assert list(points.y) == best.table["second"].tolist()
    assert (chosen.x[0], chosen.y[0]) == (best.first, best.second)
    assert list(now.x) == best.table.loc[[1], "first"].tolist()


def test_an_empty_log_is_drawn_as_nothing():
    empty = EventLog.from_pandas(pd.DataFrame({"customer_id": [], "event": [], "at": pd.to_datetime([], utc=True)}))
    hello = loads("{scenario: hello, trigger: {event: sign_up}, reentry: once, steps: [{send: hello/one}]}")
    run = tk.replay(hello, empty)
    for report in (run.load(), run.overlap(), run.diff(run)):
        assert report._repr_html_()
        assert figure(report).layout.title.text


@pytest.mark.parametrize("name", ["sweep", "result", "trace", "batch_summary"])
def test_a_report_of_another_thing_is_refused_in_one_sentence(shop_run, tmp_path, name):
    with pytest.raises(InputError, match=rf"report: {name}: found str; allowed: what .* gives"):
        tk.report(shop_run, path=tmp_path / "report.html", **{name: "no"})


def test_a_report_to_no_path_and_journeys_after_no_moment_are_refused(shop_run):
    with pytest.raises(InputError, match=r"path: found 5; allowed: the path of a file"):
        tk.report(shop_run, path=5, progress=False)
    with pytest.raises(InputError, match="moment: found 'soon'; allowed: a moment with a time zone"):
        shop_run.reaching("soon")
    last = shop_run.decisions["at"].max()
    assert len(shop_run.reaching(last - pd.Timedelta(1, unit="D")).decisions) > 0
    assert len(shop_run.reaching(last.isoformat()).decisions) == 0
