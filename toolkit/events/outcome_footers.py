"""What the footers of Parquet files say of the outcomes in them, each read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import EventLogError
from toolkit.events.replacing import Stamp, stamp_of
from toolkit.events.sources import first_line

__all__ = ["Footer", "database_types", "is_text", "opened", "read_footers"]

_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
}
_TICKS = ("ms", "us")  # of moments; the database keeps those of nanoseconds as a type of their own
_PARTITION = "="  # in a folder's name: the database makes a column of it


@dataclass(frozen=True, slots=True, eq=False)
class Footer:
    """A Parquet file as it was when its footer was read."""

    file: str
    metadata: pq.FileMetaData
    schema: pa.Schema
    stamp: Stamp | None


def read_footers(files: Sequence[str]) -> tuple[Footer, ...]:
    """The footers of some files.

    Raises:
        EventLogError: a file is no Parquet; names it.
    """
    return tuple(map(_read, files))


def _read(file: str) -> Footer:
    stamp = stamp_of(Path(file))
    try:
        metadata = pq.read_metadata(file)
        return Footer(file, metadata, metadata.schema.to_arrow_schema(), stamp)
    except (OSError, pa.ArrowException) as fault:
        hint = "; a CSV file may be given as pandas.read_csv(...)" if file.lower().endswith(".csv") else ""
        raise EventLogError(f"{file}: cannot be read as Parquet: {first_line(fault)}{hint}") from fault


@contextmanager
def opened(footer: Footer, **options: Any) -> Iterator[pq.ParquetFile]:
    """The file, to read its rows.

    Raises:
        EventLogError: also while it is read, the file is damaged, gone, or was written anew.
    """
    file = footer.file
    if stamp_of(Path(file)) not in (None, footer.stamp):
        raise EventLogError(f"{file} was written anew since these outcomes were read from it: read it again")
    try:
        with pq.ParquetFile(file, pre_buffer=False, metadata=footer.metadata, **options) as found:
            yield found
    except (OSError, pa.ArrowException) as fault:
        raise EventLogError(f"a file of these outcomes can no longer be read: {file}: {first_line(fault)}") from fault


def database_types(footers: Sequence[Footer]) -> dict[str, str] | None:
    """Name to DuckDB type of the columns of some files; None where only DuckDB can tell.

    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pd.DataFrame({"unit": [1], "arm": ["mail"], "bought": [True]}).to_parquet(folder + "/one.parquet")
    ...     database_types(read_footers([folder + "/one.parquet"]))
    {'unit': 'BIGINT', 'arm': 'VARCHAR', 'bought': 'BOOLEAN'}
    """
    schema = footers[0].schema
    if any(_PARTITION in footer.file or not footer.schema.equals(schema) for footer in footers):
        return None
    found = {field.name: _type(field.type) for field in schema}
    if len({name.casefold() for name in found}) < len(schema):
        return None
    types = {name: kind for name, kind in found.items() if name and kind is not None}
    return types if len(types) == len(found) else None


def _type(kind: pa.DataType) -> str | None:
    if pa.types.is_timestamp(kind):
        return None if kind.unit not in _TICKS else "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    return "VARCHAR" if is_text(kind) else _TYPES.get(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, as a dictionary or as they are."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
