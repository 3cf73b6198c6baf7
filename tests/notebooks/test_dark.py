"""The same in JupyterLab's dark theme, and all of it again without code, in Voilà."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebooks.lab import CHROMIUM, Desk, chromium, desk, free_port, jupyter, page_of, wait_for
from toolkit.cli.apps import app_command, jupyter_environment

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium"),
]

WAIT = "input[aria-label='Wait before the mail']"
EXACT = ".ttk-tuner[data-state='exact']"
FIRST_CARD = ".ttk-tuner .ttk-card strong"


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    """One Chromium for both servers: a second one cannot be opened beside it."""
    pytest.importorskip("playwright.sync_api")
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def dark(tmp_path_factory, opened) -> Iterator[Desk]:
    folder = desk(tmp_path_factory.mktemp("dark"))
    with jupyter(folder, theme="dark") as address:
        page = page_of(opened, address, theme="dark")
        page.open("notebooks/00_start_here.ipynb")
        page.run_all()
        page.page.wait_for_selector(EXACT)
        yield page


def test_words_can_be_read_on_the_dark_page(dark):
    assert dark.page.evaluate("document.body.dataset.jpThemeLight") == "false"
    assert dark.contrast() >= (4.5,)


def test_every_screen_works_in_the_dark(dark):
    dark.page.locator(WAIT).focus()
    dark.page.keyboard.press("End")
    dark.page.wait_for_selector(EXACT)
    assert dark.page.locator("section.ttk").count() == 4
    assert dark.banners() == []
    assert dark.output_errors() == []
    assert dark.errors == []
    assert dark.outside == []


def test_a_batch_is_signed_and_sent_in_the_dark(dark):
    dark.close()
    dark.open("notebooks/06_approve_and_send.ipynb")
    dark.run_all()
    page = dark.page
    page.get_by_label("Your name").fill("ana")
    page.get_by_role("button", name="Samples", exact=True).click()
    page.get_by_label("I have looked at the samples").check()
    page.get_by_role("button", name=re.compile(r"^Sign for \d+ mails$")).click()
    page.get_by_text("Signed by ana.").wait_for()
    assert dark.contrast() >= (4.5,)
    count = re.sub(r"\D", "", page.get_by_role("button", name=re.compile(r"^Send \d+ mails$")).inner_text())
    page.get_by_label("Number of mails").fill(count)
    page.keyboard.press("Enter")
    page.locator("button[data-act='send']:not([disabled])").click()
    page.get_by_text(re.compile("settled · done")).wait_for()
    assert f"{count} mails are in the outbox" in dark.cell("report")
    assert dark.banners() == []
    assert dark.outside == []


def test_words_of_a_picture_can_be_read_on_a_dark_page_without_any_screen(dark):
    dark.close()
    dark.open("notebooks/08_deliverability.ipynb")
    dark.run_all()
    dark.page.wait_for_selector(".js-plotly-plot .xtick text")
    assert dark.page.locator("section.ttk").count() == 0
    assert dark.contrast(of_pictures=True) >= (4.5,)


@pytest.fixture(scope="module")
def app(tmp_path_factory, opened) -> Iterator[Desk]:
    """The tuning notebook as an app, as `toolkit app notebooks/02…` shows it."""
    pytest.importorskip("voila")
    folder = desk(tmp_path_factory.mktemp("app"))
    port = free_port()
    with (folder / "voila.log").open("wb") as log:
        server = subprocess.Popen(
            app_command(folder / "notebooks" / "02_tune_delays_and_offers.ipynb", port=port, open_browser=False),
            cwd=folder,
            env={**jupyter_environment(), "IPYTHONDIR": str(folder / "ipython")},
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/voila/static/main.js", server, folder / "voila.log", any_answer=True)
            page = page_of(opened, address)
            page.page.goto(address, timeout=180_000)
            page.page.wait_for_selector(EXACT, timeout=180_000)
            yield page
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def test_the_app_shows_no_code_and_its_sliders_work(app):
    assert app.page.get_by_text("import toolkit").count() == 0
    assert app.page.get_by_role("heading", name="Tune delays and offers").count() == 1
    before = app.page.locator(FIRST_CARD).first.inner_text()
    app.page.locator(WAIT).focus()
    app.page.keyboard.press("End")
    app.page.wait_for_function(
        "([card, exact, before]) => document.querySelector(card).innerText !== before && document.querySelector(exact)",
        arg=[FIRST_CARD, EXACT, before],
    )
    assert app.banners() == []


def test_the_app_fits_a_phone(app):
    app.page.set_viewport_size({"width": 390, "height": 844})
    app.page.wait_for_timeout(500)
    assert app.page.evaluate("document.scrollingElement.scrollWidth") <= 390
    assert app.too_wide() == []
    for slider in app.page.locator("section.ttk input[type=range]").all():
        assert slider.bounding_box()["width"] > 150
    app.page.set_viewport_size({"width": 1280, "height": 900})


def test_the_app_asks_nothing_of_anyone_but_this_machine(app):
    assert app.outside == []
    assert app.errors == []
