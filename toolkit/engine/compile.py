"""A program and the names of a log in, arrays for the kernel out: instructions, bits, durations, limits.

Compiling takes a few milliseconds, so a sweep compiles each setting anew; settings that only move numbers ask the log
the same question (`Marking`) and share its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.instructions import Assumed, CompiledSend, Instructions
from toolkit.engine.layout import Plan
from toolkit.errors import Fault, ScenarioError
from toolkit.events.marks import Mark, Marking
from toolkit.scenario.models import DateTrigger, EventTrigger, Experiment, Program, Scenario, ScheduleTrigger

__all__ = ["Compiled", "compile_program"]

_HIT = {"skip": m.HIT_SKIP, "postpone": m.HIT_POSTPONE, "exit": m.HIT_EXIT}


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A program in arrays; scenarios in the order of rule R17.

    gaps: rows of `Past.gaps`, each a bit and a group of `Marked.groups` (-1 for each customer). keyed: rows of
    `Past.key_places` by two, each a scenario whose journeys are drawn by ids that hold a key.
    """

    scenarios: tuple[Scenario, ...]
    marking: Marking
    plan: Plan
    sends: tuple[CompiledSend, ...]
    arms: tuple[tuple[str, ...], ...]
    salts: tuple[str, ...]
    suffixes: tuple[str, ...]
    goal_values: tuple[int, ...]
    scenario_of_split: tuple[int, ...]
    gaps: tuple[tuple[int, int], ...]
    keyed: tuple[int, ...]
    pools: tuple[tuple[str, int], ...]


def compile_program(
    program: Program,
    *,
    attributes: Mapping[str, str],
    properties: Mapping[str, str],
    first: int,
    until: int,
    assume: Assumed | None = None,
    count_logged_sends: bool = False,
    has_event_ids: bool = False,
) -> Compiled:
    """The program in arrays.

    Args:
        program: scenarios and policies, already checked.
        attributes: columns of the customers table, name to kind.
        properties: property columns of the log, name to kind.
        first: first moment of the log, UTC microseconds.
        until: last moment that is decided, UTC microseconds.
        assume: what a scenario that waits for opens or clicks is told of them (rule R22); with `modelled` they are
            those that a response model draws.
        count_logged_sends: whether mails in the log fill caps (rule R16).
        has_event_ids: whether conditions can read the event_id.

    Returns:
        Arrays and the question to the log.

    Raises:
        ScenarioError: a scenario depends on answers to its mails and `assume` is not given; more conditions than the
            engine holds.
    """
    compiler = Instructions(program, attributes, properties, assume, has_event_ids)
    compiler.facts = {
        "COALESCE(consent, FALSE)": m.BIT_CONSENT,
        "COALESCE(email, '') <> ''" if "email" in attributes else "TRUE": m.BIT_ADDRESS,
    }
    scenarios = tuple(sorted(program.scenarios, key=lambda s: (-s.priority, s.scenario)))
    tables = _tables(compiler, program, scenarios, (first, until), count_logged_sends)
    delivery = _delivery_bits(compiler, scenarios, count_logged_sends)
    _check_room(compiler)
    salts = tuple(f"{split.name}:" for split in compiler.splits)
    suffixes = tuple(f":{send.scenario}:{send.step}" for send in compiler.sends)
    plan, keyed = _plan(compiler, scenarios, tables, delivery, salts=salts, suffixes=suffixes, until=until)
    return Compiled(
        scenarios=scenarios,
        marking=_marking(compiler, scenarios),
        plan=plan,
        sends=tuple(compiler.sends),
        arms=tuple(tables.arms),
        salts=salts,
        suffixes=suffixes,
        goal_values=tuple(tables.goal_values),
        scenario_of_split=tuple(compiler.split_owners),
        gaps=tuple(compiler.gaps),
        keyed=tuple(keyed),
        pools=tuple((name, program.policies.pools[name].size or 0) for name in compiler.pools),
    )


class _Tables(NamedTuple):
    """Rows of the plan's tables, and what a scenario has beside them, in the order of the scenarios."""

    rows: list[list[int]]
    exits: list[tuple[int, ...]]
    caps: list[tuple[int, ...]]
    moments: list[list[int]]
    goal_values: list[int]
    arms: list[tuple[str, ...]]


