"""A sweep: the same replay under many settings, exactly, and what people did on their own in each."""

from __future__ import annotations

import itertools
import math
import reprlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from toolkit.bars import Bar
from toolkit.cores import cores
from toolkit.drawable import Drawable
from toolkit.engine.compile import Compiled
from toolkit.engine.compiled import config
from toolkit.engine.doors import VALUES, check_assumption, check_program, check_whole, values_to_try
from toolkit.engine.instructions import Assumption
from toolkit.engine.layout import Ints, Past
from toolkit.engine.prepared import Prepared, prepare_log
from toolkit.engine.replay import EVENTS_AT_ONCE, compiled_for, ties_customers
from toolkit.engine.runners.local import run_kernel
from toolkit.engine.runners.spark import check_parts
from toolkit.engine.runners.swept import Question, tallies_in_spark
from toolkit.engine.selection import Selection, chosen_place, select
from toolkit.engine.tally import COUNTS, FIRST, NOBODY, SECOND, WHOLE, Own, own_of, tally
from toolkit.errors import Fault, InputError, ScenarioError, check_flag, did_you_mean, is_one_of, listed, shown
from toolkit.events import EventLog, SparkLog
from toolkit.events.marks import mailed_scenarios
from toolkit.readable import lines_html, table_html
from toolkit.scenario.checks import check_against
from toolkit.scenario.models import Program, Scenario, Send, every_step
from toolkit.scenario.parameters import get_parameter, set_parameters

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["OBSERVED", "Sweep", "sweep"]

MOST_SETTINGS = 10_000
OBSERVED = ("own_before", "mailed", "own_after", "own_after_rate")
"""Columns that say what people did in the history that really was; the others follow from the rules alone."""
_MAY_LACK = ["own_before", "mailed", "own_after"]
_SHOWN = 60


