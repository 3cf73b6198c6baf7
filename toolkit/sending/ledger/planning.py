"""How an approved batch enters the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, exists, func, select, update

from toolkit.database import chunks, insert_new, insert_new_in
from toolkit.errors import ApprovalError, LedgerError
from toolkit.sending.clock import DAY
from toolkit.sending.domains import domain_of
from toolkit.sending.ledger.coupons import Coupon, reserve
from toolkit.sending.ledger.delivery_rows import Delivery, goes_later, move, rows_of
from toolkit.sending.ledger.draws import Draw, note_draws, redrawn
from toolkit.sending.ledger.holding import reopen
from toolkit.sending.ledger.schema import (
    approvals,
    attempts,
    deliveries,
    documents,
    is_paused,
    is_under,
    revocations,
    runs,
)
from toolkit.sending.ledger.statements import changed_all, while_nobody_plans
from toolkit.sending.states import NEVER_LEFT, WAITING, State

__all__ = ["Entry", "Limits", "Planned", "RunRecord", "Signed", "plan_mails", "plan_run"]

_ENTRY = ("decision_id", "customer_id", "address", "class_", "message_id", "payload_sha256", "domain")
_NOTED = (*_ENTRY, "discount", "decided_at", "scenario", "step")
_ADDED = (*_NOTED, "run_id", "planned_at")


@dataclass(frozen=True, slots=True)
class Entry:
    """One approved mail, as it enters the ledger.

    Attributes:
        discount: the most its offer is thought to cost; None where that cannot be told.
        decided_at: the moment of the decision, microseconds since 1970.
        scenario, step: of which it is; None where that is not known.
        coupon: the code of a pool that it gives.
    """

    decision_id: str
    customer_id: str
    address: str
    class_: str
    message_id: str
    payload_sha256: str
    discount: float | None = 0.0
    decided_at: int = 0
    scenario: str | None = None
    step: str | None = None
    coupon: Coupon | None = None

    @property
    def domain(self) -> str:
        """Of the address, in small letters."""
        return domain_of(self.address)


_noted = attrgetter(*_NOTED)


@dataclass(frozen=True, slots=True)
class Signed:
    """One approval, as it enters the ledger. Times are microseconds since 1970.

    Attributes:
        id: names the approval.
        by: who approved.
        document: the approval as canonical JSON.
        signed_at: when it was signed.
        expires_at: when it is over.
        is_standing: it lets round after round go, not one batch.
    """

    id: str
    by: str
    document: str
    signed_at: int
    expires_at: int
    is_standing: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a standing approval lets go in any 24 hours.

    Attributes:
        mails_a_day: mails.
        discount_a_day: the most that their offers may cost, in the program's currency; None without a limit.
    """

    mails_a_day: int
    discount_a_day: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One approved batch on its way out. Times are microseconds since 1970.

    Attributes:
        id: names the run; the same batch under the same approvals is the same run.
        digest: the batch's digest.
        program: the program's content hash (rule R23).
        transport: the way out, by its name.
        mails: how many.
        as_of: the moment the batch was prepared for.
        approvals: one or more.
        limits: of a standing approval, which is then the only one.
        canary: so many mails go first, and the rest waits for bounces; None for all at once.
        canary_wait: for so many microseconds.
        draws: of the scenarios that have mails in it.
    """

    id: str
    digest: str
    program: str
    transport: str
    mails: int
    as_of: int
    approvals: tuple[Signed, ...]
    limits: Limits | None = None
    canary: int | None = None
    canary_wait: int = 0
    draws: tuple[Draw, ...] = ()

    @property
    def approver(self) -> str:
        """Who approved, in words."""
        return ", ".join(one.by for one in self.approvals)

    @property
    def is_round(self) -> bool:
        """Whether it is one round of a loop: nobody asks for its mails just now."""
        return self.limits is not None

    @property
    def not_after(self) -> int:
        """When the first of the approvals is over."""
        return min(one.expires_at for one in self.approvals)


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning a run did.

    Attributes:
        added, adopted, known: mails that are new, taken over from an unfinished run, and there already.
        held: held back by limits.
        spent: the decisions that were not planned, since another mail has taken their coupon code.
    """

    added: int
    adopted: int
    known: int
    held: int = 0
    spent: tuple[str, ...] = ()


