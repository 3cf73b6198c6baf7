"""Amazon SES, which reports through Amazon SNS: notifications and event publishing.

The signature is checked with a certificate of Amazon's own hosts, and only the topics named may speak.
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from toolkit.tracking.providers.report import (
    Call,
    RefusedError,
    Report,
    UnreadableError,
    moment,
    parsed,
    said,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "confirmation", "read", "verify"]

NAME = "ses"
SECRET = "the topic's ARN, or several with commas"  # noqa: S105 words, no secret
TYPES = ("text/plain", "application/json")
WORDS: Mapping[str, str | None] = {
    "Send": "sent",
    "Delivery": "delivered",
    "DeliveryDelay": "deferred",
    "Bounce": "bounced",
    "Complaint": "complained",
    "Open": "opened",
    "Click": "clicked",
    "Subscription": "unsubscribed",
    "Reject": "rejected",
    "Rendering Failure": "rejected",
    "Received": None,
}

_HOST = re.compile(r"sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]


def verify(call: Call, secret: str) -> None:
    """The topic is one of those named, the certificate is Amazon's, and the signature is right."""
    envelope = _envelope(call)
    if said(envelope, "TopicArn") not in [arn.strip() for arn in secret.split(",")]:
        raise RefusedError(f"topic {said(envelope, 'TopicArn')!r} is not one that may speak here")
    names = _SIGNED.get(str(said(envelope, "Type")))
    if names is None:
        raise RefusedError(f"no such type of message: {said(envelope, 'Type')!r}")
    url = words_of(said(envelope, "SigningCertURL")) or ""
    if not (is_amazon(url) and urlsplit(url).path.endswith(".pem")):
        raise RefusedError("the certificate is not of an Amazon SNS host")
    if call.fetch is None:
        raise RefusedError("the certificate cannot be fetched here")
    content = "".join(f"{name}\n{envelope[name]}\n" for name in names if envelope.get(name) is not None)
    algorithm = SHA256() if words_of(said(envelope, "SignatureVersion")) == "2" else SHA1()  # noqa: S303 SNS's own
    try:
        key = x509.load_pem_x509_certificate(call.fetch(url)).public_key()
        signature = base64.b64decode(words_of(said(envelope, "Signature")) or "", validate=True)
        if not isinstance(key, RSAPublicKey):
            raise RefusedError("the certificate has no RSA key")
        key.verify(signature, content.encode(), padding.PKCS1v15(), algorithm)
    except (InvalidSignature, binascii.Error, ValueError, OSError) as fault:
        raise RefusedError("wrong signature, or a certificate that cannot be read") from fault


def is_amazon(url: str) -> bool:
    """Whether a web address is of an Amazon SNS host, over https.

    >>> is_amazon("https://sns.eu-west-1.amazonaws.com/x.pem"), is_amazon("https://sns.x.amazonaws.com.example.org/")
    (True, False)
    """
    try:
        parts = urlsplit(url)
        plain = parts.port in (None, 443) and parts.username is None
    except ValueError:
        return False
    return parts.scheme == "https" and plain and _HOST.fullmatch(parts.hostname or "") is not None


def confirmation(call: Call) -> str | None:
    """The address that confirms a subscription, where the call asks for that."""
    envelope = _envelope(call)
    url = words_of(said(envelope, "SubscribeURL")) or ""
    return url if said(envelope, "Type") == "SubscriptionConfirmation" and is_amazon(url) else None


def read(call: Call) -> list[Report]:
    """What the call reports, one for each recipient."""
    envelope = _envelope(call)
    if said(envelope, "Type") != "Notification":
        return []
    try:
        event = json.loads(envelope["Message"])
    except (KeyError, TypeError, ValueError):
        return []  # SNS lets anything through, such as the greeting of SES when a topic is set
    return list(_reports(event, words_of(said(envelope, "MessageId")))) if isinstance(event, dict) else []


def _envelope(call: Call) -> dict[str, Any]:
    envelope = parsed(call.body)
    if not isinstance(envelope, dict):
        raise UnreadableError("expected an object of SNS")
    return envelope


def _reports(event: dict[str, Any], event_id: str | None) -> Iterator[Report]:
    word = words_of(event.get("eventType") or event.get("notificationType")) or ""
    kind = WORDS.get(word)
    if word not in WORDS or word == "Received":
        return
    mail = said(event, "mail") if isinstance(said(event, "mail"), dict) else {}
    part = event.get({"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(word, word.lower()))
    part = part if isinstance(part, dict) else {}
    names = said(mail, "headers") if isinstance(said(mail, "headers"), list) else []
    headers = [(str(said(one, "name")).lower(), str(said(one, "value"))) for one in names]
    for place, (recipient, own) in enumerate(_recipients(word, part, mail)):
        bounce = words_of(part.get("bounceType"))
        yield Report(
            kind,
            moment(part.get("timestamp")) or moment(said(mail, "timestamp")),
            recipient,
            event_id=event_id if event_id is None or not place else f"{event_id}/{place}",
            message_id=words_of(said(mail, "messageId")),
            message_ids=tuple(value for name, value in headers if name == "message-id"),
            bounce_type=None if bounce is None else "hard" if bounce == "Permanent" else "soft",
            reason={"Bounce": "bounced", "Complaint": "spam", "Reject": "blocked"}.get(word),
            description=_description(word, part),
            response=words_of(said(own, "diagnosticCode") or part.get("smtpResponse")),
            agent=words_of(part.get("userAgent")),
            url=words_of(part.get("link")),
            tags=tuple(value for name, value in headers if name == "x-tag"),
            metadata=_metadata(headers),
        )


def _recipients(word: str, part: dict[str, Any], mail: Any) -> list[tuple[str | None, Any]]:
    key = {"Bounce": "bouncedRecipients", "Complaint": "complainedRecipients", "DeliveryDelay": "delayedRecipients"}
    if word in key:
        named = part.get(key[word])
        return [(words_of(said(one, "emailAddress")), one) for one in named] if isinstance(named, list) else []
    named = part.get("recipients") if word == "Delivery" else said(mail, "destination")
    return [(words_of(one), None) for one in named] if isinstance(named, list) else [(None, None)]


def _description(word: str, part: dict[str, Any]) -> str | None:
    if word == "Bounce":
        return f"{part.get('bounceType')}: {part.get('bounceSubType')}"
    for name in ("complaintFeedbackType", "reason", "errorMessage", "delayType"):
        if part.get(name) is not None:
            return str(part[name])
    return None


def _metadata(headers: list[tuple[str, str]]) -> Mapping[str, Any]:
    for name, value in headers:
        if name == "x-metadata":
            try:
                found = json.loads(value)
            except ValueError:
                continue
            return found if isinstance(found, dict) else {}
    return {}
