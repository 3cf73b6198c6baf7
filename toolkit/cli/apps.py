"""Commands about notebooks: lab opens them, app shows one without its code, export makes a page of one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.errors import InputError, nearest, shown

__all__ = ["app_command", "jupyter_environment", "lab_command"]

_JUPYTER = Path(__file__).parents[1] / "widgets" / "jupyter"
_FIRST = "notebooks/00_start_here.ipynb"


def jupyter_environment() -> dict[str, str]:
    """The environment in which Jupyter finds the toolkit's settings, beside a person's own."""

    def before(name: str, path: Path) -> str:
        return os.pathsep.join(filter(None, [str(path), os.environ.get(name, "")]))

    return {
        **os.environ,
        "JUPYTER_CONFIG_PATH": before("JUPYTER_CONFIG_PATH", _JUPYTER / "config"),
        "JUPYTER_PATH": before("JUPYTER_PATH", _JUPYTER / "share"),
    }


def lab_command(folder: Path, notebook: str, *, port: int | None = None, open_browser: bool = True) -> list[str]:
    """The words that start JupyterLab on a folder, at a notebook in it."""
    return [
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"),
        *(f"--LabApp.app_settings_dir={_JUPYTER / 'settings'}", f"--LabApp.default_url=/lab/tree/{notebook}"),
        *_served(port, open_browser),
        # In a container everything runs as root; elsewhere nobody should.
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]


def app_command(
    notebook: Path, *, port: int | None = None, theme: str = "light", open_browser: bool = True
) -> list[str]:
    """The words that show a notebook as an app without code."""
    return [
        *(sys.executable, "-m", "voila", str(notebook), "--VoilaConfiguration.template=toolkit"),
        *(f"--VoilaConfiguration.theme={theme}", "--VoilaConfiguration.show_tracebacks=True"),
        *_served(port, open_browser),
    ]


def _served(port: int | None, open_browser: bool) -> list[str]:
    return [
        *([f"--port={port}"] if port is not None else []),
        *([] if open_browser else ["--no-browser"]),
    ]


PortOption = Annotated[int | None, typer.Option(help="Port on this machine; a free one unless given.")]
BrowserOption = Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")]


@app.command("lab")
def lab(
    notebook: Annotated[Path, typer.Argument(help="The notebook to open.")] = Path(_FIRST),
    port: PortOption = None,
    browser: BrowserOption = True,
) -> None:
    """JupyterLab on the notebooks, with the toolkit's settings: no news, no stray keys, quick answers."""
    with plain_errors():
        _there(notebook)
        folder = Path.cwd() if not notebook.is_absolute() else notebook.parent
        place = notebook.as_posix() if not notebook.is_absolute() else notebook.name
        raise typer.Exit(_run(lab_command(folder, place, port=port, open_browser=browser)))


@app.command("app")
def show_app(
    notebook: Annotated[Path, typer.Argument(help="The notebook to show, such as notebooks/02_….ipynb.")],
    port: PortOption = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    browser: BrowserOption = True,
) -> None:
    """A notebook as an app without code, in the browser; works offline. Needs Voilà (the extra "app")."""
    with plain_errors():
        _there(notebook)
        if theme not in ("light", "dark"):
            raise InputError(f"--theme: found {shown(theme)}; allowed: light, dark")
        if importlib.util.find_spec("voila") is None:
            raise InputError("toolkit app needs Voilà; install it with: pip install 'trigger-toolkit[app]'")
        raise typer.Exit(_run(app_command(notebook, port=port, theme=theme, open_browser=browser)))


@app.command("export")
def export(
    notebook: Annotated[Path, typer.Argument(help="A saved notebook, such as notebooks/05_….ipynb.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The page to write; beside the notebook unless given.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Run its cells first.")] = False,
) -> None:
    """A notebook as one HTML page to send on or print: no kernel, no network; screens stand as snapshots."""
    # nbconvert and plotly take a while to load.
    from toolkit.charts.pages import write_page  # noqa: PLC0415
    from toolkit.widgets.exporting import notebook_page  # noqa: PLC0415

    with plain_errors():
        _there(notebook)
        written = write_page(to or notebook.with_suffix(".html"), notebook_page(notebook, run=run))
        typer.echo(f"{written}: open it in any browser")


def _there(notebook: Path) -> None:
    if notebook.is_file():
        return
    near = nearest(notebook.name, [one.name for one in notebook.parent.glob("*.ipynb")])
    raise InputError(f"no such notebook: {notebook}" + (f"; did you mean {notebook.parent / near}?" if near else ""))


def _run(words: list[str]) -> int:
    try:
        return subprocess.run(words, env=jupyter_environment(), check=False).returncode
    except KeyboardInterrupt:
        return 0
