"""A ledger as tables: where every run stands, every mail, and the coupon codes that mails have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import Connection, LargeBinary, cast, collate, func, or_, select

from toolkit.database import chunks
from toolkit.sending.clock import from_micros
from toolkit.sending.ledger.coupons import TAKEN
from toolkit.sending.ledger.delivery_rows import rows_of
from toolkit.sending.ledger.schema import approvals, deliveries, documents, held_as, runs
from toolkit.sending.ledger.suppression import normal_address
from toolkit.sending.states import FINAL, OPEN, State

__all__ = ["coupons_of", "last_document", "mails_of", "overview", "settled_of"]

_MAIL = [
    *("run_id", "decision_id", "customer_id", "address", "class_", "message_id", "state", "attempts"),
    *("receipt", "code", "reason", "scenario", "step", "decided_at"),
]


def overview(connection: Connection) -> pd.DataFrame:
    """One row per run, the oldest first; see `Ledger.status`."""
    found = connection.execute(select(runs).order_by(runs.c.created_at, runs.c.id)).mappings().all()
    names: dict[str, list[str]] = {}
    by = select(approvals.c.run_id, approvals.c.approver).order_by(approvals.c.signed_at, approvals.c.id)
    for row in connection.execute(by):
        names.setdefault(row.run_id, []).append(row.approver)
    counted = select(deliveries.c.run_id, deliveries.c.state, func.count().label("n"))
    counts: dict[str, Counter[str]] = {}
    for row in connection.execute(counted.group_by(deliveries.c.run_id, deliveries.c.state)):
        counts.setdefault(row.run_id, Counter())[row.state] = row.n
    rounds = set(connection.execute(_ROUNDS).scalars())
    rows: dict[str, dict[str, Any]] = {}
    for run in found:
        count = counts.get(run["id"], Counter())
        rows[run["id"]] = {
            "run_id": run["id"],
            "created_at": from_micros(run["created_at"]),
            "approved_by": ", ".join(names.get(run["id"], [])),
            "transport": run["transport"],
            "mails": run["mails"],
            **{state.value: count[state] for state in State},
            "done": not any(count[state] for state in OPEN),
            "says": _says(run, count, is_round=run["id"] in rounds),
        }
    columns = ["run_id", "created_at", "approved_by", "transport", "mails", *State, "done", "says"]
    frame = pd.DataFrame(list(rows.values()), columns=[str(name) for name in columns])
    return frame.astype({"created_at": "datetime64[us, UTC]"})


def _says(run: Mapping[Any, Any], count: Mapping[str, int], *, is_round: bool) -> str:
    left, state = sum(count[one] for one in OPEN), run["state"]
    first = "done" if not left else f"{left} to go" if state in ("active", "done") else f"{state}, {left} to go"
    parts = [f"{count[one]} {one}" for one in (State.UNKNOWN, *sorted(FINAL - {State.ACCEPTED})) if count[one]]
    elsewhere = run["mails"] - sum(count.values())
    if elsewhere > 0:  # sent before, in the hands of others, or taken over by a later one
        parts.append(f"{elsewhere} in other runs{' or held back' if is_round else ''}")
    return ", ".join([first, *parts])


_ROUNDS = (
    select(approvals.c.run_id)
    .select_from(approvals.join(documents, documents.c.id == approvals.c.id))
    .where(documents.c.is_standing)
)


def mails_of(connection: Connection, *, state: State | None, customer: str | None) -> pd.DataFrame:
    """One row per mail, or per mail in one state, of one customer; see `Ledger.deliveries`."""
    query = select(*(deliveries.c[name] for name in _MAIL)).order_by(deliveries.c.id)
    if state is not None:
        query = query.where(held_as(state))
    if customer is not None:
        query = query.where(deliveries.c.id.in_(_of(connection, customer)))
    rows = [tuple(row) for row in connection.execute(query)]
    frame = pd.DataFrame(rows, columns=_MAIL).rename(columns={"class_": "class"})
    decided = frame["decided_at"].replace(0, None).astype("Int64").astype("datetime64[us, UTC]")
    return frame.assign(decided_at=decided)


def _of(connection: Connection, customer: str) -> list[int]:
    """The numbers of the mails to a customer of that id, or to that address, however it is written."""
    found = set(connection.execute(select(deliveries.c.id).where(deliveries.c.customer_id == customer)).scalars())
    if "@" in customer:
        # SQLite knows the small letters of ASCII alone, PostgreSQL those of its locale: addresses with other letters
        # are compared here.
        normal, address = normal_address(customer), deliveries.c.address
        if connection.dialect.name == "postgresql":
            small, size = func.lower(collate(address, "C")), func.octet_length(address)
        else:
            small, size = func.lower(address), func.length(cast(address, LargeBinary))
        alike = select(deliveries.c.id, address).where(or_(small == normal, size > func.length(address)))
        found.update(row.id for row in connection.execute(alike) if normal_address(row.address) == normal)
    return sorted(found)


def settled_of(connection: Connection, decision_ids: Sequence[str]) -> dict[str, State]:
    """Those of the decisions that will not be sent by planning them again; see `Ledger.settled`."""
    rows = [row for row in rows_of(connection, decision_ids) if row.state not in OPEN]
    looked_up: set[str] = set()
    for some in chunks(sorted({row.run_id for row in rows if row.state is State.UNKNOWN})):
        query = select(runs.c.id).where(runs.c.id.in_(some), runs.c.transport.startswith("outbox:"))
        looked_up.update(connection.execute(query).scalars())
    return {row.decision_id: row.state for row in rows if row.state is not State.UNKNOWN or row.run_id not in looked_up}


def last_document(connection: Connection) -> str | None:
    """The latest approval of a batch, not a standing one, as canonical JSON."""
    signed = select(func.max(approvals.c.signed_at)).where(approvals.c.id == documents.c.id).scalar_subquery()
    query = select(documents.c.text).where(~documents.c.is_standing).order_by(signed.desc(), documents.c.id).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def coupons_of(connection: Connection) -> pd.DataFrame:
    """One row per code that some mail has; see `Ledger.coupons`."""
    return pd.DataFrame(
        [tuple(row) for row in connection.execute(TAKEN)], columns=[one.key for one in TAKEN.selected_columns]
    )
