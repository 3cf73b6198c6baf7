"""The language, executed the plain way: one instant after another, one customer after another.

Written from the rules of meaning alone, to judge the engine by. Nothing here is fast, and nothing is shared with it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from tests.reference.calendar import HOUR, later, next_clock, to_datetime, to_moment, zone_of
from tests.reference.conditions import Conditions
from tests.reference.gate import Hold, Pass, Refuse, Sent, gate
from tests.reference.occasions import Cycle, Due, Silence, median_gap, next_date, next_schedule, offer_text
from tests.reference.records import Event, as_text, events_of, people_of
from toolkit.scenario import models as m
from toolkit.tables import DECISIONS, JOURNEYS

ANSWERS = ("email_opened", "email_clicked")
LONGEST_HOLD = 72 * HOUR


def share(salt: str, unit: str) -> float:
    """R13: a number in [0, 1) that depends on two texts only."""
    return int(hashlib.md5(f"{salt}:{unit}".encode()).hexdigest()[:13], 16) / 16**13


def arm_of(experiment: m.Experiment, unit: str) -> str:
    """R13: arms are intervals in the order written; the last one takes the rest."""
    u = share(experiment.name, unit)
    end = 0.0
    for arm, weight in experiment.arms.items():
        end += weight
        if u < end:
            return arm
    return list(experiment.arms)[-1]


@dataclass
class Waiting:
    """Where a journey stands still: until a moment, perhaps for an event, perhaps with a mail in hand."""

    step: int
    until: int
    wanted: m.WaitForEvent | None = None
    held: tuple[m.Send, str, int] | None = None


@dataclass
class Journey:
    """One passage of a customer through a scenario."""

    id: str
    scenario: m.Scenario
    customer: str
    key: str | None
    entered: int
    trigger_at: int
    trigger: Event | None
    arm: str | None = None
    base: int = 0
    sends: int = 0
    withheld: int = 0
    ended: int | None = None
    ended_by: str = "open"
    waiting: Waiting | None = None
    walk: Generator[Waiting, bool, None] | None = None


@dataclass
class Person:
    """What is known of a customer, and what was done."""

    id: str
    state: dict[str, Any]
    known: bool
    suppressed: bool = False
    told: dict[str, int] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    journeys: list[Journey] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    occasions: dict[str, Silence | Cycle] = field(default_factory=dict)
    to_come: list[Event] = field(default_factory=list)
    clock: int = 0


def numbered(steps: tuple[m.Step, ...], suffix: str, numbers: dict[str, int]) -> dict[str, int]:
    """The place of every step in the order written, repeats one round after the other."""
    for step in steps:
        numbers[f"{step.id}{suffix}"] = len(numbers)
        if isinstance(step, m.Repeat):
            for turn in range(1, step.repeat + 1):
                numbered(step.steps, f"{suffix}#{turn}", numbers)
        else:
            for _, below in m.steps_below(step):
                numbered(below, suffix, numbers)
    return numbers


class Interpreter:
    """A program on a log."""

    def __init__(
        self,
        program: m.Program,
        events: Iterable[Mapping[str, Any]],
        customers: Iterable[Mapping[str, Any]] | None = None,
        *,
        until: datetime | None = None,
        assume: str | None = None,
        count_logged_sends: bool = False,
    ) -> None:
        rows = list(events)
        log = events_of(rows)
        people, columns = people_of(customers or ())
        self.program = program
        self.policies = program.policies
        self.scenarios = sorted(program.scenarios, key=lambda one: (-one.priority, one.scenario))
        self.places = {one.scenario: numbered(one.steps, "", {}) for one in self.scenarios}
        self.conditions = Conditions(log, people, columns)
        self.has_consent = "consent" in columns
        self.has_email = "email" in columns
        self.knows_hardness = any("bounce_type" in row for row in rows)
        self.count_logged_sends = count_logged_sends
        self.first = min((event.received for event in log), default=0)
        last = max((event.received for event in log), default=-1)
        self.until = last if until is None else to_moment(until)
        self.coupons = {name: pool.size or 0 for name, pool in self.policies.pools.items()}
        self.attributes = {*columns, "email", "timezone", "locale", "consent"}
        self.seen: list[Event] = []
        self.now = 0
        self.decisions: list[dict[str, Any]] = []
        self.people: dict[str, Person] = {}
        for name in sorted({*people, *(event.customer for event in log)}):
            state = dict(people.get(name, {}))
            state["customer_id"] = name
            state["consent"] = state.get("consent") is True if self.has_consent else True
            self.people[name] = Person(name, state, known=name in people, clock=self.first)
        for event in log:
            if assume != "never" or event.name not in ANSWERS:
                self.people[event.customer].to_come.append(event)
        for person in self.people.values():
            for scenario in self.scenarios:
                match scenario.trigger:
                    case m.InactiveTrigger():
                        person.occasions[scenario.scenario] = Silence(scenario.trigger, scenario.key, self.matches)
                    case m.CycleTrigger():
                        person.occasions[scenario.scenario] = Cycle(
                            scenario.trigger, scenario.key, self.matches, self.median
                        )

    # --- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Every instant up to the last, in order."""
        agenda = [
            (moment, name) for name, person in self.people.items() if (moment := self.next_instant(person)) is not None
        ]
        heapq.heapify(agenda)
        while agenda and agenda[0][0] <= self.until:
            self.now = agenda[0][0]
            today = []
            while agenda and agenda[0][0] == self.now:
                today.append(heapq.heappop(agenda)[1])
            for name in today:
                self.seen += [event for event in self.people[name].to_come if event.received == self.now]
            for name in today:
                self.instant(self.people[name])
                following = self.next_instant(self.people[name])
                if following is not None:
                    heapq.heappush(agenda, (following, name))

    def next_instant(self, person: Person) -> int | None:
        """The next moment at which something can happen to a customer."""
        moments = [person.to_come[0].received] if person.to_come else []
        moments += [journey.waiting.until for journey in self.active(person) if journey.waiting]
        moments += [max(due.at, person.clock) for _, due in self.occasions(person)]
        return min(moments, default=None)

    def instant(self, person: Person) -> None:
        """R3: facts, exits, satisfied wait_fors, timers, entries."""
        events = []
        while person.to_come and person.to_come[0].received == self.now:
            events.append(person.to_come.pop(0))
        events.sort(key=lambda event: (event.at, event.id))
        self.facts(person, events)
        self.exits(person, events)
        for journey in self.in_order(person):
            waiting = journey.waiting
            if waiting and waiting.wanted and any(self.answers(journey, waiting.wanted, event) for event in events):
                self.go_on(journey, satisfied=True)
        for journey in self.in_order(person):
            if journey.ended is None and journey.waiting and journey.waiting.until <= self.now:
                self.go_on(journey, satisfied=False)
        self.entries(person, events)
        person.clock = self.now + 1

    def facts(self, person: Person, events: list[Event]) -> None:
        """R3, R18: consent, suppression and attributes, then the events themselves."""
        for event in events:
            if not person.known:
                person.known, person.clock = True, self.now
            if event.name in ("email_unsubscribed", "email_complained"):
                self.tell(person, event, "consent", False)
                for journey in self.active(person) if not person.state["consent"] else ():
                    if journey.scenario.class_ == "marketing":
                        self.end(person, journey, "unsubscribed", "unsubscribed")
            elif event.name == "email_subscribed":
                self.tell(person, event, "consent", True)
            elif event.name == "email_bounced":
                person.suppressed |= not self.knows_hardness or event.properties.get("bounce_type") == "hard"
            elif event.name == "customer_updated":
                # Under another zone or date, what would have been before now is no occasion any more.
                person.clock = self.now
                for name, value in event.properties.items():
                    if name in self.attributes and value is not None:
                        self.tell(person, event, name, value)
        person.history += events
        zone = self.zone(person)
        for event in events:
            for occasion in person.occasions.values():
                occasion.see(event, zone)

    def tell(self, person: Person, event: Event, name: str, value: Any) -> None:
        """R18: of two events that say something of a customer, the one that happened later counts."""
        if event.at >= person.told.get(name, event.at):
            person.told[name] = event.at
            person.state[name] = value

    def exits(self, person: Person, events: list[Event]) -> None:
        """R4, R10."""
        for journey in self.active(person):
            for exit_on in journey.scenario.exit_on:
                if journey.ended is None and any(self.answers(journey, exit_on, event) for event in events):
                    self.end(person, journey, "exited", "exited")

    def answers(self, journey: Journey, wanted: m.ExitOn | m.WaitForEvent, event: Event) -> bool:
        """Whether an event is the one looked for, for the key of this journey where that matters."""
        if not self.matches(event, wanted.event, wanted.where):
            return False
        return wanted.match is None or (
            journey.key is not None and as_text(event.properties.get(wanted.match)) == journey.key
        )

    def matches(self, event: Event, name: str, where: str | None) -> bool:
        """Whether an event has this name and fulfils this condition."""
        return event.name == name and self.conditions.event(event, where)

    def median(self, event: Event, trigger: m.CycleTrigger, of: str) -> int | None:
        """R11: the median gap up to now, of a customer or of everybody with the same value of a property."""
        alike = [one for one in self.seen if self.matches(one, trigger.cycle, trigger.where)]
        if of == "customer":
            return median_gap([one for one in alike if one.customer == event.customer], lambda one: one.customer)
        value = event.properties.get(of)
        if value is None:
            return None
        return median_gap([one for one in alike if one.properties.get(of) == value], lambda one: value)

    def zone(self, person: Person) -> ZoneInfo:
        """R8: the customer's, else the program's, else UTC."""
        return zone_of(person.state.get("timezone"), self.policies.timezone)

    # --- entries ------------------------------------------------------------------------------------------------------

    def occasions(self, person: Person) -> list[tuple[m.Scenario, Due]]:
        """Journeys without an event of their own that are due next."""
        zone = self.zone(person)
        found = []
        for scenario in self.scenarios:
            at = None
            match scenario.trigger:
                case m.DateTrigger():
                    at = next_date(scenario.trigger, person.state.get(scenario.trigger.date), zone, person.clock)
                case m.ScheduleTrigger():
                    at = next_schedule(scenario.trigger, zone, person.clock) if person.known else None
                case m.InactiveTrigger() | m.CycleTrigger():
                    found += [(scenario, due) for due in person.occasions[scenario.scenario].due()]
            if at is not None:
                found.append((scenario, Due(at, None, None)))
        return found

    def entries(self, person: Person, events: list[Event]) -> None:
        """R3: events in their order, each by R17; then what no event set off, by due moment, then R17."""
        for event in events:
            for scenario in self.scenarios:
                trigger = scenario.trigger
                if isinstance(trigger, m.EventTrigger) and self.matches(event, trigger.event, trigger.where):
                    key = as_text(event.properties.get(scenario.key)) if scenario.key else None
                    self.enter(person, scenario, key, event.at, event.id, event)
        due_now = [(scenario, due) for scenario, due in self.occasions(person) if due.at <= self.now]
        for scenario, due in sorted(
            due_now, key=lambda one: (one[1].at, -one[0].priority, one[0].scenario, one[1].key or "")
        ):
            kind = next(iter(type(scenario.trigger).model_fields))
            if scenario.scenario in person.occasions:
                person.occasions[scenario.scenario].use(due)
            self.enter(person, scenario, due.key, due.at, f"{kind}@{due.at}", due.event)

    def enter(
        self, person: Person, scenario: m.Scenario, key: str | None, at: int, trigger_id: str, trigger: Event | None
    ) -> None:
        """R2, R9, R10, R12: begin a journey where everything allows it."""
        if (scenario.key and key is None) or self.now - at > scenario.max_age.elapsed:
            return
        if scenario.class_ == "marketing" and not person.state["consent"]:
            return
        if not self.conditions.holds(
            scenario.audience, state=person.state, history=person.history, trigger=trigger, now=self.now
        ):
            return
        before = [one for one in person.journeys if one.scenario is scenario and one.key == key]
        under_way = [one for one in before if one.ended is None]
        left = self.has_left(person, scenario, key, at)
        if under_way and (scenario.while_active == "ignore" or (left and scenario.while_active == "restart")):
            return
        if under_way and scenario.while_active == "restart":
            if any(one.sends or one.withheld for one in under_way):
                return
            for one in under_way:
                self.end(person, one, "superseded", "superseded")
        elif before and not self.again(person, scenario, before):
            return
        name = "\x1f".join([scenario.scenario, person.id, key or "", trigger_id])
        journey = Journey(
            hashlib.md5(name.encode()).hexdigest()[:20], scenario, person.id, key, self.now, at, trigger, base=at
        )
        if scenario.experiment:
            unit = person.id if scenario.experiment.unit == "customer" else journey.id
            journey.arm = arm_of(scenario.experiment, unit)
        person.journeys.append(journey)
        journey.walk = self.walk(person, journey)
        if left:
            self.finish(journey, "exited")
        else:
            self.go_on(journey)

    def has_left(self, person: Person, scenario: m.Scenario, key: str | None, at: int) -> bool:
        """R4: whether an exit that happened after a trigger is known before the trigger is."""
        return any(
            event.at > at
            and self.matches(event, exit_on.event, exit_on.where)
            and (exit_on.match is None or (key is not None and as_text(event.properties.get(exit_on.match)) == key))
            for event in person.history
            for exit_on in scenario.exit_on
        )

    def again(self, person: Person, scenario: m.Scenario, before: list[Journey]) -> bool:
        """R9: whether another journey may begin after these."""
        if isinstance(scenario.reentry, str):
            return scenario.reentry == "every"
        if scenario.reentry.from_ == "entry":
            since = max(one.entered for one in before)
        elif any(one.ended is None for one in before):
            return False
        else:
            since = max(one.ended for one in before if one.ended is not None)
        return self.now >= later(since, scenario.reentry.after, self.zone(person))

    # --- steps --------------------------------------------------------------------------------------------------------

    def active(self, person: Person) -> list[Journey]:
        """Journeys under way."""
        return [journey for journey in person.journeys if journey.ended is None]

    def in_order(self, person: Person) -> list[Journey]:
        """R17: journeys that stand still, by priority, scenario and step."""
        still = [journey for journey in self.active(person) if journey.waiting]
        return sorted(
            still,
            key=lambda one: (-one.scenario.priority, one.scenario.scenario, one.waiting.step if one.waiting else 0),
        )

    def go_on(self, journey: Journey, *, satisfied: bool | None = None) -> None:
        """Run a journey to its next wait, or its end."""
        assert journey.walk is not None
        journey.waiting = None
        try:
            journey.waiting = next(journey.walk) if satisfied is None else journey.walk.send(satisfied)
        except StopIteration:
            if journey.ended is None:
                self.finish(journey, "finished")

    def finish(self, journey: Journey, ended_by: str) -> None:
        """The journey is over."""
        journey.ended, journey.ended_by, journey.waiting = self.now, ended_by, None

    def end(self, person: Person, journey: Journey, ended_by: str, reason: str) -> None:
        """End a journey from outside; a mail in hand is not sent."""
        if journey.waiting and journey.waiting.held:
            step, name, due_at = journey.waiting.held
            self.decide(journey, step, name, due_at, "skipped", reason)
        self.finish(journey, ended_by)

    def walk(self, person: Person, journey: Journey) -> Generator[Waiting, bool, None]:
        """The steps of a scenario."""
        yield from self.walk_steps(person, journey, journey.scenario.steps, "")

    def walk_steps(
        self, person: Person, journey: Journey, steps: tuple[m.Step, ...], suffix: str
    ) -> Generator[Waiting, bool, None]:
        """One list of steps; `suffix` counts the rounds of the repeats around it."""
        for step in steps:
            if journey.ended is not None:
                return
            if step.only and journey.arm not in step.only:
                continue
            name = f"{step.id}{suffix}"
            place = self.places[journey.scenario.scenario][name]
            inner: tuple[m.Step, ...] = ()
            match step:
                case m.Wait():
                    zone = self.zone(person)
                    if isinstance(step.wait, m.WaitUntil):
                        due = next_clock(journey.base, step.wait.until, step.wait.on, zone)
                    else:
                        due = later(journey.base, step.wait, zone)
                    if due > self.now:
                        yield Waiting(place, due)
                    journey.base = self.now
                case m.WaitFor():
                    came = yield from self.wait_for(person, journey, step.wait_for, place)
                    journey.base = self.now
                    inner = step.then if came else step.else_
                case m.Send():
                    yield from self.send(person, journey, step, name, place)
                    journey.base = self.now
                case m.Branch():
                    holds = self.conditions.holds(
                        step.branch,
                        state=person.state,
                        history=person.history,
                        trigger=journey.trigger,
                        now=self.now,
                    )
                    inner = step.then if holds else step.else_
                case m.Split():
                    unit = person.id if step.split.unit == "customer" else journey.id
                    inner = step.paths[arm_of(step.split, unit)]
                case m.Repeat():
                    for turn in range(1, step.repeat + 1):
                        yield from self.walk_steps(person, journey, step.steps, f"{suffix}#{turn}")
                case m.ExitStep():
                    self.finish(journey, "exited")
            yield from self.walk_steps(person, journey, inner, suffix)

    def wait_for(
        self, person: Person, journey: Journey, wanted: m.WaitForEvent, place: int
    ) -> Generator[Waiting, bool, bool]:
        """R7: whether the event came in time."""
        deadline = later(journey.base, wanted.within, self.zone(person))
        if wanted.since == "entry":
            for event in person.history:
                if journey.entered < event.received <= deadline and self.answers(journey, wanted, event):
                    return True
        if deadline <= self.now:
            return False
        return (yield Waiting(place, deadline, wanted=wanted))

    # --- the gate -----------------------------------------------------------------------------------------------------

    def send(
        self, person: Person, journey: Journey, step: m.Send, name: str, place: int
    ) -> Generator[Waiting, bool, None]:
        """R14 to R20: pass the gate, perhaps held before it for a while."""
        due_at = self.now
        while True:
            verdict = gate(self, person, journey, step, name)
            match verdict:
                case Hold(until, reason):
                    if until > due_at + LONGEST_HOLD:
                        self.decide(journey, step, name, due_at, "skipped", reason)
                        return
                    yield Waiting(place, until, held=(step, name, due_at))
                case Refuse(reason, ends):
                    self.decide(journey, step, name, due_at, "skipped", reason)
                    if ends:
                        self.finish(journey, "exited")
                    return
                case Pass(status, reason, offer):
                    self.decide(journey, step, name, due_at, status, reason, offer)
                    person.sent.append(
                        Sent(self.now, journey.scenario.scenario, journey.scenario.class_, status == "withheld")
                    )
                    journey.sends += status == "send"
                    journey.withheld += status == "withheld"
                    return

    def decide(
        self,
        journey: Journey,
        step: m.Send,
        name: str,
        due_at: int,
        status: str,
        reason: str | None,
        offer: m.Offer | None = None,
    ) -> None:
        """One row of the decisions."""
        self.decisions.append(
            {
                "decision_id": hashlib.md5(f"{journey.id}\x1f{name}".encode()).hexdigest()[:20],
                "journey_id": journey.id,
                "scenario": journey.scenario.scenario,
                "step": name,
                "customer_id": journey.customer,
                "arm": journey.arm,
                "template": step.send,
                "offer": offer_text(step.offer if status == "skipped" else offer),
                "due_at": to_datetime(due_at),
                "at": to_datetime(self.now),
                "status": status,
                "reason": reason,
            }
        )

    def journeys(self) -> list[dict[str, Any]]:
        """One row for each journey."""
        return [
            {
                "journey_id": one.id,
                "scenario": one.scenario.scenario,
                "customer_id": one.customer,
                "key": one.key,
                "arm": one.arm,
                "entered_at": to_datetime(one.entered),
                "trigger_at": to_datetime(one.trigger_at),
                "ended_at": None if one.ended is None else to_datetime(one.ended),
                "ended_by": one.ended_by,
                "sends": one.sends,
            }
            for person in self.people.values()
            for one in person.journeys
        ]


