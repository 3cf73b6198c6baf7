"""Shares and ids are plain MD5, as any other system computes it (rule R13)."""

from __future__ import annotations

import hashlib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from toolkit.engine.hashing import digests, uniform

TEXTS = st.lists(st.text(max_size=150), max_size=8)


@given(st.text(max_size=80), TEXTS)
def test_a_share_is_the_first_13_digits_of_the_md5(salt: str, units: list[str]) -> None:
    want = [int(hashlib.md5(f"{salt}:{unit}".encode()).hexdigest()[:13], 16) / 16**13 for unit in units]
    assert uniform(salt, units).tolist() == want


@given(TEXTS)
def test_digests_are_md5(texts: list[str]) -> None:
    want = [hashlib.md5(text.encode()).hexdigest() for text in texts]
    assert digests(pa.array(texts, pa.string()), digits=32).to_pylist() == want
    assert digests(pa.chunked_array([pa.array(texts, pa.string())]), digits=7).to_pylist() == [w[:7] for w in want]


def test_a_slice_of_a_text_array_hashes_its_own_texts() -> None:
    texts = pa.array([f"customer {i}" for i in range(9)])
    assert digests(texts[3:6]).to_pylist() == digests(texts).to_pylist()[3:6]