@dataclass(frozen=True, eq=False)
class Sweep(Drawable):
    """Replays of one program under many settings.

    over: the values tried, by parameter path.
    table: one row per setting and scenario. Exact: journeys, sent, withheld, skipped, and journeys by ending.
        Observed: own_before, journeys that reached the goal on their own and so ended by an exit before any mail left
        or was withheld (without a goal: all that so ended), their window since entry closed; mailed, journeys with a
        first mail (sent or withheld) whose window after it has closed; own_after, those of them who reached the goal
        within the goal's window after that moment; and own_after_rate, their share. A journey that another took the
        place of counts in none of them. With `basis` "control" these four are of the holdout alone, because the log
        holds real mails of this scenario to the others; "none" when nothing in the log can tell: they are then missing
        (`pandas.NA`). So are mailed and own_after of a scenario without a goal.
    base: the values in the program itself.
    parts: the same for the two parts of the log, by `part`: "first", up to the split and as known then, and "second",
        the journeys begun after it.
    span: begin, split and end of the log; None when it is empty.
    runs: how many replays it took, since settings that change nothing for a scenario share one.
    """

    over: Mapping[str, tuple[Any, ...]]
    table: pd.DataFrame
    base: Mapping[str, Any]
    parts: pd.DataFrame
    span: tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp] | None
    runs: int

    def __str__(self) -> str:
        shown, more = self._shown()
        lacking = shown[_MAY_LACK].astype(object).fillna("")
        told = shown.assign(**{column: lacking[column] for column in _MAY_LACK})
        table = told.to_string(index=False, na_rep="", float_format="{:.3f}".format)
        return "\n".join([self._head(), "", table, *more])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown, more = self._shown()
        return lines_html([self._head()]) + table_html(shown) + lines_html(more)

    def _head(self) -> str:
        settings = len(self.table) // max(1, self.table["scenario"].nunique())
        return f"{settings:,} settings. Observed: {', '.join(OBSERVED)}. All other counts are exact."

    def _shown(self) -> tuple[pd.DataFrame, list[str]]:
        """The first rows of the scenarios that the settings change, the one they belong to first; what is left out."""
        numbers = self.table.drop(columns=[*self.over, "basis"]).groupby("scenario", sort=False).nunique(dropna=False)
        moved = numbers.index[(numbers > 1).any(axis=1)]
        still = len(numbers) - len(moved) if len(moved) else 0
        owner = next(iter(self.over), "").partition(".")[0]
        names = sorted(moved if len(moved) else numbers.index, key=lambda name: name != owner)
        table = self.table[self.table["scenario"].isin(names)]
        table = table.sort_values("scenario", key=lambda column: column.map(names.index), kind="stable")
        more = []
        if len(table) > _SHOWN:
            more.append(f"… and {len(table) - _SHOWN:,} more rows in .table")
        if still:
            more.append(f"{still:,} scenario{'s' * (still > 1)} that no setting changes left out here; .table has all")
        return table.head(_SHOWN), more

    def heatmap(self, value: str = "sent", **options: Any) -> Figure:
        """The picture of one column over the settings; see `toolkit.charts`.

        Args:
            value: a numeric column of `table`.
            **options: what the drawing takes.

        Returns:
            A plotly figure.
        """
        return self.plot(value=value, **options)

    def best(self, value: str, *, scenario: str | None = None, lowest: bool = False) -> Selection:
        """The best setting by one number, chosen on the first part of the log and shown on the second.

        The best of many settings is a selection: part of its number is luck, which does not come again. So it is chosen
        where it may be lucky, and shown where it was not chosen. Of settings with the same number the one nearest to
        the program as it is is taken, and the others are named: see `Selection`.

        Args:
            value: a numeric column of `table`.
            scenario: whose; the one the first path belongs to unless given.
            lowest: take the lowest for the best, for example of own_after_rate.

        Returns:
            The choice with both numbers; its `.table` ranks all settings.

        Raises:
            InputError: no such column or scenario, or a number that the first part of the log does not define.
        """
        check_flag(lowest, name="lowest")
        able = [name for name in (*COUNTS, "own_after_rate") if name in self.parts]
        if not is_one_of(value, able):
            raise InputError(f"no number {shown(value)} in this sweep; {_allowed(value, able)}")
        names = list(dict.fromkeys(self.table["scenario"]))
        owner = next(iter(self.over)).partition(".")[0]
        chosen = scenario if scenario is not None else owner if owner in names else names[0]
        if not is_one_of(chosen, names):
            raise InputError(
                f"no scenario {shown(chosen)} in this sweep; it has {listed(names, near=chosen)}"
                + did_you_mean(chosen, names)
            )
        table = select(self.parts[self.parts["scenario"] == chosen], value, paths=list(self.over), lowest=lowest)
        if self.span is None or table["first"].isna().all():
            raise InputError(
                f"{value} is not defined in the first part of the log for any setting: nobody counts there "
                "(no closed window, or no control group), so nothing can be chosen by it"
            )
        place = chosen_place(table, self.base)
        setting = table[list(self.over)].to_dict("records")[place]
        return Selection(
            value=value,
            kind="observed" if value in OBSERVED else "exact",
            scenario=chosen,
            lowest=lowest,
            chosen={path: setting[path] for path in self.over},
            now=self.base,
            table=table,
            span=self.span,
            place=place,
        )


def _allowed(word: str, choices: Sequence[str]) -> str:
    return f"it has {', '.join(choices)}{did_you_mean(word, choices)}"


