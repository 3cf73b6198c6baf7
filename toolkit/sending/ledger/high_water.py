"""How far a ledger has come, kept in it and outside of it, so that an older one put back from a backup is recognised.

As the first mail of a sending is about to leave, and every few seconds while they do, a count in the ledger rises; then
it is written outside: beside a ledger that is a file, and in the sender's own folder of keys, so that a folder put back
as a whole is recognised, too. A mark outside that stands higher than the ledger is of mails that this ledger has
forgotten. A ledger that stands higher is what a crash leaves, or another machine on the same database.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, select, update

from toolkit.database import insert_new
from toolkit.errors import LedgerError
from toolkit.sending.clock import Clock, from_micros, micros
from toolkit.sending.keys import config_folder
from toolkit.sending.ledger.schema import deliveries, metas
from toolkit.sending.states import WAITING
from toolkit.whole import whole_file

__all__ = ["HighWater", "Mark", "files_left_from", "in_doubt_by_now", "last_left"]

_ROW = "high_water"
_SUFFIX = ".mark"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a ledger had come.

    Attributes:
        ledger: names the ledger, at random; made when its first mail leaves.
        count: how often it has risen.
        begun: the count when the first mail of a sending last began to leave.
        at: when it last rose, microseconds since 1970.
        place: where the ledger is; empty in the ledger itself.
        doubted: mails decided by this moment, microseconds since 1970, may have left though neither ledger nor answers
            know them: both were put back.
    """

    ledger: str
    count: int
    begun: int
    at: int
    place: str = ""
    doubted: int = 0


class HighWater:
    """The marks of one ledger; `ledger.high_water`. They rise only after `check`: nothing leaves in a rehearsal."""

    def __init__(
        self,
        writing: Callable[[], AbstractContextManager[Connection]],
        reading: Callable[[], AbstractContextManager[Connection]],
        clock: Clock,
        place: str,
    ) -> None:
        self._writing, self._reading, self._clock, self._place = writing, reading, clock, place
        self._rises = self._leaves = False
        self._tell: Callable[[Mark], None] = lambda mark: None

    def check(self) -> None:
        """Let mails leave, unless mails left from here, or from this ledger elsewhere, of which it knows nothing.

        Raises:
            LedgerError: it was put back from a backup, is an older copy, or another one than mails were sent from here.
        """
        mine, ahead = self.mine(), self.ahead()
        if ahead is None:
            self._rises = True
            if mine is not None:
                self.publish(mine)  # another machine may have written it
            return
        if mine is not None and mine.ledger == ahead.ledger:
            said = f"was put back from a backup, or is an older copy: it knows what left until {_moment(mine.at)}"
        else:
            said = "is not the one from which mails were sent here"
        place = "" if ahead.place == self._where else f" from {ahead.place}"
        how = f"`toolkit ledger reconcile --ledger {self._place} --by NAME` says what is known of them and goes on"
        raise LedgerError(
            f"ledger {self._place}: {said}, but mails left{place} until {_moment(ahead.at)}; whoever got one could be "
            f"mailed again, so nothing was sent; {how}"
        )

    def mine(self) -> Mark | None:
        """How far the ledger itself says that it has come; None where nothing has left."""
        with self._reading() as connection:
            return _mark_of(connection.execute(select(metas.c.value).where(metas.c.name == _ROW)).scalar())

    def ahead(self) -> Mark | None:
        """The mark outside that stands higher than the ledger, or is another ledger's that sent last from its place.

        Of both the later one: a ledger that was put back twice is behind what it was before, and behind what it became.
        """
        mine, marks = self.mine(), list(_marks(self._place))
        last = last_left(self._place)
        ahead = [] if last is None or (mine is not None and last.ledger == mine.ledger) else [last]
        if mine is not None:
            ahead += [one for one in marks if one.ledger == mine.ledger and one.count > mine.count]
        return max(ahead, key=lambda one: (one.at, one.count), default=None)

    def begins(self, tell: Callable[[Mark], None]) -> None:
        """A sending begins, of which no mail has left yet; as the first one does, `tell` is given the mark."""
        self._leaves, self._tell = False, tell

    def first(self, connection: Connection) -> Mark | None:
        """One higher in a transaction that begins mails, the first of a sending; None where others left before them.

        To be handed to `leaves` when it has ended, and before a mail leaves. None, too, where none leaves the machine.
        """
        return self.risen(connection, begins=True) if self._rises and not self._leaves else None

    def leaves(self, mark: Mark) -> None:
        """The mark of `first`, written outside; from now on `rise` has something to tell."""
        self._leaves = True
        self.publish(mark)
        self._tell(mark)

    def rise(self) -> None:
        """One higher, in the ledger and then outside, as a sending goes on or ends; not where no mail of it left."""
        if self._leaves:
            with self._writing() as connection:
                risen = self.risen(connection)
            self.publish(risen)

    def begin_anew(self, connection: Connection, *, after: int, doubted: int) -> Mark:
        """A name of its own from now on, in the transaction under way: the ledger is no older state of any other.

        Args:
            connection: writing.
            after: its mark counts as later than this moment, microseconds since 1970.
            doubted: of no mail decided by this moment and not known to it is certain that it did not leave.

        Returns:
            The mark, to be published when the transaction has ended.
        """
        mark = Mark(secrets.token_hex(16), 1, 1, max(micros(self._clock()), after + 1), doubted=doubted)
        _write(connection, mark)
        return mark

    def risen(self, connection: Connection, *, begins: bool = False) -> Mark:
        """One higher, in the transaction under way; to be published when it has ended.

        Args:
            connection: writing.
            begins: the first mail of a sending is about to leave.
        """
        fresh = Mark(secrets.token_hex(16), 0, 0, 0)
        connection.execute(insert_new(connection, metas), {"name": _ROW, "value": json.dumps(asdict(fresh))})
        held = select(metas.c.value).where(metas.c.name == _ROW).with_for_update()
        before = _mark_of(connection.execute(held).scalar()) or fresh
        count = before.count + 1
        begun = count if begins else before.begun
        risen = replace(before, count=count, begun=begun, at=max(before.at, micros(self._clock())))
        _write(connection, risen)
        return risen

    # --- outside ------------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return _absolute(self._place)

    def publish(self, mark: Mark) -> None:
        """Write a mark outside; never a lower one of the same ledger over a higher."""
        mark = replace(mark, place=self._where)
        same = replace(mark, count=0, begun=0, at=0)
        for path in (config_folder() / f"{mark.ledger}{_SUFFIX}", *_beside(self._place)):
            # A full disk, or a home that is none, is no reason not to send: the ledger itself knows what left.
            with suppress(OSError):
                there = _mark_of(path.read_text("utf-8", "replace")) if path.exists() else None
                if there is not None and replace(there, count=0, begun=0, at=0) == same and there.count >= mark.count:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path, mode=0o600) as part:
                    part.write_text(json.dumps(asdict(mark)) + "\n", encoding="utf-8")


