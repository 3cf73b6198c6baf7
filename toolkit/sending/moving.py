"""A ledger moved to another place, from a file to PostgreSQL or back: all of it, its answers and its key, or nothing.

It is copied in one transaction of each side while nobody can write to either, read back, and compared. What it was
moved from stays as it is and is closed: no program, of whatever version, writes to it any more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, func, select

from toolkit.bars import Bar
from toolkit.database import close_tables, placeholder, reopen_tables
from toolkit.errors import AnswersError, InputError, LedgerError, ToolkitError
from toolkit.readable import counted
from toolkit.sending.answered import answers_place, mark_of
from toolkit.sending.clock import Clock, micros, utc_now
from toolkit.sending.files import publish, write_whole
from toolkit.sending.keys import key_file
from toolkit.sending.ledger import audit, moved
from toolkit.sending.ledger.delivery_rows import sender_at_work
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import deliveries, metas, tables
from toolkit.sending.ledger.shares import LOOPS, loops_at_work
from toolkit.sending.people import person
from toolkit.tracking import Answers
from toolkit.tracking import schema as tracked

__all__ = ["Moved", "move_ledger", "reopen_ledger"]

_AT_ONCE = 5_000  # rows read and written together
_REFERRING = ("attempt", "event")  # tables that name a mail by its number

Change = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Moved:
    """A ledger that was moved.

    Attributes:
        source: where it was; closed, and as it was.
        target: where it is.
        rows: by table, how many were copied, read back and found equal.
        has_answers: the answers were moved with it.
    """

    source: str
    target: str
    rows: dict[str, int]
    has_answers: bool

    def __str__(self) -> str:
        mails, answers = self.rows[deliveries.name], self.rows.get(tracked.answers.name, 0)
        what = counted(mails, "mail") + (f" and {counted(answers, 'answer')}" if self.has_answers else "")
        return (
            f"{self.source} is now {self.target}: {what}, {counted(sum(self.rows.values()), 'row')} in all, read back "
            f"and equal. Nobody can write to the old one any more; name the new one to every command and notebook"
        )

    __repr__ = __str__


def move_ledger(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    by: str,
    progress: bool = True,
    clock: Clock = utc_now,
) -> Moved:
    """A ledger, its answers and its key at another place, equal to the last row; the old one is closed.

    Args:
        source: path or URL of the ledger.
        target: path or URL of none yet, or of an empty one.
        by: who moves it; written to the audit of both.
        progress: show a progress bar.
        clock: tells the time.

    Returns:
        What was moved.

    Raises:
        InputError: there is no such ledger, the two are one, or another key lies at the target.
        LedgerError: a sender or a loop is at work, the target is not empty, the ledger was moved before or was put back
            from a backup, or what was written is not what was read. Nothing was moved.
        AnswersError: the answers cannot be moved. Nothing was moved.
    """
    who = person(by, where="move_ledger: by")
    if not Ledger.exists(source):
        raise InputError(f"ledger {source}: there is none")
    with ExitStack() as held:
        old = held.enter_context(Ledger.open(source, clock=clock))
        moved.refuse_moved(old)
        new = held.enter_context(Ledger.open(target, clock=clock))
        if old.place == new.place or os.path.realpath(old.place) == os.path.realpath(new.place):
            raise InputError(f"move_ledger: {old.place} and {new.place} are one place")
        old.high_water.check()
        old.recover()  # what a sender that is gone held
        with new.reading() as connection:
            _check_empty(connection, tables(), what=f"ledger {new.place}", error=LedgerError)
        _check_key(os.fspath(source), os.fspath(target))
        now, places = micros(old.clock()), (_absolute(old.place), _absolute(new.place))
        theirs = _answers_of(held, source, target, clock)
        rows = dict[str, int]()
        with ExitStack() as both:  # of the sources last, so that they are closed when the targets are safe
            reads = both.enter_context(old.changing())
            heard = both.enter_context(theirs[0].changing()) if theirs else None
            _keep_still(reads, tables())
            _nobody_at_work(old, reads)
            writes = both.enter_context(new.changing())
            _keep_still(writes, tables())
            count = _count(reads, tables()) + (_count(heard, tracked.tables()) if heard is not None else 0)
            # Each row is a step when it is written, and another when it is read back.
            with Bar(total=2 * count, desc="moving", unit=" steps", disable=not progress, leave=False) as bar:
                changes = _changes(reads, {} if theirs is None else {mark_of(theirs[0]): mark_of(theirs[1])})
                rows |= _copied(
                    reads, writes, tables(), changes, what=f"ledger {new.place}", error=LedgerError, bar=bar
                )
                if theirs is not None and heard is not None:
                    _keep_still(heard, tracked.tables())
                    told = both.enter_context(theirs[1].changing())
                    rows |= _answers_copied(heard, told, theirs, (old.place, new.place), bar)
                    close_tables(heard, _all_but(tracked.tables(), tracked.metas), _closed(_absolute(theirs[1].place)))
            risen = new.high_water.risen(writes) if old.high_water.mine() is not None else None
            for connection, detail in ((reads, {"to": places[1]}), (writes, {"from": places[0]})):
                audit.append(connection, at=now, actor=who, action="moved", subject="the ledger", detail=detail)
            moved.close(reads, to=places[1], by=who, now=now)
            _give_key(os.fspath(source), os.fspath(target))
        if risen is not None:
            new.high_water.publish(risen)
        return Moved(*places, rows, theirs is not None)


def reopen_ledger(ledger: str | os.PathLike[str], *, by: str, clock: Clock = utc_now) -> None:
    """Take back the move of a ledger from which nothing was sent at its new place: it may be written to again here.

    Where the new one can be reached it is closed, so that nobody is mailed from both.

    Args:
        ledger: path or URL of the old one.
        by: who does it; written to its audit.
        clock: tells the time.

    Raises:
        InputError: there is none, or it was not moved.
        LedgerError: mails left from the new place since, or somebody is at work there; move that one instead.
    """
    who = person(by, where="reopen_ledger: by")
    if not Ledger.exists(ledger):
        raise InputError(f"ledger {ledger}: there is none")
    with ExitStack() as held:
        opened = held.enter_context(Ledger.open(ledger, clock=clock))
        where = moved.is_moved(opened)
        if where is None:
            raise InputError(f"ledger {opened.place}: was not moved")
        mine, ahead = opened.high_water.mine(), opened.high_water.ahead()
        if mine is not None and ahead is not None and (ahead.ledger, ahead.begun) != (mine.ledger, mine.begun):
            raise LedgerError(_left_since(opened, where))
        _close_new(held, opened, where, by=who)
        place = answers_place(ledger)
        if Ledger.exists(place):
            answers = held.enter_context(Answers.open(place))
            with answers.changing() as connection:
                reopen_tables(connection, _all_but(tracked.tables(), tracked.metas))
        with opened.changing() as connection:
            moved.reopen(connection)
            mark = opened.high_water.begin_anew(
                connection, after=0 if ahead is None else ahead.at, doubted=0 if mine is None else mine.doubted
            )
            audit.append(connection, at=micros(opened.clock()), actor=who, action="reopened", subject="the ledger")
        opened.high_water.publish(mark)


def _close_new(held: ExitStack, old: Ledger, where: str, *, by: str) -> None:
    """Let nobody write to where a ledger was moved to, if it is there and reached; nothing may have left from it."""
    place = moved.place_of_move(old)
    if place is None or not Ledger.exists(place):
        return
    try:
        new = held.enter_context(Ledger.open(place, clock=old.clock))
    except ToolkitError:  # a database that is down may be why the move is taken back
        return
    here = _absolute(old.place)
    with new.changing() as connection:
        on = moved.place_of_move(new)
        if on == here:  # closed by a call that was cut short
            return
        if on:
            raise LedgerError(f"ledger {old.place}: {where}, and from there on to {on}; move that one instead")
        mine, theirs = old.high_water.mine(), new.high_water.mine()
        if theirs is not None and (mine is None or (mine.ledger, mine.begun) != (theirs.ledger, theirs.begun)):
            raise LedgerError(_left_since(old, where))
        _nobody_at_work(new, connection)
        detail = {"to": here}
        audit.append(connection, at=micros(old.clock()), actor=by, action="moved", subject="the ledger", detail=detail)
        moved.close(connection, to=here, by=by, now=micros(old.clock()))


def _left_since(ledger: Ledger, where: str) -> str:
    return f"ledger {ledger.place}: {where}, and mails left from there since; move that one instead"


# --- what may be moved, and where to ----------------------------------------------------------------------------------


def _nobody_at_work(ledger: Ledger, connection: Connection) -> None:
    held = sender_at_work(connection)
    if held is not None or loops_at_work(ledger, ledger.clock):
        what = "a sender" if held is not None else "a loop"
        raise LedgerError(f"ledger {ledger.place}: {what} is at work; stop it first; nothing was moved")


def _answers_of(held: ExitStack, source: str | os.PathLike[str], target: str | os.PathLike[str], clock: Clock) -> Any:
    """The answers of both places, open; None where there are none."""
    places = answers_place(source), answers_place(target)
    if not Ledger.exists(places[0]):
        return None
    return tuple(held.enter_context(Answers.open(one, clock=lambda: micros(clock()))) for one in places)


def _check_key(source: str, target: str) -> None:
    ours, theirs = key_file(source), key_file(target)
    if theirs.exists() and (not ours.exists() or ours.read_bytes() != theirs.read_bytes()):
        raise InputError(
            f"key {theirs}: is there already, and another than {ours}, which named the mails of ledger {source}; "
            f"move it away first if no mail needs it; nothing was moved"
        )


def _give_key(source: str, target: str) -> None:
    ours, theirs = key_file(source), key_file(target)
    if ours == theirs or theirs.exists() or not ours.exists():
        return
    part = theirs.with_name(f".{theirs.name}.moved")
    try:
        theirs.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        write_whole(part, ours.read_bytes())
        publish(part, theirs)
        part.unlink(missing_ok=True)
    except OSError as fault:
        raise InputError(f"key {theirs}: cannot be written: {fault.strerror}; nothing was moved") from fault


def _keep_still(connection: Connection, every: Sequence[Table]) -> None:
    """Let nobody else write until the transaction ends; in SQLite, nobody can anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(table.name for table in every)} IN EXCLUSIVE MODE")


