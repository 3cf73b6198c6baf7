"""What a replay found: journeys, decisions, and the views people take of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.difference import Difference, difference_of
from toolkit.engine.digest import Digest
from toolkit.engine.doors import micros_of, moment_of
from toolkit.engine.ids import decision_ids, journey_ids, key_texts
from toolkit.engine.instructions import Assumption
from toolkit.engine.layout import Ints
from toolkit.engine.load import mail_counts, offer_text
from toolkit.engine.ordered import distinct, in_order
from toolkit.engine.overlap import meetings_of
from toolkit.engine.period import Period, period_of
from toolkit.engine.prepared import Prepared
from toolkit.engine.reports import Counted, Reports
from toolkit.engine.runners.local import Walked
from toolkit.engine.summary import journey_counts
from toolkit.engine.trace import Trace, trace_of
from toolkit.errors import InputError, is_text, shown
from toolkit.events import EventLog
from toolkit.events.contents import row_numbers
from toolkit.events.marks import rows_of
from toolkit.scenario.models import Program
from toolkit.scenario.writing import content_hash
from toolkit.tables import ENDINGS, REASONS, STATUSES

__all__ = ["Run", "counted", "utc"]


class Run(Reports, Drawable):
    """A replay's result: exact under the rules, and the same for the same program and log.

    Attributes:
        program: what was replayed.
        log: what it was replayed over.
        until: the last moment decided, UTC.
        notes: what a reader must know: warnings, repairs, assumptions.
        assume: what the program was told of opens and clicks (rule R22), or None.
        period: which part of a longer replay this is (see `between`), or None.
        compiled, prepared, marked, walked: the same in arrays, for the rooms that compute with them.
    """

    def __init__(
        self,
        *,
        program: Program,
        log: EventLog,
        until: pd.Timestamp,
        compiled: Compiled,
        prepared: Prepared,
        walked: Walked,
        notes: tuple[str, ...],
        assume: Assumption | None,
    ) -> None:
        self.program = program
        self.log = log
        self.until = until
        self.compiled = compiled
        self.prepared = prepared
        self.marked = prepared.marked
        self.walked = walked
        self.notes = notes
        self.assume = assume
        self._whole: Run | None = None

    @property
    def whole(self) -> Run:
        """The replay that this is a period of (see `between`); itself where it is none."""
        return self if self._whole is None else self._whole

    @cached_property
    def all_journey_ids(self) -> pa.Array:
        """Ids of the journeys in the order of `walked.journeys`."""
        rows = self.walked.journeys
        return journey_ids(
            self.log,
            self.marked,
            self.compiled,
            rows[:, m.J_SCENARIO],
            rows[:, m.J_CUSTOMER],
            rows[:, m.J_EVENT],
            rows[:, m.J_TRIGGER],
        )

    @cached_property
    def journeys(self) -> pd.DataFrame:
        """One row per journey, control included, in the order of entered_at and journey_id (`tables.JOURNEYS`)."""
        rows = self.walked.journeys
        compiled = self.compiled
        frame = pd.DataFrame(
            {
                "journey_id": self.all_journey_ids.to_pandas(),
                "scenario": _named([s.scenario for s in compiled.scenarios], rows[:, m.J_SCENARIO]),
                "customer_id": self.marked.customers.take(pa.array(rows[:, m.J_CUSTOMER])).to_pandas(),
                "key": key_texts(
                    self.log, self.marked, compiled, rows[:, m.J_SCENARIO], rows[:, m.J_EVENT]
                ).to_pandas(),
                "arm": self.arm_names(rows),
                "entered_at": utc(rows[:, m.J_ENTERED]),
                "trigger_at": utc(rows[:, m.J_TRIGGER]),
                "ended_at": utc(rows[:, m.J_ENDED]),
                "ended_by": _named(list(ENDINGS), rows[:, m.J_ENDED_BY]),
                "sends": rows[:, m.J_SENDS],
            }
        )
        return in_order(frame, "entered_at", "journey_id")

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row per decision, in the order of at and decision_id (`tables.DECISIONS`)."""
        rows = self.walked.decisions
        journeys = self.walked.journeys[rows[:, m.D_JOURNEY]]
        sends = self.compiled.sends
        steps = _named([send.step for send in sends], rows[:, m.D_SEND])
        ids = self.all_journey_ids.take(pa.array(rows[:, m.D_JOURNEY]))
        currency = self.program.policies.currency
        offers = _named([offer_text(send.offer, currency) for send in sends], rows[:, m.D_SEND])
        frame = pd.DataFrame(
            {
                "decision_id": decision_ids(ids, pa.array(steps, pa.large_string())).to_pandas(),
                "journey_id": ids.to_pandas(),
                "scenario": _named([s.scenario for s in self.compiled.scenarios], journeys[:, m.J_SCENARIO]),
                "step": steps,
                "customer_id": self.marked.customers.take(pa.array(journeys[:, m.J_CUSTOMER])).to_pandas(),
                "arm": self.arm_names(journeys),
                "template": _named([send.template for send in sends], rows[:, m.D_SEND]),
                "offer": offers.where(rows[:, m.D_PLAIN] == 0, None),
                "due_at": utc(rows[:, m.D_DUE]),
                "at": utc(rows[:, m.D_AT]),
                "status": _named(list(STATUSES), rows[:, m.D_STATUS]),
                "reason": _named(list(REASONS), rows[:, m.D_REASON]),
            }
        )
        return in_order(frame, "at", "decision_id")

    def arm_names(self, journeys: Ints) -> pd.Series:
        """The arm of each of some rows of `walked.journeys`, missing where its scenario has no experiment.

        Raises:
            InputError: what is given is no such rows.
        """
        if not isinstance(journeys, np.ndarray) or journeys.shape[1:] != self.walked.journeys.shape[1:]:
            raise InputError(f"journeys: found {shown(journeys)}; allowed: rows of walked.journeys")
        names: list[str | None] = []
        first = []
        for arms in self.compiled.arms:
            first.append(len(names))
            names += arms
        places = np.array(first or [0], dtype=np.int64)[journeys[:, m.J_SCENARIO]] + journeys[:, m.J_ARM]
        return _named(names, np.where(journeys[:, m.J_ARM] < 0, -1, places))

    @property
    def version(self) -> str:
        """The content hash of the program (rule R23): its scenarios and policies in canonical form."""
        return content_hash(self.program)

    def parts(self, *, progress: bool = False) -> Iterator[Run]:
        """This run by ranges of customers: itself, unless it is streamed.

        Args:
            progress: show a progress bar where there are several.

        Yields:
            Runs that together hold every journey once; a customer is never split.
        """
        yield self

    def between(self, since: datetime | str | None = None, before: datetime | str | None = None) -> Run:
        """What this run decided in a period, for example in a quarter; all else of the run, and of its log, counts.

        A view of this run with the same answers: tables, summary, load, overlap, trace, diff, pictures and report.
        Limits, re-entry and coupons are those of the whole past.

        Args:
            since: the first moment of the period, with a time zone; the first of the log unless given.
            before: the moment that ends it and is no part of it; the end of the run, included, unless given.

        Returns:
            A run with the decisions whose `at` is in the period, and with the journeys under way in it, also those that
            began earlier. They are told as they stood at its end: what ended later is open, and `sends` counts the
            mails of the period. So mails of successive periods add up, journeys do not. What offers leave in a pool is
            told of the end of the period. To measure, give `measure` the whole run and `since=`.

        Raises:
            InputError: no moment, or one without a time zone; the period ends before it begins, or holds nothing of
                this run.

        >>> from toolkit.engine.replay import replay
        >>> from toolkit.scenario import loads
        >>> log = EventLog.from_pandas(pd.DataFrame({
        ...     "customer_id": ["ana", "bo"], "event": "cart_add", "at": ["2025-03-31T23:30Z", "2025-04-02T10:00Z"]}))
        >>> cart = loads('''
        ... scenario: cart
        ... trigger: {event: cart_add}
        ... reentry: once
        ... steps: [{wait: 1h}, {send: cart/reminder}, {wait: 7d}, {send: cart/last_call}]
        ... ''')
        >>> run = replay(cart, log, until="2025-04-30T00:00Z")
        >>> quarter = run.between("2025-01-01T00:00Z", "2025-04-01T00:00Z")
        >>> run.summary().table[["journeys", "sent", "finished", "open"]].values.tolist()
        [[2, 4, 2, 0]]
        >>> quarter.summary().table[["journeys", "sent", "finished", "open"]].values.tolist()
        [[1, 0, 0, 1]]
        >>> run.between("2025-04-01T00:00Z").summary().table[["journeys", "sent", "finished", "open"]].values.tolist()
        [[2, 4, 2, 0]]
        """
        return self.whole.within_period(period_of(since, before, span=self.span))

    def within_period(self, period: Period) -> Run:
        """This run, of a period alone."""
        cut = self._with(period.cut(self.walked))
        cut._whole, cut.period, cut.until = self, period, period.until.tz_convert("UTC")
        cut.notes = (period.note, *self.notes)
        return cut

    def _with(self, walked: Walked) -> Run:
        """This run with other journeys and decisions."""
        return Run(
            program=self.program,
            log=self.log,
            until=self.until,
            compiled=self.compiled,
            prepared=self.prepared,
            walked=walked,
            notes=self.notes,
            assume=self.assume,
        )

    def reaching(self, moment: pd.Timestamp) -> Run:
        """Of this run the journeys with a decision after a moment, each with all its decisions.

        Of a long history few journeys reach today, and to name and sort all of them takes longer than to decide. What
        this run counts and reports is of those journeys alone.

        Args:
            moment: with a time zone.

        Raises:
            InputError: what is no moment, or has no time zone.
        """
        journeys, decisions = self.walked.journeys, self.walked.decisions
        after = micros_of(moment_of(moment, name="moment"))
        kept = distinct(decisions[decisions[:, m.D_AT] > after, m.D_JOURNEY])
        place = np.full(len(journeys), -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        decisions = decisions[place[decisions[:, m.D_JOURNEY]] >= 0]
        decisions[:, m.D_JOURNEY] = place[decisions[:, m.D_JOURNEY]]
        return self._with(Walked((journeys[kept], decisions)))

    @cached_property
    def _counts(self) -> list[Counted]:
        return [counted(self)]

    def trace(self, customer_id: object) -> Trace:
        """One customer's timeline: what they did, and for every mail why it went or not.

        Args:
            customer_id: who, as in the log.

        Returns:
            The timeline; print it, or take its `.table`.

        Raises:
            InputError: nobody of that name is in the log.
        """
        trace = trace_of(self.whole, str(customer_id))
        if self.period is None:
            return trace
        shown = trace.table[self.period.rows(trace.table["at"])]
        return replace(trace, table=shown.reset_index(drop=True))

    def diff(self, other: Run) -> Difference:
        """Who gains, loses or moves a mail in another run, over the same log.

        Args:
            other: the replay of another version; of a period, the same period of one.

        Returns:
            Counts by scenario, step and change, and every mail that differs. Of a period these are the mails that are
            in it in either of the two, so that one which moved out of it is told as moved.

        Raises:
            InputError: no run, or one over another log, with another end or of another period.
        """
        if not isinstance(other, Run):
            raise InputError(f"diff: found {type(other).__name__}; allowed: a run, the replay of another version")
        return difference_of(self, other)

    @property
    def rank(self) -> Ints:
        """Whose turn it is at one moment, by place in `marked.customers`; it holds across ranges of customers."""
        return self.prepared.rank(self.log, self.compiled)

    def zone_of(self, customer: int) -> str:
        """The time zone used for a customer, by place in `marked.customers`.

        Raises:
            InputError: no such place.
        """
        given: object = customer
        last = len(self.marked.customers) - 1
        if isinstance(given, bool) or not isinstance(given, Integral) or not 0 <= int(given) <= last:
            raise InputError(f"customer: found {shown(given)}; allowed: a place in marked.customers, 0 to {last:,}")
        return str(self.prepared.zone_names[self.prepared.zone[customer]])

    def trigger_properties(self, journey_ids: Any = None) -> pd.DataFrame:
        """What set each journey off: the trigger event and its properties.

        Args:
            journey_ids: some journeys, in any order; all of them unless given.

        Returns:
            One row per journey asked, in the order asked, indexed by journey_id: event, at, and the log's properties;
            all missing where a date or a schedule was the trigger.

        Raises:
            InputError: a journey that is not of this run.
        """
        wanted = self.all_journey_ids.to_pandas() if journey_ids is None else journey_ids
        frame = self.properties_at(self.trigger_rows(wanted))
        frame.index = pd.Index(wanted, name="journey_id")
        return frame

    def trigger_rows(self, journey_ids: Any) -> Ints:
        """The row of the log of the event that set each journey off; -1 where a date or a schedule did.

        It takes as long for one journey as for all: whoever wants the properties of many, some at a time, asks once.

        Raises:
            InputError: a journey that is not of this run.
        """
        mine = pd.Series(np.arange(len(self.all_journey_ids)), index=self.all_journey_ids.to_pandas())
        if isinstance(journey_ids, str | pd.DataFrame) or not pd.api.types.is_list_like(journey_ids):
            raise InputError(f"journey_ids: found {shown(journey_ids)}; allowed: a list or a column of journey_ids")
        try:
            wanted = pd.Index(journey_ids)
            unknown = wanted.difference(mine.index)
        except UnicodeEncodeError:
            unknown = pd.Index([one for one in journey_ids if not is_text(one)], dtype=object)
        if len(unknown):
            raise InputError(f"{len(unknown)} journeys are not of this run, the first is {shown(unknown[0])}")
        events = self.walked.journeys[mine.loc[wanted].to_numpy(), m.J_EVENT]
        return np.where(events >= 0, self.marked.row[events] if len(self.marked) else -1, -1)

    def properties_at(self, rows: Ints) -> pd.DataFrame:
        """One row per row of the log asked, in that order: event, at, and the log's properties; -1 is all missing."""
        frame = rows_of(self.log, row_numbers(rows), ["event", "at", *self.log.properties])
        frame["at"] = frame["at"].dt.tz_localize("UTC")
        return frame

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all journeys and decisions in the order of customer and id: equal when all decided is equal."""
        content = Digest()
        for part in self.parts():
            content.add("journeys", part.journeys, "journey_id")
            content.add("decisions", part.decisions, "decision_id")
        return content.hexdigest()


def counted(run: Run) -> Counted:
    """Count a run, or a range of customers of it."""
    meetings = meetings_of(run)
    if run.period is not None:  # mails that went before the period may have filled a limit that was reached in it
        everything = run.whole._with(run.period.told(run.whole.walked))
        meetings = replace(meetings, collisions=meetings_of(everything).collisions)
    return Counted(journey_counts(run.compiled, run.walked), mail_counts(run), meetings)


def utc(micros: Ints) -> pd.Series:
    """Moments in UTC microseconds as a time column; `layout.NONE` is missing."""
    return pd.Series(
        micros.view("datetime64[us]") if micros.flags.c_contiguous else micros.astype("datetime64[us]")
    ).dt.tz_localize("UTC")


def _named(names: list[str] | list[str | None] | list[Any], places: Ints) -> pd.Series:
    """Names by place, missing where the place is negative."""
    if not any(isinstance(name, str) for name in names):
        return pd.Series(np.array([*names, None], dtype=object)[places], dtype=object)
    # By way of a Series, since an array of pandas 2 would make a word of None.
    return pd.Series(pd.Series(np.array([*names, None], dtype=object), dtype="str").array.take(places))