def plan_run(connection: Connection, run: RunRecord, *, now: int) -> None:
    """The run and its approvals written down, unless they are there already.

    Raises:
        ApprovalError: one of them was revoked, or people would change arms (rule R13).
        LedgerError: rows of the ledger were removed: their mails must not go again, nor others come by their attempts.
    """
    _none_removed(connection)
    while_nobody_plans(connection)  # who revokes waits, too: they see this run, or it sees what they wrote
    ids = [one.id for one in run.approvals]
    gone = connection.execute(select(revocations).where(revocations.c.approval_id.in_(ids))).first()
    if gone is not None:
        why = f": {gone.why}" if gone.why else ""
        raise ApprovalError(f"approval {gone.approval_id[:12]}: revoked by {gone.actor}{why}; nothing was sent")
    if others := redrawn(connection, run.draws):
        raise ApprovalError(f"{'; '.join(others)}; nothing was sent")
    note_draws(connection, run.draws, now=now)
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
            "canary": run.canary,
            "canary_wait": run.canary_wait,
        },
    )
    for one in run.approvals:
        written = {"id": one.id, "text": one.document, "is_standing": one.is_standing}
        connection.execute(insert_new(connection, documents), written)
        connection.execute(
            insert_new(connection, approvals),
            {
                "id": one.id,
                "run_id": run.id,
                "approver": one.by,
                "digest": run.digest,
                "signed_at": one.signed_at,
                "expires_at": one.expires_at,
            },
        )


def _none_removed(connection: Connection) -> None:
    # In this order, since other senders may add a mail and its attempt in between.
    attempted = connection.execute(select(func.max(attempts.c.delivery_id))).scalar()
    last = connection.execute(select(func.max(deliveries.c.id))).scalar() or 0
    if attempted is not None and attempted > last:
        raise LedgerError(f"ledger: was tampered with: row {attempted} has an attempt and is gone; nothing was sent")
    if connection.dialect.name != "sqlite":  # a sequence leaves gaps
        return
    # In a file each row has the number after the last, and none is ever removed.
    if connection.execute(select(func.count()).select_from(deliveries)).scalar_one() != last:
        following = deliveries.alias()
        first = select(func.min(deliveries.c.id))
        before = first.where(~exists().where(following.c.id == deliveries.c.id + 1))
        gone = 1 if connection.execute(first).scalar_one() > 1 else connection.execute(before).scalar_one() + 1
        raise LedgerError(f"ledger: was tampered with: row {gone} is gone; nothing was sent")


