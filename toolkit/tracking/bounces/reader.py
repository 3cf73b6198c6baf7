"""A bounce read: who did not get a mail, which mail, whether for good, and why.

First the machine-readable part (RFC 3464), then flufl.bounce, which knows the odd ones, then the words themselves.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

from toolkit.tracking.bounces.causes import cause_of
from toolkit.tracking.providers import Call, UnreadableError, ses

__all__ = ["Bounce", "read_bounce"]

_SILENT = logging.NullHandler()
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&*+/=?^_`{|}~\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*")
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_REPLY = re.compile(r"\b([45]\d\d)[ \-]")
_FAILED_FIELDS = ("x-failed-recipients", "x-failed-to")
_OWN_NAME = re.compile(r"<?([a-z2-7]{32})@")
_SAID = re.compile(r"(?:\bsaid:?\s+)?[\"':(<]?\b5\d\d[ :\-]+(?:5\.\d+\.\d+|[<\w'\"\[(#:])", re.IGNORECASE)
_LINE_OF = re.compile(r"^[ \t<(\"]*" + _ADDRESS.pattern.join("()"), re.MULTILINE)
_RETURNED = re.compile(
    r"^[ \t|>-]*(?:-{3,}.{0,4}(?:original|this is a copy|below this|the header|undelivered|returned|unsent|copy of"
    r"|message header|transcript of .{0,20}message)[^\n]*|original message follows|received: ?from|return-path: <|"
    r"original message:|begin forwarded|the following is the message|date: ?\w+, \d|message-id:)",
    re.IGNORECASE | re.MULTILINE,
)
_AFTER_DATA = re.compile(
    r"in reply to end of data|>>> data\s+<<< 55\d|>>> \.\s+<<< 5\d\d|smtp command\s+data\b|end of data", re.IGNORECASE
)
_NOT_TELLING = ("5.0.0", "5.7.1", "5.3.0", "5.2.0")
_BARE = re.compile(r"\b550\b")
_SURE = re.compile(r"\b5\.1\.1\b|554 delivery error")
_AT_RCPT = re.compile(r"rcpt", re.IGNORECASE)
_BEFORE_DATA = re.compile(r"<<< 503|need rcpt|no valid recipient|>>> rcpt[^\n]*\s+<<< 5", re.IGNORECASE)
_MOST = 200_000
_FROM_A_SERVER = re.compile(r"mailer-daemon|postmaster|undeliver|deliver|returned mail|fail", re.IGNORECASE)
_LIKE_AN_ID = re.compile(r"^[0-9a-f]{6,}\.[0-9a-f]+|^[^@]{45,}@")
_NOBODY = re.compile(r"^(mailer-daemon|postmaster|mail-daemon|root|bounce)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bounce:
    """What a bounce says of one recipient.

    Attributes:
        recipient: the address, as the bounce has it.
        kind: bounced, deferred, delivered, complained or answered (someone is away).
        bounce_type: hard or soft, for bounced.
        cause: see `causes.CAUSES`.
        status: enhanced status code, for example 5.1.1.
        said: what the server said.
        mail: the name of our mail, where it could be found.
        message_id: of the mail that did not arrive.
        at: microseconds since 1970; None where the bounce has no date.
    """

    recipient: str
    kind: str
    bounce_type: str | None
    cause: str
    status: str | None
    said: str
    mail: str | None
    message_id: str | None
    at: int | None


def read_bounce(raw: bytes) -> tuple[Bounce, ...]:
    """What a message says about mails that did not arrive, one for each recipient; nothing where it is no bounce.

    Args:
        raw: a message as it lies in a mailbox.

    Returns:
        One `Bounce` for each recipient, in the order they are named.

    >>> raw = b'''From: MAILER-DAEMON@mx.example.org
    ... Subject: Undelivered Mail Returned to Sender
    ... Content-Type: multipart/report; report-type=delivery-status; boundary="b"
    ...
    ... --b
    ... Content-Type: message/delivery-status
    ...
    ... Reporting-MTA: dns; mx.example.org
    ...
    ... Final-Recipient: rfc822; nobody@example.org
    ... Action: failed
    ... Status: 5.1.1
    ... Diagnostic-Code: smtp; 550 5.1.1 User unknown
    ...
    ... --b--
    ... '''
    >>> [(one.recipient, one.bounce_type, one.cause) for one in read_bounce(raw)]
    [('nobody@example.org', 'hard', 'no_such_person')]
    """
    message = message_from_bytes(raw)
    words = _words(message)
    if _is_complaint(message, words):
        return ()
    found = list(_machine_read(message, words)) or _of_amazon(words)
    if found is None:
        found = list(_odd(message, words))
    original = _original(message)
    message_id = _message_id(original, words)
    own = _OWN_NAME.search(message_id or "") or _OWN_NAME.search(" ".join(_verp(message)))
    at = _at(message)
    return tuple(
        Bounce(address, kind, bounce_type, cause, status, said[:1000], own[1][:16] if own else None, message_id, at)
        for address, kind, bounce_type, cause, status, said in _once(found)
    )


_Found = tuple[str, str, str | None, str, str | None, str]


def _once(found: list[_Found]) -> Iterator[_Found]:
    seen: set[str] = set()
    for one in found:
        if one[0].lower() not in seen:
            seen.add(one[0].lower())
            yield one


# The machine-readable part ............................................................................................


def _machine_read(message: Message, words: str) -> Iterator[_Found]:
    for part in message.walk():
        if part.get_content_type() not in ("message/delivery-status", "message/global-delivery-status"):
            continue
        groups = part.get_payload()
        for group in groups if isinstance(groups, list) else []:
            if not isinstance(group, Message):
                continue
            address = _address_in(group, "final-recipient") or _address_in(group, "original-recipient")
            action = str(group.get("action", "")).strip().lower().split(" ")[0]
            if address is None or not (action or group.get("status")):
                continue
            original = _address_in(group, "original-recipient")
            status = _STATUS.search(str(group.get("status", "")))
            said = _line(group.get("diagnostic-code"))
            if action in ("expanded", "relayed") and not said:
                continue
            yield _judged(original if original and "@" not in address else address, action, status, said, words)


def _address_in(group: Message, field: str) -> str | None:
    value = _line(group.get(field))
    text = value.partition(";")[2] or value
    match = _ADDRESS.search(text)
    if match:
        return match[0].strip("\"'")
    return text.strip().strip("<>") or None


def _judged(address: str, action: str, status: Any, said: str, words: str) -> _Found:
    code = status[0] if status else None
    if action in ("delivered", "relayed", "expanded") or (code or "").startswith("2"):
        return address, "delivered", None, "delivered", code, said
    context = said if len(said) > 12 else f"{said} {_near(words, address)}"
    inner = _STATUS.search(said)
    name, bounce_type = _cause(context, inner[0] if inner else code, words, named=address)
    if (code or "").startswith("4.4"):
        bounce_type = "soft"  # nobody could be asked
    if action == "delayed":
        return address, "deferred", None, name, code, said
    return address, "bounced", bounce_type, name, code, said or context.strip()


def _of_amazon(words: str) -> list[_Found] | None:
    """What Amazon SES reports in a mail of its notification topic; None for another mail."""
    start, end = words.find("{"), words.rfind("}")
    if start < 0 or ('"bouncedRecipients' not in words.replace("\\", "") and '"notificationType' not in words):
        return None
    with contextlib.suppress(ValueError, UnreadableError):
        document = json.loads(words[start : end + 1].replace("!\n ", "").replace("!\r\n ", ""), strict=False)
        if "Message" not in document:
            document = {"Type": "Notification", "MessageId": "", "Message": json.dumps(document)}
        reports = ses.read(Call(json.dumps(document).encode()))
        return [
            (one.recipient, one.kind, one.bounce_type, one.reason or one.kind, None, one.response or "")
            for one in reports
            if one.recipient and one.kind in ("bounced", "delivered", "deferred")
        ]
    return None


# The odd ones .........................................................................................................


def _odd(message: Message, words: str) -> Iterator[_Found]:
    if _is_answer(message):
        return
    addresses = []
    for field in _FAILED_FIELDS:
        addresses += [match[0] for value in message.get_all(field, []) for match in _ADDRESS.finditer(str(value))]
    own = {
        match[0].lower() for match in _ADDRESS.finditer(f"{message.get('to', '')} {message.get('delivered-to', '')}")
    }
    addresses = addresses or _known_forms(message) or list(_named_in(words, own)) or _addressed(message, words, own)
    addresses.sort(key=lambda address: words.lower().find(address.lower()))
    for address in addresses:
        said = _near(words, address)
        status = _STATUS.search(said)
        name, bounce_type = _cause(said, status[0] if status else None, words)
        yield address, "bounced", bounce_type, name, status[0] if status else None, said.strip()


def _known_forms(message: Message) -> list[str]:
    try:
        from flufl.bounce import all_failures  # noqa: PLC0415 an extra, and slow to import
    except ImportError:
        return []
    # It stumbles over some messages, and would print where.
    logging.getLogger("flufl.bounce").addHandler(_SILENT)
    with contextlib.suppress(Exception):
        temporary, permanent = all_failures(message)
        found = [one.decode("utf-8", "replace") for one in sorted(permanent) or sorted(temporary)]
        return [one for one in found if _ADDRESS.fullmatch(one)]
    return []


def _named_in(words: str, own: Collection[str]) -> Iterator[str]:
    """Addresses the words name, before the returned mail begins; not those the bounce was sent to."""
    for match in _ADDRESS.finditer(_before_the_mail(words)):
        if not _NOBODY.match(match[0]) and match[0].lower() not in own and not _LIKE_AN_ID.match(match[0]):
            yield match[0]


def _addressed(message: Message, words: str, own: Collection[str]) -> list[str]:
    """Whom the returned mail was addressed to, where the words say nothing else."""
    original = _original(message)
    said = str(original.get("to", "")) if original is not None else ""
    if not said:
        line = re.search(r"^>?[ \t]*to: *([^\n]+@[^\n]+)", words, re.IGNORECASE | re.MULTILINE)
        said = line[1] if line else ""
    return [match[0] for match in _ADDRESS.finditer(said) if match[0].lower() not in own][:1]


def _near(words: str, address: str) -> str:
    """What is said of an address: from where it is named to where the next one is, at best from the server's reply."""
    head = _before_the_mail(words)
    places = [match.start() for match in re.finditer(re.escape(address), head, re.IGNORECASE)]
    if not places:
        return _reply_in(head) or head[:1500]
    replies = [_reply_in(head[place : _next_of_another(head, place, address)]) for place in places]
    chosen = next((reply for reply in replies if reply), None)
    if chosen:
        return chosen
    after = [head[place : min(_next_of_another(head, place, address), place + 700)] for place in places]
    telling = [one for one in after if cause_of(one, None)[0] != "unknown"]
    longest = telling[0] if telling else max(after, key=len)
    if len(longest) < len(address) + 25:  # the reason stands before the address
        return head[max(places[0] - 250, 0) : places[0]] + longest
    return longest


