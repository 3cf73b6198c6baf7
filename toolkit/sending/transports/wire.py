"""One SMTP connection, seen from the client: lines out, replies in, and never a guess about what the server meant."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from toolkit.errors import TransportError

__all__ = ["BrokenError", "Login", "Reply", "Security", "Session", "Wire", "open_session"]

_LONGEST_LINE = 4_096
_MOST_LINES = 128
_NOT_SMTP = "the server does not speak SMTP"
_REPLY = re.compile(rb"([2-5][0-9]{2})([ -]?)(.*)", re.DOTALL)


class BrokenError(Exception):
    """The connection is of no more use: closed, silent for too long, or the server does not speak SMTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: its number and its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The answer on one line, as it goes into the ledger."""
        return " ".join(self.lines)[:500]

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who the server shall take us for. Never shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Login(…)"


@dataclass(frozen=True, slots=True)
class Security:
    """How the connection is protected: `tls` from the start, `starttls`, or `none`."""

    kind: str
    context: ssl.SSLContext | None


@lru_cache(256)  # a server says the same three lines for every mail
def _line(line: bytes) -> tuple[Reply | None, bool]:
    """One line of an answer as if it were all of it, and whether more follows; None where it is no answer."""
    match = _REPLY.fullmatch(line)
    if match is None:
        return None, False
    return Reply(int(match[1]), (match[3].decode("utf-8", errors="replace").strip(),)), match[2] == b"-"


class Wire(asyncio.Protocol):
    """Bytes in both directions, with flow control; replies are read as they come and taken out one at a time."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._transport: asyncio.Transport | None = None
        self._buffer = b""  # what is not a whole line yet
        self._lines: list[str] = []  # of a reply that goes on
        self._code = 0
        self._replies: deque[Reply] = deque()
        self._wrong: str | None = None
        self._lost: str | None = None
        self._news: asyncio.Future[None] | None = None  # of who waits for bytes, for room, or for the end
        self._until = 0.0  # the end of the patience of who waits
        self._alarm: asyncio.TimerHandle | None = None
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        *lines, rest = (self._buffer + data if self._buffer else data).split(b"\n")
        for line in lines:
            self._read(line.rstrip(b"\r"))
        self._buffer = rest
        if len(rest) > _LONGEST_LINE:
            self._wrong = self._wrong or _NOT_SMTP
        self._wake()

    def _read(self, line: bytes) -> None:
        """One more line of a reply."""
        reply, goes_on = _line(line)
        if self._wrong or reply is None or (self._code and reply.code != self._code):
            self._wrong = self._wrong or _NOT_SMTP
            return
        if not goes_on and not self._lines:
            self._replies.append(reply)
            return
        self._code = reply.code
        self._lines += reply.lines
        if not goes_on:
            self._replies.append(Reply(self._code, tuple(self._lines)))
            self._lines, self._code = [], 0
        elif len(self._lines) == _MOST_LINES:
            self._wrong = "the server's answer does not end"

    def eof_received(self) -> bool:
        """Called by asyncio."""
        self._lost = self._lost or "the server closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._lost = self._lost or (f"connection lost: {exc}" if exc else "the server closed the connection")
        self._wake()

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._is_full = False
        self._wake()

    def write(self, data: bytes) -> None:
        """Hand bytes to the connection."""
        if self._lost or self._transport is None:
            raise BrokenError(self._lost or "not connected")
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room for more."""
        end = asyncio.get_running_loop().time() + self.timeout
        while self._is_full and not self._lost:
            if not await self._waited(end):
                raise BrokenError(f"the server takes nothing for {self.timeout:g} s")
        if self._lost:
            raise BrokenError(self._lost)

    async def reply(self, timeout: float | None = None) -> Reply:
        """The next answer."""
        (only,) = await self.replies(1, timeout)
        return only

    async def replies(self, count: int, timeout: float | None = None) -> list[Reply]:
        """The next so many answers, each of which may take so many seconds."""
        replies = self._replies
        if len(replies) < count:
            wait = timeout or self.timeout
            clock = asyncio.get_running_loop().time
            seen, end = len(replies), clock() + wait
            while len(replies) < count:
                fault = self._wrong or self._lost
                if fault:
                    raise BrokenError(fault)
                if not await self._waited(end) and len(replies) == seen:
                    raise BrokenError(f"no answer for {wait:g} s")
                if len(replies) > seen:
                    seen, end = len(replies), clock() + wait
        return [replies.popleft() for _ in range(count)]

    async def _waited(self, end: float) -> bool:
        """Wait for something to happen; False when nothing did until then.

        `asyncio.wait_for` would make a task and more for each answer, which costs more than all else on a connection;
        and one alarm stays until it rings, since most waits are over long before.
        """
        loop = asyncio.get_running_loop()
        self._news, self._until = loop.create_future(), end
        if self._alarm is None or self._alarm.when() > end:
            self._set_alarm(loop)
        try:
            await self._news
        finally:
            self._news = None
        return loop.time() < end

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(self._until, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if self._news is None:
            return
        if loop.time() < self._until:
            self._set_alarm(loop)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Go on encrypted. What was sent in clear after the server's go-ahead is somebody's forgery."""
        if self._buffer or self._lines or self._replies:
            raise TransportError(f"smtp {host}: more than the server's go-ahead came before encryption")
        if self._transport is None:
            raise BrokenError("not connected")
        loop = asyncio.get_running_loop()
        upgraded = await loop.start_tls(
            self._transport, self, context, server_hostname=host, ssl_handshake_timeout=self.timeout
        )
        if upgraded is None:
            raise BrokenError("encryption could not be started")
        self._transport = upgraded

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._lost = self._lost or "closed"
        self._wake()


