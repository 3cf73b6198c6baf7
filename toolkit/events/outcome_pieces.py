"""Rows of Parquet files piece by piece, for whoever adds them up faster than a database would."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa

from toolkit.events.outcome_footers import Footer, is_text, opened

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

    footer: Footer
    groups: tuple[int, ...]
    rows: int


def pieces_of(
    footers: Sequence[Footer], columns: Sequence[str], *, labels: str
) -> tuple[Iterator[pa.RecordBatch], ...] | None:
    """Some columns of all rows, file after file, in the order of the rows, for one thread or for two.

    Args:
        footers: those of the Parquet files.
        columns: which columns.
        labels: one of them, which holds few different values; texts in it come as a dictionary.

    Returns:
        Batches of rows, the first half of the rows in one iterator and the others in a second, or all in one where they
        are few or cannot be parted; always the same for the same files. None where the files do not all hold every
        column in the same plain type (whole numbers, numbers, flags or texts).

    Raises:
        EventLogError: while reading, a file that is damaged, gone, or was written anew.
    """
    if not all(_alike(footers, column) for column in columns):
        return None
    if pa.types.is_floating(footers[0].schema.field(labels).type):
        return None
    stretches = [stretch for footer in footers for stretch in _stretches(footer, len(columns))]
    rows = sum(stretch.rows for stretch in stretches)
    read = partial(_read, columns=columns, labels=labels)
    if rows < _WORTH_SHARING:
        return (_of_some_size(read(stretches)),)
    halves = _halves(stretches, [stretch.rows for stretch in stretches])
    if len(halves) == 1:
        batches = _of_some_size(read(stretches, cores=True))
        once = len(stretches) == 1 and _is_small(rows, len(columns))  # nothing is left to be decoded meanwhile
        return (batches if once else _ahead(batches),)
    return tuple(_of_some_size(read(half)) for half in halves)


def column_of(footers: Sequence[Footer], column: str) -> Iterator[pa.Array] | None:
    """One column of all rows, in their order, decoded as it is asked for; footers and None as for `pieces_of`."""
    return _decoded(footers, column) if _alike(footers, column) else None


def _decoded(footers: Sequence[Footer], column: str) -> Iterator[pa.Array]:
    for footer in footers:
        with opened(footer, buffer_size=_BUFFER) as file:
            for batch in file.iter_batches(_ROWS, columns=[column], use_threads=False):
                yield batch.column(0)


def _alike(footers: Sequence[Footer], column: str) -> bool:
    """Whether all files hold a column once, in the same plain type."""
    schemas = [footer.schema for footer in footers]
    if any(schema.names.count(column) != 1 for schema in schemas):
        return False
    kinds = {schema.field(column).type for schema in schemas}
    return len(kinds) == 1 and _is_plain(kinds.pop())


def _halves(parts: Sequence[Part], sizes: Sequence[int]) -> list[Sequence[Part]]:
    """The parts in two of about the same size; in one where the first alone is far more than half."""
    ends = list(itertools.accumulate(sizes))
    cut = min(range(len(parts)), key=lambda at: abs(2 * (ends[at] - sizes[at]) - ends[-1]))
    return [parts[:cut], parts[cut:]] if cut else [parts]


def _stretches(footer: Footer, columns: int) -> list[_Stretch]:
    """The row groups of a file, small ones put together: some writers make thousands."""
    sizes = [footer.metadata.row_group(at).num_rows for at in range(footer.metadata.num_row_groups)]
    found, start, rows = [], 0, 0
    for at, size in enumerate(sizes):
        rows += size
        if rows >= _ROWS or at == len(sizes) - 1 or not _is_small(rows + sizes[at + 1], columns):
            found.append(_Stretch(footer, tuple(range(start, at + 1)), rows))
            start, rows = at + 1, 0
    return found


def _is_small(rows: int, columns: int) -> bool:
    return rows * columns * _NUMBER <= _AT_ONCE


def _is_plain(kind: pa.DataType) -> bool:
    numeric = pa.types.is_integer(kind) or (pa.types.is_floating(kind) and not pa.types.is_float16(kind))
    return numeric or pa.types.is_boolean(kind) or is_text(kind)


def _read(
    stretches: Sequence[_Stretch], *, columns: Sequence[str], labels: str, cores: bool = False
) -> Iterator[pa.RecordBatch]:
    """The rows of all stretches, decoded by all cores or by one."""
    for footer, of_file in itertools.groupby(stretches, key=lambda stretch: stretch.footer):
        part = list(of_file)
        small = _is_small(max(stretch.rows for stretch in part), len(columns))
        buffer = 0 if small else _BUFFER
        with opened(footer, read_dictionary=[labels], buffer_size=buffer) as file:
            for stretch in part:
                if _is_small(stretch.rows, len(columns)):
                    order = _largest_first(stretch, columns) if cores else columns  # so that no core is left with it
                    table = file.read_row_groups(stretch.groups, columns=order, use_threads=cores)
                    yield from table.select(columns).to_batches(_ROWS)
                else:
                    yield from file.iter_batches(_ROWS, row_groups=stretch.groups, columns=columns)


def _largest_first(stretch: _Stretch, columns: Sequence[str]) -> list[str]:
    group = stretch.footer.metadata.row_group(stretch.groups[0])
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
