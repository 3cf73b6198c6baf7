"""A notebook as a page: no kernel, no network, and a picture wherever there was a screen."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from plotly.offline import get_plotlyjs
from typer.testing import CliRunner

from tests.shared import ROOT
from toolkit.cli import app
from toolkit.errors import InputError
from toolkit.tracking import deliverability
from toolkit.widgets import LogProfile
from toolkit.widgets.exporting import notebook_page


def written(folder, *shown):
    """A saved notebook with a cell for each thing that was shown."""
    cells = [
        nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output("display_data", data=data)]) for data in shown
    ]
    path = folder / "seen.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_page_shows_screens_as_snapshots_and_pictures_with_one_plotly_and_asks_nobody(log, tmp_path):
    bundle = LogProfile(log)._repr_mimebundle_()
    screen = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in screen
    picture = {"application/vnd.plotly.v1+json": json.loads(deliverability(log).plot().to_json())}
    page = notebook_page(written(tmp_path, screen, picture, picture))
    assert "Your log" in page
    assert "widget-view" not in page
    assert page.replace(get_plotlyjs(), "").count("Plotly.newPlot(") == 2
    assert page.count("* plotly.js v") == 1
    assert re.findall(r'<script[^>]*src=|from "https?:|import\("https?:', page) == []


def test_a_notebook_that_was_never_run_is_refused_and_says_what_to_do():
    with pytest.raises(InputError, match="has no outputs to show; run and save it in JupyterLab first, or add --run"):
        notebook_page(ROOT / "notebooks" / "05_win_back.ipynb")


def test_the_shell_writes_the_page_beside_the_notebook_and_runs_it_where_asked(tmp_path):
    path = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 7")]), path)
    ran = CliRunner().invoke(app, ["export", str(path), "--run"])
    assert ran.exit_code == 0, ran.output
    assert "<pre>42</pre>" in (tmp_path / "small.html").read_text(encoding="utf-8")
    assert not any(cell.outputs for cell in nbformat.read(path, as_version=4).cells)


def test_a_cell_that_fails_is_named_with_its_fault(tmp_path):
    path = tmp_path / "wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(InputError, match="a cell fails: ZeroDivisionError: division by zero"):
        notebook_page(path, run=True)
