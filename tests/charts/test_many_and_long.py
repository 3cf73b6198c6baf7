"""Pictures and reports of many arms, many scenarios and very long names: nothing is covered, cut or dropped."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit.charts import boundary, report, sends_by_day, sends_by_hour
from toolkit.charts.experiments import forest_svg
from toolkit.charts.pages import figure_html, page
from toolkit.charts.style import MAILS, OTHERS, label_lines, say, title_room
from toolkit.charts.vector import text_width
from toolkit.scenario import loads
from toolkit.stats import Looks, Result, qini
from toolkit.tracking import deliverability

CHROMIUM = Path("/usr/bin/chromium")
LONG = "a_very_long_arm_name_that_somebody_wrote_with_all_the_details_of_the_offer_10_percent_3_days"
SENTENCE = "another arm whose name is a whole sentence, because the marketing team likes it that way"


def outcomes(arms: list[str], *, each: int = 400, order: float = 20.0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    arm = np.repeat(arms, each)
    converted = rng.random(len(arm)) < 0.1 + 0.01 * np.repeat(np.arange(len(arms)), each)
    days = np.where(rng.random(len(arm)) < 0.6, rng.exponential(9, len(arm)), np.nan)
    return pd.DataFrame(
        {
            "arm": arm,
            "converted": converted,
            "revenue": np.where(converted, rng.gamma(2, order / 2, len(arm)), 0.0),
            "days": np.where(days <= 28, days, np.nan),
        }
    )


METRICS = [tk.Rate("converted"), tk.Mean("revenue", currency="EUR")]


@pytest.fixture(scope="module")
def twenty() -> Result:
    arms = ["control", *(f"arm_{place:02d}" for place in range(20))]
    return tk.experiment(outcomes(arms), [*METRICS, tk.TimeTo("days", within="28d", name="came back")])


@pytest.fixture(scope="module")
def long() -> Result:
    return tk.experiment(outcomes(["control", LONG, SENTENCE]), METRICS)


def said(drawing) -> str:
    return " ".join(re.sub("<[^>]*>", " ", drawing.layout.title.text).split())


def test_titles_are_whole_beside_an_open_side_bar():
    title = "discount and reminder are surely better than control on converted orders"
    subtitle = "15 scenarios · hours of each customer's own clock, 6 January to 5 May 2025 · surely different"
    made, room = say(title, subtitle, "observed")
    lines = [(line, re.sub("<[^>]*>", "", line)) for line in made["text"].split("<br>")]
    assert room == title_room(lines)
    widths = [text_width(words, 12.5) if "12.5px" in line else 1.08 * text_width(words, 17) for line, words in lines]
    assert max(widths) < 590 - 12


def test_a_legend_stands_below_the_title_as_high_as_the_picture_is(shop_run, shop_log):
    for drawing in (
        shop_run.plot(),
        shop_run.plot(show="own", scenario="abandoned_cart"),
        deliverability(shop_log).plot(),
    ):
        legend, height = drawing.layout.legend, drawing.layout.height
        assert legend.yref == "container"
        assert 0 <= legend.y <= 1  # what plotly takes; anything else is the top
        assert (1 - legend.y) * height >= title_room(drawing.layout.title.text.split("<br>")) - 6 - 1e-9


def test_a_title_takes_the_colours_of_jupyters_theme_and_a_grey_elsewhere(shop_run):
    assert "color:var(--jp-content-font-color1,#717989)" in shop_run.plot().layout.title.text


@pytest.mark.parametrize("draw", [sends_by_hour, sends_by_day])
def test_fifteen_scenarios_have_no_more_colours_than_tell_apart_and_no_mail_is_lost(shop_run, draw):
    drawing = draw(shop_run)
    colours = [trace.marker.color for trace in drawing.data]
    assert len(colours) == len(set(colours)) == len(MAILS)
    assert (drawing.data[-1].name, colours[-1]) == ("9 other scenarios", OTHERS)
    assert sum(sum(trace.y) for trace in drawing.data) == (shop_run.decisions["status"] == "send").sum()
    assert min(sum(trace.y) for trace in drawing.data[:-1]) >= 1000  # those with the most mails keep their names


def test_every_arm_has_a_curve_that_looks_like_no_other(twenty: Result):
    drawing = twenty.plot(show="survival")
    lines = [trace for trace in drawing.data if trace.name]
    assert len(lines) == 21
    assert len({(line.line.color, line.line.dash) for line in lines}) == 21
    assert "of control" in said(drawing)
    assert "of 20 arms" in said(drawing)


def test_arms_at_a_look_have_colours_of_their_own(twenty: Result):
    rows = [(arm, at < bought) for arm, bought in (("control", 200), ("a", 243), ("b", 300)) for at in range(2_000)]
    looked = tk.experiment(
        pd.DataFrame(rows, columns=["arm", "converted"]), [tk.Rate("converted")], looks=Looks(planned=9_000)
    )
    a, b = boundary(looked).data[2:]
    assert a.line.color != b.line.color
    assert a.marker.color == "rgba(0,0,0,0)"  # hollow: not established
    assert b.marker.color == b.line.color


def test_a_title_counts_arms_instead_of_listing_twenty(twenty: Result):
    assert said(twenty.plot()).startswith("16 arms beat control on converted")


def test_a_long_arm_name_stands_on_two_lines_and_leaves_room_for_its_interval(long: Result):
    drawing = long.plot()
    texts = drawing.layout.yaxis.ticktext
    assert all(len(line) <= 28 for text in texts for line in text.split("<br>"))
    assert list(drawing.layout.yaxis.tickvals) == [LONG, SENTENCE]


def test_very_large_money_has_no_cents_and_room_beside_the_plot():
    found = tk.experiment(
        outcomes(["control", "mail"], each=3_000, order=9e12), [tk.Mean("revenue", currency="JPY")], control="control"
    )
    assert re.search(r"[+−][\d,]+ JPY a customer \[−?[\d,]+ JPY, −?[\d,]+ JPY\]", str(found))
    drawing = found.plot()
    words = re.sub("<[^>]*>", "", drawing.layout.annotations[0].text.split("<br>")[1])
    assert drawing.layout.margin.r > 6 * len(words)


def test_scenarios_whose_long_names_begin_alike_stay_apart(shop_log):
    name = "reactivation_of_customers_who_have_not_bought_since_last_{}"
    text = "{{scenario: {}, trigger: {{event: sign_up}}, reentry: once, steps: [{{id: hello, send: a/b}}]}}"
    two = [loads(text.format(name.format(season))).scenarios[0] for season in ("spring", "summer")]
    program = loads(text.format("other")).replace(scenarios=tuple(two))
    grid = tk.replay(program, shop_log).overlap().plot()
    assert len(set(grid.data[0].y)) == 2
    assert all(len(line) <= 28 for text in grid.layout.yaxis.ticktext for line in text.split("<br>"))


def test_names_that_differ_at_their_ends_alone_are_told_apart_where_they_are_cut():
    arms = [f"a_reminder_with_an_offer_of_{place:02d}" for place in range(12)]
    result = tk.experiment(outcomes(["control", *arms]), METRICS[:1])
    drawn = re.findall(r"<text[^>]*>([^<]*)</text></g>", forest_svg(result, width=330))
    assert len({one for one in drawn if one.startswith("a_remind")}) == 12
    assert len({label_lines(f"{arm}_and_then_nothing_else_{arm}", most=1) for arm in arms}) == 12


def test_of_many_scenarios_an_overlap_names_columns_by_the_numbers_beside_its_rows(shop_run):
    overlap = shop_run.overlap()
    drawing = overlap.plot()
    rows = drawing.layout.yaxis.ticktext
    assert [int(text.rsplit(" · ")[1]) for text in rows] == list(range(1, len(overlap.people) + 1))
    columns = dict(zip(drawing.layout.xaxis.ticktext, drawing.layout.xaxis.tickvals, strict=True))
    assert columns == {str(at): drawing.data[0].x[at - 1] for at in (1, 5, 10, 15)}
    assert "numbers" not in (drawing.layout.xaxis2.title.text or "")  # seven have room for their names


def test_a_difference_is_told_as_mails_that_were_gained_and_lost(shop_run, shop_program, shop_log):
    fewer = shop_program.replace(scenarios=tuple(s for s in shop_program.scenarios if s.scenario != "refund"))
    assert re.match(r"\d+ mails lost", said(shop_run.diff(tk.replay(fewer, shop_log)).plot()))


def test_a_score_is_not_praised_for_mailing_nearly_everybody():
    rng = np.random.default_rng(2)
    treated, moved = rng.random(4_000) < 0.5, rng.random(4_000) < 0.5
    found = qini(rng.random(4_000) < 0.1 + 0.2 * (treated & moved), treated, moved + 0.1 * rng.random(4_000), draws=60)
    assert "mailing the best" not in said(found.plot())


def test_a_report_tells_the_first_findings_and_folds_the_rest(twenty: Result, tmp_path):
    text = twenty.report(tmp_path / "twenty.html").read_text(encoding="utf-8")
    verdict = text[text.index('<div class="verdict good">') :].partition("</div>")[0]
    shown, _, rest = verdict.partition("<details>")
    assert shown.count('class="finding"') == 8
    assert f"and {rest.count('<p>')} more findings" in rest
    assert 'class="action"' in rest.partition("</details>")[2]
    advised = twenty.verdict().advised
    first = text.partition('<div class="cards">')[2].split('class="what">')[2]
    assert first.startswith(f"{advised} on converted")


def test_a_reports_verdict_has_the_colour_of_what_it_advises(twenty: Result, long: Result, tmp_path):
    pages = [one.report(tmp_path / "x.html").read_text(encoding="utf-8") for one in (twenty, long)]
    assert [re.search(r'<div class="(verdict[^"]*)">', page)[1] for page in pages] == ["verdict good", "verdict"]


def test_money_in_the_lift_table_has_its_currency(long: Result, tmp_path):
    text = long.report(tmp_path / "x.html").read_text(encoding="utf-8")
    row = re.findall(r"<tr><td[^>]*>revenue</td>(.*?)</tr>", text)[0]
    control, arm = re.findall(r"<td[^>]*>([^<]*)</td>", row)[3:5]
    assert control.startswith("€")
    assert arm.startswith("€")


def test_settings_are_named_as_on_the_screens(shop_program, shop_log):
    over = {"abandoned_cart.pause.wait": ["1h", "4h"], "policies.caps[0].limit": [1, 3]}
    drawing = tk.sweep(shop_program, shop_log, over, progress=False).plot()
    assert (drawing.layout.xaxis.title.text, drawing.layout.yaxis.title.text) == ("wait (pause)", "cap")


def test_a_title_in_a_report_is_text_of_the_page_and_says_what_the_figure_said(shop_run):
    drawing = shop_run.plot(show="not_sent")
    text = figure_html(drawing, "x")
    told = re.search(r'<div class="said"><h3>(.*?)</h3><p class=soft><b>exact</b>(.*?)</p>', text)
    assert re.sub("<[^>]*>", "", told[1] + told[2]).split() == said(drawing).replace("exact", "", 1).split()
    assert '"title":{"text"' not in text.partition("Plotly.newPlot")[2].split('"xaxis"')[0]
    assert drawing.layout.title.text  # the figure itself keeps its own


_LONG_NAMES = """
scenario: reactivation_of_customers_who_have_not_bought_since_last_winter
trigger: {event: cart_add}
reentry: every
exit_on: [{event: purchase}]
experiment:
  name: x1
  arms: {control: 0.4, a_very_long_arm_name_of_the_offer_with_ten_percent_and_3_days_xx: 0.3, other: 0.3}
  holdout: control
