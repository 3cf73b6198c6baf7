"""Ways out: a folder of .eml files, a mail server. Each passes the contract in `tests/sending/test_transports.py`."""

from __future__ import annotations

import os

from toolkit.errors import InputError, NotSupportedError, nearest, shown
from toolkit.sending.protocol import Transport
from toolkit.sending.transports.dkim import Dkim, Signing, signing
from toolkit.sending.transports.outbox import Maildir, Outbox
from toolkit.sending.transports.ses import Ses
from toolkit.sending.transports.smtp import Resend, Smtp

__all__ = ["Dkim", "Maildir", "Outbox", "Resend", "Ses", "Signing", "Smtp", "named", "signing", "transport"]

_KNOWN = ("outbox", "maildir", "smtp", "smtps", "resend", "ses")
_LATER = ("sendmail", "brevo", "http", "https")
_FORMS = "outbox:FOLDER, maildir:FOLDER, smtp:HOST:PORT, smtps:HOST, resend: or ses:REGION"


def transport(where: str | Transport) -> Transport:
    """The way out that a short text names.

    Args:
        where: `outbox:FOLDER`, for example `outbox:./outbox`, or `maildir:FOLDER`; `smtp:HOST:PORT` or `smtps:HOST`
            with `?security=…&connections=…&timeout=…`; `resend:`; `ses:REGION`; each with `&dkim=SELECTOR@DOMAIN`
            to sign the mails; or a transport, which is given back as it is.

    Returns:
        The transport. Nothing is opened or written yet.

    Raises:
        NotSupportedError: a way out that this version does not have.
        InputError: not a way out; names the nearest one.

    >>> transport("smtp:mail.example.org")
    Smtp('mail.example.org', 587, security='starttls', connections=4)
    >>> transport("brevo:")
    Traceback (most recent call last):
    toolkit.errors.NotSupportedError: transport 'brevo:' is not there yet; use outbox:FOLDER, maildir:FOLDER, \
smtp:HOST:PORT, smtps:HOST, resend: or ses:REGION
    """
    if not isinstance(where, str):
        if not hasattr(where, "deliver"):
            raise InputError(f"transport: expected {_FORMS}, or a transport; found {shown(where)}")
        return where
    plain, dkim = _without_dkim(where)
    way = _plain(plain)
    return way if dkim is None else signing(way, *dkim)


def named(way: object) -> str:
    """How the ledger names a way out: `smtp:mail.example.org` is the server's port 587 there.

    Args:
        way: a transport, a text as `transport` takes it, or the name itself, of one's own transport, too.

    Raises:
        InputError: a text that begins as a way out and is none, or no text at all.

    >>> named("smtp:mail.example.org"), named("smtp:mail.example.org:587"), named("my own")
    ('smtp:mail.example.org:587', 'smtp:mail.example.org:587', 'my own')
    """
    if not isinstance(way, str):
        way = getattr(way, "name", None)
    if not isinstance(way, str) or not way.strip():
        raise InputError(f"transport: expected {_FORMS}; found {shown(way)}")
    return transport(way).name if way.partition(":")[0] in _KNOWN and ":" in way else way


def _plain(where: str) -> Transport:
    scheme, colon, rest = where.partition(":")
    if colon and scheme in ("outbox", "maildir"):
        if not rest:
            raise InputError(f"transport '{scheme}:' names no folder; write for example {scheme}:./{scheme}")
        return (Outbox if scheme == "outbox" else Maildir)(os.fspath(rest))
    if colon and scheme in ("smtp", "smtps"):
        return Smtp.parse(where)
    if colon and scheme == "resend":
        return Resend.parse(where)
    if colon and scheme == "ses":
        return Ses.parse(where)
    if colon and scheme in _LATER:
        raise NotSupportedError(f"transport '{scheme}:' is not there yet; use {_FORMS}")
    near = nearest(scheme, (*_KNOWN, *_LATER))
    hint = f"; did you mean {near + ':'!r}?" if near else ""
    raise InputError(f"transport: expected {_FORMS}; found {shown(where)}{hint}")


def _without_dkim(where: str) -> tuple[str, tuple[str, str] | None]:
    """The text without its option `dkim`, and selector and domain from it."""
    head, mark, query = where.partition("?")
    options = [part for part in query.split("&") if part]
    said = [part.removeprefix("dkim=") for part in options if part.startswith("dkim=")]
    if not mark or not said:
        return where, None
    selector, at, domain = said[0].partition("@")
    if not (selector and at and domain):
        raise InputError(
            f"transport: dkim: expected SELECTOR@DOMAIN, for example s1@example.com; found {shown(said[0])}"
        )
    rest = "&".join(part for part in options if not part.startswith("dkim="))
    return head + (f"?{rest}" if rest else ""), (selector, domain)
