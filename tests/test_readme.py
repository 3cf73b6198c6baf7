"""What README shows is what the code prints."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import RESULTS
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


def test_the_times_of_the_readme_are_those_that_were_measured() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    told = re.findall(r"^\|.*\| ([\d.]+) s \| ([\d.]+) s: .* \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(told) == 7
    for found in told:
        assert any(_rounds(row, found) for row in rows), found
    exact = re.search(r"exact answer within (\d+) ms\s+on a million events and (\d+) ms on ten million", text)
    assert exact
    named = {row["name"]: row for row in rows}
    assert [round(named[name]["p95_ms"]) for name in ("slider_1m", "slider_10m")] == [
        int(one) for one in exact.groups()
    ]


def _rounds(row: dict[str, float], told: tuple[str, ...]) -> bool:
    """Whether the times and the ratio of a benchmark are these, to the digits that are told."""
    measured = [row["ours_s"], row["peer_s"], row["ratio"]]
    if None in measured:
        return False
    return [f"{value:.{len(text.partition('.')[2])}f}" for value, text in zip(measured, told, strict=True)] == [*told]
