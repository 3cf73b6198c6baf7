"""Answers: what a response model draws for a mail that went becomes events of that customer, in the same walk.

The walk decides; this file is the customer. After each instant the mails that went get their opens, click, purchase
and unsubscribe, each put between the customer's own events at its moment, and the walk meets them as it meets any
event. All chance is a hash of (seed, customer, step, trigger, word): the same however customers are parted, and the
same for two settings that are compared.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from toolkit.engine import layout as m
from toolkit.engine.compiled import kernel, kernel_call
from toolkit.engine.layout import Floats, Ints, Out, Past, Plan, Work
from toolkit.engine.zones import DAY, to_local

__all__ = ["CURVES", "METRICS", "Answers", "mixed", "respond", "take_events"]

# Columns of Answers.rates: one row per send of the program. Times are microseconds, spreads those of a logarithm.
(
    R_OPEN,
    R_MACHINE,
    R_CLICK,
    R_BUY,
    R_LEAVE,
    R_USE,
    R_PULL,
    R_OPEN_AFTER,
    R_CLICK_AFTER,
    R_BUY_AFTER,
    R_SPREAD,
    R_SCALE,
    R_PERCENT,
    R_AMOUNT,
    R_MINIMUM,
) = range(15)
RATE_COLUMNS = 15
# Columns of Answers.ways: whole numbers of each send; from W_CURVES on, the curve of each answer and factor, or -1.
(W_STEP, W_VALID, W_WINDOW, W_PULL_WITHIN, W_OPEN_BITS, W_MACHINE_BITS, W_CLICK_BITS, W_PAST, W_CURVES) = range(9)
CURVE_OPEN, CURVE_BUY, CURVE_LEAVE = range(3)
CURVE_DELAY, CURVE_HOUR, CURVE_RECENCY, CURVE_MAILS = range(4)
CURVES = 4
WAY_COLUMNS = W_CURVES + 3 * CURVES

# What is counted, by scenario and arm: whole numbers, money in millionths, so that no order of adding changes a sum.
(
    N_PEOPLE,
    N_JOURNEYS,
    N_MAILS,
    N_OPENS,
    N_MACHINE,
    N_CLICKS,
    N_LEAVES,
    N_CAUSED,
    N_CAUSED_MONEY,
    N_DISCOUNT,
    N_USED_OWN,
    N_DISCOUNT_OWN,
    N_PULLED,
    N_CONVERTED,
    N_MONEY,
    N_OWN,
    N_OWN_MONEY,
) = range(17)
METRICS = (
    "people",
    "journeys",
    "mails",
    "opens",
    "machine_opens",
    "clicks",
    "unsubscribes",
    "caused",
    "caused_revenue",
    "discount_caused",
    "own_with_offer",
    "discount_own",
    "pulled_forward",
    "conversions",
    "revenue",
    "own_conversions",
    "own_revenue",
)
MILLION = 1_000_000.0
_HOUR = 3_600_000_000.0
_SHORTEST = 1_000_000  # an answer takes at least a second
_WORD = 0x7FFFFFFF


class Answers(NamedTuple):
    """A drawn response model, the log that the walk's events are copied from, and what is counted.

    `past` of the walk is then one customer's own copy of their events, with room for answers between them. Counts go to
    groups: a scenario's arms, or the scenario. `by_journey` says of a group whether each journey is a unit of its own;
    `rows` is the place of a group among one customer's rows of `people`, and last how many rows each has.
    """

    seed: int
    record: int
    kept: int
    purchase_bit: int
    value: int
    leave_bits: int
    leave_fact: int
    begin: int
    cut: int
    log: Past
    chosen: Ints
    keys: Ints
    donors: Ints
    rates: Floats
    ways: Ints
    curves: Floats
    groups: Ints
    by_journey: Ints
    rows: Ints
    windows: Ints
    goals: Ints
    origin: Ints
    used: Ints
    own: Ints
    first: Ints
    totals: Ints
    people: Ints


@kernel
def _copy(target: Any, k: int, source: Any, i: int) -> None:
    """One column, where the table has as many: a table that nobody asked for has one only."""
    for row in range(len(source) if source.shape[1] > i and target.shape[1] > k else 0):
        target[row, k] = source[row, i]


@kernel
def take_events(past: Past, work: Work, answers: Answers, customer: int) -> int:
    """Copy a customer's events to where answers can come between them; how many there are."""
    log = answers.log
    first, stop = log.starts[customer], log.starts[customer + 1]
    count = stop - first
    if count > len(past.at):
        work.n[m.N_FULL] = m.FULL_WORK
        return 0
    for k in range(count):
        i = first + k
        past.at[k] = log.at[i]
        past.received[k] = log.received[i]
        past.bits[k] = log.bits[i] & answers.kept
        past.fact[k] = log.fact[i]
        answers.origin[k] = i
        answers.used[k] = 0
        _copy(past.keys, k, log.keys, i)
        _copy(past.values, k, log.values, i)
        _copy(past.gaps, k, log.gaps, i)
        _copy(past.key_places, k, log.key_places, i)
        _copy(past.journey_shares, k, log.journey_shares, i)
    return int(count)


