"""Canonical JSON is that of RFC 8785, whichever way it is written."""

from __future__ import annotations

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from toolkit.sending.batch.manifest import canonical, details

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_LEAF = st.none() | st.booleans() | _TEXT | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9)
_VALUE = st.recursive(_LEAF, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=20)


@given(_VALUE)
def test_the_fast_way_writes_the_same_bytes(value):
    assert canonical(value) == rfc8785.dumps(value)


def test_a_part_that_only_one_of_two_rows_has_is_named():
    plain, gift = {"decision": "d1"}, {"decision": "d1", "coupon": ["spring", "A"]}
    assert details({"audience": [plain]}, {"audience": [gift]}) == [
        "audience: d1: coupon approved None, found ['spring', 'A']"
    ]
