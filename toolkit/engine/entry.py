"""Who enters (rules R9 to R14), and the triggers that no event sets off: dates, silence, cycles, schedules (R11)."""

from __future__ import annotations

from toolkit.engine import layout as m
from toolkit.engine.compiled import kernel
from toolkit.engine.conditions import holds
from toolkit.engine.heap import pop, push
from toolkit.engine.layout import Out, Past, Plan, Work
from toolkit.engine.shares import arm_of
from toolkit.engine.steps import end_journey
from toolkit.engine.zones import DAY, add_days, to_local, to_utc

__all__ = ["begin_next", "start_synthetic", "told_synthetic"]

_MINUTE = 60_000_000


@kernel
def _again(plan: Plan, past: Past, work: Work, scenario: int, slot: int, now: int) -> bool:
    """Whether re-entry is allowed now (rule R9)."""
    rules = plan.scenarios[scenario]
    place = work.slots[slot]
    if place[m.T_ENTERED] == m.NONE or rules[m.S_REENTRY] == m.REENTRY_EVERY:
        return True
    if rules[m.S_REENTRY] == m.REENTRY_ONCE:
        return False
    last = place[m.T_ENTERED]
    if rules[m.S_FROM_EXIT]:
        if place[m.T_HEAD] >= 0 or place[m.T_ENDED] == m.NONE:
            return False  # one is under way: the time since its exit has not begun
        last = place[m.T_ENDED]
    zone = work.n[m.N_ZONE]
    return bool(now >= add_days(past.zones, zone, last, rules[m.S_AFTER_DAYS], rules[m.S_AFTER_MICROS]))


@kernel
def _has_left(plan: Plan, past: Past, work: Work, scenario: int, code: int, trigger_at: int) -> bool:
    """Whether an exit after the trigger is known already, when the trigger becomes known only now (rule R4)."""
    for i in range(work.n[m.N_SEEN] - 1, work.n[m.N_FIRST] - 1, -1):
        # An event is never received before it happened, so whatever was received by then happened by then.
        if past.received[i] <= trigger_at:
            return False
        if not past.bits[i] & plan.exit_mask or past.at[i] <= trigger_at:
            continue
        for e in range(len(plan.exits)):
            if plan.exits[e, m.EXIT_SCENARIO] == scenario and (past.bits[i] >> plan.exits[e, m.EXIT_BIT]) & 1:
                key = plan.exits[e, m.EXIT_MATCH]
                if key < 0 or past.keys[key, i] == code:
                    return True
    return False


@kernel
def _enter(
    plan: Plan, past: Past, work: Work, out: Out, scenario: int, code: int, event: int, trigger_at: int, now: int
) -> int:
    """Begin a journey, if all that rule R9 asks for holds at this instant: the journey, or -1 where none goes on.

    `event` is the trigger's place in the log or -1, `code` its key value.
    """
    rules = plan.scenarios[scenario]
    if now - trigger_at > rules[m.S_MAX_AGE]:
        return -1
    if rules[m.S_MARKETING] and not (work.n[m.N_ATTRIBUTES] >> m.BIT_CONSENT) & 1:
        return -1
    if rules[m.S_AUDIENCE] >= 0 and not holds(plan, past, work, rules[m.S_AUDIENCE], event, now):
        return -1
    slot = work.slot_base[scenario] + code
    active = work.slots[slot, m.T_HEAD]
    # A trigger learned of late has the fate of a punctual one: the exit that came after it ends its journey at once.
    left = now > trigger_at and plan.exit_mask != 0 and _has_left(plan, past, work, scenario, code, trigger_at)
    if active >= 0 and rules[m.S_ACTIVE] != m.ACTIVE_PARALLEL:
        if left:
            return -1
        row = work.journeys[active]
        unsent = out.journeys[row[m.W_OUT], m.J_SENDS] == 0 and row[m.W_WITHHELD] == 0
        if rules[m.S_ACTIVE] != m.ACTIVE_RESTART or not unsent:
            return -1
        end_journey(plan, work, out, active, now, m.END_SUPERSEDED)
    elif not _again(plan, past, work, scenario, slot, now):
        return -1
    place, j = work.n[m.N_JOURNEYS], work.n[m.N_LOCAL]
    if place >= len(out.journeys):
        work.n[m.N_FULL] = m.FULL_JOURNEYS
        return -1
    if j >= len(work.journeys):
        work.n[m.N_FULL] = m.FULL_WORK
        return -1
    arm = -1
    if rules[m.S_SPLIT] >= 0:
        arm = arm_of(plan, past, work, rules[m.S_SPLIT], event, trigger_at)
    result = out.journeys[place]
    result[m.J_SCENARIO] = scenario
    result[m.J_CUSTOMER] = work.n[m.N_CUSTOMER]
    result[m.J_ARM] = arm
    result[m.J_ENTERED] = now
    result[m.J_TRIGGER] = trigger_at
    result[m.J_EVENT] = event
    result[m.J_ENDED] = m.NONE
    result[m.J_ENDED_BY] = m.END_OPEN
    result[m.J_SENDS] = 0
    result[m.J_KEY] = code if rules[m.S_KEY] >= 0 else -1
    row = work.journeys[j]
    row[m.W_OUT] = place
    row[m.W_SCENARIO] = scenario
    row[m.W_SLOT] = slot
    row[m.W_PC] = rules[m.S_START]
    row[m.W_MODE] = m.MODE_RUNNING
    row[m.W_BASE] = trigger_at
    row[m.W_ARM] = arm
    row[m.W_EVENT] = event
    row[m.W_SEEN] = work.n[m.N_SEEN]
    row[m.W_WITHHELD] = 0
    row[m.W_VERSION] = 0
    row[m.W_BEFORE] = -1
    row[m.W_NEXT] = work.slots[slot, m.T_HEAD]
    if row[m.W_NEXT] >= 0:
        work.journeys[row[m.W_NEXT], m.W_BEFORE] = j
    work.slots[slot, m.T_HEAD] = j
    work.slots[slot, m.T_ENTERED] = now
    work.n[m.N_JOURNEYS] = place + 1
    work.n[m.N_LOCAL] = j + 1
    if left:
        end_journey(plan, work, out, j, now, m.END_EXITED)
        return -1
    return int(j)


