"""The ledger: what became of every mail, durable before and after each thing that cannot be taken back."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from toolkit.database import Writing, chunks, compact
from toolkit.sending.clock import Clock, micros, utc_now
from toolkit.sending.ledger import alarm, audit, claims, holding, pacing, steering, turns
from toolkit.sending.ledger.delivery_rows import ChangedError, Delivery
from toolkit.sending.ledger.feedback import Feedback, Taken, take
from toolkit.sending.ledger.high_water import HighWater
from toolkit.sending.ledger.known import Known, counts_of
from toolkit.sending.ledger.planning import Entry, Planned, RunRecord, plan_mails, plan_run
from toolkit.sending.ledger.schema import NoLedgerError, attempts, deliveries, events, open_engine, runs
from toolkit.sending.ledger.schema import suppressions as suppression_rows
from toolkit.sending.ledger.server_clock import shared_clock
from toolkit.sending.ledger.suppression import Suppressions
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import OPEN, State

__all__ = ["Ledger"]

_PLANNED_AT_ONCE = 10_000  # mails in one commit
_PLANNED = ("added", "adopted", "known", "held")


class Ledger(Known, audit.Audited):
    """The record of every mail: its state, its attempts, its receipt, and an audit of what people decided.

    SQLite by default (write-ahead log, every commit on the disk), so that a machine that loses power forgets nothing.
    Two notebooks, or two processes, may use one ledger at the same time.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with Ledger.open(f"{folder}/ledger.sqlite") as ledger:
    ...     len(ledger.status())
    0
    """

    def __init__(self, engine: Any, place: str, clock: Clock) -> None:
        super().__init__(engine, place, clock)
        self._transactions = Writing(engine)
        self.suppressions = Suppressions(self._writing, self._reading, clock)
        self.rates = pacing.Rates(self._writing, self._reading, clock)
        self.high_water = HighWater(self._writing, self._reading, clock, place)

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, clock: Clock = utc_now) -> Ledger:
        """The ledger at a place, made there if there is none yet.

        Args:
            where: path of a SQLite file, or a database URL such as `postgresql://host/name`.
            clock: tells the time; in PostgreSQL the server's clock does, where this machine's own is meant.

        Returns:
            The ledger, open.

        Raises:
            LedgerError: the place cannot be opened, holds something else, or a ledger of a newer version.
            NotSupportedError: the URL names a database other than SQLite and PostgreSQL.
        """
        engine, place = open_engine(where)
        return cls(engine, place, shared_clock(engine, clock))

    @classmethod
    def as_it_is(cls, where: str | os.PathLike[str], *, clock: Clock = utc_now) -> Ledger:
        """The ledger at a place, only to be asked: nothing of it is changed, and an earlier version stays one.

        Args:
            where: path of a SQLite file, or a database URL such as `postgresql://host/name`.
            clock: as for `open`.

        Raises:
            LedgerError: the place cannot be opened, holds no ledger, or one of a newer version; or when it is written.
            NotSupportedError: the URL names a database other than SQLite and PostgreSQL.
        """
        engine, place = open_engine(where, as_it_is=True)
        return cls(engine, place, shared_clock(engine, clock))

    @classmethod
    @contextmanager
    def if_there(cls, where: str | os.PathLike[str], *, clock: Clock = utc_now) -> Iterator[Ledger | None]:
        """The ledger at a place for as long as it is asked, as of `as_it_is`; None where there is none yet."""
        with ExitStack() as held:
            found = None
            if cls.exists(where):
                with suppress(NoLedgerError):
                    found = held.enter_context(cls.as_it_is(where, clock=clock))
            yield found

    @staticmethod
    def exists(where: str | os.PathLike[str]) -> bool:
        """Whether something stands at that place already; always True for a database URL."""
        return "://" in os.fspath(where) or Path(where).expanduser().exists()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self.place!r})"

    # --- what a run does ----------------------------------------------------------------------------------------------

    def plan(self, run: RunRecord, entries: Iterable[Entry]) -> Planned:
        """A run and its mails written down; what the ledger knows already is not added again.

        Mails of an earlier run that stopped before they were sent are taken over by this one.

        Raises:
            LedgerError: a row of the ledger was tampered with; names it.
        """
        now = micros(self._clock())
        counts, spent = Counter[str](), list[str]()
        with self._writing() as connection:
            plan_run(connection, run, now=now)
        for some in chunks(entries, _PLANNED_AT_ONCE):
            with self._writing() as connection:
                one = plan_mails(connection, run, some, now=now)
            counts.update({name: getattr(one, name) for name in _PLANNED})
            spent += one.spent
        planned = Planned(**{name: counts[name] for name in _PLANNED}, spent=tuple(spent))
        detail = {"digest": run.digest, **{name: counts[name] for name in _PLANNED if counts[name]}}
        if planned.added or planned.adopted:
            with self._writing() as connection:
                audit.append(connection, at=now, actor=run.approver, action="planned", subject=run.id, detail=detail)
                holding.hold_if_held(connection, run.id, now=now)
                alarm.pause_at_once(connection, run.id, now=now)  # what is known of earlier rounds may be reason enough
        return planned

    def claim(self, run_id: str, *, owner: str, limit: int, lease: int) -> list[Delivery]:
        """At most `limit` mails of the run, leased to the owner for so many microseconds."""
        with self._writing() as connection:
            return claims.claim(connection, run_id, owner=owner, limit=limit, lease=lease, now=micros(self._clock()))

    def start(self, held: Sequence[Delivery]) -> list[Delivery]:
        """Those of the leased mails that may be sent, noted durably as under way."""
        return self.turn((), held).started

    def record(
        self, results: Sequence[tuple[Delivery, Receipt]], *, next_at: Mapping[str, int] | None = None
    ) -> list[Delivery]:
        """The mails whose receipts were written down; the rest are in other hands.

        Args:
            results: mails as they were when started, and their receipts.
            next_at: for each deferred mail, by decision id: when to try again, microseconds since 1970.

        Raises:
            LedgerError: a mail is deferred without a moment to try it again; nothing was written down.
        """
        return self.turn(results, (), next_at=next_at).recorded

    def turn(
        self,
        results: Sequence[tuple[Delivery, Receipt]],
        held: Sequence[Delivery],
        *,
        next_at: Mapping[str, int] | None = None,
        claiming: turns.Claiming | None = None,
    ) -> turns.Turn:
        """Receipts written down, leased mails started and further ones leased, in one commit.

        Args:
            results: mails as they were when started, and their receipts.
            held: leased mails that are to be started.
            next_at: for each deferred mail, by decision id: when to try again, microseconds since 1970.
            claiming: what to lease in the same commit.

        Returns:
            Those recorded, those that may be sent, those leased.

        Raises:
            LedgerError: a mail is deferred without a moment to try it again; nothing was written down.
        """
        options: dict[str, Any] = {"next_at": next_at or {}, "claiming": claiming}
        if self._engine.dialect.name == "sqlite":  # one writer at a time: what is remembered can be trusted and tried
            with suppress(ChangedError):
                return self._turned(results, held, trusting=True, **options)
        return self._turned(results, held, **options)

    def _turned(
        self, results: Sequence[tuple[Delivery, Receipt]], held: Sequence[Delivery], **options: Any
    ) -> turns.Turn:
        with self._writing() as connection:
            done = turns.turn(connection, results, held, now=micros(self._clock()), **options)
            mark = self.high_water.first(connection) if done.started else None
        if mark is not None:
            self.high_water.leaves(mark)
        return done

    def again(self, run_id: str, *, wait: int) -> list[Delivery]:
        """Transactional mails of a run in doubt, planned again after so many microseconds, while the approval lasts."""
        with self._writing() as connection:
            rows = claims.again(connection, run_id, now=micros(self._clock()), wait=wait)
            for row in rows:
                self._audited(connection, "sender", "sent again", row.decision_id, {"class": row.class_})
            return rows

    def stop(self, run_id: str, reasons: Mapping[str, str], *, owner: str | None = None) -> int:
        """How many mails of a run that wait, or that this owner has leased, will not go for the reasons by decision."""
        gone = 0
        for some in chunks(reasons.items()):
            with self._writing() as connection:
                gone += steering.stop_mails(connection, run_id, dict(some), owner=owner)
        return gone

    def postpone(self, run_id: str, until: Iterable[tuple[str, int]], *, reason: str, owner: str) -> None:
        """Mails of a run that wait, or that this owner has leased, deferred until a moment each (microseconds since
        1970), by decision."""
        for some in chunks(until):
            with self._writing() as connection:
                steering.postpone_mails(connection, run_id, dict(some), reason=reason, owner=owner)

    def renew(self, owner: str, *, lease: int) -> None:
        """The owner's leases, made to last so many microseconds from now."""
        with self._writing() as connection:
            claims.renew(connection, owner, until=micros(self._clock()) + lease)
        self.high_water.rise()

    def recover(self, *, owner: str | None = None) -> list[Delivery]:
        """Mails that turned unknown, because their sender died, its lease ended, or it is the owner named.

        What such a sender had leased and not started is planned again.
        """
        with self._writing() as connection:
            unknown = claims.recover(connection, now=micros(self._clock()), owner=owner)
            for row in unknown:
                self._audited(connection, "sender", "unknown", row.decision_id, {"owner": row.owner or ""})
            return unknown

    def settle(self, rows: Sequence[Delivery], found: Mapping[str, Receipt], *, by: str) -> list[Delivery]:
        """Unknown mails settled by evidence: those found as the receipt says, the others planned again."""
        with self._writing() as connection:
            settled = claims.settle(connection, rows, found, actor=by, now=micros(self._clock()))
            for row in settled:
                self._audited(connection, by, "settled", row.decision_id, {"state": row.state.value})
            return settled

    def finish(self, run_id: str, *, by: str) -> None:
        """Note in the audit that nothing of the run is left to do."""
        with self._writing() as connection:
            counts = counts_of(connection, run_id)
            active = runs.c.id == run_id, runs.c.state == "active"
            if any(counts[state] for state in OPEN):
                return
            if connection.execute(update(runs).where(*active).values(state="done")).rowcount:
                self._audited(connection, by, "done", run_id, {state.value: count for state, count in counts.items()})

    # --- what people decide -------------------------------------------------------------------------------------------

    def assume_sent(self, decisions: str | Iterable[str], *, by: str, why: str = "") -> None:
        """Take unknown mails as sent: they will not go again.

        Args:
            decisions: the id of one decision, or of several: all of them are settled, or none.
            by: who does it; written to the audit, a line for each mail.
            why: written to the audit.

        Raises:
            LedgerError: one of the mails is not unknown.
        """
        ids = _each(decisions)
        receipt = f"assumed by {by}"
        self._choose(ids, {one: Receipt(one, State.ACCEPTED, receipt=receipt) for one in ids}, by=by, why=why)

    def send_again(self, decisions: str | Iterable[str], *, by: str, why: str = "") -> None:
        """Plan unknown mails again: they may arrive twice.

        Args:
            decisions: the id of one decision, or of several: all of them are settled, or none.
            by: who does it; written to the audit, a line for each mail.
            why: written to the audit.

        Raises:
            LedgerError: one of the mails is not unknown.
        """
        self._choose(_each(decisions), {}, by=by, why=why)

    def pause(self, name: str, *, by: str, why: str = "") -> None:
        """Let no more mails of a run go, or of all runs under an approval, those to come included.

        Those under way are finished; a sender at work stops within a moment, and a loop waits round after round.

        Args:
            name: the run's id or the approval's, or how it begins; all of it where an approval has no run yet.
            by: who does it; written to the audit.
            why: written to the audit.

        Raises:
            LedgerError: no such run or approval, or it is not active.
        """
        self._paused(name, by=by, why=why, pauses=True)

    def resume(self, name: str, *, by: str, why: str = "") -> None:
        """Let a paused run, or all runs under an approval, be claimed again; call `send` to go on with a batch.

        Failures and bounces are counted afresh.

        Raises:
            LedgerError: no such run or approval, it is not paused, or it is a run whose approval is paused.
        """
        self._paused(name, by=by, why=why, pauses=False)

    def _paused(self, name: str, *, by: str, why: str, pauses: bool) -> None:
        with self._writing() as connection:
            now = micros(self._clock())
            steering.turn_named(connection, self.place, name, by=by, why=why, pauses=pauses, now=now)

    def cancel(self, run_id: str, *, by: str, why: str = "") -> int:
        """End a run: what was not sent will not be, by no later batch either.

        Returns:
            How many mails were cancelled.

        Raises:
            LedgerError: no such run, or it is over.
        """
        with self._writing() as connection:
            return steering.cancel(connection, self.place, run_id, by=by, why=why, now=micros(self._clock()))

    def revoke(self, approval_id: str, *, by: str, why: str = "") -> list[str]:
        """Take an approval back: it counts no more, and its runs end, wherever they are being sent.

        Args:
            approval_id: `Approval.id`, all of it; it need not have been used yet.
            by: who does it; written to the audit.
            why: written to the audit.

        Returns:
            The runs that ended; what they had not sent may go under another approval.

        Raises:
            InputError: not the id of an approval.
        """
        with self._writing() as connection:
            return steering.revoke(connection, approval_id, by=by, why=why, now=micros(self._clock()))

    def report_events(self, reports: Iterable[Feedback]) -> Taken:
        """Take in what providers report: each report once, in one commit per hundred.

        A mail in doubt is settled by them; hard bounces, complaints and unsubscribes go on the suppression list, and
        count for the alarms that pause a run.

        Args:
            reports: deliveries, bounces, complaints … about mails or addresses.

        Returns:
            How many were new, known, settled a mail, suppressed an address; InputError for what is no report.
        """
        total = Taken(0, 0, 0, 0)
        for some in chunks(reports, 100):
            with self._writing() as connection:
                total += take(connection, some, now=micros(self._clock()))
        return total

    def _choose(self, ids: Sequence[str], found: Mapping[str, Receipt], *, by: str, why: str) -> None:
        with self._writing() as connection:
            now = micros(self._clock())
            steering.choose(connection, self.place, ids, found, by=by, why=why, now=now)

    # --- connections --------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._faults("written"), self._transactions.begin() as connection:
            yield connection

    def at_work(self) -> AbstractContextManager[None]:
        """Meanwhile this thread writes through one connection, where the database is a file; for a sender."""
        return self._transactions.kept()

    def changing(self) -> AbstractContextManager[Connection]:
        """A connection in a transaction that writes, for this room's other files."""
        return self._writing()

    def compact(self) -> None:
        """Write the database anew, so that nothing that was replaced stays in its files."""
        with self._faults("written"):
            compact(self._engine, [deliveries, attempts, events, suppression_rows])


def _each(decisions: str | Iterable[str]) -> list[str]:
    return [decisions] if isinstance(decisions, str) else list(dict.fromkeys(decisions))
