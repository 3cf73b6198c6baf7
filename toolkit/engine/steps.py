"""A journey's way through its steps, until its next wait or its end (rules R2 to R7)."""

from __future__ import annotations

from toolkit.engine import layout as m
from toolkit.engine.compiled import kernel
from toolkit.engine.conditions import holds, seen_since
from toolkit.engine.gate import GATE_EXIT, GATE_HELD, gate, record, start_timer
from toolkit.engine.layout import Out, Past, Plan, Work
from toolkit.engine.shares import arm_of
from toolkit.engine.zones import DAY, add_days, to_local, to_utc

__all__ = ["end_journey", "rouse", "run"]

_MINUTE = 60_000_000


@kernel
def end_journey(plan: Plan, work: Work, out: Out, j: int, now: int, ended_by: int) -> None:
    """End the journey; a mail held at its gate is skipped for the same reason (rule R4)."""
    row = work.journeys[j]
    if row[m.W_MODE] == m.MODE_HELD:
        reason = m.WHY_EXITED
        if ended_by == m.END_SUPERSEDED:
            reason = m.WHY_SUPERSEDED
        elif ended_by == m.END_UNSUBSCRIBED:
            reason = m.WHY_UNSUBSCRIBED
        record(plan, work, out, j, now, m.STATUS_SKIPPED, reason, 0)
    row[m.W_MODE] = m.MODE_ENDED
    row[m.W_VERSION] += 1
    out.journeys[row[m.W_OUT], m.J_ENDED] = now
    out.journeys[row[m.W_OUT], m.J_ENDED_BY] = ended_by
    slot = row[m.W_SLOT]
    before, following = row[m.W_BEFORE], row[m.W_NEXT]
    if before >= 0:
        work.journeys[before, m.W_NEXT] = following
    else:
        work.slots[slot, m.T_HEAD] = following
    if following >= 0:
        work.journeys[following, m.W_BEFORE] = before
    work.slots[slot, m.T_ENDED] = now


@kernel
def _until(past: Past, zone: int, base: int, minute: int, weekdays: int) -> int:
    """The first local time of day on one of the weekdays that is not before base (rule R6)."""
    local = to_local(past.zones, zone, base)
    midnight = local - local % DAY
    wall = midnight + minute * _MINUTE
    if wall == local and (weekdays >> ((midnight // DAY + 3) % 7)) & 1:
        return base
    for _ in range(15):
        # 1 January 1970 was a Thursday, the fourth day of a week that begins on Monday.
        if (weekdays >> ((midnight // DAY + 3) % 7)) & 1:
            moment = to_utc(past.zones, zone, midnight + minute * _MINUTE)
            if moment >= base:
                return moment
        midnight += DAY
    return base


@kernel
def _is_next(plan: Plan, work: Work, due: int) -> bool:
    """Whether nothing is left to do in this moment, and that is the next at which anything happens to the customer."""
    n = work.n
    if due >= n[m.N_ARRIVES] or due > plan.until or n[m.N_DECISIONS] > n[m.N_ANSWERED]:
        return False
    if n[m.N_HEAP] and work.heap[0, m.H_DUE] <= due:
        return False
    if n[m.N_SYNTHETIC] and work.synthetic[0, m.H_DUE] <= due:
        return False
    return bool(n[m.N_EVENT] >= n[m.N_SEEN] and n[m.N_TURN] >= n[m.N_CHOSEN])


@kernel
def run(plan: Plan, past: Past, work: Work, out: Out, j: int, now: int) -> int:
    """Take the journey from where it stands to its next wait, its next held mail, or its end; the moment then.

    A sleep during which nothing else happens to the customer is not lain down for: the journey goes on at its end.
    """
    row = work.journeys[j]
    zone = work.n[m.N_ZONE]
    pc = row[m.W_PC]
    while not work.n[m.N_FULL]:
        row[m.W_PC] = pc
        op = plan.ops[pc]
        if op[m.ONLY] and (row[m.W_ARM] < 0 or not (op[m.ONLY] >> row[m.W_ARM]) & 1):
            pc = op[m.SKIP]
            continue
        code = op[m.CODE]
        if code in (m.OP_WAIT, m.OP_UNTIL):
            if code == m.OP_WAIT:
                due = add_days(past.zones, zone, row[m.W_BASE], op[m.A], op[m.B])
            else:
                due = _until(past, zone, row[m.W_BASE], op[m.A], op[m.B])
            if due > now:
                if not _is_next(plan, work, due):
                    start_timer(work, j, m.MODE_WAIT, due)
                    return now
                now = due
            row[m.W_BASE] = now
            pc += 1
        elif code == m.OP_WAIT_FOR:
            key = op[m.G]
            place = -1 if key < 0 else past.keys[key, row[m.W_EVENT]]
            due = add_days(past.zones, zone, row[m.W_BASE], op[m.A], op[m.B])
            if op[m.D] and seen_since(past, work, op[m.C], row[m.W_SEEN], key, place):
                pc = op[m.E]
            elif due <= now or _is_next(plan, work, due):
                pc = op[m.F]
                now = max(now, due)
            else:
                start_timer(work, j, m.MODE_WAIT_FOR, due)
                return now
            row[m.W_BASE] = now
        elif code == m.OP_SEND:
            if row[m.W_MODE] != m.MODE_HELD:
                row[m.W_GATE_DUE] = now
            passed = gate(plan, past, work, out, j, now)
            if passed == GATE_HELD:
                free = work.n[m.N_FREE]
                if not _is_next(plan, work, free):
                    start_timer(work, j, m.MODE_HELD, free)
                    return now
                now = free
                continue
            row[m.W_MODE] = m.MODE_RUNNING
            if passed == GATE_EXIT:
                end_journey(plan, work, out, j, now, m.END_EXITED)
                return now
            row[m.W_BASE] = now
            pc += 1
        elif code == m.OP_BRANCH:
            pc = op[m.E] if holds(plan, past, work, op[m.A], row[m.W_EVENT], now) else op[m.F]
        elif code == m.OP_SPLIT:
            trigger_at = out.journeys[row[m.W_OUT], m.J_TRIGGER]
            pc = plan.jumps[op[m.B] + arm_of(plan, past, work, op[m.A], row[m.W_EVENT], trigger_at)]
        elif code == m.OP_JUMP:
            pc = op[m.A]
        else:
            end_journey(plan, work, out, j, now, m.END_EXITED if code == m.OP_EXIT else m.END_FINISHED)
            return now
    return now


@kernel
def rouse(plan: Plan, work: Work, j: int, now: int, came: bool) -> None:
    """End the sleep of a journey: its wait is over, its held mail is free, its event came, or the deadline did."""
    row = work.journeys[j]
    row[m.W_VERSION] += 1
    op = plan.ops[row[m.W_PC]]
    if row[m.W_MODE] == m.MODE_WAIT:
        row[m.W_PC] += 1
        row[m.W_BASE] = now
    elif row[m.W_MODE] == m.MODE_WAIT_FOR:
        row[m.W_PC] = op[m.E] if came else op[m.F]
        row[m.W_BASE] = now
    if row[m.W_MODE] != m.MODE_HELD:
        row[m.W_MODE] = m.MODE_RUNNING