def _tables(
    compiler: Instructions,
    program: Program,
    scenarios: tuple[Scenario, ...],
    span: tuple[int, int],
    count_logged_sends: bool,
) -> _Tables:
    """Each scenario's instructions, exits, caps and goal, one scenario after the other."""
    properties = compiler.properties
    tables = _Tables([], [], [], [], [], [])
    for place, scenario in enumerate(scenarios):
        compiler.place = place
        row = compiler.compile_scenario(scenario, tables.moments, span)
        for one in scenario.exit_on:
            match = -1 if one.match is None else compiler.key(one.match)
            tables.exits.append((place, compiler.bit(one.event, one.where), match))
        row[m.S_CAPS] = len(tables.caps)
        if scenario.class_ == "marketing":
            tables.caps.extend(
                (cap.limit, cap.per.elapsed, int(cap.scope == "scenario"), _HIT[cap.on_hit])
                for cap in (*program.policies.caps, *scenario.caps)
            )
        row[m.S_CAPS_END] = len(tables.caps)
        value = scenario.goal.value if scenario.goal else None
        tables.goal_values.append(-1 if value is None or value not in properties else compiler.value(value))
        tables.arms.append(compiler.arm_names())
        row[m.S_LOGGED_BIT] = -1
        if count_logged_sends and scenario.class_ == "marketing" and properties.get("scenario") == "text":
            row[m.S_LOGGED_BIT] = compiler.bit("email_sent", f"scenario = '{scenario.scenario}'")
        tables.rows.append(row)
        compiler.asked.append((scenario.scenario, len(compiler.marks), len(compiler.facts)))
    starts = 0
    for row in reversed(tables.rows):
        row[m.S_STARTS_LATER] = starts
        starts |= row[m.S_STARTS]
    return tables


def _plan(
    compiler: Instructions,
    scenarios: tuple[Scenario, ...],
    tables: _Tables,
    delivery: tuple[int, int, int],
    *,
    salts: Sequence[str],
    suffixes: Sequence[str],
    until: int,
) -> tuple[Plan, list[int]]:
    """The arrays of the kernel; and the scenarios whose journeys are told apart by a key where chance draws by them."""
    rows, moments = tables.rows, tables.moments
    unsubscribe, bounce, logged = delivery
    told = [row for row in rows if row[m.S_TRIGGER] in (m.TRIGGER_INACTIVE, m.TRIGGER_CYCLE)]
    told_mask = _mask(bit for row in told for bit in (row[m.S_TRIGGER_BIT], row[m.S_SINCE_BIT]) if bit >= 0)
    heard = [bounce, logged, *(row[m.S_LOGGED_BIT] for row in rows)]
    salt_bytes, salt_starts = _packed([*salts, "spread:"])
    suffix_bytes, suffix_starts = _packed(suffixes)
    by_journey = [
        index
        for index, split in enumerate(compiler.splits)
        if split.unit == "journey" and isinstance(scenarios[compiler.split_owners[index]].trigger, EventTrigger)
    ]
    split_origin, origins, origin_texts, keyed = _origins(compiler, scenarios, rows)
    plan = Plan(
        ops=_table(compiler.ops, m.OP_COLUMNS),
        jumps=np.array([*compiler.jumps, 0], dtype=np.int64),
        scenarios=_table(rows, m.SCENARIO_COLUMNS),
        exits=_table(tables.exits, m.EXIT_COLUMNS),
        caps=_table(tables.caps, m.CAP_COLUMNS),
        conditions=_table(compiler.conditions, 4),
        arm_ends=_arm_ends(compiler.splits),
        split_by_journey=np.array(
            [by_journey.index(i) if i in by_journey else -1 for i in range(len(compiler.splits))] or [-1],
            dtype=np.int64,
        ),
        split_origin=split_origin,
        origins=origins,
        origin_texts=origin_texts,
        salts=salt_bytes,
        salt_starts=salt_starts,
        suffixes=suffix_bytes,
        suffix_starts=suffix_starts,
        moments=np.array([moment for group in moments for moment in group] or [0], dtype=np.int64),
        moment_starts=np.cumsum([0, *(len(group) for group in moments)]).astype(np.int64),
        pool_until=np.full(max(1, len(compiler.pools)), m.NEVER, dtype=np.int64),
        pool_rank=np.zeros(max(1, len(compiler.pools)), dtype=np.int64),
        pool_share=np.zeros(max(1, len(compiler.pools)), dtype=np.int64),
        exit_mask=_mask(row[m.EXIT_BIT] for row in tables.exits),
        trigger_mask=reduce(or_, (row[m.S_STARTS] for row in rows), 0),
        told_mask=told_mask,
        count_mask=compiler.count_mask,
        unsubscribe_mask=unsubscribe,
        bounce_bit=bounce,
        logged_bit=logged,
        learn_mask=told_mask | compiler.count_mask | _mask(bit for bit in heard if bit >= 0),
        waits_for=int(any(row[m.S_WAITS_FOR] for row in rows)),
        synthetic=int(any(row[m.S_TRIGGER] != m.TRIGGER_EVENT for row in rows)),
        pooled=int(bool(compiler.pools)),
        until=until,
    )
    return plan, keyed


