"""Mailjet's event API, which carries a user and a password.

https://dev.mailjet.com/email/guides/webhooks/
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
    object_in,
    parsed,
    words_of,
)

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "mailjet"
SECRET = "user:password in the web address of the webhook"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "sent": "delivered",  # "sent" is said when the recipient's server took the mail
    "open": "opened",
    "click": "clicked",
    "bounce": "bounced",
    "blocked": "rejected",
    "spam": "complained",
    "unsub": "unsubscribed",
}
REASONS = {
    "user unknown": "bounced",
    "mailbox inactive": "bounced",
    "quota exceeded": "bounced",
    "blacklisted": "blocked",
    "spam reporter": "spam",
    "invalid domain": "bounced",
    "no mail host": "bounced",
    "relay/access denied": "bounced",
    "greylisted": "other",
    "typofix": "invalid",
    "bad or empty template": "other",
    "error in template language": "other",
    "sender blocked": "blocked",
    "content blocked": "blocked",
    "policy issue": "blocked",
    "preblocked": "blocked",
    "duplicate in campaign": "other",
}

verify = by_basic_auth


def read(call: Call) -> list[Report]:
    """What the call reports, one for each event."""
    found = []
    for event in entries(parsed(call.body)):
        word = str(event.get("event"))
        if word not in WORDS:
            continue
        kind = WORDS[word]
        why = words_of(event.get("error"))
        if kind == "bounced" and why == "greylisted":
            kind = "deferred"
        number = event.get("MessageID")
        campaign = event.get("customcampaign")
        mail = words_of(number) if number is not None else words_of(event.get("mj_message_id"))
        found.append(
            Report(
                kind,
                moment(event.get("time")),
                words_of(event.get("email")),
                message_id=mail,
                bounce_type=("hard" if event.get("hard_bounce") else "soft") if kind == "bounced" else None,
                reason=REASONS.get(str(why), "other") if word in ("bounce", "blocked") else None,
                description=why,
                response=words_of(event.get("smtp_reply") or event.get("comment")),
                agent=words_of(event.get("agent")),
                url=words_of(event.get("url")),
                tags=(str(campaign),) if campaign else (),
                metadata=object_in(event.get("Payload")),
            )
        )
    return found
