"""Twilio SendGrid's event webhook, signed with ECDSA.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from toolkit.tracking.providers.report import JSON, Call, RefusedError, Report, entries, moment, parsed, words_of

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "sendgrid"
SECRET = "the verification key, base64"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "processed": "sent",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "bounced",
    "dropped": "rejected",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "subscribed",
}
REASONS = {
    "invalid": "invalid",
    "unsubscribed address": "unsubscribed",
    "bounced address": "bounced",
    "bounce": "bounced",
    "blocked": "blocked",
    "spam reporting address": "spam",
    "expired": "timed_out",
}
_THEIRS = frozenset(
    (
        *("email", "timestamp", "smtp-id", "sg_event_id", "sg_message_id", "event", "category", "reason", "status"),
        *("response", "attempt", "useragent", "ip", "url", "url_offset", "tls", "type", "bounce_classification"),
        *("asm_group_id", "marketing_campaign_id", "marketing_campaign_name", "sg_machine_open", "sg_content_type"),
        *("pool", "newsletter", "cert_err", "send_at"),
    )
)


def verify(call: Call, secret: str) -> None:
    """The signature over time and body is SendGrid's."""
    try:
        key = load_der_public_key(base64.b64decode(secret, validate=True))
        signature = base64.b64decode(call.headers.get("x-twilio-email-event-webhook-signature", ""), validate=True)
        signed = call.headers.get("x-twilio-email-event-webhook-timestamp", "").encode() + call.body
        if not isinstance(key, EllipticCurvePublicKey):
            raise RefusedError("the verification key is none of an elliptic curve")
        key.verify(signature, signed, ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError) as fault:
        raise RefusedError("wrong signature") from fault


def read(call: Call) -> list[Report]:
    """What the call reports, one for each event."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(event.get("event"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        why = str(event.get("type") or event.get("reason") or "").lower()
        category = event.get("category")
        categories = category if isinstance(category, list) else [category] if category else []
        bounced = kind == "bounced"
        hard = str(event.get("type")) != "blocked" and not str(event.get("status") or "5").startswith("4")
        found.append(
            Report(
                kind,
                moment(event.get("timestamp")),
                words_of(event.get("email")),
                event_id=words_of(event.get("sg_event_id")),
                message_id=words_of(event.get("sg_message_id")),
                message_ids=(str(event["smtp-id"]),) if event.get("smtp-id") else (),
                bounce_type=("hard" if hard else "soft") if bounced else None,
                reason=REASONS.get(why, "other") if kind in ("bounced", "rejected") else None,
                response=words_of(event.get("response") or (event.get("reason") if bounced else None)),
                agent=words_of(event.get("useragent")),
                url=words_of(event.get("url")),
                told="machine" if event.get("sg_machine_open") is True else "",
                tags=tuple(map(str, categories)),
                metadata={name: value for name, value in event.items() if name not in _THEIRS},
            )
        )
    return found
