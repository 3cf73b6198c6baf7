"""Steps, triggers and offers of a scenario, and what became of its people and mails, in the few words of a picture."""

from __future__ import annotations

from typing import Any

from toolkit.charts.style import hours_text
from toolkit.engine.flow import Leaving
from toolkit.events.mail_counts import StepAnswers
from toolkit.readable import counted, priced
from toolkit.scenario import Duration, Scenario
from toolkit.scenario.models import CycleTrigger, DateTrigger, Goal, InactiveTrigger, Offer, ScheduleTrigger

__all__ = [
    "answer_lines",
    "condition_text",
    "leaving_lines",
    "length_text",
    "offer_text",
    "plain_name",
    "trigger_text",
]


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


def leaving_lines(left: Leaving, goal: Goal | None) -> list[tuple[str, bool]]:
    """Who left, each kind on a line of its own, and whether that kind is bad news.

    Args:
        left: of a `Flow`.
        goal: of the scenario.

    >>> leaving_lines(Leaving(552, 0, 5), Goal(event="placed_order", within="7d"))
    [('552 left: placed order', False), ('5 unsubscribed', True)]
    """
    name = plain_name(goal.event) if goal else ""
    told = (
        (left.reached, f"left: {name}", False),
        (left.otherwise, f"left, no {name}" if name else "left early", False),
        (left.unsubscribed, "unsubscribed", True),
    )
    return [(f"{count:,} {word}", is_bad) for count, word, is_bad in told if count]


def answer_lines(found: StepAnswers, goal: Goal | None) -> list[str]:
    """How people answered the mails of a step, in the few words that fit a picture.

    Args:
        found: from `engine.flow.answers_of`.
        goal: of the scenario.

    >>> from toolkit.scenario import load
    >>> goal = load("templates/abandoned_cart")["abandoned_cart"].goal
    >>> answer_lines(StepAnswers(2285, 2261, 950, 1115, 277, 277, 11, 2119, 439), goal)
    ['2,285 mails went', 'opened 42–49%', 'clicked 12%', 'then purchase in 7 d: 21%', 'unsubscribed 0.49%']
    >>> answer_lines(StepAnswers(40, 40, 0, 20, 0, 1, 0), None)
    ['40 mails went', 'opened 50% at most', 'clicked 2% at most']
    """
    lines = [f"{counted(found.sent, 'mail')} went"]
    lines.append(f"opened {_range(found.opened_least, found.opened_most, found.delivered)}")
    lines.append(f"clicked {_range(found.clicked_least, found.clicked_most, found.delivered)}")
    if goal is not None and found.watched:
        share = _percent(found.reached, found.watched)
        lines.append(f"then {plain_name(goal.event)} in {length_text(goal.within)}: {share}")
    if found.unsubscribed:
        lines.append(f"unsubscribed {_percent(found.unsubscribed, found.delivered)}")
    return lines


def _range(least: int, most: int, base: int) -> str:
    """A share of which only its two ends are known."""
    low, high = _percent(least, base), _percent(most, base)
    if low == high:
        return high
    return f"{low.removesuffix('%')}–{high}" if least else f"{high} at most"


def _percent(count: int, base: int) -> str:
    """A share in whole percent; a rare one with two digits that tell."""
    share = 100 * count / base if base else 0.0
    return f"{share:.2g}%" if 0 < share < 1 else f"{share:.0f}%"
