"""What docs/mails.md says of the mails is so."""

import re
from pathlib import Path

import pytest
from PIL import Image

from toolkit.mail import Templates
from toolkit.mail.rules import RULES
from toolkit.scenario.models import Program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mails.md").read_text(encoding="utf-8")


def test_the_example_runs_and_shows_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/mails.md", "exec"), names)
    mail = names["mail"]
    assert mail.preview(customer={"first_name": "Zoé"}).mail.subject == "Zoé, your basket is still here"


def test_every_finding_of_the_preflight_stands_in_the_table() -> None:
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (error|warning) \|", PAGE, re.MULTILINE))
    assert rows == {name.replace("_", " "): rule.severity for name, rule in RULES.items()}


def test_every_scenario_and_mail_of_the_library_stands_in_the_table(
    library: Templates, library_program: Program
) -> None:
    rows = dict(re.findall(r"^\| (\w+) \| ([\w, ]+) \| .+\|$", PAGE, re.MULTILINE))
    for scenario in library_program.scenarios:
        mails = [name.partition("/")[2] for name in library.names if name.startswith(f"{scenario.scenario}/")]
        assert sorted(rows[scenario.scenario].split(", ")) == mails
    assert f"{len(library.names)} mails" in PAGE.replace("Twenty", "20")


def test_the_pictures_are_there_and_small() -> None:
    files = [ROOT / "docs" / name for name in re.findall(r"\]\((images/[\w.]+)\)", PAGE)]
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 1_500_000
    for file in files:
        with Image.open(file) as picture:
            assert picture.width > 600
