"""Postal's webhooks, signed with the RSA key of the installation.

https://docs.postalserver.io/developer/webhooks
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from toolkit.tracking.providers.report import (
    JSON,
    Call,
    RefusedError,
    Report,
    entries,
    moment,
    parsed,
    said,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "postal"
SECRET = "the public key, base64 (what stands after p= in its DKIM record)"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "MessageSent": "delivered",
    "MessageDelayed": "deferred",
    "MessageDeliveryFailed": "rejected",
    "MessageHeld": "deferred",
    "MessageBounced": "bounced",
    "MessageLinkClicked": "clicked",
    "MessageLoaded": "opened",
    "DomainDNSError": None,
}


def verify(call: Call, secret: str) -> None:
    """The signature over the body is the installation's."""
    newer = call.headers.get("x-postal-signature-256")
    given = newer or call.headers.get("x-postal-signature", "")
    try:
        key = load_der_public_key(base64.b64decode(secret, validate=True))
        if not isinstance(key, RSAPublicKey):
            raise RefusedError("the public key is none of RSA")
        algorithm = SHA256() if newer else SHA1()  # noqa: S303 Postal's own
        key.verify(base64.b64decode(given, validate=True), call.body, padding.PKCS1v15(), algorithm)
    except (InvalidSignature, binascii.Error, ValueError) as fault:
        raise RefusedError("wrong signature") from fault


def read(call: Call) -> list[Report]:
    """What the call reports: one event."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(event.get("event"))
        payload = event.get("payload")
        bounce = isinstance(said(payload, "original_message"), dict)
        mail = said(payload, "original_message") if bounce else said(payload, "message")
        if word not in WORDS or said(mail, "direction") == "incoming":
            continue
        kind = "bounced" if bounce else WORDS[word]
        tag, own = said(mail, "tag"), said(mail, "message_id")
        found.append(
            Report(
                kind,
                moment(event.get("timestamp")),
                words_of(said(mail, "to")),
                event_id=words_of(event.get("uuid")),
                message_id=words_of(said(mail, "id")),
                message_ids=(str(own),) if own else (),
                bounce_type="soft" if kind == "bounced" else None,  # the bounce itself is not in the report
                reason="bounced" if kind == "bounced" else None,
                description=words_of(said(payload, "details")),
                response=words_of(said(payload, "output")),
                agent=words_of(said(payload, "user_agent")),
                url=words_of(said(payload, "url")),
                tags=(str(tag),) if tag else (),
            )
        )
    return found
