"""Tuning by path."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from toolkit.errors import ScenarioError
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.models import Offer, Program, Quiet
from toolkit.scenario.parameters import get_parameter, parameters, set_parameters
from toolkit.scenario.reading import load, loads

PROGRAM = loads("""\
scenario: cart
priority: 60
trigger: {event: cart_add, where: "value >= 20"}
audience: {not_happened: {event: purchase, within: 30d}, any: [{happened: [{event: view, within: 7d, at_least: 3}]}]}
reentry: {after: 7d}
goal: {event: purchase, within: 7d, value: revenue}
experiment: {name: e, arms: {control: 0.2, reminder: 0.8}, holdout: control}
quiet: {from: "22:00", to: "08:00", spread: 30m}
caps: [{limit: 2, per: 1d, scope: scenario}]
steps:
  - {id: pause, wait: 4h}
  - {id: morning, wait: {until: "09:00", on: [mon]}}
  - wait_for: {event: email_clicked, within: 1d}
    then: [exit]
    else:
      - {id: offer, send: cart/offer, offer: {percent: 10, valid: 3d, minimum: 30}, only: [reminder]}
  - id: halves
    split: {name: s, arms: {a: 0.5, b: 0.5}}
    paths:
      a: [{id: thrice, repeat: 3, steps: [{id: nag, wait: 1d}, {send: cart/nag}]}]
      b: []
