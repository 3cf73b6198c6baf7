"""Closing a customer: what followed their entries, added up once the walk with answers is through their events."""

from __future__ import annotations

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.answers import Answers
from toolkit.engine.compiled import kernel, kernel_call
from toolkit.engine.layout import Out, Past, Plan, Work

__all__ = ["close_customer"]


@kernel
def _money(past: Past, first: int, stop: int, known_by: int, bit: int, value: int, after: int, up_to: int) -> int:
    """Money, in millionths, of the events with a bit in a window that were received in time; -1 where there is none."""
    found = -1
    for i in range(first, stop):
        if past.received[i] > known_by:
            break
        if (past.bits[i] >> bit) & 1 and after < past.at[i] <= up_to:
            found = max(found, 0)
            if value >= 0:
                price = past.values[value, i]
                if price > 0:
                    found += int(price * a.MILLION + 0.5)
    return found


@kernel_call
def close_customer(plan: Plan, past: Past, work: Work, out: Out, answers: Answers, first: int, place: int) -> None:
    """Add up what followed for a customer, whatever was sent: from their first entry into a scenario, or each."""
    each = answers.rows[len(answers.totals)]
    answers.first[:] = 0
    for j in range(first, work.n[m.N_JOURNEYS]):
        journey = out.journeys[j]
        scenario = journey[m.J_SCENARIO]
        if journey[m.J_ENTERED] < answers.begin or journey[m.J_ENTERED] > answers.cut:
            continue
        group = answers.groups[scenario] + max(0, journey[m.J_ARM])
        own = answers.own[group]
        own[a.N_JOURNEYS] += 1
        if not answers.first[group]:
            answers.first[group] = 1
            own[a.N_PEOPLE] += 1
        elif not answers.by_journey[group]:
            continue
        bit, value = answers.goals[scenario, 0], answers.goals[scenario, 1]
        after = journey[m.J_ENTERED]
        up_to = after + answers.windows[scenario]
        money = _money(past, 0, work.n[m.N_STOP], plan.until, bit, value, after, up_to)
        if money >= 0:
            own[a.N_CONVERTED] += 1
            own[a.N_MONEY] += money
        log, customer = answers.log, work.n[m.N_CUSTOMER]
        money = _money(log, log.starts[customer], log.starts[customer + 1], plan.until, bit, value, after, up_to)
        if money >= 0:
            own[a.N_OWN] += 1
            own[a.N_OWN_MONEY] += money
    for j in range(first, work.n[m.N_JOURNEYS]):
        journey = out.journeys[j]
        group = answers.groups[journey[m.J_SCENARIO]] + max(0, journey[m.J_ARM])
        own = answers.own[group]
        if own[a.N_JOURNEYS]:
            for k in range(len(own)):
                answers.totals[group, k] += own[k]
                if answers.record:
                    answers.people[place * each + answers.rows[group], k] += own[k]
                own[k] = 0
    # What the log knows of a trigger is known by its place there; an answer that began a journey has none.
    for j in range(first, work.n[m.N_JOURNEYS]):
        if out.journeys[j, m.J_EVENT] >= 0:
            out.journeys[j, m.J_EVENT] = answers.origin[out.journeys[j, m.J_EVENT]]
