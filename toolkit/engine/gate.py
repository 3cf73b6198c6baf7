"""The send gate (rules R14 to R16, R18 to R20): a mail goes, is withheld, is skipped for one reason, or is held."""

from __future__ import annotations

from toolkit.engine import layout as m
from toolkit.engine.compiled import kernel
from toolkit.engine.heap import push
from toolkit.engine.layout import Out, Past, Plan, Work
from toolkit.engine.shares import spread_share
from toolkit.engine.zones import DAY, offset_at, to_utc

__all__ = ["GATE_EXIT", "GATE_HELD", "GATE_PASSED", "count_logged", "gate", "record", "start_timer"]

GATE_PASSED, GATE_HELD, GATE_EXIT = range(3)
_MINUTE = 60_000_000
_ORDER = 1 << 20  # more instructions than a program holds


@kernel
def start_timer(work: Work, j: int, mode: int, due: int) -> None:
    """Let the journey sleep until due, in the given mode."""
    row = work.journeys[j]
    row[m.W_MODE] = mode
    row[m.W_VERSION] += 1
    if work.n[m.N_HEAP] >= len(work.heap):
        work.n[m.N_FULL] = m.FULL_WORK
        return
    order = row[m.W_SCENARIO] * _ORDER + row[m.W_PC]
    work.n[m.N_HEAP] = push(work.heap, work.n[m.N_HEAP], due, order, j, row[m.W_VERSION])


@kernel
def record(plan: Plan, work: Work, out: Out, j: int, now: int, status: int, reason: int, plain: int) -> None:
    """Write the decision on the send at which the journey stands."""
    place = work.n[m.N_DECISIONS]
    if place >= len(out.decisions):
        work.n[m.N_FULL] = m.FULL_DECISIONS
        return
    row = out.decisions[place]
    row[m.D_JOURNEY] = work.journeys[j, m.W_OUT]
    row[m.D_SEND] = plan.ops[work.journeys[j, m.W_PC], m.A]
    row[m.D_DUE] = work.journeys[j, m.W_GATE_DUE]
    row[m.D_AT] = now
    row[m.D_STATUS] = status
    row[m.D_REASON] = reason
    row[m.D_PLAIN] = plain
    work.n[m.N_DECISIONS] = place + 1


@kernel
def _used(work: Work, scenario: int, now: int, shared: int) -> None:
    """Remember a mail that fills its scenario's caps (-1 for one of the log) and, with shared, those of all."""
    place = work.n[m.N_SENDS]
    if place >= len(work.sends):
        work.n[m.N_FULL] = m.FULL_WORK
        return
    work.n[m.N_SENDS] = place + 1
    # Mails stand in the order in which they went; behind one that is heard of late, the later ones make room.
    while place > 0 and work.sends[place - 1, m.SENT_AT] > now:
        for k in range(m.SENT_COLUMNS):
            work.sends[place, k] = work.sends[place - 1, k]
        place -= 1
    work.sends[place, m.SENT_AT] = now
    work.sends[place, m.SENT_SCENARIO] = scenario
    work.sends[place, m.SENT_SHARED] = shared


@kernel
def _cap_free_at(plan: Plan, work: Work, cap: int, scenario: int, now: int) -> int:
    """When the cap lets the next mail through: now, or a later moment (rule R16)."""
    per = plan.caps[cap, m.CAP_PER]
    left = plan.caps[cap, m.CAP_LIMIT]
    own = plan.caps[cap, m.CAP_SCENARIO]
    for i in range(work.n[m.N_SENDS] - 1, -1, -1):
        sent = work.sends[i, m.SENT_AT]
        if sent <= now - per:
            break
        # A mail withheld from a holdout uses up its own scenario's cap, never a shared one (rule R14).
        counts = work.sends[i, m.SENT_SCENARIO] == scenario if own else work.sends[i, m.SENT_SHARED] == 1
        if counts:
            left -= 1
            if left == 0:
                return int(sent + per)
    return now


@kernel
def _local(past: Past, work: Work, now: int) -> int:
    """Local clock of the customer at hand; the offset is looked up once until it changes."""
    n = work.n
    if n[m.N_OFFSET_ZONE] != n[m.N_ZONE] or now < n[m.N_OFFSET_FROM] or now >= n[m.N_OFFSET_UNTIL]:
        n[m.N_OFFSET_ZONE] = n[m.N_ZONE]
        n[m.N_OFFSET], n[m.N_OFFSET_FROM], n[m.N_OFFSET_UNTIL] = offset_at(past.zones, n[m.N_ZONE], now)
    return int(now + n[m.N_OFFSET])


