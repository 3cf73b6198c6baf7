"""The notebooks: told once, kept without outputs, and safe to run again."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.lab import ROOT, desk

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def _code(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_a_notebook_is_kept_without_outputs_and_without_the_state_of_widgets(notebook):
    nbformat.validate(notebook)
    assert not [
        cell.id for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)
    ]
    assert "widgets" not in notebook.metadata


def test_a_notebook_defines_no_function_and_no_class(notebook):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    found = [node for code in _code(notebook) for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]
    assert not found


def test_every_code_cell_is_led_in_by_words(notebook):
    kinds = [cell.cell_type for cell in notebook.cells]
    alone = [place for place, kind in enumerate(kinds) if kind == "code" and kinds[place - 1] != "markdown"]
    assert not alone


def _text(cell) -> str:
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ())
    )


def test_the_abandoned_cart_runs_through_and_a_second_run_mails_no_one(tmp_path, monkeypatch):
    folder = desk(tmp_path) / "notebooks"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    path = folder / "01_abandoned_cart.ipynb"
    said = []
    for _ in range(2):
        ran = NotebookClient(
            nbformat.read(path, as_version=4), timeout=180, resources={"metadata": {"path": str(folder)}}
        ).execute()
        outputs = [output for cell in ran.cells for output in cell.get("outputs", ())]
        assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
        said.append({cell.id: _text(cell) for cell in ran.cells if cell.cell_type == "code"})
    first, second = said
    mails = len(list((folder / "outbox").rglob("*.eml")))
    assert mails > 0
    assert f"sent {mails}, already sent 0" in first["send"]
    assert f"sent 0, already sent {mails}" in first["again"]
    assert "nobody was mailed twice" in first["again"]
    assert "sent 0" in second["send"]
    assert re.search(r"Roll out discount\.", first["lift"])
    assert first["tuner"].startswith("Tuner(abandoned cart: wait 4h, discount 10 %)")
    assert first["replay"] == second["replay"]