# --- the copy ---------------------------------------------------------------------------------------------------------


def _copied(
    reads: Connection,
    writes: Connection,
    every: Sequence[Table],
    changes: Mapping[str, Change],
    *,
    what: str,
    error: type[ToolkitError],
    bar: Any,
) -> dict[str, int]:
    """How many rows were copied, by table; what was written is read back, and equal."""
    _check_empty(writes, every, what=what, error=error)
    rows = {}
    for table in every:
        written = _Sum()
        for some in _read(reads, table):
            going = [row for row in map(changes.get(table.name, _as_it_is), some) if row is not None]
            _write(writes, table, going)
            written.add(table, going)
            bar.update(len(some))
        there = _Sum()
        for some in _read(writes, table):
            there.add(table, [row for row in some if not _is_version(table, row)])
            bar.update(len(some))
        if (written.count, written.digest) != (there.count, there.digest):
            raise error(
                f"{what}: {table.name}: of {counted(written.count, 'row')} written {there.count:,} were read back, or "
                "not the same; nothing was moved"
            )
        rows[table.name] = written.count
        _count_on(writes, table)
    return rows


def _check_empty(connection: Connection, every: Sequence[Table], *, what: str, error: type[ToolkitError]) -> None:
    for table in every:
        mine = 1 if table.name.endswith("meta") else 0  # its version
        count = _count(connection, [table])
        if count > mine:
            raise error(f"{what}: is not empty: {counted(count, 'row')} in {table.name}; nothing was moved")


