"""Which of several live loops minds which customers: shares of all customers, leased in the ledger.

A loop that joins needs nothing but the ledger's address: at their next round the others leave it its part, and what a
loop that died had held is free when its lease ends. So each customer is prepared by one loop; that nobody is mailed
twice does not rest on it, but on the ledger's decisions. Only loops under one approval share: others send other mails.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import select, update

from toolkit.database import insert_new
from toolkit.engine import uniform
from toolkit.errors import LedgerError
from toolkit.sending.clock import Clock, from_micros, micros
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.owners import is_over
from toolkit.sending.ledger.schema import metas

__all__ = ["LOOPS", "SHARES", "Shares", "in_shares", "loops_at_work"]

SHARES = 24
"""All customers: as many loops can have equal parts as divide it, and no more than it can have any."""
LOOPS = "live_shares:"
"""How the rows begin that say which loops are at work; one for each approval."""
_ROW = LOOPS + "{}"
_DIGITS = 24  # of its id
_SALT = "toolkit live loop"


class Shares:
    """The shares of one loop."""

    def __init__(self, ledger: Ledger, owner: str, *, approval: str, lease: timedelta, clock: Clock) -> None:
        """Nothing is held before `hold`.

        Args:
            ledger: the loops' common ledger.
            owner: names this loop; see `owners.owner`.
            approval: the id of what they send under: loops under other approvals mind all customers, too.
            lease: for how long what is held stays so without another `hold`.
            clock: tells the time.
        """
        self._ledger, self._owner, self._clock = ledger, owner, clock
        self._row = _ROW.format(approval[:_DIGITS])
        self._lease = lease // timedelta(microseconds=1)

    def hold(self) -> frozenset[int]:
        """The shares that are this loop's from now on, by a new lease: its fair part, as far as it is free.

        What is more than its part is given back here, so that a loop that has joined finds it.
        """
        return self._changed(leaving=False)

    def release(self) -> None:
        """Give everything back: the others take it at their next round. A ledger that is gone forgets by itself."""
        with suppress(LedgerError):
            self._changed(leaving=True)

    def waits_for(self) -> str:
        """Until when a loop that no longer reports holds shares, in words; empty where every loop is known to be."""
        with self._ledger.reading() as connection:
            found = connection.execute(select(metas.c.value).where(metas.c.name == self._row)).scalar()
        loops: dict[str, int] = json.loads(found)["loops"] if found else {}
        others = [until for name, until in loops.items() if name != self._owner]
        return f"until {from_micros(max(others)):%H:%M:%S} UTC at most" if others else ""

    def _changed(self, *, leaving: bool) -> frozenset[int]:
        now = micros(self._clock())
        with self._ledger.changing() as connection:
            connection.execute(
                insert_new(connection, metas), {"name": self._row, "value": '{"loops": {}, "shares": {}}'}
            )
            held = select(metas.c.value).where(metas.c.name == self._row).with_for_update()
            known: dict[str, Any] = json.loads(connection.execute(held).scalar_one())
            loops = {name: until for name, until in known["loops"].items() if until > now and not is_over(name)}
            loops.pop(self._owner, None)
            if not leaving:
                loops[self._owner] = now + self._lease
            shares = {share: name for share, name in known["shares"].items() if name in loops}
            mine = sorted(int(share) for share, name in shares.items() if name == self._owner)
            part = -(-SHARES // max(1, len(loops)))
            free = [share for share in range(SHARES) if str(share) not in shares]
            kept = [*mine, *free][:part] if not leaving else []
            shares = {share: name for share, name in shares.items() if name != self._owner}
            shares |= {str(share): self._owner for share in kept}
            value = json.dumps({"loops": loops, "shares": shares})
            connection.execute(update(metas).where(metas.c.name == self._row).values(value=value))
        return frozenset(kept)


def loops_at_work(ledger: Ledger, clock: Clock) -> int:
    """How many live loops hold shares of a ledger's customers, under whatever approval."""
    now = micros(clock())
    with ledger.reading() as connection:
        rows = list(connection.execute(select(metas.c.value).where(metas.c.name.startswith(LOOPS))).scalars())
    loops = [(name, until) for row in rows for name, until in json.loads(row)["loops"].items()]
    return sum(until > now and not is_over(name) for name, until in loops)


def in_shares(customers: pd.Series, shares: Collection[int]) -> npt.NDArray[np.bool_]:
    """Which of these customers are of some shares.

    >>> who = pd.Series([f"c{number}" for number in range(1000)])
    >>> parts = [in_shares(who, {share}) for share in range(SHARES)]
    >>> int(sum(part.sum() for part in parts)), bool(in_shares(who, range(SHARES)).all())
    (1000, True)
    """
    place = (uniform(_SALT, [str(one) for one in customers]) * SHARES).astype(np.int64)
    return np.isin(place, sorted(shares))
