"""What is handed to the language from Python: what is none of it is told in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from toolkit.errors import InputError
from toolkit.scenario import (
    Duration,
    Expression,
    TimeOfDay,
    check,
    check_against,
    content_hash,
    load,
    write_schema,
)

WRONG: Any = 5
PROGRAM = load("templates/abandoned_cart")
KNOWN: Any = {"event_counts": {}, "properties": {}, "attributes": {}}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Duration.parse(WRONG), "expected a duration; found 5; allowed: a number and s, m, h"),
        (lambda: Duration(days=math.nan), "expected whole days and microseconds; found nan"),  # type: ignore[arg-type]
        (lambda: Duration("4h"), r"found '4h'; or Duration.parse\('4h'\)"),  # type: ignore[arg-type]
        (lambda: Duration(1, -5), "of one sign"),
        (lambda: TimeOfDay.parse(WRONG), "expected a time of day; found 5; allowed: 00:00 to 23:59"),
        (lambda: check(PROGRAM, events=WRONG), "expected names in a list; found 'int'"),
        (lambda: check(PROGRAM, events="purchase"), "expected names in a list; found 'purchase'"),
        (lambda: check(PROGRAM, templates=WRONG), "expected names in a list"),
        (lambda: check(PROGRAM, properties=WRONG), "expected columns and their kinds"),
        (lambda: check_against(PROGRAM, **KNOWN | {"attributes": ["x"]}), "expected columns and their kinds"),
        (lambda: check_against(PROGRAM, **KNOWN | {"event_counts": None}), "expected how often each event"),
        (lambda: content_hash(WRONG), "expected a program, as load gives it; found 'int'"),
        (lambda: content_hash(PROGRAM, templates=WRONG), "expected hashes of templates by name"),
        (lambda: write_schema(WRONG), "folder: found 5; allowed: the path of an existing folder"),
        (lambda: Expression.parse(WRONG), "expected a condition in text; found 'int'"),
        (lambda: Expression.parse("x > 1", columns=WRONG), "expected columns and their kinds"),
        (
            lambda: Expression.parse("x > 1", columns={"x": WRONG}),
            "x: no kind of column; found 5; allowed: number, text",
        ),
        (lambda: Expression.parse("x > 1", columns={"x": "nmber"}), "no kind of column; found 'nmber'; allowed"),
        (lambda: Expression.parse("x > 1", columns={WRONG: "number"}), "a column is named by text; found 5"),
        (lambda: Expression.faults("x > 1", columns={"x": WRONG}), "no kind of column"),
    ],
)
def test_what_is_no_such_value_is_told(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
