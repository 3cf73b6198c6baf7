"""The notebooks in a real JupyterLab, in a real Chromium: run, dragged, edited, signed, sent, stopped, reloaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest

from tests.notebooks.lab import CHROMIUM, ROOT, Desk, browser, desk, jupyter
from toolkit.charts.style import money

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium"),
]

TUNE, SEND = "notebooks/02_tune_delays_and_offers.ipynb", "notebooks/06_approve_and_send.ipynb"
OTHERS = [
    path.name
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not path.name.startswith(("00_start", "02", "06"))
]
WAIT, DISCOUNT = "input[aria-label='Wait before the mail']", "input[aria-label='Discount in the offer']"
EXACT, ESTIMATE = ".ttk-tuner[data-state='exact']", ".ttk-tuner[data-state='estimate']"
BARS = ".ttk-tuner .ttk-figure:not([hidden]) path[class^=ttk]"
KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
HEIGHTS = f"() => [...document.querySelectorAll('{BARS}')].map((one) => one.getAttribute('d'))"
REMINDER = "document.querySelector('[data-act=step][data-value=reminder]').getAttribute('aria-label')"
BODIES = "() => [...document.querySelectorAll('section.ttk:not(.ttk-tuner) .ttk-body')].map((one) => one.innerText)"
SLOW = """
import time
class Slow:
    # The outbox, a mail at a time and slowly, so that there is something to stop.
    def __init__(self, inner): self.inner = inner
    name = property(lambda self: self.inner.name)
    at_once = 1
    rehearsal = True
    ledger = property(lambda self: self.inner.ledger)
    def deliver(self, mails, start):
        for mail in mails:
            time.sleep(0.15)
            yield from self.inner.deliver(iter([mail]), start)
    def find(self, decision_ids): return self.inner.find(decision_ids)
    def __getattr__(self, name): return getattr(self.inner, name)