# Triggers without an event of their own: a second heap holds when the next one is due, one entry per slot. ............


@kernel
def _arm_timer(work: Work, scenario: int, slot: int, due: int, event: int) -> None:
    work.slots[slot, m.T_SYNTHETIC] += 1
    work.slots[slot, m.T_LAST] = event
    if due == m.NEVER:
        return
    if work.n[m.N_SYNTHETIC] >= len(work.synthetic):
        work.n[m.N_FULL] = m.FULL_WORK
        return
    version = work.slots[slot, m.T_SYNTHETIC]
    work.n[m.N_SYNTHETIC] = push(work.synthetic, work.n[m.N_SYNTHETIC], due, scenario, slot, version)


@kernel
def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970 (Howard Hinnant, chrono-compatible date algorithms)."""
    z = days + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (1 if month <= 2 else 0), month, doy - (153 * mp + 2) // 5 + 1


@kernel
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970 of a date (same source)."""
    y = year - 1 if month <= 2 else year
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


@kernel
def _date_moment(plan: Plan, past: Past, work: Work, scenario: int, year: int) -> int:
    """When the date of the customer comes round in a year, with its offset, in local time; 29 February on the 28th."""
    rules = plan.scenarios[scenario]
    stored = past.dates[rules[m.S_DATE], work.n[m.N_DATES]]
    born, month, day = _civil(stored)
    if rules[m.S_TRIGGER] == m.TRIGGER_DATE_ONCE:
        year = born
    elif month == 2 and day == 29 and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        day = 28
    wall = (_days(year, month, day) + rules[m.S_DAYS]) * DAY + rules[m.S_MINUTE] * _MINUTE
    return to_utc(past.zones, work.n[m.N_ZONE], wall) + int(rules[m.S_MICROS])