def _marking(compiler: Instructions, scenarios: tuple[Scenario, ...]) -> Marking:
    """What is asked of the log."""
    return Marking(
        marks=tuple(compiler.marks),
        attributes=tuple(compiler.facts),
        keys=tuple(compiler.keys),
        values=tuple(compiler.values),
        dates=tuple(compiler.dates),
        groups=tuple(compiler.groups),
        everyone=any(isinstance(s.trigger, DateTrigger | ScheduleTrigger) for s in scenarios),
        heard=any(isinstance(s.trigger, ScheduleTrigger) for s in scenarios),
    )


def _origins(
    compiler: Instructions, scenarios: Sequence[Scenario], rows: Sequence[Sequence[int]]
) -> tuple[m.Ints, m.Ints, m.Bytes, list[int]]:
    """How the ids of journeys that no event began are made, for the splits that draw by them (rule R13)."""
    of_split = np.full(max(1, len(compiler.splits)), -1, dtype=np.int64)
    texts: list[str] = []
    keyed: list[int] = []
    for split, place in enumerate(compiler.split_owners):
        scenario = scenarios[place]
        if compiler.splits[split].unit == "customer" or isinstance(scenario.trigger, EventTrigger):
            continue
        of_split[split] = len(texts) // 2
        texts += [f"{scenario.scenario}{m.SEPARATOR}", f"{m.SEPARATOR}{m.KINDS[rows[place][m.S_TRIGGER]]}@"]
        keyed.append(-1 if scenario.key is None else place)
    packed, starts = _packed(texts)
    with_key = list(dict.fromkeys(place for place in keyed if place >= 0))
    origins = [
        (*starts[[2 * i, 2 * i + 1, 2 * i + 1, 2 * i + 2]], 2 * with_key.index(place) if place >= 0 else -1)
        for i, place in enumerate(keyed)
    ]
    return of_split, _table(origins, m.ORIGIN_COLUMNS), packed, with_key


def _delivery_bits(
    compiler: Instructions, scenarios: tuple[Scenario, ...], count_logged_sends: bool
) -> tuple[int, int, int]:
    """What providers report: unsubscribed (a mask), hard bounce, mails of the log that fill caps (R16, R18)."""
    marks = compiler.marks
    # A complaint is an unsubscribe in stronger words, to every provider and to the law.
    marks.setdefault(Mark("email_subscribed"), len(marks))
    gone = [marks.setdefault(Mark(name), len(marks)) for name in ("email_unsubscribed", "email_complained")]
    hard = "bounce_type = 'hard'" if "bounce_type" in compiler.properties else None
    bounce = marks.setdefault(Mark("email_bounced", hard), len(marks))
    logged = -1
    if count_logged_sends:
        service = [s.scenario for s in scenarios if s.class_ == "transactional"]
        where = None
        if service and compiler.properties.get("scenario") == "text":
            where = "scenario IS NULL OR scenario NOT IN (" + ", ".join(f"'{name}'" for name in service) + ")"
        logged = marks.setdefault(Mark("email_sent", where), len(marks))
    return _mask(gone), bounce, logged


def _check_room(compiler: Instructions) -> None:
    """Conditions become bits of a word, and there are only so many; the fault names the scenario that asks for most."""
    faults = []
    for kind, total, column in (("events", len(compiler.marks), 1), ("attributes", len(compiler.facts), 2)):
        if total <= m.MAX_BITS:
            continue
        before = 0
        added: dict[str, int] = {}
        for entry in compiler.asked:
            added[str(entry[0])], before = int(entry[column]) - before, int(entry[column])
        largest = max(added, key=lambda name: added[name])
        allowed = f"{m.MAX_BITS} in a program; replay fewer scenarios at once, or let them share conditions"
        message = f"more conditions on {kind} than the engine holds; {largest} alone adds {added[largest]}"
        faults.append(Fault(message, path=largest, found=total, allowed=allowed))
    if faults:
        raise ScenarioError(faults)


def _table(rows: Sequence[Sequence[int]], columns: int) -> m.Ints:
    return np.array(rows, dtype=np.int64).reshape(-1, columns) if rows else np.zeros((0, columns), dtype=np.int64)


def _mask(bits: Iterable[int]) -> int:
    mask = 0
    for bit in bits:
        mask |= 1 << bit
    return mask


def _packed(texts: Iterable[str]) -> tuple[m.Bytes, m.Ints]:
    encoded = [text.encode() for text in texts]
    starts = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return np.frombuffer(b"".join(encoded) or b"\0", dtype=np.uint8), starts


def _arm_ends(splits: list[Experiment]) -> m.Floats:
    """Upper ends of the arms' intervals of the share, in the order written; the last arm takes the rest (rule R13)."""
    widest = max((len(split.arms) for split in splits), default=1)
    ends = np.full((max(1, len(splits)), widest), np.inf)
    for place, split in enumerate(splits):
        shares = list(split.arms.values())
        ends[place, : len(shares) - 1] = np.cumsum(shares[:-1])
    return ends