def interpret(
    program: m.Program,
    events: Iterable[Mapping[str, Any]],
    customers: Iterable[Mapping[str, Any]] | None = None,
    *,
    until: datetime | None = None,
    assume: str | None = None,
    count_logged_sends: bool = False,
    interpreter: type[Interpreter] = Interpreter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Journeys and decisions of a program on a log, with the columns of `toolkit.tables`.

    Args:
        program: scenarios and policies.
        events: one mapping per event: customer_id, event, at, event_id, perhaps received_at, and properties.
        customers: one mapping per person: customer_id and attributes.
        until: the last moment that is decided; the last received_at of the log unless given.
        assume: "never" leaves opens and clicks of the log out.
        count_logged_sends: mails in the log fill the caps.
        interpreter: another one, for a test of the tests.

    Returns:
        Journeys by entered_at and journey_id, decisions by at and decision_id.
    """
    machine = interpreter(program, events, customers, until=until, assume=assume, count_logged_sends=count_logged_sends)
    machine.run()
    journeys = sorted(machine.journeys(), key=lambda row: (row["entered_at"], row["journey_id"]))
    decisions = sorted(machine.decisions, key=lambda row: (row["at"], row["decision_id"]))
    return pd.DataFrame(journeys, columns=list(JOURNEYS.names)), pd.DataFrame(decisions, columns=list(DECISIONS.names))
