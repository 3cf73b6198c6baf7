"""A replay in Spark: the kernel as it is, run where the rows are, over ranges of customers.

Spark brings whole customers together and in order; each part is then an event log of its own, marked and decided by the
same code as on one machine, so that there is no second meaning of a condition. Only counts come back to the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, reduce
from operator import add
from typing import Any

import pandas as pd
import pyarrow as pa

from toolkit.engine.compile import Compiled
from toolkit.engine.digest import Digest
from toolkit.engine.instructions import Assumption
from toolkit.engine.measure import check_whole_run, known_of, label_of, measure
from toolkit.engine.period import Period, period_of
from toolkit.engine.prepared import prepare_log
from toolkit.engine.reports import Counted
from toolkit.engine.run import Run, counted
from toolkit.engine.runners.local import run_once
from toolkit.engine.runners.parted import Parted
from toolkit.engine.runners.pools import LastCoupon, Taken, next_last_coupon, plan_with, taken_in
from toolkit.errors import NotSupportedError
from toolkit.events import EventLog
from toolkit.events.spark import Reader, SparkLog, gathered, made
from toolkit.events.spark_outcomes import labelled
from toolkit.scenario.models import Program

__all__ = ["SparkRun", "check_parts"]

_TEXT, _MOMENT, _WHOLE, _REAL, _FLAG = "string", "timestamp", "long", "double", "boolean"
_JOURNEYS = {
    "journey_id": _TEXT,
    "scenario": _TEXT,
    "customer_id": _TEXT,
    "key": _TEXT,
    "arm": _TEXT,
    "entered_at": _MOMENT,
    "trigger_at": _MOMENT,
    "ended_at": _MOMENT,
    "ended_by": _TEXT,
    "sends": _WHOLE,
}
_DECISIONS = {
    "decision_id": _TEXT,
    "journey_id": _TEXT,
    "scenario": _TEXT,
    "step": _TEXT,
    "customer_id": _TEXT,
    "arm": _TEXT,
    "template": _TEXT,
    "offer": _TEXT,
    "due_at": _MOMENT,
    "at": _MOMENT,
    "status": _TEXT,
    "reason": _TEXT,
}
_ARROW = {
    _TEXT: pa.string(),
    _MOMENT: pa.timestamp("us", "UTC"),
    _WHOLE: pa.int64(),
    _REAL: pa.float64(),
    _FLAG: pa.bool_(),
}

Compiler = Callable[[Program, EventLog | SparkLog], tuple[Compiled, int]]
"""Makes arrays of a program for a log: `replay.compiled_for`, told until when and what to assume."""


@dataclass(frozen=True, slots=True)
class _Task:
    """Everything that travels to a part: what is replayed, and what its log must know of the whole."""

    program: Program
    compiler: Compiler
    reader: Reader
    until: pd.Timestamp
    assume: Assumption | None
    known: tuple[LastCoupon | None, ...]
    period: Period | None = None

    def run(self, rows: pa.Table) -> Run:
        """The replay of one part."""
        log = EventLog.of_part(self.reader.read(rows))
        compiled, last = self.compiler(self.program, log)
        prepared = prepare_log(log, compiled, zone=self.program.policies.timezone)
        compiled = replace(compiled, plan=plan_with(compiled.plan, self.known, prepared.marked.customers))
        run = Run(
            program=self.program,
            log=log,
            until=self.until,
            compiled=compiled,
            prepared=prepared,
            walked=run_once(compiled.plan, prepared.past(log, compiled, last), threads=1),
            notes=(),
            assume=self.assume,
        )
        return run if self.period is None else run.within_period(self.period)

    def counts(self, rows: pa.Table) -> _Counts:
        """What the driver learns of one part."""
        run = self.run(rows)
        taken = taken_in(run.compiled, run.walked, run.marked.customers)
        return _Counts(counted(run), taken, dict(run.prepared.unknown_zones), run.marked.duplicates, run.prepared.seen)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the driver learns of a part."""

    counted: Counted
    taken: Taken
    unknown_zones: dict[str, int]
    duplicates: int
    seen: int


