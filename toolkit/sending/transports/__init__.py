"""Ways out: a folder of .eml files, a mail server. Each passes the contract in `tests/sending/test_transports.py`."""

from __future__ import annotations

import os

from toolkit.errors import InputError, NotSupportedError, nearest
from toolkit.sending.protocol import Transport
from toolkit.sending.transports.outbox import Outbox
from toolkit.sending.transports.smtp import Smtp

__all__ = ["Outbox", "Smtp", "transport"]

_KNOWN = ("outbox", "smtp", "smtps")
_LATER = ("ses", "sendmail", "maildir", "resend", "brevo", "http", "https")
_FORMS = "outbox:FOLDER, smtp:HOST:PORT or smtps:HOST"


def transport(where: str | Transport) -> Transport:
    """The way out that a short text names.

    Args:
        where: `outbox:FOLDER`, for example `outbox:./outbox`; `smtp:HOST:PORT` or `smtps:HOST` with
            `?security=…&connections=…&timeout=…`; or a transport, which is given back as it is.

    Returns:
        The transport. Nothing is opened or written yet.

    Raises:
        NotSupportedError: a way out that this version does not have.
        InputError: not a way out; names the nearest one.

    >>> transport("smtp:mail.example.org")
    Smtp('mail.example.org', 587, security='starttls', connections=4)
    >>> transport("ses:eu-west-1")
    Traceback (most recent call last):
    toolkit.errors.NotSupportedError: transport 'ses:' is not there yet; use outbox:FOLDER, smtp:HOST:PORT or smtps:HOST
    """
    if not isinstance(where, str):
        return where
    scheme, colon, rest = where.partition(":")
    if colon and scheme == "outbox":
        if not rest:
            raise InputError("transport 'outbox:' names no folder; write for example outbox:./outbox")
        return Outbox(os.fspath(rest))
    if colon and scheme in ("smtp", "smtps"):
        return Smtp.parse(where)
    if colon and scheme in _LATER:
        raise NotSupportedError(f"transport '{scheme}:' is not there yet; use {_FORMS}")
    near = nearest(scheme, (*_KNOWN, *_LATER))
    hint = f"; did you mean {near + ':'!r}?" if near else ""
    raise InputError(f"transport: expected {_FORMS}; found {where!r}{hint}")
