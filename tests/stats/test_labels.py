"""Arms read eight bytes at a time are the arms that hashing finds, whatever the texts are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.stats import Mean, experiment
from toolkit.stats.labels import few_labels

TEXTS = st.text(alphabet=["a", "b", "é", "\0", "_"], max_size=20)


@given(
    labels=st.lists(TEXTS, min_size=1, max_size=5, unique=True),
    rows=st.lists(st.integers(0, 4), min_size=1, max_size=50),
    wide=st.booleans(),
    cut=st.integers(0, 5),
)
@settings(max_examples=300, deadline=None)
def test_codes_stand_for_the_texts_they_came_from(labels: list[str], rows: list[int], wide: bool, cut: int) -> None:
    texts = [labels[row % len(labels)] for row in rows]
    kind = pa.large_string() if wide else pa.string()
    column = pa.chunked_array([pa.array(["x", *texts], type=kind)[1:], pa.array(texts, type=kind)])[cut:]
    found = few_labels(column)
    held = column.to_pylist()
    if found is None:
        assert not held or len(set(held)) > 4 or max(len(text.encode()) for text in held) > 16
        return
    codes, names = found
    assert [names[code] for code in codes] == held


@pytest.mark.parametrize("late", ["contro", "controls", "control\0", "", None, "x" * 40])
def test_a_text_that_comes_late_is_no_label_of_the_first_rows(late: str | None) -> None:
    texts = ["control", "mail"] * 2_000
    assert few_labels(pa.chunked_array([pa.array([*texts, late])])) is None


def test_long_columns_are_read_in_two_halves_to_the_last_byte() -> None:
    rng = np.random.default_rng(1)
    texts = rng.choice(["discount", "discount_ten_off", "mail"], 300_001)
    column = pa.chunked_array([pa.array(texts)])
    found = few_labels(column)
    assert found is not None
    codes, names = found
    assert np.array_equal(np.array(names)[codes], texts)
    hashed = pc.dictionary_encode(column).combine_chunks()
    assert np.array_equal(codes, pa.chunked_array(hashed).chunk(0).indices.to_numpy())


@pytest.mark.parametrize("arms", [["control", "mail"], ["a", "control"], ["control", "b", "c", "d", "e", "f"]])
def test_the_kind_of_the_arm_column_changes_nothing(arms: list[str]) -> None:
    rng = np.random.default_rng(2)
    drawn = rng.choice(arms, 3_000)
    revenue = rng.gamma(1, 10, 3_000)
    kinds = (pd.Series(drawn).astype("str"), pd.Series(drawn, dtype=object), pd.Series(drawn).astype("category"))
    tables = [experiment(pd.DataFrame({"arm": kind, "revenue": revenue}), [Mean("revenue")]).lift for kind in kinds]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


@pytest.mark.parametrize("texts", [["", "mail", None], ["mail", "", *["mail"] * 3_000, None]], ids=["first", "late"])
def test_a_missing_text_is_not_the_empty_one(texts: list[str | None]) -> None:
    assert few_labels(pa.chunked_array([pa.array(texts)])) is None
