"""Commands that ask of a log what scenarios make of it: replay, compact."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toolkit.cli.app import app, plain_errors
from toolkit.cli.logs import (
    EventsOption,
    LogOptions,
    read_log,
    with_log_options,
)
from toolkit.engine import compact, replay
from toolkit.engine.trace import check_known
from toolkit.errors import InputError, shown
from toolkit.events.times import moment_of
from toolkit.scenario import load, set_parameters
from toolkit.whole import whole_file

__all__: list[str] = []

LaterOption = Annotated[
    str | None,
    typer.Option("--later", help="Events that came after a stored log, as a file; --map, --zone, --customers are its."),
]


@app.command("replay")
@with_log_options
def replay_command(
    scenario: Annotated[str, typer.Argument(help="A scenario.yaml, or a folder of scenarios.")],
    events: EventsOption,
    reading: LogOptions,
    later: LaterOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the scenario for this run: abandoned_cart.pause.wait=1h; null takes out."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="The last moment decided, such as 2025-03-01T00:00Z.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Show the mails from this moment on alone, such as 2025-02-01T00:00Z.")
    ] = None,
    before: Annotated[str | None, typer.Option(help="Show the mails before this moment alone.")] = None,
    trace: Annotated[str | None, typer.Option(help="Show one customer's timeline.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder for journeys.csv and decisions.csv.")] = None,
) -> None:
    """Who would have got which mail, when, and why not, over a log of your own."""
    with plain_errors():
        program = set_parameters(load(scenario), dict(_change(text) for text in changes or ()))
        last = None if until is None else moment_of(until, name="--until")
        first, end = (
            None if text is None else moment_of(text, name=option)
            for text, option in ((since, "--since"), (before, "--before"))
        )
        log = read_log(events, reading, later)
        folder = None if out is None else _folder(out)
        if trace is not None:
            check_known(log, trace)
        run = replay(program, log, until=last)
        if first is not None or end is not None:
            run = run.between(first, end)
        typer.echo(str(run.summary()))
        if trace is not None:
            typer.echo(f"\n{run.trace(trace)}")
        if folder is not None:
            with _said_of_out(folder):
                for name, frame in (("journeys", run.journeys), ("decisions", run.decisions)):
                    with whole_file(folder / f"{name}.csv") as part:
                        frame.to_csv(part, index=False)
            typer.echo(f"\nwritten: {folder / 'journeys.csv'}, {folder / 'decisions.csv'}")


def _folder(out: str) -> Path:
    """The folder of the option --out, made if there is none: before the replay, so that a long one is not in vain."""
    folder = Path(out)
    with _said_of_out(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return folder


@contextmanager
def _said_of_out(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        why = "it is a file" if folder.is_file() else fault.strerror or str(fault)
        allowed = "a folder that can be written to; it is made if there is none"
        raise InputError(f"--out: {folder}: cannot be written to: {why}; allowed: {allowed}") from fault


def _change(text: str) -> tuple[str, object]:
    path, sign, value = text.partition("=")
    if not sign:
        raise InputError(f"--set: found {shown(text)}; allowed: path=value, for example abandoned_cart.pause.wait=1h")
    try:
        return path.strip(), YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise InputError(f"--set: {path} cannot be {shown(value)}: not a YAML value") from None


@app.command("compact")
@with_log_options
def compact_command(
    scenario: Annotated[
        str, typer.Argument(help="A scenario.yaml, or a folder of scenarios: all the log is to serve.")
    ],
    events: EventsOption,
    into: Annotated[str, typer.Option(help="Folder of the compact log; a log stored there is replaced.")],
    reading: LogOptions,
    later: LaterOption = None,
) -> None:
    """Keep of a log what scenarios ask for, so that the rest of a long history need not be kept."""
    with plain_errors():
        log = read_log(events, reading, later)
        small = compact(load(scenario), log)
        counts = f"{len(log):,} events, {len(small):,} kept in {into}"
        small.save(into)
        typer.echo(counts)
        if small.left_out:
            typer.echo(f"left out: {', '.join(small.left_out)}")