def plan_mails(connection: Connection, run: RunRecord, entries: Sequence[Entry], *, now: int) -> Planned:
    """What became of the mails: added, or taken over from another run that had not sent them.

    A round leaves what the other side postponed where it is until its moment has come: rounds follow each other faster
    than any back-off. Whoever sends a batch of their own asks for its mails now, and they are tried now.

    Raises:
        LedgerError: a row was tampered with; names it.
    """
    wanted = {entry.decision_id: entry for entry in entries}
    while_nobody_plans(connection)  # so rows have the order in which they are seen, and no code is taken in between
    there = {row.decision_id: row for row in rows_of(connection, list(wanted), lock=True)}
    stopped = set(connection.execute(select(runs.c.id).where(is_paused())).scalars())

    def is_taken(row: Delivery) -> bool:
        is_free = row.state in WAITING and row.run_id != run.id and row.run_id not in stopped
        return is_free and not (run.is_round and goes_later(row, now))

    asked = [one for one in entries if one.decision_id not in there or is_taken(there[one.decision_id])]
    allowed = asked
    if run.limits is not None:
        allowed = _within(connection, run.approvals[0].id, run.limits, asked, there=there, now=now)
    held = len(asked) - len(allowed)
    coupons = {one.decision_id: one.coupon for one in allowed}
    spent = reserve(connection, coupons, again=coupons.keys() & there.keys())
    allowed = [one for one in allowed if one.decision_id not in spent]
    names = {one.decision_id for one in allowed}
    new = [entry for entry in allowed if entry.decision_id not in there]
    rows, added = list(there.values()), 0
    if new:
        rest = run.id, now
        fields = [(*_noted(one), *rest) for one in new]
        added = changed_all(connection, _adding(connection.dialect.name), _ADDED, fields)
    if added < len(new):  # another sender was faster by a moment, or a Message-ID is another mail's
        rows = rows_of(connection, list(names | there.keys()), lock=True)
        missing = names - {row.decision_id for row in rows}
        if missing:
            raise LedgerError(f"ledger: {min(missing)} cannot be planned: its Message-ID is another mail's")
    waiting = [row for row in rows if row.state in WAITING]
    _tampered(connection, waiting)
    for row in waiting:
        changed = [name for name in _ENTRY if getattr(row, name) != getattr(wanted[row.decision_id], name)]
        if row.run_id == run.id and changed:
            said = ", ".join(changed).replace("class_", "class")
            raise LedgerError(f"ledger: row {row.decision_id} was tampered with: not as approved are {said}")
    taken = [row for row in waiting if is_taken(row) and row.decision_id in names]
    values = {
        row.id: {name: getattr(wanted[row.decision_id], name) for name in _NOTED} | {"run_id": run.id, "next_at": None}
        for row in taken
    }
    move(connection, taken, State.PLANNED, values)
    if taken:
        ids = [row.id for row in taken]
        connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(planned_at=now))
    if added or taken:
        reopen(connection, runs.c.id == run.id)
    known = len(entries) - added - len(taken) - held - len(spent)
    return Planned(added, len(taken), known, held, tuple(sorted(spent)))


def _within(
    connection: Connection,
    approval_id: str,
    limits: Limits,
    asked: Sequence[Entry],
    *,
    there: Collection[str],
    now: int,
) -> list[Entry]:
    """The first of the mails that the limits of a standing approval still let go; one sender plans at a time.

    A mail that an earlier round planned is counted already.
    """
    counts = deliveries.c.planned_at > now - DAY, is_under(approval_id, deliveries.c.run_id)
    query = select(func.count(), func.coalesce(func.sum(deliveries.c.discount), 0.0)).where(
        *counts, deliveries.c.state.not_in(NEVER_LEFT)
    )
    mails, discount = connection.execute(query).one()
    counted: dict[str, float] = {}
    for some in chunks(entry.decision_id for entry in asked if entry.decision_id in there):
        known = select(deliveries.c.decision_id, func.coalesce(deliveries.c.discount, 0.0))
        rows = connection.execute(known.where(deliveries.c.decision_id.in_(some), *counts))
        counted |= dict(map(tuple, rows))
    allowed = []
    for entry in asked:
        more = entry.decision_id not in counted
        if more and mails >= limits.mails_a_day:
            continue
        cost = entry.discount
        added = (cost or 0.0) - counted.get(entry.decision_id, 0.0)
        if limits.discount_a_day is not None and (cost is None or discount + added > limits.discount_a_day + _CENT):
            continue  # a smaller offer, or none, may still go
        mails, discount = mails + more, discount + added
        allowed.append(entry)
    return allowed


_CENT = 1e-6  # sums of money are floats


@lru_cache
def _adding(dialect: str) -> Insert:
    values: dict[str, Any] = {name: bindparam(name) for name in _ADDED}
    return insert_new_in(dialect, deliveries).values(**values, state=State.PLANNED, epoch=0, attempts=0)


def _tampered(connection: Connection, waiting: Sequence[Delivery]) -> None:
    if not waiting:
        return
    accepted = select(attempts.c.delivery_id).where(
        attempts.c.outcome == State.ACCEPTED, attempts.c.delivery_id.in_([row.id for row in waiting])
    )
    sent = set(connection.execute(accepted).scalars())
    for row in waiting:
        if row.id in sent:
            said = f"it is {row.state}, but an attempt says it was accepted"
            raise LedgerError(f"ledger: row {row.decision_id} was tampered with: {said}")
