"""The command that erases one customer everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.cli.logs import MapOption, columns_of
from toolkit.sending import erase

__all__: list[str] = []


@app.command("erase")
def erase_command(
    customer: Annotated[str, typer.Argument(help="The customer_id.")],
    by: Annotated[str, typer.Option("--by", help="Who does this; written to the ledger's audit.")],
    events: Annotated[
        list[str] | None,
        typer.Option("--events", help="A stored log, or CSV or Parquet files; may be repeated."),
    ] = None,
    customers: Annotated[
        list[str] | None,
        typer.Option("--customers", help="A CSV or Parquet file of customers; may be repeated."),
    ] = None,
    ledger: Annotated[str | None, typer.Option("--ledger", help="Path or URL of the ledger.")] = None,
    answers: Annotated[str | None, typer.Option("--answers", help="Path or URL of what `toolkit track` took.")] = None,
    outbox: Annotated[list[str] | None, typer.Option("--outbox", help="A folder of mails; may be repeated.")] = None,
    spool: Annotated[
        list[str] | None, typer.Option("--spool", help="A folder that `toolkit sender` reads; may be repeated.")
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option("--address", help="A further address of theirs; may be repeated.")
    ] = None,
    columns: MapOption = "",
    never_mail: Annotated[
        bool, typer.Option("--never-mail", help="Keep the hash of each address on the suppression list, for all mail.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only look.")] = False,
) -> None:
    """Erase one customer from logs, ledger, answers, outboxes and spools; looks first, and again afterwards."""
    with plain_errors():
        given = events or []
        logs = [one for one in given if (Path(one) / "manifest.json").is_file()]
        found = erase(
            customer,
            by=by,
            logs=logs,
            files=[*(one for one in given if one not in logs), *(customers or [])],
            ledger=ledger,
            answers=answers,
            outboxes=outbox or [],
            spools=spool or [],
            addresses=address or [],
            columns=columns_of(columns),
            never_mail=never_mail,
            yes=yes,
        )
        typer.echo(str(found))
        if found.left:
            raise typer.Exit(1)
