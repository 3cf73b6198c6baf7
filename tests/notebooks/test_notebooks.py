"""The notebooks: told once, kept without outputs, and safe to run again."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

from tests.notebooks.lab import COMPILING, ROOT, desk

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_every_picture_of_the_docs_is_made_by_a_script():
    scripts = [ROOT / "tests" / "notebooks" / "picture.py", ROOT / "tests" / "mail" / "contact_sheet.py"]
    names = set(re.findall(r'"(\w+)(?:\.png)?"', "".join(one.read_text(encoding="utf-8") for one in scripts)))
    assert [one.name for one in (ROOT / "docs" / "images").glob("*.png") if one.stem not in names] == []


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


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[tuple[KernelManager, Path]]:
    """One kernel for all notebooks, in a folder of its own."""
    folder = desk(tmp_path_factory.mktemp("desk")) / "notebooks"
    manager = KernelManager()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython")}
    environment["XDG_CONFIG_HOME"] = str(folder / ".config")
    manager.start_kernel(cwd=str(folder), env=environment)
    yield manager, folder
    manager.shutdown_kernel(now=True)


def _run(kernel: tuple[KernelManager, Path], name: str) -> dict[str, str]:
    """Run a notebook in the kernel, and read what its cells say."""
    manager, folder = kernel
    notebook = nbformat.read(folder / name, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, km=manager, timeout=240)
    try:
        ran = client.execute()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
    outputs = [output for cell in ran.cells for output in cell.get("outputs", ())]
    told = [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not [one for one in told if not one.get("text", "").startswith(COMPILING)]
    return {cell.id: _text(cell) for cell in ran.cells if cell.cell_type == "code"}


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_a_notebook_runs_from_the_first_cell_to_the_last(kernel, name):
    said = _run(kernel, name)
    assert any(said.values())


def test_running_the_cells_of_the_sending_notebook_sends_nothing(kernel):
    said = _run(kernel, "06_approve_and_send.ipynb")
    assert "mails are due" in said["prepare"]
    assert "Nothing has been sent from this screen since its cell was run." in said["report"]
    assert not list((kernel[1] / "outbox").rglob("*.eml"))
