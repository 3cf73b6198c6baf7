"""The walk: customer after customer, instant after instant, in the order of rule R3.

This is the only code that decides who gets which mail, when, and why not. It reads arrays and writes arrays: no
clock, no chance, no input or output. All of it runs compiled, and the same as plain Python (NUMBA_DISABLE_JIT=1).
"""

from __future__ import annotations

from toolkit.engine import layout as m
from toolkit.engine.answers import Answers, respond, take_events
from toolkit.engine.closing import close_customer
from toolkit.engine.compiled import kernel, kernel_door
from toolkit.engine.entry import begin_next, start_synthetic, told_synthetic
from toolkit.engine.gate import count_logged
from toolkit.engine.heap import pop
from toolkit.engine.layout import Out, Past, Plan, Work
from toolkit.engine.steps import end_journey, rouse, run

__all__ = ["walk"]


@kernel
def _lay_slots(plan: Plan, past: Past, work: Work, customer: int) -> None:
    """Give each scenario its slots: one, or one for each value of its key that the customer has."""
    slots = 0
    for scenario in range(len(plan.scenarios)):
        work.slot_base[scenario] = slots
        key = plan.scenarios[scenario, m.S_KEY]
        slots += 1 if key < 0 else past.key_counts[key, customer]
    work.slot_base[len(plan.scenarios)] = slots


@kernel
def _begin_customer(plan: Plan, past: Past, work: Work, customer: int, first: int) -> None:
    n = work.n
    n[m.N_CUSTOMER] = customer
    n[m.N_LOCAL] = n[m.N_HEAP] = n[m.N_SYNTHETIC] = n[m.N_SENDS] = n[m.N_SUPPRESSED] = 0
    n[m.N_CHOSEN] = n[m.N_TURN] = 0
    n[m.N_ATTRIBUTES] = past.attribute_bits[customer]
    n[m.N_ZONE] = past.zone[customer]
    n[m.N_DATES] = customer
    n[m.N_FIRST] = n[m.N_SEEN] = first
    if plan.count_mask:
        work.counts[:] = 0
    if plan.pooled:
        work.reserved[:] = 0
    if len(past.key_counts):  # without a key, all customers have the same slots
        _lay_slots(plan, past, work, customer)
    for slot in range(work.slot_base[len(plan.scenarios)]):
        work.slots[slot, m.T_HEAD] = -1
        work.slots[slot, m.T_ENTERED] = m.NONE
        work.slots[slot, m.T_ENDED] = m.NONE
        work.slots[slot, m.T_SYNTHETIC] = 0
        work.slots[slot, m.T_LAST] = -1


@kernel
def _learn(plan: Plan, past: Past, work: Work, stop: int, now: int) -> None:
    """Facts first: everything received at this instant becomes known."""
    for i in range(work.n[m.N_SEEN], stop):
        bits = past.bits[i]
        if past.fact[i] >= 0:
            work.n[m.N_ATTRIBUTES] = past.fact_bits[past.fact[i]]
            zone = past.fact_zone[past.fact[i]]
            moved = zone >= 0 and zone != work.n[m.N_ZONE]
            if moved:
                work.n[m.N_ZONE] = zone
            dates = len(past.zone) + past.fact[i]  # those of facts stand behind those of the customers
            dated = dates < past.dates.shape[1]
            if dated:
                work.n[m.N_DATES] = dates
            if moved or dated:
                start_synthetic(plan, past, work, now)
        if not bits & plan.learn_mask:
            continue
        if plan.bounce_bit >= 0 and (bits >> plan.bounce_bit) & 1:
            work.n[m.N_SUPPRESSED] = 1
        if plan.logged_bit >= 0:
            count_logged(plan, work, bits, past.at[i])
        counted = bits & plan.count_mask
        bit = 0
        while counted >> bit:
            if (counted >> bit) & 1:
                work.counts[bit] += 1
            bit += 1
    first = work.n[m.N_SEEN]
    work.n[m.N_SEEN] = stop
    if plan.told_mask:
        for i in range(first, stop):
            if past.bits[i] & plan.told_mask:
                told_synthetic(plan, past, work, i)


@kernel
def _end_all(plan: Plan, work: Work, out: Out, slot: int, now: int, ended_by: int) -> None:
    j = work.slots[slot, m.T_HEAD]
    while j >= 0:
        following = work.journeys[j, m.W_NEXT]
        end_journey(plan, work, out, j, now, ended_by)
        j = following


