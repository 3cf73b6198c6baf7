"""A log stored as a folder: events sorted by customer, customers, and a manifest; written whole or not at all."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.bars import Bar
from toolkit.errors import EventLogError
from toolkit.events.assembly import EVENTS, QUARANTINE, Rows
from toolkit.events.database import bar_of, execute, fetch_row
from toolkit.events.people import People
from toolkit.events.quoting import literal, name
from toolkit.events.replacing import beside, held, left_aside, swap
from toolkit.events.sources import first_line, no_such_file, path_of
from toolkit.events.times import from_aware

__all__ = ["FORMAT", "NUMBER", "SORTED_BY", "Stored", "read_ids", "read_stored", "write_stored"]

FORMAT = 2
_READABLE = (1, FORMAT)  # format 1 lacks the numbers of customers and the sections
NUMBER = "toolkit_customer"
"""The column with each customer's number: their place in `ids.parquet`, which is in the order of customer_id."""
SORTED_BY = ("customer_id", "received_at", "at")
_KIND = "toolkit event log"
_ROW_GROUP = 100_000
# Times hardly shrink, and most of reading was to unpack them: zstd makes the file a quarter smaller and twice as slow.
_COMPRESSION = "lz4_raw"
_SORTING_MEMORY = "3GiB"
_ORDER = ", ".join(f"e.{name(column)}" for column in (NUMBER, *SORTED_BY[1:], "row"))
_LARGE_SHARE = 0.1
_FOLDER = "the path of a folder, which is made if there is none"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a folder holds, beside the rows themselves.

    left_out: names of the events that a compact log is without. whole: the log is as it was read, so that what was put
    in quarantine then is its own.
    """

    rows: Rows
    people: People
    counts: Mapping[str, int]
    span: tuple[pd.Timestamp, pd.Timestamp] | None
    notes: tuple[str, ...]
    ids: pa.Array | None = None
    left_out: tuple[str, ...] = ()
    whole: bool = True


def write_stored(
    cursor: duckdb.DuckDBPyConnection,
    relation: str,
    folder: str | PathLike[str],
    stored: Stored,
    *,
    progress: bool = True,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write a log into a folder.

    An event name that fills row groups of its own gets a section of the file, so that a program which does not ask for
    it (often the views) reads past it; all others are in the first section. Each section is sorted by customer.
    Everything goes into a new folder beside it first, which is then renamed.

    Args:
        cursor: on the log's database.
        relation: the events, each once.
        folder: where to; must be free, empty, or a stored log, which is replaced.
        stored: what else belongs to the log.
        progress: show a progress bar where it takes longer than a moment.
        check: asked once all is written and before the folder takes its place; what it raises leaves all as it was.

    Raises:
        EventLogError: the folder holds something else or cannot be written, or the events can no longer be read.
    """
    target = Path(path_of(folder, what="folder", allowed=_FOLDER)).resolve()  # a link to a folder stays one
    fresh = beside(target, "new")
    try:
        _check_free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        if target.exists():  # whoever could not look into the one before cannot look into this one
            fresh.chmod(target.stat().st_mode | stat.S_IRWXU)
        with held(fresh):
            # Most logs know one time only; leaving the second out saves a fifth of the reading.
            (late,) = fetch_row(cursor, f'SELECT count(*) FROM {relation} WHERE received_at <> "at"')
            columns = tuple(column for column in stored.rows.columns if late or column != "received_at")
            shape, section = _Shape(columns, stored.rows), _section(stored.counts)
            with (
                _bounded(cursor, lazy=stored.rows.lazy),
                bar_of(cursor, "storing the log", shown=progress) as bar,
            ):
                _write_events(cursor, relation, shape, section, fresh, bar)
                bar.update(bar.total - bar.n)
            quarantined = _write_quarantine(cursor, stored.rows, fresh) if stored.whole else 0
            pq.write_table(stored.people.table, fresh / "customers.parquet", compression="zstd")
            manifest = json.dumps(_manifest(stored, columns, quarantined), indent=2, ensure_ascii=False)
            (fresh / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
        check()
        swap(fresh, target)
    except duckdb.Error as fault:
        raise EventLogError(f"{target}: the log cannot be stored: {first_line(fault)}") from fault
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise EventLogError(f"{target}: the log cannot be stored: {why}; allowed: {_FOLDER}") from fault
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def _bounded(cursor: duckdb.DuckDBPyConnection, *, lazy: bool) -> Iterator[None]:
    """Sort within a bound of memory, the rest in the database's temporary folder.

    Rows that are a table in memory already are sorted there: a bound below what they take would only be refused.
    """
    if not lazy:
        yield
        return
    cursor.execute(f"SET memory_limit = '{_SORTING_MEMORY}'")
    try:
        yield
    finally:
        cursor.execute("RESET memory_limit")


def _write_events(
    cursor: duckdb.DuckDBPyConnection, relation: str, shape: _Shape, section: str | None, folder: Path, bar: Bar
) -> None:
    """Number the customers, and write the events section by section."""
    numbers = f"numbers_{uuid4().hex[:12]}"
    execute(
        cursor,
        f"CREATE TEMP TABLE {numbers} AS SELECT customer_id, "
        f"CAST(row_number() OVER (ORDER BY customer_id) - 1 AS INTEGER) AS {NUMBER} "
        f"FROM (SELECT DISTINCT customer_id FROM {relation})",
    )
    execute(
        cursor,
        f"COPY (SELECT customer_id FROM {numbers} ORDER BY {NUMBER}) "
        f"TO {literal(str(folder / 'ids.parquet'))} (FORMAT parquet, COMPRESSION zstd)",
    )
    # A log that was stored before has numbers already: they are left out of its rows.
    columns = ", ".join(map(name, (*shape.rows.columns, "row")))
    rows = f"(SELECT {columns}, {NUMBER} FROM (SELECT {columns} FROM {relation}) JOIN {numbers} USING (customer_id))"
    order = _ORDER if section is None else f"{section}, {_ORDER}"
    file = folder / "events.parquet"
    _write_rows(cursor, rows, _Shape((*shape.columns, NUMBER), shape.rows), file, order=order, bar=bar)
    cursor.execute(f"DROP TABLE {numbers}")


def _section(counts: Mapping[str, int]) -> str | None:
    """The section of an event as SQL, 0 or a number of its own; None where no name fills several row groups."""
    large = max(2 * _ROW_GROUP, _LARGE_SHARE * sum(counts.values()))
    names = [event for event, count in counts.items() if count >= large]
    whens = " ".join(f"WHEN {literal(event)} THEN {number}" for number, event in enumerate(names, start=1))
    return f"CASE e.event {whens} ELSE 0 END" if names else None


def _check_free(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise EventLogError(f"{target} is a file; a log is stored as a folder")
    if target == Path.cwd():
        raise EventLogError(f"{target} is the folder that this program runs in; name one in it")
    if not any(target.iterdir()):
        return
    try:
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise EventLogError(f"{target} holds something else than a stored event log; choose another folder")


@dataclass(frozen=True, slots=True)
class _Shape:
    """Columns of a file of events, and which of them are times."""

    columns: tuple[str, ...]
    rows: Rows

    def is_time(self, column: str) -> bool:
        return column in ("at", "received_at") or self.rows.properties.get(column) == "time"


def _write_rows(
    cursor: duckdb.DuckDBPyConnection, relation: str, shape: _Shape, path: Path, *, order: str, bar: Bar | None = None
) -> None:
    # With its zone in the file, other programs read the same instant. Most events are received at once: an empty
    # received_at says so, and takes no time to read.
    chosen = []
    for column in shape.columns:
        value = 'nullif(e.received_at, e."at")' if column == "received_at" else f"e.{name(column)}"
        value = f"make_timestamptz(epoch_us({value}))" if shape.is_time(column) else value
        chosen.append(f"{value} AS {name(column)}")
    execute(
        cursor,
        f"COPY (SELECT {', '.join(chosen)} FROM {relation} AS e ORDER BY {order}) TO {literal(str(path))} "
        f"(FORMAT parquet, COMPRESSION {_COMPRESSION}, ROW_GROUP_SIZE {_ROW_GROUP})",
        bar=bar,
    )


def _write_quarantine(cursor: duckdb.DuckDBPyConnection, rows: Rows, folder: Path) -> int:
    if not rows.has_event_ids:
        return 0
    count: int = fetch_row(cursor, f"SELECT count(*) FROM {QUARANTINE}")[0]
    if count:
        _write_rows(
            cursor, QUARANTINE, _Shape(rows.columns, rows), folder / "quarantine.parquet", order="e.event_id, e.row"
        )
    return count


def _manifest(stored: Stored, columns: tuple[str, ...], quarantined: int) -> dict[str, Any]:
    return {
        "kind": _KIND,
        "format": FORMAT,
        "events": sum(stored.counts.values()),
        "customers": len(stored.people.table),
        "span": None if stored.span is None else [moment.isoformat() for moment in stored.span],
        "sorted_by": list(SORTED_BY),
        "columns": list(columns),
        "event_ids": stored.rows.has_event_ids,
        "quarantined": quarantined,
        "properties": dict(stored.rows.properties),
        "attributes": dict(stored.people.attributes),
        "event_counts": dict(stored.counts),
        "notes": list(stored.notes),
        **({"left_out": list(stored.left_out)} if stored.left_out else {}),
    }


def read_stored(
    connection: duckdb.DuckDBPyConnection, folder: str | PathLike[str], ids: Callable[[], pa.Array]
) -> Stored:
    """Make the view `EVENTS` over a stored log.

    Args:
        connection: the log's own.
        folder: where it was stored.
        ids: gives what `read_ids` reads of the folder.

    Raises:
        EventLogError: no such folder, not a stored log, a newer format, or files that do not fit the manifest.
    """
    place = Path(fspath(folder))
    manifest = _read_manifest(place)
    properties: dict[str, str] = manifest["properties"]
    rows = Rows(properties, manifest["event_ids"], lazy=True, counted_once=True)
    shape = _Shape(tuple(manifest["columns"]), rows)
    _check_files(place, manifest)
    numbered = (NUMBER,) if manifest["format"] > 1 else ()
    try:
        connection.execute(f"CREATE VIEW {EVENTS} AS {_read_rows(shape, place / 'events.parquet', more=numbered)}")
        if rows.has_event_ids:
            if manifest["quarantined"]:
                query = _read_rows(_Shape(rows.columns, rows), place / "quarantine.parquet")
            else:
                query = f"SELECT {', '.join(map(name, rows.columns))}, row FROM {EVENTS} LIMIT 0"
            execute(connection, f"CREATE TABLE {QUARANTINE} AS {query}")
    except duckdb.Error as fault:
        raise EventLogError(f"{place}: the stored log cannot be read: {first_line(fault)}") from fault
    people = People(_read_customers(place / "customers.parquet"), manifest["attributes"], ())
    span = manifest["span"]
    return Stored(
        rows,
        people,
        manifest["event_counts"],
        None if span is None else (_moment(span[0]), _moment(span[1])),
        tuple(manifest["notes"]),
        ids() if numbered else None,
        tuple(manifest.get("left_out", ())),
    )


def _read_manifest(place: Path) -> dict[str, Any]:
    if place.is_file():
        csv = place.name.lower().endswith((".csv", ".csv.gz", ".csv.zst", ".tsv", ".txt"))
        reader = "from_csv" if csv else "from_parquet"
        raise EventLogError(
            f"{place} is a file; open takes the folder of a stored log; read the file with "
            f"EventLog.{reader}({str(place)!r})"
        )
    if not place.is_dir():
        aside = left_aside(place)
        if not place.is_dir() and aside:
            raise EventLogError(
                f"{place}: a log was being stored here in the place of another when its program ended; the one before "
                f"is in {aside[-1]}: rename it to {place.name}"
            )
    if not place.is_dir():
        raise EventLogError(no_such_file(str(place)).replace("no such file", "no such folder"))
    path = place / "manifest.json"
    if not path.is_file():
        raise EventLogError(
            f"{place} is not a stored event log: it has no manifest.json; read files with from_parquet or from_csv"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise EventLogError(f"{path}: not readable as JSON: {fault}") from fault
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise EventLogError(f"{place} is not a stored event log: its manifest.json is of something else")
    if manifest.get("format") not in _READABLE:
        raise EventLogError(
            f"{place} is stored in format {manifest.get('format')}; this version reads formats 1 to {FORMAT}: "
            "upgrade trigger-toolkit, or store the log again"
        )
    lacking = [key for key in _manifest_keys() if key not in manifest]
    if lacking:
        raise EventLogError(f"{path}: {', '.join(map(repr, lacking))} missing")
    return manifest


def _manifest_keys() -> tuple[str, ...]:
    return (
        "events",
        "span",
        "columns",
        "event_ids",
        "quarantined",
        "properties",
        "attributes",
        "event_counts",
        "notes",
    )


def _check_files(place: Path, manifest: dict[str, Any]) -> None:
    numbered = manifest["format"] > 1
    wanted = ["events.parquet", "customers.parquet", *(["quarantine.parquet"] if manifest["quarantined"] else [])]
    wanted += ["ids.parquet"] if numbered else []
    lacking = [file for file in wanted if not (place / file).is_file()]
    if lacking:
        raise EventLogError(f"{place}: {', '.join(lacking)} missing from the stored log")
    try:
        footer = pq.read_metadata(place / "events.parquet")
    except (OSError, pa.ArrowException) as fault:
        raise EventLogError(f"{place / 'events.parquet'}: cannot be read as Parquet") from fault
    found, count = footer.schema.names, footer.num_rows
    if found != [*manifest["columns"], *([NUMBER] if numbered else [])] or count != manifest["events"]:
        raise EventLogError(
            f"{place}: events.parquet does not fit manifest.json ({count:,} rows where {manifest['events']:,} are "
            "expected, or other columns); store the log again"
        )


def _read_rows(shape: _Shape, path: Path, *, more: tuple[str, ...] = ()) -> str:
    chosen = list(more)
    for column in shape.rows.columns:
        x = name(column if column in shape.columns else "at")
        if column == "received_at" and column in shape.columns:
            x = 'coalesce(received_at, "at")'
        chosen.append(f"{from_aware(x)} AS {name(column)}" if shape.is_time(column) else x)
    return f"SELECT {', '.join(chosen)}, file_row_number AS row FROM read_parquet({literal(str(path))})"


def read_ids(folder: str | PathLike[str]) -> pa.Array:
    """The customers of a stored log by number."""
    path = Path(fspath(folder)) / "ids.parquet"
    try:
        column = pq.read_table(path).column("customer_id").cast(pa.large_string())
    except (OSError, KeyError, pa.ArrowException) as fault:
        raise EventLogError(f"{path}: cannot be read as Parquet with a column customer_id") from fault
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.large_string())


def _read_customers(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as fault:
        raise EventLogError(f"{path}: cannot be read as Parquet") from fault


def _moment(text: str) -> pd.Timestamp:
    moment: pd.Timestamp = pd.Timestamp(text).tz_convert("UTC").as_unit("us")
    return moment
