"""Whether a letter agrees with the program that sends it: its scenario, its step, its offer."""

from __future__ import annotations

from toolkit.errors import did_you_mean
from toolkit.mail.letter import Letter
from toolkit.scenario.models import Offer, Program, Scenario, Send, Step, every_step, without_round

__all__ = ["offer_differs", "sends", "step_of"]


def step_of(program: Program, letter: Letter) -> tuple[Send | None, str | None]:
    """The step of the program that a letter says it is of; else None, and what does not agree, in words."""
    names = [scenario.scenario for scenario in program.scenarios]
    if letter.scenario not in names:
        return None, f"no scenario {letter.scenario!r} in the program" + did_you_mean(letter.scenario, names)
    scenario: Scenario = program[letter.scenario]
    if scenario.class_ != letter.class_:
        return None, f"the letter is {letter.class_}, its scenario {scenario.class_}"
    found = next((send for send in sends(scenario.steps) if send.id == without_round(letter.step)), None)
    if found is None:
        return None, f"scenario {letter.scenario!r} has no send step {letter.step!r}"
    if found.send != letter.template:
        return None, f"step {letter.step!r} sends {found.send!r}, the letter {letter.template!r}"
    return found, None


def offer_differs(offer: Offer | None, letter: Letter) -> str | None:
    """What is not the same in the offer of a step and in that of its letter, in words; None where they agree."""
    given = letter.offer
    if offer is None:
        return "the letter has an offer, the scenario's step has none" if given else None
    if given is None:
        may_lack = offer.pool and offer.on_empty == "send_without"  # a pool of coupons that ran out
        return None if may_lack else "the scenario's step has an offer, the letter none"
    for name in ("percent", "amount", "minimum"):
        own, value = getattr(offer, name), given.get(name)
        if own != value and (own is None or value is None or abs(float(own) - float(value)) > 1e-9):
            return f"the letter's offer says {name} {value}, the scenario's step {own}"
    return None


def sends(steps: tuple[Step, ...]) -> list[Send]:
    """All send steps, those inside others too, in the order written."""
    return [step for step in every_step(steps) if isinstance(step, Send)]