@kernel
def _exits(plan: Plan, past: Past, work: Work, out: Out, first: int, stop: int, now: int) -> None:
    """An unsubscribe ends all marketing journeys, an exit event those of its scenario, or of its key (R4, R10, R18)."""
    for i in range(first, stop):
        if not past.bits[i] & plan.unsubscribe_mask:
            continue
        # One that is older than a subscription known by then says nothing new: the fact it leaves is a consent.
        given = past.fact[i] >= 0 and (past.fact_bits[past.fact[i]] >> m.BIT_CONSENT) & 1
        if not given:
            for scenario in range(len(plan.scenarios)):
                if plan.scenarios[scenario, m.S_MARKETING]:
                    for slot in range(work.slot_base[scenario], work.slot_base[scenario + 1]):
                        _end_all(plan, work, out, slot, now, m.END_UNSUBSCRIBED)
    for i in range(first, stop):
        if not past.bits[i] & plan.exit_mask:
            continue
        for e in range(len(plan.exits)):
            if not (past.bits[i] >> plan.exits[e, m.EXIT_BIT]) & 1:
                continue
            scenario = plan.exits[e, m.EXIT_SCENARIO]
            key = plan.exits[e, m.EXIT_MATCH]
            if key >= 0:
                if past.keys[key, i] >= 0:
                    slot = work.slot_base[scenario] + past.keys[key, i]
                    _end_all(plan, work, out, slot, now, m.END_EXITED)
            else:
                for slot in range(work.slot_base[scenario], work.slot_base[scenario + 1]):
                    _end_all(plan, work, out, slot, now, m.END_EXITED)


@kernel
def _came(plan: Plan, past: Past, j_row: m.Ints, first: int, stop: int) -> bool:
    op = plan.ops[j_row[m.W_PC]]
    key = op[m.G]
    for i in range(first, stop):
        if (past.bits[i] >> op[m.C]) & 1 and (key < 0 or past.keys[key, i] == past.keys[key, j_row[m.W_EVENT]]):
            return True
    return False


@kernel
def _choose_answered(plan: Plan, past: Past, work: Work, first: int, stop: int) -> int:
    """Journeys whose wait_for is satisfied, in the order scenario, step, journey (R7, R17); how many."""
    count = 0
    for scenario in range(len(plan.scenarios)):
        if not plan.scenarios[scenario, m.S_WAITS_FOR]:
            continue
        begin = count
        for slot in range(work.slot_base[scenario], work.slot_base[scenario + 1]):
            j = work.slots[slot, m.T_HEAD]
            while j >= 0:
                row = work.journeys[j]
                if row[m.W_MODE] == m.MODE_WAIT_FOR and _came(plan, past, row, first, stop):
                    place = count
                    while place > begin and (
                        work.journeys[work.chosen[place - 1], m.W_PC] > row[m.W_PC]
                        or (work.journeys[work.chosen[place - 1], m.W_PC] == row[m.W_PC] and work.chosen[place - 1] > j)
                    ):
                        work.chosen[place] = work.chosen[place - 1]
                        place -= 1
                    work.chosen[place] = j
                    count += 1
                j = row[m.W_NEXT]
    return count


@kernel
def _wake_next(plan: Plan, work: Work, now: int) -> int:
    """Wake the next journey of this instant: those whose event came, then those whose time has come; -1 for none."""
    n = work.n
    if n[m.N_TURN] < n[m.N_CHOSEN]:
        j = work.chosen[n[m.N_TURN]]
        n[m.N_TURN] += 1
        rouse(plan, work, j, now, True)
        return int(j)
    while n[m.N_HEAP] and work.heap[0, m.H_DUE] <= now:
        j = work.heap[0, m.H_WHAT]
        fresh = work.heap[0, m.H_VERSION] == work.journeys[j, m.W_VERSION]
        n[m.N_HEAP] = pop(work.heap, n[m.N_HEAP])
        if fresh:
            rouse(plan, work, j, now, False)
            return int(j)
    return -1


@kernel
def _next_timer(plan: Plan, work: Work) -> int:
    """When the next timer is due; timers that are no longer wanted are taken off."""
    while work.n[m.N_HEAP]:
        j = work.heap[0, m.H_WHAT]
        if work.heap[0, m.H_VERSION] == work.journeys[j, m.W_VERSION]:
            break
        work.n[m.N_HEAP] = pop(work.heap, work.n[m.N_HEAP])
    due = work.heap[0, m.H_DUE] if work.n[m.N_HEAP] else m.NEVER
    if not plan.synthetic:
        return int(due)
    while work.n[m.N_SYNTHETIC]:
        slot = work.synthetic[0, m.H_WHAT]
        if work.synthetic[0, m.H_VERSION] == work.slots[slot, m.T_SYNTHETIC]:
            break
        work.n[m.N_SYNTHETIC] = pop(work.synthetic, work.n[m.N_SYNTHETIC])
    if work.n[m.N_SYNTHETIC] and work.synthetic[0, m.H_DUE] < due:
        due = work.synthetic[0, m.H_DUE]
    return int(due)


