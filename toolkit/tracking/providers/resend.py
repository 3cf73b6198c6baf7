"""Resend's webhooks, signed in the way of Svix.

https://resend.com/docs/dashboard/webhooks/verify-webhooks-requests
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import json
from collections.abc import Mapping
from typing import Any

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

NAME = "resend"
SECRET = "the signing secret, whsec_…"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "email.sent": "sent",
    "email.delivered": "delivered",
    "email.delivery_delayed": "deferred",
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.failed": "rejected",
    "email.suppressed": "rejected",
    "email.scheduled": None,
}
_TOLERANCE = 300_000_000  # microseconds a call may be old, or ahead
_SUPPRESSED = "suppressed"


def verify(call: Call, secret: str) -> None:
    """One of the signatures over id, time and body is right, and the time is near."""
    name, stamp = call.headers.get("svix-id", ""), call.headers.get("svix-timestamp", "")
    at = moment(stamp)
    if at is None or abs(call.now - at) > _TOLERANCE:
        raise RefusedError("the call is too old, or from a clock that is wrong")
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError("the signing secret is not base64") from None
    content = f"{name}.{stamp}.".encode() + call.body
    for given in call.headers.get("svix-signature", "").split():
        version, _, signature = given.partition(",")
        try:
            if version == "v1":
                by_hmac(signature, key, content, form="base64")
                return
        except RefusedError:
            continue
    raise RefusedError("wrong signature")


def read(call: Call) -> list[Report]:
    """What the call reports: one event, for its first recipient."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(event.get("type"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        to = said(event, "data", "to")
        first = to[0] if isinstance(to, list) and to else to
        headers = said(event, "data", "headers")
        named = {
            str(said(one, "name")).lower(): str(said(one, "value"))
            for one in (headers if isinstance(headers, list) else [])
        }
        why = words_of(said(event, "data", "bounce", "message"))
        blocked = _SUPPRESSED in (why or "").lower()
        soft = str(said(event, "data", "bounce", "type")) in ("Transient", "Temporary")
        found.append(
            Report(
                kind,
                moment(said(event, "data", "click", "timestamp")) or moment(event.get("created_at")),
                email.utils.parseaddr(str(first))[1] or None,
                event_id=call.headers.get("svix-id") or None,
                message_id=words_of(said(event, "data", "email_id")),
                message_ids=tuple(value for name, value in named.items() if name == "message-id"),
                bounce_type=("soft" if soft else "hard") if kind == "bounced" else None,
                reason=("blocked" if blocked else "bounced") if kind == "bounced" else None,
                description=why,
                agent=words_of(said(event, "data", "click", "userAgent")),
                url=words_of(said(event, "data", "click", "link")),
                tags=tuple(map(str, _json(named.get("x-tags"), list))),
                metadata=_json(named.get("x-metadata"), dict),
            )
        )
    return found


def _json(value: str | None, kind: type[Any]) -> Any:
    try:
        found = json.loads(value) if value else kind()
    except ValueError:
        return kind()
    return found if isinstance(found, kind) else kind()
