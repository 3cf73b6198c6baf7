"""How an approved batch enters the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from toolkit.errors import LedgerError
from toolkit.sending import claims
from toolkit.sending.schema import approvals, attempts, deliveries, insert_new, runs
from toolkit.sending.states import State

__all__ = ["Entry", "Planned", "RunRecord", "plan_mails", "plan_run"]

_ENTRY = ("decision_id", "customer_id", "address", "class_", "message_id", "payload_sha256")


@dataclass(frozen=True, slots=True)
class Entry:
    """One approved mail, as it enters the ledger."""

    decision_id: str
    customer_id: str
    address: str
    class_: str
    message_id: str
    payload_sha256: str

    def is_row(self, row: claims.Delivery) -> bool:
        """Whether the ledger's row is this very mail."""
        return all(getattr(self, name) == getattr(row, name) for name in _ENTRY)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One approved batch on its way out. Times are microseconds since 1970.

    Attributes:
        id: names the run; the same batch under the same approval is the same run.
        digest: the batch's digest.
        program: the program's content hash (rule R23).
        transport: the way out, by its name.
        mails: how many.
        as_of: the moment the batch was prepared for.
        not_after: when the approval is over.
        approval_id: the approval.
        approver: who approved.
        document: the approval as canonical JSON.
        signed_at: when it was signed.
    """

    id: str
    digest: str
    program: str
    transport: str
    mails: int
    as_of: int
    not_after: int
    approval_id: str
    approver: str
    document: str
    signed_at: int


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning a run did: mails added, mails taken over from an unfinished run, mails known already."""

    added: int
    adopted: int
    known: int


def plan_run(connection: Connection, run: RunRecord, *, now: int) -> None:
    """The run and its approval written down, unless they are there already."""
    connection.execute(
        insert_new(connection, runs),
        {
            "id": run.id,
            "digest": run.digest,
            "program": run.program,
            "transport": run.transport,
            "mails": run.mails,
            "as_of": run.as_of,
            "created_at": now,
            "not_after": run.not_after,
            "state": "active",
        },
    )
    connection.execute(
        insert_new(connection, approvals),
        {
            "id": run.approval_id,
            "run_id": run.id,
            "approver": run.approver,
            "digest": run.digest,
            "document": run.document,
            "signed_at": run.signed_at,
            "expires_at": run.not_after,
        },
    )


def plan_mails(connection: Connection, run_id: str, entries: Sequence[Entry]) -> tuple[int, int]:
    """How many of the mails were added, and how many taken over from another run that had not sent them.

    Raises:
        LedgerError: a row was tampered with; names it.
    """
    wanted = {entry.decision_id: entry for entry in entries}
    before = len(claims.rows_of(connection, list(wanted)))
    connection.execute(
        insert_new(connection, deliveries),
        [_fields(entry) | {"run_id": run_id, "state": State.PLANNED, "epoch": 0, "attempts": 0} for entry in entries],
    )
    rows = claims.rows_of(connection, list(wanted), lock=True)
    missing = wanted.keys() - {row.decision_id for row in rows}
    if missing:
        raise LedgerError(f"ledger: {min(missing)} cannot be planned: its Message-ID is another mail's")
    waiting = [row for row in rows if row.state in (State.PLANNED, State.DEFERRED)]
    _tampered(connection, waiting)
    for row in waiting:
        changed = [name for name, value in _fields(wanted[row.decision_id]).items() if getattr(row, name) != value]
        if row.run_id == run_id and changed:
            names = ", ".join(changed).replace("class_", "class")
            raise LedgerError(f"ledger: row {row.decision_id} was tampered with: not as approved are {names}")
    stopped = set(connection.execute(select(runs.c.id).where(runs.c.state == "paused")).scalars())
    taken = [row for row in waiting if row.run_id != run_id and row.run_id not in stopped]
    values = {row.id: _fields(wanted[row.decision_id]) | {"run_id": run_id, "next_at": None} for row in taken}
    claims.move(connection, taken, State.PLANNED, values)
    return len(rows) - before, len(taken)


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _ENTRY}


def _tampered(connection: Connection, waiting: Sequence[claims.Delivery]) -> None:
    accepted = select(attempts.c.delivery_id).where(
        attempts.c.outcome == State.ACCEPTED, attempts.c.delivery_id.in_([row.id for row in waiting])
    )
    sent = set(connection.execute(accepted).scalars())
    for row in waiting:
        if row.id in sent:
            said = f"it is {row.state}, but an attempt says it was accepted"
            raise LedgerError(f"ledger: row {row.decision_id} was tampered with: {said}")
