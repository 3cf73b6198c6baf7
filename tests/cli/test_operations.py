"""The page for whoever runs this for good: its commands and options are those of the shell, and its procedures hold."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from tests.shared import ROOT
from toolkit.cli import app
from toolkit.sending import Ledger

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"```(?:console|ini)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = sorted({line.split("#")[0].strip() for line in re.findall(r"\btoolkit ([a-z].*)", BLOCKS)})


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.startswith("-")])
def test_every_command_of_the_page_has_the_options_that_it_shows(command):
    words = shlex.split(command.partition(">")[0])
    name = words[: 2 if words[0] in ("audit", "keys", "ledger", "suppressions") else 1]
    shown = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert [word for word in words if word.startswith("--") and word not in shown.output] == []


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 (the shell) is not installed")
def test_a_backup_is_whole_while_the_ledger_is_written_to(tmp_path):
    (command,) = re.findall(r"^(sqlite3 ledger\.sqlite \"\.backup .*)$", PAGE, re.MULTILINE)
    (tmp_path / "backup").mkdir()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.suppressions.add("ana@example.org", by="ben")
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
        ledger.suppressions.add("bo@example.org", by="ben")
    with Ledger.open(tmp_path / "backup" / "ledger.sqlite") as backup:
        assert backup.verify() == ()
        assert backup.suppressions.table["address"].tolist() == ["ana@example.org"]
