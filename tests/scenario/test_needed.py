"""Of a condition, the texts without which it cannot hold."""

from __future__ import annotations

import pytest

from toolkit.scenario.needed import texts_needed


@pytest.mark.parametrize(
    ("condition", "needed"),
    [
        ("step = 'offer'", {"step": ["offer"]}),
        ("'offer' = step", {"step": ["offer"]}),
        (
            "(scenario = 'cart') and ((step = 'offer') and arm = 'a')",
            {"scenario": ["cart"], "step": ["offer"], "arm": ["a"]},
        ),
        ("step in ('offer', 'last') and step <> 'last'", {"step": ["last", "offer"]}),
        ("step = 'offer' and step = 'last'", {"step": []}),
        ("step = 'it''s'", {"step": ["it's"]}),
        ("step = 'offer' or arm = 'a'", {}),
        ("not step = 'offer'", {}),
        ("step in ('offer', template)", {}),
        ("step = template and number = 3", {}),
        ("lower(step) = 'offer' and step like 'o%' and step is not null", {}),
        ("'a' = 'a'", {}),
    ],
)
def test_only_what_every_way_to_hold_needs_is_found(condition, needed):
    assert {column: sorted(texts) for column, texts in texts_needed(condition).items()} == needed