def sweep(
    program: Program | Scenario,
    log: EventLog | SparkLog,
    over: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    until: datetime | str | None = None,
    assume: Assumption | None = None,
    progress: bool = True,
    chosen_on: float = 0.5,
    parts: int | None = None,
) -> Sweep:
    """Replay under many settings: every combination of some values, or a list of settings.

    The log is read and sorted once, for all settings that only move numbers, and settings run side by side on all
    cores. Scenarios that a setting does not reach, and that share no limit and no coupons with one that it reaches, are
    not replayed again.

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did; over a log in Spark (`EventLog.from_spark`) the replays run there.
        over: values to try by parameter path, for example {"abandoned_cart.pause.wait": ["1h", "4h", "1d"]}; or a list
            of settings, each a value by path (a path it does not name keeps the program's own value).
        until, assume: as in `replay`.
        progress: show a progress bar where it takes longer than a moment.
        chosen_on: the share of the log's time on which `.best()` chooses, between 0 and 1; it shows on the rest.
        parts: into how many parts Spark puts the customers, as in `replay`.

    Returns:
        The sweep; the best of many cells is a selection, and its number flatters it: see `Sweep.best`.

    Raises:
        ScenarioError: no such path (the nearest is named), a value that is not allowed there, all of them at once; too
            many settings.
        InputError: `chosen_on` is not a share; what is tried is no list, or the program no program, the log no log.
        NotSupportedError: over a log in Spark, a cycle by the median over all customers.

    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo"], "event": ["cart_add", "cart_add", "purchase"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z"]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... steps: [{id: pause, wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> until = pd.Timestamp("2025-03-09T00:00Z")
    >>> tried = sweep(cart, log, {"cart.pause.wait": ["1h", "4h"]}, until=until, progress=False)
    >>> tried.table[["cart.pause.wait", "sent", "own_before"]].values.tolist()
    [['1h', 2, 0], ['4h', 1, 1]]
    """
    program = check_program(program, log)
    check_flag(progress, name="progress")
    check_assumption(assume)
    check_whole(parts, name="parts", of="part")
    if not (isinstance(chosen_on, int | float) and 0 < chosen_on < 1):
        raise InputError(f"chosen_on must lie between 0 and 1; found {shown(chosen_on)}")
    values, settings = _settings(program, over)
    base = {path: get_parameter(program, path) for path in values}
    check_against(
        program,
        event_counts=dict.fromkeys(log.event_names, 1),
        properties=log.properties,
        attributes=log.attributes,
    )
    work = _Work(log, until, assume, chosen_on)
    found = work.jobs_of(program, settings)
    if isinstance(log, SparkLog):
        _run_in_spark(log, work, parts)
    else:
        work.run(log, progress=progress)
    rows: dict[int, list[dict[str, Any]]] = {WHOLE: [], FIRST: [], SECOND: []}
    names = [one.scenario for one in sorted(program.scenarios, key=lambda one: (-one.priority, one.scenario))]
    for setting, tallied in zip(settings, found, strict=True):
        told = {path: setting.get(path, base[path]) for path in values}
        told = {path: value if isinstance(value, int | float) else str(value) for path, value in told.items()}
        for part, own in rows.items():
            own += [{**told, **row} for row in _rows(tallied, part, names)]
    kinds = dict.fromkeys(_MAY_LACK, "Int64")
    whole, first, second = (pd.DataFrame(rows[part]).astype(kinds) for part in (WHOLE, FIRST, SECOND))
    both = pd.concat([first.assign(part="first"), second.assign(part="second")], ignore_index=True)
    return Sweep(values, whole, base, both, work.span, work.replays)


def _settings(
    program: Program, over: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
) -> tuple[dict[str, tuple[Any, ...]], list[dict[str, Any]]]:
    """Values by path, and every setting; each path and each value is checked before anything is replayed."""
    if isinstance(over, Mapping):
        values = values_to_try(over)
        empty = [path for path, tried in values.items() if not tried]
        if not values or empty:
            raise ScenarioError(f"nothing to try{' for ' + ', '.join(empty) if empty else ''}")
        count = int(np.prod([len(tried) for tried in values.values()], dtype=float))
    else:
        if not isinstance(over, Sequence) or not all(isinstance(one, Mapping) for one in over):
            raise InputError(f"over: found {reprlib.repr(over)}; allowed: {VALUES}, or a list of settings")
        listed = [dict(setting) for setting in over]
        count = len(listed)
        if not any(listed):
            raise ScenarioError("nothing to try: the list of settings is empty")
        paths = dict.fromkeys(path for setting in listed for path in setting)
        values = {path: tuple(_unique(setting[path] for setting in listed if path in setting)) for path in paths}
    if count > MOST_SETTINGS:
        raise ScenarioError(f"{count:,} settings; at most {MOST_SETTINGS:,} at once: try fewer values of each path")
    faults: list[Fault] = []
    for path in values:
        try:
            get_parameter(program, path)
        except ScenarioError as error:
            faults += error.faults
    if faults:
        raise ScenarioError(faults)
    if isinstance(over, Mapping):
        listed = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
    return values, listed


