"""Screens of long names and many arms: nothing runs over anything else, and what matters comes first."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from tests.notebooks.lab import _TOO_WIDE
from toolkit.charts import themed
from toolkit.charts.experiments import forest_svg
from toolkit.errors import ScenarioError
from toolkit.scenario import loads
from toolkit.widgets import ExperimentBoard, ExperimentDesigner, LogProfile, ScenarioView, TraceView, Tuner

CHROMIUM = Path("/usr/bin/chromium")
ARM = "a_very_long_arm_name_of_the_offer_with_ten_percent_and_3_days_xx"
OWN = f"""
scenario: win_back
trigger: {{event: cart_add}}
reentry: every
exit_on: [{{event: purchase}}]
goal: {{event: purchase, within: 7d}}
experiment: {{name: x1, arms: {{control: 0.4, {ARM}: 0.3, other: 0.3}}, holdout: control}}
steps:
  - {{id: a_first_pause, wait: 1h}}
  - {{id: hello, send: win_back/hello}}
  - {{id: second_pause, wait: 1d}}
  - {{id: gift, send: win_back/gift, offer: {{percent: 10, valid: 2d}}, only: [{ARM}, other]}}
"""


def result_of(arms: list[str]):
    rng = np.random.default_rng(1)
    arm = np.repeat(arms, 400)
    converted = rng.random(len(arm)) < 0.1 + 0.01 * np.repeat(np.arange(len(arms)), 400)
    return tk.experiment(pd.DataFrame({"arm": arm, "converted": converted}), [tk.Rate("converted")])


def places(view: str) -> dict[str, tuple[float, float]]:
    """Where each text of a picture stands."""
    found = re.findall(r'<text[^>]*?x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]*)</text>', view)
    return {text: (float(x), float(y)) for x, y, text in found}


def test_a_tuner_finds_the_wait_and_the_offer_of_a_program_of_any_name(log):
    tuner = Tuner(loads(OWN), log)
    assert tuner.paths == ("win_back.a_first_pause.wait", "win_back.gift.offer.percent")
    assert (tuner.wait, tuner.percent) == ("1h", 10.0)
    bare = loads("{scenario: hi, trigger: {event: sign_up}, reentry: once, steps: [{id: hello, send: a/b}]}")
    with pytest.raises(ScenarioError, match="no scenario with a goal has a wait"):
        Tuner(bare, log)


def test_a_series_of_nine_mails_shows_every_mail_in_seven_colours(log):
    steps = ", ".join(f"{{id: pause{at}, wait: 1h}}, {{id: mail{at}, send: a/b{at}}}" for at in range(9))
    program = loads(
        "{scenario: series, trigger: {event: cart_add}, reentry: every, goal: {event: purchase, within: 7d}, "
        f"steps: [{steps}]}}"
    )
    tuner = Tuner(program, log)
    drawn = [trace for trace in tuner.figure().data if trace.name in {f"mail{at}" for at in range(9)}]
    assert len(drawn) == 9
    here = next(one for one in tuner.surface["settings"] if one["wait"] == tuner.wait)
    hours = tuner.snapshot().partition("<b>Mails by hour")[2]
    for picture in hours.split("<svg")[1:]:
        bars = sum(line.count("M") for line in re.findall(r'<path d="([^"]*)" fill="#', picture))
        assert bars == sum(1 for layer in here["hours"] for count in layer if count) > 7 * 24
    script, sheet = (Path(tk.__file__).parent / "widgets" / name for name in ("tuner.js", "panel.css"))
    styles = re.findall(r"\.ttk-mail-(\d) \{ fill: ([^;]*);", sheet.read_text(encoding="utf-8"))
    assert [int(number) for number, _ in styles] == list(range(7))
    assert len({colour for _, colour in styles}) == 7
    assert "ttk-mail-${number % 7}" in script.read_text(encoding="utf-8")


def test_a_long_arm_name_stands_below_what_leaves_and_within_its_step(log):
    told = places(ScenarioView(loads(OWN), log).view)
    leave = next(place for text, place in told.items() if text == "before a mail")
    named = next(place for text, place in told.items() if text.startswith("a_very") and text.endswith("30%"))
    assert named[1] - leave[1] >= 12
    only = [(text, place) for text, place in told.items() if text.startswith("only ")]
    assert re.fullmatch("only a_ver.*….*_xx", only[0][0])
    assert only[1][0] == "only other"
    assert only[1][1][1] - only[0][1][1] >= 12  # one below the other


def test_a_board_of_twenty_arms_shows_the_advised_arm_first_and_folds_its_findings():
    result = result_of(["control", *(f"arm_{place:02d}" for place in range(20))])
    board = ExperimentBoard(result)
    advised = result.verdict().advised
    cards = re.findall(r'<span class="ttk-what">([^<]*)</span>', board.view)
    assert cards[0] == f"{advised}, converted"
    shown, _, rest = board.view.partition("<details>")
    findings = shown.partition('class="ttk-verdict"')[2]
    assert findings.count("<p>") == 8
    assert findings.partition("<p>")[2].startswith(f"{advised} beats control")
    assert re.search(
        rf"<p>{advised} beats \d+ of the \d+ others that beat control, on converted; between it and ", findings
    )
    assert "and 13 more findings" in rest
    few = ExperimentBoard(result_of(["control", "a", "b"]))
    assert re.findall(r'<span class="ttk-what">([^<]*)</span>', few.view)[:2] == ["a, converted", "b, converted"]


def test_the_designer_tells_many_arms_in_short(log):
    shares = ", ".join(f"arm_{at}: 0.1" for at in range(9))
    many = OWN.replace("control: 0.4", "control: 0.1").replace(f"{ARM}: 0.3, other: 0.3", shares)
    view = ExperimentDesigner(tk.replay(loads(many.replace(f"only: [{ARM}, other]", "only: [arm_1]")), log)).view
    told = re.search(r"control ([\d,]+), 9 other arms ([\d,]+) each", view)
    assert told is not None
    assert told[1] == told[2]


def test_a_name_that_is_cut_in_the_picture_can_be_read_by_pointing_at_it():
    drawn = forest_svg(result_of(["control", ARM * 2]))
    assert f"<title>{ARM * 2}</title>" in drawn
    assert ARM in forest_svg(result_of(["control", ARM]), width=1200)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium")
def test_long_names_stay_inside_their_screens(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    board = ExperimentBoard(result_of(["control", ARM + ARM, "b"]))
    place = tmp_path / "board.html"
    place.write_text(f"<!doctype html><meta charset='utf-8'><body>{board.snapshot()}</body>", encoding="utf-8")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(place.as_uri())
        for width in (1200, 900, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(_TOO_WIDE) == [], width
            assert page.evaluate(_OVER) == 0, width
        browser.close()


_OVER = """() => [...document.querySelectorAll(".ttk-card, .ttk-hero")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).length"""


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium")
def test_pictures_keep_the_size_of_their_words_at_every_width_and_cut_none(program, log, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    run = tk.replay(program, log)
    screens = [
        LogProfile(log),
        TraceView(run, "c01919"),
        ExperimentDesigner(run),
        ExperimentBoard(result_of(["control", ARM, "b"])),
        Tuner(program, log),
    ]
    with playwright.sync_playwright() as run_:
        browser = run_.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for screen in screens:
            page.set_content(f"<!doctype html><meta charset='utf-8'><body>{screen.snapshot()}</body>")
            for width in (330, 420, 560, 760, 1000, 1240, 1600):
                page.set_viewport_size({"width": width, "height": 900})
                shown, smallest, outside = page.evaluate(_PICTURES)
                assert set(shown) == {1}, (screen, width, shown)
                assert smallest >= 10, (screen, width)
                assert outside == [], (screen, width)
        browser.close()


# Of pictures at several widths: how many of each are shown, the smallest words, and the words that leave their screen.
_PICTURES = """() => {
  const shown = [...document.querySelectorAll(".ttk-fit")]
    .map((one) => [...one.children].filter((child) => child.offsetParent).length);
  const words = [...document.querySelectorAll(".ttk-fit text")].filter((one) => one.getClientRects().length);
  const size = (one) => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a;
  const edge = document.querySelector(".ttk").getBoundingClientRect();
  const outside = words.filter((one) => {
    const box = one.getBoundingClientRect();
    return box.left < edge.left || box.right > edge.right;
  });
  return [shown, Math.min(...words.map(size)), outside.map((one) => one.textContent)];
}"""


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium")
def test_paper_which_does_not_scroll_shows_a_wide_diagram_and_a_wide_table_whole(program, log, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    summary = tk.replay(program, log).summary()
    both = ScenarioView(program, log).snapshot() + summary._repr_html_()
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 720, "height": 900})
        page.set_content(f"<!doctype html><meta charset='utf-8'><body>{both}</body>")
        hidden = (
            "() => [...document.querySelectorAll('.ttk-scroller, .tk-table')]"
            ".filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.className)"
        )
        assert page.evaluate(hidden) == ["ttk-scroller", "tk-table"]  # on a screen they scroll
        page.emulate_media(media="print")
        assert page.evaluate(hidden) == []
        browser.close()


def test_what_a_picture_of_plotly_brings_for_its_title_styles_no_part_of_a_screen():
    folder = Path(themed.__file__).parents[1] / "widgets"
    screens = "".join(
        path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix in (".py", ".js", ".css")
    )
    brought = set(re.findall(r"\.(ttk-[\w-]+)", themed._SHEET % (1, 1)))
    assert len(brought) == 2
    assert [one for one in brought if re.search(rf"\b{one}\b", screens)] == []
