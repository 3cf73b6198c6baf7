"""SMTP: mails handed to a mail server over several pipelined connections at once.

The envelope of the next mail travels with the last dot of the one before, so that a mail costs one round trip. Before
a body goes, the sender is asked for leave and notes it durably; so a crash leaves at most one mail per connection in
doubt. A mail whose dot may have left and that got no answer is reported as unknown, and not tried again here.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from toolkit.errors import InputError, shown
from toolkit.sending.protocol import PAUSE, Outgoing, Receipt, Start
from toolkit.sending.transports.credentials import secret
from toolkit.sending.transports.options import options_of
from toolkit.sending.transports.traffic import deliver_over
from toolkit.sending.transports.wire import Login, Security, Session, open_session

__all__ = ["Resend", "Smtp"]

_SECURITY = ("starttls", "tls", "none")
_OPTIONS = ("security", "connections", "timeout")


class Smtp:
    """A mail server.

    User and password come from the environment, `TOOLKIT_SMTP_USER` and `TOOLKIT_SMTP_PASSWORD`, or the system's
    keyring under these names, and from nowhere else.

    Args:
        host: name of the server.
        port: 587 unless given, 465 with security `tls`.
        security: `starttls` (encryption must be offered), `tls` (from the start), or `none`; unless given, `tls` on
            port 465, `none` on this machine, else `starttls`.
        connections: at once, 1 to 50.
        timeout: seconds to wait for an answer.

    >>> Smtp("mail.example.org").name
    'smtp:mail.example.org:587'
    """

    rehearsal = False
    ledger = None
    default_host = ""

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        security: str | None = None,
        connections: int = 4,
        timeout: float = 60.0,
    ) -> None:
        if security is None:
            security = "tls" if port == 465 else "none" if _is_here(host) else "starttls"
        if security not in _SECURITY:
            raise InputError(f"smtp: security: expected one of {', '.join(_SECURITY)}; found {shown(security)}")
        if not 1 <= connections <= 50:
            raise InputError(f"smtp: connections: expected 1 to 50; found {connections}")
        if not host or not 1 <= (port or 587) <= 65_535 or not 0 < timeout < math.inf:
            raise InputError(
                f"smtp: expected a host, a port and a time above zero; found {shown(host)}, {port}, {timeout}"
            )
        self.host = host
        self.port = port or (465 if security == "tls" else 587)
        self.security = security
        self.connections = connections
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"Smtp({self.host!r}, {self.port}, security={self.security!r}, connections={self.connections})"

    @classmethod
    def parse(cls, text: str) -> Smtp:
        """A mail server from `smtp:HOST:PORT`, `smtps:HOST`, with `?security=…&connections=…&timeout=…`.

        Raises:
            InputError: not of that form, or with a password in it.
        """
        scheme, _, rest = text.partition(":")
        parts = urlsplit(f"{scheme}://{rest.removeprefix('//')}")
        if "@" in parts.netloc:
            raise InputError(
                "smtp: user and password do not belong in a notebook; set TOOLKIT_SMTP_USER and "
                "TOOLKIT_SMTP_PASSWORD in the environment"
            )
        options = options_of(parts.query, _OPTIONS, what="smtp")
        try:
            return cls(
                parts.hostname or cls.default_host,
                parts.port,
                security=options.get("security", "tls" if scheme == "smtps" else None),
                connections=int(options.get("connections", "4")),
                timeout=float(options.get("timeout", "60")),
            )
        except ValueError as fault:
            if isinstance(fault, InputError):
                raise
            raise InputError(f"smtp: expected smtp:HOST:PORT; found {shown(text)}: {fault}") from fault

    @property
    def name(self) -> str:
        """Names this server in the ledger."""
        return f"smtp:{self.host}:{self.port}"

    @property
    def at_once(self) -> int:
        """Two mails a connection: one under way, one announced."""
        return 2 * self.connections

    def deliver(self, mails: Iterator[Outgoing | None], start: Start) -> Iterator[Receipt | None]:
        """One receipt per mail started, as the server answers.

        Raises:
            TransportError: the server cannot be reached, refuses us, or the sender's address.
        """
        for first in mails:  # no connection is opened before there is a mail
            if first is not None:
                yield from deliver_over(self, first, mails, start)
                return
            time.sleep(PAUSE)

    async def connect(self) -> Session:
        """A session with the server, ready for mails."""
        login = self._login()
        context = None if self.security == "none" else ssl.create_default_context()
        if context is not None:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        return await open_session(
            self.host,
            self.port,
            security=Security(self.security, context),
            login=login,
            hello=_own_name(),
            timeout=self.timeout,
        )

    def _login(self) -> Login | None:
        user, password = self._secret("TOOLKIT_SMTP_USER"), self._secret("TOOLKIT_SMTP_PASSWORD")
        return Login(user, password) if user and password else None

    def _secret(self, name: str) -> str | None:
        return os.environ.get(name) if self.security == "none" else secret(name)  # a keyring is not asked in vain


class Resend(Smtp):
    """Resend's mail server. Each mail carries a key by which Resend drops a second copy of it.

    The API key is `TOOLKIT_RESEND_KEY`, in the environment or the keyring.

    >>> Resend().name
    'resend:smtp.resend.com:465'
    """

    default_host = "smtp.resend.com"

    def __init__(self, host: str = default_host, port: int | None = None, **options: Any) -> None:
        super().__init__(host, port or 465, **options)

    def __repr__(self) -> str:
        return f"Resend({self.host!r}, {self.port})"

    @property
    def name(self) -> str:
        """Names this server in the ledger."""
        return f"resend:{self.host}:{self.port}"

    def deliver(self, mails: Iterator[Outgoing | None], start: Start) -> Iterator[Receipt | None]:
        """As a mail server, each mail with its key."""
        return super().deliver((None if mail is None else _keyed(mail) for mail in mails), start)

    def _login(self) -> Login | None:
        key = self._secret("TOOLKIT_RESEND_KEY")
        return Login("resend", key) if key else None


def _keyed(mail: Outgoing) -> Outgoing:
    return replace(mail, message=f"Resend-Idempotency-Key: {mail.decision_id}\r\n".encode() + mail.message)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_name() -> str:
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name) else "[127.0.0.1]"
