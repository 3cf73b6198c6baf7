"""The digest is what its description says, wherever ranges end and however texts lie in memory."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from toolkit.engine.digest import Digest
from toolkit.engine.ordered import in_order

FRAME = pd.DataFrame(
    {
        "journey_id": ["j3", "j1", "j2", "j5", "j4"],
        "customer_id": ["bo", "ana", "bo", "éva", "cy"],
        "key": pd.array(["", None, "clé 2", None, "x"], dtype="str"),
        "arm": [None] * 5,
        "entered_at": pd.to_datetime(["2025-03-01", "2025-03-02", None, "2025-03-04", "2025-03-05"], utc=True),
        "sends": [1, 0, 2, 1, 0],
    }
)


def as_described(frame: pd.DataFrame) -> str:
    """The digest of one table, written out plainly."""
    parts: dict[tuple[str, str, str], bytes] = {}
    ordered = frame.sort_values(["customer_id", "journey_id"])
    for name in frame.columns:
        values = ordered[name].astype(object).tolist()
        if name == "sends":
            parts["journeys", name, "values"] = np.array(values, dtype=np.int64).tobytes()
        elif name == "entered_at":
            moments = ordered[name].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
            parts["journeys", name, "values"] = moments.astype(np.int64).tobytes()
        else:
            texts = [None if pd.isna(value) else value.encode() for value in values]
            lengths = [-1 if text is None else len(text) for text in texts]
            parts["journeys", name, "lengths"] = np.array(lengths, dtype=np.int64).tobytes()
            parts["journeys", name, "bytes"] = b"".join(text or b"" for text in texts)
    whole = hashlib.sha256()
    for place in sorted(parts):
        whole.update("\x1f".join(place).encode() + b"\x1e" + hashlib.sha256(parts[place]).digest())
    return whole.hexdigest()


@pytest.mark.parametrize("ends", [[], [1], [1, 3], [1, 1, 3, 4]])
def test_a_digest_is_what_it_says_wherever_ranges_end(ends: list[int]) -> None:
    ordered = FRAME.sort_values(["customer_id", "journey_id"])
    digest = Digest()
    for begin, end in zip([0, *ends], [*ends, len(ordered)], strict=True):
        digest.add("journeys", ordered.iloc[begin:end], "journey_id")
    assert digest.hexdigest() == as_described(FRAME)


def test_the_order_of_the_rows_does_not_matter() -> None:
    digest = Digest()
    digest.add("journeys", FRAME.iloc[::-1], "journey_id")
    assert digest.hexdigest() == as_described(FRAME)


def test_rows_are_ordered_as_pandas_orders_them() -> None:
    rng = np.random.default_rng(1)
    words = np.array(["", "a", "A", "é", "z", "zz", "10", "9", "\U0001f600", "\uffff"])
    frame = pd.DataFrame(
        {
            "at": pd.Timestamp("2025-03-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 20, 500), unit="h"),
            "id": words[rng.integers(0, len(words), 500)],
            "place": np.arange(500),
        }
    )
    expected = frame.sort_values(["at", "id"], kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(in_order(frame, "at", "id"), expected)
