"""The command `toolkit`: the same public functions from a shell. One file for each kind of command."""

from __future__ import annotations

import sys

import typer

from toolkit.cli.app import COMMANDS, app
from toolkit.errors import nearest

__all__ = ["app", "main"]


def main() -> None:
    """Enter from the shell; an unknown command names the nearest."""
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-") and sys.argv[1] not in COMMANDS:
        near = nearest(sys.argv[1], list(COMMANDS))
        typer.echo(
            f"no command {sys.argv[1]!r}; there are: {', '.join(COMMANDS)}"
            + (f"; did you mean {near!r}?" if near else ""),
            err=True,
        )
        raise SystemExit(2)
    app()