def _unique(values: Iterator[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(repr(value), value)
    return list(found.values())


def _programs(program: Program, settings: list[dict[str, Any]]) -> list[Program]:
    """The program under each setting; all faults of all of them at once."""
    programs, faults = [], dict[str, Fault]()
    for setting in settings:
        try:
            programs.append(set_parameters(program, setting))
        except ScenarioError as error:
            faults |= {str(fault): fault for fault in error.faults}
    if faults:
        raise ScenarioError(list(faults.values()))
    return programs


def _tied(program: Program) -> list[tuple[str, ...]]:
    """Groups of scenarios that can change each other's mails: by a limit or by coupons that they share."""
    groups = {scenario.scenario: {scenario.scenario} for scenario in program.scenarios}

    def tie(names: list[str]) -> None:
        together = set().union(*(groups[name] for name in names))
        for name in together:
            groups[name] = together

    marketing = [scenario for scenario in program.scenarios if scenario.class_ == "marketing"]
    caps = [*program.policies.caps, *(cap for scenario in marketing for cap in scenario.caps)]
    if len(marketing) > 1 and any(cap.scope == "marketing" for cap in caps):
        tie([scenario.scenario for scenario in marketing])
    for pool in program.policies.pools:
        sharing = [scenario.scenario for scenario in program.scenarios if pool in _pools_of(scenario)]
        if len(sharing) > 1:
            tie(sharing)
    unique = dict.fromkeys(tuple(sorted(group)) for group in groups.values())
    return list(unique)


def _pools_of(scenario: Scenario) -> set[str]:
    sends = (step for step in every_step(scenario.steps) if isinstance(step, Send))
    return {send.offer.pool for send in sends if send.offer is not None and send.offer.pool is not None}


@dataclass
class _Job:
    """One replay that some settings share: some scenarios under one set of numbers."""

    compiled: Compiled
    own: Own
    zone: str
    counts: Ints | None = None


@dataclass
class _Work:
    """What all settings of a sweep share."""

    log: EventLog | SparkLog
    until: datetime | str | None
    assume: Assumption | None
    chosen_on: float
    mailed: frozenset[str] = frozenset()
    last: int = 0
    split: int = 0
    span: tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp] | None = None
    jobs: dict[tuple[Any, ...], _Job] = field(default_factory=dict)

    @property
    def replays(self) -> int:
        return len(self.jobs)

    def jobs_of(self, program: Program, settings: list[dict[str, Any]]) -> list[list[_Job]]:
        """The jobs of each setting, still to be done."""
        return [[self._job(changed, group) for group in _tied(changed)] for changed in _programs(program, settings)]

    def run(self, log: EventLog, *, progress: bool) -> None:
        """Do all jobs on this machine."""
        threads = 1 if config.DISABLE_JIT else cores()
        # Settings that ask the log the same question stand together, since only a few answers are kept.
        questions = list(dict.fromkeys(job.compiled.marking for job in self.jobs.values()))
        jobs = sorted(self.jobs.values(), key=lambda job: questions.index(job.compiled.marking))
        ranges = self._ranges(log, jobs)
        bar = Bar(
            total=len(jobs) * len(ranges),
            desc="sweep",
            unit=" replays",
            disable=not progress or len(jobs) < 3,
            delay=0.5,
        )
        with bar, ThreadPoolExecutor(threads) as pool:
            try:
                for part in ranges:
                    self._run_all(part, jobs, pool, threads, bar)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # who breaks off waits for what has begun alone
                raise

    def _job(self, program: Program, names: tuple[str, ...]) -> _Job:
        own_program = program.model_copy(
            update={"scenarios": tuple(one for one in program.scenarios if one.scenario in names)}
        )
        compiled, last = compiled_for(own_program, self.log, until=self.until, assume=self.assume)
        if self.span is None and self.log.span is not None:
            begin = int(self.log.span[0].value // 1000)
            self.last, self.split = last, begin + int((last - begin) * self.chosen_on)
            self.mailed = mailed_scenarios(self.log, up_to=last)
            moments = (pd.Timestamp(micros, unit="us", tz="UTC") for micros in (begin, self.split, self.last))
            self.span = next(moments), next(moments), next(moments)
        own = own_of(compiled, self.mailed)
        key = (
            compiled.marking,
            compiled.gaps,
            _content(compiled),
            own.basis,
            own.windows.tobytes(),
            own.arms.tobytes(),
        )
        return self.jobs.setdefault(key, _Job(compiled, own, program.policies.timezone))

    def _ranges(self, log: EventLog, jobs: list[_Job]) -> list[EventLog]:
        """The log, or ranges of customers of a stored log that is larger than memory should hold."""
        tied = any(job.compiled.pools or ties_customers(job.compiled) for job in jobs)
        if not log.stored or tied or len(log) <= EVENTS_AT_ONCE:
            return [log]
        ranges = log.ranges(events=EVENTS_AT_ONCE)
        return [log.within(chosen, part=place) for place, chosen in enumerate(ranges)]

    def _run_all(self, log: EventLog, jobs: list[_Job], pool: ThreadPoolExecutor, threads: int, bar: Any) -> None:
        """A few settings at a time, each on one core; a single one on all of them."""
        each = 1 if len(jobs) >= threads else threads
        waiting: deque[tuple[_Job, Future[Ints]]] = deque()
        for job in jobs:
            prepared = prepare_log(log, job.compiled, zone=job.zone)
            past = prepared.past(log, job.compiled, self.last)
            waiting.append((job, pool.submit(self._count, job, prepared, past, each)))
            if len(waiting) > 2 * threads:
                self._take(waiting, bar)
        while waiting:
            self._take(waiting, bar)

    def _take(self, waiting: deque[tuple[_Job, Future[Ints]]], bar: Any) -> None:
        job, future = waiting.popleft()
        counts = future.result()
        job.counts = counts if job.counts is None else job.counts + counts
        bar.update()

    def _count(self, job: _Job, prepared: Prepared, past: Past, threads: int) -> Ints:
        walked = run_kernel(job.compiled, past, threads=threads)
        return tally(job.compiled, prepared, walked, job.own, split=self.split, last=self.last)


def _run_in_spark(log: SparkLog, work: _Work, parts: int | None) -> None:
    """Do all jobs where the rows are."""
    jobs = list(work.jobs.values())
    for job in jobs:
        check_parts(job.compiled)
    questions = [Question(job.compiled, job.own, job.zone) for job in jobs]
    counts = tallies_in_spark(log, questions, split=work.split, last=work.last, parts=parts)
    for job, found in zip(jobs, counts, strict=True):
        job.counts = found


def _content(compiled: Compiled) -> tuple[Any, ...]:
    """All that decides: equal for two settings under which the same mails go."""
    plan = tuple((part.shape, part.tobytes()) if isinstance(part, np.ndarray) else part for part in compiled.plan)
    return (*plan, compiled.pools, tuple(scenario.scenario for scenario in compiled.scenarios))


def _rows(jobs: list[_Job], part: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per scenario, in the order of some names: the same under every setting, also where priorities change."""
    rows = []
    for job in jobs:
        for place, scenario in enumerate(job.compiled.scenarios):
            if job.counts is None:
                continue
            row: dict[str, Any] = dict(zip(COUNTS, job.counts[part, place].tolist(), strict=True))
            rate = row["own_after"] / row["mailed"] if row["mailed"] else math.nan
            if job.own.arms[place] == NOBODY:
                row["own_before"] = None
            if job.own.arms[place] == NOBODY or not job.own.windows[place]:
                row["mailed"] = row["own_after"] = None
            own = {"own_after_rate": rate, "basis": job.own.basis[place]}
            rows.append({"scenario": scenario.scenario, **row, **own})
    return sorted(rows, key=lambda row: names.index(row["scenario"]))
