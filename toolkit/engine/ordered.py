"""Tables of a run in their order, and numbers in theirs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine.layout import Ints

__all__ = ["distinct", "in_order"]


def in_order(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """A frame sorted by some columns of moments and texts, none of them missing; rows equal in all stay as they are.

    Arrow looks at a text where what comes before it is equal; pandas gives every text its rank among all of them first.

    >>> in_order(pd.DataFrame({"at": [2, 1, 1], "id": ["a", "c", "b"]}), "at", "id")["id"].tolist()
    ['b', 'c', 'a']
    """
    keys = pa.table({column: pa.array(frame[column]) for column in columns})
    order = pc.sort_indices(keys, sort_keys=[(column, "ascending") for column in columns])
    return frame.take(order.to_numpy()).reset_index(drop=True)


def distinct(numbers: Ints) -> Ints:
    """The different whole numbers, rising.

    Asked for their counts, too, numpy sorts them; else it hashes them, which takes fifty times as long where most of
    millions differ.

    >>> distinct(np.array([7, 3, 7])).tolist()
    [3, 7]
    """
    found: Ints = np.unique(numbers, return_counts=True)[0]
    return found
