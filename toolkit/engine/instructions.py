"""Scenarios in, instructions for the kernel out; and what they ask of the log as they are written: bits, keys, values.

Scenarios of a program share what they ask: two conditions of the same words are one bit.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args

from toolkit.engine import layout as m
from toolkit.errors import Fault, ScenarioError
from toolkit.events.marks import Mark
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
    without_round,
)
from toolkit.tables import MAIL_EVENTS, MAIL_PROPERTIES

__all__ = ["ANSWERS", "ASSUMPTIONS", "Assumed", "Assumption", "CompiledSend", "Instructions", "event_columns"]

Assumption = Literal["never", "as_logged"]
ASSUMPTIONS: tuple[Assumption, ...] = get_args(Assumption)
Assumed = Assumption | Literal["modelled"]
ANSWERS = ("email_opened", "email_clicked")
"""Events that are answers to the mails of a scenario; a replay does not know them (rule R22)."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ACTIVE = {"ignore": m.ACTIVE_IGNORE, "restart": m.ACTIVE_RESTART, "parallel": m.ACTIVE_PARALLEL}


@dataclass(frozen=True, slots=True)
class CompiledSend:
    """One send gate of the program; inside a repeat the step's name carries `#` and the round."""

    scenario: str
    step: str
    template: str
    offer: Offer | None
    arms: tuple[str, ...]

    @property
    def step_id(self) -> str:
        """The step's id as it is written."""
        return without_round(self.step)


def event_columns(properties: Mapping[str, str], *, has_event_ids: bool) -> dict[str, str]:
    """The columns that a condition on events may name, and their kinds; event_id only where the log was given ids."""
    known = {name: kind for name, kind in EVENT_COLUMNS.items() if name != "event_id" or has_event_ids}
    return known | dict(properties)


@dataclass
class Instructions:
    """Those of a program so far, and what they ask of the log: of each kind of question the answers' places."""

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
        columns = event_columns(self.properties, has_event_ids=self.has_event_ids)
        known = {**MAIL_PROPERTIES, **columns} if event in MAIL_EVENTS else columns
        rule = None if where is None else Expression.parse(where, columns=known)
        sql = None if rule is None else rule.sql
        if rule is not None and not columns.keys() >= set(rule.columns):  # a log before its first mail: none is so
            sql = "FALSE"
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
                days = sum(1 << _WEEKDAYS.index(day) for day in step.wait.on or _WEEKDAYS)
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
        if step.offer and step.offer.pool and self.program.policies.pools[step.offer.pool].size is not None:
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
        quiet = self.program.quiet_of(scenario)
        if quiet:
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


def _joined(terms: Sequence[list[tuple[int, int, int, int]]], code: int) -> list[tuple[int, int, int, int]]:
    """Terms joined one by one: the kernel keeps open results in one word, so that few may be open at a time."""
    parts: list[tuple[int, int, int, int]] = []
    for place, term in enumerate(terms):
        parts += term + [(code, 0, 0, 0)] * (place > 0)
    return parts


def _trigger_event(scenario: Scenario) -> str | None:
    trigger = scenario.trigger
    if isinstance(trigger, EventTrigger):
        return trigger.event
    if isinstance(trigger, InactiveTrigger):
        return trigger.inactive
    return trigger.cycle if isinstance(trigger, CycleTrigger) else None


def _moments(trigger: ScheduleTrigger, span: tuple[int, int]) -> list[int]:
    """Local clock times of a schedule, as microseconds since 1970 on that clock, around the span."""
    epoch = date(1970, 1, 1)
    low, high = (datetime.fromtimestamp(moment // 1_000_000, UTC).date() for moment in span)
    two, three = timedelta(days=2), timedelta(days=3)  # zones are less than two days apart
    day, last = max(low, date.min + two) - two, min(high, date.max - three) + two
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
        _, last = monthrange(day.year, day.month)
        return day.day == min(wanted, last)
    return not trigger.on or _WEEKDAYS[day.weekday()] in trigger.on