@kernel_door
def walk(plan: Plan, past: Past, work: Work, out: Out, answers: Answers | None, place: int, last_place: int) -> int:
    """Decide everything for the customers from one to before another.

    With `answers`, places are those of `answers.chosen`, and each customer walks through a copy of their events in
    `past`, into which their answers to the mails come as they go. Without, nothing of them is compiled: a replay does
    not wait for what only a simulation needs.

    Returns the place at which the memory ran out (N_FULL says which; nothing of that customer is kept), or
    `last_place`.
    """
    # Asked once, so that the compiler knows how long the rows are, which it would look up at each access otherwise.
    if (
        plan.ops.shape[1] != m.OP_COLUMNS
        or plan.scenarios.shape[1] != m.SCENARIO_COLUMNS
        or plan.exits.shape[1] != m.EXIT_COLUMNS
        or plan.caps.shape[1] != m.CAP_COLUMNS
        or work.journeys.shape[1] != m.WORK_COLUMNS
        or work.slots.shape[1] != m.SLOT_COLUMNS
        or work.heap.shape[1] != m.HEAP_COLUMNS
        or work.synthetic.shape[1] != m.HEAP_COLUMNS
        or work.sends.shape[1] != m.SENT_COLUMNS
        or out.journeys.shape[1] != m.JOURNEY_COLUMNS
        or out.decisions.shape[1] != m.DECISION_COLUMNS
    ):
        raise ValueError("a table of the kernel has rows of another length")
    n = work.n
    if not len(past.key_counts):
        _lay_slots(plan, past, work, 0)
    while place < last_place:
        journeys_before, decisions_before = n[m.N_JOURNEYS], n[m.N_DECISIONS]
        customer = place
        i, stop = past.starts[customer], past.starts[customer + 1]
        if answers is not None:
            customer = answers.chosen[place]
            i, stop = 0, take_events(past, work, answers, customer)
            n[m.N_STOP] = stop
        _begin_customer(plan, past, work, customer, i)
        if plan.synthetic:
            start_synthetic(plan, past, work, max(past.first, past.known_from[customer]))
        now = m.NONE
        while not n[m.N_FULL]:
            arrives = past.received[i] if i < stop else m.NEVER
            due = _next_timer(plan, work)
            due = max(due, now)  # something that was due before it became known is due now
            now = min(arrives, due)
            if now > plan.until:
                break
            decided = n[m.N_DECISIONS]
            known = i
            bits = 0
            if arrives == now:
                while known < stop and past.received[known] == now:
                    bits |= past.bits[known]
                    known += 1
                _learn(plan, past, work, known, now)
                if bits & (plan.exit_mask | plan.unsubscribe_mask):
                    _exits(plan, past, work, out, i, known, now)
                if plan.waits_for:
                    n[m.N_CHOSEN], n[m.N_TURN] = _choose_answered(plan, past, work, i, known), 0
            n[m.N_ARRIVES] = past.received[known] if known < stop else m.NEVER
            # A mail is answered before time goes on: what the answers do may come next.
            n[m.N_ANSWERED] = decided if answers is not None else m.NEVER
            n[m.N_EVENT], n[m.N_SCENARIO] = i if bits & plan.trigger_mask else known, 0
            while True:  # what is woken, then what begins; each goes on until its next wait before the next one's turn
                j = _wake_next(plan, work, now)
                if j < 0:
                    j = begin_next(plan, past, work, out, known, now)
                if j < 0 or n[m.N_FULL]:
                    break
                now = run(plan, past, work, out, j, now)
            if answers is not None:  # noqa: SIM102 - left out whole when nobody answers
                if n[m.N_DECISIONS] > decided:
                    respond(plan, past, work, out, answers, decided, now)
                    stop = n[m.N_STOP]
            i = known
        if n[m.N_FULL]:
            n[m.N_JOURNEYS] = journeys_before
            n[m.N_DECISIONS] = decisions_before
            if answers is not None:
                answers.own[:] = 0
            return place
        if answers is not None:
            close_customer(plan, past, work, out, answers, journeys_before, place)
        place += 1
    return last_place
