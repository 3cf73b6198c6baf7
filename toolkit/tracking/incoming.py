"""What goes into the store of answers: mails that may be answered, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

__all__ = ["KINDS", "Incoming", "Kept", "TrackedMail", "storable"]

KINDS = (
    "sent",
    "deferred",
    "delivered",
    "bounced",
    "complained",
    "opened",
    "clicked",
    "unsubscribed",
    "subscribed",
    "rejected",
)
"""One vocabulary for the tracker, every provider and the bounce reader; with `email_` before it, the log's events."""


@dataclass(frozen=True, slots=True)
class TrackedMail:
    """A mail that may be answered, as sending hands it down. No address is in it.

    Attributes:
        name: how its Message-ID begins, 16 characters.
        decision_id: the decision it carries out.
        customer_id: who gets it.
        scenario, step, template: where it comes from.
        experiment, arm: of the scenario's experiment, if there is one.
        class_: marketing or transactional.
        domain: of the address, for the deliverability board.
        locale: the customer's.
        message_id: without angle brackets.
        due_at: microseconds since 1970.
        targets: where its links lead; a link's number is its place here.
        provider_id: what a provider calls the mail, where it is known.
        coupon: the pool, and the code of it that the mail gives.
    """

    name: str
    decision_id: str
    customer_id: str
    scenario: str
    step: str
    template: str
    experiment: str | None
    arm: str | None
    class_: str
    domain: str
    locale: str
    message_id: str
    due_at: int
    targets: tuple[str, ...] = ()
    provider_id: str | None = None
    coupon: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """An answer on its way into the store.

    Attributes:
        kind: one of KINDS, or `paused` (unsubscribed for a while) or `preferences`.
        at: when it happened, microseconds since 1970; a moment ahead of the store's clock becomes the store's.
        provider: tracker, bounce, ledger, or a provider's name.
        mail: the mail's name; None where only `provider_mail` is known.
        number: of the link.
        method, agent, network, prefetch, told: see `verdicts.Seen`.
        event_id: unique; the same one again counts once. None makes a new one.
        bounce_type: hard or soft.
        domain: of the recipient.
        provider_mail: what the provider calls the mail, or its Message-ID.
        url: where a click led, as a provider tells it.
        detail: further facts; no address.
        properties: of the event in the log.
        until: for `paused`, when the pause is over.
    """

    kind: str
    at: int
    provider: str = "tracker"
    mail: str | None = None
    number: int | None = None
    method: str = "GET"
    agent: str = ""
    network: str = ""
    prefetch: bool = False
    told: str = ""
    event_id: str | None = None
    bounce_type: str | None = None
    domain: str | None = None
    provider_mail: str | None = None
    url: str | None = None
    detail: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    until: int | None = None


def storable(one: Incoming) -> Incoming:
    """The same answer without what a database refuses, which would keep the answers beside it out, too.

    Those are halves of pairs of UTF-16, which JSON can spell out, and NUL.

    >>> storable(Incoming("bounced", 0, agent="a\\0b", detail={"said": chr(0xD800)})).detail
    {'said': '?'}
    """
    values = {item.name: getattr(one, item.name) for item in fields(one)}
    return replace(one, **{name: _clean(value) for name, value in values.items()})


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "?")
    if isinstance(value, Mapping):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an answer: whether it is new, whether its mail is known (None where nobody looked), and where its
    link leads."""

    fresh: bool
    known: bool | None
    url: str | None = None