def last_left(place: str) -> Mark | None:
    """The mark of whichever ledger mails last left from at a place, be it still there or not; None where none did."""
    here = (one for one in _marks(place) if one.place == _absolute(place))
    return max(here, key=lambda one: one.at, default=None)


def files_left_from(since: int) -> list[str]:
    """The ledgers in files from which mails left by this sender's own marks, since a moment in microseconds of 1970."""
    return sorted({one.place for one in _marks() if one.at >= since and one.place and "://" not in one.place})


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def _beside(place: str) -> list[Path]:
    return [] if "://" in place else [Path(_absolute(place)).with_suffix(_SUFFIX)]


def _marks(place: str | None = None) -> Iterator[Mark]:
    with suppress(OSError):
        for path in sorted({*config_folder().glob(f"*{_SUFFIX}"), *([] if place is None else _beside(place))}):
            with suppress(OSError):
                mark = _mark_of(path.read_text("utf-8", "replace"))
                if mark is not None:
                    yield mark


def in_doubt_by_now(connection: Connection, run_id: str) -> list[str]:
    """The decisions of a run that wait, and may have left before the ledger was put back."""
    mark = _mark_of(connection.execute(select(metas.c.value).where(metas.c.name == _ROW)).scalar())
    if mark is None or not mark.doubted:
        return []
    waiting = deliveries.c.run_id == run_id, deliveries.c.state.in_(WAITING), deliveries.c.decided_at <= mark.doubted
    return list(connection.execute(select(deliveries.c.decision_id).where(*waiting)).scalars())


def _write(connection: Connection, mark: Mark) -> None:
    connection.execute(insert_new(connection, metas), {"name": _ROW, "value": ""})
    connection.execute(update(metas).where(metas.c.name == _ROW).values(value=json.dumps(asdict(mark))))


def _mark_of(text: str | None) -> Mark | None:
    """What a text says that is a mark, and None of any other."""
    try:
        values = json.loads(text or "")
        mark = Mark(**values)
    except (ValueError, TypeError):
        return None
    return mark if all(isinstance(one, int) for one in (mark.count, mark.begun, mark.at, mark.doubted)) else None


def _moment(at: int) -> str:
    return f"{from_micros(at):%Y-%m-%d %H:%M:%S} UTC"
