"""The notebook in a real JupyterLab, in a real Chromium: run, dragged, run again, reloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.notebooks.lab import CHROMIUM, Desk, browser, desk, jupyter

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium"),
]

NOTEBOOK = "notebooks/01_abandoned_cart.ipynb"
WAIT, DISCOUNT = "input[aria-label='Wait before the mail']", "input[aria-label='Discount in the offer']"
HEIGHTS = (
    "() => [...document.querySelectorAll('.ttk-figures rect[class^=ttk]')].map((one) => one.getAttribute('height'))"
)
PLOTTED = "() => document.querySelector('.ttk-live-chart').data.map((trace) => Array.from(trace.y))"


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Desk]:
    """A page on which the notebook was run once."""
    pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("lab")
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    try:
        with jupyter(desk(folder)) as address, browser(address) as page:
            page.open(NOTEBOOK)
            page.run_all()
            page.page.wait_for_selector(".ttk-live-chart .main-svg", timeout=20_000)
            yield page
    finally:
        os.environ.pop("XDG_CONFIG_HOME")
        if before is not None:
            os.environ["XDG_CONFIG_HOME"] = before


def _drag(lab: Desk, slider: str, share: float) -> None:
    """Take the thumb and move it, as a hand does, to a share of the track."""
    track = lab.page.locator(slider)
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    low, high = float(track.get_attribute("min")), float(track.get_attribute("max"))
    now = (float(track.input_value()) - low) / (high - low)
    at = [box["x"] + 8 + place * (box["width"] - 16) for place in (now, share)]
    lab.page.mouse.move(at[0], box["y"] + box["height"] / 2)
    lab.page.mouse.down()
    lab.page.mouse.move(at[1], box["y"] + box["height"] / 2, steps=12)
    lab.page.mouse.up()


def _titled(lab: Desk, words: str) -> None:
    """Wait until the plotly chart says so."""
    lab.page.locator(".ttk-live-chart .gtitle", has_text=words).wait_for(state="attached")


def _card(lab: Desk, name: str) -> str:
    return lab.page.locator(".ttk-card", has_text=name).locator("strong").inner_text()


def _ask(lab: Desk, cell: str) -> str:
    """Run one cell again and read what it prints."""
    place = lab.page.evaluate(
        """(id) => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          const place = notebook.widgets.findIndex((cell) => cell.model.id === id);
          notebook.activeCellIndex = place;
          return place;
        }""",
        cell,
    )
    lab.page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
    lab.page.wait_for_function(
        "(place) => !window.jupyterapp.shell.currentWidget.content.widgets[place].promptNode.textContent.includes('*')",
        arg=place,
    )
    return str(
        lab.page.evaluate(
            "(place) => window.jupyterapp.shell.currentWidget.content.widgets[place].outputArea.node.innerText", place
        )
    )


def test_the_notebook_runs_without_an_error_and_sends_to_the_outbox(lab):
    assert lab.output_errors() == []
    assert lab.errors == []
    assert "nobody was mailed twice" in lab.page.locator(".jp-Notebook").inner_text()


def test_dragging_the_wait_redraws_the_screen_and_the_plotly_chart_and_reaches_the_kernel(lab):
    bars, plotted, before = lab.page.evaluate(HEIGHTS), lab.page.evaluate(PLOTTED), _card(lab, "Mails a week")
    _drag(lab, WAIT, 7 / 9)
    assert lab.page.locator(".ttk-value").first.inner_text() == "1 d"
    assert lab.page.evaluate(HEIGHTS) != bars
    assert int(_card(lab, "Mails a week")) < int(before)
    lab.page.wait_for_function(f"(old) => JSON.stringify(({PLOTTED})()) !== JSON.stringify(old)", arg=plotted)
    assert "1. Wait 1 day." in _ask(lab, "value")


def test_the_plotly_chart_shows_the_same_numbers_as_the_screen(lab):
    _drag(lab, WAIT, 0)
    _titled(lab, "No wait, discount 10 %")
    mails, offers, *purchases, given = lab.page.evaluate(PLOTTED)
    week = lab.page.locator(".ttk-card", has_text="Mails a week").inner_text()
    assert f"{sum(mails) + sum(offers):,} in all" in week
    before, after = (
        lab.page.locator(".ttk-card", has_text=name).locator(".ttk-detail").inner_text().split()[0]
        for name in ("Bought before", "Bought anyway")
    )
    assert [sum(purchases[0]), sum(map(sum, purchases[1:]))] == [int(before), int(after)]
    assert f"€{given[0]:.2f}" == _card(lab, "Discount given away")


def test_dragging_the_discount_changes_money_and_nothing_else(lab):
    bars, money = lab.page.evaluate(HEIGHTS), _card(lab, "Discount given away")
    _drag(lab, DISCOUNT, 1)
    assert lab.page.locator(".ttk-value").last.inner_text() == "30 %"
    assert _card(lab, "Discount given away") != money
    assert lab.page.evaluate(HEIGHTS) == bars
    _titled(lab, "discount 30 %")
    assert "with 30 % off" in _ask(lab, "value")


def test_the_sliders_obey_the_keyboard_and_stray_keys_do_not_reach_the_notebook(lab):
    cells = lab.page.locator(".jp-Cell").count()
    slider = lab.page.locator(WAIT)
    slider.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "x", "d", "d", "m"):
        lab.page.keyboard.press(key)
    assert slider.get_attribute("aria-valuetext") == "1 h"
    assert lab.page.locator(".jp-Cell").count() == cells


def test_a_button_leads_back_to_how_it_is_now(lab):
    lab.page.get_by_role("button", name="Back to how it is now").click()
    assert lab.page.locator(WAIT).get_attribute("aria-valuetext") == "4 h, as it is now"
    assert "1. Wait 4 hours." in _ask(lab, "value")


def test_an_error_in_a_callback_stands_on_the_screen(lab):
    banner = lab.page.locator(".ttk-error")
    assert banner.is_hidden()
    lab.page.evaluate(
        """async () => {
          const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          await kernel.requestExecute({ code: "tuner.on_change(lambda value: 1 / 0)" }).done;
        }"""
    )
    _drag(lab, WAIT, 0.5)
    banner.get_by_text("ZeroDivisionError").wait_for()
    lab.page.evaluate(
        """async () => {
          const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          await kernel.requestExecute({ code: "tuner._callbacks.clear(); tuner.wait = '4h'" }).done;
        }"""
    )
    banner.wait_for(state="hidden")


def test_a_reloaded_page_shows_where_the_sliders_stood(lab):
    _drag(lab, WAIT, 1)
    assert lab.page.locator(".ttk-value").first.inner_text() == "4 d"
    lab.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    lab.page.reload()
    lab.page.wait_for_selector(".ttk-live-chart .main-svg", timeout=20_000)
    assert lab.page.locator(".ttk-value").first.inner_text() == "4 d"
    _titled(lab, "Wait 4 d")


def test_running_everything_again_mails_no_one(lab):
    lab.run_all()
    lab.page.wait_for_selector(".ttk-live-chart .main-svg", timeout=20_000)
    said = lab.page.locator(".jp-Notebook").inner_text()
    assert "Every mail due at this moment has been sent already." in said
    assert lab.output_errors() == []


def test_nothing_was_asked_of_anyone_but_this_machine(lab):
    assert lab.outside == []
    assert len(lab.requests) > 20


def test_no_script_on_the_page_failed(lab):
    assert lab.errors == []
