"""A scenario beside the log and the mails it is to run on: what it names and they do not have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from toolkit.errors import listed, nearest
from toolkit.scenario import models as m
from toolkit.scenario.base import Condition, EventMatch
from toolkit.scenario.document import Place
from toolkit.scenario.expression import ATTRIBUTES, EVENT_COLUMNS, Expression
from toolkit.scenario.findings import Finding
from toolkit.tables import DELIVERY_EVENTS, MAIL_EVENTS, MAIL_PROPERTIES

__all__ = ["ALWAYS_POSSIBLE", "log_findings", "template_findings"]

ALWAYS_POSSIBLE = frozenset((*DELIVERY_EVENTS, "customer_updated"))
"""Events that a log may come to have, whatever it holds now."""


def log_findings(
    scenario: m.Scenario,
    *,
    events: Collection[str] | None,
    properties: Mapping[str, str] | None,
    attributes: Mapping[str, str] | None,
) -> Iterator[Finding]:
    """What a scenario asks of a log that the log does not have; nothing is said about what is None."""
    against = _Against(
        events,
        None if properties is None else {**properties, **EVENT_COLUMNS},
        None if attributes is None else {**ATTRIBUTES, **attributes},
    )
    yield from against.scenario(scenario)


def template_findings(scenario: m.Scenario, templates: Collection[str]) -> Iterator[Finding]:
    """Mails a scenario sends that there are not."""
    for place, step in _placed_steps(scenario.steps, ("steps",)):
        if isinstance(step, m.Send) and step.send not in templates:
            allowed = (
                listed(sorted(templates), near=step.send)
                if templates
                else "mails in the folder of templates; it has none"
            )
            yield Finding("unknown template", (*place, "send"), step.send, allowed, nearest(step.send, templates))


class _Against:
    def __init__(
        self,
        events: Collection[str] | None,
        properties: Mapping[str, str] | None,
        attributes: Mapping[str, str] | None,
    ) -> None:
        self.events = events
        self.properties = properties
        self.attributes = attributes

    def scenario(self, scenario: m.Scenario) -> Iterator[Finding]:
        yield from self._trigger(scenario.trigger)
        yield from self._property(scenario.key, ("key",))
        if scenario.audience:
            yield from self._condition(scenario.audience, ("audience",))
        for index, exit_on in enumerate(scenario.exit_on):
            yield from self._event(exit_on, ("exit_on", index))
            yield from self._property(exit_on.match, ("exit_on", index, "match"))
        if scenario.goal:
            yield from self._event(scenario.goal, ("goal",))
            yield from self._property(scenario.goal.value, ("goal", "value"))
        for place, step in _placed_steps(scenario.steps, ("steps",)):
            if isinstance(step, m.WaitFor):
                yield from self._event(step.wait_for, (*place, "wait_for"))
                yield from self._property(step.wait_for.match, (*place, "wait_for", "match"))
            elif isinstance(step, m.Branch):
                yield from self._condition(step.branch, (*place, "branch"))

    def _trigger(self, trigger: m.Trigger) -> Iterator[Finding]:
        place = ("trigger",)
        match trigger:
            case m.EventTrigger():
                yield from self._event(trigger, place)
            case m.DateTrigger():
                yield from _column(trigger.date, (*place, "date"), self.attributes, "attribute")
                kind = (self.attributes or {}).get(trigger.date)
                if kind in ("number", "flag"):
                    allowed = "an attribute that holds dates, or texts such as 1990-12-31"
                    yield Finding("no dates", (*place, "date"), f"{trigger.date} ({kind})", allowed)
            case m.InactiveTrigger():
                yield from self._name(trigger.inactive, (*place, "inactive"))
                yield from self._where(trigger.where, (*place, "where"))
                yield from self._name(trigger.since, (*place, "since"))
            case m.CycleTrigger():
                yield from self._name(trigger.cycle, (*place, "cycle"))
                yield from self._where(trigger.where, (*place, "where"))
                if isinstance(trigger.after, str):
                    yield from self._property(trigger.after, (*place, "after"))
                elif isinstance(trigger.after, m.Median) and trigger.after.median != "customer":
                    yield from self._property(trigger.after.median, (*place, "after", "median"))

    def _condition(self, condition: Condition, place: Place) -> Iterator[Finding]:
        if condition.where is not None:
            yield from self._of_customers(condition.where, (*place, "where"))
        yield from self._where(condition.trigger, (*place, "trigger"))
        for name in ("happened", "not_happened"):
            for index, history in enumerate(getattr(condition, name)):
                yield from self._event(history, (*place, name, index))
        for index, inner in enumerate(condition.any_):
            yield from self._condition(inner, (*place, "any", index))

    def _of_customers(self, text: str, place: Place) -> Iterator[Finding]:
        """Of a column that only events have, it is said how one asks for it."""
        for found in _expression(text, place, self.attributes):
            if found.found in (self.properties or ()) and found.found not in EVENT_COLUMNS:
                how = f'write {{trigger: "{text}"}}'
                yield replace(found, message=f"customers have no such column, events have: {how}", nearest=None)
            else:
                yield found

    def _event(self, match: EventMatch, place: Place) -> Iterator[Finding]:
        yield from self._name(match.event, (*place, "event"))
        columns = self.properties
        if columns is not None and self.events is not None and match.event in MAIL_EVENTS - {*self.events}:
            columns = {**MAIL_PROPERTIES, **columns}  # the log is older than its first mail
        if match.where is not None:
            yield from _expression(match.where, (*place, "where"), columns)

    def _name(self, event: str | None, place: Place) -> Iterator[Finding]:
        if event is None or self.events is None or event in self.events or event in ALWAYS_POSSIBLE:
            return
        near = nearest(event, self.events)
        names = listed(sorted(self.events), near=event) if self.events else "no events at all"
        yield Finding("the log has no such event", place, event, names, near, warning=True)

    def _where(self, text: str | None, place: Place) -> Iterator[Finding]:
        if text is not None:
            yield from _expression(text, place, self.properties)

    def _property(self, name: str | None, place: Place) -> Iterator[Finding]:
        if name is not None:
            yield from _column(name, place, self.properties, "property")


def _expression(text: str, place: Place, columns: Mapping[str, str] | None) -> Iterator[Finding]:
    if columns is None or Expression.faults(text):
        return  # what is wrong whatever the log was said already
    for fault in Expression.faults(text, columns=columns):
        yield Finding(fault.message, place, fault.found, fault.allowed, fault.nearest)


def _column(name: str, place: Place, columns: Mapping[str, str] | None, kind: str) -> Iterator[Finding]:
    if columns is not None and name not in columns:
        allowed = listed(sorted(columns), near=name)
        yield Finding(f"unknown {kind}", place, name, allowed, nearest(name, columns))


def _placed_steps(steps: tuple[m.Step, ...], place: Place) -> Iterator[tuple[Place, m.Step]]:
    for index, step in enumerate(steps):
        yield (*place, index), step
        for inner, below in m.steps_below(step):
            names = tuple("else" if part == "else_" else part for part in inner)
            yield from _placed_steps(below, (*place, index, *names))
