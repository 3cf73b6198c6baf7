"""Template + one decision → the bytes of a mail; and a preflight over a whole batch of them."""

from toolkit.mail.foreign import import_hints
from toolkit.mail.letter import Letter, Mail, offer_values
from toolkit.mail.link_check import page_answers
from toolkit.mail.preflight import Finding, Preflight, preflight
from toolkit.mail.preview import VIEWS, Preview, Previews
from toolkit.mail.templates import PREVIEW_UNSUBSCRIBE, MailTemplate, Templates
from toolkit.mail.tracked import tracked
from toolkit.mail.writer import Address, compose, parse_address

__all__ = [
    "PREVIEW_UNSUBSCRIBE",
    "VIEWS",
    "Address",
    "Finding",
    "Letter",
    "Mail",
    "MailTemplate",
    "Preflight",
    "Preview",
    "Previews",
    "Templates",
    "compose",
    "import_hints",
    "offer_values",
    "page_answers",
    "parse_address",
    "preflight",
    "tracked",
]