steps:
  - {id: pause, wait: 1h}
  - {id: the_first_reminder_about_everything_that_is_still_in_the_cart, send: cart/reminder}
"""


@pytest.fixture(scope="module")
def pages(shop_run, shop_log, twenty, long, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    both = page("x", "".join(figure_html(draw(shop_run), draw.__name__) for draw in (sends_by_hour, sends_by_day)))
    (folder / "both.html").write_text(both, encoding="utf-8")
    return [
        report(shop_run, result=long, path=folder / "long.html"),
        report(tk.replay(loads(_LONG_NAMES), shop_log), path=folder / "long_names.html"),
        long.report(folder / "long_result.html"),
        twenty.report(folder / "twenty.html"),
        folder / "both.html",
    ]


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium")
def test_no_name_pushes_a_report_out_of_the_window_and_no_legend_covers_a_title(pages):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page()
        for path in pages:
            opened.goto(path.as_uri())
            opened.wait_for_selector(".main-svg")
            for width in (1440, 900, 400):
                opened.set_viewport_size({"width": width, "height": 900})
                opened.wait_for_timeout(500)
                assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path.name, width)
                assert opened.evaluate(_OUT_OF_ITS_CARD) == [], (path.name, width)
                if width > 400 or path.name == "both.html":  # a phone scrolls the legend of twenty arms
                    assert opened.evaluate(_COVERED) == [], (path.name, width)
                if width == 1440:
                    assert opened.evaluate(_HIDDEN_COLUMNS) == [], path.name
        browser.close()


_OUT_OF_ITS_CARD = """() => [...document.querySelectorAll(".cards > div, .verdict")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText)"""
_HIDDEN_COLUMNS = """() => [...document.querySelectorAll(".panel:not(.figure)")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText)"""
_COVERED = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((plot) => {
  const legend = plot.querySelector(".legend")?.getBoundingClientRect();
  const area = plot.querySelector(".nsewdrag")?.getBoundingClientRect();
  const said = plot.closest(".figure").querySelector(".said").getBoundingClientRect();
  const isCovering = legend && (legend.top < said.bottom - 1 || legend.bottom > area.top + 30 || legend.height < 10);
  return isCovering ? [plot.id] : [];
})"""
