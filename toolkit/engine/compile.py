"""A program and the names of a log in, arrays for the kernel out: instructions, bits, durations, limits.

Compiling takes a few milliseconds, so a sweep compiles each setting anew; settings that only move numbers ask the log
the same question (`Marking`) and share its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np

from toolkit.engine import layout as m
from toolkit.engine.layout import Plan
from toolkit.errors import Fault, ScenarioError
from toolkit.events.marks import Mark, Marking
from toolkit.scenario.base import Condition, History
from toolkit.scenario.duration import Duration
from toolkit.scenario.expression import ATTRIBUTES, EVENT_COLUMNS, Expression
from toolkit.scenario.models import (
    Branch,
    CycleTrigger,
    DateTrigger,
    EventTrigger,
    ExitStep,
    Experiment,
    InactiveTrigger,
    Median,
    Offer,
    Program,
    ReentryAfter,
    Repeat,
    Scenario,
    ScheduleTrigger,
    Send,
    Split,
    Step,
    Wait,
    WaitFor,
    WaitUntil,
)

__all__ = ["ANSWERS", "Assumed", "Assumption", "Compiled", "CompiledSend", "compile_program"]

Assumption = Literal["never", "as_logged"]
Assumed = Assumption | Literal["modelled"]
ANSWERS = ("email_opened", "email_clicked")
"""Events that are answers to the mails of a scenario; a replay does not know them (rule R22)."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HIT = {"skip": m.HIT_SKIP, "postpone": m.HIT_POSTPONE, "exit": m.HIT_EXIT}
_ACTIVE = {"ignore": m.ACTIVE_IGNORE, "restart": m.ACTIVE_RESTART, "parallel": m.ACTIVE_PARALLEL}


@dataclass(frozen=True, slots=True)
class CompiledSend:
    """One send gate of the program; inside a repeat the step's name carries `#` and the round."""

    scenario: str
    step: str
    template: str
    offer: Offer | None
    arms: tuple[str, ...]


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


