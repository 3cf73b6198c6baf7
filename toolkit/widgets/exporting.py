"""A notebook as one page that opens without a kernel and without a network: its screens stand as snapshots."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor, Preprocessor
from plotly.io import to_html

from toolkit.charts.style import CONFIG
from toolkit.errors import InputError
from toolkit.widgets.server import without_widgets

__all__ = ["Standing", "notebook_page"]

_PLOTLY = "application/vnd.plotly.v1+json"
# Paper does not scroll.
_ON_PAPER = (
    "<style>@media print { .jp-OutputArea-output { overflow: visible !important; } "
    ".jp-Cell pre { white-space: pre-wrap !important; overflow-wrap: anywhere; } tr { break-inside: avoid; } }</style>"
)
_FROM_AFAR = re.compile(
    r'<script\b[^>]*\bsrc="https?:[^"]*"[^>]*>\s*</script>|<script type="module">.*?</script>', re.DOTALL
)
_SECONDS = 600


class Standing(Preprocessor):
    """Has nbconvert show the snapshot of every screen, and plotly's pictures with plotly.js in the page, once."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """The notebook as it is to be exported, changed in place."""
        without_widgets(nb)
        nb.metadata.pop("widgets", None)
        pictures = (
            output.data for cell in nb.cells for output in cell.get("outputs", ()) if _PLOTLY in output.get("data", {})
        )
        for number, data in enumerate(pictures):
            drawn = to_html(
                data.pop(_PLOTLY), config=CONFIG, full_html=False, include_plotlyjs=number == 0, validate=False
            )
            data["text/html"] = drawn
        return nb, resources


def notebook_page(notebook: Path, *, run: bool = False) -> str:
    """A notebook as an HTML page that asks nothing of the network.

    Args:
        notebook: a saved notebook.
        run: run its cells first, in its own folder; the file stays as it is.

    Returns:
        The page, with code, words and outputs.

    Raises:
        InputError: not a notebook, one without outputs where it is not to be run, or a cell that fails.
    """
    try:
        found = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.ValidationError) as fault:
        raise InputError(f"{notebook}: is no notebook that can be read: {fault}") from fault
    if run:
        try:
            quiet = ["--IPKernelApp.log_level=ERROR"]  # or it warns of its own port on this machine
            runner = ExecutePreprocessor(timeout=_SECONDS, extra_arguments=quiet)  # type: ignore[no-untyped-call]
            runner.preprocess(found, {"metadata": {"path": str(notebook.parent)}})
        except CellExecutionError as fault:
            raise InputError(f"{notebook}: a cell fails: {fault.ename}: {fault.evalue}") from fault
    elif not any(cell.get("outputs") for cell in found.cells):
        raise InputError(f"{notebook}: has no outputs to show; run and save it in JupyterLab first, or add --run")
    exporter = HTMLExporter(preprocessors=[Standing])  # type: ignore[no-untyped-call]
    resources = {"metadata": {"name": notebook.stem, "path": str(notebook.parent)}}
    page: str = exporter.from_notebook_node(found, resources=resources)[0]
    return _FROM_AFAR.sub("", page).replace("</head>", f"{_ON_PAPER}</head>", 1)
