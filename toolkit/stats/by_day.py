"""How lift and its interval developed, day by day, so that whoever watches is not misled by watching."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from toolkit.bars import Bar
from toolkit.drawable import Drawable
from toolkit.errors import MetricError
from toolkit.readable import counted
from toolkit.stats.arguments import check_column, check_count, check_flag, check_number, check_seed, check_zone
from toolkit.stats.comparison import Comparison
from toolkit.stats.doors import check_window
from toolkit.stats.gathering import gather
from toolkit.stats.looks import ENOUGH, Looks
from toolkit.stats.metric import Metric, Setting
from toolkit.stats.moments import Moments, missing_column, numbers, one_column
from toolkit.stats.outcomes import Arms, read_arms
from toolkit.stats.reading import OutcomesLike, known_about, opened
from toolkit.stats.result import Result
from toolkit.stats.source import Source, read_stored
from toolkit.stats.windows import days_of

__all__ = ["Day", "LiftByDay", "Mark", "lift_by_day"]

_TIGHTEST = 5_000.0  # units, where no plan says how many: chosen before any data, so that the band holds for any number
_SAME = 1e-9
_COLUMNS = ("metric", "arm", "n_control", "n", "control", "value", "diff", "diff_lower", "diff_upper", "note")


@dataclass(frozen=True, slots=True)
class Day:
    """Where the experiment stood at the end of a day.

    Attributes:
        day: its midnight, in the zone of the days.
        units: how many windows had closed by its end, all arms together.
        comparisons: every arm against control on every metric; intervals of the confidence sequence.
    """

    day: pd.Timestamp
    units: int
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A look that was planned, or the planned end of an experiment with one look.

    Attributes:
        at: when the last of its windows closed, in the zone of the days.
        units: those of the look, all arms together.
        time: the same as a share of those planned.
        comparisons: every arm against control on every metric; intervals as the plan has them at this look.
    """

    at: pd.Timestamp
    units: int
    time: float
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, eq=False)
class LiftByDay(Drawable):
    """How lift and its interval developed. Observed.

    Attributes:
        days: where the experiment stood at the end of each day.
        marks: the looks that were planned and taken, or the planned end; empty where nothing was planned, or it is not
            reached.
        control: the arm that the others are held against.
        alpha: two-sided chance that a band misses the truth on any day at all.
        label: `randomised`, or `observed, not randomised`.
        window: the window of the outcomes.
        planned: units at which the band is tightest.
        unit: what a row was about.
        is_one_look: whether the plan foresees one look, at its end.
        zone: the time zone of the days.
        notes: what the reader must know.
    """

    days: tuple[Day, ...]
    marks: tuple[Mark, ...]
    control: str
    alpha: float
    label: str
    window: str
    planned: float
    unit: str
    is_one_look: bool = False
    zone: str = "UTC"
    notes: tuple[str, ...] = field(default=())

    @property
    def table(self) -> pd.DataFrame:
        """One row per day, metric and arm: day, units, n_control, n, control, value, diff with its band, note."""
        return _frame([({"day": one.day, "units": one.units}, one.comparisons) for one in self.days])

    @property
    def looks(self) -> pd.DataFrame:
        """One row per planned look, metric and arm: at, units, time (share of the plan), diff with its interval."""
        return _frame([({"at": one.at, "units": one.units, "time": one.time}, one.comparisons) for one in self.marks])

    def __str__(self) -> str:
        last = self.days[-1]
        said = [f"Lift by day, {self.days[0].day:%Y-%m-%d} to {last.day:%Y-%m-%d} (observed)"]
        shown = self.table[["day", *_COLUMNS[:2], "units", "diff", "diff_lower", "diff_upper"]]
        said.append(shown.tail(len(last.comparisons) * 3).to_string(index=False))
        return "\n".join([*said, *(f"Note: {note}." for note in self.notes)])


def _frame(rows: Sequence[tuple[Mapping[str, Any], Sequence[Comparison]]]) -> pd.DataFrame:
    told = [{**when, **{name: asdict(one)[name] for name in _COLUMNS}} for when, found in rows for one in found]
    return pd.DataFrame(told)


