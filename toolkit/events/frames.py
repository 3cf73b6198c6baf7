"""A frame as an Arrow table: what its cells hold decides what a column is, and nothing changes its value."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from toolkit.arrow import A_FRAME, ArrowTable, TableLike, kind_of_table, table_of
from toolkit.errors import EventLogError
from toolkit.events.database import phase
from toolkit.events.naming import check_distinct, is_index, is_unicode

__all__ = ["arrow_of"]

_NO_SINGLE_TYPE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
_LONGEST_WHOLE = 1e18
# What pandas finds fast, and pyarrow reads as it is.
_OF_ONE_TYPE = ("string", "integer", "floating", "boolean", "decimal", "bytes", "empty")


def arrow_of(frame: TableLike, label: str, *, index: Collection[str] = ()) -> pa.Table:
    """A frame as an Arrow table: NaN is missing; dicts and lists become JSON text; mixed values become text; durations
    become numbers of their unit. An event of the frame written to Parquet is the same event.

    Args:
        frame: any frame of pandas, or a table of another library, whose columns are what their types say.
        label: what to call it in a message.
        index: names under which a level of the index is a column too, where no column has the name; the rest of the
            index is left out.

    Raises:
        EventLogError: not a frame, two columns of one name, text that is no Unicode, or an object that is no JSON.

    >>> mixed = pd.DataFrame({"customer_id": [1.0, "1", None], "said": [{"price": float("nan")}, "yes", None]})
    >>> arrow_of(mixed, "events").to_pydict()
    {'customer_id': ['1', '1', None], 'said': ['{"price":null}', 'yes', None]}
    """
    if not isinstance(frame, pd.DataFrame):
        table = table_of(frame, label, error=EventLogError)
        if table is None:
            raise EventLogError(_no_frame(frame, label))
        return _of_arrow(table, label)
    levels = [level for level in frame.index.names if level in index and level not in frame.columns]
    frame = frame.reset_index(level=levels) if levels else frame
    names = [str(column) or f"column{place}" for place, column in enumerate(frame.columns)]  # as of a file
    wrong = next((column for column in names if not is_unicode(column)), None)
    if wrong is not None:
        raise EventLogError(f"{label}: the name of column {wrong!r} is no valid Unicode; give the column another name")
    check_distinct(names, label)
    columns = {}
    for place, column in enumerate(names):
        phase(40 * place / len(names), 40)
        values = frame.iloc[:, place]
        try:
            columns[column] = _column(values)
        except UnicodeEncodeError as fault:
            if column != "properties":
                raise EventLogError(_no_unicode(values, label, column)) from fault
            # As JSON spells out half of a sign: the document is mended of it where it is opened, as that of a file.
            columns[column] = pa.array(
                [
                    _text(value).encode("utf-8", "backslashreplace").decode() if _is_given(value) else None
                    for value in values
                ]
            )
        except (TypeError, ValueError, RecursionError) as fault:
            raise EventLogError(_no_json(values, label, column)) from fault
    return pa.table(columns)


def _of_arrow(table: pa.Table, label: str) -> pa.Table:
    columns = {
        column or f"column{place}": _known(values)
        for place, (column, values) in enumerate(zip(table.column_names, table.columns, strict=True))
        if not is_index(column)
    }
    check_distinct(table.column_names, label)
    return pa.table(columns)


def _column(values: pd.Series) -> pa.Array | pa.ChunkedArray:
    if isinstance(values.dtype, pd.SparseDtype):
        values = pd.Series(np.asarray(values))
    if isinstance(values.dtype, pd.PeriodDtype):  # what it holds are numbers: of days, months, quarters since 1970
        return _texts(values)
    if values.dtype == object and pd.api.types.infer_dtype(values) not in _OF_ONE_TYPE:
        given = [value for value in values if _is_given(value)]
        if given and isinstance(given[0], dict | list | tuple):
            return _texts(values)
        # pyarrow would take a local time among zone-aware ones for UTC, and a time among dates for its day.
        if any(isinstance(value, datetime) for value in given):
            return _times(values, given)
    try:
        column = pa.Array.from_pandas(values)
    except _NO_SINGLE_TYPE:
        return _texts(values)
    except (TypeError, ValueError):
        if pd.api.types.infer_dtype(values) != "decimal":
            raise
        return pa.array(values.astype(float), from_pandas=True)  # one of them is infinite
    return _known(column)


def _known(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column of a type that the database knows."""
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    if pa.types.is_duration(column.type):  # in its own unit, as a Parquet file of the frame holds it
        return column.cast(pa.int64())
    if pa.types.is_decimal256(column.type):
        return _narrower(column)
    return column


