"""The tuner over ten million events, in JupyterLab and Chromium: a hand that moves on drops what it had asked for."""

from __future__ import annotations

import json

import pytest

from tests.notebooks.lab import CHROMIUM, browser, jupyter
from toolkit.simulation import generate_events

pytestmark = [
    pytest.mark.browser,
    pytest.mark.soak,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium"),
]

CELL = """
from benchmarks.slider_page import show
tuner = show("events.parquet")
"""
NOTED = """
tuner.finish()
asked, start = [], tuner._jobs.start
def noted(*work, **called):
    asked.append(start(*work, **called))
    return asked[-1]
tuner._jobs.start = noted
"""
TWICE = """async () => {
  const slider = document.querySelector(".ttk-tuner input[type=range]");
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const move = (place) => {
    slider.value = place;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    slider.dispatchEvent(new Event("change", { bubbles: true }));
  };
  move(5);
  await rest(60);
  move(9);
  await rest(60);
  move(6);
}"""


def test_at_ten_million_events_a_second_drag_cancels_what_the_first_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("playwright.sync_api")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    generate_events(10_000_000, tmp_path / "events.parquet", customers=500_000, seed=1)
    cell = {"cell_type": "code", "id": "page", "metadata": {}, "source": CELL, "execution_count": None, "outputs": []}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "large.ipynb").write_text(json.dumps(notebook))
    with jupyter(tmp_path) as address, browser(address, height=1400) as lab:
        lab.page.set_default_timeout(600_000)
        lab.open("large.ipynb")
        lab.run_all()
        lab.page.wait_for_selector(".ttk-tuner[data-state='exact']")
        lab.ask(NOTED)
        lab.page.evaluate(TWICE)
        lab.page.wait_for_timeout(300)  # the hand rests
        lab.page.wait_for_selector(".ttk-tuner[data-state='exact']")
        lab.ask(
            "tuner.finish(600)\n"
            "assert len(asked) >= 2, asked\n"
            "assert all(job.cancelled for job in asked[:-1]), [job.cancelled for job in asked]\n"
            "assert not asked[-1].cancelled\n"
            "assert tuner.exact['wait'] == tuner.wait == tuner.surface['stops'][6]['wait'], tuner.wait"
        )
        shown = lab.page.locator(".ttk-tuner .ttk-card", has_text="Mails a week").locator("strong").inner_text()
        lab.ask(f"assert f\"{{tuner.exact['week']:,.0f}}\" == {shown!r}, tuner.exact['week']")
        assert lab.banners() == [] == lab.errors
