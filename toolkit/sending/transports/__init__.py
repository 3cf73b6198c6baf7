"""Ways out: the outbox, a folder of .eml files. Each passes the contract in `tests/sending/test_transports.py`."""

from __future__ import annotations

import os

from toolkit.errors import InputError, NotSupportedError, nearest
from toolkit.sending.protocol import Transport
from toolkit.sending.transports.outbox import Outbox

__all__ = ["Outbox", "transport"]

_KNOWN = ("outbox",)
_LATER = ("smtp", "smtps", "ses", "sendmail", "maildir", "resend", "brevo", "http", "https")


def transport(where: str | Transport) -> Transport:
    """The way out that a short text names.

    Args:
        where: `outbox:FOLDER`, for example `outbox:./outbox`; or a transport, which is given back as it is.

    Returns:
        The transport. Nothing is opened or written yet.

    Raises:
        NotSupportedError: a way out that this version does not have.
        InputError: not a way out; names the nearest one.

    >>> transport("smtp:mail.example.org")
    Traceback (most recent call last):
    toolkit.errors.NotSupportedError: transport 'smtp:' is not there yet; this version has: outbox:FOLDER
    """
    if not isinstance(where, str):
        return where
    scheme, colon, rest = where.partition(":")
    if colon and scheme == "outbox":
        if not rest:
            raise InputError("transport 'outbox:' names no folder; write for example outbox:./outbox")
        return Outbox(os.fspath(rest))
    if scheme in _LATER:
        raise NotSupportedError(f"transport '{scheme}:' is not there yet; this version has: outbox:FOLDER")
    near = nearest(scheme, (*_KNOWN, *_LATER))
    hint = f"; did you mean {near + ':'!r}?" if near else ""
    raise InputError(f"transport: expected outbox:FOLDER; found {where!r}{hint}")
