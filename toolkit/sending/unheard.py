"""What a program needs to hear of its own mails, and never will where its policies name no tracker."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.events import EventLog
from toolkit.scenario.models import EventTrigger, Program

__all__ = ["unheard"]


def unheard(program: Program, log: EventLog) -> Iterator[str]:
    """One sentence for each scenario that asks for answers which neither a tracker nor the log brings.

    Mails become `email_sent` of the log by the tracker's store alone; from them an experiment is measured.

    Args:
        program: scenarios and the policies they share.
        log: a log that holds `email_sent` has another way to learn of mails.
    """
    if program.policies.tracking is not None or "email_sent" in log.event_names:
        return
    for scenario in program.scenarios:
        trigger = scenario.trigger
        if isinstance(trigger, EventTrigger) and trigger.event.startswith("email_"):
            yield (
                f"{scenario.scenario} begins with {trigger.event!r}, which nothing writes into the log while "
                "policies.yaml has no tracking:"
            )
        if scenario.experiment is not None:
            yield (
                f"the experiment {scenario.experiment.name} cannot be measured from its mails: while policies.yaml has "
                "no tracking:, nothing writes them into the log as email_sent with experiment and arm"
            )
