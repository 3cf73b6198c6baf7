"""What a program needs of a long history: the kinds of events it asks for, and nothing else."""

from __future__ import annotations

from toolkit.engine.doors import check_program
from toolkit.engine.replay import compiled_for
from toolkit.events import EventLog
from toolkit.events.marks import asked_events
from toolkit.scenario.models import Program, Scenario
from toolkit.tables import DELIVERY_EVENTS, MACHINE_EVENTS

__all__ = ["compact"]


def compact(program: Program | Scenario, log: EventLog) -> EventLog:
    """A log reduced to the kinds of events that a program asks for: the state from which its replays go on.

    Everything that a journey depends on, entries and exits, limits, consents, answers and coupons, follows from these
    events; the rest of the history need not be kept. A replay of the compact log, or of the compact log and what came
    after it (`EventLog.followed_by`), decides what a replay of everything decides: the same ids, the same digest.
    Values inside conditions may still be changed, since the events that stay stay whole.

    Args:
        program: one or many scenarios; all that the log is still to serve.
        log: the history.

    Returns:
        A new log, to be saved. It keeps the answers to mails (`email_sent` and the others) and the span of the whole,
        and refuses a program that asks for an event it was left without.

    Raises:
        ScenarioError: the program asks for an attribute or a property that the log does not have.

    >>> import pandas as pd
    >>> from toolkit.scenario import loads
    >>> cart = loads("{scenario: cart, trigger: {event: cart_add}, reentry: once, steps: [{send: cart/hello}]}")
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "ana", "bo"], "event": ["view", "cart_add", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T11:00Z", "2025-03-04T10:00Z"]}))
    >>> small = compact(cart, log)
    >>> small.event_counts, small.left_out
    ({'first_seen': 2, 'cart_add': 1}, ('view',))
    """
    program = check_program(program, log)
    compiled, _ = compiled_for(program, log, assume="as_logged")
    kept = {*asked_events(log, compiled.marking), *DELIVERY_EVENTS, *MACHINE_EVENTS, "customer_updated"}
    return log.compacted(kept)