@kernel
def mixed(a: int, b: int) -> int:
    """A hash of two numbers, of 62 bits: Philox with two words of 31 bits (Salmon et al. 2011, SC11).

    Words of 31 bits because their products fit: the compiler may take it that a signed product never overflows.
    """
    left, right = (int(a) >> 31) & _WORD, int(a) & _WORD
    even, odd = int(b) & _WORD, (int(b) >> 31) & _WORD
    for _ in range(4):
        product = right * 0x53A9D9E5
        left, right = product & _WORD, (product >> 31) ^ left ^ even
        product = right * 0x6C078965
        left, right = product & _WORD, (product >> 31) ^ left ^ odd
        even = (even + 0x1E3779B9) & _WORD
        odd = (odd + 0x3B67AE85) & _WORD
    return (left << 31) | right


@kernel
def _chance(key: int, word: int) -> float:
    """A share in [0, 1) for one question about one mail."""
    return float(mixed(key, word + 1) >> 9) / 9007199254740992.0


@kernel
def _delay(key: int, word: int, median: float, spread: float) -> int:
    """A lognormal time, in microseconds (Box and Muller 1958)."""
    u = 1.0 - _chance(key, word)
    v = _chance(key, word + 1)
    z = math.sqrt(-2.0 * math.log(u)) * math.cos(6.283185307179586 * v)
    return max(_SHORTEST, int(min(median * math.exp(spread * z), 3.0e15)))


@kernel
def _height(curves: Floats, curve: int, x: float) -> float:
    """The curve at x: straight between its points, level outside them."""
    last = curves.shape[2] - 1
    if x <= curves[curve, 0, 0]:
        return float(curves[curve, 1, 0])
    for k in range(last):
        right = curves[curve, 0, k + 1]
        if x <= right:
            left = curves[curve, 0, k]
            share = (x - left) / (right - left) if right > left else 1.0
            return float(curves[curve, 1, k] + share * (curves[curve, 1, k + 1] - curves[curve, 1, k]))
    return float(curves[curve, 1, last])


@kernel
def _asked(ways: Ints, curve: int) -> bool:
    """Whether the chance of any answer goes by that."""
    at = W_CURVES + curve
    return bool(
        ways[at + CURVES * CURVE_OPEN] >= 0
        or ways[at + CURVES * CURVE_BUY] >= 0
        or ways[at + CURVES * CURVE_LEAVE] >= 0
    )


