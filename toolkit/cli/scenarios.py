"""The command about scenarios alone: describe."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.scenario import check, load

__all__: list[str] = []


@app.command()
def describe(scenario: Annotated[str, typer.Argument(help="A scenario.yaml, or a folder of scenarios.")]) -> None:
    """Check scenarios and say in plain words what they do; odd things come last, as warnings."""
    with plain_errors():
        program = load(scenario)
        warnings = check(program)
        typer.echo(program.describe())
        if warnings:
            typer.echo("\n" + "\n".join(f"warning: {warning}" for warning in warnings))
