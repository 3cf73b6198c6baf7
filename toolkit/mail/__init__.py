"""Template + one decision → the bytes of a mail; and a preflight over a whole batch of them."""

from toolkit.mail.letter import Letter, Mail, offer_values
from toolkit.mail.preflight import Finding, Preflight, preflight
from toolkit.mail.templates import PREVIEW_UNSUBSCRIBE, Templates
from toolkit.mail.writer import Address, compose, parse_address

__all__ = [
    "PREVIEW_UNSUBSCRIBE",
    "Address",
    "Finding",
    "Letter",
    "Mail",
    "Preflight",
    "Templates",
    "compose",
    "offer_values",
    "parse_address",
    "preflight",
]