def _reply_in(text: str) -> str | None:
    match = _SAID.search(text)
    return text[match.start() : match.start() + 400] if match else None


def _next_of_another(text: str, place: int, address: str) -> int:
    """Where, after a place, a line begins with another address."""
    for match in _LINE_OF.finditer(text, place + len(address)):
        if match[1].lower() != address.lower():
            return match.start()
    return len(text)


def _before_the_mail(words: str) -> str:
    """The words up to where the returned mail begins."""
    return _RETURNED.split(words, maxsplit=1)[0] or words


def _cause(said: str, status: str | None, words: str, *, named: str = "") -> tuple[str, str]:
    name, bounce_type = cause_of(said, status)
    if name != "no_such_person":
        return name, bounce_type
    everything = f"{said}\n{words}"
    # A server that first takes an address and calls it unknown after the whole mail has filtered it.
    if _AFTER_DATA.search(everything) and not _BEFORE_DATA.search(words) and not _SURE.search(said):
        return "filtered", "soft"
    # A bare 550 proves nothing; a status that is about the address, or an answer to RCPT, does.
    telling = [one[0] for one in _STATUS.finditer(f"{said} {status or ''}") if one[0] not in _NOT_TELLING]
    bare = _BARE.search(said) and not telling
    told = _AT_RCPT.search(everything) or (named and named.lower() in said.lower())
    return ("filtered", "soft") if bare and not told else (name, bounce_type)


