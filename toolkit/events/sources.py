"""Where rows come from: frames, CSV and Parquet files, brought to one shape that DuckDB can read."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.arrow import TableLike
from toolkit.errors import EventLogError, nearest, path_text
from toolkit.events.csv_files import CsvFile, csv_file, header_of, why_not_csv
from toolkit.events.csv_forms import ISO, CsvForm
from toolkit.events.database import execute, fetch_row, phase
from toolkit.events.frames import arrow_of
from toolkit.events.kinds import inexact
from toolkit.events.naming import check_distinct, check_free
from toolkit.events.quoting import literal, name, paths
from toolkit.events.replacing import Stamp, stamp_of

__all__ = [
    "ROW",
    "UNFINISHED",
    "PathOrPaths",
    "Source",
    "arrow_source",
    "check_digits",
    "columns_of",
    "csv_source",
    "find_files",
    "first_line",
    "frame_source",
    "let_go",
    "no_such_file",
    "parquet_source",
    "path_of",
]

PathOrPaths = str | PathLike[str] | Sequence[str | PathLike[str]]
ROW = '"source row number"'
_ROW = ROW.strip('"')
_RENAMED = re.compile(r".*_\d+", re.DOTALL)  # what DuckDB makes of a name that is taken
_PATHS = "a path, a list of paths, a folder, or a pattern such as 'data/2024-*.csv'"
UNFINISHED = "the last line does not end yet, and is left until it does; write whole lines, each with its end"
_ARRIVING = "arriving"
_MISSING = ["", "NULL", "null", "NaN", "nan"]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows as they came, before they are an event log.

    Attributes:
        relation: what stands after FROM; beside the source's own columns it has ROW, the row's number from 0.
        columns: name to DuckDB type, in order, ROW not among them.
        starts: each part's label and its first row number, in order.
        lazy: the rows can stay where they are.
        all_text: nothing is typed yet, as in a CSV file.
        typed: every column is what its type says; texts are not looked into.
        counted_from: how a person counts the rows of this source: 0 in a frame, 1 in a file.
        form: what was said of its dates and numbers, where all is text.
        notes: what was left out of it.
        stamps: of files that are read again whenever their rows are needed, as they were when their footers were read.
    """

    relation: str
    columns: Mapping[str, str]
    starts: tuple[tuple[str, int], ...]
    lazy: bool = False
    all_text: bool = False
    typed: bool = False
    counted_from: int = 1
    form: CsvForm = ISO
    notes: tuple[str, ...] = ()
    stamps: Mapping[Path, Stamp | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What to call this source in a message."""
        first = self.starts[0][0]
        return first if len(self.starts) == 1 else f"{first} and {len(self.starts) - 1} more"

    def locate(self, row: int) -> str:
        """Where a row stands, for a message."""
        label, start = next((part for part in reversed(self.starts) if part[1] <= row), self.starts[0])
        return f"{label}, row {row - start + self.counted_from}"


def find_files(where: PathOrPaths, *, folder_pattern: str | None = None) -> list[str]:
    """The files meant by a path, a list of paths, or a pattern such as `data/2024-*.csv`.

    Args:
        where: path, list of paths, or glob.
        folder_pattern: what to read of a folder, for example `**/*.parquet`; None where folders are not read.

    Returns:
        Paths that exist, sorted within each pattern.

    Raises:
        EventLogError: nothing there; names the path and the nearest existing name.
    """
    entries = [where] if isinstance(where, str | PathLike) else _listed(where)
    if not entries:
        raise EventLogError("no files given: the list of paths is empty")
    found: list[str] = []
    for entry in entries:
        text = path_of(entry)
        if Path(text).is_file():
            found.append(text)
        elif Path(text).is_dir():
            found += _files_of_folder(Path(text), folder_pattern)
        elif Path(text).exists():
            raise EventLogError(
                f"{text} is neither a file nor a folder, and is read more than once; write it to a file"
            )
        else:
            matches = sorted(match for match in glob.glob(text, recursive=True) if Path(match).is_file())
            if not matches:
                raise EventLogError(no_such_file(text))
            found += matches
    return found


def _listed(where: object) -> list[Any]:
    if isinstance(where, bytes | Mapping | TableLike) or not isinstance(where, Iterable):
        hint = "; EventLog.from_pandas reads a table" if isinstance(where, TableLike) else ""
        raise EventLogError(f"files: found {type(where).__name__}; allowed: {_PATHS}{hint}")
    return list(where)


def path_of(given: object, *, what: str = "files", allowed: str = _PATHS) -> str:
    """A path as text.

    Args:
        given: what came as one.
        what: what to call it in a message.
        allowed: what to say is allowed.

    Raises:
        EventLogError: it is none, empty, or none that a file can have.

    >>> path_of(Path("data/shop"))
    'data/shop'
    """
    text = path_text(given, name=what, allowed=allowed, error=EventLogError)
    if not text.strip():
        raise EventLogError(f"{what}: found {text!r}; allowed: {allowed}")
    return text


def _files_of_folder(folder: Path, pattern: str | None) -> list[str]:
    if (folder / "manifest.json").is_file():
        raise EventLogError(f"{folder} is a stored event log; read it with EventLog.open({str(folder)!r})")
    inside = sorted(str(path) for path in folder.glob(pattern) if path.is_file()) if pattern else []
    if not inside:
        raise EventLogError(f"{folder} is a folder without files to read here; give a file, a list or a pattern")
    return inside


def no_such_file(text: str) -> str:
    path = Path(text)
    folder = path.parent
    if not folder.is_dir():
        return f"no such file: {text}; its folder {folder} does not exist either"
    kind = "no file matches" if glob.has_magic(text) else "no such file:"
    names = sorted(entry.name for entry in folder.iterdir())
    near = nearest(path.name, names)
    if near:
        return f"{kind} {text}; did you mean {str(folder / near)!r}?"
    return f"{kind} {text}; {folder} holds " + (", ".join(names[:8]) or "nothing")


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Name to DuckDB type of what stands after FROM."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def parquet_source(connection: duckdb.DuckDBPyConnection, where: PathOrPaths) -> Source:
    """Parquet files as they lie; nothing is read but their footers."""
    files = find_files(where, folder_pattern="**/*.parquet")
    relation = f"read_parquet({paths(files)}, union_by_name=true)"
    stamps = {Path(file).absolute(): stamp_of(Path(file)) for file in files}
    try:
        columns = columns_of(connection, relation)
        counts = dict(
            connection.execute(f"SELECT file_name, num_rows FROM parquet_file_metadata({paths(files)})").fetchall()
        )
    except duckdb.Error as fault:
        raise EventLogError(f"{_damaged(files)}: cannot be read as Parquet: {first_line(fault)}") from fault
    check_free(columns, files[0], _ROW, "file_row_number", *(["file_index"] if len(files) > 1 else []))
    if any(_RENAMED.fullmatch(column) for column in columns):
        for file in files:
            check_distinct(pq.read_schema(file).names, file)
    starts = []
    start = 0
    for file in files:
        starts.append((file, start))
        start += counts[file]
    row = "file_row_number"
    if len(files) > 1:
        row = (
            f"(file_row_number + ([{', '.join(str(first) for _, first in starts)}]::BIGINT[])[file_index::BIGINT + 1])"
        )
    return Source(f"(SELECT *, {row} AS {ROW} FROM {relation})", columns, tuple(starts), lazy=True, stamps=stamps)


def _damaged(files: Sequence[str]) -> str:
    """The first of these files that is no Parquet; the first of all where each is."""
    for file in files:
        try:
            pq.read_metadata(file)
        except (OSError, pa.ArrowException):
            return file
    return files[0]


def csv_source(
    connection: duckdb.DuckDBPyConnection, where: PathOrPaths, form: CsvForm, *, growing: bool = False
) -> Source:
    """CSV files with a header line, read whole and as text, so that an id such as 00123 keeps its zeros."""
    with TemporaryDirectory(prefix="toolkit-csv-") as folder:
        files = [
            csv_file(file, encoding=form.encoding, folder=Path(folder), growing=growing)
            for file in find_files(where, folder_pattern="**/*.csv")
        ]
        for file in files:
            check_free(header_of(file), file.name, _ROW, "source file")
        alike = (list(part) for _, part in itertools.groupby(files, key=lambda file: (file.separator, file.above)))
        query = " UNION ALL BY NAME ".join(f"SELECT * FROM {_read_csv(part)}" for part in alike)
        phase(0, 80)  # a statement takes the bar half the way
        try:
            execute(connection, f"CREATE OR REPLACE TABLE incoming AS {query}")
        except duckdb.Error as fault:
            why = why_not_csv(files) or f"{files[0].name}: cannot be read as CSV: {first_line(fault)}"
            raise EventLogError(why) from fault
        for file in files:
            check_distinct([column for column in header_of(file) if column], file.name)
    columns = columns_of(connection, "incoming")
    columns.pop("source file")
    firsts = dict(execute(connection, 'SELECT "source file", min(rowid) FROM incoming GROUP BY 1').fetchall())
    starts = tuple((file.name, firsts[file.path]) for file in files if file.path in firsts) or ((files[0].name, 0),)
    relation = f'(SELECT * EXCLUDE ("source file"), rowid AS {ROW} FROM incoming)'
    notes = tuple(f"{file.name}: {UNFINISHED}" for file in files if file.is_cut)
    return Source(relation, columns, starts, all_text=True, form=form, notes=notes)


def _read_csv(files: Sequence[CsvFile]) -> str:
    """SQL that reads files which are alike."""
    missing = "[" + ", ".join(literal(word) for word in _MISSING) + "]"
    return (
        f"read_csv({paths(file.path for file in files)}, header=true, skip={files[0].above}, "
        f"delim={literal(files[0].separator)}, quote='\"', escape='\"', all_varchar=true, union_by_name=true, "
        f"nullstr={missing}, filename='source file')"
    )


def first_line(fault: Exception) -> str:
    """What a fault says first, without the statement that it came of."""
    lines = (line.strip() for line in str(fault).splitlines()[:3])
    return "; ".join(line for line in lines if line and not line.startswith("LINE "))


def frame_source(
    connection: duckdb.DuckDBPyConnection, frame: TableLike, label: str = "events", *, index: Collection[str] = ()
) -> Source:
    """A frame through Arrow; an index of one of these names is a column of it."""
    return arrow_source(connection, arrow_of(frame, label, index=index), label)


def arrow_source(connection: duckdb.DuckDBPyConnection, table: pa.Table, label: str, *, typed: bool = False) -> Source:
    """An Arrow table as it lies; `let_go` ends the reading of it."""
    check_free(table.column_names, label, _ROW)
    numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows, dtype=np.int64)))
    connection.register(_ARRIVING, numbered)
    try:
        columns = columns_of(connection, _ARRIVING)
    except duckdb.Error as fault:
        connection.unregister(_ARRIVING)
        raise EventLogError(f"{label}: a column is of a type that cannot be read: {first_line(fault)}") from fault
    columns.pop(_ROW)
    return Source(_ARRIVING, columns, ((label, 0),), typed=typed, counted_from=0)


def check_digits(connection: duckdb.DuckDBPyConnection, source: Source, theirs: str, ours: str) -> None:
    """Nothing where a column of ids tells everybody apart.

    Raises:
        EventLogError: they are floats of more digits than a float keeps, so that two people may have one id.
    """
    x = name(theirs)
    flag = inexact(x, source.columns[theirs])
    if flag is None:
        return
    row, example = fetch_row(connection, f"SELECT min({ROW}), arg_min({x}, {ROW}) FROM {source.relation} WHERE {flag}")
    if row is not None:
        raise EventLogError(
            f"{source.locate(row)}: column {theirs!r} ({ours}) holds floats of more digits than a float keeps, such as "
            f"{example}; give these ids as texts or whole numbers, in pandas 'Int64'"
        )


def let_go(connection: duckdb.DuckDBPyConnection) -> None:
    """Free the rows of a source that was read."""
    connection.execute("DROP TABLE IF EXISTS incoming")
    connection.unregister(_ARRIVING)
