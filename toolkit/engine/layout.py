"""How the compiled program and the log lie in memory: the words that the compiler, the kernel and the reports share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.engine.zones import Zones

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

NEVER = np.iinfo(np.int64).max
"""Later than any moment."""
NONE = np.iinfo(np.int64).min
"""No moment, no value."""

# Instructions, first column of Plan.ops ...............................................................................
OP_WAIT, OP_UNTIL, OP_WAIT_FOR, OP_SEND, OP_BRANCH, OP_SPLIT, OP_JUMP, OP_EXIT, OP_END = range(9)
# Columns of Plan.ops. Their meaning by instruction:
#   wait      A days, B microseconds
#   until     A minute of the day, B weekdays as bits (Monday first)
#   wait_for  A days, B microseconds, C bit, D 1 when counted since entry, E where to go on when it came in time,
#             F where when not, G key index or -1
#   send      A index of the send, B coupon pool or -1, C 1 to send without the offer when the pool is empty
#   branch    A start of the condition, E where to go on when true, F where when false
#   split     A index of the split, B first row in Plan.jumps
#   jump      A where to
CODE, A, B, C, D, E, F, G, ONLY, SKIP = range(10)
OP_COLUMNS = 16  # some columns stand empty where a row is found faster if its length is a power of two

# Parts of conditions, in reverse Polish order .........................................................................
COND_END, COND_ATTRIBUTE, COND_TRIGGER, COND_HAPPENED, COND_NOT, COND_AND, COND_OR = range(7)

# Columns of Plan.scenarios ............................................................................................
(
    S_START,
    S_MARKETING,
    S_TRIGGER,
    S_TRIGGER_BIT,
    S_SINCE_BIT,
    S_DAYS,
    S_MICROS,
    S_MINUTE,
    S_DATE,
    S_VALUE,
    S_GAP,
    S_AUDIENCE,
    S_REENTRY,
    S_AFTER_DAYS,
    S_AFTER_MICROS,
    S_FROM_EXIT,
    S_ACTIVE,
    S_MAX_AGE,
    S_KEY,
    S_QUIET,
    S_QUIET_FROM,
    S_QUIET_TO,
    S_QUIET_SPREAD,
    S_CAPS,
    S_CAPS_END,
    S_SPLIT,
    S_HOLDOUT,
    S_STARTS,
    S_STARTS_LATER,
    S_WAITS_FOR,
    S_GOAL_BIT,
    S_LOGGED_BIT,
) = range(32)
SCENARIO_COLUMNS = 32
TRIGGER_EVENT, TRIGGER_DATE, TRIGGER_DATE_ONCE, TRIGGER_INACTIVE, TRIGGER_CYCLE, TRIGGER_SCHEDULE = range(6)
# Columns of Plan.origins: how the ids of journeys that no event began are made, for splits whose unit they are. Places
# in Plan.origin_texts of what stands before the customer and after the key, and the row of Past.key_places or -1.
O_BEFORE, O_BEFORE_END, O_AFTER, O_AFTER_END, O_KEY = range(5)
ORIGIN_COLUMNS = 5
KINDS = ("event", "date", "date", "inactive", "cycle", "schedule")
"""The word for each trigger in the ids of its journeys."""
SEPARATOR = "\x1f"
"""Between the parts of an id."""
REENTRY_ONCE, REENTRY_EVERY, REENTRY_AFTER = range(3)
ACTIVE_IGNORE, ACTIVE_RESTART, ACTIVE_PARALLEL = range(3)

# Columns of Plan.caps .................................................................................................
CAP_LIMIT, CAP_PER, CAP_SCENARIO, CAP_ON_HIT = range(4)
CAP_COLUMNS = 4
HIT_SKIP, HIT_POSTPONE, HIT_EXIT = range(3)

# Columns of Plan.exits ................................................................................................
EXIT_SCENARIO, EXIT_BIT, EXIT_MATCH = range(3)
EXIT_COLUMNS = 3

# Attribute bits that every program has ................................................................................
BIT_CONSENT, BIT_ADDRESS = 0, 1

# Results ..............................................................................................................
(J_SCENARIO, J_CUSTOMER, J_ARM, J_ENTERED, J_TRIGGER, J_EVENT, J_ENDED, J_ENDED_BY, J_SENDS, J_KEY) = range(10)
JOURNEY_COLUMNS = 10
D_JOURNEY, D_SEND, D_DUE, D_AT, D_STATUS, D_REASON, D_PLAIN = range(7)
DECISION_COLUMNS = 7
STATUS_SEND, STATUS_WITHHELD, STATUS_SKIPPED = range(3)  # places in tables.STATUSES
END_FINISHED, END_EXITED, END_SUPERSEDED, END_UNSUBSCRIBED, END_OPEN = range(5)  # places in tables.ENDINGS
(
    WHY_NO_ADDRESS,
    WHY_SUPPRESSED,
    WHY_UNSUBSCRIBED,
    WHY_EXITED,
    WHY_QUIET,
    WHY_CAP,
    WHY_HOLDOUT,
    WHY_SUPERSEDED,
    WHY_COUPON,
) = range(9)  # places in tables.REASONS

MAX_BITS = 60
"""Different conditions on events that one program can hold, and conditions on attributes."""

HELD_AT_MOST = 72 * 3_600_000_000
"""A mail held by quiet hours or a cap leaves within 72 hours of its due time, or not at all (rules R15, R16)."""


class Plan(NamedTuple):
    """A compiled program. Scenarios are in the order of rule R17: priority, then name.

    learn_mask: bits of events that change what is known of a customer, beside facts. waits_for, synthetic, pooled:
    whether any scenario waits for an event, has a trigger that is none, or gives coupons; most programs do not, and are
    not asked at each instant.
    """

    ops: Ints
    jumps: Ints
    scenarios: Ints
    exits: Ints
    caps: Ints
    conditions: Ints
    arm_ends: Floats
    split_by_journey: Ints
    split_origin: Ints
    origins: Ints
    origin_texts: Bytes
    salts: Bytes
    salt_starts: Ints
    suffixes: Bytes
    suffix_starts: Ints
    moments: Ints
    moment_starts: Ints
    pool_until: Ints
    pool_rank: Ints
    pool_share: Ints
    exit_mask: int
    trigger_mask: int
    told_mask: int
    count_mask: int
    unsubscribe_mask: int
    bounce_bit: int
    logged_bit: int
    learn_mask: int
    waits_for: int
    synthetic: int
    pooled: int
    until: int


class Past(NamedTuple):
    """A marked log, and what the hashes say of its customers; see `toolkit.events.marks.Marked`."""

    starts: Ints
    at: Ints
    received: Ints
    bits: Ints
    fact: Ints
    fact_bits: Ints
    fact_zone: Ints
    keys: Ints
    key_counts: Ints
    values: Floats
    gaps: Ints
    key_places: Ints
    key_texts: Bytes
    longest_key: int
    attribute_bits: Ints
    dates: Ints
    zone: Ints
    zones: Zones
    rank: Ints
    known_from: Ints
    names: Bytes
    name_starts: Ints
    longest_name: int
    journey_shares: Floats
    arm_shares: Floats
    spread_shares: Floats
    first: int


class Work(NamedTuple):
    """Scratch memory of one walk over customers."""

    n: Ints
    journeys: Ints
    slots: Ints
    slot_base: Ints
    heap: Ints
    synthetic: Ints
    sends: Ints
    counts: Ints
    reserved: Ints
    chosen: Ints
    message: Bytes
    state: Ints


class Out(NamedTuple):
    """What the walk decided: one row per journey, one per decision."""

    journeys: Ints
    decisions: Ints


# Columns of Work.journeys: the journeys of the customer at hand .......................................................
(
    W_OUT,
    W_SCENARIO,
    W_SLOT,
    W_PC,
    W_MODE,
    W_BASE,
    W_GATE_DUE,
    W_ARM,
    W_EVENT,
    W_SEEN,
    W_WITHHELD,
    W_VERSION,
    W_NEXT,
    W_BEFORE,
) = range(14)
WORK_COLUMNS = 16  # two stand empty
MODE_ENDED, MODE_WAIT, MODE_WAIT_FOR, MODE_HELD, MODE_RUNNING = range(5)
# Columns of Work.slots: one slot per scenario and key value of the customer
T_HEAD, T_ENTERED, T_ENDED, T_SYNTHETIC, T_LAST = range(5)
SLOT_COLUMNS = 8  # three stand empty
# Columns of the two heaps: due, order, what, version
H_DUE, H_ORDER, H_WHAT, H_VERSION = range(4)
HEAP_COLUMNS = 4
# Columns of Work.sends: the marketing mails that fill caps, in the order in which they went
SENT_AT, SENT_SCENARIO, SENT_SHARED = range(3)
SENT_COLUMNS = 3
# Places in Work.n
(
    N_JOURNEYS,
    N_DECISIONS,
    N_LOCAL,
    N_HEAP,
    N_SYNTHETIC,
    N_SENDS,
    N_FULL,
    N_SEEN,
    N_ATTRIBUTES,
    N_SUPPRESSED,
    N_CUSTOMER,
    N_FIRST,
    N_ZONE,
    N_DATES,
    N_STOP,
    N_OFFSET,
    N_OFFSET_ZONE,
    N_OFFSET_FROM,
    N_OFFSET_UNTIL,
    N_CHOSEN,
    N_TURN,
    N_EVENT,
    N_SCENARIO,
    N_ARRIVES,
    N_ANSWERED,
    N_FREE,
) = range(26)
N_PLACES = 26
FULL_JOURNEYS, FULL_DECISIONS, FULL_WORK = 1, 2, 3  # what ran out, in N_FULL
