"""Brevo's transactional webhooks, which carry a token.

https://developers.brevo.com/docs/transactional-webhooks
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.tracking.providers.report import (
    JSON,
    Call,
    Report,
    by_bearer,
    entries,
    moment,
    object_in,
    parsed,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "brevo"
SECRET = "the token of the webhook's authentication (Bearer)"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "request": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "deferred": "deferred",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "invalid_email": "bounced",
    "blocked": "rejected",
    "error": "rejected",
    "spam": "complained",
    "complaint": "complained",
    "opened": "opened",
    "unique_opened": "opened",
    "proxy_open": "opened",
    "unique_proxy_open": "opened",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "unsubscribed": "unsubscribed",
    "list_addition": None,
}
REASONS = {
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "invalid_email": "invalid",
    "blocked": "blocked",
    "spam": "spam",
    "complaint": "spam",
}
_TOLD = ("proxy_open", "unique_proxy_open")

verify = by_bearer


def read(call: Call) -> list[Report]:
    """What the call reports: one event, or several of a batched webhook."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(event.get("event"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        soft = word == "soft_bounce"
        found.append(
            Report(
                kind,
                moment(event.get("ts_epoch")) or moment(event.get("ts_event")) or moment(event.get("ts")),
                words_of(event.get("email")),
                message_id=words_of(event.get("message-id")),
                message_ids=(str(event["message-id"]),) if event.get("message-id") else (),
                bounce_type=("soft" if soft else "hard") if kind == "bounced" else None,
                reason=REASONS.get(word),
                response=words_of(event.get("reason")),
                agent=words_of(event.get("user_agent")),
                url=words_of(event.get("link")),
                told="machine" if word in _TOLD else "",
                tags=_tags(event),
                metadata=object_in(event.get("X-Mailin-custom")),
            )
        )
    return found


def _tags(event: dict[str, Any]) -> tuple[str, ...]:
    for value in (event.get("tags"), event.get("tag")):
        if isinstance(value, list):
            return tuple(map(str, value))
        if isinstance(value, str) and value:
            return (value,)
    return ()