@dataclass(frozen=True, slots=True, eq=False)
class _Closed:
    """Outcomes whose windows closed first, as metrics read them: in the order of their rows."""

    frame: pd.DataFrame
    arms: Arms
    moments: Mapping[str, Moments]
    is_closed: NDArray[np.bool_]

    @property
    def control(self) -> Moments:
        return self.moments[self.arms.control]

    def values(self, column: str, arm: str) -> NDArray[np.float64]:
        return np.asarray(numbers(self.frame, column)[self._of(arm)], dtype=np.float64)

    def rows(self, arm: str, columns: Sequence[str]) -> pd.DataFrame:
        chosen: pd.DataFrame = self.frame.loc[self._of(arm)]
        return chosen

    def words(self, column: str) -> Sequence[str]:
        return sorted(self.frame[column][self.is_closed].dropna().astype("str").unique())

    def _of(self, arm: str) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self.is_closed & (self.arms.codes == self.arms.names.index(arm))
        return chosen


def lift_by_day(
    outcomes: OutcomesLike,
    result: Result,
    *,
    at: str = "entered_at",
    window: str | None = None,
    unit: str | None = None,
    planned: float | None = None,
    every: int = 1,
    zone: str = "UTC",
    seed: int = 0,
    progress: bool | Callable[[int, int], object] = True,
) -> LiftByDay:
    """How the lift of a result and its interval developed, day by day, always valid.

    A unit counts from the day on which its window closed; so each day's number is what `experiment` would have said in
    the evening. The interval of each day is that of an asymptotic confidence sequence: the chance that it misses the
    truth on any day at all is alpha, however often one looks. It is wider than an interval for one look. What the plan
    decides by stands beside it and nowhere else: the looks that were taken with their intervals, or the interval of
    the one look at the planned end.

    Args:
        outcomes: those the result came from, one row per unit: a frame, the path of Parquet files, or an
            `OutcomeTable`, of which the columns that are needed are read into memory.
        result: from `experiment`; its metrics, arms, control, alpha, design and looks are taken.
        at: the column that says when a unit entered.
        window: how long after that its outcome was known, a day as 24 hours, for example `7d`; `0s` where `at` itself
            is that moment. Of the outcomes unless given.
        unit: the column that names the unit, looked at where it is there; that of the result unless given.
        planned: units at which the band is tightest; of the looks or the design unless given, else 5,000. Not to be
            chosen from the outcomes.
        every: days from one row to the next, counted back from the last; a band of fewer days is valid, too.
        zone: the time zone whose days these are, for example `Asia/Tokyo`.
        seed: where permutations start.
        progress: show a progress bar where it takes longer than a moment, as shuffles of many days do; a function is
            called with how many days are told and how many there are instead.

    Returns:
        LiftByDay: `.table` (one row per day, metric and arm), `.looks` (one row per planned look, metric and arm),
        `.plot()`.

    Raises:
        MetricError: outcomes that are none or not those of the result; no column of moments, or one with gaps; a
            window that is not known; several rows of one unit; no such time zone.

    Reference: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Annals of Statistics 52, 2613-2640.

    >>> from toolkit.stats import Rate, experiment
    >>> outcomes = pd.DataFrame({
    ...     "arm": ["control", "mail"] * 2000,
    ...     "entered_at": pd.date_range("2025-03-01", periods=4000, freq="10min", tz="UTC"),
    ...     "converted": ([0, 1] + [0, 0] * 4) * 400,
    ... })
    >>> found = lift_by_day(outcomes, experiment(outcomes, [Rate("converted")]), window="7d")
    >>> [f"{row.day:%-d %b}: {row.n}, {row.diff:.2f}" for row in found.table.iloc[[0, -1]].itertuples()]
    ['8 Mar: 72, 0.21', '4 Apr: 2000, 0.20']
    """
    if not isinstance(result, Result):
        raise MetricError(f"lift by day: result: found {type(result).__name__}; allowed: what experiment returned")
    check_column(at, where="lift by day: at")
    unit = result.unit_column if unit is None else unit
    check_column(unit, where="lift by day: unit")
    check_count(every, where="lift by day: every", most=10_000)
    check_seed(seed, where="lift by day")
    check_zone(zone, where="lift by day")
    if not callable(progress):
        check_flag(progress, where="lift by day: progress")
    found = opened(outcomes)
    frame = found if isinstance(found, pd.DataFrame) else _read(found, result, at, unit)
    window = _window(window, frame)
    target = _planned(planned, result)
    moments = _closing(frame, at, window)
    arms = read_arms(frame, arm=result.arm, control=result.control)
    _check_units(frame, unit)
    _check_sizes(arms, result)
    order = np.argsort(moments, kind="stable")
    closed, place = moments[order], np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))  # of each row: how many windows closed before its own
    midnights = _midnights(closed, zone)
    numbered = np.searchsorted(midnights, closed, side="right") - 1
    told = np.arange(numbered[-1], numbered[0] - 1, -every)[::-1]
    ends = np.searchsorted(numbered, told, side="right")
    looks = _looks(result, len(place))
    sequence = Looks(target, spending="always")
    cuts = np.unique([*ends, *(units for units, _, _ in looks)])
    stands = dict(zip(cuts.tolist(), _stands(frame, arms, result.metrics, place, cuts), strict=True))

    def compared(units: int, alpha: float) -> tuple[Comparison, ...]:
        known = _Closed(frame, arms, stands[units], place < units)
        setting = Setting(alpha=alpha, seed=seed)
        return tuple(
            one for metric in result.metrics for name in arms.others for one in metric.compare(known, name, setting)
        )

    days, before = list[Day](), Day(pd.Timestamp(0, tz="UTC"), 0, ())
    named = midnights[told].tz_localize("UTC").tz_convert(zone)
    shown = Bar(
        zip(named, ends.tolist(), strict=True),
        total=len(told),
        desc="lift by day",
        unit=" days",
        disable=callable(progress) or not progress,
        delay=1.0,
    )
    for day, units in shown:
        if callable(progress):
            progress(len(days), len(told))
        if units != before.units:  # a day on which nobody's window closed says what the day before said
            before = Day(day, units, compared(units, sequence.at(units, alpha=result.alpha).alpha))
        days.append(Day(day, units, before.comparisons))
    _check_same(days[-1].comparisons, result)
    marks = tuple(
        Mark(pd.Timestamp(closed[units - 1], tz="UTC").tz_convert(zone), units, time, compared(units, alpha))
        for units, time, alpha in looks
    )
    return LiftByDay(
        days=tuple(days),
        marks=marks,
        control=result.control,
        alpha=result.alpha,
        label=result.label,
        window=window,
        planned=target,
        unit=result.unit,
        is_one_look=result.looks is None,
        zone=zone,
        notes=tuple(_notes(result, marks, len(place))),
    )


