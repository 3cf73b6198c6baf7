"""Commands about a ledger as a whole: ledger reconcile."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.cli.ledgers import ByOption, LedgerOption
from toolkit.sending import reconcile

__all__: list[str] = []

ledgers = typer.Typer(
    help="A ledger that was put back from a backup, brought to terms with what left since.", no_args_is_help=True
)
app.add_typer(ledgers, name="ledger")

YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without, only look.")]


@ledgers.command("reconcile")
def reconcile_command(ledger: LedgerOption, by: ByOption, yes: YesOption = False) -> None:
    """Write down in a ledger that was put back from a backup what left since, so that it may be sent from again."""
    with plain_errors():
        typer.echo(str(reconcile(ledger, by=by, yes=yes, progress=sys.stderr.isatty())))
