"""The report: one file, whole or not at all, that asks nothing of the network."""

from __future__ import annotations

import importlib
import itertools
import re
import time
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

import toolkit as tk
from toolkit.charts import report
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import loads

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def written(shop_run, shop_program, shop_log, tmp_path_factory) -> Path:
    waits = {"abandoned_cart.pause.wait": ["1h", "4h", "1d"]}
    outcomes = tk.measure(shop_run, scenario="abandoned_cart")
    metrics = [tk.Rate("converted"), tk.Mean("revenue", covariate="pre_revenue", currency="EUR")]
    return report(
        shop_run,
        sweep=tk.sweep(shop_program, shop_log, waits, progress=False),
        result=tk.experiment(outcomes, metrics),
        trace=shop_run.trace(shop_run.decisions.query("step == 'offer'")["customer_id"].iloc[0]),
        path=tmp_path_factory.mktemp("report") / "report.html",
    )


def _words(path: Path) -> str:
    """What stands on the page, without plotly and the style sheet."""
    return re.sub(r"(?s)<(script|style).*?</\1>", "", path.read_text(encoding="utf-8"))


def test_the_report_says_in_words_what_the_program_would_have_done(written, shop_run):
    sent = int((shop_run.decisions["status"] == "send").sum())
    people = shop_run.decisions.query("status == 'send'")["customer_id"].nunique()
    words = _words(written)
    assert f"it would have sent {sent:,} mails to {people:,} people" in words
    assert "Roll out" in words
    for chapter in ("When mails leave", "Who would have bought anyway", "What another setting would do", "story"):
        assert chapter in words
    assert words.count('class="chip exact"') >= 4
    assert words.count('class="chip observed"') >= 4


def test_a_screen_reader_finds_its_way_by_headings_and_columns(written):
    words = _words(written)
    levels = [int(level) for level in re.findall(r"<h([1-6])", words)]
    assert levels[0] == 1
    assert not [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1]
    assert words.count("<th ") == words.count("<th scope=col") > 10


def test_the_report_carries_plotly_once_and_forbids_itself_every_request(written):
    text = written.read_text(encoding="utf-8")
    assert text.count("plotly.js v") == 1
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", _words(written))


def test_a_report_of_a_replay_alone_is_a_report(shop_run, tmp_path):
    words = _words(report(shop_run, path=str(tmp_path / "plain.html")))
    assert "What the experiment showed" not in words
    assert "When mails leave" in words


def test_a_report_over_a_log_in_which_nothing_happens_says_so(cart_program, tmp_path):
    events = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"], "revenue": [1.0]})
    run = tk.replay(cart_program, EventLog.from_pandas(events))
    assert "it would have sent 0 mails to 0 people" in _words(report(run, path=tmp_path / "nothing.html"))


def test_a_report_says_first_that_the_trigger_never_happens(shop_log, tmp_path):
    wrong = loads("scenario: s\ntrigger: {event: cart_ad}\nreentry: once\nsteps: [{send: s/mail}]")
    words = unescape(_words(report(tk.replay(wrong, shop_log), path=tmp_path / "wrong.html")))
    assert words.index("the log has no event 'cart_ad'; did you mean 'cart_add'?") < words.index("it would have sent 0")


def test_words_from_the_log_cannot_break_out_of_the_page(cart_program, tmp_path):
    name = "<img src=x onerror=alert(1)>"
    events = pd.DataFrame({"customer_id": [name], "event": ["cart_add"], "at": ["2025-03-03T10:00Z"], "revenue": [1.0]})
    run = tk.replay(cart_program, EventLog.from_pandas(events))
    text = report(run, trace=run.trace(name), path=tmp_path / "hostile.html").read_text(encoding="utf-8")
    assert "<img src=x" not in re.sub(r"(?s)^.*</style>\n<script>.*?</script>", "", text)


def test_nothing_half_written_is_left_where_the_report_cannot_stand(shop_run, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        report(shop_run, path=tmp_path / "nowhere" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        report(shop_run, path=tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_new_report_takes_the_place_of_the_older_one(shop_run, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("older", encoding="utf-8")
    assert report(shop_run, path=path) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_opens_the_report_without_asking_anyone(written, scheme):
    playwright = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    asked, wrong = [], []
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        page = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 900}).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(written.as_uri())
        page.wait_for_selector("#lift .main-svg")
        page.wait_for_timeout(300)
        clipped = page.evaluate(_CLIPPED)
        page.set_viewport_size({"width": 390, "height": 844})  # a phone
        page.wait_for_timeout(600)
        clipped += page.evaluate(_CLIPPED)
        drawn = page.locator(".js-plotly-plot .main-svg:first-child").count()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        browser.close()
    assert asked == [written.as_uri()]
    assert wrong == []
    assert drawn == 7
    assert clipped == []
    assert wide <= 0


_CLIPPED = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((plot) => {
  const frame = plot.getBoundingClientRect();
  return [...plot.querySelectorAll("text")]
    .filter((text) => text.textContent.trim() && text.getClientRects().length)
    .map((text) => [plot.id, text.textContent, text.getBoundingClientRect()])
    .filter(([, , box]) => box.width && (box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1))
    .map(([id, text]) => `${id}: ${text}`);
})"""


@pytest.mark.parametrize("progress", [True, False])
def test_a_report_that_takes_long_shows_how_far_it_is(monkeypatch, capsys, shop_run, tmp_path, progress):
    monkeypatch.setattr(importlib.import_module("toolkit.charts.report"), "_mails", lambda run: time.sleep(0.6) or [])
    report(shop_run, path=tmp_path / "report.html", progress=progress)
    assert ("report: " in capsys.readouterr().err) == progress


def test_what_is_no_replay_is_told(tmp_path):
    with pytest.raises(InputError, match=r"run: found str; allowed: what tk\.replay gives"):
        report("a replay", path=tmp_path / "report.html")