@kernel
def _factor(answers: Answers, send: int, answer: int, delay: float, hour: float, recency: float, mails: float) -> float:
    base = W_CURVES + CURVES * answer
    factor = 1.0
    ways = answers.ways[send]
    if ways[base + CURVE_DELAY] >= 0:
        factor *= _height(answers.curves, ways[base + CURVE_DELAY], delay)
    if ways[base + CURVE_HOUR] >= 0:
        factor *= _height(answers.curves, ways[base + CURVE_HOUR], hour)
    if ways[base + CURVE_RECENCY] >= 0:
        factor *= _height(answers.curves, ways[base + CURVE_RECENCY], recency)
    if ways[base + CURVE_MAILS] >= 0:
        factor *= _height(answers.curves, ways[base + CURVE_MAILS], mails)
    return factor


@kernel_call
def _insert(past: Past, work: Work, answers: Answers, at: int, bits: int, fact: int) -> int:
    """Put an answer among what the customer has yet to do, behind what comes at the same moment; its place, or -1."""
    stop = work.n[m.N_STOP]
    if stop >= len(past.at):
        work.n[m.N_FULL] = m.FULL_WORK
        return -1
    k = stop
    while k > work.n[m.N_SEEN] and past.received[k - 1] > at:
        _move(past, answers, k - 1, k)
        k -= 1
    past.at[k] = past.received[k] = at
    past.bits[k] = bits
    past.fact[k] = fact
    answers.origin[k] = -1
    answers.used[k] = 1
    for key in range(len(past.keys)):
        past.keys[key, k] = -1
    for value in range(len(past.values)):
        past.values[value, k] = math.nan
    for row in range(len(past.gaps)):
        past.gaps[row, k] = past.gaps[row, k - 1] if k > 0 else -1  # the usual gap is that of the purchase before
    for row in range(len(past.journey_shares)):
        past.journey_shares[row, k] = _chance(mixed(at, answers.keys[work.n[m.N_CUSTOMER]]), row)
    work.n[m.N_STOP] = stop + 1
    return int(k)


@kernel
def _move(past: Past, answers: Answers, source: int, target: int) -> None:
    past.at[target] = past.at[source]
    past.received[target] = past.received[source]
    past.bits[target] = past.bits[source]
    past.fact[target] = past.fact[source]
    answers.origin[target] = answers.origin[source]
    answers.used[target] = answers.used[source]
    _copy(past.keys, target, past.keys, source)
    _copy(past.values, target, past.values, source)
    _copy(past.gaps, target, past.gaps, source)
    _copy(past.key_places, target, past.key_places, source)
    _copy(past.journey_shares, target, past.journey_shares, source)


@kernel_call
def _pull(past: Past, answers: Answers, place: int, first: int, at: int) -> None:
    """Let what stands at a place happen earlier."""
    last = len(past.at) - 1  # kept free: the event's seat while others move up
    _move(past, answers, place, last)
    k = place
    while k > first and past.received[k - 1] > at:
        _move(past, answers, k - 1, k)
        k -= 1
    _move(past, answers, last, k)
    past.at[k] = past.received[k] = at


@kernel
def _worth(rates: Floats, price: float) -> float:
    """What an offer takes off a price."""
    if price < rates[R_MINIMUM]:
        return 0.0
    return float(min(price, price * rates[R_PERCENT] / 100.0 + rates[R_AMOUNT]))


@kernel
def _next_purchase(past: Past, work: Work, answers: Answers, now: int, up_to: int) -> int:
    """The customer's next purchase after now, up to a moment: its place, or -1; one heard of late is none to come."""
    for i in range(work.n[m.N_SEEN], work.n[m.N_STOP]):
        if (past.bits[i] >> answers.purchase_bit) & 1 and now < past.at[i] <= up_to:
            return i
    return -1


@kernel
def _recency(past: Past, work: Work, answers: Answers, now: int) -> float:
    """Days since the last purchase known, or ten years."""
    for i in range(work.n[m.N_SEEN] - 1, work.n[m.N_FIRST] - 1, -1):
        if (past.bits[i] >> answers.purchase_bit) & 1:
            return float((now - past.at[i]) / float(DAY))
    return 3650.0


