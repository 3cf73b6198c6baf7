"""What every provider's report becomes, and how a call is checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from toolkit.errors import AnswersError

__all__ = [
    "JSON",
    "Call",
    "Provider",
    "RefusedError",
    "Report",
    "UnreadableError",
    "by_basic_auth",
    "by_bearer",
    "by_hmac",
    "entries",
    "moment",
    "object_in",
    "parsed",
    "said",
    "words_of",
]

JSON = ("application/json",)
_RECENT = (1_000_000_000, 4_000_000_000)  # seconds since 1970: from 2001 to 2096


class RefusedError(AnswersError):
    """A call that is not the provider's, or cannot be shown to be."""


class UnreadableError(AnswersError):
    """A call whose body is not what the provider sends."""


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook call.

    Attributes:
        body: as it came.
        headers: names in small letters.
        url: the whole web address that was called.
        now: microseconds since 1970.
        fetch: gets a file from a web address.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    now: int = 0
    fetch: Callable[[str], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One thing a provider reports, in the one vocabulary.

    Attributes:
        kind: one of `tracking.KINDS`; None for what is none of them.
        at: when, microseconds since 1970; None where it is not said.
        recipient: the address; used to find the domain, never stored.
        event_id: the provider's own name of the event; None where it has none.
        message_id: what the provider calls the mail.
        message_ids: further names of the mail, such as its Message-ID.
        bounce_type: hard or soft, for `bounced`.
        reason: why not delivered: invalid, bounced, blocked, spam, unsubscribed, other.
        description: in the provider's words.
        response: what the recipient's server said.
        agent: of an open or click.
        url: of a click.
        told: `machine` where the provider says that no person opened or clicked.
        tags: that were given when the mail was handed over.
        metadata: that was given when the mail was handed over.
    """

    kind: str | None
    at: int | None = None
    recipient: str | None = None
    event_id: str | None = None
    message_id: str | None = None
    message_ids: tuple[str, ...] = ()
    bounce_type: str | None = None
    reason: str | None = None
    description: str | None = None
    response: str | None = None
    agent: str | None = None
    url: str | None = None
    told: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """One file of this folder.

    Attributes:
        NAME: in the web address `/w/NAME`.
        SECRET: what the secret is, in words.
        TYPES: content types it sends.
        WORDS: its word for an event to ours; None for what is passed over.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802

    @property
    def SECRET(self) -> str: ...  # noqa: N802

    @property
    def TYPES(self) -> tuple[str, ...]: ...  # noqa: N802

    @property
    def WORDS(self) -> Mapping[str, str | None]: ...  # noqa: N802

    def verify(self, call: Call, secret: str) -> None:
        """Raise RefusedError unless the call is the provider's."""
        ...

    def read(self, call: Call) -> Sequence[Report]:
        """What the call reports. Raises UnreadableError."""
        ...


# Reading ..............................................................................................................


def parsed(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        UnreadableError: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableError("the body is not JSON") from None


def entries(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, or the one object.

    Raises:
        UnreadableError: it is neither.
    """
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in found):
        raise UnreadableError("expected an object, or a list of objects")
    return found


def object_in(text: Any) -> Mapping[str, Any]:
    """The JSON object that a text holds; an empty one where it holds none.

    >>> object_in('{"a": 1}'), object_in("[1]"), object_in(None)
    ({'a': 1}, {}, {})
    """
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def said(value: Any, *path: str) -> Any:
    """What stands at a path of an object; None where there is nothing.

    >>> said({"a": {"b": 1}}, "a", "b"), said({"a": None}, "a", "b")
    (1, None)
    """
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def words_of(value: Any) -> str | None:
    """A value as text; None for what is missing.

    >>> words_of(12), words_of(None)
    ('12', None)
    """
    return None if value is None else str(value)


def moment(value: Any) -> int | None:
    """Microseconds since 1970 of seconds, milliseconds, or ISO 8601; None for what is no time, or no plausible one.

    >>> moment(1461095250) == moment("1461095250") == moment("2016-04-19T19:47:30Z") == moment(1461095250000)
    True
    >>> moment("soon") is None
    True
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                at = datetime.fromisoformat(value[:19] + _zone_of(value[19:]))
                value = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 NaN
        return None
    if value > 1e14:
        return None
    seconds = value / 1000 if value > _RECENT[1] else value
    return int(seconds * 1_000_000) if _RECENT[0] <= seconds <= _RECENT[1] else None


def _zone_of(rest: str) -> str:
    sign = max(rest.rfind("+"), rest.rfind("-"))
    return rest[sign:] if sign >= 0 else "+00:00"


# Checking .............................................................................................................


def by_basic_auth(call: Call, secret: str) -> None:
    """The call carries `user:password` in its Authorization header.

    Raises:
        RefusedError: it does not.
    """
    kind, _, given = call.headers.get("authorization", "").partition(" ")
    try:
        pair = base64.b64decode(given, validate=True) if kind.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        pair = b""
    if not hmac.compare_digest(pair, secret.encode()):
        raise RefusedError("wrong user or password")


def by_bearer(call: Call, secret: str) -> None:
    """The call carries a token in its Authorization header.

    Raises:
        RefusedError: it does not.
    """
    kind, _, given = call.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), secret.encode()):
        raise RefusedError("wrong token")


def by_hmac(given: str, secret: bytes, content: bytes, *, digest: str = "sha256", form: str = "hex") -> None:
    """A signature over the content under a shared secret.

    Raises:
        RefusedError: it is not.
    """
    made = hmac.new(secret, content, getattr(hashlib, digest)).digest()
    right = made.hex() if form == "hex" else base64.b64encode(made).decode()
    if not hmac.compare_digest(given.encode("utf-8", "replace"), right.encode()):
        raise RefusedError("wrong signature")
