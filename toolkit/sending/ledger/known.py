"""What a ledger knows: runs, mails, their states, its audit. Nothing here writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database import READ, said
from toolkit.errors import LedgerError
from toolkit.sending.clock import Clock, from_micros, micros
from toolkit.sending.ledger import audit, claims, pacing
from toolkit.sending.ledger.delivery_rows import Delivery, rows_of
from toolkit.sending.ledger.overview import coupons_of, last_document, mails_of, overview, settled_of
from toolkit.sending.ledger.schema import audits, deliveries, held_as, runs, standing_over
from toolkit.sending.ledger.suppression import suppressed
from toolkit.sending.protocol import REHEARSALS
from toolkit.sending.states import WAITING, State, state_of

__all__ = ["Known", "counts_of"]


class Known:
    """What can be asked of a ledger.

    Args:
        engine: of its database.
        place: path or URL, in words.
        clock: tells the time.
    """

    def __init__(self, engine: Any, place: str, clock: Clock) -> None:
        self._engine = engine
        self._clock = self.clock = clock
        self.place = place

    def status(self) -> pd.DataFrame:
        """Where every run stands, honest to the last mail.

        Returns:
            One row per run, the oldest first: run_id, created_at, approved_by, transport, mails, one count per state,
            done (nothing is planned, leased, sending or deferred) and says, for example `done, 2 unknown`, or
            `done, 300 in other runs`: these had been sent before, or a later run took them over.
        """
        with self._reading() as connection:
            return overview(connection)

    def deliveries(self, *, state: str | None = None, customer: str | None = None) -> pd.DataFrame:
        """Every mail in the ledger, or those in one state, or of one customer.

        Args:
            state: for example `unknown`.
            customer: an id or an address, as the suppression list compares addresses.

        Returns:
            One row per mail: run_id, decision_id, customer_id, address, class, message_id, state, attempts, receipt,
            code, reason, scenario and step (None where an older version sent it), decided_at (UTC; NaT likewise). An
            attempt is one that was answered, be it before the mail's body, or whose body was on its way.
        """
        with self._reading() as connection:
            return mails_of(connection, state=None if state is None else state_of(state), customer=customer)

    def coupons(self) -> pd.DataFrame:
        """The coupon codes of pools that mails have: whose code it is that somebody redeems.

        Returns:
            One row per code: pool, code, decision_id, customer_id, scenario, step, state. Codes of mails that are over
            and never left are free again.
        """
        with self._reading() as connection:
            return coupons_of(connection)

    def audit(self) -> pd.DataFrame:
        """What was done, by whom: one row per line of the audit (seq, at, actor, action, subject, detail, hash)."""
        names = ["seq", "at", "actor", "action", "subject", "detail", "hash"]
        with self._reading() as connection:
            rows = list(connection.execute(select(*(audits.c[name] for name in names)).order_by(audits.c.seq)))
        frame = pd.DataFrame(rows, columns=names)
        return frame.assign(at=pd.to_datetime(frame["at"], unit="us", utc=True))

    def audit_head(self) -> str:
        """The hash of the last line of the audit; kept elsewhere, it shows later whether the ledger was rewritten."""
        with self._reading() as connection:
            return audit.head(connection)

    def verify(self) -> tuple[str, ...]:
        """What does not hold together in this ledger, in words; empty when all of it does.

        The audit's chain, and each mail's state against its attempts.
        """
        with self._reading() as connection:
            return (*audit.chain_faults(connection), *audit.state_faults(connection))

    def known(self, decision_ids: Sequence[str]) -> dict[str, State]:
        """The state of each of these decisions that the ledger knows."""
        with self._reading() as connection:
            return {row.decision_id: row.state for row in rows_of(connection, decision_ids)}

    def settled(self, decision_ids: Sequence[str]) -> dict[str, State]:
        """Those of the decisions that will not be sent by planning them again, with their state.

        Not among them is what waits, what a sender holds (it may have died), and what is unknown but can be looked up.
        """
        with self._reading() as connection:
            return settled_of(connection, decision_ids)

    def left_behind(self, decision_ids: Sequence[str]) -> set[str]:
        """Those of the decisions that still wait in a round of a loop: it is over, and only a later one takes them."""
        with self._reading() as connection:
            waiting = [row for row in rows_of(connection, decision_ids) if row.state in WAITING]
            rounds = {one for one in {row.run_id for row in waiting} if connection.execute(standing_over(one)).first()}
        return {row.decision_id for row in waiting if row.run_id in rounds}

    def run_state(self, run_id: str) -> str | None:
        """Where a run stands: active, paused, cancelled or done; None when it is not in the ledger."""
        with self._reading() as connection:
            state: str | None = connection.execute(select(runs.c.state).where(runs.c.id == run_id)).scalar()
            return state

    def why(self, run_id: str) -> str:
        """What last happened to a run as a whole, in words, for example `paused by ana`; empty when nothing did."""
        with self._reading() as connection:
            query = select(audits.c.action, audits.c.actor).where(audits.c.subject == run_id)
            last = connection.execute(query.order_by(audits.c.seq.desc()).limit(1)).one_or_none()
        return "" if last is None else f"{last.action} by {last.actor}"

    def counts(self, run_id: str) -> Counter[State]:
        """How many mails of a run are in each state."""
        with self._reading() as connection:
            return counts_of(connection, run_id)

    def left_of(self, digest: str, *, through: str | None = None) -> int:
        """How many mails of a batch left for people, or may have, under whichever approval.

        Args:
            digest: the batch's.
            through: the name of a way out; any unless given.
        """
        is_rehearsal = or_(*(runs.c.transport.startswith(one) for one in REHEARSALS))
        query = select(func.count()).select_from(deliveries.join(runs)).where(runs.c.digest == digest, ~is_rehearsal)
        query = query if through is None else query.where(runs.c.transport == through)
        left = deliveries.c.state.in_((State.SENDING, State.ACCEPTED, State.UNKNOWN))
        with self._reading() as connection:
            return connection.execute(query.where(left)).scalar_one()

    def last_run(self) -> datetime | None:
        """The latest moment a batch was sent for, UTC."""
        with self._reading() as connection:
            latest = connection.execute(select(func.max(runs.c.as_of))).scalar()
        return None if latest is None else from_micros(latest)

    def last_approval(self) -> dict[str, Any] | None:
        """The latest approval of a batch, not a standing one, as plain values; None in a ledger without one."""
        with self._reading() as connection:
            found = last_document(connection)
        return None if found is None else json.loads(found)

    def rows(self, decision_ids: Sequence[str]) -> list[Delivery]:
        """The ledger's rows of these decisions, those it knows."""
        with self._reading() as connection:
            return rows_of(connection, decision_ids)

    def stopped(self, mails: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Which mails, as (address, class), the suppression list holds back, and why."""
        with self._reading() as connection:
            return suppressed(connection, mails)

    def marketing_of(self, customer_ids: Sequence[str]) -> dict[str, list[claims.Sent]]:
        """Marketing mails that people got or may have got, by customer."""
        with self._reading() as connection:
            return claims.marketing_of(connection, customer_ids)

    def next_moment(self, run_id: str, *, patient: bool = True) -> tuple[int | None, str]:
        """When more of a run may go (microseconds since 1970), and what it waits for; None when nothing is planned.

        Args:
            run_id: the run.
            patient: wait for domains that asked for a rest, too.
        """
        with self._reading() as connection:
            run = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
            if run is None or run["state"] != "active":
                return None, ""
            return pacing.next_moment(connection, run, now=micros(self._clock()), patient=patient)

    def unknown(self, transport: str) -> list[Delivery]:
        """The unknown mails of one way out."""
        with self._reading() as connection:
            query = select(deliveries.c.decision_id).join(runs, runs.c.id == deliveries.c.run_id)
            query = query.where(held_as(State.UNKNOWN), runs.c.transport == transport)
            return rows_of(connection, list(connection.execute(query).scalars()))

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection to the ledger's database that only reads, for questions of this room's other files."""
        return self._reading()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._faults("read"), self._engine.connect().execution_options(**READ) as connection:
            yield connection

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as fault:
            raise LedgerError(f"ledger {self.place}: cannot be {what}: {said(fault)}") from fault


def counts_of(connection: Connection, run_id: str) -> Counter[State]:
    """How many mails of a run are in each state."""
    query = select(deliveries.c.state, func.count().label("n")).where(deliveries.c.run_id == run_id)
    return Counter({State(row.state): row.n for row in connection.execute(query.group_by(deliveries.c.state))})
