"""How the tracker waits for requests: so long for one, and on so many connections, that nobody can keep others out.

A web server in front does the same; whoever gives the tracker its own certificate has none there.
"""

from __future__ import annotations

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["BACKLOG", "PatientProtocol", "most_connections"]

BACKLOG = 100
"""Connections that may wait to be taken. So many are taken at once, before it is seen how many there are."""

_OWN_FILES = BACKLOG + 50  # of those that may be open: databases, certificates, calls that ask for them
_ENOUGH = 16_384  # connections at once


def most_connections() -> int:
    """How many connections may be open at once, after this process has asked for as many files as it may have.

    A server that has no file left for a connection could not open its database either, and says so without end.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH + _OWN_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return _ENOUGH if soft == resource.RLIM_INFINITY else max(16, min(_ENOUGH, soft - _OWN_FILES))


class PatientProtocol(H11Protocol):
    """HTTP on a connection that is closed where a request is not whole in time, or where too many are open."""

    most = _ENOUGH
    """Connections open at once; a further one is closed without a word."""
    seconds = 20.0
    """Until a request must be here, its body included."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Wait for a request from the moment when none is being answered; dribbling does not begin it anew."""
        is_answering = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if is_answering:
            self._forget()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(self.seconds, self.transport.abort)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