def _count(connection: Connection, every: Sequence[Table]) -> int:
    return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in every)


def _read(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    columns = [column.label(column.name) for column in table.columns]
    query = select(*columns).order_by(*table.primary_key.columns).execution_options(yield_per=_AT_ONCE)
    for some in connection.execute(query).mappings().partitions():
        yield [dict(row) for row in some]


def _write(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        marks = ", ".join([placeholder(connection)] * len(table.columns))
        values = [tuple(row[column.name] for column in table.columns) for row in rows]
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', values)


class _Sum:
    """The count and the digest of rows, whatever their order."""

    def __init__(self) -> None:
        self.count = self.digest = 0

    def add(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        self.count += len(rows)
        names = [column.name for column in table.columns]
        for row in rows:
            said = repr([row[name] for name in names]).encode("utf-8", "surrogatepass")
            self.digest = (self.digest + int.from_bytes(hashlib.sha256(said).digest())) % 2**256


def _count_on(connection: Connection, table: Table) -> None:
    """Let the numbers of PostgreSQL go on after those that were written."""
    number = table.columns.get("id")
    if connection.dialect.name == "postgresql" and number is not None and number.autoincrement is True:
        last = connection.execute(select(func.max(number))).scalar()
        if last is not None:
            connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), last)))


def _is_version(table: Table, row: dict[str, Any]) -> bool:
    return table.name.endswith("meta") and row["name"] == "version"


def _as_it_is(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _changes(reads: Connection, names: dict[str, str]) -> dict[str, Change]:
    """What is otherwise in the new ledger: numbers of mails, which have no gap in a file, and names of places."""
    query = select(deliveries.c.id).order_by(deliveries.c.id)
    ids: npt.NDArray[np.int64] = np.fromiter(reads.execute(query).scalars(), dtype=np.int64)

    def numbered(column: str) -> Change:
        def change(row: dict[str, Any]) -> dict[str, Any]:
            if row[column] is None:
                return row
            return {**row, column: int(np.searchsorted(ids, row[column])) + 1}

        return change

    def named(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["name"] == "version" or row["name"].startswith(LOOPS):
            return None
        return {**row, "name": names.get(row["name"], row["name"])}

    gaps = len(ids) and int(ids[-1]) != len(ids)
    renumbered = {deliveries.name: numbered("id")} | {table: numbered("delivery_id") for table in _REFERRING}
    return {metas.name: named, **(renumbered if gaps else {})}


def _answers_copied(
    reads: Connection, writes: Connection, stores: tuple[Answers, Answers], places: tuple[str, str], bar: Any
) -> dict[str, int]:
    old, new = places
    names = {f"sent of {old}": f"sent of {new}", f"suppressions of {old}": f"suppressions of {new}"}

    def named(row: dict[str, Any]) -> dict[str, Any] | None:
        return None if row["name"] == "version" else {**row, "name": stores[0].renamed(row["name"], names)}

    every, changes = tracked.tables(), {tracked.metas.name: named}
    return _copied(reads, writes, every, changes, what=f"answers {stores[1].place}", error=AnswersError, bar=bar)


def _absolute(place: str) -> str:
    """A place as it is called from wherever somebody asks."""
    return place if "://" in place else os.path.abspath(place)


def _all_but(every: Sequence[Table], one: Table) -> list[Table]:
    return [table for table in every if table is not one]


def _closed(place: str) -> str:
    return f"they were moved to {place}; use those"
