"""The command about logs, profile; and how the others read one."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.app import app, plain_errors
from toolkit.errors import EventLogError, InputError, shown
from toolkit.events import UNFINISHED, EventLog

__all__ = [
    "EventsOption",
    "LogOptions",
    "MapOption",
    "columns_of",
    "growing_log",
    "read_log",
    "with_log_options",
]

EventsOption = Annotated[
    str,
    typer.Option("--events", help="A CSV or Parquet file, a glob, a folder of them, or the folder of a stored log."),
]
MapOption = Annotated[
    str, typer.Option("--map", help="Our column = theirs, with commas: at=timestamp,customers.email=mail.")
]


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How the log of --events is read: the options that stand beside it, each with the words of its help."""

    columns: MapOption = ""
    zone: Annotated[str | None, typer.Option("--zone", help="Zone of times that name none, such as Europe/Paris.")] = (
        None
    )
    customers: Annotated[str | None, typer.Option("--customers", help="A CSV or Parquet file of customers.")] = None
    date_format: Annotated[
        str | None,
        typer.Option(help="Of dates in CSV files: 'day first' (27.11.2026), 'month first', or as '%d.%m.%y %H:%M'."),
    ] = None
    decimal: Annotated[str | None, typer.Option(help="The sign before decimals in CSV files; a comma in 19,90.")] = None
    encoding: Annotated[
        str | None, typer.Option(help="Of CSV files that are neither UTF-8 nor UTF-16, such as cp1252.")
    ] = None

    @property
    def csv(self) -> dict[str, Any]:
        """What is said of CSV files, as arguments of `EventLog.from_csv`."""
        said = {"date_format": self.date_format, "decimal": self.decimal, "encoding": self.encoding}
        return {argument: value for argument, value in said.items() if value is not None}


def with_log_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `reading` stands for all options of `LogOptions`."""
    of_a_log = inspect.signature(LogOptions, eval_str=True).parameters
    options = list[inspect.Parameter]()
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        options += of_a_log.values() if parameter.name == "reading" else [parameter]

    @wraps(command)
    def called(**given: Any) -> None:
        command(reading=LogOptions(**{option: given.pop(option) for option in of_a_log}), **given)

    by_name = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    called.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    return called


def columns_of(text: str) -> dict[str, str]:
    """Our names to theirs, of the option --map."""
    columns = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ours, sign, theirs = part.partition("=")
        if not sign or not ours.strip() or not theirs.strip():
            raise InputError(f"--map: found {shown(part)}; allowed: our column = theirs, for example at=timestamp")
        columns[ours.strip()] = theirs.strip()
    return columns


def read_log(events: str, reading: LogOptions, later: str | None = None, *, growing: bool = False) -> EventLog:
    """The log that the options of a command name; a growing one is read without a bar."""
    mapped = columns_of(reading.columns)
    of_csv = {_option(argument): value for argument, value in reading.csv.items()}
    given = [
        option
        for option, value in {
            "--map": mapped,
            "--zone": reading.zone,
            "--customers": reading.customers,
            **of_csv,
        }.items()
        if value
    ]
    if _is_stored(events):
        if given and later is None:
            raise InputError(f"{events} is a stored log, which needs no {' or '.join(given)}")
        log = EventLog.open(events)
        return log if later is None else log.followed_by(_read(later, reading, mapped, growing=growing))
    log = _read(events, reading, mapped, growing=growing)
    of_events = {ours: theirs for ours, theirs in mapped.items() if not ours.startswith("customers.")}
    return log if later is None else log.followed_by(_read(later, replace(reading, customers=None), of_events))


def growing_log(events: str, reading: LogOptions) -> Callable[[], EventLog]:
    """Reads the log as it is by now, again and again. That another program is just writing the last line of a CSV file
    is told, the first time."""
    told = set[str]()

    def read() -> EventLog:
        log = read_log(events, reading, growing=True)
        for note in log.notes:
            if note.endswith(UNFINISHED) and note not in told:
                told.add(note)
                typer.echo(note)
        return log

    return read


def _read(file: str, reading: LogOptions, mapped: dict[str, str], *, growing: bool = False) -> EventLog:
    if _is_stored(file):
        return EventLog.open(file)
    named = file if not Path(file).is_dir() else next((one.name for one in Path(file).glob("*.csv")), "")
    how: dict[str, Any] = {"customers": reading.customers, "zone": reading.zone, "columns": mapped}
    how["progress"] = not growing and sys.stderr.isatty()  # what a shell keeps of it stays free of bars
    try:
        if named.lower().endswith((".csv", ".csv.gz", ".csv.zst", ".tsv", ".txt")):
            return EventLog.from_csv(file, growing=growing, **how, **reading.csv)
        if given := [_option(argument) for argument in reading.csv]:
            raise InputError(f"{file} is read as Parquet; {', '.join(given)}: for CSV files alone")
        return EventLog.from_parquet(file, **how)
    except EventLogError as fault:
        raise EventLogError(_as_options(str(fault))) from fault


def _option(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"


def _as_options(text: str) -> str:
    """A message in the words of a shell: --map instead of columns=."""
    said = re.sub(r"columns=\{'([^']*)': (?:'([^']*)'|\.\.\.)\}", lambda one: f"--map {one[1]}={one[2] or '...'}", text)
    said = re.sub(r"\b(date_format|decimal|encoding|zone)=(?=[' ])", lambda one: f"{_option(one[1])} ", said)
    return re.sub(r"columns=(\{\.\.\.\})?", "--map", said).replace("give customers=", "give --customers")


def _is_stored(place: str) -> bool:
    """Whether a place is a folder, and not one of CSV or Parquet files that somebody laid there."""
    folder = Path(place)
    return folder.is_dir() and (
        (folder / "manifest.json").exists() or not any((*folder.glob("*.csv"), *folder.glob("*.parquet")))
    )


@app.command()
@with_log_options
def profile(events: EventsOption, reading: LogOptions) -> None:
    """What is in a log: event names, counts, first and last, customers, gaps, suspicious things."""
    with plain_errors():
        typer.echo(str(read_log(events, reading).profile()))
