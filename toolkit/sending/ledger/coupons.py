"""Coupon codes in the ledger: each is one mail's, taken in the very transaction that plans the mail.

Whoever sends, and however many do at once, no code goes to two mails. The code of a mail that is over and never left
is free again, unless the mail was in doubt once: its customer may have it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, not_, select

from toolkit.database import chunks, insert_new
from toolkit.sending.ledger.schema import attempts, coupons, deliveries
from toolkit.sending.states import NEVER_LEFT, State

__all__ = ["TAKEN", "Coupon", "given", "reserve"]


_IN_DOUBT = (
    select(attempts.c.id).where(attempts.c.delivery_id == deliveries.c.id, attempts.c.outcome == State.UNKNOWN).exists()
)
_OVER = and_(deliveries.c.state.in_(NEVER_LEFT), not_(_IN_DOUBT))

TAKEN = (
    select(
        coupons.c.pool,
        coupons.c.code,
        *(deliveries.c[name] for name in ("decision_id", "customer_id", "scenario", "step", "state")),
    )
    .join_from(coupons, deliveries, deliveries.c.decision_id == coupons.c.decision_id)
    .where(not_(_OVER))
    .order_by(deliveries.c.id)
)
"""Every code that is some mail's, with its customer and where the mail stands."""


class Coupon(NamedTuple):
    """One code of a pool."""

    pool: str
    code: str


def given(connection: Connection, pool: str) -> dict[str, str]:
    """The codes of a pool that are some mail's: code to decision."""
    return {row.code: row.decision_id for row in connection.execute(TAKEN.where(coupons.c.pool == pool))}


def reserve(connection: Connection, wanted: Mapping[str, Coupon | None], *, again: Collection[str]) -> set[str]:
    """Codes taken for mails that are about to be planned.

    Args:
        connection: in a writing transaction.
        wanted: decision to its code, None for a mail without one.
        again: those of the decisions that the ledger has, locked, and that may have had another code.

    Returns:
        The decisions whose code another mail has by now; they must not be planned.
    """
    named = sorted((coupon, decision) for decision, coupon in wanted.items() if coupon is not None)
    over = select(deliveries.c.decision_id).where(_OVER)
    for these in _each(coupon for coupon, _ in named):
        connection.execute(delete(coupons).where(these, coupons.c.decision_id.in_(over)))
    if named:  # in one order, so that two senders never wait for each other
        rows = [{**coupon._asdict(), "decision_id": decision} for coupon, decision in named]
        connection.execute(insert_new(connection, coupons), rows)
    owners: dict[Coupon, str] = {}
    for these in _each(coupon for coupon, _ in named):
        query = select(coupons.c.pool, coupons.c.code, coupons.c.decision_id).where(these)
        owners |= {Coupon(row.pool, row.code): row.decision_id for row in connection.execute(query)}
    lost = {decision for coupon, decision in named if owners.get(coupon) != decision}
    had = sorted(set(again) - lost)
    for some in chunks(had):
        query = select(coupons.c.pool, coupons.c.code, coupons.c.decision_id).where(coupons.c.decision_id.in_(some))
        for pool, code, decision in connection.execute(query).all():
            if wanted[decision] != (pool, code):
                connection.execute(delete(coupons).where(coupons.c.pool == pool, coupons.c.code == code))
    return lost


def _each(named: Iterable[Coupon]) -> Iterator[ColumnElement[bool]]:
    """Some codes of one pool at a time."""
    by_pool: dict[str, list[str]] = {}
    for pool, code in named:
        by_pool.setdefault(pool, []).append(code)
    for pool, codes in by_pool.items():
        for some in chunks(codes):
            yield (coupons.c.pool == pool) & coupons.c.code.in_(some)
