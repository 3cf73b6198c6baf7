"""One clock for all machines that share a ledger: that of its server.

A lease that one machine takes is judged by the others, so machines whose clocks differ would take mails out of each
other's hands: what the one is handing over would be in doubt to the other, and a transactional mail would go twice.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from toolkit.sending.clock import Clock, utc, utc_now

__all__ = ["ServerClock", "shared_clock"]

_ANEW = 30.0  # seconds between two questions
_JUMP = 0.5  # seconds by which this machine's clock was set
_NOW = text("SELECT clock_timestamp()")


class ServerClock:
    """The time of a database server, asked now and then and counted on from in between.

    Args:
        engine: of PostgreSQL.
        local: tells this machine's time, which counts only until the server has answered once.
    """

    def __init__(self, engine: Engine, local: Clock) -> None:
        self._engine = engine
        self._local = local
        self._ahead = timedelta()  # of the server before this machine
        self._asked: tuple[float, float] | None = None  # when, and how this machine's clock stood
        self._asking = threading.Lock()

    def __call__(self) -> datetime:
        now, elapsed = self._local(), time.monotonic()
        stands = now.timestamp() - elapsed
        asked = self._asked
        is_due = asked is None or elapsed - asked[0] > _ANEW or abs(stands - asked[1]) > _JUMP
        if is_due and self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()
            now = self._local()
        return now + self._ahead

    def _ask(self) -> None:
        before = self._local()
        try:
            with self._engine.connect() as connection:
                found: datetime = connection.execute(_NOW).scalar_one()
        except SQLAlchemyError:
            return  # whoever asks for the time writes next, and is told of it there
        after = self._local()
        self._ahead = utc(found, name="server clock") - (before + (after - before) / 2)
        elapsed = time.monotonic()
        self._asked = elapsed, self._local().timestamp() - elapsed


def shared_clock(engine: Engine, clock: Clock) -> Clock:
    """The server's clock where there is a server and the machine's own was meant; else the clock given."""
    return ServerClock(engine, clock) if clock is utc_now and engine.dialect.name == "postgresql" else clock