class Session:
    """A connection on which mails can be handed over.

    Attributes:
        has_served: whether the server has given its answer to a mail on it.
    """

    def __init__(self, wire: Wire, extensions: dict[str, str]) -> None:
        self.wire = wire
        self.has_served = False
        self.pipelining = "PIPELINING" in extensions
        self.utf8 = "SMTPUTF8" in extensions
        size = extensions.get("SIZE", "")
        self.most = int(size) if size.isdigit() and int(size) else None

    def announce(self, sender: str, recipient: str) -> None:
        """Say from whom, to whom, and that the body is coming; the answers are read by `answers`."""
        self.wire.write(b"".join(self._envelope(sender, recipient)))

    async def answers(self) -> list[Reply]:
        """The answers to MAIL, RCPT and DATA."""
        return await self.wire.replies(3)

    async def step_by_step(self, sender: str, recipient: str) -> tuple[Reply, ...]:
        """The same for a server that wants to be asked one thing at a time; stops at the first no."""
        replies: list[Reply] = []
        for line in self._envelope(sender, recipient):
            self.wire.write(line)
            replies.append(await self.wire.reply())
            if replies[-1].code >= 400:
                break
        return tuple(replies)

    def _envelope(self, sender: str, recipient: str) -> tuple[bytes, bytes, bytes]:
        utf8 = b"" if (sender + recipient).isascii() else b" SMTPUTF8"
        mail = f"MAIL FROM:<{sender}>".encode() + utf8 + b"\r\n"
        return mail, f"RCPT TO:<{recipient}>\r\n".encode(), b"DATA\r\n"

    async def body(self, message: bytes) -> None:
        """Hand over the message, all but the dot that ends it: until then the server has nothing."""
        self.wire.write(_stuffed(message))
        await self.wire.drain()

    def end(self, message: bytes | None = None, following: tuple[str, str] | None = None) -> None:
        """End the message with its dot. From here on the server may have taken it.

        Args:
            message: the message itself, where `body` has not handed it over: all in one packet where it fits.
            following: sender and recipient of the next mail, announced at once.

        Raises:
            BrokenError: the connection was gone already; nothing of this was written.
        """
        pieces = [] if message is None else [_stuffed(message)]
        self.wire.write(b"".join((*pieces, b".\r\n", *(self._envelope(*following) if following else ()))))

    async def reset(self) -> None:
        """Forget a mail that was announced and is not to be sent."""
        self.wire.write(b"RSET\r\n")
        reply = await self.wire.reply()
        if reply.code != 250:
            raise BrokenError(str(reply))

    async def quit(self) -> None:
        """Say goodbye, and do not wait long for an answer."""
        try:
            self.wire.write(b"QUIT\r\n")
            await self.wire.reply(2.0)
        except BrokenError:
            pass
        finally:
            self.wire.close()


def _stuffed(message: bytes) -> bytes:
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


