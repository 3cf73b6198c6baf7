"""The send gate: address, suppression, consent, quiet hours, caps, coupons, holdout, in this order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reference.calendar import end_of_quiet, is_quiet
from toolkit.scenario import models as m
from toolkit.scenario.policies import Cap, Quiet

if TYPE_CHECKING:
    from tests.reference.interpreter import Interpreter, Journey, Person


@dataclass(frozen=True)
class Sent:
    """A mail that was sent, or withheld."""

    at: int
    scenario: str
    class_: str
    withheld: bool


@dataclass(frozen=True)
class Hold:
    """Not now: the next moment to try, and the reason should that be too late."""

    until: int
    reason: str


@dataclass(frozen=True)
class Refuse:
    """Not at all; `ends` when the journey ends with it."""

    reason: str
    ends: bool = False


@dataclass(frozen=True)
class Pass:
    """Through the gate: sent, or withheld from the holdout."""

    status: str
    reason: str | None
    offer: m.Offer | None


Verdict = Hold | Refuse | Pass


def gate(world: Interpreter, person: Person, journey: Journey, step: m.Send, name: str) -> Verdict:
    """What becomes of a mail now."""
    marketing = journey.scenario.class_ == "marketing"
    if world.has_email and not person.state.get("email"):
        return Refuse("no_address")
    if person.suppressed:
        return Refuse("suppressed")
    if not marketing:
        return Pass("send", None, step.offer)
    if not person.state["consent"]:
        return Refuse("unsubscribed")
    held = quiet_hold(world, person, journey, name)
    if held is not None:
        return held
    for cap in (*world.policies.caps, *journey.scenario.caps):
        taken = cap_verdict(world, person, journey, cap)
        if taken is not None:
            return taken
    offer = step.offer
    if offer is not None and offer.pool is not None and world.coupons.get(offer.pool, 0) <= 0:
        if offer.on_empty == "skip":
            return Refuse("coupon_empty")
        offer = None
    experiment = journey.scenario.experiment
    if experiment and experiment.holdout is not None and journey.arm == experiment.holdout:
        return Pass("withheld", "holdout", offer)
    if offer is not None and offer.pool is not None:
        world.coupons[offer.pool] -= 1
    return Pass("send", None, offer)


def quiet_hold(world: Interpreter, person: Person, journey: Journey, name: str) -> Hold | None:
    """R15: until the end of quiet hours, and a share of the spread that never changes."""
    quiet: Quiet | None = journey.scenario.quiet or world.policies.quiet
    zone = world.zone(person)
    if quiet is None or not is_quiet(world.now, quiet.from_, quiet.to, zone):
        return None
    unit = f"{person.id}:{journey.scenario.scenario}:{name}"
    part = int(hashlib.md5(f"spread:{unit}".encode()).hexdigest()[:13], 16) / 16**13
    end = end_of_quiet(world.now, quiet.to, zone)
    return Hold(end + int(part * quiet.spread.elapsed), "quiet_expired")


def cap_verdict(world: Interpreter, person: Person, journey: Journey, cap: Cap) -> Verdict | None:
    """R16: whether a cap is full now, and what then."""
    window = cap.per.elapsed
    counted = sorted(at for at in sends(world, person, journey, cap) if world.now - window < at <= world.now)
    if len(counted) < cap.limit:
        return None
    if cap.on_hit == "postpone":
        return Hold(counted[len(counted) - cap.limit] + window, "cap")
    return Refuse("cap", ends=cap.on_hit == "exit")


def sends(world: Interpreter, person: Person, journey: Journey, cap: Cap) -> Iterator[int]:
    """R14, R16: the moments of the mails that a cap counts."""
    here = journey.scenario.scenario
    for sent in person.sent:
        if sent.class_ == "marketing" and (sent.scenario == here if cap.scope == "scenario" else not sent.withheld):
            yield sent.at
    if world.count_logged_sends:
        transactional = {one.scenario for one in world.scenarios if one.class_ == "transactional"}
        for event in person.history:
            logged = event.properties.get("scenario")
            is_marketing = event.name == "email_sent" and logged not in transactional
            if is_marketing and (cap.scope == "marketing" or logged == here):
                yield event.at
