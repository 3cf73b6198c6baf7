"""A condition that no event meets is told: a misread property would else look like a scenario without an audience."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pandas as pd
import pytest

from toolkit.engine import replay
from toolkit.errors import ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import dump, load, loads

LOG = EventLog.from_pandas(
    pd.DataFrame(
        {
            "customer_id": ["ana", "bo", "bo"],
            "event": ["cart_add", "purchase", "purchase"],
            "at": ["2025-03-03T10:00Z", "2025-03-03T11:00Z", "2025-03-05T11:00Z"],
            "value": [30.0, None, None],
            "revenue": [None, 10.0, 50.0],
        }
    )
)
THANKS = """
scenario: thanks
trigger: {{event: purchase, where: "{where}"}}
reentry: every
exit_on: [{{event: cart_add, where: "{left}"}}]
goal: {{event: purchase, where: "{goal}", within: 3d}}
steps: [{{send: thanks/mail}}]
"""


def notes(where: str, left: str = "value > 20", goal: str = "revenue > 20", log: EventLog = LOG) -> list[str]:
    run = replay(loads(THANKS.format(where=where, left=left, goal=goal)), log, events_at_once=2, progress=False)
    return [note for note in run.notes if "none of the" in note]


def test_a_property_that_the_event_never_carries_is_named() -> None:
    assert notes("value > 20") == [
        "line 3: thanks.trigger: none of the 2 'purchase' events meets 'value > 20'; "
        "they never carry value, but revenue"
    ]


def test_a_condition_that_holds_for_nobody_is_told() -> None:
    assert notes("revenue > 100") == ["line 3: thanks.trigger: none of the 2 'purchase' events meets 'revenue > 100'"]


def test_exits_and_goals_are_told_too() -> None:
    assert notes("revenue > 20", "value < 0", "revenue < 0") == [
        "line 5: thanks.exit_on[0]: none of the 1 'cart_add' events meets 'value < 0'",
        "line 6: thanks.goal: none of the 2 'purchase' events meets 'revenue < 0'",
    ]


def test_what_one_event_meets_is_not_told() -> None:
    assert notes("revenue > 20") == []


def test_a_replay_in_ranges_tells_what_holds_in_no_range(tmp_path: Path) -> None:
    LOG.save(tmp_path / "store")
    stored = EventLog.open(tmp_path / "store")
    assert notes("revenue > 20", log=stored) == []
    assert notes("value > 20", log=stored) == notes("value > 20")


@pytest.mark.parametrize("name", ['a "quoted" one', "{curly}"])
def test_a_property_of_any_name_is_looked_for(name: str) -> None:
    frame = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"], name: [1.0]})
    assert EventLog.from_pandas(frame).carried("view") == (name,)


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        ("{event: cart_ad}", "Nobody enters s: the log has no event 'cart_ad'; did you mean 'cart_add'?"),
        (
            "{cycle: purchased, after: 7d}",
            "Nobody enters s: the log has no event 'purchased'; did you mean 'purchase'?",
        ),
        ("{inactive: zebra, for: 7d}", "Nobody enters s: the log has no event 'zebra'; it has cart_add, purchase"),
        (
            "{cycle: purchase, after: {median: revenue}}",
            "Nobody enters s; its cycle begins once 'purchase' of one revenue has come twice, "
            "and a number, as after: 30d, needs no second one",
        ),
        (
            "{cycle: cart_add, after: {median: customer}}",
            "Nobody enters s; its cycle begins once 'cart_add' of a customer has come twice, "
            "and a number, as after: 30d, needs no second one",
        ),
        ("{inactive: zebra, for: 7d, since: purchase}", None),
        ("{event: email_unsubscribed}", None),
        ("{event: purchase}", None),
    ],
)
def test_that_nobody_can_enter_is_the_first_thing_a_replay_says(trigger: str, told: str | None) -> None:
    program = loads(f"scenario: s\ntrigger: {trigger}\nreentry: once\nsteps: [{{send: s/mail}}]")
    summary = replay(program, LOG, events_at_once=2, progress=False).summary()
    first, empty, second, *_ = str(summary).splitlines()
    assert first.startswith("Replay")
    assert not empty
    assert (second == told) == (told is not None)
    assert summary.nobody == (() if told is None else (told,))
    assert (escape(told or "Nobody enters") in summary._repr_html_()) == (told is not None)


def test_what_a_log_lacks_is_told_with_the_file_and_line_of_the_scenario(tmp_path: Path) -> None:
    file = tmp_path / "thanks.yaml"
    file.write_text(THANKS.format(where="revenue > 100", left="valu < 0", goal="revenue > 0").lstrip())
    with pytest.raises(ScenarioError, match=r"thanks.yaml:4: thanks.exit_on\[0\].where: unknown column; found 'valu'"):
        replay(load(file), LOG)
    file.write_text(file.read_text().replace("valu <", "value <"))
    told = replay(load(file), LOG, progress=False).notes
    assert told[:2] == (
        f"{file}:2: thanks.trigger: none of the 2 'purchase' events meets 'revenue > 100'",
        f"{file}:4: thanks.exit_on[0]: none of the 1 'cart_add' events meets 'value < 0'",
    )
    file.write_text(file.read_text().replace("event: purchase,", "event: purchse,"))
    run = replay(load(file), LOG, progress=False)
    where = f"{file}:2: thanks.trigger.event: the log has no such event; found 'purchse'"
    assert where in run.notes[0]
    assert run.nobody_enters == (
        f"Nobody enters thanks ({file}:2): the log has no event 'purchse'; did you mean 'purchase'?",
    )


def test_a_changed_scenario_stands_in_no_file() -> None:
    program = loads(THANKS.format(where="revenue > 100", left="value > 0", goal="revenue > 0"))
    changed = program.replace(scenarios=(program["thanks"].replace(priority=9),))
    assert program == loads(dump(program))
    told = [note for note in replay(changed, LOG).notes if "none of the" in note]
    assert told == ["thanks.trigger: none of the 2 'purchase' events meets 'revenue > 100'"]