async def open_session(
    host: str, port: int, *, security: Security, login: Login | None, hello: str, timeout: float
) -> Session:
    """A connection that has greeted, is encrypted where it should be, and is logged in.

    Raises:
        TransportError: asking again would not help: no such name, a bad certificate, a wrong password.
        BrokenError: it may work later.
    """
    loop = asyncio.get_running_loop()
    first = security.context if security.kind == "tls" else None
    try:
        _, wire = await asyncio.wait_for(
            loop.create_connection(
                lambda: Wire(timeout), host, port, ssl=first, server_hostname=host if first else None
            ),
            timeout,
        )
    except ssl.SSLError as fault:
        raise _certificate(host, fault) from fault
    except TimeoutError as fault:
        raise BrokenError(f"no connection within {timeout:g} s") from fault
    except OSError as fault:
        # asyncio writes the address into the words of its own faults, and whoever reads them has it already.
        number = fault.errno or 0  # of a name that is not known, below zero
        raise BrokenError(os.strerror(number) if number > 0 else fault.strerror or str(fault)) from fault
    try:
        greeting = await wire.reply()
        if greeting.code != 220:
            raise BrokenError(str(greeting))
        extensions = await _hello(wire, hello)
        if security.kind == "starttls" and security.context is not None:
            if "STARTTLS" not in extensions:
                raise TransportError(
                    f"smtp {host}: offers no encryption (STARTTLS); smtps:{host} is for a server that encrypts from "
                    "the first byte (port 465), ?security=none for one on this machine or in your own network"
                )
            wire.write(b"STARTTLS\r\n")
            await _expect(wire, (220,))
            try:
                await wire.start_tls(security.context, host)
            except ssl.SSLError as fault:
                raise _certificate(host, fault) from fault
            except OSError as fault:
                raise BrokenError(str(fault)) from fault
            extensions = await _hello(wire, hello)
        if login is not None:
            await _log_in(wire, extensions, login, host, encrypted=security.kind != "none")
    except BaseException:
        wire.close()
        raise
    return Session(wire, extensions)


async def _hello(wire: Wire, name: str) -> dict[str, str]:
    wire.write(f"EHLO {name}\r\n".encode("ascii"))
    reply = await wire.reply()
    if reply.code >= 500:
        wire.write(f"HELO {name}\r\n".encode("ascii"))
        await _expect(wire, (250,))
        return {}
    if reply.code != 250:
        raise BrokenError(str(reply))
    words = (line.upper().replace("=", " ").partition(" ") for line in reply.lines[1:])
    return {word: rest.strip() for word, _, rest in words}


async def _log_in(wire: Wire, extensions: dict[str, str], login: Login, host: str, *, encrypted: bool) -> None:
    if not encrypted:
        raise TransportError(
            f"smtp {host}: a password is not sent without encryption; write ?security=starttls (none is for this "
            "machine alone), or take away TOOLKIT_SMTP_USER and TOOLKIT_SMTP_PASSWORD where the server asks for none"
        )
    offered = extensions.get("AUTH", "").split()
    if "PLAIN" in offered:
        secret = base64.b64encode(f"\0{login.user}\0{login.password}".encode())
        wire.write(b"AUTH PLAIN " + secret + b"\r\n")
    elif "LOGIN" in offered:
        wire.write(b"AUTH LOGIN\r\n")
        await _expect(wire, (334,))
        wire.write(base64.b64encode(login.user.encode()) + b"\r\n")
        await _expect(wire, (334,))
        wire.write(base64.b64encode(login.password.encode()) + b"\r\n")
    else:
        raise TransportError(f"smtp {host}: offers no way to log in that is known here: {' '.join(offered) or 'none'}")
    reply = await wire.reply()
    if 500 <= reply.code < 600:
        raise TransportError(f"smtp {host}: does not accept user and password: {reply}")
    if reply.code != 235:
        raise BrokenError(str(reply))


async def _expect(wire: Wire, codes: Sequence[int]) -> Reply:
    reply = await wire.reply()
    if reply.code not in codes:
        raise BrokenError(str(reply))
    return reply


def _certificate(host: str, fault: ssl.SSLError) -> TransportError:
    why = getattr(fault, "verify_message", "") or fault.reason or str(fault)
    if fault.reason == "WRONG_VERSION_NUMBER":  # what it said is no TLS
        how = "smtps: is for port 465; a server that begins without encryption, mostly on port 587, is smtp:"
        return TransportError(f"smtp {host}: does not begin with encryption: {how}")
    return TransportError(f"smtp {host}: its certificate is not accepted: {why}")
