"""Commands that show it on data of its own: demo, shop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.demo import run_demo
from toolkit.simulation import shop

__all__: list[str] = []


@app.command()
def demo(
    outbox: Annotated[str, typer.Option(help="Folder that receives one .eml per mail.")] = "outbox",
    report: Annotated[str, typer.Option(help="The HTML report to write.")] = "report.html",
) -> None:
    """The whole circle on the shipped log: replay, sweep, lift, approve, send to an outbox, report."""
    with plain_errors():
        run_demo(outbox=Path(outbox), report=Path(report), say=typer.echo)


@app.command("shop")
def shop_command(
    folder: Annotated[str, typer.Argument(help="Folder for the stored log.")],
    customers: Annotated[int, typer.Option(min=1, help="How many customers.")] = 3000,
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same shop.")] = 1,
) -> None:
    """Make a realistic log of an invented shop, at any size."""
    with plain_errors():
        made = shop(customers=customers, days=days, seed=seed).log()
        made.save(folder)
        typer.echo(f"{folder}: {len(made):,} events of {customers:,} customers in {days} days")