@kernel
def _quiet_until(plan: Plan, past: Past, work: Work, scenario: int, send: int, now: int) -> int:
    """When quiet hours let the mail through: now, or the end of the quiet hours and a share of the spread (R15)."""
    row = plan.scenarios[scenario]
    if not row[m.S_QUIET]:
        return now
    zone = work.n[m.N_ZONE]
    local = _local(past, work, now)
    clock = local % DAY
    start = row[m.S_QUIET_FROM] * _MINUTE
    stop = row[m.S_QUIET_TO] * _MINUTE
    quiet = start <= clock < stop if start < stop else (clock >= start or clock < stop)
    if not quiet:
        return now
    wall = local - clock + stop + (DAY if clock >= stop else 0)
    end = to_utc(past.zones, zone, wall)
    if end <= now:  # the clock was put back over the end of the quiet hours
        end = now + wall - local
    if row[m.S_QUIET_SPREAD] > 0:
        end += int(spread_share(plan, past, work, send) * row[m.S_QUIET_SPREAD])
    return end


@kernel
def _pool_is_empty(plan: Plan, past: Past, work: Work, pool: int, now: int) -> bool:
    """Whether the coupons ran out before: at a moment, at a customer's turn in it, after so many of theirs."""
    if pool < 0 or now < plan.pool_until[pool]:
        return False
    if now > plan.pool_until[pool]:
        return True
    rank = past.rank[work.n[m.N_CUSTOMER]]
    if rank != plan.pool_rank[pool]:
        return bool(rank > plan.pool_rank[pool])
    return bool(work.reserved[pool] >= plan.pool_share[pool])


@kernel
def _reserve(plan: Plan, work: Work, pool: int, now: int) -> None:
    if pool >= 0 and now == plan.pool_until[pool]:
        work.reserved[pool] += 1


@kernel
def gate(plan: Plan, past: Past, work: Work, out: Out, j: int, now: int) -> int:
    """Decide on the send at which the journey stands: passed (decided), held, or passed with the journey to end.

    N_FREE says until when it is held.
    """
    row = work.journeys[j]
    scenario = row[m.W_SCENARIO]
    op = plan.ops[row[m.W_PC]]
    rules = plan.scenarios[scenario]
    marketing = rules[m.S_MARKETING] == 1
    reason, plain, free, passed = -1, 0, now, GATE_PASSED
    if not (work.n[m.N_ATTRIBUTES] >> m.BIT_ADDRESS) & 1:
        reason = m.WHY_NO_ADDRESS
    elif work.n[m.N_SUPPRESSED]:
        reason = m.WHY_SUPPRESSED
    elif marketing and not (work.n[m.N_ATTRIBUTES] >> m.BIT_CONSENT) & 1:
        reason = m.WHY_UNSUBSCRIBED
    elif marketing:
        free = _quiet_until(plan, past, work, scenario, op[m.A], now)
        if free - row[m.W_GATE_DUE] > m.HELD_AT_MOST and free > now:
            reason = m.WHY_QUIET
        cap = rules[m.S_CAPS]
        while free <= now and cap < rules[m.S_CAPS_END]:
            free = _cap_free_at(plan, work, cap, scenario, now)
            on_hit = plan.caps[cap, m.CAP_ON_HIT]
            if free > now and (on_hit != m.HIT_POSTPONE or free - row[m.W_GATE_DUE] > m.HELD_AT_MOST):
                reason = m.WHY_CAP
                if on_hit == m.HIT_EXIT:
                    passed = GATE_EXIT
            cap += 1
        if free <= now and _pool_is_empty(plan, past, work, op[m.B], now):
            if op[m.C] == 0:
                reason = m.WHY_COUPON
            plain = 1
    if reason >= 0:
        record(plan, work, out, j, now, m.STATUS_SKIPPED, reason, 0)
        return passed
    if free > now:
        row[m.W_MODE] = m.MODE_HELD
        work.n[m.N_FREE] = free
        return GATE_HELD
    status = m.STATUS_SEND
    if marketing:
        if row[m.W_ARM] >= 0 and row[m.W_ARM] == rules[m.S_HOLDOUT]:
            status, reason = m.STATUS_WITHHELD, m.WHY_HOLDOUT
            row[m.W_WITHHELD] += 1
        elif plain == 0:
            _reserve(plan, work, op[m.B], now)
        _used(work, scenario, now, int(status == m.STATUS_SEND))
    record(plan, work, out, j, now, status, reason, plain)
    if status == m.STATUS_SEND:
        out.journeys[row[m.W_OUT], m.J_SENDS] += 1
    return passed


@kernel
def count_logged(plan: Plan, work: Work, bits: int, sent: int) -> None:
    """A mail of the log itself fills the caps: its own scenario's, and those that all marketing shares (rule R16)."""
    if (bits >> plan.logged_bit) & 1:
        _used(work, -1, sent, 1)
    for scenario in range(len(plan.scenarios)):
        bit = plan.scenarios[scenario, m.S_LOGGED_BIT]
        if bit >= 0 and (bits >> bit) & 1:
            _used(work, scenario, sent, 0)
