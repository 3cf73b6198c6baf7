"""A letter agrees with the program that sends it: its scenario, its class, its step, its template and its offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.mail import Letter
from toolkit.mail.agreement import offer_differs, sends, step_of
from toolkit.scenario.models import Offer, Program, Send, Step

Make = Callable[..., Letter]
Plan = Callable[..., Program]


def _step(program: Program) -> Step:
    return program["shop"].steps[0]


def test_a_letter_of_a_step_of_the_program_agrees(program: Plan, letter: Make) -> None:
    plan = program()
    assert step_of(plan, letter()) == (_step(plan), None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scenario": "shpo"}, "no scenario 'shpo' in the program; did you mean 'shop'?"),
        ({"class_": "transactional"}, "the letter is transactional, its scenario marketing"),
        ({"step": "mial"}, "scenario 'shop' has no send step 'mial'"),
        ({"template": "shop/other"}, "step 'mail' sends 'shop/mail', the letter 'shop/other'"),
        # A letter that names no step of the scenario is of none, whatever it sends.
        ({"step": "other", "template": "shop/mail"}, "scenario 'shop' has no send step 'other'"),
    ],
)
def test_a_letter_of_another_program_is_told_by_what_differs(
    program: Plan, letter: Make, changes: dict[str, Any], said: str
) -> None:
    assert step_of(program(), letter(**changes)) == (None, said)


def test_a_step_inside_another_is_found(program: Plan, letter: Make) -> None:
    inner = {"send": "shop/later", "id": "later"}
    outer = {"wait_for": {"event": "visit", "within": "1d"}, "then": [inner], "else": []}
    plan = program()
    changed = type(plan["shop"]).model_validate(
        {"scenario": "shop", "trigger": {"event": "visit"}, "reentry": "once", "steps": [outer, {"send": "shop/mail"}]}
    )
    plan = Program(scenarios=(changed,), policies=plan.policies)
    found, wrong = step_of(plan, letter(step="later", template="shop/later"))
    assert wrong is None
    assert isinstance(found, Send)
    assert found.id == "later"
    assert [one.send for one in sends(changed.steps)] == ["shop/later", "shop/mail"]


@pytest.mark.parametrize(
    ("step", "given", "said"),
    [
        (None, None, None),
        (None, {"percent": 10}, "the letter has an offer, the scenario's step has none"),
        ({"percent": 10}, None, "the scenario's step has an offer, the letter none"),
        ({"percent": 10}, {"percent": 10.0}, None),
        ({"percent": 10}, {"percent": 10.1}, "the letter's offer says percent 10.1, the scenario's step 10.0"),
        ({"percent": 10}, {"code": "TEN"}, "the letter's offer says percent None, the scenario's step 10.0"),
        ({"amount": 5}, {"amount": 5, "minimum": 20}, "the letter's offer says minimum 20, the scenario's step None"),
        # Numbers that went through text and back are the same; a cent is not.
        ({"amount": 0.3}, {"amount": 0.1 + 0.2}, None),
        ({"amount": 0.3}, {"amount": 0.31}, "the letter's offer says amount 0.31, the scenario's step 0.3"),
        # Only where coupons may run out and the mail then goes without may the letter have none.
        ({"percent": 10, "pool": "spring", "on_empty": "send_without"}, None, None),
        ({"percent": 10, "pool": "spring"}, None, "the scenario's step has an offer, the letter none"),
        ({"percent": 10, "on_empty": "send_without"}, None, "the scenario's step has an offer, the letter none"),
    ],
)
def test_an_offer_is_that_of_the_step_or_it_is_told(
    letter: Make, step: dict[str, Any] | None, given: dict[str, Any] | None, said: str | None
) -> None:
    offer = None if step is None else Offer.model_validate(step)
    assert offer_differs(offer, letter(offer=given)) == said
