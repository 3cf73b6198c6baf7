"""The command `toolkit`: the same public functions from a shell. One file for each kind of command."""

from __future__ import annotations

import sys

import typer

from toolkit.cli import apps, erasing, logs, mails, sending, tracking
from toolkit.cli.app import app
from toolkit.errors import nearest

__all__ = ["app", "main"]

COMMANDS = (apps, logs, mails, sending, tracking, erasing)
"""Modules whose commands are registered with `app` when they are loaded."""


def main() -> None:
    """Enter from the shell; an unknown command names the nearest."""
    names = [
        command.name or (command.callback.__name__ if command.callback else "") for command in app.registered_commands
    ] + [group.name or "" for group in app.registered_groups]
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-") and sys.argv[1] not in names:
        near = nearest(sys.argv[1], names)
        typer.echo(
            f"no command {sys.argv[1]!r}; there are: {', '.join(names)}"
            + (f"; did you mean {near!r}?" if near else ""),
            err=True,
        )
        raise SystemExit(2)
    app()
