"""SparkPost's webhooks, which carry a user and a password.

https://support.sparkpost.com/docs/tech-resources/webhook-event-reference
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.tracking.providers.report import JSON, Call, Report, by_basic_auth, entries, moment, parsed, words_of

__all__ = ["NAME", "SECRET", "TYPES", "WORDS", "read", "verify"]

NAME = "sparkpost"
SECRET = "user:password of the webhook's basic authentication"  # noqa: S105 words, no secret
TYPES = JSON
WORDS: Mapping[str, str | None] = {
    "injection": "sent",
    "delivery": "delivered",
    "delay": "deferred",
    "bounce": "bounced",
    "out_of_band": "bounced",
    "policy_rejection": "rejected",
    "generation_rejection": "rejected",
    "generation_failure": "rejected",
    "spam_complaint": "complained",
    "list_unsubscribe": "unsubscribed",
    "link_unsubscribe": "unsubscribed",
    "open": "opened",
    "initial_open": "opened",
    "amp_open": "opened",
    "amp_initial_open": "opened",
    "click": "clicked",
    "amp_click": "clicked",
    "sms_status": None,
}
# Of a bounce's class: hard or soft, and why. Classes 60 and 70 are no bounces but answers.
CLASSES: Mapping[str, tuple[str, str]] = {
    "1": ("soft", "other"),
    "10": ("hard", "invalid"),
    "20": ("soft", "bounced"),
    "21": ("soft", "bounced"),
    "22": ("soft", "bounced"),
    "23": ("soft", "bounced"),
    "24": ("soft", "timed_out"),
    "25": ("soft", "blocked"),
    "26": ("soft", "blocked"),
    "30": ("hard", "bounced"),
    "40": ("soft", "bounced"),
    "50": ("soft", "blocked"),
    "51": ("soft", "spam"),
    "52": ("soft", "spam"),
    "53": ("soft", "blocked"),
    "54": ("soft", "blocked"),
    "90": ("hard", "unsubscribed"),
    "100": ("soft", "other"),
}
_ANSWERS = {"60": "other", "70": "other", "80": "other"}

verify = by_basic_auth


def read(call: Call) -> list[Report]:
    """What the call reports, one for each event."""
    found = []
    for one in entries(parsed(call.body)):
        kinds = one.get("msys")
        for event in kinds.values() if isinstance(kinds, dict) else ():
            if not isinstance(event, dict) or str(event.get("type")) not in WORDS:
                continue
            word, number = str(event["type"]), str(event.get("bounce_class"))
            kind = WORDS[word]
            bounce_type = reason = None
            if kind == "bounced":
                bounce_type, reason = CLASSES.get(number, ("soft", "other"))
                if number in _ANSWERS:
                    kind, bounce_type, reason = None, None, _ANSWERS[number]
            tags = [event["campaign_id"]] if event.get("campaign_id") else []
            metadata = event.get("rcpt_meta")
            prefetched = event.get("is_prefetched") in (True, "true", "1")
            found.append(
                Report(
                    kind,
                    moment(event.get("timestamp")),
                    words_of(event.get("raw_rcpt_to") or event.get("rcpt_to")),
                    event_id=words_of(event.get("event_id")),
                    message_id=words_of(event.get("transmission_id")),
                    bounce_type=bounce_type,
                    reason=reason,
                    response=words_of(event.get("raw_reason")),
                    agent=words_of(event.get("user_agent")),
                    url=words_of(event.get("target_link_url")),
                    told="machine" if prefetched else "",
                    tags=tuple(map(str, tags)),
                    metadata=metadata if isinstance(metadata, dict) else {},
                )
            )
    return found
