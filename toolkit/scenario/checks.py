"""One check of a whole program, as far as the log and the mails at hand allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from toolkit.errors import Fault, ScenarioError
from toolkit.scenario import models as m
from toolkit.scenario.against import log_findings, template_findings
from toolkit.scenario.coherence import findings, program_findings
from toolkit.scenario.findings import Finding, check_is
from toolkit.scenario.origins import stands_at
from toolkit.scenario.places import path_of

__all__ = ["check", "check_against"]


def check(
    program: m.Program,
    *,
    events: Collection[str] | None = None,
    properties: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
    templates: Collection[str] | None = None,
) -> tuple[Fault, ...]:
    """The warnings about a program that is right, checked as far as what is given allows.

    Args:
        program: scenarios and policies.
        events: names of the events in the log.
        properties: columns of the events and their kinds (number, text, flag, time; empty without a value).
        attributes: columns of the customers and their kinds.
        templates: names of the mails there are.

    Returns:
        One warning for each odd thing: steps nobody reaches, an event the log has never seen, a setting without
        effect.

    Raises:
        ScenarioError: the program contradicts itself, or names a column or template that is not there; carries all.
    """
    check_is(program, m.Program, "a program, as load gives it")
    for kinds in (properties, attributes):
        check_is({} if kinds is None else kinds, Mapping, "columns and their kinds, such as {'revenue': 'number'}")
    for names in (events, templates):
        if isinstance(names, str):
            raise ScenarioError([Fault("expected names in a list", found=names)])
        check_is(() if names is None else names, Collection, "names in a list")
        if names is not None and not all(isinstance(name, str) for name in names):
            raise ScenarioError([Fault("expected names in a list", found=type(names).__name__)])
    found: list[tuple[bool, Fault]] = []

    def take(finding: Finding, root: m.Scenario | m.Policies, name: str) -> None:
        path = path_of(root, finding.place)
        file, line = stands_at(root, finding.place)
        found.append((finding.warning, finding.fault(file=file, line=line, path=f"{name}.{path}" if path else name)))

    for finding in program_findings(program.policies):
        take(finding, program.policies, "policies")
    for scenario in program.scenarios:
        every = [*findings(scenario, pools=program.policies.pools)]
        every += log_findings(scenario, events=events, properties=properties, attributes=attributes)
        if templates is not None:
            every += template_findings(scenario, templates)
        for finding in every:
            take(finding, scenario, scenario.scenario)
    for name, count in Counter(scenario.scenario for scenario in program.scenarios).items():
        if count > 1:
            found.append((False, Fault(f"{count} scenarios have this name", path=name, found=name)))
    faults = [fault for warning, fault in found if not warning]
    if faults:
        raise ScenarioError(tuple(dict.fromkeys(faults)))
    return tuple(dict.fromkeys(fault for _, fault in found))


def check_against(
    program: m.Program,
    *,
    event_counts: Mapping[str, int],
    properties: Mapping[str, str],
    attributes: Mapping[str, str],
) -> tuple[Fault, ...]:
    """The warnings about a program that is to run on a log.

    Args:
        program: scenarios and policies.
        event_counts: how often each event stands in the log.
        properties: columns of the events and their kinds.
        attributes: columns of the customers and their kinds.

    Returns:
        As for `check`: unknown events with the nearest name in the log, and the other warnings.

    Raises:
        ScenarioError: the program contradicts itself, or names a column that is not there.
    """
    check_is(event_counts, Mapping, "how often each event stands in the log, such as {'purchase': 10}")
    return check(program, events=tuple(event_counts), properties=properties, attributes=attributes)
