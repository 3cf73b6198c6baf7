"""Replay: a program and a log in, who would have got which mail, when, and why not, out. Exact."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import overload

import pandas as pd

from toolkit.engine.compile import Compiled, compile_program
from toolkit.engine.doors import check_assumption, check_program, check_whole, micros_of, moment_at, moment_of
from toolkit.engine.instructions import Assumed, Assumption
from toolkit.engine.own_mails import by_logged_mails
from toolkit.engine.prepared import Prepared, prepare_log
from toolkit.engine.run import Run
from toolkit.engine.runners.local import run_kernel
from toolkit.engine.runners.parted import Parted
from toolkit.engine.runners.spark import SparkRun
from toolkit.engine.runners.streamed import replay_in_ranges
from toolkit.engine.unmet import unmet
from toolkit.errors import check_flag
from toolkit.events import EventLog, SparkLog
from toolkit.readable import counted
from toolkit.scenario.checks import check_against
from toolkit.scenario.models import DateTrigger, Program, Scenario

__all__ = ["EVENTS_AT_ONCE", "compiled_for", "replay", "ties_customers"]

EVENTS_AT_ONCE = 20_000_000
"""A stored log larger than this is replayed in ranges of customers."""

_EPOCH = pd.Timestamp("1970-01-01", tz="UTC")


@overload
def replay(
    program: Program | Scenario,
    log: EventLog,
    *,
    until: datetime | str | None = None,
    assume: Assumption | None = None,
    count_logged_sends: bool = False,
    events_at_once: int | None = EVENTS_AT_ONCE,
    progress: bool = True,
) -> Run: ...
@overload
def replay(
    program: Program | Scenario,
    log: SparkLog,
    *,
    until: datetime | str | None = None,
    assume: Assumption | None = None,
    count_logged_sends: bool = False,
    parts: int | None = None,
) -> SparkRun: ...
def replay(
    program: Program | Scenario,
    log: EventLog | SparkLog,
    *,
    until: datetime | str | None = None,
    assume: Assumption | None = None,
    count_logged_sends: bool = False,
    events_at_once: int | None = EVENTS_AT_ONCE,
    parts: int | None = None,
    progress: bool = True,
) -> Run | SparkRun:
    """Who would have got which mail, when, and why not, had this program run over this log.

    A stored log that is larger than `events_at_once` is replayed in ranges of customers, with the same result, so that
    it need not fit into memory.

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did; a log in Spark (`EventLog.from_spark`) is replayed there.
        until: the last moment that is decided, with a time zone, a text of one too (`2025-03-04T00:00Z`); the last
            `received_at` of the log unless given.
        assume: a replay does not know how people would have answered mails they never got (rule R22). A program
            that depends on opens or clicks is refused unless told `"never"` (nobody answers) or `"as_logged"` (the
            opens and clicks in the log count); the run carries it.
        count_logged_sends: let mails that the log says were sent fill the caps, too (rule R16).
        events_at_once: about how many events of a stored log are held in memory at a time; None for all.
        parts: into how many parts Spark puts the customers; about a million events each, and one for each core,
            unless given.
        progress: show a progress bar where a log is replayed in ranges and it takes longer than a moment.

    Returns:
        The run; its journeys and decisions are exact under the rules. Of a log in Spark they are Spark DataFrames.

    Raises:
        ScenarioError: the program does not fit the log (an unknown column), or depends on answers.
        InputError: `until` without a time zone, or no moment; no program, log, assumption or number where one belongs.

    >>> import pandas as pd
    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo"], "event": ["cart_add", "cart_add", "purchase"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z"]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... steps: [{wait: 1h}, {send: cart/reminder}, {wait: 30m}, {send: cart/last_call}]
    ... ''')
    >>> run = replay(cart, log, until=pd.Timestamp("2025-03-04T00:00Z"))
    >>> for mail in run.decisions.sort_values(["customer_id", "at"]).itertuples():
    ...     print(mail.customer_id, mail.step, f"{mail.at:%H:%M}", mail.status)
    ana reminder 11:00 send
    ana last_call 11:30 send
    bo reminder 11:00 send
    bo last_call 11:30 send
    """
    program = check_program(program, log)
    check_assumption(assume)
    check_flag(count_logged_sends, name="count_logged_sends")
    check_flag(progress, name="progress")
    check_whole(events_at_once, name="events_at_once", of="event")
    check_whole(parts, name="parts", of="part")
    warnings = check_against(
        program,
        event_counts=dict.fromkeys(log.event_names, 1),
        properties=log.properties,
        attributes=log.attributes,
    )
    compiled, last = compiled_for(program, log, until=until, assume=assume, count_logged_sends=count_logged_sends)
    end = moment_at(last)
    if isinstance(log, SparkLog):
        compiler = partial(compiled_for, until=until, assume=assume, count_logged_sends=count_logged_sends)
        run = SparkRun(
            program=program, log=log, compiled=compiled, compiler=compiler, until=end, assume=assume, parts=parts
        )
        notes = _notes(program, log, compiled, run, assume)
        run.notes = (*(str(warning) for warning in warnings), *notes)
        return run
    is_larger = log.stored and events_at_once is not None and len(log) > events_at_once
    if events_at_once is not None and is_larger and not ties_customers(compiled):
        streamed = replay_in_ranges(
            program, log, compiled, until=end, assume=assume, events_at_once=events_at_once, progress=progress
        )
        notes = _notes(program, log, compiled, streamed, assume)
        streamed.notes = (*(str(warning) for warning in warnings), *notes)
        return streamed
    prepared = prepare_log(log, compiled, zone=program.policies.timezone)
    walked = run_kernel(compiled, prepared.past(log, compiled, last))
    notes = _notes(program, log, compiled, prepared, assume)
    if is_larger:
        notes.append("a cycle by the median of a property asks all customers: the whole log was held in memory")
    return Run(
        program=program,
        log=log,
        until=end,
        compiled=compiled,
        prepared=prepared,
        walked=walked,
        notes=(*(str(warning) for warning in warnings), *notes),
        assume=assume,
    )


def compiled_for(
    program: Program,
    log: EventLog | SparkLog,
    *,
    until: datetime | str | None = None,
    assume: Assumed | None = None,
    count_logged_sends: bool = False,
) -> tuple[Compiled, int]:
    """The program in arrays, and the last moment in UTC microseconds; nothing is read of the log but its names."""
    first, last = (_EPOCH, _EPOCH) if log.span is None else log.span
    stop = last if until is None else moment_of(until, name="until")
    begin, end = micros_of(first), micros_of(stop)
    compiled = compile_program(
        program,
        attributes=log.attributes,
        properties=log.properties,
        first=begin,
        until=end,
        assume=assume,
        count_logged_sends=count_logged_sends,
        has_event_ids=log.has_event_ids,
    )
    return compiled, end


def ties_customers(compiled: Compiled) -> bool:
    """Whether what one customer does changes what is decided for another, other than by coupons."""
    return any(group >= 0 for _, group in compiled.gaps)


def _notes(
    program: Program,
    log: EventLog | SparkLog,
    compiled: Compiled,
    found: Prepared | Parted,
    assume: Assumption | None,
) -> list[str]:
    notes = unmet(compiled.scenarios, log, compiled.marking, found.seen) + by_logged_mails(compiled.scenarios)
    marketing = any(scenario.class_ == "marketing" for scenario in program.scenarios)
    if marketing and "consent" not in log.attributes:
        notes.append("the customers have no consent column: everyone counts as consenting until they unsubscribe")
    if "email" not in log.attributes:
        notes.append("the customers have no email column: everyone counts as having an address")
    for name, count in found.unknown_zones.items():
        notes.append(
            f"the time zone {name!r} of {counted(count, 'customer')} is unknown; {program.policies.timezone} was used"
        )
    if isinstance(log, EventLog):
        if put_aside := log.quarantined:
            notes.append(
                f"{counted(put_aside, 'event')} left out, because an event before has the same event_id: log.quarantine"
            )
        dates = [one.trigger.date for one in program.scenarios if isinstance(one.trigger, DateTrigger)]
        unreadable = {name: log.unreadable_dates(name) for name in dates}
        notes += [
            f"the {name!r} of {counted(count, 'customer')} is no date, and counts as none; write dates as 1990-12-31"
            for name, count in unreadable.items()
            if count
        ]
    if found.duplicates:
        notes.append(f"{found.duplicates:,} exact repetitions of events counted once")
    for place, scenario in enumerate(compiled.scenarios):
        value = scenario.goal.value if scenario.goal else None
        if value is not None and compiled.goal_values[place] < 0:
            notes.append(
                f"{scenario.scenario}.goal.value: the log has no property {value!r}; its values count as unknown"
            )
    if assume == "never":
        notes.append("assumed: nobody opens or clicks a mail")
    elif assume == "as_logged":
        notes.append("assumed: opens and clicks are those in the log, whichever mail they answered")
    return notes
