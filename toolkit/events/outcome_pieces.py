"""Rows of Parquet files piece by piece, for whoever adds them up faster than a database would."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import EventLogError

__all__ = ["column_of", "pieces_of"]

_ROWS = 131_072  # of a piece: what is decoded is still in the cache when it is added up
_AT_ONCE = 128 << 20  # bytes of numbers that are decoded whole
_NUMBER = 8  # bytes
_BUFFER = 1 << 20  # of a larger row group, bytes of a column read at a time, so that memory does not grow with it
Part = TypeVar("Part")
_WORTH_SHARING = 200_000  # rows from which two threads are faster than one


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Row groups of a file that are read together, and how many rows they hold."""

    file: str
    footer: pq.FileMetaData
    groups: tuple[int, ...]
    rows: int


def pieces_of(
    files: Sequence[str], columns: Sequence[str], *, labels: str
) -> tuple[Iterator[pa.RecordBatch], ...] | None:
    """Some columns of all rows, file after file, in the order of the rows, for one thread or for two.

    Args:
        files: paths of Parquet files.
        columns: which columns.
        labels: one of them, which holds few different values; texts in it come as a dictionary.

    Returns:
        Batches of rows, the first half of the rows in one iterator and the others in a second, or all in one where they
        are few or cannot be parted; always the same for the same files. None where the files do not all hold every
        column in the same plain type (whole numbers, numbers, flags or texts).

    Raises:
        EventLogError: also while reading, a file that is damaged or gone.
    """
    schemas, stretches = [], []
    for file in files:
        with _opened(file) as opened:
            schemas.append(opened.schema_arrow)
            stretches += _stretches(file, opened.metadata, len(columns))
    if not all(_alike(schemas, column) for column in columns):
        return None
    if pa.types.is_floating(schemas[0].field(labels).type):
        return None
    rows = sum(stretch.rows for stretch in stretches)
    read = partial(_read, columns=columns, labels=labels)
    if rows < _WORTH_SHARING:
        return (_of_some_size(read(stretches)),)
    halves = _halves(stretches, [stretch.rows for stretch in stretches])
    if len(halves) == 1:
        return (_ahead(_of_some_size(read(stretches, cores=True))),)
    return tuple(_of_some_size(read(half)) for half in halves)


def column_of(files: Sequence[str], column: str) -> Iterator[pa.Array] | None:
    """One column of all rows, in their order, decoded as it is asked for; files and None as for `pieces_of`."""
    schemas = []
    for file in files:
        with _opened(file) as opened:
            schemas.append(opened.schema_arrow)
    return _decoded(files, column) if _alike(schemas, column) else None


def _decoded(files: Sequence[str], column: str) -> Iterator[pa.Array]:
    for file in files:
        with _opened(file, buffer_size=_BUFFER) as opened:
            for batch in opened.iter_batches(_ROWS, columns=[column], use_threads=False):
                yield batch.column(0)


def _alike(schemas: Sequence[pa.Schema], column: str) -> bool:
    """Whether all files hold a column once, in the same plain type."""
    if any(schema.names.count(column) != 1 for schema in schemas):
        return False
    kinds = {schema.field(column).type for schema in schemas}
    return len(kinds) == 1 and _is_plain(kinds.pop())


def _halves(parts: Sequence[Part], sizes: Sequence[int]) -> list[Sequence[Part]]:
    """The parts in two of about the same size; in one where the first alone is far more than half."""
    ends = list(itertools.accumulate(sizes))
    cut = min(range(len(parts)), key=lambda at: abs(2 * (ends[at] - sizes[at]) - ends[-1]))
    return [parts[:cut], parts[cut:]] if cut else [parts]


def _stretches(file: str, footer: pq.FileMetaData, columns: int) -> list[_Stretch]:
    """The row groups of a file, small ones put together: some writers make thousands."""
    sizes = [footer.row_group(at).num_rows for at in range(footer.num_row_groups)]
    found, start, rows = [], 0, 0
    for at, size in enumerate(sizes):
        rows += size
        if rows >= _ROWS or at == len(sizes) - 1 or not _is_small(rows + sizes[at + 1], columns):
            found.append(_Stretch(file, footer, tuple(range(start, at + 1)), rows))
            start, rows = at + 1, 0
    return found


def _is_small(rows: int, columns: int) -> bool:
    return rows * columns * _NUMBER <= _AT_ONCE


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    numeric = pa.types.is_integer(kind) or (pa.types.is_floating(kind) and not pa.types.is_float16(kind))
    return numeric or pa.types.is_boolean(kind) or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@contextmanager
def _opened(file: str, **options: Any) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file, pre_buffer=False, **options) as opened:
            yield opened
    except (OSError, pa.ArrowException) as fault:
        said = str(fault).splitlines()[0]
        raise EventLogError(f"a file of these outcomes can no longer be read: {file}: {said}") from fault


def _read(
    stretches: Sequence[_Stretch], *, columns: Sequence[str], labels: str, cores: bool = False
) -> Iterator[pa.RecordBatch]:
    """The rows of all stretches, decoded by all cores or by one."""
    for file, of_file in itertools.groupby(stretches, key=lambda stretch: stretch.file):
        part = list(of_file)
        small = _is_small(max(stretch.rows for stretch in part), len(columns))
        buffer = 0 if small else _BUFFER
        with _opened(file, metadata=part[0].footer, read_dictionary=[labels], buffer_size=buffer) as opened:
            for stretch in part:
                if _is_small(stretch.rows, len(columns)):
                    order = _largest_first(stretch, columns) if cores else columns  # so that no core is left with it
                    table = opened.read_row_groups(stretch.groups, columns=order, use_threads=cores)
                    yield from table.select(columns).to_batches(_ROWS)
                else:
                    yield from opened.iter_batches(_ROWS, row_groups=stretch.groups, columns=columns)


def _largest_first(stretch: _Stretch, columns: Sequence[str]) -> list[str]:
    group = stretch.footer.row_group(stretch.groups[0])
    parts = (group.column(at) for at in range(group.num_columns))
    sizes = {part.path_in_schema: part.total_uncompressed_size for part in parts}
    return sorted(columns, key=lambda column: sizes.get(column, 0), reverse=True)


def _of_some_size(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same, small ones put together: a batch ends with its row group, of which some writers make thousands."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= _ROWS // 2:
            yield _together(held)
            held = []
    if held:
        yield _together(held)


def _together(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return table.to_batches()[0] if len(table) else batches[0]


def _ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same, the next one being made while the one before is worked on."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
