"""One hash over everything that was decided, the same whether customers were replayed at once or range by range."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine.ordered import in_order

__all__ = ["Digest"]


class Digest:
    """SHA-256 of journeys and decisions in the order of customer_id and id, fed range by range in that order.

    Each column is hashed on its own: whole numbers and moments as eight bytes a value, texts as their lengths (-1 where
    missing) and their bytes, so that it does not matter where one range ends and the next begins.
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str, str], hashlib._Hash] = {}

    def add(self, table: str, frame: pd.DataFrame, key: str) -> None:
        """Take in the rows of some customers, who come after all customers before."""
        ordered = in_order(frame, "customer_id", key)
        for name in ordered.columns:
            column = ordered[name]
            if isinstance(column.dtype, pd.DatetimeTZDtype):
                moments = column.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
                self._feed(table, name, "values", moments.view(np.int64).tobytes())
            elif pd.api.types.is_integer_dtype(column.dtype):
                self._feed(table, name, "values", column.to_numpy(dtype=np.int64).tobytes())
            else:
                texts = pa.array(column, pa.large_string(), from_pandas=True)
                texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
                lengths = pc.fill_null(pc.binary_length(texts), -1).to_numpy(zero_copy_only=False)
                self._feed(table, name, "lengths", lengths.astype(np.int64).tobytes())
                self._feed(table, name, "bytes", _bytes(pc.fill_null(texts, "")))

    def _feed(self, table: str, column: str, part: str, content: bytes | memoryview) -> None:
        self._columns.setdefault((table, column, part), hashlib.sha256()).update(content)

    def hexdigest(self) -> str:
        """64 hex digits."""
        whole = hashlib.sha256()
        for place in sorted(self._columns):
            whole.update("\x1f".join(place).encode() + b"\x1e" + self._columns[place].digest())
        return whole.hexdigest()


def _bytes(texts: pa.LargeStringArray) -> memoryview:
    """Texts one behind the other, in UTF-8, as they lie in memory."""
    _, ends, content = texts.buffers()
    if not len(texts) or content is None:
        return memoryview(b"")
    ends = np.frombuffer(ends, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(content)[ends[0] : ends[-1]]
