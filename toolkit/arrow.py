"""Tables of other libraries, taken in by the Arrow PyCapsule interface: polars, pyarrow, relations of DuckDB, Ibis."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import pandas as pd
import pyarrow as pa

from toolkit.errors import InputError

__all__ = ["A_FRAME", "ArrowTable", "TableLike", "kind_of_table", "of_frame", "table_of"]


@runtime_checkable
class ArrowTable(Protocol):
    """What hands its rows on as Arrow: a DataFrame of polars, a pyarrow Table, a DuckDB relation, a table of Ibis."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


TableLike = pd.DataFrame | ArrowTable
"""A pandas DataFrame, or a table of another library."""

A_FRAME = "a DataFrame of pandas or polars, or an Arrow table"
"""The same in words, for what is allowed."""


def table_of(given: object, label: str, *, error: type[InputError] = InputError) -> pa.Table | None:
    """A table of another library as an Arrow table; None where it is none, or is one of pandas or Spark.

    Args:
        given: anything; what computes its rows only when they are asked for is asked once.
        label: what to call it in a message.
        error: of which kind faults are.

    Raises:
        InputError: the other library cannot give its rows, or has a type that Arrow here does not know.

    >>> table_of(pa.RecordBatch.from_pydict({"customer_id": ["ana"]}), "events").to_pydict()
    {'customer_id': ['ana']}
    >>> table_of(pa.chunked_array([["ana"]]), "events") is None  # a column alone
    True
    """
    if isinstance(given, pd.DataFrame | pd.Series | pd.Index) or hasattr(given, "sparkSession"):
        return None
    if not isinstance(given, ArrowTable):
        return None
    try:
        table = given if isinstance(given, pa.Table) else pa.table(given)
    except Exception as fault:  # whatever the other library raises where it computes its rows
        if "non-struct type" in str(fault):
            return None
        said = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise error(f"{label}: {kind_of_table(given)} gives no rows: {said}") from fault
    return table.cast(pa.schema([_field(field) for field in table.schema], table.schema.metadata))


def of_frame(given: Any, label: str, *, error: type[InputError] = InputError) -> Any:
    """A table of another library as a pandas DataFrame; anything else as it is.

    Args:
        given: anything.
        label: what to call it in a message.
        error: of which kind faults are.

    Raises:
        InputError: as `table_of`.

    >>> of_frame(pa.table({"arm": ["a", "b"], "converted": [True, False]}), "outcomes")["converted"].sum()
    np.int64(1)
    >>> of_frame("outcomes.parquet", "outcomes")
    'outcomes.parquet'
    """
    table = table_of(given, label, error=error)
    if table is None:
        return given
    frame = table.to_pandas()
    named = [level for level in frame.index.names if level is not None]  # of a frame that pandas gave to Arrow
    return frame.reset_index(named) if named else frame


def kind_of_table(given: object) -> str:
    """What to call a thing of a library in a message.

    >>> kind_of_table(pa.table({})), kind_of_table(3)
    ('pyarrow.Table', 'int')
    """
    kind = type(given)
    return f"{kind.__module__.partition('.')[0].lstrip('_')}.{kind.__name__}".removeprefix("builtins.")


def _field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _readable(field.type), field.nullable)


def _readable(kind: pa.DataType) -> pa.DataType:
    """The same type without the views that polars writes and pyarrow cannot compute with."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _readable(kind.value_type), kind.ordered)
    if pa.types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field))
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field), kind.list_size)
    if pa.types.is_struct(kind):
        return pa.struct([_field(field) for field in kind])
    return kind
