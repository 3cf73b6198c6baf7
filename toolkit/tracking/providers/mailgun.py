"""Mailgun's webhooks, signed with an HMAC inside the body.

https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.tracking.providers.report import (
    JSON,
    Call,
    RefusedError,
    Report,
    by_hmac,
    entries,
    moment,
    parsed,
    said,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "mailgun"
SECRET = "the webhook signing key"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "accepted": "sent",
    "delivered": "delivered",
    "failed": "bounced",
    "rejected": "rejected",
    "opened": "opened",
    "clicked": "clicked",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
    "list_member_uploaded": None,
}
REASONS = {"bounce": "bounced", "suppress-bounce": "bounced", "suppress-complaint": "spam", "generic": "other"}


def verify(call: Call, secret: str) -> None:
    """The signature over time and token is Mailgun's."""
    (body,) = entries(parsed(call.body))[:1] or ({},)
    given = {name: words_of(said(body, "signature", name)) for name in ("timestamp", "token", "signature")}
    if not all(given.values()):
        raise RefusedError("no signature")
    content = f"{given['timestamp']}{given['token']}".encode()
    by_hmac(str(given["signature"]), secret.encode(), content)


def read(call: Call) -> list[Report]:
    """What the call reports: one event."""
    found = []
    for body in entries(parsed(call.body)):
        event = body.get("event-data") if isinstance(body.get("event-data"), dict) else body
        word = str(said(event, "event"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        temporary = said(event, "severity") == "temporary"
        if word == "failed" and temporary:
            kind = "deferred"
        tags = said(event, "tags") or said(event, "tag")
        message_id = words_of(said(event, "message", "headers", "message-id") or said(event, "message-id"))
        failed = word in ("failed", "rejected")
        variables = said(event, "user-variables")
        found.append(
            Report(
                kind,
                moment(said(event, "timestamp")),
                words_of(said(event, "recipient")),
                event_id=words_of(said(event, "id") or said(event, "token")),
                message_id=message_id,
                message_ids=(message_id,) if message_id else (),
                bounce_type="hard" if kind == "bounced" else None,
                reason=REASONS.get(str(said(event, "reason")), "other") if failed else None,
                description=words_of(
                    said(event, "delivery-status", "description")
                    or said(event, "reject", "description")
                    or said(event, "reject", "reason")
                ),
                response=words_of(said(event, "delivery-status", "message")),
                agent=words_of(said(event, "client-info", "user-agent") or said(event, "user-agent")),
                url=words_of(said(event, "url")),
                told="machine" if said(event, "client-info", "bot") not in (None, "", "gmail") else "",
                tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
                metadata=variables if isinstance(variables, dict) else {},
            )
        )
    return found