@dataclass
class _Compiler:
    program: Program
    attributes: Mapping[str, str]
    properties: Mapping[str, str]
    assume: Assumed | None
    has_event_ids: bool = False
    marks: dict[Mark, int] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    dates: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    gaps: dict[tuple[int, int], int] = field(default_factory=dict)
    ops: list[list[int]] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)
    conditions: list[tuple[int, ...]] = field(default_factory=list)
    splits: list[Experiment] = field(default_factory=list)
    split_owners: list[int] = field(default_factory=list)
    place: int = 0
    sends: list[CompiledSend] = field(default_factory=list)
    pools: dict[str, int] = field(default_factory=dict)
    count_mask: int = 0
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    scenario: Scenario = field(init=False)

    # Bits ....................................................................................................

    def bit(self, event: str, where: str | None) -> int:
        if event in ANSWERS:
            if self.assume is None:
                raise ScenarioError(
                    f"{self.scenario.scenario}: what happens depends on {event!r}, and a replay does not know how "
                    "people would have answered mails they never got; pass assume='never' (nobody answers) or "
                    "assume='as_logged' (the answers in the log count), or simulate with a response model"
                )
            if self.assume == "never":
                return self.marks.setdefault(Mark(event, "FALSE"), len(self.marks))
        columns = {name: kind for name, kind in EVENT_COLUMNS.items() if name != "event_id" or self.has_event_ids}
        columns |= self.properties
        sql = None if where is None else Expression.parse(where, columns=columns).sql
        return self.marks.setdefault(Mark(event, sql), len(self.marks))

    def attribute(self, where: str) -> int:
        sql = Expression.parse(where, columns={**ATTRIBUTES, **self.attributes}).sql
        return self.facts.setdefault(sql, len(self.facts))

    def history(self, past: History) -> tuple[int, int, int, int]:
        bit = self.bit(past.event, past.where)
        within = m.NEVER if past.within is None else past.within.elapsed
        if within == m.NEVER:
            self.count_mask |= 1 << bit
        return (m.COND_HAPPENED, bit, within, past.at_least)

    def condition(self, condition: Condition) -> int:
        start = len(self.conditions)
        parts = self._parts(condition)
        self.conditions += [*parts, (m.COND_END, 0, 0, 0)]
        return start

    def _parts(self, condition: Condition) -> list[tuple[int, int, int, int]]:
        terms: list[list[tuple[int, int, int, int]]] = []
        if condition.where is not None:
            terms.append([(m.COND_ATTRIBUTE, self.attribute(condition.where), 0, 0)])
        if condition.trigger is not None:
            event = _trigger_event(self.scenario)
            if event is None:
                raise ScenarioError(
                    f"{self.scenario.scenario}: a condition on the trigger's properties needs a trigger with an event"
                )
            where = condition.trigger
            own = self.scenario.trigger
            if isinstance(own, InactiveTrigger) and own.since == own.inactive and own.where:
                # Silence counted from the event `since` has no event of its own, even where both bear one name.
                where = f"({own.where}) AND ({where})"
            terms.append([(m.COND_TRIGGER, self.bit(event, where), 0, 0)])
        terms += [[self.history(past)] for past in condition.happened]
        terms += [[self.history(past), (m.COND_NOT, 0, 0, 0)] for past in condition.not_happened]
        if condition.any_:
            terms.append(_joined([self._parts(one) for one in condition.any_], m.COND_OR))
        return _joined(terms, m.COND_AND)

    # Steps ...................................................................................................

    def emit(self, code: int, **columns: int) -> list[int]:
        row = [0] * m.OP_COLUMNS
        row[m.CODE] = code
        for name, value in columns.items():
            row[getattr(m, name.upper())] = value
        self.ops.append(row)
        return row

    def steps(self, steps: Iterable[Step], suffix: str) -> None:
        for step in steps:
            first = len(self.ops)
            self.step(step, suffix)
            if step.only:
                arms = self.arm_names()
                self.ops[first][m.ONLY] = sum(1 << arms.index(arm) for arm in step.only)
                self.ops[first][m.SKIP] = len(self.ops)

    def arm_names(self) -> tuple[str, ...]:
        return tuple(self.scenario.experiment.arms) if self.scenario.experiment else ()

    def step(self, step: Step, suffix: str) -> None:
        if isinstance(step, Wait):
            if isinstance(step.wait, WaitUntil):
                days = sum(1 << WEEKDAYS.index(day) for day in step.wait.on or WEEKDAYS)
                self.emit(m.OP_UNTIL, a=step.wait.until.minutes, b=days)
            else:
                self.emit(m.OP_WAIT, a=step.wait.days, b=step.wait.microseconds)
        elif isinstance(step, Send):
            self.send(step, suffix)
        elif isinstance(step, WaitFor):
            spec = step.wait_for
            row = self.emit(
                m.OP_WAIT_FOR,
                a=spec.within.days,
                b=spec.within.microseconds,
                c=self.bit(spec.event, spec.where),
                d=int(spec.since == "entry"),
                g=-1 if spec.match is None else self.key(spec.match),
            )
            self.either(row, step.then, step.else_, suffix)
        elif isinstance(step, Branch):
            row = self.emit(m.OP_BRANCH, a=self.condition(step.branch))
            self.either(row, step.then, step.else_, suffix)
        elif isinstance(step, Split):
            self.split(step, suffix)
        elif isinstance(step, Repeat):
            self.emit(m.OP_JUMP, a=len(self.ops) + 1)
            for turn in range(1, step.repeat + 1):
                self.steps(step.steps, f"{suffix}#{turn}")
        elif isinstance(step, ExitStep):
            self.emit(m.OP_EXIT)

    def send(self, step: Send, suffix: str) -> None:
        pool = -1
        if step.offer and step.offer.pool:
            pool = self.pools.setdefault(step.offer.pool, len(self.pools))
        plain = int(step.offer is not None and step.offer.on_empty == "send_without")
        self.emit(m.OP_SEND, a=len(self.sends), b=pool, c=plain)
        name = f"{step.id or step.send}{suffix}"
        self.sends.append(CompiledSend(self.scenario.scenario, name, step.send, step.offer, step.only))

    def either(self, row: list[int], then: tuple[Step, ...], other: tuple[Step, ...], suffix: str) -> None:
        row[m.E] = len(self.ops)
        self.steps(then, suffix)
        jump = self.emit(m.OP_JUMP)
        row[m.F] = len(self.ops)
        self.steps(other, suffix)
        jump[m.A] = len(self.ops)

    def split(self, step: Split, suffix: str) -> None:
        start = len(self.jumps)
        self.jumps += [0] * len(step.split.arms)
        self.emit(m.OP_SPLIT, a=self.arms_of(step.split), b=start)
        ends = []
        for place, arm in enumerate(step.split.arms):
            self.jumps[start + place] = len(self.ops)
            self.steps(step.paths.get(arm, ()), suffix)
            ends.append(self.emit(m.OP_JUMP))
        for jump in ends:
            jump[m.A] = len(self.ops)

    def arms_of(self, experiment: Experiment) -> int:
        self.splits.append(experiment)
        self.split_owners.append(self.place)
        return len(self.splits) - 1

    def key(self, name: str) -> int:
        if name not in self.properties:
            raise ScenarioError([Fault("unknown property", path=f"{self.scenario.scenario}.key", found=name)])
        return self.keys.setdefault(name, len(self.keys))

    def value(self, name: str) -> int:
        return self.values.setdefault(name, len(self.values))

    def gap(self, bit: int, median: str) -> int:
        group = -1 if median == "customer" else self.groups.setdefault(median, len(self.groups))
        return self.gaps.setdefault((bit, group), len(self.gaps))

    # Scenarios ...............................................................................................

    def trigger(self, row: list[int], scenario: Scenario, moments: list[list[int]], span: tuple[int, int]) -> None:
        trigger = scenario.trigger
        row[m.S_TRIGGER_BIT] = row[m.S_SINCE_BIT] = row[m.S_VALUE] = row[m.S_GAP] = row[m.S_DATE] = -1
        if isinstance(trigger, EventTrigger):
            row[m.S_TRIGGER] = m.TRIGGER_EVENT
            row[m.S_TRIGGER_BIT] = self.bit(trigger.event, trigger.where)
        elif isinstance(trigger, DateTrigger):
            row[m.S_TRIGGER] = m.TRIGGER_DATE if trigger.every == "year" else m.TRIGGER_DATE_ONCE
            row[m.S_DATE] = self.dates.setdefault(trigger.date, len(self.dates))
            row[m.S_DAYS], row[m.S_MICROS] = trigger.offset.days, trigger.offset.microseconds
            row[m.S_MINUTE] = trigger.at.minutes
        elif isinstance(trigger, InactiveTrigger):
            row[m.S_TRIGGER] = m.TRIGGER_INACTIVE
            row[m.S_TRIGGER_BIT] = self.bit(trigger.inactive, trigger.where)
            if trigger.since:
                row[m.S_SINCE_BIT] = self.bit(trigger.since, None)
            row[m.S_DAYS], row[m.S_MICROS] = trigger.for_.days, trigger.for_.microseconds
        elif isinstance(trigger, CycleTrigger):
            row[m.S_TRIGGER] = m.TRIGGER_CYCLE
            row[m.S_TRIGGER_BIT] = self.bit(trigger.cycle, trigger.where)
            if isinstance(trigger.after, Duration):
                row[m.S_DAYS], row[m.S_MICROS] = trigger.after.days, trigger.after.microseconds
            elif isinstance(trigger.after, Median):
                row[m.S_GAP] = self.gap(row[m.S_TRIGGER_BIT], trigger.after.median)
            else:
                row[m.S_VALUE] = self.value(trigger.after)
        else:
            row[m.S_TRIGGER] = m.TRIGGER_SCHEDULE
            row[m.S_DATE] = len(moments)
            moments.append(_moments(trigger, span))

    def compile_scenario(self, scenario: Scenario, moments: list[list[int]], span: tuple[int, int]) -> list[int]:
        self.scenario = scenario
        policies = self.program.policies
        row = [0] * m.SCENARIO_COLUMNS
        marketing = scenario.class_ == "marketing"
        row[m.S_MARKETING] = int(marketing)
        self.trigger(row, scenario, moments, span)
        row[m.S_KEY] = -1 if scenario.key is None else self.key(scenario.key)
        row[m.S_AUDIENCE] = -1 if scenario.audience is None else self.condition(scenario.audience)
        reentry = scenario.reentry
        if isinstance(reentry, ReentryAfter):
            row[m.S_REENTRY] = m.REENTRY_AFTER
            row[m.S_AFTER_DAYS], row[m.S_AFTER_MICROS] = reentry.after.days, reentry.after.microseconds
            row[m.S_FROM_EXIT] = int(reentry.from_ == "exit")
        else:
            row[m.S_REENTRY] = m.REENTRY_ONCE if reentry == "once" else m.REENTRY_EVERY
        row[m.S_ACTIVE] = _ACTIVE[scenario.while_active]
        row[m.S_MAX_AGE] = scenario.max_age.elapsed
        quiet = scenario.quiet or policies.quiet
        if quiet and marketing:
            row[m.S_QUIET] = 1
            row[m.S_QUIET_FROM], row[m.S_QUIET_TO] = quiet.from_.minutes, quiet.to.minutes
            row[m.S_QUIET_SPREAD] = quiet.spread.elapsed
        row[m.S_SPLIT] = row[m.S_HOLDOUT] = -1
        if scenario.experiment:
            row[m.S_SPLIT] = self.arms_of(scenario.experiment)
            if scenario.experiment.holdout:
                row[m.S_HOLDOUT] = self.arm_names().index(scenario.experiment.holdout)
        row[m.S_START] = len(self.ops)
        self.steps(scenario.steps, "")
        self.emit(m.OP_END)
        is_event = row[m.S_TRIGGER] == m.TRIGGER_EVENT
        row[m.S_STARTS] = 1 << row[m.S_TRIGGER_BIT] if is_event else 0
        row[m.S_WAITS_FOR] = int(any(op[m.CODE] == m.OP_WAIT_FOR for op in self.ops[row[m.S_START] :]))
        row[m.S_GOAL_BIT] = -1
        if scenario.goal:
            row[m.S_GOAL_BIT] = self.bit(scenario.goal.event, scenario.goal.where)
        return row


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
    compiler = _Compiler(program, attributes, properties, assume, has_event_ids)
    compiler.facts = {
        "COALESCE(consent, FALSE)": m.BIT_CONSENT,
        "COALESCE(email, '') <> ''" if "email" in attributes else "TRUE": m.BIT_ADDRESS,
    }
    scenarios = tuple(sorted(program.scenarios, key=lambda s: (-s.priority, s.scenario)))
    moments: list[list[int]] = []
    rows: list[list[int]] = []
    exits: list[tuple[int, ...]] = []
    caps: list[tuple[int, ...]] = []
    goal_values, arms = [], []
    for place, scenario in enumerate(scenarios):
        compiler.place = place
        row = compiler.compile_scenario(scenario, moments, (first, until))
        for one in scenario.exit_on:
            match = -1 if one.match is None else compiler.key(one.match)
            exits.append((place, compiler.bit(one.event, one.where), match))
        row[m.S_CAPS] = len(caps)
        if scenario.class_ == "marketing":
            caps += [
                (cap.limit, cap.per.elapsed, int(cap.scope == "scenario"), _HIT[cap.on_hit])
                for cap in (*program.policies.caps, *scenario.caps)
            ]
        row[m.S_CAPS_END] = len(caps)
        value = scenario.goal.value if scenario.goal else None
        goal_values.append(-1 if value is None or value not in properties else compiler.value(value))
        arms.append(compiler.arm_names())
        row[m.S_LOGGED_BIT] = -1
        if count_logged_sends and scenario.class_ == "marketing" and properties.get("scenario") == "text":
            row[m.S_LOGGED_BIT] = compiler.bit("email_sent", f"scenario = '{scenario.scenario}'")
        rows.append(row)
        compiler.asked.append((scenario.scenario, len(compiler.marks), len(compiler.facts)))
    starts = 0
    for row in reversed(rows):
        row[m.S_STARTS_LATER] = starts
        starts |= row[m.S_STARTS]
    unsubscribe, bounce, logged = _delivery_bits(compiler, scenarios, count_logged_sends)
    _check_room(compiler)
    suffixes = tuple(f":{send.scenario}:{send.step}" for send in compiler.sends)
    salts = tuple(f"{split.name}:" for split in compiler.splits)
    told = [row for row in rows if row[m.S_TRIGGER] in (m.TRIGGER_INACTIVE, m.TRIGGER_CYCLE)]
    told_mask = _mask(bit for row in told for bit in (row[m.S_TRIGGER_BIT], row[m.S_SINCE_BIT]) if bit >= 0)
    delivery = [bounce, logged, *(row[m.S_LOGGED_BIT] for row in rows)]
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
        exits=_table(exits, 3),
        caps=_table(caps, 4),
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
        exit_mask=_mask(row[m.EXIT_BIT] for row in exits),
        trigger_mask=starts,
        told_mask=told_mask,
        count_mask=compiler.count_mask,
        unsubscribe_mask=unsubscribe,
        bounce_bit=bounce,
        logged_bit=logged,
        learn_mask=told_mask | compiler.count_mask | _mask(bit for bit in delivery if bit >= 0),
        waits_for=int(any(row[m.S_WAITS_FOR] for row in rows)),
        synthetic=int(any(row[m.S_TRIGGER] != m.TRIGGER_EVENT for row in rows)),
        until=until,
    )
    marking = Marking(
        marks=tuple(compiler.marks),
        attributes=tuple(compiler.facts),
        keys=tuple(compiler.keys),
        values=tuple(compiler.values),
        dates=tuple(compiler.dates),
        groups=tuple(compiler.groups),
        everyone=any(isinstance(s.trigger, DateTrigger | ScheduleTrigger) for s in scenarios),
        heard=any(isinstance(s.trigger, ScheduleTrigger) for s in scenarios),
    )
    return Compiled(
        scenarios=scenarios,
        marking=marking,
        plan=plan,
        sends=tuple(compiler.sends),
        arms=tuple(arms),
        salts=salts,
        suffixes=suffixes,
        goal_values=tuple(goal_values),
        scenario_of_split=tuple(compiler.split_owners),
        gaps=tuple(compiler.gaps),
        keyed=tuple(keyed),
        pools=tuple((name, _pool_size(program, name)) for name in compiler.pools),
    )


