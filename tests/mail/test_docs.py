"""What docs/mails.md says of the mails is so."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from toolkit.mail import Templates, preflight
from toolkit.mail.rules import RULES
from toolkit.scenario import load
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


def test_the_german_words_make_german_mails_of_both_parts_that_pass_the_preflight(tmp_path: Path) -> None:
    brand, cart = re.findall(r"```text\n(.*?)```", PAGE[PAGE.index("This is `brand/words.de.txt`") :], re.DOTALL)
    for name, words in (("brand", brand), ("abandoned_cart", cart)):
        ignored = shutil.ignore_patterns("words.*")
        shutil.copytree(ROOT / "templates" / name, tmp_path / name, ignore=ignored)
        (tmp_path / name / "words.de.txt").write_text(words, encoding="utf-8")
    policies = (ROOT / "templates" / "policies.yaml").read_text(encoding="utf-8").replace("locale: en", "locale: de")
    legal = "  imprint: https://shop.example.com/imprint\n  colours:"
    (tmp_path / "policies.yaml").write_text(policies.replace("  colours:", legal), encoding="utf-8")
    program = load(tmp_path)
    mails = Templates.load(tmp_path, program.policies)
    letters = [mails.sample(name, locale="de_DE") for name in mails.names]
    assert preflight(mails, letters, program=program).findings == ()
    shown = mails.preview("abandoned_cart")
    assert "Not written in" not in str(shown)
    assert "Ana, Ihr Warenkorb wartet noch" in str(shown)
    offer, reminder = map(mails.render, letters)
    assert (reminder.subject, offer.subject) == (
        "Ana, Ihr Warenkorb wartet noch",
        "Ihr Warenkorb, mit 10\u00a0% Rabatt",
    )
    for part in (
        "129,00\u00a0€",
        "116,10\u00a0€",
        "Samstag, 14. März",
        "https://shop.example.com/imprint",
        "Impressum",
    ):
        assert part in offer.text
        assert part in offer.html
    assert "Entscheidungs\u00adhilfe" in offer.html
    assert "Entscheidungshilfe" in offer.text


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
