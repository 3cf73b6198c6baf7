"""The scenario language as frozen objects: what a YAML file says, one class per construct.

A scenario is a trigger, who may enter, what ends it, and steps. Nothing here reads files, holds a clock or decides.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container, Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from toolkit.errors import did_you_mean, listed, shown
from toolkit.readable import lines_html
from toolkit.scenario.base import (
    Amount,
    Condition,
    Currency,
    Day,
    EventMatch,
    EventName,
    Flag,
    History,
    Model,
    Name,
    Share,
    Weekday,
)
from toolkit.scenario.duration import Duration, NotNegative, Positive, TimeOfDay
from toolkit.scenario.policies import Brand, Cap, Policies, Pool, Quiet, Sender, TestCopies, Tracking

__all__ = [
    "Branch",
    "Brand",
    "Cap",
    "Condition",
    "CycleTrigger",
    "DateTrigger",
    "EventMatch",
    "EventTrigger",
    "ExitOn",
    "ExitStep",
    "Experiment",
    "Goal",
    "History",
    "InactiveTrigger",
    "Median",
    "Offer",
    "Policies",
    "Pool",
    "Program",
    "Quiet",
    "ReentryAfter",
    "Repeat",
    "Scenario",
    "ScheduleTrigger",
    "Send",
    "Sender",
    "Split",
    "Step",
    "TestCopies",
    "Tracking",
    "Trigger",
    "Wait",
    "WaitFor",
    "WaitForEvent",
    "WaitUntil",
    "every_step",
    "id_of_its_own",
    "steps_below",
    "without_round",
]

# The kinds of a construct are told apart by a tag. Tags stand in angle brackets, so that in the place of a fault
# (trigger, <date>, at) nobody takes a tag for a key.

# --- triggers ---------------------------------------------------------------------------------------------------------


class EventTrigger(EventMatch):
    """Something happened."""


class DateTrigger(Model):
    """A date in an attribute comes round: a birthday, an anniversary, an expiry."""

    date: Name
    every: Literal["year", "once"] = "year"
    offset: Duration = Duration()
    at: TimeOfDay = TimeOfDay(9 * 60)


class InactiveTrigger(Model):
    """Nothing happened for so long since the last time (or since `since`, where there was none)."""

    inactive: EventName
    where: str | None = None
    for_: Positive = Field(alias="for")
    since: EventName | None = None


class Median(Model):
    """The median gap between repeats seen so far, of the customer or of a property's value such as a product."""

    median: Name


def _after_kind(value: Any) -> str:
    if isinstance(value, dict | Median):
        return "<median>"
    return "<property>" if isinstance(value, str) and value[:1].isalpha() else "<duration>"


class CycleTrigger(Model):
    """It is time again: so long after an event, by a number, a property in days, or the median gap seen so far."""

    cycle: EventName
    where: str | None = None
    after: Annotated[
        Annotated[Positive, Tag("<duration>")]
        | Annotated[Median, Tag("<median>")]
        | Annotated[Name, Tag("<property>")],
        Discriminator(_after_kind),
    ]


class ScheduleTrigger(Model):
    """One moment, or a recurrence, in local time."""

    schedule: Literal["once", "day", "week", "month"]
    at: TimeOfDay = TimeOfDay(9 * 60)
    on: tuple[Weekday, ...] = ()
    day: Annotated[int, Field(strict=True, ge=1, le=31)] | None = None
    from_: Day | None = Field(default=None, alias="from")
    to: Day | None = None


def _first_key(*keys: str) -> Callable[[Any], str | None]:
    def tag(value: Any) -> str | None:
        known = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Model) else ()
        return next((f"<{key}>" for key in keys if key in known), None)

    return tag


Trigger = Annotated[
    Annotated[DateTrigger, Tag("<date>")]
    | Annotated[InactiveTrigger, Tag("<inactive>")]
    | Annotated[CycleTrigger, Tag("<cycle>")]
    | Annotated[ScheduleTrigger, Tag("<schedule>")]
    | Annotated[EventTrigger, Tag("<event>")],
    Discriminator(
        _first_key("date", "inactive", "cycle", "schedule", "event"),
        custom_error_type="trigger",
        custom_error_message="expected a trigger",
        custom_error_context={"allowed": "one of event, date, inactive, cycle, schedule"},
    ),
]


# --- entry, exits, goals, experiments ---------------------------------------------------------------------------------


class ReentryAfter(Model):
    """Again after so long, counted from the last entry or the last end."""

    after: Positive
    from_: Literal["entry", "exit"] = Field(default="entry", alias="from")