console._way = Slow(console._opened)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return desk(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def lab(folder) -> Iterator[Desk]:
    """A page on a JupyterLab, opened as `make lab` does."""
    pytest.importorskip("playwright.sync_api")
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    try:
        with jupyter(folder) as address, browser(address) as page:
            yield page
    finally:
        os.environ.pop("XDG_CONFIG_HOME")
        if before is not None:
            os.environ["XDG_CONFIG_HOME"] = before


@pytest.fixture(scope="module")
def tuned(lab) -> Desk:
    """The tuning notebook, run once."""
    lab.open(TUNE)
    lab.run_all()
    lab.page.wait_for_selector(EXACT)
    return lab


@pytest.fixture
def at_a_day(tuned) -> Desk:
    """The tuning notebook at a wait of a day, which was chosen on the map."""
    tuned.page.locator("[data-act=cell][aria-label^='1d, 15%']").click()
    tuned.page.wait_for_function(f"() => document.querySelector(\"{WAIT}\").getAttribute('aria-valuetext') === '1 d'")
    assert _text(tuned, DISCOUNT) == "15%"
    tuned.page.wait_for_selector(EXACT)
    return tuned


@pytest.fixture(scope="module")
def version(tuned, folder) -> Path:
    """A version that was saved with a wait of a day."""
    tuned.page.locator("[data-act=cell][aria-label^='1d, 15%']").click()
    tuned.page.wait_for_function(f"() => document.querySelector(\"{WAIT}\").getAttribute('aria-valuetext') === '1 d'")
    tuned.page.wait_for_selector(EXACT)
    tuned.page.get_by_role("button", name="Save as a version").click()
    tuned.page.get_by_text("Saved as versions/abandoned_cart_v1.yaml").wait_for()
    return folder / "notebooks/versions/abandoned_cart_v1.yaml"


@pytest.fixture(scope="module")
def twice(tuned) -> Desk:
    """The tuner shown a second time, and its wait moved to the end."""
    tuned.cell("tuner", run=False)
    tuned.page.evaluate(
        """() => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.widgets.find((cell) => cell.model.id === "value").model.sharedModel.setSource("tuner");
        }"""
    )
    tuned.cell("value")
    tuned.page.locator(".ttk-tuner").nth(1).wait_for()
    tuned.page.locator(WAIT).first.focus()
    tuned.page.keyboard.press("Home")
    tuned.page.wait_for_function(
        "(slider) => [...document.querySelectorAll(slider)].every((one) => one.value === '0')", arg=WAIT
    )
    return tuned


@pytest.fixture(scope="module")
def restarted(twice) -> Desk:
    """The tuning notebook after its kernel was restarted in the middle of a move."""
    twice.page.locator(WAIT).first.focus()
    twice.page.keyboard.press("ArrowRight")
    twice.page.evaluate(
        "async () => await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    twice.page.locator(".ttk-gone", has_text="run its cell again").first.wait_for()
    twice.page.wait_for_function(
        """() => [...document.querySelectorAll("section.ttk")].every((screen) =>
          screen.querySelector(".ttk-gone:not([hidden])")
          && [...screen.querySelectorAll("button, input, select")].every((one) => one.disabled))"""
    )
    return twice


@pytest.fixture(scope="module")
def reloaded(restarted) -> Desk:
    """That notebook, saved and loaded again."""
    _reload(restarted)
    return restarted


@pytest.fixture
def on_one_thread(lab) -> Desk:
    """The tuning notebook, run once more, its moves handled by the thread that runs cells.

    JupyterLab has another thread handle them as soon as the kernel has started it; no interrupt reaches that one.
    """
    lab.close()
    lab.open(TUNE)
    lab.page.evaluate(f"() => {{ {KERNEL}.commsOverSubshells = 'disabled' }}")
    lab.run_all()
    lab.page.wait_for_selector(EXACT)
    return lab


@pytest.fixture(scope="module")
def sending(lab, version) -> Desk:
    """The sending notebook, run once, after a version was saved in the tuning notebook."""
    lab.close()
    lab.open(SEND)
    lab.run_all()
    lab.page.get_by_text("Waiting for a signature").wait_for()
    return lab


@pytest.fixture(scope="module")
def signed(sending) -> Desk:
    """The sending notebook, its batch signed."""
    sending.page.get_by_role("button", name="Samples", exact=True).click()
    sending.page.locator("figure iframe").first.wait_for()
    sending.page.get_by_label("Your name").fill("ana")
    sending.page.get_by_label("I have looked at the samples").check()
    sending.page.get_by_role("button", name=re.compile(r"^Sign for \d+ mails$")).click()
    sending.page.get_by_text("Signed by ana.").wait_for()
    return sending


def _reload(lab: Desk) -> None:
    """Save the notebook and load its page again."""
    lab.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    lab.page.reload()


def _places(lab: Desk, slider: str) -> tuple[dict[str, float], float, float]:
    track = lab.page.locator(slider)
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    low, high = float(track.get_attribute("min")), float(track.get_attribute("max"))
    return box, low, high


def _drag(lab: Desk, slider: str, share: float, *, release: bool = True) -> None:
    """Take the thumb and move it, as a hand does, to a share of the track."""
    box, low, high = _places(lab, slider)
    now = (float(lab.page.locator(slider).input_value()) - low) / (high - low)
    at = [box["x"] + 8 + place * (box["width"] - 16) for place in (now, share)]
    lab.page.mouse.move(at[0], box["y"] + box["height"] / 2)
    lab.page.mouse.down()
    lab.page.mouse.move(at[1], box["y"] + box["height"] / 2, steps=12)
    if release:
        lab.page.mouse.up()


def _text(lab: Desk, slider: str) -> str:
    return str(lab.page.locator(slider).first.get_attribute("aria-valuetext"))


def _card(lab: Desk, name: str) -> str:
    return lab.page.locator(".ttk-tuner .ttk-card", has_text=name).locator("strong").inner_text()


# --- tuning -----------------------------------------------------------------------------------------------------------


def test_the_tuning_notebook_runs_and_no_banner_shows(tuned):
    assert tuned.output_errors() == []
    assert tuned.banners() == []
    assert tuned.errors == []


def test_every_control_has_a_name_for_a_screen_reader(tuned):
    assert len(tuned.titles()) == 3
    assert tuned.nameless() == []
    tuned.page.evaluate("document.querySelector('[aria-label=\"Quiet hours\"]').removeAttribute('aria-label')")
    tuned.page.evaluate("document.querySelector('.ttk-stage iframe').removeAttribute('title')")
    assert [one.split()[0] for one in tuned.nameless()] == ["slider", "Iframe"]
    tuned.page.evaluate("document.querySelectorAll('input[type=range]')[4].setAttribute('aria-label', 'Quiet hours')")
    tuned.page.evaluate("document.querySelector('.ttk-stage iframe').setAttribute('title', 'the mail')")


def test_a_drag_is_drawn_as_an_estimate_and_exact_when_the_slider_is_let_go(tuned):
    bars, before = tuned.page.evaluate(HEIGHTS), _card(tuned, "Mails a week")
    _drag(tuned, WAIT, 0.73, release=False)
    tuned.page.wait_for_selector(ESTIMATE)
    assert tuned.page.evaluate(HEIGHTS) != bars
    tuned.page.mouse.up()
    tuned.page.wait_for_selector(EXACT)
    assert int(_card(tuned, "Mails a week")) < int(before)
    text = _text(tuned, WAIT).replace(" ", "")
    assert re.search(r"1\. Wait \d+ (hours|day)", tuned.cell("value"))
    tuned.ask(f"tuner.finish(); assert tuner.exact['wait'].startswith('{text[:2]}'), tuner.exact['wait']")


def test_what_is_shown_is_what_the_kernel_holds(tuned):
    week = _card(tuned, "Mails a week")
    tuned.ask(f"assert round(tuner.setting['week']) == {week}, tuner.setting['week']")


def test_the_discount_changes_money_and_nothing_else(tuned):
    bars, money = tuned.page.evaluate(HEIGHTS), _card(tuned, "Discount given away")
    _drag(tuned, DISCOUNT, 1)
    assert _text(tuned, DISCOUNT) == "30%"
    tuned.page.locator(".ttk-tuner .ttk-card", has_text="Discount given away").locator(
        "strong", has_not_text=money
    ).wait_for()
    assert tuned.page.evaluate(HEIGHTS) == bars
    assert "with 30% off" in tuned.cell("value")


def test_a_cell_that_is_run_again_ends_what_its_tuner_was_computing_and_no_other_does(tuned):
    tuned.ask(
        "import time; earlier = tuner; said = dict(done=print, failed=print)\n"
        "job = earlier._jobs.start(lambda job: [job.step(0, 1) or time.sleep(0.05) for _ in range(100_000)], **said)"
    )
    tuned.cell("map")
    tuned.ask("assert job.running and not job.cancelled")
    tuned.cell("tuner")
    tuned.ask("assert tuner is not earlier and job.wait(20) and job.cancelled")
    tuned.page.wait_for_selector(EXACT)
    tuned.cell("map")  # follows the tuner that is there now


def test_every_slider_says_its_unit(tuned):
    for slider, told in (("The offer holds for", "3 d"), ("At most, per person", "3 mails in 7 d")):
        assert _text(tuned, f"input[aria-label='{slider}']") == f"{told}, as it is now"
    assert _text(tuned, "input[aria-label='Quiet hours']") == "21:00–08:00, as it is now"


def test_the_browser_writes_amounts_as_the_kernel_does(tuned):
    amounts = [
        (value, currency)
        for value in (0, -0.001, -3.02, 44.166, 99.994, -349.4, 12_345.6)
        for currency in ("EUR", "SEK")
    ]
    script = (ROOT / "toolkit" / "widgets" / "bars.js").read_text(encoding="utf-8")
    told = tuned.page.evaluate(
        f"(all) => {{ {script}\nreturn all.map(([value, currency]) => money(value, currency)); }}", amounts
    )
    assert told == [money(value, currency) for value, currency in amounts]


@pytest.mark.parametrize("name", ["The offer holds for", "At most, per person", "Quiet hours"])
def test_the_other_sliders_move_by_keys_and_become_exact(tuned, name):
    slider = f"input[aria-label='{name}']"
    before = _text(tuned, slider)
    tuned.page.locator(slider).focus()
    tuned.page.keyboard.press("Home")
    assert _text(tuned, slider) != before
    tuned.page.wait_for_selector(EXACT)


def test_keys_typed_faster_than_the_kernel_answers_all_count(tuned):
    tuned.page.locator(WAIT).focus()
    for key in ("Home", *["ArrowRight"] * 5):
        tuned.page.keyboard.press(key)
        tuned.page.wait_for_timeout(60)  # the kernel tells of earlier moves in between
    assert tuned.page.locator(WAIT).input_value() == "5"
    tuned.page.wait_for_selector(EXACT)
    tuned.ask("tuner.finish(); assert tuner.wait == tuner.surface['stops'][5]['wait'], tuner.wait")


def test_stray_keys_never_cut_a_cell(tuned):
    cells = [tuned.page.locator(kind).count() for kind in (".jp-Cell", ".jp-MarkdownCell")]
    for control in (WAIT, ".ttk-tuner summary", "button:has-text('Pin this setting')"):
        tuned.page.locator(control).focus()
        for key in ("x", "d", "d", "m", "y"):
            tuned.page.keyboard.press(key)
    assert [tuned.page.locator(kind).count() for kind in (".jp-Cell", ".jp-MarkdownCell")] == cells


def test_a_cell_of_the_map_moves_the_tuner(at_a_day):
    at_a_day.ask("tuner.finish(); assert tuner.wait == '1d' and tuner.percent == 15, (tuner.wait, tuner.percent)")


def test_a_map_is_one_stop_of_the_tab_key_and_the_arrows_go_from_cell_to_cell(at_a_day):
    tuned = at_a_day
    cells = tuned.page.locator("[data-act=cell]")
    assert cells.count() > 20
    assert tuned.page.locator("[data-act=cell][tabindex='0']").count() == 1
    tuned.page.locator("[data-act=cell][tabindex='0']").focus()
    for key in ("ArrowLeft", "ArrowDown", "Enter"):
        tuned.page.keyboard.press(key)
    tuned.page.wait_for_selector("[data-act=cell][aria-pressed='true'][aria-label^='12h, 10%']")
    assert tuned.page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("12h, 10%")
    tuned.page.wait_for_function(f"() => document.querySelector(\"{WAIT}\").getAttribute('aria-valuetext') === '12 h'")
    tuned.page.wait_for_selector(EXACT)


def test_a_version_is_saved_beside_the_notebook(version):
    assert "wait: 1d" in version.read_text(encoding="utf-8")


def test_an_error_in_a_callback_stands_on_the_screen_and_goes_with_the_next_move(tuned):
    tuned.ask("tuner.on_change(lambda value: 1 / 0)")
    tuned.page.locator(WAIT).focus()
    tuned.page.keyboard.press("ArrowRight")
    tuned.page.locator(".ttk-tuner .ttk-error").get_by_text("ZeroDivisionError").wait_for()
    tuned.ask("tuner._callbacks.clear()")
    tuned.page.keyboard.press("ArrowLeft")
    tuned.page.locator(".ttk-tuner .ttk-error").wait_for(state="hidden")


def test_a_widget_shown_twice_is_one(twice):
    assert twice.page.locator(".ttk-tuner").count() == 2
    assert twice.banners() == []


def test_a_reloaded_page_shows_where_the_sliders_stood(twice):
    _reload(twice)
    twice.page.wait_for_selector(EXACT)
    assert _text(twice, WAIT) == "no wait"
    assert twice.banners() == []


def test_after_a_kernel_restart_in_the_middle_of_a_move_no_screen_pretends_to_work(restarted):
    assert restarted.page.locator("section.ttk").count() == 4  # the tuner twice, the map, the mails


def test_a_page_reloaded_after_that_shows_snapshots(reloaded):
    reloaded.page.get_by_text("a snapshot; run the cell to move the sliders").first.wait_for()
    assert reloaded.page.locator("section.ttk:not([inert])").count() == 0
    assert reloaded.page.get_by_text("model not found").count() == 0


def test_a_notebook_opened_without_a_kernel_shows_snapshots(reloaded):
    reloaded.close()
    reloaded.page.goto(f"{reloaded.address}/doc/tree/{TUNE}")
    reloaded.page.get_by_text("a snapshot; run the cell to move the sliders").first.wait_for()
    shown = reloaded.page.locator
    assert shown("section.ttk input:not(:disabled)").count() == 0 or shown("[inert]").count() > 0


def test_a_move_that_is_interrupted_says_so_and_the_next_one_works(on_one_thread, tmp_path):
    tuned, begun = on_one_thread, tmp_path / "begun"
    tuned.ask(
        "import pathlib, threading, time; tuner.finish(); plain = tuner._field.point; tuner._field.seconds = 0.0\n"
        "def slow(*values, **named):\n"
        "    if threading.current_thread().name == 'toolkit job':\n"
        "        return plain(*values, **named)  # what is computed beside the notebook is not interrupted\n"
        "    tuner._field.point = plain\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n"
        "    time.sleep(60)\n"
        "tuner._field.point = slow"
    )
    tuned.page.locator(WAIT).first.focus()  # the notebook was saved with two
    tuned.page.keyboard.press("ArrowLeft")
    for _ in range(600):
        if begun.exists():
            break
        tuned.page.wait_for_timeout(100)
    assert begun.exists()
    tuned.page.evaluate(f"{KERNEL}.interrupt()")
    tuned.page.locator(".ttk-tuner .ttk-error:visible").first.wait_for()
    assert "The kernel was interrupted" in tuned.banners()[0]
    tuned.page.keyboard.press("ArrowLeft")
    tuned.page.locator(".ttk-tuner .ttk-error:visible").first.wait_for(state="detached")
    tuned.page.wait_for_selector(EXACT)
    assert tuned.banners() == []


# --- sending ----------------------------------------------------------------------------------------------------------


def test_the_newest_version_is_what_is_prepared(sending):
    assert sending.cell("prepare", run=False).startswith("versions/abandoned_cart_v1.yaml: ")
    assert sending.output_errors() == []
    assert sending.banners() == []


def test_names_are_hidden_until_somebody_asks(sending):
    shown = sending.cell("preview", run=False)
    assert "•••" in shown
    assert "***@" in shown
    sending.page.get_by_role("button", name="Reveal names").click()
    sending.page.get_by_role("button", name="Hide names").wait_for()
    assert "***@" not in sending.cell("preview", run=False)
    sending.page.get_by_role("button", name="Next recipient").click()
    sending.page.get_by_text(re.compile(r"^2 of \d+$")).wait_for()


def test_a_batch_is_signed(signed):
    # The button that was pressed is gone; whoever uses the keyboard is still on the desk.
    signed.page.wait_for_function("() => document.activeElement.getAttribute('aria-label') === 'Approval desk'")
    signed.page.keyboard.press("Tab")
    assert (
        signed.page.evaluate("document.activeElement.closest('section').getAttribute('aria-label')") == "Approval desk"
    )


def test_a_sending_is_paused_and_stopped_and_goes_on_and_nobody_is_mailed_twice(signed, folder):
    sending = signed
    sending.ask(SLOW)
    button = sending.page.get_by_role("button", name=re.compile(r"^Send \d+ mails$"))
    button.wait_for()
    assert button.is_disabled()
    count = int(re.sub(r"\D", "", button.inner_text()))
    sending.page.get_by_label("Number of mails").fill(str(count))
    sending.page.keyboard.press("Enter")
    sending.page.locator("button[data-act='send']:not([disabled])").click()
    sending.page.get_by_role("button", name="Pause").click()
    sending.page.get_by_text(re.compile("settled · paused")).wait_for()
    sending.page.get_by_role("button", name="Go on").click()
    # A mail has gone, so that the stop comes amid the sending and not before it.
    sending.page.get_by_text(re.compile(r"^[1-9][\d,]* of [\d,]+ settled · sending")).wait_for()
    sending.page.get_by_role("button", name="Stop", exact=True).click()
    sending.page.get_by_text(re.compile("settled · stopped")).wait_for()
    outbox = folder / "notebooks" / "outbox"
    assert 0 < len(list(outbox.rglob("*.eml"))) < count
    sending.ask("console._way = 'outbox:./outbox'")
    sending.page.get_by_role("button", name="Go on").click()
    sending.page.get_by_text(re.compile("settled · done")).wait_for()
    assert len(list(outbox.rglob("*.eml"))) == count
    sending.run_all()
    sending.page.locator(".ttk-note", has_text="nobody is mailed twice").first.wait_for()
    assert len(list(outbox.rglob("*.eml"))) == count
    assert sending.output_errors() == []
    assert sending.banners() == []


# --- the first one, with four kinds of screens ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started(lab) -> Desk:
    """The first notebook, run once."""
    lab.close()
    lab.open("notebooks/00_start_here.ipynb")
    lab.run_all()
    lab.page.wait_for_selector(EXACT)
    return lab


def _sheet(started: Desk) -> None:
    """The sheet of the pause, open."""
    if started.page.locator(".ttk-sheet").count() == 0:
        started.page.locator("[data-act=step][data-value=pause]").click()
        started.page.locator(".ttk-sheet").wait_for()


def test_a_step_is_edited_in_the_diagram_and_the_counts_follow(started):
    assert started.output_errors() == []
    before = started.page.evaluate(REMINDER)
    started.page.locator("[data-act=step][data-value=pause]").click()
    started.page.locator(".ttk-sheet input[data-act=wait]").fill("2d")
    started.page.keyboard.press("Enter")
    started.page.wait_for_function(f"(before) => {REMINDER} !== before", arg=before)
    started.ask("assert str(view.value.steps[0].wait) == '2d'")
    started.page.get_by_role("button", name="Undo").click()
    started.page.wait_for_function(f"(before) => {REMINDER} === before", arg=before)
    assert started.banners() == []


def test_a_step_is_left_by_escape_and_opened_by_enter(started):
    step = "[data-act=step][data-value=pause]"
    _sheet(started)
    started.page.locator(".ttk-sheet input[data-act=wait]").focus()
    started.page.keyboard.press("Escape")
    started.page.locator(".ttk-sheet").wait_for(state="detached")
    started.page.wait_for_function(f"() => document.activeElement === document.querySelector('{step}')")
    started.page.keyboard.press("Enter")
    started.page.locator(".ttk-sheet").wait_for()
    assert started.banners() == []


def test_no_bar_of_the_database_stands_between_the_screens(started):
    asked = "execute(\"SELECT current_setting('enable_progress_bar')\").fetchone()"
    started.ask(
        f"import duckdb; assert duckdb.connect().{asked} == (True,), 'DuckDB shows none in notebooks by itself'"
    )
    started.ask(f"assert log.cursor().{asked} == (False,)")


def test_the_pictures_of_a_log_and_of_a_timeline_fill_their_screens_on_a_desk(started):
    shares = started.page.evaluate(
        """() => [...document.querySelectorAll(".ttk-fit")].filter((one) => one.clientWidth > 760).map((one) => {
          const shown = [...one.querySelectorAll("svg")].find((picture) => picture.getClientRects().length);
          return shown.getBoundingClientRect().width / one.clientWidth;
        })"""
    )
    assert len(shares) == 2
    assert min(shares) > 0.95


def test_an_edit_that_is_not_finished_changes_nothing_and_stays_in_its_box(started):
    _sheet(started)
    box = started.page.locator(".ttk-sheet input[data-act=wait]")
    box.fill("2 dasy")
    started.page.keyboard.press("Enter")
    started.page.locator(".ttk-sheet").get_by_text("not taken").wait_for()
    assert box.input_value() == "2 dasy"
    started.ask("assert str(view.value.steps[0].wait) == '4h'")
    box.fill("2d")
    started.page.keyboard.press("Enter")
    started.page.locator(".ttk-sheet").get_by_text("not taken").wait_for(state="detached")
    started.ask("assert str(view.value.steps[0].wait) == '2d'")


def test_what_is_being_typed_stays_while_the_screen_is_drawn_anew(started):
    _sheet(started)
    box = started.page.locator(".ttk-sheet input[data-act=wait]")
    box.fill("3 d")
    for words in ("once", "twice"):
        started.ask(f"view._said = 'drawn {words}'; view.redraw()")
        started.page.get_by_text(f"drawn {words}").wait_for()
    assert box.input_value() == "3 d"
    box.fill("2d")
    started.page.keyboard.press("Enter")


def test_stray_keys_cut_no_cell_whatever_was_pressed_on_whichever_screen(started):
    cells = [started.page.locator(kind).count() for kind in (".jp-Cell", ".jp-MarkdownCell")]
    tried = 0
    for screen in started.page.locator("section.ttk").all():
        for control in ("button", "input", "select", "summary", "[tabindex='0']"):
            one = screen.locator(f"{control}:visible:not(:disabled)").first
            if one.count() == 0:
                continue
            one.focus()
            for key in ("x", "d", "d", "m"):
                started.page.keyboard.press(key)
            tried += 1
    assert tried > 8
    assert [started.page.locator(kind).count() for kind in (".jp-Cell", ".jp-MarkdownCell")] == cells


def test_every_screen_of_a_reloaded_page_shows_what_it_showed_and_what_the_kernel_holds(started):
    page = started.page
    _sheet(started)
    if page.locator(".ttk-sheet input[data-act=wait]").input_value() != "2d":
        page.locator(".ttk-sheet input[data-act=wait]").fill("2d")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Undo").and_(page.locator(":enabled")).wait_for()
    page.get_by_role("button", name="Next", exact=False).first.click()
    page.wait_for_timeout(600)
    shown = page.evaluate(BODIES)
    assert len(shown) == 3
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.reload()
    page.wait_for_selector(EXACT)
    page.wait_for_function(f"(shown) => JSON.stringify(({BODIES})()) === JSON.stringify(shown)", arg=shown)
    started.ask("assert str(view.value.steps[0].wait) == '2d'")
    started.page.locator("[data-act=step][data-value=pause]").click()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function(f"(shown) => JSON.stringify(({BODIES})()) !== JSON.stringify(shown)", arg=shown)
    started.ask("assert str(view.value.steps[0].wait) == '4h'")
    assert started.banners() == []


# --- the others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notebook", OTHERS)
def test_a_notebook_runs_and_no_banner_shows(lab, notebook):
    lab.close()
    lab.open(f"notebooks/{notebook}")
    lab.run_all()
    lab.page.wait_for_selector(".js-plotly-plot .main-svg" if notebook.startswith("08") else "section.ttk")
    assert lab.output_errors() == []
    assert lab.banners() == []
    assert lab.nameless() == []
    if lab.titles():
        assert lab.contrast() >= (4.5,)
        assert lab.too_wide() == []


def test_the_titles_of_pictures_are_broken_in_a_narrow_pane_and_nothing_of_them_is_cut(lab):
    lab.close()
    lab.open("notebooks/08_deliverability.ipynb")
    lab.run_all()
    lab.page.wait_for_selector(".js-plotly-plot .xtick text")
    heights = []
    for width in (1280, 440):
        lab.page.set_viewport_size({"width": width, "height": 900})
        lab.page.wait_for_timeout(600)
        assert lab.cut() == []
        heights.append([one.bounding_box()["height"] for one in lab.page.locator(".ttk-titled").all()])
    lab.page.set_viewport_size({"width": 1280, "height": 900})
    assert len(heights[0]) == lab.page.locator(".js-plotly-plot").count() == 3
    assert all(narrow > wide for wide, narrow in zip(*heights, strict=True))
    for title in lab.page.locator(".gtitle").all():
        assert not title.is_visible()  # it is in the figure for whoever downloads a picture


def test_in_a_narrow_pane_no_word_of_the_tuners_chart_lies_on_another(lab, folder):
    code = """import toolkit as tk
from toolkit.widgets import Tuner
Tuner(tk.load("../templates/abandoned_cart"), tk.EventLog.open("../data/shop")).chart()"""
    made = nbformat.read(folder / TUNE, as_version=4)
    made.cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(made, folder / "notebooks" / "chart.ipynb")
    lab.close()
    lab.open("notebooks/chart.ipynb")
    lab.run_all()
    lab.page.wait_for_selector(".ttk-live-chart .xtick text")
    for width in (1280, 560, 430):
        lab.page.set_viewport_size({"width": width, "height": 900})
        lab.page.wait_for_timeout(1_500)
        assert lab.page.evaluate(_ON_ANOTHER) == [], width
        assert lab.cut() == [], width
    lab.page.set_viewport_size({"width": 1280, "height": 900})


_ON_ANOTHER = """() => {
  const words = [...document.querySelectorAll(".ttk-live-chart text")].filter((one) => one.textContent.trim());
  const boxes = words.map((one) => [one.textContent, one.getBoundingClientRect()]).filter(([, box]) => box.width);
  return boxes.flatMap(([text, a], at) => boxes.slice(at + 1).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1
  ).map(([other]) => `${text} | ${other}`));
}"""


def test_a_notebook_that_jupyterlab_exports_holds_its_pictures(lab, folder):
    figure = {"data": [{"type": "bar", "y": [1, 2]}], "layout": {}}
    shown = nbformat.v4.new_output("display_data", data={"application/vnd.plotly.v1+json": figure})
    seen = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[shown])])
    nbformat.write(seen, folder / "notebooks" / "seen.ipynb")
    with urlopen(f"{lab.address}/nbconvert/html/notebooks/seen.ipynb", timeout=60) as answer:
        assert b"Plotly.newPlot(" in answer.read()


def test_nothing_was_asked_of_anyone_but_this_machine_and_no_script_failed(lab):
    if not lab.requests:
        lab.open("notebooks/00_start_here.ipynb")
    assert lab.outside == []
    assert len(lab.requests) > 100
    assert lab.errors == []
