"""Commands about logs and scenarios: demo, replay, compact, profile, describe, shop."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toolkit.cli.app import app, plain_errors
from toolkit.demo import run_demo
from toolkit.engine import compact, replay
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import check, load, set_parameters
from toolkit.simulation import shop

__all__ = ["CustomersOption", "EventsOption", "MapOption", "ZoneOption", "columns_of", "moment_of", "read_log"]

EventsOption = Annotated[
    str, typer.Option("--events", help="A CSV or Parquet file, a glob, or the folder of a stored log.")
]
MapOption = Annotated[
    str, typer.Option("--map", help="Our column = theirs, with commas: at=timestamp,customer_id=visitor.")
]
ZoneOption = Annotated[str | None, typer.Option("--zone", help="Zone of times that name none, such as Europe/Paris.")]
CustomersOption = Annotated[str | None, typer.Option("--customers", help="A CSV or Parquet file of customers.")]
LaterOption = Annotated[
    str | None,
    typer.Option("--later", help="Events that came after a stored log, as a file; --map, --zone, --customers are its."),
]


def columns_of(text: str) -> dict[str, str]:
    """Our names to theirs, of the option --map."""
    columns = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ours, sign, theirs = part.partition("=")
        if not sign or not ours.strip() or not theirs.strip():
            raise InputError(f"--map: found {part!r}; allowed: our column = theirs, for example at=timestamp")
        columns[ours.strip()] = theirs.strip()
    return columns


def read_log(events: str, columns: str, zone: str | None, customers: str | None, later: str | None = None) -> EventLog:
    """The log that the options of a command name."""
    mapped = columns_of(columns)
    named = ("--map", mapped), ("--zone", zone), ("--customers", customers)
    given = [option for option, value in named if value]
    if Path(events).is_dir():
        if given and later is None:
            raise InputError(f"{events} is a stored log, which needs no {' or '.join(given)}")
        log = EventLog.open(events)
        return log if later is None else log.followed_by(_read(later, mapped, zone, customers))
    log = _read(events, mapped, zone, customers)
    return log if later is None else log.followed_by(_read(later, mapped, zone, None))


def _read(file: str, mapped: dict[str, str], zone: str | None, customers: str | None) -> EventLog:
    if Path(file).is_dir():
        return EventLog.open(file)
    reader = EventLog.from_csv if file.lower().endswith((".csv", ".csv.gz", ".tsv", ".txt")) else EventLog.from_parquet
    return reader(file, customers=customers, zone=zone, columns=mapped)


@app.command()
def demo(
    outbox: Annotated[str, typer.Option(help="Folder that receives one .eml per mail.")] = "outbox",
    report: Annotated[str, typer.Option(help="The HTML report to write.")] = "report.html",
) -> None:
    """The whole circle on the shipped log: replay, sweep, lift, approve, send to an outbox, report."""
    with plain_errors():
        run_demo(outbox=Path(outbox), report=Path(report), say=typer.echo)


@app.command("replay")
def replay_command(
    scenario: Annotated[str, typer.Argument(help="A scenario.yaml, or a folder of scenarios.")],
    events: EventsOption,
    columns: MapOption = "",
    zone: ZoneOption = None,
    customers: CustomersOption = None,
    later: LaterOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the scenario for this run: abandoned_cart.pause.wait=1h; null takes out."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="The last moment decided, such as 2025-03-01T00:00Z.")] = None,
    trace: Annotated[str | None, typer.Option(help="Show one customer's timeline.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder for journeys.csv and decisions.csv.")] = None,
) -> None:
    """Who would have got which mail, when, and why not, over a log of your own."""
    with plain_errors():
        program = set_parameters(load(scenario), dict(_change(text) for text in changes or ()))
        last = None if until is None else moment_of(until, "--until")
        log = read_log(events, columns, zone, customers, later)
        folder = None if out is None else _folder(out)
        run = replay(program, log, until=last)
        typer.echo(str(run.summary()))
        if trace is not None:
            typer.echo(f"\n{run.trace(trace)}")
        if folder is not None:
            with _said_of_out(folder):
                run.journeys.to_csv(folder / "journeys.csv", index=False)
                run.decisions.to_csv(folder / "decisions.csv", index=False)
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
        raise InputError(f"--set: found {text!r}; allowed: path=value, for example abandoned_cart.pause.wait=1h")
    try:
        return path.strip(), YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise InputError(f"--set: {path} cannot be {value!r}: not a YAML value") from None


def moment_of(text: str, option: str) -> pd.Timestamp:
    """The moment that an option names."""
    try:
        moment = pd.Timestamp(text)
        if pd.isna(moment):  # as of an empty text
            raise ValueError
    except ValueError:
        raise InputError(f"{option}: found {text!r}; allowed: a moment such as 2025-03-01T00:00Z") from None
    if moment.tzinfo is None:
        utc = moment.isoformat().removesuffix(":00")
        raise InputError(f"{option}: {text!r} has no time zone; for example {utc}Z for UTC")
    return moment


@app.command("compact")
def compact_command(
    scenario: Annotated[
        str, typer.Argument(help="A scenario.yaml, or a folder of scenarios: all the log is to serve.")
    ],
    events: EventsOption,
    into: Annotated[str, typer.Option(help="Folder of the compact log; a log stored there is replaced.")],
    columns: MapOption = "",
    zone: ZoneOption = None,
    customers: CustomersOption = None,
    later: LaterOption = None,
) -> None:
    """Keep of a log what scenarios ask for, so that the rest of a long history need not be kept."""
    with plain_errors():
        log = read_log(events, columns, zone, customers, later)
        small = compact(load(scenario), log)
        counts = f"{len(log):,} events, {len(small):,} kept in {into}"
        small.save(into)
        typer.echo(counts)
        if small.left_out:
            typer.echo(f"left out: {', '.join(small.left_out)}")


@app.command()
def profile(
    events: EventsOption,
    columns: MapOption = "",
    zone: ZoneOption = None,
    customers: CustomersOption = None,
) -> None:
    """What is in a log: event names, counts, first and last, customers, gaps, suspicious things."""
    with plain_errors():
        typer.echo(str(read_log(events, columns, zone, customers).profile()))


@app.command()
def describe(scenario: Annotated[str, typer.Argument(help="A scenario.yaml, or a folder of scenarios.")]) -> None:
    """Check scenarios and say in plain words what they do; odd things come last, as warnings."""
    with plain_errors():
        program = load(scenario)
        warnings = check(program)
        typer.echo(program.describe())
        if warnings:
            typer.echo("\n" + "\n".join(f"warning: {warning}" for warning in warnings))


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
