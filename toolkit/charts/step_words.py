"""Steps, triggers and offers of a scenario in the few words that fit a picture."""

from __future__ import annotations

from typing import Any

from toolkit.charts.style import hours_text
from toolkit.readable import priced
from toolkit.scenario import Duration, Scenario
from toolkit.scenario.models import CycleTrigger, DateTrigger, InactiveTrigger, Offer, ScheduleTrigger

__all__ = ["condition_text", "length_text", "offer_text", "plain_name", "trigger_text"]


def plain_name(name: str) -> str:
    """A name as people read it.

    >>> plain_name("abandoned_cart")
    'abandoned cart'
    """
    return name.replace("_", " ")


def length_text(wait: Duration) -> str:
    """A length of time in words; "no wait" for none.

    >>> length_text(Duration.parse("4h"))
    '4 h'
    """
    return hours_text(wait.elapsed / 3_600_000_000) if wait.elapsed else "no wait"


def condition_text(condition: Any) -> str:
    """What a branch asks, in a few words; where it asks more than the first of it, it says so.

    >>> from toolkit.scenario.models import Condition
    >>> condition_text(Condition(where="country = 'FR'", happened={"event": "view", "at_least": 3}))
    "country = 'FR', and more"
    """
    parts = [str(condition.where)] if condition.where else []
    for name, did in (("happened", "happened"), ("not_happened", "did not happen")):
        for one in getattr(condition, name):
            times = f" {one.at_least} times" if one.at_least > 1 else ""
            parts.append(f"{plain_name(one.event)} {did}{times}")
    parts += [str(condition.trigger)] if condition.trigger else []
    parts += [f"one of {len(condition.any_)} conditions"] if condition.any_ else []
    return parts[0] + (", and more" if len(parts) > 1 else "") if parts else "condition"


def trigger_text(scenario: Scenario) -> tuple[str, str]:
    """What starts a journey, and a detail of it, "" for none."""
    match scenario.trigger:
        case DateTrigger() as one:
            return plain_name(one.date), f"every {one.every}" if one.every == "year" else "once"
        case InactiveTrigger() as one:
            return f"no {plain_name(one.inactive)}", f"for {length_text(one.for_)}"
        case CycleTrigger() as one:
            return f"after {plain_name(one.cycle)}", "when it is time again"
        case ScheduleTrigger() as one:
            return f"every {one.schedule}" if one.schedule != "once" else "once", f"at {one.at}"
        case one:
            return plain_name(one.event), one.where or ""


def offer_text(offer: Offer | None, currency: str | None = None) -> str:
    """What an offer gives and how long it holds; "" for none.

    Args:
        offer: of a step.
        currency: of the program, where it is known; for an offer that names none.

    >>> offer_text(Offer(amount=5)), offer_text(Offer(amount=5), "EUR")
    ('5 of the shop’s currency off', '€5 off')
    """
    if offer is None:
        return ""
    parts = []
    if offer.percent is not None:
        parts.append(f"{offer.percent:g}% off")
    if offer.amount is not None:
        amount = f"{offer.amount:g}"
        money = offer.currency or currency
        parts.append(f"{priced(amount, money) if money else f'{amount} of the shop’s currency'} off")
    if offer.free_shipping:
        parts.append("free shipping")
    valid = f", {length_text(offer.valid)}" if offer.valid else ""
    return " + ".join(parts) + valid
