"""Rows of Parquet files piece by piece, for whoever adds them up faster than a database would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import EventLogError

__all__ = ["pieces_of"]

_ROWS = 131_072  # of a piece: what is decoded is still in the cache when it is added up
_AT_ONCE = 128 << 20  # bytes of a row group whose columns are read whole
_BUFFER = 1 << 20  # of larger ones, bytes of a column read at a time, so that memory does not grow with them


def pieces_of(files: Sequence[str], columns: Sequence[str], *, labels: str) -> Iterator[pa.RecordBatch] | None:
    """Some columns of all rows, file after file, in the order of the rows.

    Args:
        files: paths of Parquet files.
        columns: which columns.
        labels: one of them, which holds few different values; texts in it come as a dictionary.

    Returns:
        Batches of rows, each decoded while the one before is worked on; None where the files do not all hold every
        column in the same plain type (whole numbers, numbers, flags or texts).

    Raises:
        EventLogError: while reading, a file that is damaged or gone.
    """
    schemas = [pq.read_schema(file) for file in files]
    for column in columns:
        kinds = {schema.field(at).type for schema in schemas if (at := schema.get_field_index(column)) >= 0}
        if len(kinds) != 1 or not _is_plain(kinds.pop()) or any(schema.names.count(column) != 1 for schema in schemas):
            return None
    if pa.types.is_floating(schemas[0].field(labels).type):
        return None
    return _ahead(_of_some_size(_read(files, columns, labels)))


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    numeric = pa.types.is_integer(kind) or (pa.types.is_floating(kind) and not pa.types.is_float16(kind))
    return numeric or pa.types.is_boolean(kind) or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read(files: Sequence[str], columns: Sequence[str], labels: str) -> Iterator[pa.RecordBatch]:
    for file in files:
        try:
            footer = pq.read_metadata(file)
            largest = max((footer.row_group(at).total_byte_size for at in range(footer.num_row_groups)), default=0)
            buffer = 0 if largest <= _AT_ONCE else _BUFFER
            with pq.ParquetFile(file, metadata=footer, read_dictionary=[labels], buffer_size=buffer) as opened:
                yield from opened.iter_batches(_ROWS, columns=columns)
        except (OSError, pa.ArrowException) as fault:
            said = str(fault).splitlines()[0]
            raise EventLogError(f"a file of these outcomes can no longer be read: {file}: {said}") from fault


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
