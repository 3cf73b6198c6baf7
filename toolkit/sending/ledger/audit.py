"""The audit: one line per thing done to the ledger, each holding the hash of the line before it.

A line changed, taken out or put in breaks the chain; the head of the chain is kept beside it, so that lines cut off at
the end are missed too. Whoever can write the whole database can write a new chain: keep a head (`Report.audit`)
elsewhere to notice that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785
from sqlalchemy import Connection, exists, insert, select, update

from toolkit.database import insert_new
from toolkit.sending.clock import Clock, micros
from toolkit.sending.ledger.schema import attempts, audits, deliveries, metas
from toolkit.sending.people import person
from toolkit.sending.states import State

__all__ = ["GENESIS", "Audited", "append", "chain_faults", "head", "state_faults"]

GENESIS = "0" * 64


_SHOWN = 20  # rows that are gone, of however many


def append(
    connection: Connection, *, at: int, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> str:
    """The hash of a line added to the audit, in the transaction under way.

    Args:
        connection: inside the transaction that makes the change itself.
        at: when, microseconds since 1970.
        actor: who.
        action: what was done, for example `planned` or `settled`.
        subject: to what, for example a run or a decision.
        detail: further plain values.

    Returns:
        The new head of the chain, 64 hex digits.

    Raises:
        InputError: the actor is nobody.
    """
    actor = person(actor, where="by")
    connection.execute(insert_new(connection, metas), {"name": "audit_head", "value": f"0 {GENESIS}"})
    seq_text, previous = head_line(connection, lock=True)
    line = {
        "seq": int(seq_text) + 1,
        "at": at,
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": rfc8785.dumps(dict(detail or {})).decode(),
    }
    digest = _hash(previous, line)
    connection.execute(insert(audits), {**line, "previous": previous, "hash": digest})
    connection.execute(update(metas).where(metas.c.name == "audit_head").values(value=f"{line['seq']} {digest}"))
    return digest


class Audited:
    """What writes lines of the audit at the moment that its own `_clock` tells."""

    _clock: Clock

    def _audited(
        self, connection: Connection, actor: str, action: str, subject: str, detail: Mapping[str, Any]
    ) -> None:
        append(connection, at=micros(self._clock()), actor=actor, action=action, subject=subject, detail=detail)


def head_line(connection: Connection, *, lock: bool = False) -> tuple[str, str]:
    """Number and hash of the last line, as text; `0` and zeros where there is none."""
    query = select(metas.c.value).where(metas.c.name == "audit_head")
    value = connection.execute(query.with_for_update() if lock else query).scalar()
    seq, _, digest = (value or f"0 {GENESIS}").partition(" ")
    return seq, digest


def head(connection: Connection) -> str:
    """The hash of the last line."""
    return head_line(connection)[1]


def chain_faults(connection: Connection) -> list[str]:
    """What is wrong with the chain, in words; empty when every line is as it was written."""
    faults = []
    previous, seq = GENESIS, 0
    for row in connection.execute(select(audits).order_by(audits.c.seq)).mappings():
        line = {name: row[name] for name in ("seq", "at", "actor", "action", "subject", "detail")}
        if row["seq"] != seq + 1:
            faults.append(f"audit line {row['seq']}: {row['seq'] - seq - 1} line(s) before it are gone")
        elif row["previous"] != previous:
            faults.append(f"audit line {row['seq']}: does not follow line {seq}")
        if row["hash"] != _hash(row["previous"], line):
            faults.append(f"audit line {row['seq']} ({row['action']} {row['subject']}): was changed")
        seq, previous = row["seq"], row["hash"]
    said_seq, said_hash = head_line(connection)
    if (said_seq, said_hash) != (str(seq), previous):
        faults.append(f"audit: ends at line {seq}, but line {said_seq} was written")
    return faults


def state_faults(connection: Connection) -> list[str]:
    """Where a mail's state does not fit its attempts, or the mail is gone and its attempts are not, in words."""
    proven = select(attempts.c.delivery_id).where(attempts.c.outcome == State.ACCEPTED)
    query = select(deliveries.c.decision_id, deliveries.c.state)
    is_accepted = deliveries.c.state == State.ACCEPTED
    denied = connection.execute(query.where(~is_accepted, deliveries.c.id.in_(proven))).all()
    bare = connection.execute(query.where(is_accepted, deliveries.c.id.not_in(proven))).all()
    there = exists().where(deliveries.c.id == attempts.c.delivery_id)
    gone = connection.execute(select(attempts.c.delivery_id).where(~there).distinct().limit(_SHOWN)).scalars()
    return [
        *(f"delivery row {number}: has an attempt, and is gone" for number in gone),
        *(f"delivery {one.decision_id}: is {one.state}, but an attempt says it was accepted" for one in denied),
        *(f"delivery {one.decision_id}: is accepted, but no attempt says so" for one in bare),
    ]


def _hash(previous: str, line: Mapping[str, Any]) -> str:
    return hashlib.sha256(previous.encode() + rfc8785.dumps(dict(line))).hexdigest()
