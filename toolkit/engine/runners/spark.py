"""A replay in Spark: the kernel as it is, run where the rows are, over ranges of customers.

Spark brings whole customers together and in order; each part is then an event log of its own, marked and decided by the
same code as on one machine, so that there is no second meaning of a condition. Only counts come back to the driver.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine import layout as m
from toolkit.engine.compile import Assumption, Compiled
from toolkit.engine.digest import Digest
from toolkit.engine.layout import Ints
from toolkit.engine.measure import measure
from toolkit.engine.prepared import prepare_log
from toolkit.engine.run import Counted, Run, counted
from toolkit.engine.runners.local import Takers, next_emptied, run_once, takers_of
from toolkit.engine.runners.parted import Parted
from toolkit.errors import NotSupportedError
from toolkit.events import EventLog
from toolkit.events.spark import Reader, SparkLog
from toolkit.scenario.models import Program

__all__ = ["SparkRun"]

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
class _Last:
    """Who took the last coupon of a pool: the moment, the customer and how many of theirs at that moment."""

    until: int
    customer: str
    share: int


@dataclass(frozen=True, slots=True)
class _Task:
    """Everything that travels to a part: what is replayed, and what its log must know of the whole."""

    program: Program
    compiler: Compiler
    reader: Reader
    until: pd.Timestamp
    assume: Assumption | None
    emptied: tuple[_Last | None, ...]

    def run(self, rows: pa.Table) -> Run:
        """The replay of one part."""
        log = EventLog.of_part(self.reader.read(rows))
        compiled, last = self.compiler(self.program, log)
        prepared = prepare_log(log, compiled, zone=self.program.policies.timezone)
        compiled = replace(compiled, plan=self._plan(compiled, prepared.marked.customers))
        return Run(
            program=self.program,
            log=log,
            until=self.until,
            compiled=compiled,
            prepared=prepared,
            walked=run_once(compiled.plan, prepared.past(log, compiled, last), threads=1),
            notes=(),
            assume=self.assume,
        )

    def _plan(self, compiled: Compiled, customers: pa.Array) -> m.Plan:
        """The plan with the pools that are known to run out; turns are those of this part's own customers."""
        plan = compiled.plan
        if not any(self.emptied):
            return plan
        plan = plan._replace(
            pool_until=plan.pool_until.copy(), pool_rank=plan.pool_rank.copy(), pool_share=plan.pool_share.copy()
        )
        for pool, last in enumerate(self.emptied):
            if last is not None:
                before = int(pc.sum(pc.less(customers, pa.scalar(last.customer, customers.type))).as_py() or 0)
                is_here = bool(pc.any(pc.equal(customers, pa.scalar(last.customer, customers.type))).as_py())
                plan.pool_until[pool], plan.pool_rank[pool] = last.until, before
                # Who stands at that place here is somebody else, who comes later: nothing is left for them.
                plan.pool_share[pool] = last.share if is_here else 0
        return plan


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the driver learns of a part."""

    counted: Counted
    at: tuple[Ints, ...]
    customers: tuple[list[str], ...]
    last: tuple[int, ...]
    unknown_zones: dict[str, int]
    duplicates: int


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
        if any(group >= 0 for _, group in compiled.gaps):
            raise NotSupportedError(
                "a cycle by the median of a property asks all customers at once, which Spark's parts do not; "
                "name the days, or take the median of each customer"
            )
        self.program, self.log, self.until, self.assume = program, log, until, assume
        self.compiled, self.notes = compiled, log.notes
        self._rows = log.parts(parts)
        self._task = _Task(program, compiler, log.reader, until, assume, (None,) * len(compiled.pools))
        self._parts = self._decided()

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def _decided(self) -> list[_Counts]:
        """Every part counted; again, with one more pool known to run out, until no further pool does."""
        sizes = tuple(size for _, size in self.compiled.pools)
        while True:
            rows = self._mapped(lambda run: _counts(run, sizes), {"counts": "binary"}).collect()
            parts = [pickle.loads(row["counts"]) for row in rows]  # noqa: S301 made by this program, in Spark
            ranks, takers = _ranked(parts, len(sizes))
            plan = next_emptied(self.compiled, self.compiled.plan, takers)
            if plan is None:
                return parts
            (pool,) = (self.compiled.plan.pool_until != plan.pool_until).nonzero()[0].tolist()
            name = ranks[int(plan.pool_rank[pool])] if plan.pool_share[pool] else ""
            last = _Last(int(plan.pool_until[pool]), name, int(plan.pool_share[pool]))
            self.compiled = replace(self.compiled, plan=plan)
            emptied = tuple(last if place == pool else one for place, one in enumerate(self._task.emptied))
            self._task = replace(self._task, emptied=emptied)

    def _mapped(self, of: Callable[[Run], pa.Table], columns: dict[str, str]) -> Any:
        """A DataFrame with what a function makes of the run of each part."""
        task = self._task

        def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            held = list(batches)
            if held:
                yield from of(task.run(pa.Table.from_batches(held))).to_batches()

        return self._rows.mapInArrow(work, ", ".join(f"`{name}` {kind}" for name, kind in columns.items()))

    @cached_property
    def journeys(self) -> Any:
        """A Spark DataFrame with one row per journey (`tables.JOURNEYS`)."""
        return self._mapped(lambda run: _table(run.journeys, _JOURNEYS), _JOURNEYS)

    @cached_property
    def decisions(self) -> Any:
        """A Spark DataFrame with one row per decision (`tables.DECISIONS`)."""
        return self._mapped(lambda run: _table(run.decisions, _DECISIONS), _DECISIONS)

    def measure(self, **asked: Any) -> Any:
        """A Spark DataFrame of what followed for each unit (`tables.OUTCOMES`), observed; asked as `measure` is."""
        none = self._rows.limit(0).toArrow()
        outcomes = measure(self._task.run(none), **asked)
        columns = {str(name): _kind(dtype) for name, dtype in outcomes.dtypes.items()}
        return self._mapped(lambda run: _table(measure(run, **asked), columns), columns)

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


def _counts(run: Run, sizes: tuple[int, ...]) -> pa.Table:
    place = np.arange(len(run.marked.customers))
    takers = takers_of(run.compiled, run.walked, place)
    at, customers = [], []
    for moments, who, size in zip(takers.at, takers.rank, sizes, strict=True):
        names = run.marked.customers.take(pa.array(who))
        # No part can hold more of the coupons that were taken than there are, and one more shows that they ran out.
        order = np.lexsort((pc.rank(names, tiebreaker="dense").to_numpy(), moments))[: size + 1]
        at.append(moments[order])
        customers.append(names.take(pa.array(order)).to_pylist())
    found = _Counts(
        counted(run),
        tuple(at),
        tuple(customers),
        takers.last,
        dict(run.prepared.unknown_zones),
        run.marked.duplicates,
    )
    return pa.table({"counts": [pickle.dumps(found)]})


def _ranked(parts: list[_Counts], pools: int) -> tuple[list[str], list[Takers]]:
    """The customers who took coupons in the order of customer_id, and the takers by their places in it."""
    names = sorted({name for part in parts for some in part.customers for name in some}, key=str.encode)
    place = {name: number for number, name in enumerate(names)}
    takers = [
        Takers(
            part.at,
            tuple(np.array([place[name] for name in some], dtype=np.int64) for some in part.customers),
            part.last,
        )
        for part in parts
    ]
    none = np.zeros(0, dtype=np.int64)
    return names, takers or [Takers((none,) * pools, (none,) * pools, (m.NONE,) * pools)]


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