def _midnights(closed: NDArray[np.datetime64], zone: str) -> pd.DatetimeIndex:
    """When each day began (UTC, without saying so) from the first moment's to the last's, and one more (rule R8)."""
    ends = pd.DatetimeIndex(closed[[0, -1]], tz="UTC").tz_convert(zone).tz_localize(None).floor("D")
    days = pd.date_range(ends[0] - pd.Timedelta(days=1), ends[1] + pd.Timedelta(days=1))
    first = np.ones(len(days), dtype=bool)
    begun = days.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").tz_convert("UTC").tz_localize(None)
    return pd.DatetimeIndex(begun.as_unit("us"))


def _read(outcomes: Source, result: Result, at: str, unit: str) -> pd.DataFrame:
    """The columns that are needed of outcomes in a table, the rows of each arm in their order."""
    stored = read_stored(outcomes, [], arm=result.arm, control=result.control)
    read = (name for metric in result.metrics for name in (*metric.columns(), getattr(metric, "strata", None)))
    columns = list(dict.fromkeys([at, unit, *(name for name in read if name is not None)]))
    parts = [
        outcomes.rows(columns, arm=result.arm, label=label).assign(**{result.arm: name})
        for name, label in stored.labels.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs["toolkit"] = dict(outcomes.about)
    return frame


def _window(window: str | None, outcomes: pd.DataFrame) -> str:
    found = window if window is not None else known_about(outcomes).get("window")
    if found is None:
        raise MetricError(
            "lift by day: how long after entry an outcome was known is not said; pass window=, for example '7d', or "
            "'0s' where `at` itself is that moment"
        )
    if found != "0s":
        check_window(found, where="lift by day")
    return str(found)


def _planned(planned: float | None, result: Result) -> float:
    if planned is not None:
        check_number(planned, where="lift by day: planned", allowed="a positive number of units", least=1.0, most=1e15)
        return float(planned)
    if result.looks is not None:
        return float(result.looks.planned)
    return float(result.design.units) if result.design is not None else _TIGHTEST


def _closing(outcomes: pd.DataFrame, at: str, window: str) -> NDArray[np.datetime64]:
    """When each unit's window closed, UTC."""
    if at not in outcomes.columns:
        raise missing_column(at, map(str, outcomes.columns))
    values = one_column(outcomes, at)
    told = known_about(outcomes).get("times_in")  # times of a log, which says no zone beside each of them
    if told is not None and values.dtype.kind == "M" and not isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_localize(told)
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        raise MetricError(
            f"lift by day: column {at!r} should be moments with a time zone; found {values.dtype}; "
            "pd.to_datetime(..., utc=True) makes them"
        )
    if values.isna().any():
        raise MetricError(f"lift by day: {int(values.isna().sum()):,} of {len(values):,} rows have no {at!r}")
    begun: NDArray[np.datetime64] = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    length = 0 if window == "0s" else round(days_of(window) * 86_400_000_000)
    closed: NDArray[np.datetime64] = begun + np.timedelta64(length, "us")
    return closed


def _check_units(frame: pd.DataFrame, unit: str) -> None:
    if unit not in frame.columns:
        if unit != "unit":
            raise missing_column(unit, map(str, frame.columns))
        return
    again = frame[unit].duplicated()
    if again.any():
        example = str(frame.loc[again, unit].iloc[0])
        raise MetricError(
            f"lift by day: {counted(int(again.sum()), 'row')} of units that are there already, for example "
            f"{example!r}; give one row per unit: its window closes once"
        )


def _looks(result: Result, units: int) -> list[tuple[int, float, float]]:
    """Units, share of the plan and alpha of each look that was planned and taken; a band has no looks of its own."""
    if result.look is not None and result.looks is not None:
        if result.looks.spending == "always":
            return []
        taken = [*(past for past in result.looks.past if past < units), units]
        return [
            (min(units, max(1, round(count))), time, float(2 * ndtr(-bound)))
            for count, time, bound in zip(taken, result.look.times, result.look.bounds, strict=True)
        ]
    design = result.design
    if design is None or design.looks != (1.0,) or units < ENOUGH * design.units:
        return []
    count = min(units, design.units)
    return [(count, count / design.units, result.alpha)]


def _stands(
    frame: pd.DataFrame,
    arms: Arms,
    metrics: Sequence[Metric],
    place: NDArray[np.int64],
    cuts: NDArray[np.integer],
) -> list[Mapping[str, Moments]]:
    """The moments of each arm over the rows whose place is before each cut: one pass over the rows, then sums."""
    terms = [term for metric in metrics for term in metric.terms()]
    groups = [metric.terms() for metric in metrics]
    many = len(arms.names)
    codes = np.searchsorted(cuts, place, side="right") * many + arms.codes
    inside = codes < many * len(cuts)  # what comes after the last cut is not asked for
    frame, codes = (frame, codes) if inside.all() else (frame[inside], codes[inside])
    found = gather(frame[inside], terms, codes=codes, arms=many * len(cuts), groups=groups)
    stands, so_far = list[Mapping[str, Moments]](), list(found[:many])
    for begin in range(0, len(found), many):
        if begin:
            so_far = [old + new for old, new in zip(so_far, found[begin : begin + many], strict=True)]
        stands.append(dict(zip(arms.names, so_far, strict=True)))
    return stands


def _check_sizes(arms: Arms, result: Result) -> None:
    """Outcomes of another experiment, or of another day, would tell another story than the result beside them."""
    here = dict(zip(arms.names, np.bincount(arms.codes, minlength=len(arms.names)).tolist(), strict=True))
    there = {result.control: result.comparisons[0].n_control} | {one.arm: one.n for one in result.comparisons}
    if here != there:
        raise MetricError(f"lift by day: the outcomes are not those of the result: units here {here}, there {there}")


def _check_same(last: Sequence[Comparison], result: Result) -> None:
    """The last day says what the result says."""
    for one, own in zip(last, result.comparisons, strict=True):
        both_missing = math.isnan(one.diff) and math.isnan(own.diff)
        if not (both_missing or math.isclose(one.diff, own.diff, rel_tol=1e-6, abs_tol=_SAME)):
            raise MetricError(
                f"lift by day: the outcomes are not those of the result: the difference of {one.arm} from "
                f"{result.control} on {one.metric} is {one.diff:.4g} here, there {own.diff:.4g}"
            )


def _notes(result: Result, marks: Sequence[Mark], units: int) -> list[str]:
    if marks or (result.looks is not None and result.looks.spending == "always"):
        return []
    if result.design is not None:
        return [f"the plan decides at {result.design.units:,} {result.unit}s; {units:,} are known so far"]
    return [
        "no plan says when the experiment ends, so no day is its end: an interval for one look, as the result has it, "
        "is narrower than the band and holds only if that day was set beforehand"
    ]
