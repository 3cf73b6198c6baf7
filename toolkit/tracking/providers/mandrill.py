"""Mailchimp Transactional (Mandrill) webhooks: a form with a list of events, signed with the web address.

https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from toolkit.tracking.providers.report import (
    Call,
    Report,
    UnreadableError,
    by_hmac,
    entries,
    moment,
    parsed,
    said,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "mandrill"
SECRET = "the webhook's key"  # noqa: S105 words, no secret
TYPES = ("application/x-www-form-urlencoded",)
WORDS: Mapping[str, str | None] = {
    "send": "sent",
    "deferral": "deferred",
    "delivered": "delivered",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "open": "opened",
    "click": "clicked",
    "spam": "complained",
    "unsub": "unsubscribed",
    "reject": "rejected",
    "blacklist": None,
    "whitelist": None,
}


def verify(call: Call, secret: str) -> None:
    """The signature over the web address and the fields is right."""
    fields = sorted(_fields(call))
    content = call.url + "".join(name + value for name, value in fields)
    by_hmac(
        call.headers.get("x-mandrill-signature", ""), secret.encode(), content.encode(), digest="sha1", form="base64"
    )


def read(call: Call) -> list[Report]:
    """What the call reports, one for each event."""
    events = dict(_fields(call)).get("mandrill_events")
    if events is None:
        raise UnreadableError("the form has no mandrill_events")
    found = []
    for event in entries(parsed(events.encode())):
        word = str(event.get("event") or event.get("type"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        mail = event.get("msg")
        metadata, tags = said(mail, "metadata"), said(mail, "tags")
        name = words_of(event.get("_id") or said(mail, "_id"))
        found.append(
            Report(
                kind,
                moment(event.get("ts")),
                words_of(said(mail, "email") or said(event, "reject", "email")),
                event_id=None if name is None else f"{name}/{word}/{event.get('ts')}",
                message_id=name,
                bounce_type={"hard_bounce": "hard", "soft_bounce": "soft"}.get(word),
                description=words_of(said(mail, "bounce_description") or said(event, "reject", "reason")),
                response=words_of(said(mail, "diag")),
                agent=words_of(event.get("user_agent")),
                url=words_of(event.get("url")),
                tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
                metadata=metadata if isinstance(metadata, dict) else {},
            )
        )
    return found


def _fields(call: Call) -> list[tuple[str, str]]:
    try:
        return parse_qsl(call.body.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise UnreadableError("the body is not a form") from None
