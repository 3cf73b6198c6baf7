"""Postmark's webhooks, which carry a user and a password.

https://postmarkapp.com/developer/webhooks/webhooks-overview
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.tracking.providers.report import (
    JSON,
    Call,
    Report,
    by_basic_auth,
    entries,
    moment,
    parsed,
    said,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "postmark"
SECRET = "user:password of the webhook's basic authentication"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "Delivery": "delivered",
    "Open": "opened",
    "Click": "clicked",
    "SpamComplaint": "complained",
    "SubscriptionChange": "unsubscribed",
    "Bounce": "bounced",
    "SMTPApiError": "rejected",
    "Inbound": None,
}
# Of a bounce's Type: what happened, hard or soft, and why.
BOUNCES: Mapping[str, tuple[str | None, str | None, str | None]] = {
    "HardBounce": ("bounced", "hard", "bounced"),
    "BadEmailAddress": ("bounced", "hard", "invalid"),
    "ManuallyDeactivated": ("bounced", "hard", "other"),
    "SoftBounce": ("bounced", "soft", "bounced"),
    "Transient": ("deferred", None, None),
    "DnsError": ("bounced", "soft", "bounced"),
    "Undeliverable": ("bounced", "soft", "bounced"),
    "Unknown": ("bounced", "soft", "bounced"),
    "VirusNotification": ("bounced", "soft", "other"),
    "DMARCPolicy": ("bounced", "soft", "blocked"),
    "Blocked": ("bounced", "soft", "blocked"),
    "SpamNotification": ("complained", None, "spam"),
    "SpamComplaint": ("complained", None, "spam"),
    "Unsubscribe": ("unsubscribed", None, "unsubscribed"),
    "Subscribe": ("subscribed", None, None),
    "AutoResponder": (None, None, None),
    "AddressChange": (None, None, None),
    "ChallengeVerification": (None, None, None),
    "OpenRelayTest": (None, None, None),
    "TemplateRenderingFailed": ("rejected", None, "other"),
    "InboundError": (None, None, None),
    "SMTPApiError": ("rejected", None, "other"),
}
_CHANGES = {"ManualSuppression": "Unsubscribe", "HardBounce": "HardBounce", "SpamComplaint": "SpamComplaint"}


verify = by_basic_auth


def read(call: Call) -> list[Report]:
    """What the call reports: one event."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(event.get("RecordType"))
        if word not in WORDS:
            continue
        kind, bounce_type, reason = WORDS[word], None, None
        if word in ("Bounce", "SpamComplaint"):
            kind, bounce_type, reason = BOUNCES.get(str(event.get("Type")), ("bounced", "soft", "bounced"))
        elif word == "SubscriptionChange":
            change = _CHANGES.get(str(event.get("SuppressionReason")), "Unsubscribe")
            kind, bounce_type, reason = BOUNCES[change if event.get("SuppressSending") else "Subscribe"]
        number = event.get("ID")
        tag = event.get("Tag")
        metadata = event.get("Metadata")
        times = ("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt")
        stamp = next((event[name] for name in times if event.get(name)), None)
        server = words_of(event.get("Details")) if word in ("Bounce", "SpamComplaint", "Delivery") else None
        named = words_of(number) if number is not None else None
        found.append(
            Report(
                kind,
                moment(stamp),
                words_of(event.get("Email") or event.get("Recipient")),
                event_id=named,
                message_id=words_of(event.get("MessageID")),
                bounce_type=bounce_type,
                reason=reason,
                description=words_of(event.get("Description")),
                response=server,
                agent=words_of(event.get("UserAgent")),
                url=words_of(event.get("OriginalLink")),
                told="machine" if said(event, "Client", "Family") == "Apple Mail Privacy Proxy" else "",
                tags=(str(tag),) if tag else (),
                metadata=metadata if isinstance(metadata, dict) else {},
            )
        )
    return found
