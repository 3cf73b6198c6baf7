"""MailerSend's webhooks, signed with an HMAC over the body.

https://developers.mailersend.com/api/v1/webhooks.html
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.tracking.providers.report import JSON, Call, Report, by_hmac, entries, moment, parsed, said, words_of

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "mailersend"
SECRET = "the signing secret"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "sent": "sent",
    "delivered": "delivered",
    "deferred": "deferred",
    "soft_bounced": "bounced",
    "hard_bounced": "bounced",
    "opened": "opened",
    "opened_unique": "opened",
    "clicked": "clicked",
    "clicked_unique": "clicked",
    "unsubscribed": "unsubscribed",
    "spam_complaint": "complained",
    "survey_opened": None,
    "survey_submitted": None,
}


def verify(call: Call, secret: str) -> None:
    """The signature over the body is right."""
    by_hmac(call.headers.get("signature", ""), secret.encode(), call.body)


def read(call: Call) -> list[Report]:
    """What the call reports: one event."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(said(event, "data", "type") or str(event.get("type")).removeprefix("activity."))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        tags = said(event, "data", "email", "tags")
        why = said(event, "data", "morph", "readable_reason") or said(event, "data", "morph", "reason")
        found.append(
            Report(
                kind,
                moment(said(event, "data", "created_at")) or moment(event.get("created_at")),
                words_of(said(event, "data", "email", "recipient", "email")),
                event_id=words_of(said(event, "data", "id")),
                message_id=words_of(said(event, "data", "email", "message", "id")),
                bounce_type={"hard_bounced": "hard", "soft_bounced": "soft"}.get(word),
                reason="bounced" if kind == "bounced" else "spam" if kind == "complained" else None,
                description=words_of(why),
                url=words_of(said(event, "data", "morph", "url")),
                tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
            )
        )
    return found
