"""The command about logs, profile; and how the others read one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from toolkit.cli.app import app, plain_errors
from toolkit.errors import EventLogError, InputError
from toolkit.events import UNFINISHED, EventLog

__all__ = [
    "CustomersOption",
    "DateFormatOption",
    "DecimalOption",
    "EncodingOption",
    "EventsOption",
    "MapOption",
    "ZoneOption",
    "columns_of",
    "growing_log",
    "in_csv",
    "moment_of",
    "read_log",
]

_NOTHING: Mapping[str, Any] = {}
EventsOption = Annotated[
    str,
    typer.Option("--events", help="A CSV or Parquet file, a glob, a folder of them, or the folder of a stored log."),
]
MapOption = Annotated[
    str, typer.Option("--map", help="Our column = theirs, with commas: at=timestamp,customers.email=mail.")
]
ZoneOption = Annotated[str | None, typer.Option("--zone", help="Zone of times that name none, such as Europe/Paris.")]
CustomersOption = Annotated[str | None, typer.Option("--customers", help="A CSV or Parquet file of customers.")]
DateFormatOption = Annotated[
    str | None,
    typer.Option(help="Of dates in CSV files: 'day first' (27.11.2026), 'month first', or as '%d.%m.%y %H:%M'."),
]
DecimalOption = Annotated[str | None, typer.Option(help="The sign before decimals in CSV files; a comma in 19,90.")]
EncodingOption = Annotated[
    str | None, typer.Option(help="Of CSV files that are neither UTF-8 nor UTF-16, such as cp1252.")
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


def in_csv(date_format: str | None, decimal: str | None, encoding: str | None) -> dict[str, str]:
    """What is said of CSV files, as arguments of `EventLog.from_csv`."""
    said = {"date_format": date_format, "decimal": decimal, "encoding": encoding}
    return {argument: value for argument, value in said.items() if value is not None}


def read_log(
    events: str,
    columns: str,
    zone: str | None,
    customers: str | None,
    later: str | None = None,
    *,
    csv: Mapping[str, Any] = _NOTHING,
) -> EventLog:
    """The log that the options of a command name."""
    mapped = columns_of(columns)
    of_csv = {_option(argument): value for argument, value in csv.items() if argument != "growing"}
    given = [
        option
        for option, value in {"--map": mapped, "--zone": zone, "--customers": customers, **of_csv}.items()
        if value
    ]
    if _is_stored(events):
        if given and later is None:
            raise InputError(f"{events} is a stored log, which needs no {' or '.join(given)}")
        log = EventLog.open(events)
        return log if later is None else log.followed_by(_read(later, mapped, zone, customers, csv))
    log = _read(events, mapped, zone, customers, csv)
    of_events = {ours: theirs for ours, theirs in mapped.items() if not ours.startswith("customers.")}
    return log if later is None else log.followed_by(_read(later, of_events, zone, None, csv))


def growing_log(
    events: str, columns: str, zone: str | None, customers: str | None, *, csv: Mapping[str, str]
) -> Callable[[], EventLog]:
    """Reads the log as it is by now, again and again. That another program is just writing the last line of a CSV file
    is told, the first time."""
    told = set[str]()

    def read() -> EventLog:
        log = read_log(events, columns, zone, customers, csv={**csv, "growing": True})
        for note in log.notes:
            if note.endswith(UNFINISHED) and note not in told:
                told.add(note)
                typer.echo(note)
        return log

    return read


def _read(
    file: str, mapped: dict[str, str], zone: str | None, customers: str | None, csv: Mapping[str, Any]
) -> EventLog:
    if _is_stored(file):
        return EventLog.open(file)
    named = file if not Path(file).is_dir() else next((one.name for one in Path(file).glob("*.csv")), "")
    try:
        if named.lower().endswith((".csv", ".csv.gz", ".tsv", ".txt")):
            return EventLog.from_csv(file, customers=customers, zone=zone, columns=mapped, **csv)
        if given := _options(csv):
            raise InputError(f"{file} is read as Parquet; {', '.join(given)}: for CSV files alone")
        return EventLog.from_parquet(file, customers=customers, zone=zone, columns=mapped)
    except EventLogError as fault:
        raise EventLogError(_as_options(str(fault))) from fault


def _options(csv: Mapping[str, Any]) -> list[str]:
    return [_option(argument) for argument in csv if argument != "growing"]


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


@app.command()
def profile(
    events: EventsOption,
    columns: MapOption = "",
    zone: ZoneOption = None,
    customers: CustomersOption = None,
    date_format: DateFormatOption = None,
    decimal: DecimalOption = None,
    encoding: EncodingOption = None,
) -> None:
    """What is in a log: event names, counts, first and last, customers, gaps, suspicious things."""
    with plain_errors():
        csv = in_csv(date_format, decimal, encoding)
        typer.echo(str(read_log(events, columns, zone, customers, csv=csv).profile()))