def _joined(terms: Sequence[list[tuple[int, int, int, int]]], code: int) -> list[tuple[int, int, int, int]]:
    """Terms joined one by one: the kernel keeps open results in one word, so that few may be open at a time."""
    parts: list[tuple[int, int, int, int]] = []
    for place, term in enumerate(terms):
        parts += term + [(code, 0, 0, 0)] * (place > 0)
    return parts


def _origins(
    compiler: _Compiler, scenarios: Sequence[Scenario], rows: Sequence[Sequence[int]]
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
    compiler: _Compiler, scenarios: tuple[Scenario, ...], count_logged_sends: bool
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


def _check_room(compiler: _Compiler) -> None:
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


def _pool_size(program: Program, name: str) -> int:
    pool = program.policies.pools.get(name)
    if pool is None or pool.size is None:
        raise ScenarioError(
            [
                Fault(
                    "how many coupons are there?",
                    path=f"policies.pools.{name}.size",
                    found=pool and pool.file,
                    allowed="a whole number; with a file, the number of its codes",
                )
            ]
        )
    return pool.size


def _trigger_event(scenario: Scenario) -> str | None:
    trigger = scenario.trigger
    if isinstance(trigger, EventTrigger):
        return trigger.event
    if isinstance(trigger, InactiveTrigger):
        return trigger.inactive
    return trigger.cycle if isinstance(trigger, CycleTrigger) else None


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


def _moments(trigger: ScheduleTrigger, span: tuple[int, int]) -> list[int]:
    """Local clock times of a schedule, as microseconds since 1970 on that clock, around the span."""
    epoch = date(1970, 1, 1)
    low, high = (datetime.fromtimestamp(moment // 1_000_000, UTC).date() for moment in span)
    day, last = low - timedelta(days=2), high + timedelta(days=2)
    if trigger.from_:
        day = max(day, date.fromisoformat(trigger.from_))
    if trigger.to:
        last = min(last, date.fromisoformat(trigger.to))
    found = []
    while day <= last:
        if _falls_on(trigger, day):
            found.append(((day - epoch).days * 1440 + trigger.at.minutes) * 60_000_000)
            if trigger.schedule == "once":
                break
        day += timedelta(days=1)
    return found


def _falls_on(trigger: ScheduleTrigger, day: date) -> bool:
    if trigger.schedule == "once":
        return trigger.from_ is None or day == date.fromisoformat(trigger.from_)
    if trigger.schedule == "month":
        wanted = trigger.day or 1
        last = ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day
        return day.day == min(wanted, last)
    return not trigger.on or WEEKDAYS[day.weekday()] in trigger.on
