"""What README shows is what the code prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.shared import ROOT

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def test_the_chain_of_the_readme_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("data", "templates"):  # but not the outbox, to which `make demo` may have sent these very mails
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    compared = 0
    for (language, code), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        if following == "text":
            assert printed.getvalue().strip("\n") == shown.strip("\n")
            compared += 1
    assert compared == 4


def test_the_scenario_of_the_readme_is_the_shipped_one() -> None:
    shown = next(
        code for language, code in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if language == "yaml"
    )
    assert shown in (ROOT / "templates/abandoned_cart/scenario.yaml").read_text(encoding="utf-8")


def test_every_file_the_readme_links_to_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not (ROOT / link).exists()]
    assert not missing
