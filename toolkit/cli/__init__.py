"""The command `toolkit`: the same public functions from a shell. One file for each kind of command."""

from __future__ import annotations

import sys

import typer

from toolkit.cli.app import COMMANDS, app
from toolkit.errors import did_you_mean, shown

__all__ = ["app", "main"]


def main() -> None:
    """Enter from the shell; an unknown command names the nearest."""
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-") and sys.argv[1] not in COMMANDS:
        typer.echo(
            f"no command {shown(sys.argv[1])}; there are: {', '.join(COMMANDS)}"
            + did_you_mean(sys.argv[1], list(COMMANDS)),
            err=True,
        )
        raise SystemExit(2)
    app()
