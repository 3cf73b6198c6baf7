"""The examples of docs/replay-at-size.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import toolkit as tk

ROOT = Path(__file__).parents[1]


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "replay-at-size.md").read_text(encoding="utf-8")
    names = {
        "tk": tk,
        "program": tk.load(ROOT / "templates" / "abandoned_cart"),
        "log": tk.EventLog.open(ROOT / "data" / "shop"),
    }
    monkeypatch.chdir(tmp_path)
    names["log"].events.tail(100).drop(columns="received_at").to_parquet("today.parquet")
    whole = tk.replay(names["program"], names["log"]).digest
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block, names)
    assert "is a selection" in capsys.readouterr().out
    assert len(names["tried"].table) == 3
    assert len(names["run"].decisions) > 0
    assert names["run"].digest == whole
    (part,) = names["run"].parts()
    assert part.digest == names["run"].digest
