"""An error of the toolkit in a cell shows its message and the cell; all else is one word away."""

from __future__ import annotations

import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

import toolkit as tk

TRY = """
from toolkit.scenario import loads

def reading(text):
    return loads(text)
"""
WRONG = "found = 1\nreading('scenario: cart\\ntriger: 1')"


def _shown(*cells: str) -> list[str]:
    """What the error of each cell shows, without its colours; "" of a cell that has none."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    told = []
    for cell in notebook.cells:
        errors = [output for output in cell.outputs if output.output_type == "error"]
        told.append(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(errors[0].traceback)) if errors else "")
    return told


def test_a_notebook_shows_the_message_first_then_the_cell_and_the_rest_when_asked() -> None:
    _, short, whole, again, other, verbose = _shown(TRY, WRONG, "%tb", WRONG, "1 / 0", "%xmode Verbose\n" + WRONG)
    lines = short.splitlines()
    assert lines[0] == "ScenarioError: 4 faults"
    assert lines[4].startswith("  line 2: triger: unknown key")
    after = lines[lines.index("") :]
    assert after == [
        "",
        "Cell In[2], line 2",
        r"    reading('scenario: cart\ntriger: 1')",
        "",
        "Cell In[1], line 4",
        "    return loads(text)",
        "",
        "%tb shows where in the toolkit it was raised.",
    ]
    assert "Traceback (most recent call last)" in whole
    assert "toolkit/scenario/reading.py" in whole
    assert again.replace("In[4]", "In[2]") == short
    assert "Traceback (most recent call last)" in other
    assert "toolkit/scenario/reading.py" in verbose


def test_plain_python_shows_its_own_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", TRY + WRONG], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert "toolkit/scenario/reading.py" in done.stderr
    assert "toolkit.errors.ScenarioError: 4 faults" in done.stderr


def test_a_name_of_a_room_is_said_to_be_there() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'own_purchases'; it is in toolkit\.engine$"):
        tk.own_purchases  # noqa: B018 - to ask for it is the test
    with pytest.raises(AttributeError, match=r"no attribute 'Tuner'; it is in toolkit\.widgets$"):
        tk.Tuner  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'simulat'; did you mean 'simulate'\?$"):
        tk.simulat  # noqa: B018


def test_a_name_that_is_none_is_hinted_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import toolkit; toolkit.lod"], capture_output=True, text=True, check=False
    )
    assert done.stderr.endswith("has no attribute 'lod'; did you mean 'load'?\n")
