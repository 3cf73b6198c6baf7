"""Every example of the pages on lift runs and prints what it shows; every page is listed."""

from __future__ import annotations

import copy
import doctest
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "lift"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


def blocks(path: Path) -> list[str]:
    return re.findall(r"(?s)```python\n(.*?)```", path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shop() -> dict[str, Any]:
    """What the shop of the index page defines."""
    names: dict[str, Any] = {}
    run(blocks(FOLDER / "README.md")[-1], names, "the shop")
    return names


def run(code: str, names: dict[str, Any], called: str) -> None:
    test = doctest.DocTestParser().get_doctest(code, names, called, None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert runner.failures == 0, "".join(said)
    assert test.examples


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_examples_of_a_page_print_what_they_show(page: Path, shop: dict[str, Any]) -> None:
    for code in blocks(page):
        run(code, {**shop, "rng": copy.deepcopy(shop["rng"])}, page.stem)


def test_the_sentence_of_the_index_runs_and_every_page_is_listed(shop: dict[str, Any]) -> None:
    run(blocks(FOLDER / "README.md")[0], dict(shop), "index")
    listed = set(re.findall(r"\((\S+)\.md\)", (FOLDER / "README.md").read_text(encoding="utf-8")))
    assert listed == {page.stem for page in PAGES}
    assert len(PAGES) >= 13
