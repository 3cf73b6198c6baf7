"""The page on making a log of a shop's tables runs, and its log goes through a scenario of the library as it is."""

from __future__ import annotations

import re

import toolkit as tk
from tests.shared import ROOT


def test_the_tables_of_the_page_become_a_log_that_the_library_replays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "your-log.md").read_text("utf-8"), re.DOTALL):
        exec(block, names)
    said = capsys.readouterr().out
    assert "6 events of 2 customers, 2 in the customers table" in said
    assert "Looks wrong" not in said
    log = tk.EventLog.open("my_log")
    assert log.has_event_ids
    run = tk.replay(tk.load(ROOT / "templates" / "abandoned_cart"), log)
    assert run.journeys["customer_id"].tolist() == ["13047"]
    assert run.notes == ()