def _narrower(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Decimals of up to 76 digits as those of up to 38 where all fit, so that ids stay exact; else as floats."""
    try:
        return column.cast(pa.decimal128(38, column.type.scale))
    except pa.ArrowInvalid:
        return column.cast(pa.float64())


def _times(values: pd.Series, given: list[Any]) -> pa.Array:
    """Times of any zones as UTC, times and dates without one as they are, anything else as text."""
    if not all(isinstance(value, date) for value in given):
        return _texts(values)
    aware = {isinstance(value, datetime) and value.tzinfo is not None for value in given}
    if len(aware) > 1:
        return _texts(values)
    try:
        if aware.pop():
            moments = [value.astimezone(UTC) if _is_given(value) else None for value in values]
            return pa.array(moments, pa.timestamp("us", "UTC"))
        return pa.array([_midnight(value) if _is_given(value) else None for value in values], pa.timestamp("us"))
    except (*_NO_SINGLE_TYPE, ValueError):
        return _texts(values)


def _midnight(value: date) -> datetime:
    # A date has no zone, and neither have the times beside it.
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001


def _texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([_text(value) if _is_given(value) else None for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        said = _json(value)
        if "NaN" in said or "Infinity" in said:  # which JSON does not know: missing
            said = _json(json.loads(said, parse_constant=lambda _: None))
        return said
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < _LONGEST_WHOLE:
        return str(int(value))  # 1.0 among texts is the 1 of a column that was of numbers before
    return str(value)


def _json(value: Any) -> str:
    # As a database writes the same value of a Parquet file, so that an event without an id keeps its hash.
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """What a value is in JSON that json itself does not know."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if _is_given(value) else None


def _is_given(value: Any) -> bool:
    return not pd.api.types.is_scalar(value) or not pd.isna(value)


def _no_frame(given: object, label: str) -> str:
    is_column = isinstance(given, ArrowTable)
    hint = "; its .to_pandas() makes one" if hasattr(given, "to_pandas") and not is_column else ""
    hint = "; EventLog.from_spark reads it" if hasattr(given, "sparkSession") else hint
    hint = "; its .collect() makes one" if hasattr(given, "collect_schema") else hint
    return f"{label}: expected {A_FRAME}; found {kind_of_table(given)}{hint}"


def _no_unicode(values: pd.Series, label: str, column: str) -> str:
    row, found = next(
        (row, _text(value)) for row, value in enumerate(values) if _is_given(value) and not is_unicode(_text(value))
    )
    mended = "put a mark in its place in each text before the table is made"  # pandas' str makes NaN of what is none
    if all(isinstance(value, str) for value in values if _is_given(value)):
        mended = f"to put a mark in its place: frame[{column!r}].str.encode('utf-8', 'replace').str.decode('utf-8')"
    return (
        f"{label}, row {row}: column {column!r} holds text that is no valid Unicode, found {found[:80]!r} (half of a "
        f"sign, as where a text was cut or read in the wrong encoding); {mended}"
    )


def _no_json(values: pd.Series, label: str, column: str) -> str:
    for row, value in enumerate(values):
        try:
            if _is_given(value):
                _text(value)
        except (TypeError, ValueError, RecursionError) as fault:
            return (
                f"{label}, row {row}: column {column!r} holds a {type(value).__name__} that cannot be written as JSON: "
                f"{fault}; allowed: objects whose keys are texts, lists, and plain values"
            )
    return f"{label}: column {column!r} holds values that cannot be read ({values.dtype})"
