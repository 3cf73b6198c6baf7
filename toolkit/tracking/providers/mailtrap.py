"""Mailtrap's webhooks, signed with an HMAC over the body.

https://docs.mailtrap.io/email-api-smtp/advanced/webhooks
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.tracking.providers.report import Call, Report, by_hmac, entries, moment, parsed, said, words_of

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "mailtrap"
SECRET = "the webhook's signature secret"  # noqa: S105 words, no secret
TYPES = ("application/json", "application/jsonlines")
WORDS: Mapping[str, str | None] = {
    "delivery": "delivered",
    "soft bounce": "deferred",
    "bounce": "bounced",
    "suspension": "deferred",
    "reject": "rejected",
    "open": "opened",
    "click": "clicked",
    "spam": "complained",
    "unsubscribe": "unsubscribed",
}
REASONS = {
    "bounce": "bounced",
    "soft bounce": "other",
    "suspension": "other",
    "reject": "blocked",
    "spam": "spam",
    "unsubscribe": "unsubscribed",
}


def verify(call: Call, secret: str) -> None:
    """The signature over the body is right."""
    by_hmac(call.headers.get("mailtrap-signature", ""), secret.encode(), call.body)


def read(call: Call) -> list[Report]:
    """What the call reports, one for each event."""
    body = parsed(call.body)
    found = []
    for event in entries(said(body, "events") if said(body, "events") is not None else body):
        word = str(event.get("event"))
        if word not in WORDS:
            continue
        metadata, category = event.get("custom_variables"), event.get("category")
        found.append(
            Report(
                WORDS[word],
                moment(event.get("timestamp")),
                words_of(event.get("email")),
                event_id=words_of(event.get("event_id")),
                message_id=words_of(event.get("message_id")),
                bounce_type="hard" if word == "bounce" else None,
                reason=REASONS.get(word),
                description=words_of(event.get("reason")),
                response=words_of(event.get("response")),
                agent=words_of(event.get("user_agent")),
                url=words_of(event.get("url")),
                tags=(str(category),) if category else (),
                metadata=metadata if isinstance(metadata, dict) else {},
            )
        )
    return found
