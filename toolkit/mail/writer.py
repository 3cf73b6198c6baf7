"""Headers and MIME, written by hand: exactly the headers set, one recipient, the same input the same bytes.

Standards: RFC 5322 (messages), RFC 2045 to 2047 (MIME, encoded words), RFC 2369 and 8058 (unsubscribe),
RFC 3834 (Auto-Submitted), RFC 5890 (domains of other scripts), RFC 6532 (UTF-8 local parts, on request only).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import decode_header
from functools import lru_cache

import idna

from toolkit.errors import Fault, TemplateError
from toolkit.mail.transfer import body_part

__all__ = ["Address", "ascii_domain", "compose", "parse_address"]

_LINE = 76
_LONGEST_LINE = 998
_LONGEST_NAME = 200
_LONGEST_SUBJECT = 2_000
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+"
)
_MESSAGE_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,128}@[A-Za-z0-9.-]{1,120}")
_LINK = re.compile(r"(?:https://|http://(?:localhost|127\.0\.0\.1|\[::1\])[:/])[!#-;=?-\[\]_a-z~]{1,900}")
_FEEDBACK = re.compile(r"[A-Za-z0-9._-]{0,60}(?::[A-Za-z0-9._-]{0,60}){3}")
_WORD_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Address:
    """A name to show and an address."""

    email: str
    name: str = ""


def compose(
    *,
    sender: Address,
    to: str,
    subject: str,
    at: datetime,
    message_id: str,
    html: str,
    text: str,
    reply_to: str | None = None,
    unsubscribe_url: str | None = None,
    feedback_id: str | None = None,
    html_pieces: Sequence[str] = (),
    smtputf8: bool = False,
) -> bytes:
    """The bytes of one mail to one recipient.

    Args:
        sender: the From line.
        to: the recipient's address: one, without a name.
        subject: any text without control characters.
        at: the Date, with a time zone; written in UTC.
        message_id: `id@domain`, with or without angle brackets.
        html: the html part.
        text: the text part, which stands first.
        reply_to: an address for answers.
        unsubscribe_url: an https link that takes a one-click POST; sets List-Unsubscribe and List-Unsubscribe-Post. For
            a trial also http to this machine (localhost, 127.0.0.1, [::1]).
        feedback_id: four fields joined by colons, for the mailbox providers' statistics.
        html_pieces: the html in the pieces it was put together from, which is faster to write.
        smtputf8: allow letters other than ASCII before the @ of an address; the server must offer SMTPUTF8.

    Returns:
        A multipart/alternative message with CRLF line ends, no line over 998 bytes, 7-bit unless smtputf8.

    Raises:
        TemplateError: a value that cannot stand in a header (CR, LF, NUL and other control characters, also those
            hidden in an encoded word), an address that is not exactly one, a part with NUL.

    >>> from datetime import UTC, datetime
    >>> mail = compose(sender=Address("hello@example.com", "Maison Lune"), to="ana@example.org", subject="Hello",
    ...                at=datetime(2026, 3, 1, 9, tzinfo=UTC), message_id="d1@example.com", html="<p>Hi</p>", text="Hi")
    >>> mail.split(b"\\r\\n")[:3]
    [b'From: Maison Lune <hello@example.com>', b'To: ana@example.org', b'Subject: Hello']
    """
    identity = message_id[1:-1] if message_id.startswith("<") and message_id.endswith(">") else message_id
    if not _MESSAGE_ID.fullmatch(identity):
        raise _refused("Message-ID", message_id, "id@domain in ASCII")
    if at.tzinfo is None:
        raise _refused("Date", str(at), "a time with a time zone")
    headers = [_from(sender, smtputf8), "To: " + parse_address(to, smtputf8=smtputf8)]
    if reply_to is not None:
        headers.append("Reply-To: " + parse_address(reply_to, smtputf8=smtputf8))
    headers += [_unstructured("Subject", subject), "Date: " + _date(at), f"Message-ID: <{identity}>"]
    if unsubscribe_url is not None:
        if not _LINK.fullmatch(unsubscribe_url):
            raise _refused("List-Unsubscribe", unsubscribe_url, "an https link in ASCII of at most 900 characters")
        # A comma would begin a second link. Never folded and never an encoded word, or one-click breaks.
        link = unsubscribe_url.replace(",", "%2C")
        headers += [f"List-Unsubscribe: <{link}>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]
    if feedback_id is not None:
        if not _FEEDBACK.fullmatch(feedback_id):
            raise _refused("Feedback-ID", feedback_id, "four fields of letters, digits, . _ - joined by colons")
        headers.append("Feedback-ID: " + feedback_id)
    # "=_" can stand neither in quoted-printable nor in base64, so the boundary cannot occur in a part.
    boundary = "=_" + hashlib.sha256(identity.encode("ascii")).hexdigest()[:32]
    headers += [
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"',
    ]
    charset = "utf-8" if smtputf8 else "ascii"
    return b"".join(
        (
            "\r\n".join(headers).encode(charset),
            f"\r\n\r\n--{boundary}\r\n".encode("ascii"),
            body_part("plain", text),
            f"\r\n--{boundary}\r\n".encode("ascii"),
            body_part("html", html, html_pieces),
            f"\r\n--{boundary}--\r\n".encode("ascii"),
        )
    )


def parse_address(address: str, *, smtputf8: bool = False) -> str:
    """The one address, its domain in ASCII.

    Args:
        address: `local@domain`; no name, no list, no quotes.
        smtputf8: allow letters other than ASCII before the @.

    Returns:
        The address as it goes into the header and the SMTP envelope.

    Raises:
        TemplateError: it is not exactly one such address.

    >>> parse_address("ana@münchen.example")
    'ana@xn--mnchen-3ya.example'
    """
    local, at_sign, domain = address.rpartition("@")
    plain = _LOCAL.fullmatch(local) is not None
    if not plain and smtputf8 and at_sign and not local.isascii():
        _check_text("address", address)
        local = unicodedata.normalize("NFC", local)
        # Letters beyond ASCII stand for a plain letter here, so that the rest of the rule stays the same.
        plain = _LOCAL.fullmatch(re.sub(r"[^\x00-\x7f\s\u2028\u2029]", "a", local)) is not None
    if not plain or len(local.encode("utf-8")) > 64:
        allowed = "one address such as ana@example.org"
        if at_sign and not local.isascii():
            allowed += "; letters beyond ASCII before the @ need smtputf8=True"
        raise _refused("address", address, allowed)
    return f"{local}@{ascii_domain(domain)}"


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """The domain in ASCII (A-labels), lower case.

    Raises:
        TemplateError: it is no domain.
    """
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as fault:
            raise _refused("domain", domain, "a domain such as example.org") from fault
    if not _DOMAIN.fullmatch(domain):
        raise _refused("domain", domain, "a domain such as example.org")
    return domain.lower()


def _refused(what: str, found: str, allowed: str) -> TemplateError:
    return TemplateError([Fault(f"{what} cannot be written", found=found[:120], allowed=allowed)])


def _check_text(what: str, text: str) -> None:
    if text.isascii() and text.isprintable():
        bad = False
    else:
        bad = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)
    if bad:
        raise _refused(what, text, "one line without control characters")
    if "=?" in text:
        # Data that is an encoded word already: written out it would be read as what it hides.
        try:
            hidden = "".join(
                part.decode("latin-1") if isinstance(part, bytes) else part for part, _ in decode_header(text)
            )
        except (ValueError, LookupError, binascii.Error):
            hidden = ""
        if any(unicodedata.category(letter) == "Cc" for letter in hidden if not "\x80" <= letter <= "\x9f"):
            raise _refused(what, text, "no control characters, also inside an encoded word")


@lru_cache(maxsize=64)
def _from(sender: Address, smtputf8: bool) -> str:
    email = parse_address(sender.email, smtputf8=smtputf8)
    name = sender.name
    _check_text("From", name)
    if len(name) > _LONGEST_NAME:
        raise _refused("From", name, f"a name of at most {_LONGEST_NAME} characters")
    if not name.strip():
        return f"From: {email}"
    if len(name) <= 60 and "=?" not in name and _ATOMS.fullmatch(name):
        phrase = name
    elif len(name) <= 60 and "=?" not in name and _PLAIN.fullmatch(name):
        phrase = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    else:
        phrase = _encoded_words(name, len("From: "))
    line = f"From: {phrase}"
    last = len(line) - line.rfind("\n") - 1
    return f"{line}{' ' if last + len(email) + 3 <= _LINE else chr(13) + chr(10) + ' '}<{email}>"


def _unstructured(name: str, text: str) -> str:
    _check_text(name, text)
    if len(text) > _LONGEST_SUBJECT:
        raise _refused(name, text, f"at most {_LONGEST_SUBJECT:,} characters")
    if not text:
        return f"{name}:"
    if "=?" in text or not _PLAIN.fullmatch(text):
        return f"{name}: {_encoded_words(text, len(name) + 2)}"
    lines = [f"{name}:"]
    for word in text.split(" "):
        if len(word) > _LONGEST_LINE - len(name) - 2:
            return f"{name}: {_encoded_words(text, len(name) + 2)}"
        # The first word stays beside the name: a header whose first line is empty confuses old readers.
        if len(lines[-1]) + 1 + len(word) > _LINE and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += " " + word
    return "\r\n".join(lines)


def _encoded_words(text: str, used: int) -> str:
    by_letter = [letter.encode("utf-8") for letter in text]
    quoted = sum(1 if byte in _WORD_SAFE or byte == 32 else 3 for letter in by_letter for byte in letter)
    as_base64 = 4 * sum(map(len, by_letter)) / 3 < quoted
    words = []
    room = _LINE - 1 - used - 12
    word = b""
    size = 0
    for letter in by_letter:
        if as_base64:
            grown = 4 * ((len(word) + len(letter) + 2) // 3)
        else:
            grown = size + sum(1 if byte in _WORD_SAFE or byte == 32 else 3 for byte in letter)
        if grown > room and word:
            words.append(_encoded_word(word, as_base64))
            word, room = b"", _LINE - 1 - 12
            grown = sum(1 if byte in _WORD_SAFE or byte == 32 else 3 for byte in letter)
        word += letter
        size = grown
    words.append(_encoded_word(word, as_base64))
    return "\r\n ".join(words)


def _encoded_word(content: bytes, as_base64: bool) -> str:
    if as_base64:
        return f"=?utf-8?b?{base64.b64encode(content).decode('ascii')}?="
    letters = (chr(byte) if byte in _WORD_SAFE else "_" if byte == 32 else f"={byte:02X}" for byte in content)
    return f"=?utf-8?q?{''.join(letters)}?="


def _date(at: datetime) -> str:
    at = at.astimezone(UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} "
        f"{at.hour:02d}:{at.minute:02d}:{at.second:02d} +0000"
    )
