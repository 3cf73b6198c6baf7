"""The scenario language as frozen objects: what a YAML file says, one class per construct.

A scenario is a trigger, who may enter, what ends it, and steps. Nothing here reads files, holds a clock or decides.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from toolkit.scenario.duration import Duration, TimeOfDay

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
    "Trigger",
    "Wait",
    "WaitFor",
    "WaitForEvent",
    "WaitUntil",
]

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
EventName = Annotated[str, Field(min_length=1, max_length=200)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Share = Annotated[float, Field(ge=0, le=1)]


class Model(BaseModel):
    """A frozen value; `replace` gives a changed copy, checked anew."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed; raises pydantic.ValidationError where the result is not allowed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


# --- conditions -------------------------------------------------------------------------------------------------------


class EventMatch(Model):
    """An event by name, and by a condition on its properties."""

    event: EventName
    where: str | None = None


class History(EventMatch):
    """An event that happened at least so often in the window `(t - within, t]` (rules R1, R5)."""

    within: Duration | None = None
    at_least: Annotated[int, Field(ge=1, le=10_000)] = 1


class Condition(Model):
    """True when every part is: `where` on attributes, `trigger` on the trigger's properties, history, and any of `any`.

    A plain string is `where`.
    """

    where: str | None = None
    trigger: str | None = None
    happened: tuple[History, ...] = ()
    not_happened: tuple[History, ...] = ()
    any_: tuple[Condition, ...] = Field(default=(), alias="any")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"where": value}
        if isinstance(value, dict):
            value = dict(value)
            for name in ("happened", "not_happened"):
                if isinstance(value.get(name), dict):
                    value[name] = (value[name],)
        return value


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
    for_: Duration = Field(alias="for")
    since: EventName | None = None


class Median(Model):
    """The median gap between repeats seen so far, of the customer or of a property's value such as a product."""

    median: Name


class CycleTrigger(Model):
    """It is time again: so long after an event, by a number, a property in days, or the median gap seen so far."""

    cycle: EventName
    where: str | None = None
    after: Duration | Median | Name


class ScheduleTrigger(Model):
    """One moment, or a recurrence, in local time."""

    schedule: Literal["once", "day", "week", "month"]
    at: TimeOfDay = TimeOfDay(9 * 60)
    on: tuple[Weekday, ...] = ()
    day: Annotated[int, Field(ge=1, le=31)] | None = None
    from_: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = Field(default=None, alias="from")
    to: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None


def _first_key(*keys: str) -> Any:
    def tag(value: Any) -> str | None:
        if isinstance(value, dict):
            return next((key for key in keys if key in value), None)
        return (
            next((key for key in keys if key in type(value).model_fields), None) if isinstance(value, Model) else None
        )

    return tag