@kernel
def _next_moment(plan: Plan, past: Past, work: Work, scenario: int, after: int) -> int:
    """The first moment of a date or schedule trigger that lies after the given one."""
    rules = plan.scenarios[scenario]
    zone = work.n[m.N_ZONE]
    if rules[m.S_TRIGGER] == m.TRIGGER_SCHEDULE:
        low, high = plan.moment_starts[rules[m.S_DATE]], plan.moment_starts[rules[m.S_DATE] + 1]
        stop = high
        earliest = to_local(past.zones, zone, after) - DAY
        while low < high:
            middle = (low + high) // 2
            if plan.moments[middle] < earliest:
                low = middle + 1
            else:
                high = middle
        for i in range(low, stop):
            moment = to_utc(past.zones, zone, plan.moments[i])
            if moment > after:
                return moment
        return m.NEVER
    if past.dates[rules[m.S_DATE], work.n[m.N_DATES]] == m.NONE:
        return m.NEVER
    if rules[m.S_TRIGGER] == m.TRIGGER_DATE_ONCE:
        moment = _date_moment(plan, past, work, scenario, 0)
        return moment if moment > after else m.NEVER
    year, _, _ = _civil(to_local(past.zones, zone, after) // DAY)
    born, _, _ = _civil(past.dates[rules[m.S_DATE], work.n[m.N_DATES]])
    for candidate in range(max(year - 1, born + 1), year + 4):
        moment = _date_moment(plan, past, work, scenario, candidate)
        if moment > after:
            return moment
    return m.NEVER


@kernel
def start_synthetic(plan: Plan, past: Past, work: Work, first: int) -> None:
    """Set the date and schedule timers of the customer at hand, in their time zone, from a moment on."""
    for scenario in range(len(plan.scenarios)):
        kind = plan.scenarios[scenario, m.S_TRIGGER]
        if kind in (m.TRIGGER_DATE, m.TRIGGER_DATE_ONCE, m.TRIGGER_SCHEDULE):
            due = _next_moment(plan, past, work, scenario, first - 1)
            _arm_timer(work, scenario, work.slot_base[scenario], due, -1)


@kernel
def told_synthetic(plan: Plan, past: Past, work: Work, event: int) -> None:
    """An event arrived: silence is broken, a cycle begins anew."""
    bits = past.bits[event]
    zone = work.n[m.N_ZONE]
    for scenario in range(len(plan.scenarios)):
        rules = plan.scenarios[scenario]
        kind = rules[m.S_TRIGGER]
        if kind not in (m.TRIGGER_INACTIVE, m.TRIGGER_CYCLE):
            continue
        code = 0 if rules[m.S_KEY] < 0 else past.keys[rules[m.S_KEY], event]
        if code < 0:
            continue
        slot = work.slot_base[scenario] + code
        last = work.slots[slot, m.T_LAST]
        if (bits >> rules[m.S_TRIGGER_BIT]) & 1:
            # A late event about an earlier moment does not move the last one back.
            was_trigger = last >= 0 and (past.bits[last] >> rules[m.S_TRIGGER_BIT]) & 1
            if was_trigger and past.at[last] > past.at[event]:
                continue
            days, micros = rules[m.S_DAYS], rules[m.S_MICROS]
            if rules[m.S_GAP] >= 0:
                gap = past.gaps[rules[m.S_GAP], event]
                _arm_timer(work, scenario, slot, past.at[event] + gap if gap >= 0 else m.NEVER, event)
                continue
            if rules[m.S_VALUE] >= 0:
                value = past.values[rules[m.S_VALUE], event]
                if not 0 < value <= 36_500:
                    _arm_timer(work, scenario, slot, m.NEVER, event)
                    continue
                days = int(value)
                micros = int((value - days) * DAY)
            due = add_days(past.zones, zone, past.at[event], days, micros)
            alike = last >= 0 and past.at[last] == past.at[event] and past.received[last] < past.received[event]
            if kind == m.TRIGGER_INACTIVE and alike and due < past.received[event]:
                continue  # once per lapse: it began when the event, or the one since when, of the same moment was due
            _arm_timer(work, scenario, slot, due, event)
        elif last < 0 and rules[m.S_SINCE_BIT] >= 0 and (bits >> rules[m.S_SINCE_BIT]) & 1:
            due = add_days(past.zones, zone, past.at[event], rules[m.S_DAYS], rules[m.S_MICROS])
            _arm_timer(work, scenario, slot, due, event)


@kernel
def _due_synthetic(plan: Plan, past: Past, work: Work, now: int) -> tuple[int, int, int, int]:
    """The next date, silence, cycle or schedule that is due now: scenario (-1: none), key value, event, and when."""
    while work.n[m.N_SYNTHETIC] and work.synthetic[0, m.H_DUE] <= now and not work.n[m.N_FULL]:
        due = work.synthetic[0, m.H_DUE]
        scenario = work.synthetic[0, m.H_ORDER]
        slot = work.synthetic[0, m.H_WHAT]
        fresh = work.synthetic[0, m.H_VERSION] == work.slots[slot, m.T_SYNTHETIC]
        work.n[m.N_SYNTHETIC] = pop(work.synthetic, work.n[m.N_SYNTHETIC])
        if not fresh:
            continue
        kind = plan.scenarios[scenario, m.S_TRIGGER]
        event = work.slots[slot, m.T_LAST]
        if kind in (m.TRIGGER_DATE, m.TRIGGER_SCHEDULE):
            _arm_timer(work, scenario, slot, _next_moment(plan, past, work, scenario, due), -1)
        return int(scenario), int(slot - work.slot_base[scenario]), int(event), int(due)
    return -1, 0, -1, 0


@kernel
def begin_next(plan: Plan, past: Past, work: Work, out: Out, stop: int, now: int) -> int:
    """Begin the next journey of this instant: by its events up to `stop`, then by what no event sets off (R3).

    N_EVENT and N_SCENARIO say how far the events have been looked through. Returns the journey, which has yet to go its
    first steps, or -1 when nothing more begins.
    """
    n = work.n
    while not n[m.N_FULL]:
        if n[m.N_EVENT] < stop:
            event, scenario = n[m.N_EVENT], n[m.N_SCENARIO]
            bits = past.bits[event]
            rules = plan.scenarios[scenario]
            if bits & rules[m.S_STARTS_LATER]:
                n[m.N_SCENARIO] += 1
            else:  # no scenario behind this one begins by it
                n[m.N_EVENT], n[m.N_SCENARIO] = event + 1, 0
            if not bits & rules[m.S_STARTS]:
                continue
            code = 0 if rules[m.S_KEY] < 0 else past.keys[rules[m.S_KEY], event]
            if code < 0:
                continue
            trigger_at = past.at[event]
        elif plan.synthetic:
            scenario, code, event, trigger_at = _due_synthetic(plan, past, work, now)
            if scenario < 0:
                return -1
        else:
            return -1
        j = _enter(plan, past, work, out, scenario, code, event, trigger_at, now)
        if j >= 0:
            return j
    return -1
