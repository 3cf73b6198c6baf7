"""Commands about a ledger as a whole: ledger reconcile, move, reopen."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.cli.ledgers import ByOption, LedgerOption
from toolkit.cli.logs import LogOptions, read_log, with_log_options
from toolkit.sending import move_ledger, reconcile, reopen_ledger

__all__: list[str] = []

ledgers = typer.Typer(
    help="A ledger as a whole: moved to another place, or put back from a backup.",
    no_args_is_help=True,
)
app.add_typer(ledgers, name="ledger")

YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without, only look.")]


@ledgers.command("reconcile")
@with_log_options
def reconcile_command(
    ledger: LedgerOption,
    by: ByOption,
    forget: Annotated[
        bool, typer.Option("--forget", help="Take the ledger as it is: what left since goes again where it is due.")
    ] = False,
    yes: YesOption = False,
    events: Annotated[
        str | None, typer.Option("--events", help="The log, whose customers have addresses; the answers hold none.")
    ] = None,
    *,
    reading: LogOptions,
) -> None:
    """Write down in a ledger that was put back from a backup what left since, so that it may be sent from again."""
    with plain_errors():
        log = None if events is None else read_log(events, reading)
        typer.echo(str(reconcile(ledger, by=by, log=log, yes=yes, forget=forget, progress=sys.stderr.isatty())))


@ledgers.command("move")
def move_command(
    source: Annotated[str, typer.Argument(help="Path or URL of the ledger.")],
    target: Annotated[str, typer.Argument(help="Path or URL of the place it is moved to, which is empty.")],
    by: ByOption,
) -> None:
    """Move a ledger with its answers and its key, from a file to PostgreSQL or back; the old one is closed."""
    with plain_errors():
        typer.echo(str(move_ledger(source, target, by=by, progress=sys.stderr.isatty())))


@ledgers.command("reopen")
def reopen_command(
    ledger: Annotated[str, typer.Argument(help="Path or URL of the old ledger.")],
    by: ByOption,
) -> None:
    """Take back a move after which nothing was sent: the old ledger may be sent from again."""
    with plain_errors():
        reopen_ledger(ledger, by=by)
        typer.echo(f"{ledger}: may be sent from again; delete the new one")