# Around it ............................................................................................................


def _words(message: Message) -> str:
    parts = []
    for part in message.walk():
        if part.get_content_type() in ("message/rfc822", "text/rfc822-headers"):
            break
        if part.get_content_maintype() == "text":
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):
                try:
                    parts.append(content.decode(part.get_content_charset("utf-8"), "replace"))
                except (LookupError, ValueError):  # no such charset, or what could never be the name of one
                    parts.append(content.decode("utf-8", "replace"))
    text = "\n".join(parts)[:_MOST]
    if not text.strip():  # a broken structure; what is there can still be read
        text = _whole(message)[:_MOST].decode("utf-8", "replace").partition("\n\n")[2]
    return re.sub(r"<[a-zA-Z/!][^<>@]{0,400}>", " ", text) if "<html" in text.lower() else text


def _whole(message: Message) -> bytes:
    try:
        return message.as_bytes()
    except UnicodeError:  # bytes that the standard library reads and cannot write
        return message.as_string().encode("utf-8", "replace")


def _line(value: Any) -> str:
    return re.sub(r"\s+", " ", str(value or "")).strip()


def _is_complaint(message: Message, words: str) -> bool:
    if re.search(r"^feedback-type:|email abuse report|complainedRecipients", words, re.IGNORECASE | re.MULTILINE):
        return True
    return any(part.get_content_type() == "message/feedback-report" for part in message.walk())


def _is_answer(message: Message) -> bool:
    said = str(message.get("auto-submitted", "")).lower()
    return said.startswith("auto-replied") and not _FROM_A_SERVER.search(f"{message['from']} {message['subject']}")


def _original(message: Message) -> Message | None:
    for part in message.walk():
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload()
            return inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], Message) else None
        if part.get_content_type() == "text/rfc822-headers":
            content = part.get_payload(decode=True)
            return message_from_bytes(content) if isinstance(content, bytes) else None
    return None


def _message_id(original: Message | None, words: str) -> str | None:
    if original is not None and original.get("message-id"):
        return str(original["message-id"]).strip()
    found = re.search(r"^message-id:\s*(<[^>]+>)", words, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else None


def _verp(message: Message) -> list[str]:
    fields = ("to", "delivered-to", "x-original-to", "in-reply-to", "references")
    return [str(value) for field in fields for value in message.get_all(field, [])]


def _at(message: Message) -> int | None:
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return int(
            email.utils.parsedate_to_datetime(str(make_header(decode_header(message["date"])))).timestamp() * 1e6
        )
    return None