class SparkRun(Parted):
    """A replay whose customers were decided in Spark; exact, and the same as on one machine.

    `summary`, `load` and `overlap` answer at once. `journeys`, `decisions` and `measure` are Spark DataFrames, made
    where the rows are when something is asked of them.

    Attributes:
        program, until, notes, assume: as in `Run`.
        log: what it was replayed over.
    """

    def __init__(
        self,
        *,
        program: Program,
        log: SparkLog,
        compiled: Compiled,
        compiler: Compiler,
        until: pd.Timestamp,
        assume: Assumption | None,
        parts: int | None,
    ) -> None:
        check_parts(compiled)
        self.program, self.log, self.until, self.assume = program, log, until, assume
        self.compiled, self.notes = compiled, log.notes
        self._rows = log.parts(parts)
        self._task = _Task(program, compiler, log.reader, until, assume, (None,) * len(compiled.pools))
        self._parts = self._decided()

    def _decided(self) -> list[_Counts]:
        """Every part counted; again, with one more pool known to run out, until no further pool does."""
        while True:
            parts: list[_Counts] = gathered(self._rows, self._task.counts)
            found = next_last_coupon(self.compiled, [part.taken for part in parts])
            if found is None:
                return parts
            self.compiled, pool, last = found
            known = tuple(last if place == pool else one for place, one in enumerate(self._task.known))
            self._task = replace(self._task, known=known)

    def between(self, since: datetime | str | None = None, before: datetime | str | None = None) -> SparkRun:
        """What this run decided in a period; as `Run.between`. What it counts is counted anew, in Spark."""
        period = period_of(since, before, span=self.span)
        cut = copy(self)
        for made_before in ("journeys", "decisions", "digest"):
            cut.__dict__.pop(made_before, None)
        cut.period, cut.until = period, period.until.tz_convert("UTC")
        cut.notes = (period.note, *(note for note in self.notes if self.period is None or note != self.period.note))
        cut._task = replace(self._task, period=period)
        cut._parts = gathered(cut._rows, cut._task.counts)
        return cut

    def _mapped(self, of: Callable[[Run], pa.Table], columns: dict[str, str]) -> Any:
        """A DataFrame with what a function makes of the run of each part."""
        task = self._task
        return made(self._rows, lambda rows: of(task.run(rows)), columns)

    @cached_property
    def journeys(self) -> Any:
        """A Spark DataFrame with one row per journey (`tables.JOURNEYS`)."""
        return self._mapped(lambda run: _table(run.journeys, _JOURNEYS), _JOURNEYS)

    @cached_property
    def decisions(self) -> Any:
        """A Spark DataFrame with one row per decision (`tables.DECISIONS`)."""
        return self._mapped(lambda run: _table(run.decisions, _DECISIONS), _DECISIONS)

    def measure(self, **asked: Any) -> Any:
        """A Spark DataFrame of what followed for each unit (`tables.OUTCOMES`), observed; asked as `measure` is.

        What the numbers are (see `measure`) goes with its column `arm`, for `experiment` to read.
        """
        check_whole_run(self.period)
        task = self._task
        nobody = task.run(self.log.nobody)
        outcomes = measure(nobody, **asked)
        known = reduce(
            add, gathered(self._rows, lambda rows: known_of(task.run(rows), **asked)), known_of(nobody, **asked)
        )
        columns = {str(name): _kind(dtype) for name, dtype in outcomes.dtypes.items()}
        frame = self._mapped(lambda run: _table(measure(run, **asked), columns), columns)
        return labelled(frame, label_of(nobody, known, **asked))

    @cached_property
    def digest(self) -> str:
        """As in `Run`, and equal to it; the rows come to the driver part by part."""
        content = Digest()
        for name, frame in (("journeys", self.journeys), ("decisions", self.decisions)):
            key = f"{name[:-1]}_id"
            columns = _JOURNEYS if name == "journeys" else _DECISIONS
            ordered = frame.orderBy("customer_id", key)
            rows = pd.DataFrame([row.asDict() for row in ordered.collect()], columns=list(columns))
            content.add(name, _typed(rows, columns), key)
        return content.hexdigest()


def check_parts(compiled: Compiled) -> None:
    """Refuse a program that ties customers together, other than by coupons."""
    if any(group >= 0 for _, group in compiled.gaps):
        raise NotSupportedError(
            "a cycle by the median of a property asks all customers at once, which Spark's parts do not; "
            "name the days, or take the median of each customer"
        )


def _table(frame: pd.DataFrame, columns: dict[str, str]) -> pa.Table:
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in columns.items()])
    return pa.Table.from_pandas(frame[list(columns)], schema=schema, preserve_index=False)


def _kind(dtype: Any) -> str:
    for is_of, kind in (
        (pd.api.types.is_bool_dtype, _FLAG),
        (pd.api.types.is_integer_dtype, _WHOLE),
        (pd.api.types.is_float_dtype, _REAL),
        (pd.api.types.is_datetime64_any_dtype, _MOMENT),
    ):
        if is_of(dtype):
            return kind
    return _TEXT


def _typed(frame: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    for name, kind in columns.items():
        if kind == _MOMENT:
            frame[name] = pd.to_datetime(frame[name]).dt.tz_localize("UTC").astype("datetime64[us, UTC]")
        elif kind == _WHOLE:
            frame[name] = frame[name].astype("int64")
    return frame
