"""The command itself, and how it says what is wrong: one line a person can mend, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from toolkit.errors import ToolkitError

__all__ = ["app", "plain_errors"]

app = typer.Typer(
    help="Automated e-mail: replay, tune, measure, approve and send triggered mails.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@contextmanager
def plain_errors() -> Iterator[None]:
    """A person at a shell gets the message of an error they can mend, not a traceback."""
    try:
        yield
    except ToolkitError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from None
