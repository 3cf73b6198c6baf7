"""What an error says is short enough to be read, and names first what was most likely meant."""

from __future__ import annotations

import pytest

from toolkit.engine.doors import scenario_in, scenario_with_goal
from toolkit.errors import Fault, InputError, ScenarioError, listed
from toolkit.scenario import loads

MANY = "\n---\n".join(
    f"{{scenario: welcome_{number:02}, trigger: {{event: sign_up}}, reentry: once, steps: [{{send: hello/one}}]}}"
    for number in range(30)
)


def test_of_many_scenarios_an_error_names_a_dozen_and_how_many_more_there_are() -> None:
    scenarios = loads(MANY).scenarios
    with pytest.raises(InputError) as told:
        scenario_in(scenarios, None)
    named = ", ".join(f"welcome_{number:02}" for number in range(12))
    assert str(told.value) == f"which scenario? pass scenario=; this run has {named} and 18 more"


def test_of_many_scenarios_those_most_like_the_name_that_was_given_come_first() -> None:
    with pytest.raises(InputError, match=r"it has welcome_27, .* and 18 more; did you mean 'welcome_27'"):
        scenario_in(loads(MANY).scenarios, "welcom_27")
    with pytest.raises(KeyError, match=r"this program has welcome_27, .* and 18 more"):
        loads(MANY)["welcom_27"]


def test_where_scenarios_have_a_goal_only_those_are_asked_for() -> None:
    goal = "{scenario: GOAL, trigger: {event: x}, reentry: once, goal: {event: y, within: 1d}, steps: [{send: a/b}]}"
    some = "\n---\n".join([MANY, goal.replace("GOAL", "cart"), goal.replace("GOAL", "day")])
    with pytest.raises(InputError, match=r"^which scenario\? pass scenario=; with a goal this run has cart, day$"):
        scenario_with_goal(loads(some).scenarios, None)


def test_thirteen_names_are_all_told() -> None:
    assert listed(range(13), near="3") == ", ".join(map(str, range(13)))
    assert listed(range(14)).endswith(", 11 and 2 more")


def test_a_fault_at_many_places_is_one_line_with_the_first_of_them() -> None:
    faults = [
        Fault("unknown template", file="a.yaml", line=line, path=f"steps.{line}.send", found="cart/x", allowed="cart/y")
        for line in range(2, 142)
    ]
    other = Fault("unknown template", file="a.yaml", line=200, path="steps.9.send", found="cart/z", allowed="cart/y")
    said = str(ScenarioError([*faults, other])).splitlines()
    assert said == [
        "2 faults",
        "  a.yaml:2: steps.2.send: unknown template; found 'cart/x'; allowed: cart/y (and at a.yaml:3: steps.3.send, "
        "a.yaml:4: steps.4.send, a.yaml:5: steps.5.send, a.yaml:6: steps.6.send, a.yaml:7: steps.7.send, "
        "134 more places)",
        "  a.yaml:200: steps.9.send: unknown template; found 'cart/z'; allowed: cart/y",
    ]
    assert len(ScenarioError([*faults, other]).faults) == 141


def test_a_fault_of_one_path_names_only_the_lines() -> None:
    faults = [Fault("unknown word", file=f"{name}.yaml", line=3, path="reentry") for name in "abc"]
    assert str(ScenarioError(faults)) == "a.yaml:3: reentry: unknown word (and at b.yaml:3, c.yaml:3)"


def test_faults_that_say_only_where_they_stand_are_each_told() -> None:
    faults = [Fault("no such number", path=path) for path in ("buys.speed", "order.color")]
    assert str(ScenarioError(faults)).splitlines() == [
        "2 faults",
        "  buys.speed: no such number",
        "  order.color: no such number",
    ]
