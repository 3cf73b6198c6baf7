"""Measure: what followed for each person who entered a scenario, in a window that is closed. Observed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import add
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.asking import mark_of
from toolkit.engine.doors import micros_of, moment_of, scenario_in
from toolkit.engine.evidence import LoggedMails, evidence_from, mails_in
from toolkit.engine.follow import within as followed
from toolkit.engine.layout import Ints
from toolkit.engine.marked import Marked, mark
from toolkit.engine.period import Period
from toolkit.engine.run import Run, utc
from toolkit.errors import InputError, is_one_of, shown
from toolkit.events.marks import Mark, Marking
from toolkit.events.quoting import of_scenarios
from toolkit.scenario.duration import Duration, as_meant
from toolkit.scenario.models import InactiveTrigger, Scenario

__all__ = ["Known", "check_whole_run", "known_of", "label_of", "measure"]

_BEFORE = Duration(days=90)
_OTHERS = "other_mails"
_ANSWERS = {"opened": "email_opened", "clicked": "email_clicked"}
# What of a unit's opens counts first: a person's, one that nobody can tell, a machine's.
_VERDICTS = {"opened_human": "human", "opened": "unsure", "opened_by_machine": "machine"}


def measure(
    run: Run,
    *,
    scenario: str | None = None,
    within: str | Duration | None = None,
    unit: Literal["customer", "journey"] = "customer",
    before: str | Duration = _BEFORE,
    lapsed: str | Duration | None = None,
    since: datetime | str | None = None,
) -> pd.DataFrame:
    """What people did after they entered a scenario, whatever they were sent (intention to treat).

    Args:
        run: a replay; one in ranges of customers is measured range by range, and its log read again.
        scenario: which scenario; needed when the program has several.
        within: how long after entry counts, a day as 24 hours; the goal's own window unless given.
        unit: `customer` (from the first entry; the right unit for lift) or `journey`.
        before: how long before entry the covariates `pre_…` look back.
        lapsed: measure `reactivated`: the goal reached within the window by people who had not reached it for so
            long before entry. A scenario whose trigger is silence needs no value: everyone in it had lapsed.
        since: journeys that began before this moment, with a time zone, count for nothing: when an experiment began
            in a log that is older than it. For the end of one, `replay(until=)`: what came to be known later counts
            for nothing.

    Returns:
        Outcomes (`tables.OUTCOMES`), one row per unit whose window has closed by the end of the log: unit,
        customer_id, arm, entered_at, opened, clicked (not those of machines), open_verdict (human, unsure or machine,
        where the log says), converted, revenue (where the goal names a value), reactivated (where asked), unsubscribed,
        the moments converted_at and reactivated_at, other_mails (mails of the program's other marketing scenarios
        within the window, but those of the same experiment, where there are any and the log tells), sends, and the
        covariates pre_purchases and pre_revenue: how often the goal was reached, and its value, before entry.
        `frame.attrs["toolkit"]` says what the numbers are: label, unit, whether the arms were randomised in this log
        and why, window, how many windows were still open; and `untouched`, how many units had their whole window before
        the first mail of the experiment that the log holds, or entered after the last.

    Raises:
        InputError: no such scenario; no window; a moment without a time zone; a scenario without a goal, or whose goal
            has values that are no numbers; a length of time that is none; what was given is no run, or a period of one.

    >>> from toolkit.engine.replay import replay
    >>> from toolkit.events import EventLog
    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo", "ana"], "event": ["cart_add", "cart_add", "purchase", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z", "2025-03-20T10:00Z"],
    ...     "revenue": [None, None, 30.0, None]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... goal: {event: purchase, within: 7d, value: revenue}
    ... steps: [{wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> outcomes = measure(replay(cart, log))
    >>> outcomes[["unit", "converted", "revenue", "sends"]].values.tolist()
    [['ana', False, 0.0, 1], ['bo', True, 30.0, 1]]
    >>> outcomes.attrs["toolkit"]["why"]
    'cart has no experiment'
    """
    _check_run(run)
    place, chosen, window = _asked(run, scenario, within)
    _check_value(run, chosen)
    looks_back = _length(before, "before", least=0)
    lapse = None if lapsed is None else _length(lapsed, "lapsed")
    parts = [
        _measured(part, place, chosen, window, unit=unit, looks_back=looks_back, lapse=lapse, since=since)
        for part in run.parts()
    ]
    frame = pd.concat([part for part, _ in parts], ignore_index=True) if len(parts) > 1 else parts[0][0]
    frame = frame.sort_values("unit", kind="stable", ignore_index=True)
    frame.attrs["toolkit"] = _label(chosen, window, unit, reduce(add, (known for _, known in parts)))
    return frame


def _measured(
    run: Run,
    place: int,
    chosen: Scenario,
    window: int,
    *,
    unit: str,
    looks_back: int,
    lapse: int | None,
    since: datetime | str | None,
) -> tuple[pd.DataFrame, Known]:
    """The outcomes of one range of customers, or of all, and what is known of them; lengths in microseconds."""
    units, entered, still_open = _closed(run, place, unit, window, since)
    look = _look(run, chosen)
    rows = run.walked.journeys[units]
    customers = look.places(run.marked.customers.take(pa.array(rows[:, m.J_CUSTOMER])))
    until = entered + window

    reached, value, first = look.count(customers, after=entered, up_to=until, what="goal", value=look.value)
    back = entered - looks_back
    earlier, spent, _ = look.count(
        customers, after=back, up_to=entered, known_by=entered, what="goal", value=look.value
    )
    frame = pd.DataFrame(
        {
            "unit": _unit_names(run, units, unit),
            "customer_id": run.marked.customers.take(pa.array(rows[:, m.J_CUSTOMER])).to_pandas(),
            "arm": run.arm_names(rows),
            "entered_at": utc(entered),
        }
    )
    for name in (*_ANSWERS, "unsubscribed"):
        if name in look.bits:
            frame[name] = look.count(customers, after=entered, up_to=until, what=name)[0] > 0
    if "opened_human" in look.bits:
        verdict = np.full(len(units), None, dtype=object)
        for what, word in reversed(_VERDICTS.items()):
            verdict[look.count(customers, after=entered, up_to=until, what=what)[0] > 0] = word
        frame["open_verdict"] = pd.Series(verdict, dtype="str")  # also where nobody opened anything
    if "other" in look.bits:
        frame[_OTHERS] = look.count(customers, after=entered, up_to=until, what="other")[0]
    frame["converted"] = reached > 0
    frame["converted_at"] = _moments(first, reached > 0)
    if look.value >= 0:
        frame["revenue"] = value
        frame["pre_revenue"] = spent
    frame["pre_purchases"] = earlier
    if isinstance(chosen.trigger, InactiveTrigger) or lapse is not None:
        came_back, _, back_at = look.count(customers, after=entered, up_to=until, what="back")
        frame["reactivated"] = came_back > 0
        if lapse is not None:
            recent, _, _ = look.count(customers, after=entered - lapse, up_to=entered, known_by=entered, what="back")
            frame["reactivated"] = (came_back > 0) & (recent == 0)
        frame["reactivated_at"] = _moments(back_at, frame["reactivated"].to_numpy())
    frame["sends"] = _sends(run, units, unit, since)
    mails = mails_in(run, place)
    return frame, Known(mails, still_open, _apart(mails, entered, window))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the outcomes beside their rows; that of parts of a log adds up.

    mails: those of the experiment that the log holds. still_open: units left out because their window is not closed.
    apart: when those units entered that none of these mails could reach; among them are all that none of more could.
    """

    mails: LoggedMails | None
    still_open: int
    apart: Ints

    def __add__(self, other: Known) -> Known:
        mails = self.mails + other.mails if self.mails is not None and other.mails is not None else None
        return Known(mails, self.still_open + other.still_open, np.concatenate([self.apart, other.apart]))


def known_of(
    run: Run,
    *,
    scenario: str | None = None,
    within: str | Duration | None = None,
    unit: Literal["customer", "journey"] = "customer",
    since: datetime | str | None = None,
    **_: Any,
) -> Known:
    """What is known of the outcomes of a run, asked as `measure` is."""
    place, _chosen, window = _asked(run, scenario, within)
    mails = mails_in(run, place)
    _units, entered, still_open = _closed(run, place, unit, window, since)
    return Known(mails, still_open, _apart(mails, entered, window))


def label_of(
    run: Run,
    known: Known,
    *,
    scenario: str | None = None,
    within: str | Duration | None = None,
    unit: Literal["customer", "journey"] = "customer",
    **_: Any,
) -> dict[str, Any]:
    """What the numbers are, as in `frame.attrs["toolkit"]`, where more is known than this run, a part, can."""
    _place, chosen, window = _asked(run, scenario, within)
    return _label(chosen, window, unit, known)


def _asked(run: Run, scenario: str | None, within: str | Duration | None) -> tuple[int, Scenario, int]:
    """The scenario, its place, and the window in microseconds."""
    place, chosen = scenario_in(run.compiled.scenarios, scenario)
    if chosen.goal is None:
        raise InputError(
            f"{chosen.scenario}: no goal to measure; add for example goal: {{event: purchase, within: 7d}}"
        )
    return place, chosen, _length(chosen.goal.within if within is None else within, "within")


def _check_value(run: Run, scenario: Scenario) -> None:
    """A value that cannot be read as a number would add nothing, and revenue would be too small without a word."""
    if scenario.goal is None or scenario.goal.value is None:
        return
    value, event = scenario.goal.value, scenario.goal.event
    count, example = run.log.unreadable_numbers(event, value)
    if count:
        of_all = f"in {count:,} of the {run.log.event_counts[event]:,} {event!r} events, for example {example!r}"
        allowed = "numbers such as 1234.50, or nothing where it is unknown"
        raise InputError(f"{scenario.scenario}.goal.value: {value!r} is no number {of_all}; allowed: {allowed}")


def _check_run(run: object) -> None:
    if not isinstance(run, Run):
        raise InputError(
            f"run: found {type(run).__name__}; allowed: a run of replay(program, log); one in Spark has run.measure()"
        )
    check_whole_run(run.period)


def check_whole_run(period: Period | None) -> None:
    """Refuse a period of a run: who entered before it began would count from the middle of their journey."""
    if period is not None:
        raise InputError(
            f"measure: found a period of a run; allowed: the whole run, with since={str(period.since)!r} for journeys "
            "that began from then on"
        )


def _length(value: str | Duration, name: str, *, least: int = 1) -> int:
    """A length of time in microseconds."""
    try:
        length = Duration.parse(value).elapsed
    except ValueError as fault:
        meant = as_meant(value) if isinstance(value, str) else None
        raise InputError(f"{name}: {fault}" + (f"; did you mean {meant!r}?" if meant else "")) from None
    if length < least:
        raise InputError(f"{name}: found {shown(value)}; allowed: {'longer than nothing' if least else '0s or longer'}")
    return length


def _closed(run: Run, place: int, unit: str, window: int, since: datetime | str | None) -> tuple[Ints, Ints, int]:
    """Units whose window has closed, when they entered, and how many are still open."""
    units = _units(run, place, unit, since)
    end = micros_of(run.until)
    entered = run.walked.journeys[units, m.J_ENTERED]
    closed = entered + window <= end
    return units[closed], entered[closed], int((~closed).sum())


def _moments(at: Ints, happened: npt.NDArray[np.bool_]) -> pd.Series:
    """When it first happened; missing where it did not."""
    return pd.Series(utc(np.where(happened, at, 0))).where(happened)


def _label(scenario: Scenario, window: int, unit: str, known: Known) -> dict[str, Any]:
    evidence = evidence_from(scenario, known.mails)
    return {
        "label": "observed",
        "unit": unit,
        "scenario": scenario.scenario,
        "experiment": scenario.experiment.name if scenario.experiment else None,
        "weights": dict(scenario.experiment.arms) if scenario.experiment else None,
        "randomised": evidence.randomised,
        "why": evidence.why,
        "window": str(Duration(microseconds=window)) if window % 86_400_000_000 else f"{window // 86_400_000_000}d",
        "open_windows": known.still_open,
        **_untouched(known, window),
    }


def _apart(mails: LoggedMails | None, entered: Ints, window: int) -> Ints:
    """The moments of entry whose window lay before the first of the mails, or that came after the last."""
    if mails is None or mails.span is None:
        return entered
    first, last = mails.span
    return entered[(entered + window <= first) | (entered > last)]


def _untouched(known: Known, window: int) -> dict[str, Any]:
    """How many units no mail of the experiment could reach within their window, and when it was at work."""
    if known.mails is None or known.mails.span is None:
        return {}
    count = len(_apart(known.mails, known.apart, window))
    days = [f"{pd.Timestamp(moment, unit='us'):%Y-%m-%d}" for moment in known.mails.span]
    return {"untouched": count, "mailed": tuple(days)} if count else {}


def _from(run: Run, place: int, since: datetime | str | None) -> Ints:
    """Places of a scenario's journeys, those that began before a moment left out."""
    journeys = run.walked.journeys
    mine = journeys[:, m.J_SCENARIO] == place
    if since is not None:
        mine &= journeys[:, m.J_ENTERED] >= micros_of(moment_of(since, name="since"))
    return np.flatnonzero(mine)


def _units(run: Run, place: int, unit: str, since: datetime | str | None) -> Ints:
    """Places of the journeys that stand for the units: all of them, or each customer's first."""
    if not is_one_of(unit, ("customer", "journey")):
        raise InputError(f"unit must be 'customer' or 'journey'; found {shown(unit)}")
    journeys = run.walked.journeys
    mine = _from(run, place, since)
    if unit == "journey":
        return mine
    order = mine[np.lexsort((mine, journeys[mine, m.J_ENTERED], journeys[mine, m.J_CUSTOMER]))]
    _, first = np.unique(journeys[order, m.J_CUSTOMER], return_index=True)
    found: Ints = order[first]
    return found


def _unit_names(run: Run, units: Ints, unit: str) -> pd.Series:
    if unit == "customer":
        names: pd.Series = run.marked.customers.take(pa.array(run.walked.journeys[units, m.J_CUSTOMER])).to_pandas()
        return names
    ids: pd.Series = run.all_journey_ids.take(pa.array(units)).to_pandas()
    return ids


def _sends(run: Run, units: Ints, unit: str, since: datetime | str | None) -> Ints:
    """Mails of the scenario to each unit, over the whole replay, or from a moment on."""
    journeys = run.walked.journeys
    if unit == "journey":
        sends: Ints = journeys[units, m.J_SENDS]
        return sends
    place = journeys[units[0], m.J_SCENARIO] if len(units) else -1
    mine = journeys[_from(run, place, since)]
    total = np.bincount(mine[:, m.J_CUSTOMER], weights=mine[:, m.J_SENDS], minlength=len(run.marked.customers))
    of_units: Ints = total[journeys[units, m.J_CUSTOMER]].astype(np.int64)
    return of_units


def _is_other(one: Scenario, scenario: Scenario) -> bool:
    """Whether a scenario's mails are no part of what the arms of another got: those of one experiment are."""
    names = [each.experiment.name for each in (one, scenario) if each.experiment is not None]
    is_part = len(names) == 2 and names[0] == names[1]
    return one.class_ == "marketing" and one.scenario != scenario.scenario and not is_part


# What is looked for in the log ........................................................................................


@dataclass(frozen=True, slots=True)
class _Look:
    """The log marked with what a measurement looks for."""

    marked: Marked
    bits: dict[str, int]
    value: int
    known: int  # the end of the replay: what is heard of later counts for nothing

    def places(self, customers: pa.Array) -> Ints:
        """Place of each customer in the marked log, -1 where none of their events counts."""
        found = pc.fill_null(pc.index_in(customers, value_set=self.marked.customers), -1)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)

    def count(
        self, customers: Ints, *, what: str, after: Ints, up_to: Ints, known_by: Ints | None = None, value: int = -1
    ) -> tuple[Ints, m.Floats, Ints]:
        known = self.known if known_by is None else known_by
        return followed(
            self.marked, customers, after=after, up_to=up_to, known_by=known, bit=self.bits[what], value=value
        )


def _look(run: Run, scenario: Scenario) -> _Look:
    goal = scenario.goal
    if goal is None:
        raise InputError(f"{scenario.scenario}: no goal to measure")
    marks: dict[str, Mark] = {"goal": mark_of(run.log, goal.event, goal.where)}
    own = None if "scenario" not in run.log.properties else of_scenarios([scenario.scenario])
    names = set(run.log.event_names)
    marks |= {name: Mark(event, own) for name, event in _ANSWERS.items() if event in names}
    if "email_opened" in names and run.log.properties.get("verdict") == "text":
        human = f"verdict = 'human'{'' if own is None else f' AND ({own})'}"
        marks["opened_human"] = Mark("email_opened", human)
        marks["opened_by_machine"] = Mark("email_opened_by_machine", own)
    if "email_sent" in names and own is not None:
        # Of scenarios that the program does not hold nobody knows whether they are confirmations, which follow an order
        others = {one.scenario for one in run.program.scenarios if _is_other(one, scenario)}
        if others:
            marks["other"] = Mark("email_sent", of_scenarios(sorted(others)))
    if "email_unsubscribed" in names:
        marks["unsubscribed"] = Mark("email_unsubscribed")
    marks["back"] = marks["goal"]
    if isinstance(scenario.trigger, InactiveTrigger):
        marks["back"] = mark_of(run.log, scenario.trigger.inactive, scenario.trigger.where)
    unique = tuple(dict.fromkeys(marks.values()))
    values = (goal.value,) if goal.value is not None and goal.value in run.log.properties else ()
    marked = mark(run.log, Marking(marks=unique, values=values))
    bits = {name: unique.index(one) for name, one in marks.items()}
    return _Look(marked, bits, 0 if values else -1, micros_of(run.until))
