"""Coupons that run out, where customers are decided in parts: what each part tells of them, and what it is told.

Customers decide nothing for each other but where a pool of coupons empties. So each part tells who took coupons in it;
whoever holds all parts finds the last coupon, and tells every part by whom and when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.layout import Ints, Plan
from toolkit.engine.runners.local import Takers, Walked, next_emptied, takers_of

__all__ = ["LastCoupon", "Taken", "next_last_coupon", "plan_with", "taken_in"]


@dataclass(frozen=True, slots=True)
class LastCoupon:
    """Who took the last coupon of a pool: the moment, the customer and how many of theirs at that moment."""

    until: int
    customer: str
    share: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Who took coupons in a part, by pool: moments and customers; `last` as in `Takers`."""

    at: tuple[Ints, ...]
    customers: tuple[list[str], ...]
    last: tuple[int, ...]


def taken_in(compiled: Compiled, walked: Walked, customers: pa.Array) -> Taken:
    """Who took coupons in a part.

    Args:
        compiled, walked: the program, and what was decided in the part.
        customers: the customers of the part, by their places in it.
    """
    takers = takers_of(compiled, walked, np.arange(len(customers)))
    at, names = [], []
    for moments, who, (_, size) in zip(takers.at, takers.rank, compiled.pools, strict=True):
        mine = customers.take(pa.array(who))
        # No part can hold more of the coupons that were taken than there are, and one more shows that they ran out.
        order = np.lexsort((pc.rank(mine, tiebreaker="dense").to_numpy(), moments))[: size + 1]
        at.append(moments[order])
        names.append(mine.take(pa.array(order)).to_pylist())
    return Taken(tuple(at), tuple(names), takers.last)


def next_last_coupon(compiled: Compiled, parts: Sequence[Taken]) -> tuple[Compiled, int, LastCoupon] | None:
    """The next pool to run out: the program that knows it, the place of the pool, and its last coupon.

    None when no further pool runs out. `parts` are all of them.
    """
    names = sorted({name for part in parts for some in part.customers for name in some}, key=str.encode)
    place = {name: number for number, name in enumerate(names)}
    takers = [
        Takers(
            part.at,
            tuple(np.array([place[name] for name in some], dtype=np.int64) for some in part.customers),
            part.last,
        )
        for part in parts
    ]
    none, pools = np.zeros(0, dtype=np.int64), len(compiled.pools)
    plan = next_emptied(
        compiled, compiled.plan, takers or [Takers((none,) * pools, (none,) * pools, (m.NONE,) * pools)]
    )
    if plan is None:
        return None
    (pool,) = (compiled.plan.pool_until != plan.pool_until).nonzero()[0].tolist()
    share = int(plan.pool_share[pool])
    name = names[int(plan.pool_rank[pool])] if share else ""
    return replace(compiled, plan=plan), pool, LastCoupon(int(plan.pool_until[pool]), name, share)


def plan_with(plan: Plan, known: Sequence[LastCoupon | None], customers: pa.Array) -> Plan:
    """The plan of a part with the pools that are known to run out; turns are those of this part's own customers.

    Args:
        plan: as compiled.
        known: the last coupon of each pool, where it is known.
        customers: the customers of the part.
    """
    if not any(known):
        return plan
    plan = plan._replace(
        pool_until=plan.pool_until.copy(), pool_rank=plan.pool_rank.copy(), pool_share=plan.pool_share.copy()
    )
    for pool, last in enumerate(known):
        if last is not None:
            before = int(pc.sum(pc.less(customers, pa.scalar(last.customer, customers.type))).as_py() or 0)
            is_here = bool(pc.any(pc.equal(customers, pa.scalar(last.customer, customers.type))).as_py())
            plan.pool_until[pool], plan.pool_rank[pool] = last.until, before
            # Who stands at that place here is somebody else, who comes later: nothing is left for them.
            plan.pool_share[pool] = last.share if is_here else 0
    return plan