---
scenario: lapse
trigger: {inactive: purchase, for: 60d}
reentry: once
steps: [{branch: {where: "consent"}, then: [{send: lapse/hello, offer: {amount: 5}}]}]
---
caps: [{limit: 3, per: 7d}]
pools: {summer: {size: 500}}
""")


def test_everything_that_can_be_tuned_has_a_path() -> None:
    found = {path: str(value) for path, value in parameters(PROGRAM).items()}
    assert found == {
        "cart.priority": "60",
        "cart.audience.not_happened[0].within": "30d",
        "cart.audience.not_happened[0].at_least": "1",
        "cart.audience.any[0].happened[0].within": "7d",
        "cart.audience.any[0].happened[0].at_least": "3",
        "cart.reentry.after": "7d",
        "cart.max_age": "72h",
        "cart.goal.within": "7d",
        "cart.experiment.arms": "{'control': 0.2, 'reminder': 0.8}",
        "cart.quiet.from": "22:00",
        "cart.quiet.to": "08:00",
        "cart.quiet.spread": "30m",
        "cart.caps[0].limit": "2",
        "cart.caps[0].per": "1d",
        "cart.pause.wait": "4h",
        "cart.morning.wait.until": "09:00",
        "cart.wait_for.wait_for.within": "1d",
        "cart.offer.offer.percent": "10.0",
        "cart.offer.offer.valid": "3d",
        "cart.offer.offer.minimum": "30.0",
        "cart.halves.split.arms": "{'a': 0.5, 'b': 0.5}",
        "cart.thrice.repeat": "3",
        "cart.nag.wait": "1d",
        "lapse.priority": "50",
        "lapse.trigger.for": "60d",
        "lapse.max_age": "72h",
        "lapse.hello.offer.amount": "5.0",
        "policies.caps[0].limit": "3",
        "policies.caps[0].per": "7d",
        "policies.pools.summer.size": "500",
    }


def test_every_parameter_can_be_read_and_set_to_itself() -> None:
    every = parameters(PROGRAM)
    assert {path: get_parameter(PROGRAM, path) for path in every} == every
    assert set_parameters(PROGRAM, every) == PROGRAM


@pytest.mark.parametrize(
    ("path", "value", "meant"),
    [
        ("cart.pause.wait", "2h", Duration.parse("2h")),
        ("cart.pause.wait", timedelta(hours=2), Duration.parse("2h")),
        ("cart.pause.wait", Duration.parse("2h"), Duration.parse("2h")),
        ("cart.morning.wait.until", "10:00", TimeOfDay(600)),
        ("cart.offer.offer.percent", 15, 15.0),
        ("cart.thrice.repeat", 2, 2),
        ("cart.nag.wait", "3d", Duration(3)),
        ("cart.halves.split.arms", {"a": 0.25, "b": 0.75}, {"a": 0.25, "b": 0.75}),
        ("cart.experiment.arms", {"control": 0.5, "reminder": 0.5}, {"control": 0.5, "reminder": 0.5}),
        ("cart.quiet.from", "23:00", TimeOfDay(23 * 60)),
        ("cart.quiet", None, None),
        ("policies.quiet", {"from": "22:00", "to": "07:00"}, Quiet.model_validate({"from": "22:00", "to": "07:00"})),
        ("policies.caps[0].limit", 1, 1),
        ("policies.pools.summer.size", 10, 10),
        ("cart.offer.offer", {"amount": 5}, Offer(amount=5)),
        ("lapse.reentry", "every", "every"),
        ("cart.audience.any[0].happened[0].at_least", 4, 4),
    ],
)
def test_a_parameter_set_is_the_parameter_read_and_nothing_else_changes(
    path: str, value: object, meant: object
) -> None:
    changed = set_parameters(PROGRAM, {path: value})
    assert get_parameter(changed, path) == meant
    assert set_parameters(changed, {path: get_parameter(PROGRAM, path)}) == PROGRAM


def test_the_program_itself_stays_as_it_was() -> None:
    before = PROGRAM.model_dump()
    set_parameters(PROGRAM, {"cart.pause.wait": "1h", "policies.caps[0].limit": 9})
    assert PROGRAM.model_dump() == before


def test_the_order_of_new_arms_is_the_order_given() -> None:
    changed = set_parameters(PROGRAM, {"cart.experiment.arms": {"reminder": 0.5, "control": 0.5}})
    assert list(get_parameter(changed, "cart.experiment.arms")) == ["reminder", "control"]


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("cart.pause.wiat", "cart.pause.wait"),
        ("cart.puase.wait", "cart.pause.wait"),
        ("card.pause.wait", "cart.pause.wait"),
        ("policies.caps[1].limit", "policies.caps[0].limit"),
        ("pause.wait", "cart.pause.wait"),
        ("", None),
    ],
)
def test_a_path_that_is_not_there_is_named_with_the_nearest(path: str, near: str | None) -> None:
    for call in (lambda: get_parameter(PROGRAM, path), lambda: set_parameters(PROGRAM, {path: 1})):
        with pytest.raises(ScenarioError, match="no such parameter") as caught:
            call()
        assert caught.value.faults[0].nearest == near


def test_values_that_are_not_allowed_are_all_named_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        set_parameters(
            PROGRAM,
            {"cart.pause.wait": "4 hours", "cart.offer.offer.percent": 110, "policies.caps[0].limit": 0, "nowhere": 1},
        )
    assert [(fault.path, fault.nearest) for fault in caught.value.faults] == [
        ("cart.pause.wait", "4h"),
        ("cart.offer.offer.percent", None),
        ("policies.caps[0].limit", None),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"cart.quiet.to": "22:00"}, "cart.quiet.to"),
        ({"cart.experiment.arms": {"control": 0.5, "reminder": 0.6}}, "cart.experiment.arms"),
        ({"cart.offer.offer.amount": 5}, "cart.steps.wait_for.else.offer.offer"),
        ({"policies.timezone": "Europe/Pari"}, "policies.timezone"),
    ],
)
def test_a_program_that_would_contradict_itself_is_refused(values: dict[str, object], path: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        set_parameters(PROGRAM, values)
    assert [fault.path for fault in caught.value.faults] == [path]


def test_an_empty_program_has_only_what_all_share() -> None:
    assert parameters(Program(scenarios=())) == {}


def test_what_is_no_program_no_values_and_no_path_is_told() -> None:
    program = load("templates/abandoned_cart")
    wrong: Any = "abandoned_cart.pause.wait"
    with pytest.raises(ScenarioError, match="expected values by path"):
        set_parameters(program, wrong)
    for call in (lambda: parameters(wrong), lambda: set_parameters(wrong, {"a": 1}), lambda: get_parameter(wrong, "a")):
        with pytest.raises(ScenarioError, match="expected a program"):
            call()
    with pytest.raises(ScenarioError, match="no such parameter; found 3"):
        set_parameters(program, {3: "4h"})  # type: ignore[dict-item]
