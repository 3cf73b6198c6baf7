"""Unisender Go's webhooks, signed with an MD5 over the body and the API key.

https://godocs.unisender.ru/web-api-ref#callback-format
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.tracking.providers.report import JSON, Call, RefusedError, Report, entries, moment, parsed, said, words_of

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "unisender_go"
SECRET = "the API key"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "sent": "sent",
    "delivered": "delivered",
    "hard_bounced": "bounced",
    "soft_bounced": "deferred",  # it goes on trying
    "spam": "complained",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
    "subscribed": "subscribed",
}
_AUTH = re.compile(rb'("auth"\s*:\s*")([0-9a-f]{32})(")')


def verify(call: Call, secret: str) -> None:
    """The body with the API key in the place of its `auth` has that MD5."""
    found = _AUTH.search(call.body)
    if found is None:
        raise RefusedError("no signature")
    start, end = found.span(2)
    made = hashlib.md5(call.body[:start] + secret.encode() + call.body[end:]).hexdigest()  # noqa: S324 their own
    if not hmac.compare_digest(made.encode(), found[2]):
        raise RefusedError("wrong signature")


def read(call: Call) -> list[Report]:
    """What the call reports, one for each event."""
    found = []
    for event in _events(parsed(call.body)):
        word = str(event.get("status"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        job = words_of(event.get("job_id"))
        metadata = event.get("metadata")
        info = event.get("delivery_info")
        failed = word in ("hard_bounced", "soft_bounced")
        found.append(
            Report(
                kind,
                moment(event.get("event_time")),
                words_of(event.get("email")),
                message_id=job,
                bounce_type="hard" if kind == "bounced" else None,
                reason="bounced" if failed else None,
                description=words_of(said(info, "delivery_status") or event.get("comment")),
                response=words_of(said(info, "destination_response")),
                agent=words_of(said(info, "user_agent")),
                url=words_of(event.get("url")),
                metadata=metadata if isinstance(metadata, dict) else {},
            )
        )
    return found


def _events(body: Any) -> Iterator[dict[str, Any]]:
    if said(body, "events_by_user") is None:
        yield from entries(body)
        return
    for user in entries(body["events_by_user"]):
        for event in entries(user.get("events") or []):
            data = event.get("event_data")
            if isinstance(data, dict):
                yield data