@kernel
def _mails_before(work: Work, now: int, within: int, is_among: int) -> float:
    """Marketing mails that went in a time before now, the one of now not counted: it is among them if it is one."""
    count = -is_among
    for i in range(work.n[m.N_SENDS] - 1, -1, -1):
        if work.sends[i, m.SENT_AT] <= now - within:
            break
        count += work.sends[i, m.SENT_SHARED]
    return float(max(0, count))


@kernel_call
def _answer(plan: Plan, past: Past, work: Work, out: Out, answers: Answers, decision: int, now: int) -> None:
    """Draw how one mail is answered, and put the answers among what the customer has yet to do."""
    row = out.decisions[decision]
    journey = out.journeys[row[m.D_JOURNEY]]
    send = row[m.D_SEND]
    rates = answers.rates[send]
    ways = answers.ways[send]
    scenario = journey[m.J_SCENARIO]
    group = answers.groups[scenario] + max(0, journey[m.J_ARM])
    counts = 1 if answers.begin <= journey[m.J_ENTERED] <= answers.cut else 0
    own = answers.own[group]
    own[N_MAILS] += counts
    key = mixed(mixed(answers.seed, answers.keys[work.n[m.N_CUSTOMER]]), mixed(ways[W_STEP], journey[m.J_TRIGGER]))
    delay = hour = recency = mails = 0.0  # what no curve goes by is not looked for
    if _asked(ways, CURVE_DELAY):
        delay = math.log1p(max(0.0, (now - journey[m.J_TRIGGER]) / _HOUR))
    if _asked(ways, CURVE_HOUR):
        hour = (to_local(past.zones, work.n[m.N_ZONE], now) % DAY) / _HOUR
    if _asked(ways, CURVE_RECENCY):
        recency = math.log1p(max(0.0, _recency(past, work, answers, now)))
    if _asked(ways, CURVE_MAILS):
        mails = _mails_before(work, now, ways[W_PAST], plan.scenarios[scenario, m.S_MARKETING])

    if _chance(key, 0) < rates[R_MACHINE]:
        own[N_MACHINE] += counts
        if ways[W_MACHINE_BITS]:  # an answer that no condition of the program asks for changes nothing
            _insert(past, work, answers, now + _delay(key, 1, 30.0e6, 0.5), ways[W_MACHINE_BITS], -1)
    opened = _chance(key, 3) < rates[R_OPEN] * _factor(answers, send, CURVE_OPEN, delay, hour, recency, mails)
    if opened:
        own[N_OPENS] += counts
        clicked = _chance(key, 6) < rates[R_CLICK]
        if clicked:
            own[N_CLICKS] += counts
        if ways[W_OPEN_BITS] or (clicked and ways[W_CLICK_BITS]):
            at = now + _delay(key, 4, rates[R_OPEN_AFTER], rates[R_SPREAD])
            if ways[W_OPEN_BITS]:
                _insert(past, work, answers, at, ways[W_OPEN_BITS], -1)
            if clicked and ways[W_CLICK_BITS]:
                at += _delay(key, 7, rates[R_CLICK_AFTER], rates[R_SPREAD])
                _insert(past, work, answers, at, ways[W_CLICK_BITS], -1)

    offer = row[m.D_PLAIN] == 0 and (rates[R_PERCENT] > 0 or rates[R_AMOUNT] > 0)
    buys = rates[R_BUY] * _factor(answers, send, CURVE_BUY, delay, hour, recency, mails)
    if _next_purchase(past, work, answers, now, now + ways[W_WINDOW]) < 0:
        if len(answers.donors) and _chance(key, 9) < abs(buys):
            _buy(past, work, out, answers, decision, now, key, buys > 0, offer, counts)
    else:
        if offer:
            _use_offer(past, work, answers, own, rates, now, now + ways[W_VALID], key, counts)
        if _chance(key, 10) < rates[R_PULL]:
            place = _next_purchase(past, work, answers, now, now + ways[W_PULL_WITHIN])
            at = now + _delay(key, 11, rates[R_BUY_AFTER], rates[R_SPREAD])
            if place >= 0 and at < past.at[place]:
                work.n[m.N_FULL] = m.FULL_WORK if work.n[m.N_STOP] >= len(past.at) else work.n[m.N_FULL]
                own[N_PULLED] += counts
                _pull(past, answers, place, work.n[m.N_SEEN], at)

    leaves = rates[R_LEAVE] * _factor(answers, send, CURVE_LEAVE, delay, hour, recency, mails)
    if _chance(key, 13) < leaves:
        own[N_LEAVES] += counts
        at = now + _delay(key, 14, rates[R_OPEN_AFTER], rates[R_SPREAD])
        _insert(past, work, answers, at, answers.leave_bits, answers.leave_fact + work.n[m.N_CUSTOMER])


