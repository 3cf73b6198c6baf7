"""What `measure` said of outcomes, in the footer of the Parquet files they were written to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa

__all__ = ["label_in", "label_of_files"]

_PANDAS = b"PANDAS_ATTRS"
_ADDED = ("open_windows", "untouched")


def label_of_files(schemas: Iterable[pa.Schema]) -> dict[str, Any]:
    """What is known of outcomes in files: pandas writes a frame's `attrs` into their schemas. Empty where nothing is.

    Of several files, parts of the same outcomes, the counts are added; they are randomised where every one is.
    """
    return _joined(label_in(schema.metadata) for schema in schemas)


def label_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What is known of outcomes, in the metadata of an Arrow schema."""
    told: Any = None
    with suppress(ValueError, AttributeError):
        told = json.loads((metadata or {}).get(_PANDAS, b"{}")).get("toolkit")
    return told if isinstance(told, dict) else {}


def _joined(labels: Iterable[dict[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for label in labels:
        counts = {name: joined.get(name, 0) + label[name] for name in _ADDED if isinstance(label.get(name), int)}
        first = {**label, **joined} if joined.get("randomised") is False else {**joined, **label}
        joined = first | counts
    return joined
