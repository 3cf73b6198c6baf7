"""The examples of docs/sending.md run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for name in ("data", "templates"):
        (tmp_path / name).symlink_to(ROOT / name)
    page = (ROOT / "docs" / "sending.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    said = capsys.readouterr().out
    assert "due at 2025-05-05 12:00 UTC" in said
    assert "nobody was mailed twice" in said
    assert "done" in said