def _reentry_kind(value: Any) -> str:
    return "<after>" if isinstance(value, dict | ReentryAfter) else "<word>"


class ExitOn(EventMatch):
    """An event that ends the journey; with `match`, only the journey of the same key (rule R10)."""

    match: Name | None = None


class Goal(EventMatch):
    """What the scenario is for: an event within so long of entry, and the property that holds its value."""

    within: Positive
    value: Name | None = None


class Experiment(Model):
    """Arms with their shares; the last arm takes the rest (rule R13). People of the holdout get no mail (rule R14)."""

    name: Name
    arms: dict[Name, Share]
    holdout: Name | None = None
    unit: Literal["customer", "journey"] = "customer"

    # The order of the arms decides who is in which (rule R13), and a dict forgets order when it is compared.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and self._ordered() == other._ordered()

    def __hash__(self) -> int:
        return hash(self._ordered())

    def _ordered(self) -> tuple[object, ...]:
        return self.name, tuple(self.arms.items()), self.holdout, self.unit


class Offer(Model):
    """What a mail gives: a share or an amount off, or free shipping; with one code, or one code a person."""

    percent: Annotated[float, Field(strict=True, gt=0, le=100)] | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    free_shipping: Flag = False
    valid: Positive | None = None
    code: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    pool: Name | None = None
    on_empty: Literal["skip", "send_without"] = "skip"
    minimum: Amount | None = None


# --- steps ------------------------------------------------------------------------------------------------------------


class _Step(Model):
    id: Name | None = None
    only: tuple[Name, ...] = ()


class WaitUntil(Model):
    """The next local time of day, on given weekdays (rule R6)."""

    until: TimeOfDay
    on: tuple[Weekday, ...] = ()


def _wait_kind(value: Any) -> str:
    return "<until>" if isinstance(value, dict | WaitUntil) else "<duration>"


class Wait(_Step):
    """Wait so long, or until a local time."""

    wait: Annotated[
        Annotated[NotNegative, Tag("<duration>")] | Annotated[WaitUntil, Tag("<until>")], Discriminator(_wait_kind)
    ]


class WaitForEvent(EventMatch):
    """Wait for an event, at most `within` (rule R7)."""

    within: Positive
    since: Literal["entry", "step"] = "entry"
    match: Name | None = None


class WaitFor(_Step):
    """Wait for an event; `then` when it came in time, `else` when not."""

    wait_for: WaitForEvent
    then: tuple[Step, ...] = ()
    else_: tuple[Step, ...] = Field(default=(), alias="else")


class Send(_Step):
    """One mail, with or without an offer."""

    send: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$")]
    offer: Offer | None = None


class Branch(_Step):
    """Go one way or the other by a condition that holds now."""

    branch: Condition
    then: tuple[Step, ...] = ()
    else_: tuple[Step, ...] = Field(default=(), alias="else")


class Split(_Step):
    """Divide people at random, by share, into paths of their own (rule R13)."""

    split: Experiment
    paths: dict[Name, tuple[Step, ...]]


class Repeat(_Step):
    """Do the steps so many times."""

    repeat: Annotated[int, Field(strict=True, ge=1, le=50)]
    steps: tuple[Step, ...]


class ExitStep(_Step):
    """End the journey here. A plain `exit` is the same."""

    exit: Literal[True] = True

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"exit": True} if value == "exit" else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler(schema)
        handler.resolve_ref_schema(full)["required"] = ["exit"]
        return {"anyOf": [{"const": "exit"}, full]}


_kind_of_mapping = _first_key("wait_for", "wait", "send", "branch", "split", "repeat", "exit")


def _step_kind(value: Any) -> str | None:
    return "<exit>" if value == "exit" else _kind_of_mapping(value)


Step = Annotated[
    Annotated[Wait, Tag("<wait>")]
    | Annotated[WaitFor, Tag("<wait_for>")]
    | Annotated[Send, Tag("<send>")]
    | Annotated[Branch, Tag("<branch>")]
    | Annotated[Split, Tag("<split>")]
    | Annotated[Repeat, Tag("<repeat>")]
    | Annotated[ExitStep, Tag("<exit>")],
    Discriminator(
        _step_kind,
        custom_error_type="step",
        custom_error_message="expected a step",
        custom_error_context={"allowed": "one of wait, wait_for, send, branch, split, repeat, exit"},
    ),
]


