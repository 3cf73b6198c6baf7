"""Every golden case of tests/cases, by the engine and by the interpreter, and the page made of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pytest

from tests.cases.page import PAGE, page
from tests.cases.reading import Case, read_cases
from tests.reference.compare import rows_of
from tests.reference.interpreter import interpret
from toolkit.engine import replay
from toolkit.errors import ToolkitError
from toolkit.events import EventLog
from toolkit.scenario import loads

CASES = read_cases()


def by_engine(case: Case) -> dict[str, pd.DataFrame]:
    customers = case.customer_rows()
    log = EventLog.from_pandas(case.event_frame(), customers=None if customers is None else pd.DataFrame(customers))
    run = replay(loads(case.program), log, **case.replay_options())
    return {"journeys": run.journeys, "decisions": run.decisions}


def by_interpreter(case: Case) -> dict[str, pd.DataFrame]:
    journeys, decisions = interpret(
        loads(case.program), case.event_rows(), case.customer_rows(), **case.replay_options()
    )
    return {"journeys": journeys, "decisions": decisions}


def missed(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """Rows that were expected and did not come, and rows that came and were not expected."""
    left = list(found)
    said = []
    for row in expected:
        match = next((one for one in left if all(one.get(name) == value for name, value in row.items())), None)
        if match is None:
            said.append(f"missing: {row}")
        else:
            left.remove(match)
    return said + [f"too much: {row}" for row in left]


@pytest.mark.parametrize("judge", [by_engine, by_interpreter])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_case(case: Case, judge: Any, request: pytest.FixtureRequest) -> None:
    if case.waiting and judge is by_engine:
        request.applymarker(pytest.mark.xfail(reason=case.waiting, strict=True))
    if "error" in case.then:
        with pytest.raises(ToolkitError, match=case.then["error"]):
            by_engine(case)
        return
    answer = judge(case)
    for table, frame in answer.items():
        expected = case.expected(table)
        if expected is not None:
            assert missed(rows_of(frame), expected) == []


def test_every_rule_has_at_least_three_cases() -> None:
    counted = Counter(case.rule for case in CASES)
    assert {f"R{number}": counted[f"R{number}"] for number in range(1, 25) if counted[f"R{number}"] < 3} == {}


def test_no_two_cases_have_one_name() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_the_page_of_rules_is_the_one_that_the_cases_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.cases.page`"
