"""What a request tells of who asks, and its body, never more of it than is allowed."""

from __future__ import annotations

import email.policy
import ipaddress
from email.parser import BytesParser
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["body_of", "content_type", "form_of", "is_prefetch", "network_of"]

_AHEAD = (b"purpose", b"sec-purpose", b"x-moz", b"x-purpose")
_MOST_BYTES = 16_384  # of a form
_MOST_FIELDS = 200


def network_of(request: Request) -> str:
    """The network a request came from, /24 or /48: enough to tell machines apart, not people.

    >>> network_of(Request({"type": "http", "client": ("192.0.2.77", 1), "headers": []}))
    '192.0.2.0'
    """
    client = request.scope.get("client")
    if not client:
        return ""
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return ""
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False).network_address)


def is_prefetch(request: Request) -> bool:
    """Whether a program says that it fetches ahead of a person."""
    return any(name in _AHEAD and b"pre" in value.lower() for name, value in request.scope["headers"])


def content_type(request: Request) -> str:
    """The content type without parameters, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request, *, most: int) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: 413, the body has more bytes than `most`; no more than that are read.
    """
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > most:
        raise HTTPException(413)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413)
        parts.append(part)
    return b"".join(parts)


async def form_of(request: Request) -> list[tuple[str, str]]:
    """The fields of a form, url-encoded or multipart (RFC 8058 allows both), in order.

    Raises:
        HTTPException: 413 a body too large, 415 another content type, 400 a form that cannot be read.
    """
    kind = content_type(request)
    body = await body_of(request, most=_MOST_BYTES)
    if kind == "application/x-www-form-urlencoded":
        try:
            return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise HTTPException(400) from None
    if kind == "multipart/form-data":
        head = b"Content-Type: " + request.headers["content-type"].encode("latin-1") + b"\r\n\r\n"
        message = BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields = []
        for part in message.iter_parts() if message.is_multipart() else ():
            name = part.get_param("name", header="content-disposition")
            if isinstance(name, str) and not part.is_multipart():
                content = part.get_payload(decode=True)
                fields.append((name, content.decode("utf-8", "replace").strip() if isinstance(content, bytes) else ""))
        return fields[:_MOST_FIELDS]
    raise HTTPException(415)