@kernel
def _use_offer(
    past: Past, work: Work, answers: Answers, own: Ints, rates: Floats, now: int, up_to: int, key: int, counts: int
) -> None:
    """Whoever would have bought anyway may use the offer; a purchase uses one offer at most."""
    place = _next_purchase(past, work, answers, now, up_to)
    if place < 0 or answers.used[place] or not _chance(key, 15) < rates[R_USE]:
        return
    price = past.values[answers.value, place]
    if not price > 0:
        return
    off = _worth(rates, price)
    if off > 0:
        answers.used[place] = 1
        own[N_USED_OWN] += counts
        own[N_DISCOUNT_OWN] += counts * int(off * MILLION + 0.5)


@kernel_call
def _buy(
    past: Past,
    work: Work,
    out: Out,
    answers: Answers,
    decision: int,
    now: int,
    key: int,
    gained: bool,
    offer: bool,
    counts: int,
) -> None:
    """A purchase that the mail brings about, like one of the log; or, with an effect below zero, one that it costs."""
    row = out.decisions[decision]
    journey = out.journeys[row[m.D_JOURNEY]]
    send = row[m.D_SEND]
    rates = answers.rates[send]
    ways = answers.ways[send]
    own = answers.own[answers.groups[journey[m.J_SCENARIO]] + max(0, journey[m.J_ARM])]
    donor = answers.donors[int(_chance(key, 16) * len(answers.donors))]
    price = answers.log.values[answers.value, donor] * rates[R_SCALE]
    money = int(price * MILLION + 0.5)
    if not gained:
        # Nothing to put into the log: the purchase lost is one that nobody can point at.
        own[N_CAUSED] -= counts
        own[N_CAUSED_MONEY] -= counts * money
        own[N_CONVERTED] -= counts
        own[N_MONEY] -= counts * money
        return
    longest = ways[W_WINDOW]
    if offer and ways[W_VALID] < longest:
        longest = ways[W_VALID]
    at = now + min(longest, _delay(key, 17, rates[R_BUY_AFTER], rates[R_SPREAD]))
    place = _insert(past, work, answers, at, answers.log.bits[donor] & answers.kept, -1)
    if place < 0:
        return
    for value in range(len(past.values)):
        past.values[value, place] = answers.log.values[value, donor]
    past.values[answers.value, place] = price
    if journey[m.J_EVENT] >= 0:  # what the mail was about
        for k in range(len(past.keys)):
            past.keys[k, place] = past.keys[k, journey[m.J_EVENT]]
        _copy(past.key_places, place, past.key_places, journey[m.J_EVENT])
    own[N_CAUSED] += counts
    own[N_CAUSED_MONEY] += counts * money
    if offer:
        own[N_DISCOUNT] += counts * int(_worth(rates, price) * MILLION + 0.5)


@kernel
def respond(plan: Plan, past: Past, work: Work, out: Out, answers: Answers, first: int, now: int) -> None:
    """Let the customer answer the mails decided since a place in the decisions."""
    for decision in range(first, work.n[m.N_DECISIONS]):
        if out.decisions[decision, m.D_STATUS] == m.STATUS_SEND and not work.n[m.N_FULL]:
            _answer(plan, past, work, out, answers, decision, now)