Trigger = Annotated[
    Annotated[DateTrigger, Tag("date")]
    | Annotated[InactiveTrigger, Tag("inactive")]
    | Annotated[CycleTrigger, Tag("cycle")]
    | Annotated[ScheduleTrigger, Tag("schedule")]
    | Annotated[EventTrigger, Tag("event")],
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

    after: Duration
    from_: Literal["entry", "exit"] = Field(default="entry", alias="from")


class ExitOn(EventMatch):
    """An event that ends the journey; with `match`, only the journey of the same key (rule R10)."""

    match: Name | None = None


class Goal(EventMatch):
    """What the scenario is for: an event within so long of entry, and the property that holds its value."""

    within: Duration
    value: Name | None = None


class Experiment(Model):
    """Arms with their shares; the last arm takes the rest (rule R13). People of the holdout get no mail (rule R14)."""

    name: Name
    arms: dict[Name, Share]
    holdout: Name | None = None
    unit: Literal["customer", "journey"] = "customer"


class Quiet(Model):
    """No marketing mail between two local times; held mails leave at `to`, spread out (rule R15)."""

    from_: TimeOfDay = Field(alias="from")
    to: TimeOfDay
    spread: Duration = Duration()


class Cap(Model):
    """At most so many mails a person in a rolling window (rule R16)."""

    limit: Annotated[int, Field(ge=1, le=1000)]
    per: Duration
    scope: Literal["scenario", "marketing"] = "marketing"
    on_hit: Literal["skip", "postpone", "exit"] = "skip"


class Offer(Model):
    """What a mail gives: a share or an amount off, or free shipping; with one code, or one code a person."""

    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    amount: Annotated[float, Field(gt=0)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    free_shipping: bool = False
    valid: Duration | None = None
    code: str | None = None
    pool: Name | None = None
    on_empty: Literal["skip", "send_without"] = "skip"
    minimum: Annotated[float, Field(gt=0)] | None = None


# --- steps ------------------------------------------------------------------------------------------------------------


class _Step(Model):
    id: Name | None = None
    only: tuple[Name, ...] = ()


class WaitUntil(Model):
    """The next local time of day, on given weekdays (rule R6)."""

    until: TimeOfDay
    on: tuple[Weekday, ...] = ()


class Wait(_Step):
    """Wait so long, or until a local time."""

    wait: Duration | WaitUntil


class WaitForEvent(EventMatch):
    """Wait for an event, at most `within` (rule R7)."""

    within: Duration
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

    repeat: Annotated[int, Field(ge=1, le=50)]
    steps: tuple[Step, ...]


class ExitStep(_Step):
    """End the journey here. A plain `exit` is the same."""

    exit: Literal[True] = True

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"exit": True} if value == "exit" else value


def _step_kind(value: Any) -> str | None:
    if value == "exit":
        return "exit"
    kind: str | None = _first_key("wait_for", "wait", "send", "branch", "split", "repeat", "exit")(value)
    return kind


Step = Annotated[
    Annotated[Wait, Tag("wait")]
    | Annotated[WaitFor, Tag("wait_for")]
    | Annotated[Send, Tag("send")]
    | Annotated[Branch, Tag("branch")]
    | Annotated[Split, Tag("split")]
    | Annotated[Repeat, Tag("repeat")]
    | Annotated[ExitStep, Tag("exit")],
    Discriminator(
        _step_kind,
        custom_error_type="step",
        custom_error_message="expected a step",
        custom_error_context={"allowed": "one of wait, wait_for, send, branch, split, repeat, exit"},
    ),
]


# --- scenario, policies, program --------------------------------------------------------------------------------------


class Scenario(Model):
    """A sequence of mails set off by a trigger."""

    scenario: Name
    class_: Literal["marketing", "transactional"] = Field(default="marketing", alias="class")
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    trigger: Trigger
    key: Name | None = None
    audience: Condition | None = None
    reentry: Literal["once", "every"] | ReentryAfter
    while_active: Literal["ignore", "restart", "parallel"] = "ignore"
    max_age: Duration = Duration(microseconds=72 * 3_600_000_000)
    exit_on: tuple[ExitOn, ...] = ()
    goal: Goal | None = None
    experiment: Experiment | None = None
    quiet: Quiet | None = None
    caps: tuple[Cap, ...] = ()
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Sender(Model):
    """Who the mails come from."""

    name: str
    email: str
    reply_to: str | None = None


class Brand(Model):
    """What every mail shows: names, address, links and colours. Further values are free text for the templates."""

    model_config = ConfigDict(extra="allow")

    name: str
    address: str | None = None
    url: str | None = None
    logo: str | None = None


class Pool(Model):
    """Coupon codes that run out: so many, or those of a file."""

    size: Annotated[int, Field(ge=0)] | None = None
    file: str | None = None


class Policies(Model):
    """What all scenarios of a program share."""

    timezone: str = "UTC"
    locale: str = "en"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    quiet: Quiet | None = None
    caps: tuple[Cap, ...] = ()
    sender: Sender | None = None
    brand: Brand | None = None
    pools: dict[Name, Pool] = {}


class Program(Model):
    """Scenarios and the policies they share: what is replayed, prepared and sent."""

    scenarios: tuple[Scenario, ...]
    policies: Policies = Policies()

    def __getitem__(self, name: str) -> Scenario:
        for scenario in self.scenarios:
            if scenario.scenario == name:
                return scenario
        raise KeyError(f"no scenario {name!r}; this program has {', '.join(s.scenario for s in self.scenarios)}")