def steps_below(step: Step) -> tuple[tuple[tuple[str | int, ...], tuple[Step, ...]], ...]:
    """The lists of steps inside a step, each with its place in the step."""
    if isinstance(step, WaitFor | Branch):
        return (("then",), step.then), (("else_",), step.else_)
    if isinstance(step, Split):
        return tuple((("paths", arm), steps) for arm, steps in step.paths.items())
    if isinstance(step, Repeat):
        return ((("steps",), step.steps),)
    return ()


def every_step(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps and the steps inside them, in the order written."""
    for step in steps:
        yield step
        for _, below in steps_below(step):
            yield from every_step(below)


def without_round(step: str) -> str:
    """The id of a step as it is written; a mail that a `repeat` sends carries `#` and the round as well.

    >>> without_round("reminder#2"), without_round("reminder")
    ('reminder', 'reminder')
    """
    return step.partition("#")[0]


def id_of_its_own(step: Step, taken: Container[str]) -> str:
    """The id of a step that was given none: the last part of its template, else its kind, with _2, _3 … when taken."""
    match step:
        case Send():
            word = step.send.rsplit("/", 1)[-1]
            word = word if word[0].isalpha() else f"send_{word}"
        case _:
            word = next(field for field in type(step).model_fields if field not in ("id", "only"))
    word = word[:58]
    number = 1
    name = word
    while name in taken:
        number += 1
        name = f"{word}_{number}"
    return name


def with_ids(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps, each with an id."""
    taken = {step.id for step in every_step(steps) if step.id}

    def named(step: Step) -> Step:
        changes: dict[str, Any] = {}
        if step.id is None:
            changes["id"] = id_of_its_own(step, taken)
            taken.add(changes["id"])
        for place, below in steps_below(step):
            inner = tuple(map(named, below))
            if inner == below:
                continue
            if place[0] == "paths":
                changes.setdefault("paths", dict(step.paths))[place[1]] = inner  # type: ignore[union-attr]
            else:
                changes[str(place[0])] = inner
        return step.model_copy(update=changes) if changes else step

    return tuple(map(named, steps))


def _words() -> Any:
    # What says models in words is made of models, so it loads after them.
    return importlib.import_module("toolkit.scenario.words")


# --- scenario, policies, program --------------------------------------------------------------------------------------


class Scenario(Model):
    """A sequence of mails set off by a trigger."""

    scenario: Name
    class_: Literal["marketing", "transactional"] = Field(default="marketing", alias="class")
    priority: Annotated[int, Field(strict=True, ge=0, le=100)] = 50
    trigger: Trigger
    key: Name | None = None
    audience: Condition | None = None
    reentry: Annotated[
        Annotated[Literal["once", "every"], Tag("<word>")] | Annotated[ReentryAfter, Tag("<after>")],
        Discriminator(_reentry_kind),
    ]
    while_active: Literal["ignore", "restart", "parallel"] = "ignore"
    max_age: NotNegative = Duration(microseconds=72 * 3_600_000_000)
    exit_on: tuple[ExitOn, ...] = ()
    goal: Goal | None = None
    experiment: Experiment | None = None
    quiet: Quiet | None = None
    caps: tuple[Cap, ...] = ()
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @field_validator("steps")
    @classmethod
    def _every_step_has_an_id(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return with_ids(steps)

    def describe(self) -> str:
        """What this scenario does, in plain English, one line for each thing to know."""
        return str(_words().describe(self))

    def _repr_html_(self) -> str:
        return lines_html(self.describe().splitlines(), first=True)


class Program(Model):
    """Scenarios and the policies they share: what is replayed, prepared and sent."""

    scenarios: tuple[Scenario, ...]
    policies: Policies = Policies()

    def __getitem__(self, name: str) -> Scenario:
        for scenario in self.scenarios:
            if isinstance(name, str) and scenario.scenario == name:
                return scenario
        names = [scenario.scenario for scenario in self.scenarios]
        raise KeyError(
            f"no scenario {shown(name)}; this program has {listed(names, near=name)}" + did_you_mean(str(name), names)
        )

    def quiet_of(self, scenario: Scenario) -> Quiet | None:
        """The quiet hours of a scenario: its own, else the program's; a transactional one has none (rules R15, R19)."""
        return (scenario.quiet or self.policies.quiet) if scenario.class_ == "marketing" else None

    def describe(self) -> str:
        """What every scenario does and what they share, in plain English."""
        return str(_words().describe(self))

    def _repr_html_(self) -> str:
        return lines_html(self.describe().splitlines(), first=True)
