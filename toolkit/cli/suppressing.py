"""The commands about the suppression list of a ledger: add, import, remove, show, export."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.cli.ledgers import ByOption, LedgerOption, WhyOption, opened_ledger
from toolkit.readable import counted
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.suppression import address_hash

__all__: list[str] = []

suppressions = typer.Typer(help="Who gets no mail, whatever is approved.", no_args_is_help=True)
app.add_typer(suppressions, name="suppressions")

AddressArgument = Annotated[str, typer.Argument(help="The address, or the SHA-256 of it in small letters.")]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        "--reason",
        help="unsubscribed or complaint (what people ordered still goes), hard_bounce, manual or imported (nothing).",
    ),
]
ScopeOption = Annotated[
    str | None, typer.Option("--scope", help="all, or marketing: transactional mail still goes. By the reason.")
]


@suppressions.command("add")
def add(
    address: AddressArgument,
    ledger: LedgerOption,
    by: ByOption,
    reason: ReasonOption = None,
    scope: ScopeOption = None,
) -> None:
    """Put an address on the list, for every batch from now on, those approved before included."""
    with plain_errors():
        _say_where_made(ledger)
        with Ledger.open(ledger) as opened:
            new = opened.suppressions.add(address, by=by, reason=reason or "manual", scope=scope)
            typer.echo(f"{address}: {'on the list now' if new else 'was on the list already'}")


@suppressions.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="One address a line, or a CSV file as mail services export them.")],
    ledger: LedgerOption,
    by: ByOption,
    reason: ReasonOption = None,
    scope: ScopeOption = None,
    column: Annotated[str | None, typer.Option(help="The column of the addresses; found unless given.")] = None,
) -> None:
    """Put the addresses of a file on the list, such as whoever unsubscribed from the tool you used before."""
    with plain_errors():
        _say_where_made(ledger)
        with Ledger.open(ledger) as opened:
            typer.echo(opened.suppressions.import_file(file, by=by, reason=reason, scope=scope, column=column))


@suppressions.command("remove")
def remove(
    address: AddressArgument,
    ledger: LedgerOption,
    by: ByOption,
    why: WhyOption = "",
) -> None:
    """Take an address off the list. An unsubscribe in the log holds until email_subscribed all the same."""
    with plain_errors(), opened_ledger(ledger) as opened:
        gone = opened.suppressions.remove(address, by=by, why=why)
        typer.echo(f"{address}: {'no longer on the list' if gone else 'was not on the list'}")
        if not gone:
            raise typer.Exit(1)


@suppressions.command("show")
def show(
    ledger: LedgerOption,
    address: Annotated[str | None, typer.Argument(help="One address; all, counted by reason, unless given.")] = None,
) -> None:
    """How many are on the list and why, or since when and why one address is."""
    with plain_errors(), opened_ledger(ledger, only_look=True) as opened:
        table = opened.suppressions.table
        if address is not None:
            found = table[table["address_sha256"].isin([address_hash(address), address.strip().casefold()])]
            for row in found.to_dict("records"):
                typer.echo(
                    f"{row['reason']} ({row['scope']} mail) since {row['at']:%Y-%m-%d %H:%M} UTC, {row['source']}"
                )
            if found.empty:
                typer.echo(f"{address}: not on the list")
            return
        typer.echo(f"{counted(table['address_sha256'].nunique(), 'address', 'addresses')}")
        for row in table.groupby(["reason", "scope"]).size().reset_index(name="count").to_dict("records"):
            typer.echo(f"  {row['reason']} ({row['scope']} mail): {row['count']:,}")


@suppressions.command("export")
def export(
    file: Annotated[str, typer.Argument(help="The CSV file to write.")],
    ledger: LedgerOption,
    hashed: Annotated[bool, typer.Option("--hashed", help="Hashes in place of addresses, to give away.")] = False,
) -> None:
    """Write the list to a CSV file that `import` reads."""
    with plain_errors(), opened_ledger(ledger, only_look=True) as opened:
        typer.echo(f"{counted(opened.suppressions.export_file(file, hashed=hashed), 'line')}: {file}")


def _say_where_made(ledger: str) -> None:
    """Before the first mail there is no ledger yet; a mistyped one is told."""
    if not Ledger.exists(ledger):
        typer.echo(f"ledger {ledger}: there was none and it is made", err=True)
